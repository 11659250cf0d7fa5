"""Read word vectors as GloVe, word2vec and fastText write them: a word and its numbers a line, without names of columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from aekit.data.readers._cell_types import as_cells
from aekit.data.readers._listed_paths import is_image_name
from aekit.errors import DataError

_COUNTS = re.compile(r"(\d+) (\d+)\s*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_NO_WORD = re.compile(r"[-+.]?\d|.+[,;|]")
"""Texts that begin as numbers and dates do, or hold cells of another table."""
_MIN_ROWS = 3


def find_word_vectors(lines: Sequence[str]) -> tuple[int, int | None] | None:
    """Return the number of entries of each vector, and how many the first line announces, where lines hold word vectors.

    Their words differ, and mostly begin with no digit, as dates do; a first line may hold the numbers of words and entries.
    """
    counts = _COUNTS.fullmatch(lines[0])
    if not counts and ("\t" in lines[0] or all(map(_YEAR.fullmatch, lines[0].split()[1:]))):
        return None  # these programs separate by blanks, and years are names of columns
    rows = [line.split() for line in lines[1 if counts else 0 :] if line.strip()]
    if len(rows) < _MIN_ROWS:
        return None
    dim = int(counts[2]) if counts else Counter(map(len, rows)).most_common(1)[0][0] - 1  # few words hold blanks
    if dim < 2 or any(len(row) <= dim for row in rows):
        return None
    words = [" ".join(row[:-dim]) for row in rows]
    if not all(words) or len(set(words)) < len(words) or all(map(is_image_name, words)):
        return None
    if sum(bool(_NO_WORD.match(word)) for word in words) > len(words) // 2:
        return None
    if not all(_NUMBER.fullmatch(cell) for row in rows for cell in row[-dim:]):
        return None
    return dim, int(counts[1]) if counts else None


def parse_word_vectors(path: Path, body: bytes, names: list[str], count: int | None) -> tuple[pa.Table, list[str]]:
    """Parse lines of word vectors, in UTF-8.

    Args:
        path: of the file, for messages.
        body: its lines below the first one, if that announces numbers.
        names: names of the columns.
        count: number of words that the first line announces, or None.

    Returns:
        a column of the words as they are, which may hold blanks, and those of the numbers; and lines about what is missing.

    Raises:
        DataError: a line has no word, or too few numbers.
    """
    words, numbers, dim = list[str](), list[bytes](), len(names) - 1
    for place, line in enumerate(body.split(b"\n")):
        cells = line.rsplit(None, dim)
        if len(cells) == dim + 1:
            words.append(cells[0].decode("utf-8", "replace").strip())
            numbers.append(b"\t".join(cells[1:]))
        elif cells:
            line_number = place + 1 + (count is not None)
            raise DataError(f"{path}: line {line_number}: expected a word and {dim} numbers")
    options: dict[str, Any] = {"parse_options": pa_csv.ParseOptions(delimiter="\t", quote_char=False)}
    options["read_options"] = pa_csv.ReadOptions(column_names=names[1:])
    options["convert_options"] = pa_csv.ConvertOptions(column_types=dict.fromkeys(names[1:], pa.string()))
    table = pa_csv.read_csv(pa.py_buffer(b"\n".join(numbers)), **options)
    columns = [pa.chunked_array([words], pa.string()), *table.columns]
    marked = [as_cells(column) for column in columns]
    table = pa.Table.from_arrays(marked, schema=pa.schema([pa.field(n, c.type) for n, c in zip(names, marked)]))
    lacks = count is not None and count != len(words)
    return table, [f"line 1 announces {count:,} words, the file has {len(words):,}"] if lacks else []
