"""Lance data sets of images, vectors or measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from aekit.plugin import (
    CropPctOption,
    Field,
    InterpolationOption,
    LanceRecords,
    ResizeOption,
    SampleSpec,
    SizeOption,
    Source,
    open_contents,
    read_records,
)

looks_for = "a Lance data set"
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
    """Open a folder ``NAME.lance``: a column of image bytes, of lists of numbers or of paths, or the numeric columns.

    Images are read when they are needed.

    Raises:
        DataError: pylance is missing, the data set is damaged, or nothing can be used as samples.
    """
    contents = read_records(LanceRecords(Path(where)), where, column=column, label=label, base=Path(where).parent)
    options = {"size": size, "resize": resize, "crop_pct": crop_pct, "interpolation": interpolation}
    return open_contents(contents, like, options | {"source": "lance"})


def claims(path: Path) -> bool:
    """Return True for a folder that Lance wrote."""
    return (path / "_versions").is_dir()


def example(folder: Path) -> str:
    """Return what the conformance kit opens."""
    import lance
    import pyarrow as pa

    from aekit.plugin import encoded_images

    images = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(encoded_images())]
    table = pa.table({"image": images, "label": [row % 3 for row in range(len(images))]})
    lance.write_dataset(table, str(folder / "samples.lance"))
    return str(folder / "samples.lance")
