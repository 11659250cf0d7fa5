"""Leave out the lines of names that stand among the rows of a table, as those of files that were joined do."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._number_spelling import looks_numeric
from aekit.io.arrow import arrow_texts


def without_repeated_names(table: pa.Table, names: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Return a table of text cells without the rows that are its names again, and a line on them.

    Rows of words alone may well repeat what was read as names, so that a number in the first row is asked for.
    """
    if table.num_rows < 2 or table.num_columns < 2:
        return table, []
    repeats = _equal(table.column(0), names[0])  # without the cost of trimming, for usual tables
    if not pc.any(repeats).as_py() or not any(looks_numeric(str(column[0]).strip()) for column in table.columns):
        return table, []
    for column, name in zip(table.columns[1:], names[1:]):
        repeats = pc.and_(repeats, _equal(pc.utf8_trim_whitespace(column), name))
    count = pc.sum(repeats).as_py()
    if not count:
        return table, []
    place = f"(row {pc.index(repeats, pa.scalar(True)).as_py()})"
    rows = "1 row that repeats" if count == 1 else f"{count:,} rows that repeat"
    verb = "is" if count == 1 else "are"
    return table.filter(pc.invert(repeats)), [f"{rows} the names of the columns {place} {verb} left out"]


def _equal(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return whether cells are a name; False where they are missing. Comparing with a value of Python would import pandas."""
    return pc.is_in(column, value_set=arrow_texts([name]).cast(column.type))
