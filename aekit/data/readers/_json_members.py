"""Take the fields of the ``.json`` files in tar files for metadata of their samples, once they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from aekit.data.metadata import Metadata
from aekit.data.readers._tar_index import LABEL_KEYS
from aekit.progress import SILENT, Progress


class JsonFields(Metadata):
    """The fields at the top of each sample's ``.json`` file, which are read when they are first asked for.

    Fields that name the class are kept only if they are asked for by their names.

    Args:
        read: returns the content of the file of each of N samples, None where there is none.
    """

    def __init__(self, read: Callable[[], Iterable[bytes | None]]) -> None:
        self._read_files = read

    @cached_property
    def _fields(self) -> tuple[dict[str, pa.ChunkedArray], list[int]]:
        """The columns by their names, and the rows whose file is damaged."""
        values: dict[str, dict[int, Any]] = {}
        damaged, count = [], 0
        for row, content in enumerate(self._read_files()):
            count = row + 1
            try:
                record = None if content is None else json.loads(content)
            except (ValueError, RecursionError):
                damaged.append(row)
                continue
            for name, value in record.items() if isinstance(record, dict) else ():
                if value is not None:
                    values.setdefault(name, {})[row] = value
        return {name: _column(by_row, count) for name, by_row in values.items()}, damaged

    @cached_property
    def _columns(self) -> Mapping[str, Callable[[], pa.ChunkedArray]]:  # type: ignore[override]
        return {name: (lambda column=column: column) for name, column in self._fields[0].items()}  # type: ignore[misc]

    @cached_property
    def _unasked(self) -> Collection[str]:  # type: ignore[override]
        return [name for name in self._columns if name not in LABEL_KEYS]

    def choose(self, wanted: Literal["auto"] | Any, progress: Progress = SILENT) -> pa.Table | None:
        """Read the columns to keep, as `Metadata.choose`; a line counts the files that are damaged."""
        if damaged := self._fields[1]:
            files = f"{len(damaged)} .json files are" if len(damaged) > 1 else "1 .json file is"
            progress.say(f"metadata: {files} damaged, that of row {damaged[0]} first: the fields are missing values")
        return super().choose(wanted, progress)


def _column(by_row: Mapping[int, Any], count: int) -> pa.ChunkedArray:
    """Return a column of `count` values; ones of several types become text, as JSON writes them."""
    values = [by_row.get(row) for row in range(count)]
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        texts = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
        array = pa.array([None if t is None else t.encode("utf-8", "replace").decode("utf-8") for t in texts])
    return pa.chunked_array([array])
