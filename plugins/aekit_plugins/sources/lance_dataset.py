"""Lance data sets of images, vectors or measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from aekit.plugin import LanceRecords, RecordOptions, SampleSpec, Source, open_records

looks_for = "a Lance data set"
specific = True


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[RecordOptions]) -> Source:
    """Open a folder ``NAME.lance``: a column of image bytes, of lists of numbers or of paths, or the numeric columns.

    Images are read when they are needed.

    Raises:
        DataError: pylance is missing, the data set is damaged, or nothing can be used as samples.
    """
    return open_records(LanceRecords(Path(where)), where, like, "lance", options, base=Path(where).parent)


def claims(path: Path) -> bool:
    """Return True for a folder that Lance wrote."""
    return (path / "_versions").is_dir()


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import lance

    from aekit.plugin import image_table

    lance.write_dataset(image_table(), str(folder / "samples.lance"))
    return str(folder / "samples.lance")
