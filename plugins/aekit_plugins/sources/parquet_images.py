"""Images in Parquet files, as Hugging Face data sets have them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Unpack

from aekit.plugin import (
    Field,
    ParquetRecords,
    RecordOptions,
    SampleSpec,
    Source,
    image_columns,
    list_shards,
    open_records,
    parquet_schema,
)

looks_for = "encoded images in Parquet files"
specific = True


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    channels: Annotated[
        Literal["auto", 1, 3, 4], Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
    ] = "auto",
    **options: Unpack[RecordOptions],
) -> Source:
    """Open a column of encoded images, bytes or ``{bytes, path}``, of a Parquet file or of all such files in a folder.

    File names such as ``train-00000-of-00002.parquet``, or folders, give the splits. Class names come from the metadata that
    Hugging Face's `datasets` writes. A few row groups are in memory at a time.

    Raises:
        DataError: no column of images, or several; files with other columns than the first; or no readable image.
    """
    shards = list_shards(where, (".parquet",))
    records, base = ParquetRecords(shards.paths, shards.splits), shards.paths[0].parent
    of_images = {**options, "channels": channels}
    return open_records(records, where, like, "parquet-images", of_images, base=base, losses=shards.losses)


def claims(path: Path) -> bool:
    """Return True for a Parquet file with a column of encoded images, or a folder of such files."""
    schema = parquet_schema(path)
    return schema is not None and bool(image_columns(schema))


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import pyarrow.parquet as pq

    from aekit.plugin import image_table

    pq.write_table(image_table(), folder / "train-00000-of-00001.parquet", row_group_size=5)
    return str(folder / "train-00000-of-00001.parquet")
