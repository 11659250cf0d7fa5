"""Data sets that Hugging Face's `datasets` saved to a folder; read without that package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aekit.plugin import (
    CropPctOption,
    Field,
    InterpolationOption,
    ResizeOption,
    SampleSpec,
    SizeOption,
    Source,
    open_contents,
    read_records,
    read_saved_dataset,
)

looks_for = "a data set that save_to_disk wrote"
specific = True


def open_dataset(
    where: str,
    like: SampleSpec | None = None,
    *,
    column: Annotated[str, Field(description="column of the samples; auto: images, else lists, else paths")] = "auto",
    label: Annotated[str, Field(description="column of the labels; auto: by usual names; none: no labels")] = "auto",
    size: SizeOption = "auto",
    resize: ResizeOption = "crop",
    crop_pct: CropPctOption = 1.0,
    interpolation: InterpolationOption = "bicubic",
) -> Source:
    """Open a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote, with its splits and class names.

    Samples are images, lists of numbers, paths of images, or the numeric columns of a table. The files are memory-mapped.

    Raises:
        DataError: a file is missing or damaged, or nothing can be used as samples.
    """
    records, losses = read_saved_dataset(Path(where))
    contents = read_records(records, where, column=column, label=label, base=Path(where))
    options = {"size": size, "resize": resize, "crop_pct": crop_pct, "interpolation": interpolation}
    source = open_contents(contents, like, options | {"source": "saved-dataset"})
    source.losses = (*losses, *source.losses)
    return source


def claims(path: Path) -> bool:
    """Return True for a folder with the files that ``save_to_disk`` writes."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def example(folder: Path) -> str:
    """Return what the conformance kit opens."""
    import json

    import pyarrow as pa

    from aekit.plugin import encoded_images

    images = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(encoded_images())]
    table = pa.table({"image": images, "label": [row % 3 for row in range(len(images))]})
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return str(folder)
