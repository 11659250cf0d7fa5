"""Data sets that Hugging Face's `datasets` saved to a folder; read without that package."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from aekit.plugin import RecordOptions, SampleSpec, Source, open_records, read_saved_dataset

looks_for = "a data set that save_to_disk wrote"
specific = True


def open_dataset(where: str, like: SampleSpec | None = None, **options: Unpack[RecordOptions]) -> Source:
    """Open a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote, with its splits and class names.

    Samples are images, lists of numbers, paths of images, or the numeric columns of a table. The files are memory-mapped.

    Raises:
        DataError: a file is missing or damaged, or nothing can be used as samples.
    """
    records, losses = read_saved_dataset(Path(where))
    return open_records(records, where, like, "saved-dataset", options, base=Path(where), losses=losses)


def claims(path: Path) -> bool:
    """Return True for a folder with the files that ``save_to_disk`` writes."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    import json

    import pyarrow as pa

    from aekit.plugin import image_table

    table = image_table()
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return str(folder)
