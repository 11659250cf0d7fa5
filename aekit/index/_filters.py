"""Find the rows of an index that satisfy a condition on their metadata, such as ``label = "cat" and split != "test"``.

| condition | selects rows whose |
|---|---|
| ``label = "cat"``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` | value compares so; text is in quotes, numbers are not |
| ``label in ("cat", "dog")``, ``not in`` | value is one of these |
| ``id like "2024/%"``, ``not like`` | text matches: ``%`` stands for any text, ``_`` for one character |
| ``label is null``, ``is not null`` | value is missing |

``and``, ``or``, ``not`` and parentheses combine them; a column with another name than letters, digits and ``_`` is written
between backticks. As in SQL, a row without a value satisfies ``is null`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.errors import SHOWN, DataError, closest_name, first_line, printable

LONGEST, DEEPEST = 20_000, 50
"""Most characters of a condition, and most levels of its parentheses."""
COMPARED_NAMES = 10_000
"""Most distinct values among which the nearest to an unknown one is looked for."""

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"]|"")*"|'(?:[^']|'')*')
      | (?P<number>(?>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?!\w))
      | (?P<column>`[^`]+`)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|==|[=<>(),])
      | (?P<end>\Z)""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("=", "=="), pc.equal),
    **dict.fromkeys(("!=", "<>"), pc.not_equal),
    **{"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal},
}
_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false"}
_EXAMPLE = 'label = "cat"'


class _Token(NamedTuple):
    """A part of a condition: its kind, its text (keywords in lower case), and its place in the condition."""

    kind: str
    text: str
    place: int


class Condition:
    """A condition on the rows of a table.

    Args:
        text: the condition.
        table: its columns can be named, except that of hashes.

    Attributes:
        mask: (N,) bool, the rows that satisfy it.
        columns: names of the columns that it compares, in their order.

    Raises:
        DataError: it cannot be read, names no column, or compares a column with a value of another type.
    """

    def __init__(self, text: str, table: pa.Table) -> None:
        self.text, self._table = text, table.select([name for name in table.column_names if name != "hash"])
        if len(text) > LONGEST:
            raise DataError(f"where: {len(text):,} characters: expected at most {LONGEST:,}")
        if (broken := next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)) is not None:
            raise self._error(broken, "expected text, not bytes that are not UTF-8")
        self._tokens, self._next, self._depth = self._split(), 0, 0
        self._names: list[tuple[str, str]] = []
        self.columns: list[str] = []
        try:
            mask = self._any_of()
        except pa.ArrowException as error:
            raise DataError(f"where {text!r:.200}: {first_line(error)}") from None
        if self._peek().kind != "end":
            raise self._unexpected("'and', 'or' or the end")
        self.mask: np.ndarray = mask.fill_null(False).to_numpy()

    def unknown_value(self) -> str:
        """Return a phrase that names a value that no row has, and the nearest one; ``""`` if there is none."""
        for column, value in self._names:
            values = self._column(column).unique()
            if pc.index(values, value).as_py() < 0:
                near = closest_name(value, filter(None, values.to_pylist())) if len(values) <= COMPARED_NAMES else ""
                return f"no {column} is {value!r}{near}"
        return ""

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        place = 0
        while not tokens or tokens[-1].kind != "end":
            place += len(self.text[place:]) - len(self.text[place:].lstrip())
            match = _TOKEN.match(self.text, place)
            if match is None or match.lastgroup is None:
                unclosed = "a closing quote" if self.text[place] in "\"'`" else f"a condition such as {_EXAMPLE}"
                raise self._error(place, f"expected {unclosed}, not {self.text[place : place + 20]!r}")
            kind, text = match.lastgroup, match[0]
            if kind == "word" and text.lower() in _KEYWORDS:
                kind, text = "keyword", text.lower()
            tokens.append(_Token(kind, text, place))
            place = match.end()
        return tokens

    def _any_of(self) -> pa.ChunkedArray:
        mask = self._all_of()
        while self._skip("or"):
            mask = pc.or_kleene(mask, self._all_of())
        return mask

    def _all_of(self) -> pa.ChunkedArray:
        mask = self._one()
        while self._skip("and"):
            mask = pc.and_kleene(mask, self._one())
        return mask

    def _one(self) -> pa.ChunkedArray:
        opening = self._peek()
        if opening.text not in ("not", "(") or opening.kind == "text":
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(opening.place, f"expected at most {DEEPEST} levels of parentheses and 'not'")
        self._next += 1
        if opening.text == "not":
            mask = pc.invert(self._one())
        else:
            mask = self._any_of()
            self._expect(")")
        self._depth -= 1
        return mask

    def _comparison(self) -> pa.ChunkedArray:
        token = self._peek()
        if token.kind not in ("word", "column"):
            raise self._unexpected(f"a column, as in {_EXAMPLE}")
        self._next += 1
        name = token.text.strip("`")
        if name not in self._table.column_names:
            raise self._error(token.place, f"no column {name!r:.100}{closest_name(name, self._table.column_names)}")
        self.columns += [name] if name not in self.columns else []
        column = self._column(name)
        if self._skip("is"):
            is_not = self._skip("not")
            self._expect("null")
            return pc.is_valid(column) if is_not else pc.is_null(column)
        negated = self._skip("not")
        if self._skip("in"):
            mask = self._is_in(name, column)
        elif self._skip("like"):
            place = self._peek().place
            if not _is_text(column.type):
                raise self._error(place, f"{name} holds no text: expected a comparison such as {name} = 3")
            mask = pc.match_like(column, self._value(name, column))
        elif self._peek().text in _COMPARISONS and not negated:
            sign = self._peek().text
            self._next += 1
            value = self._value(name, column)
            if _COMPARISONS[sign] is pc.equal and isinstance(value, str):
                self._names.append((name, value))
            return _compare(column, sign, value)
        else:
            raise self._unexpected("'in' or 'like'" if negated else "=, !=, <, <=, >, >=, 'in', 'like' or 'is null'")
        return pc.invert(mask) if negated else mask

    def _is_in(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        self._expect("(")
        values = [self._value(name, column)]
        while self._skip(","):
            values.append(self._value(name, column))
        self._expect(")")
        self._names += [(name, value) for value in values if isinstance(value, str)]
        kind = column.type
        if pa.types.is_integer(kind):
            known = pa.array([value for value in values if _fits(value, kind)], kind)
        elif _is_number(kind):
            known = pa.array([float(value) + 0.0 for value in values], pa.float64())
            column = pc.add(column.cast(pa.float64(), safe=False), 0.0)  # -0.0 is 0.0, as in other comparisons
        else:
            known = pa.array(values).cast(kind, safe=False)
        # A missing value is in no list, and outside of none.
        return pc.if_else(pc.is_valid(column), pc.is_in(column, known), pa.scalar(None, pa.bool_()))

    def _value(self, name: str, column: pa.ChunkedArray) -> Any:
        """Take the next token as a value of the type of a column."""
        token = self._peek()
        self._next += 1
        value: Any
        if token.kind == "text":
            value = token.text[1:-1].replace(token.text[0] * 2, token.text[0])
        elif token.kind == "number":
            whole = re.fullmatch(r"([-+]?\d{1,40})(\.0*)?", token.text)
            value = int(whole[1]) if whole else float(token.text)
            value = int(value) if isinstance(value, float) and value.is_integer() else value
        elif token.text in ("true", "false"):
            value = token.text == "true"
        elif token.kind == "word":
            shown = printable(token.text, SHOWN // 4)
            raise self._error(token.place, f'{shown} is not in quotes: expected "{shown}"')
        else:
            self._next -= 1
            raise self._unexpected("a value: text in quotes, or a number")
        expected = _expected(column.type)
        if not expected:
            raise self._error(token.place, f"{name} holds {column.type}, which no condition compares")
        takes_text = not (_is_number(column.type) or pa.types.is_boolean(column.type))
        if isinstance(value, str) != takes_text or isinstance(value, bool) != pa.types.is_boolean(column.type):
            raise self._error(token.place, f"{name} holds {expected}, not {printable(token.text, SHOWN // 4)}")
        return value

    def _column(self, name: str) -> pa.ChunkedArray:
        """Return a column with NaN as missing and dictionaries decoded."""
        column = self._table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_float16(column.type):
            column = column.cast(pa.float32())
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return column

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _skip(self, text: str) -> bool:
        """Step over a keyword or sign, if it comes next."""
        token = self._peek()
        is_next = token.kind in ("keyword", "sign") and token.text == text
        self._next += is_next
        return is_next

    def _expect(self, text: str) -> None:
        if not self._skip(text):
            raise self._unexpected(repr(text))

    def _unexpected(self, expected: str) -> DataError:
        token = self._peek()
        return self._error(token.place, f"expected {expected}, not {printable(token.text, SHOWN // 4) or 'the end'}")

    def _error(self, place: int, problem: str) -> DataError:
        return DataError(f"where {self.text!r:.200}, character {place + 1}: {problem}")


def check_mask(mask: Any, count: int) -> np.ndarray:
    """Return a mask (N,) of bool as an array.

    Raises:
        DataError: it is not a mask of `count` values.
    """
    values = np.asarray(mask)
    if values.dtype != bool or values.shape != (count,):
        problem = f"{values.dtype} of shape {values.shape}" if values.ndim else repr(mask)
        raise DataError(f"where: {problem}: expected a condition as text, or a mask ({count},) of bool")
    return values


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _expected(kind: pa.DataType) -> str:
    """Say what a column holds and how to write it; ``""`` for types that cannot be compared."""
    descriptions: Sequence[tuple[bool, str]] = (
        (_is_text(kind), "text: expected text in quotes"),
        (_is_number(kind), "numbers: expected a number without quotes"),
        (pa.types.is_boolean(kind), "true and false: expected one of them without quotes"),
        (pa.types.is_temporal(kind), 'times: expected one such as "2026-01-31"'),
    )
    return next((text for applies, text in descriptions if applies), "")


def _fits(value: float, kind: pa.DataType) -> bool:
    """Return whether a number is one of an integer type."""
    bits = kind.bit_width
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if pa.types.is_signed_integer(kind) else (0, 2**bits)
    return isinstance(value, int) and low <= value < high


def _compare(column: pa.ChunkedArray, sign: str, value: Any) -> pa.ChunkedArray:
    """Compare a column with a value, exactly where both are integers."""
    kind = column.type
    if isinstance(value, str):
        value = pa.scalar(value).cast(kind)
    elif pa.types.is_integer(kind) and _fits(value, kind):
        value = pa.scalar(value, kind)
    elif pa.types.is_integer(kind) and isinstance(value, int):  # all values of the type are on one side of it
        column, value = pc.if_else(pc.is_valid(column), pa.scalar(0.0), pa.scalar(None, pa.float64())), float(value)
    elif _is_number(kind):
        column, value = column.cast(pa.float64(), safe=False), float(value)
    return _COMPARISONS[sign](column, value)
