"""Name rows that seem to sum up others: totals, means and further statistics, as spreadsheets have them below a table."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aekit.data.readers._cell_types import as_written
from aekit.data.readers._record_types import is_text
from aekit.io.arrow import arrow_texts

_TOTALS = (
    r"(?:(?:grand|sub|overall|column|sum|row)[ -]?)?totals?|(?:sub|grand)?sums?|gesamt(?:ergebnis|summe|wert)?|insgesamt|"
    r"(?:zwischen)?summe|teilergebnis|(?:sous-)?total (?:g[eé]n[eé]ral|geral)|sous-total|total(?:e complessivo|e|t)|somme|"
    r"subtotal|suma(?: total| ko\S+)?|soma|somma|(?:eind)?totaal|som|razem|celkem|(?:genel )?toplam|summa|"
    r"(?:общий )?итого?|всего|сумма|[合总總]计|合計|総計|小[计計]|합계|총계|소계"
)
_STATISTICS = (
    r"(?:grand |overall )?(?:averages?|means?|medians?)|avg|mittelwert|durchschnitt|mittel|moyenne|m[eé]diane|promedio|mediana|"
    r"m[eé]dia|gemiddelde|[sś]rednia|ortalama|medelv[aä]rde|pr[uů]m[eě]r|среднее|平均[值値]?|평균|"
    r"st(?:an)?d(?:ard)?\.? ?dev(?:iation)?\.?|s\.?d\.?|stdev|standardabweichung|[eé]cart[- ]type|std"
)
_OTHERS = r"min(?:imum)?|max(?:imum)?|count|n|all|overall|range|variance|var|se|sem|cv|\d\d?%|q[123]"
"""What may be a name, and says that a row sums up others only beside such rows, or where a column is called so too."""
_BEHIND = r"[ :.]*(?:\(.*\))?[ :.]*"
_TOTAL, _STATISTIC = (re.compile(rf"(?i)(?:{words}){_BEHIND}") for words in (_TOTALS, f"{_TOTALS}|{_STATISTICS}"))
_OTHER = re.compile(rf"(?i)(?:{_OTHERS}){_BEHIND}")
_LAST_ROWS, _COLUMNS, _SHOWN = 12, 20, 3
"""Rows at the end, and columns of text, in which such words are looked for; and how many are named."""
_EXACT, _ROUNDED = 1e-9, 1e-3
"""Error of a sum, as a fraction of the magnitudes, and of a mean that is rounded, as one of the spread."""


def rows_that_sum_up(table: pa.Table) -> list[str]:
    """Return a line on the last rows, or on others, if they are called totals, means or the like; they are read as samples."""
    if table.num_rows < 2 or table.num_columns < 2:
        return []
    texts = [name for name in table.column_names if is_text(as_written(table[name].slice(0, 1)).type)][:_COLUMNS]
    start = max(table.num_rows - _LAST_ROWS, 0)
    names: list[str] = []
    for row in range(table.num_rows - 1, start - 1, -1):
        word = next((word for name in texts if (word := _word_in(table, name, row))), "")
        if not word:
            break
        names.insert(0, word)
    if names and (len(names) > 1 or _STATISTIC.fullmatch(names[0]) or names[0] in table.column_names):
        if len(names) == 1:
            return [f"the last row, {names[0]!r}, is read as a sample: remove it if it sums up the others"]
        shown = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
        return [f"the last {len(names)} rows, {shown}, are read as samples: remove them if they sum up the others"]
    return _totals_of_groups(table, texts[0]) if texts[:1] == table.column_names[:1] else []


def _word_in(table: pa.Table, name: str, row: int) -> str:
    """Return the cell of a row if it says that the row sums up others, and no other row has it, as a category would."""
    column = as_written(table[name])
    word = (column[row].as_py() or "").strip()
    if not _STATISTIC.fullmatch(word) and not _OTHER.fullmatch(word):
        return ""
    cells = pc.utf8_trim_whitespace(column)
    is_alone = pc.sum(pc.equal(cells, word)).as_py() == 1
    return word if is_alone and pc.count_distinct(cells).as_py() > 2 else ""


def _totals_of_groups(table: pa.Table, name: str) -> list[str]:
    cells = pc.utf8_trim_whitespace(as_written(table[name]))
    distinct = pc.unique(cells)
    # The totals of groups are among many names; of a few categories, one may well be called so.
    names = distinct.filter(pc.match_substring_regex(distinct, f"^(?:{_TOTAL.pattern})$")).to_pylist()
    if not names or len(distinct) <= 2:
        return []
    is_total = pc.is_in(cells, arrow_texts(names))
    count = pc.sum(is_total).as_py()
    rows = "1 row" if count == 1 else f"{count:,} rows"
    return [f"{rows} called {names[0]!r} (row {pc.index(is_total, True).as_py()}): remove what sums up others"]


def last_row_of_numbers(numeric: Collection[tuple[str, np.ndarray]]) -> list[str]:
    """Return a line if the last row is the sum, or the mean, of the others in all columns that have a number there.

    Args:
        numeric: names and (N,) numbers of the columns.
    """
    known = [(name, values[:-1], values[-1]) for name, values in numeric if np.isfinite(values[-1])]
    known = [(name, others[np.isfinite(others)], last) for name, others, last in known]
    if not known or any(len(others) < 2 for _, others, _ in known):
        return []
    shown = ", ".join(repr(name) for name, _, _ in known[:5])
    if all(_is_sum(others, last) for _, others, last in known):
        return [f"the last row is the sum of the others in {shown}; is it a sample?"]
    if len(known) > 1 and all(abs(last - others.mean()) < _ROUNDED * others.std() for _, others, last in known):
        return [f"the last row is the mean of the others in {shown}; is it a sample?"]
    return []


def _is_sum(others: np.ndarray, last: float) -> bool:
    return bool(last != 0 and abs(others.sum() - last) <= _EXACT * (np.abs(others).sum() + abs(last)))
