"""Read the tables of a folder: one alone, or one for each split, such as ``train.csv`` and ``test.csv``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow as pa

from aekit.data.readers import tables
from aekit.data.readers._text_form import AUTO, TextFormat
from aekit.data.readers.endings import SURELY_TABLES
from aekit.data.readers.folders import holds_no_other, list_files

_OTHERS = ("hidden", "without an ending", ".txt", ".md", ".json", ".yaml", ".yml", ".html", ".pdf")
"""Endings of files that may describe a table."""
_ENDINGS = tuple(ending for ending in SURELY_TABLES if ending != ".parquet")
"""Endings of tables that are opened where they are all that a folder holds; Parquet files may hold images."""
_ORDER = ("train", "validation", "test")


def parts_in(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by split, if there are others than those of splits {}.

    Tables are of splits by their names, such as ``train.csv`` or ``sales_train.csv`` and ``sales_test.csv``, or by their folders,
    such as ``train/data.csv``. A table that is alone in a folder is its ``""``. Tables named as a submission, which competitions
    put beside them, do not count.
    """
    paths = [path for path in tables_in(folder) if "submission" not in path.name.lower()]
    by_split = _by_split({path: path.name.partition(".")[0] for path in paths})
    if by_split or len(paths) > 1:
        return by_split
    if not holds_no_other(folder, _ENDINGS, lambda reason: reason not in _OTHERS):
        return {}
    if paths:
        return {"": paths[0]}
    inner = {
        path: tables_in(path) for path in sorted(folder.iterdir()) if path.is_dir() and tables.split_named(path.name)
    }
    if len(inner) < 2 or any(len(paths) != 1 for paths in inner.values()):
        return {}
    return _by_split({paths[0]: path.name for path, paths in inner.items()})


def _by_split(names: dict[Path, str]) -> dict[str, Path]:
    """Return tables by the splits that their names stand for, if each is of one, and the names differ in nothing else."""
    words = {path: re.split(r"[\W_]+", name.lower()) for path, name in names.items()}
    splits = {path: [word for word in parts if tables.split_named(word)] for path, parts in words.items()}
    others = {tuple(word for word in parts if not tables.split_named(word)) for parts in words.values()}
    by_split = {tables.split_named(words_of[0]) or "": path for path, words_of in splits.items() if len(words_of) == 1}
    is_complete = len(by_split) == len(names) and len(others) == 1 and (others == {()} or len(names) > 1)
    return {split: by_split[split] for split in _ORDER if split in by_split} if is_complete else {}


def read_parts(parts: dict[str, Path], form: TextFormat = AUTO) -> pa.Table:
    """Read the tables of several splits as one, with a column ``split``; a column that a table lacks is missing there.

    Args:
        parts: as `parts_in` returns them.
        form: how they are written.

    Raises:
        DataError: a table cannot be read, or a column has numbers in one table and text in another.
    """
    by_split = {split: tables.read_table(path, form) for split, path in parts.items()}
    lines = [line for table in by_split.values() for line in tables.remarks(table)]
    if set(parts) == {""}:
        return tables.with_remarks(by_split[""], [f"read from {parts[''].name}", *lines])
    others = [path.name for path in tables_in(next(iter(parts.values())).parent) if path not in parts.values()]
    lines += [f"{', '.join(others)} left out: neither train, validation nor test"] if others else []
    table = tables.join_parts(by_split, ", ".join(path.name for path in parts.values()))
    return tables.with_remarks(table, list(dict.fromkeys(lines)))


def tables_in(folder: Path) -> list[Path]:
    """Return the files of a folder, not of those below, that are surely tables."""
    names = [name for name in sorted(os.listdir(folder)) if name.lower().endswith(SURELY_TABLES)]
    # Workbooks that are open have locks beside them, and macOS leaves files of its own.
    return [folder / name for name in names if not name.startswith(("~$", "."))]


def advise_on_tables(folder: Path) -> str:
    """Return what to do with a folder that holds tables but nothing that can be opened; "" without tables."""
    paths = tables_in(folder)
    if not paths and not any(path.lower().endswith(SURELY_TABLES) for path, _ in list_files(folder, ())):
        return ""
    choice = f"open one table, such as {paths[0]}" if paths else "open one table"
    kind = "parquet" if not paths or paths[0].suffix.lower() == ".parquet" else "csv"
    parts = f"pass pyarrow.dataset.dataset('{folder}', format='{kind}', partitioning='hive').to_table() in Python"
    return (
        f"{choice}; or recordings:{folder} if each is a recording; or name those of splits train.csv and test.csv; or {parts} "
        "if they are parts of one"
    )
