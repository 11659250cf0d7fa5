"""Decide the types of columns: what the cells of a text file hold, and what columns of Arrow hold as numbers.

The type of a cell of a CSV file depends on its use: as an id or a class ``007`` is what is written, as a feature it is the number
7. So columns of text files stay text, in a type of their own, until they are used.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._missing_cells import MISSING as MISSING, NO_LABEL as NO_LABEL, PLACEHOLDERS as PLACEHOLDERS
from aekit.data.readers._record_types import is_text as is_text_type
from aekit.io.arrow import arrow_texts, arrow_values, arrow_words, filled

STRAY_SHARE = 0.05
"""Largest share of other words in a column of numbers; one is always allowed."""
LOOKED_AT = 10_000
"""Cells that tell whether a column of text holds numbers too."""
NUMBERS_SHARE = 0.4
"""Least share of numbers in a column that is said to hold numbers and words."""
EXACT = 2**53
"""Whole numbers up to this are exact in float64."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = rf"^(?:{NUMBER}|[+-]?(?i:inf|infinity))$"
_INTEGER = r"^[+-]?\d+$"


class CellText(pa.ExtensionType):
    """The type of a column of a text file, as it is written."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "aekit.cell_text")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> CellText:
        return CELL_TEXT


CELL_TEXT = CellText()


class Typed(NamedTuple):
    """A column with the type of its content.

    Attributes:
        column: integers, floats, booleans, text, times or others; missing values are null.
        strays: words among numbers, which are null in `column`, with the row of the first.
        rounded: whether integers are too large for float64, which would round them.
    """

    column: pa.ChunkedArray
    strays: dict[str, int]
    rounded: bool = False


def as_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Mark a column of strings as text of a file, whose type is not decided."""
    return pa.chunked_array([pa.ExtensionArray.from_storage(CELL_TEXT, chunk) for chunk in column.chunks], CELL_TEXT)


def as_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the strings of a column of a text file; other columns as they are, categories as their values."""
    if isinstance(column.type, CellText):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], pa.string())
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type)
    return column


def to_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column as strings, as a CSV file would hold them: whole numbers without a fraction."""
    values = as_written(column)
    if pa.types.is_floating(values.type) and pc.all(pc.equal(pc.floor(values), values)).as_py() is not False:
        values = pc.cast(values, pa.int64(), safe=False)
    return pc.cast(values, pa.string())


_LIST = r"^[\[({]?\s*[+-]?[\d.]+(?:[eE][+-]?\d+)?(?:[,;\s]+[+-]?[\d.]+(?:[eE][+-]?\d+)?){2,}[,;]?\s*[\])}]?$"


def holds_list_texts(column: pa.ChunkedArray) -> bool:
    """Return whether the first cells of a column of text are lists of three or more numbers, as ``[1.5, 2, 3]`` and ``1 2 3``."""
    if not is_text_type(column.type):
        return False
    cells = column.cast(pa.string()).drop_null().slice(0, 20)
    return len(cells) > 0 and bool(pc.all(pc.match_substring_regex(cells, _LIST)).as_py())


def entries_of_list_texts(column: pa.ChunkedArray) -> int:
    """Return how many numbers the first cell of a column of lists of numbers as text holds; 0 in other columns."""
    if not holds_list_texts(column):
        return 0
    return len(re.findall(r"[\d.]+(?:[eE][+-]?\d+)?", column.cast(pa.string()).drop_null()[0].as_py()))


def words_among_numbers(column: pa.ChunkedArray) -> list[str]:
    """Return up to three of the words in a column of text of which at least `NUMBERS_SHARE` are numbers; [] in others."""
    if not is_text_type(column.type):
        return []
    cells = column.slice(0, LOOKED_AT).cast(pa.string())
    cells = pc.filter(cells, pc.invert(pc.is_in(cells, arrow_words(*MISSING, *PLACEHOLDERS)))).drop_null()
    numeric = pc.match_substring_regex(cells, _NUMBER)
    if (pc.mean(numeric).as_py() or 0.0) < NUMBERS_SHARE:
        return []
    return pc.unique(pc.filter(cells, pc.invert(numeric))).slice(0, 3).to_pylist()


def categories_of(column: pa.ChunkedArray) -> list[str]:
    """Return the distinct values of a column, sorted, without missing and empty ones."""
    return sorted({value for value in pc.unique(to_texts(column)).to_pylist() if value not in (None, "")})


def to_typed(column: pa.ChunkedArray) -> Typed:
    """Decide the type of a column: that of Arrow, or, for the text of a file, that of its content.

    Cells are numbers if all are, but for missing values and at most one word, or one in twenty. ``true`` and ``false`` are
    booleans. All other columns are text, and so are categories, of numbers too.
    """
    if pa.types.is_dictionary(column.type) and _is_number(column.type.value_type):
        return Typed(to_texts(column), {})
    values = as_written(column)
    if not isinstance(column.type, CellText):
        return Typed(values, {}, _is_rounded(values))
    try:
        return _to_numbers(values, {})  # the usual case, first
    except pa.ArrowInvalid:
        pass
    known = pc.invert(pc.is_in(values, arrow_words(*MISSING)))
    nothing = pa.nulls(1, values.type)[0]  # values of Python would make Arrow import pandas
    cells = pc.if_else(known, values, nothing)
    if cells.null_count == len(cells):
        return Typed(pa.chunked_array([pa.nulls(len(cells))]), {})
    try:
        return _to_numbers(cells, {})
    except pa.ArrowInvalid:
        pass
    lower = pc.utf8_lower(cells)
    if pc.all(pc.is_in(lower.drop_null(), arrow_words("true", "false"))).as_py():
        return Typed(pc.equal(lower, arrow_words("true")[0]), {})
    numeric = pc.match_substring_regex(cells, _NUMBER)
    words = pc.filter(cells, pc.invert(numeric))  # not the missing ones
    strays = pc.filter(words, pc.invert(pc.is_in(words, arrow_words(*PLACEHOLDERS))))
    count, total = int(pc.sum(numeric).as_py() or 0), len(cells) - cells.null_count
    if not count or (len(strays) and (count < 3 or len(strays) > max(1, STRAY_SHARE * total))):
        return Typed(values, {})
    distinct = pc.unique(words)
    return _to_numbers(
        pc.if_else(numeric, cells, nothing), {word: pc.index(cells, word).as_py() for word in distinct.to_pylist()}
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


class Decided(NamedTuple):
    """A table whose columns have types.

    Attributes:
        table: numbers, text and others, where the file has only text.
        strays: name -> words among its numbers, as `Typed`.
        rounded: names of columns of integers that are too large for float64.
    """

    table: pa.Table
    strays: dict[str, dict[str, int]]
    rounded: set[str]


def decide_types(table: pa.Table) -> Decided:
    """Decide the types of all columns, whose names must differ."""
    typed = {name: to_typed(table[name]) for name in table.column_names}
    decided = pa.table({name: each.column for name, each in typed.items()}).replace_schema_metadata(
        table.schema.metadata
    )
    strays = {name: each.strays for name, each in typed.items() if each.strays}
    return Decided(decided, strays, {name for name, each in typed.items() if each.rounded})


def is_empty(column: pa.ChunkedArray) -> bool:
    """Return whether all values of a column are missing."""
    typed = to_typed(column).column
    if is_text(typed):
        return not pc.any(pc.not_equal(typed, arrow_words("")[0])).as_py()
    return typed.null_count == len(typed)


def is_numeric(column: pa.ChunkedArray) -> bool:
    """Return whether the values of a column are numbers, booleans, or all missing."""
    types, kind = pa.types, to_typed(column).column.type
    checks = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(is_one(kind) for is_one in checks)


def is_text(column: pa.ChunkedArray) -> bool:
    """Return whether the values of a column are strings, or categories of strings."""
    return is_text_type(to_typed(column).column.type)


def to_floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) floats, NaN where a value is missing: float32 if it is that already, else float64."""
    typed = to_typed(column).column
    dtype = pa.float32() if pa.types.is_float32(typed.type) or pa.types.is_float16(typed.type) else pa.float64()
    if pa.types.is_integer(typed.type) or pa.types.is_decimal(typed.type):
        return arrow_values(pc.cast(typed, dtype, safe=False))
    return arrow_values(typed.cast(dtype))


def to_strings(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) strings, as they are written, "" where a value is missing."""
    values = as_written(column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(filled(values, "").to_pylist(), dtype=np.str_)
    return np.array(["" if value is None else str(value) for value in values.to_pylist()], dtype=np.str_)


def to_labels(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (N,) labels: integers if all values are, else floats or strings.

    Cells of a text file are numbers only if that loses nothing: ``007`` and ``7`` are two classes.
    """
    typed = to_typed(as_written(column) if pa.types.is_dictionary(column.type) else column)
    is_written = isinstance(column.type, CellText) and (
        pa.types.is_boolean(typed.column.type) or not set(typed.strays) <= set(PLACEHOLDERS)
    )
    if not is_numeric(typed.column) or typed.rounded or is_written or not _one_to_one(column, typed.column):
        names = to_strings(column)
        return np.where(np.isin(names, NO_LABEL), "", names)
    integers = not typed.column.null_count and not pa.types.is_floating(typed.column.type)
    if not integers:
        return to_floats(typed.column)
    try:
        return arrow_values(typed.column.cast(pa.int64()))
    except pa.ArrowInvalid:  # fractions of decimals
        return to_floats(typed.column)


def words_for_no_label(column: pa.ChunkedArray, name: str) -> list[str]:
    """Return a line on words such as ``NA`` that stand for a missing label in a column of labels."""
    cells = as_written(column)
    if not is_text_type(cells.type):
        return []
    words = pc.filter(cells, pc.is_in(cells.cast(pa.string()), arrow_texts([word for word in NO_LABEL if word])))
    if not len(words):
        return []
    listed = ", ".join(map(repr, pc.unique(words).slice(0, 3).to_pylist()))
    return [f"{listed} in {name!r} is no label, but a missing one, in {len(words):,} of {len(cells):,} rows"]


def _to_numbers(cells: pa.ChunkedArray, strays: dict[str, int]) -> Typed:
    """Convert texts of numbers to integers if all are, else to floats; raises `pa.ArrowInvalid` if one is not a number."""
    floats = cells.cast(pa.float64())
    numbers = arrow_values(floats)
    if pc.any(of_text := pc.is_nan(floats)).as_py():
        floats = pc.if_else(of_text, pa.nulls(1, floats.type)[0], floats)  # null where the text is nan
    fractions = numbers != np.floor(numbers)
    if fractions[~np.isnan(numbers)].any() or not pc.all(pc.match_substring_regex(cells, _INTEGER)).as_py():
        return Typed(floats, strays)
    try:
        integers = pc.utf8_ltrim(cells, "+").cast(pa.int64())
    except pa.ArrowInvalid:
        return Typed(floats, strays, rounded=True)
    return Typed(integers, strays, _is_rounded(integers))


def _is_rounded(column: pa.ChunkedArray) -> bool:
    """Return whether float64 would change whole numbers of a column."""
    if pa.types.is_decimal(column.type):
        if column.type.scale > 0 or column.null_count == len(column):
            return False
        return any(int(float(value)) != int(value) for value in pc.unique(column).to_pylist() if value is not None)
    if not pa.types.is_integer(column.type) or column.type.bit_width < 64 or column.null_count == len(column):
        return False
    extremes = pc.min_max(column).as_py()
    if max(abs(extremes["min"]), abs(extremes["max"])) <= EXACT:
        return False
    values = arrow_values(column.drop_null())
    large = np.unique(values[(values > EXACT) | (values < -EXACT if values.dtype.kind == "i" else False)])
    return any(int(float(value)) != value for value in large.tolist())


def _one_to_one(column: pa.ChunkedArray, typed: pa.ChunkedArray) -> bool:
    """Return whether the text of a file can be told from its numbers: no ``007``, and no two spellings of one class."""
    if not isinstance(column.type, CellText) or pa.types.is_null(typed.type):
        return True
    texts = pc.unique(pc.filter(as_written(column), pc.is_valid(typed)))
    if pa.types.is_integer(typed.type):
        return not pc.any(pc.match_substring_regex(texts, r"^[+-]?0\d")).as_py()
    numbers = len(pc.unique(typed.drop_null()))
    # More values are measurements than versions such as 1.1 and 1.10.
    return numbers == len(texts) or numbers > 20
