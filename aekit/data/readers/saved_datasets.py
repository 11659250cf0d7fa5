"""Read data sets that Hugging Face's `datasets` saved with ``save_to_disk``, and join their splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aekit.data.readers.record_rows import TableRecords
from aekit.data.readers.tables import choose_splits
from aekit.data.reading import FileSize, reading
from aekit.errors import DataError, first_line


def read_saved_dataset(folder: Path) -> tuple[TableRecords, tuple[str, ...]]:
    """Read a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote; its files are memory-mapped.

    Returns:
        the rows, and lines about splits that were left out.

    Raises:
        DataError: a file is missing or damaged.
    """
    sizes: list[FileSize] = []
    if (folder / "dataset_dict.json").is_file():
        names = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(names, list) or not names:
            raise DataError(f"{folder / 'dataset_dict.json'}: names no splits")
        tables = {str(name): _table(folder / Path(str(name)).name, sizes) for name in names}
        return join_splits(tables, str(folder), sizes)
    return TableRecords(_table(folder, sizes), mapped=sizes), ()


def join_splits(
    by_name: Mapping[str, pa.Table], place: str, mapped: Sequence[FileSize] = ()
) -> tuple[TableRecords, tuple[str, ...]]:
    """Join the tables of several splits.

    Args:
        by_name: name of a split -> its rows. Where some names stand for train, validation or test, others are left out; where
            none does, all rows are used without splits.
        place: where they come from, for messages.
        mapped: files that the tables are mapped from.

    Returns:
        the rows, and lines about splits that were left out.

    Raises:
        DataError: the columns of the splits differ.
    """
    used = choose_splits(by_name)
    losses = tuple(
        f"split {name!r} with {len(table)} samples is left out; expected train, validation or test"
        for name, table in by_name.items()
        if name not in used
    )
    try:
        table = pa.concat_tables([by_name[name] for name in used])
    except pa.ArrowException as error:
        raise DataError(f"{place}: the columns of its splits differ ({first_line(error)})") from None
    splits = None
    if len(set(used.values())) > 1:
        splits = np.repeat(list(used.values()), [len(by_name[name]) for name in used])
    return TableRecords(table, splits, mapped), losses


def dataset_to_table(dataset: Any) -> pa.Table:
    """Return the rows of a `datasets.Dataset`, with its class names in the metadata; not copied if they are on disk."""
    table = dataset.with_format("arrow")[:]
    return table.replace_schema_metadata(dataset.features.arrow_schema.metadata)


def _table(folder: Path, sizes: list[FileSize]) -> pa.Table:
    """Read the files of a split, and add their sizes."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: its rows are chosen by indices, as old versions saved them; save it again")
    parts = []
    with reading(folder / "state.json"):
        names = [Path(str(entry["filename"])).name for entry in state.get("_data_files") or []]
    for name in names:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: is missing, but state.json names it")
        with reading(path):
            sizes.append(FileSize(path))
            parts.append(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
            parts[-1].validate(full=True)  # before a damaged offset reaches into other memory
    if not parts:
        raise DataError(f"{folder / 'state.json'}: names no files")
    with reading(folder):
        return pa.concat_tables(parts)


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DataError(f"{path}: is missing")
    with reading(path):
        content = json.loads(path.read_text("utf-8"))
    return content if isinstance(content, dict) else {}
