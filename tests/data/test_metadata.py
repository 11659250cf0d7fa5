"""Columns beside the samples: what is kept of them, with which types, and by which sources."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Said
from PIL import Image

import aekit
from aekit.data.metadata import MOST_COLUMNS, Metadata, to_plain
from aekit.data.readers._cell_types import as_cells
from aekit.data.source import Source
from aekit.errors import DataError

UTC = datetime.UTC
DAY, MOMENT = datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31, 12, 30)


def written(*cells: str) -> pa.ChunkedArray:
    """A column of a text file."""
    return as_cells(pa.chunked_array([list(cells)], pa.string()))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (written("3", "", "1e2"), [3.0, None, 100.0]),
        (written("3", "-4", "NA"), [3, -4, None]),
        (written("00117", "00118", ""), ["00117", "00118", None]),
        (written("True", "false", "?"), [True, False, None]),
        (written("Rome", "", "Oslo"), ["Rome", None, "Oslo"]),
        (written("2026-01-31", "", "2026-01-31"), [DAY, None, DAY]),
        (written("31.01.2026", "31.01.2026"), [DAY, DAY]),
        (written("2026-01-31T12:30", "2026-01-31T13:30+01:00"), [MOMENT, MOMENT]),
        (written("12:30", "13:00"), ["12:30", "13:00"]),
        (pa.chunked_array([[1.5, float("nan")]]), [1.5, None]),
        (pa.chunked_array([[Decimal("9.90"), None]]), [9.9, None]),
        (pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()]), ["a", "b", "a"]),
        (pa.chunked_array([pa.array([7, 8], pa.uint8())]), [7, 8]),
        (pa.chunked_array([[MOMENT.replace(tzinfo=UTC)]]), [MOMENT]),
        (pa.chunked_array([pa.array([MOMENT], pa.timestamp("ns"))]), [MOMENT]),
        (pa.chunked_array([[datetime.timedelta(minutes=2)]]), [120.0]),
        (pa.chunked_array([["x", "", None]]), ["x", "", None]),
    ],
)
def test_columns_get_plain_types(column: pa.ChunkedArray, values: list[object]) -> None:
    plain = to_plain(column)
    assert not plain.problem and plain.column.to_pylist() == values


def test_what_changes_or_cannot_be_kept_is_said() -> None:
    said = Said()
    table = pa.table(
        {
            "price": written("1", "2", "3", "sold out", "5"),
            "when": written(*["01/02/2026"] * 5),
            "lasts": [datetime.timedelta(seconds=1)] * 5,
            "zone": pa.array([MOMENT] * 5, pa.timestamp("us", "Europe/Rome")),
            "tags": [[1]] * 5,
            "empty": pa.nulls(5),
            "story": ["once upon a time " * 50] * 5,
            "hash": list("abcde"),
            "huge": pa.array([2**64 - 1] * 5, pa.uint64()),
        }
    )
    kept = Metadata.of(table).choose("auto", said)
    assert kept is not None and kept.column_names == ["price", "when", "lasts", "zone"]
    assert said.lines == [
        "metadata kept: price (number), when (text), lasts (number), zone (time)",
        "metadata price: 'sold out' among its numbers are missing values",
        "metadata when: kept as text, as dates such as '01/02/2026' can be read in two ways; write them as 2024-12-31",
        "metadata lasts: in seconds",
        "metadata zone: in UTC, from Europe/Rome",
        "metadata left out: tags (holds list<item: int64>), empty (all values are missing), story (long text), "
        "hash (embeddings use this name themselves; rename the column), huge (whole numbers beyond 2^63); "
        "metadata (--metadata) chooses columns",
    ]


def test_named_columns_are_kept_or_refused() -> None:
    columns = Metadata.of(pa.table({"price": [1, 2], "tags": [[1], [2]], "story": ["once " * 999] * 2}), unasked=())
    assert columns.choose("auto") is None
    kept = columns.choose(["story", "price"])
    assert kept is not None and kept.column_names == ["story", "price"]
    with pytest.raises(DataError, match=r"metadata 'prise': no such column; did you mean 'price'\?"):
        columns.choose(["prise"])
    with pytest.raises(DataError, match="metadata 'tags': holds list"):
        columns.choose(["tags"])


def test_many_columns_are_kept_up_to_a_number() -> None:
    said = Said()
    kept = Metadata.of(pa.table({f"c{n}": [n] for n in range(MOST_COLUMNS + 2)})).choose("auto", said)
    assert kept is not None and kept.num_columns == MOST_COLUMNS
    assert f"c64, c65 (beyond the first {MOST_COLUMNS})" in said.lines[1]


def offers(source: Source) -> dict[str, list[object]]:
    table = source.metadata.choose("auto") if source.metadata else None
    return {} if table is None else table.to_pydict()


def test_sources_offer_their_further_columns(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    prices, cities = [n / 2 for n in range(12)], ["Rome", "Oslo"] * 6
    further = {"price": prices, "city": cities}
    records = [
        {"id": str(n), "vector": vectors[n].tolist(), "label": "ab"[n % 2], "price": prices[n], "city": cities[n]}
        for n in range(12)
    ]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, records)), "utf-8")
    assert offers(aekit.open_data(tmp_path / "records.jsonl")) == further
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "records.parquet", row_group_size=5)
    assert offers(aekit.open_data(tmp_path / "records.parquet")) == further
    assert offers(aekit.open_data(pa.Table.from_pylist(records))) == further
    assert offers(aekit.open_data(vectors)) == {}
    for number in range(12):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number}.png")
    rows = pd.DataFrame({"path": [f"{n}.png" for n in range(12)], "label": ["a", "b"] * 6, **further})
    rows.assign(mask=rows.path).to_csv(tmp_path / "list.csv", index=False)
    source = aekit.open_data(tmp_path / "list.csv")
    assert offers(source) == further and source.labels is not None


def test_rows_of_measurements_offer_what_is_no_entry_and_entries_by_name(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 2)).round(3)
    days = [f"2026-01-{n + 1:02d}" for n in range(30)]
    table = pd.DataFrame({"index": range(30), "x": rows[:, 0], "y2": rows[:, 1], "day": days, "label": ["a", "b"] * 15})
    table.to_csv(tmp_path / "rows.csv", index=False)
    for source in (aekit.open_data(tmp_path / "rows.csv"), aekit.open_data(table)):
        assert source.spec.shape == (2,)
        assert offers(source) == {"day": [datetime.date(2026, 1, n + 1) for n in range(30)]}
        assert source.metadata is not None
        named = source.metadata.choose(["x", "index"])
        assert named is not None and named.to_pydict() == {"x": rows[:, 0].tolist(), "index": list(range(30))}


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    names = {"_type": "ClassLabel", "names": ["plant", "animal"]}
    facts = {"info": {"features": {"coarse": names, "label": {"_type": "ClassLabel", "names": ["ash", "bee"]}}}}
    table = pa.table({"vector": [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], "coarse": [0, 1, -1], "label": [0, 1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(facts)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert offers(aekit.open_data(tmp_path / "a.parquet")) == {"coarse": ["plant", "animal", None]}
