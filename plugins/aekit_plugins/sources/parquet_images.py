"""Images in Parquet files, as Hugging Face data sets have them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from aekit.plugin import (
    CropPctOption,
    Field,
    InterpolationOption,
    ParquetRecords,
    ResizeOption,
    SampleSpec,
    SizeOption,
    Source,
    image_columns,
    list_shards,
    open_contents,
    parquet_schema,
    read_records,
)

looks_for = "encoded images in Parquet files"
specific = True


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    column: Annotated[str, Field(description="column of the images; auto: the only one, or image, img ...")] = "auto",
    label: Annotated[str, Field(description="column of the labels; auto: by usual names; none: no labels")] = "auto",
    size: SizeOption = "auto",
    resize: ResizeOption = "crop",
    crop_pct: CropPctOption = 1.0,
    interpolation: InterpolationOption = "bicubic",
    channels: Annotated[
        Literal["auto", 1, 3, 4], Field(description="1 gray, 3 RGB, 4 RGBA; auto: RGB if any image is colored")
    ] = "auto",
) -> Source:
    """Open a column of encoded images, bytes or ``{bytes, path}``, of a Parquet file or of all such files in a folder.

    File names such as ``train-00000-of-00002.parquet``, or folders, give the splits. Class names come from the metadata that
    Hugging Face's `datasets` writes. A few row groups are in memory at a time.

    Raises:
        DataError: no column of images, or several; files with other columns than the first; or no readable image.
    """
    shards = list_shards(where, (".parquet",))
    contents = read_records(
        ParquetRecords(shards.paths, shards.splits), where, column=column, label=label, base=shards.paths[0].parent
    )
    options = {"size": size, "resize": resize, "crop_pct": crop_pct, "interpolation": interpolation}
    source = open_contents(contents, like, options | {"channels": channels, "source": "parquet-images"})
    source.losses = (*shards.losses, *source.losses)
    return source


def claims(path: Path) -> bool:
    """Return True for a Parquet file with a column of encoded images, or a folder of such files."""
    schema = parquet_schema(path)
    return schema is not None and bool(image_columns(schema))


def example(folder: Path) -> str:
    """Return what the conformance kit opens."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aekit.plugin import encoded_images

    images = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(encoded_images())]
    labels = [f"class-{row % 3}" for row in range(len(images))]
    pq.write_table(
        pa.table({"image": images, "label": labels}), folder / "train-00000-of-00001.parquet", row_group_size=5
    )
    return str(folder / "train-00000-of-00001.parquet")
