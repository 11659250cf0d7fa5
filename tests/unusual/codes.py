"""Codes and dates in tables that look like numbers, how cells are quoted, and numbers too large for 64 bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from unusual.harness import Area, Listener
from unusual.tables import NOISE, labels, opened, text, values, written

import aekit
from aekit.data.source import Source

AREA = Area(__name__)
ROWS = range(60)
USED = "used as numbers, but may be codes or times"


def with_column(folder: Path, name: str, cell: Callable[[int], object], **options: object) -> Source:
    """Open a table of numbers with one more column."""
    return opened(folder, text([[*NOISE[i], cell(i)] for i in ROWS], f"h,w,d,{name}"), **options)  # type: ignore[arg-type]


@AREA.changed("ZIP codes with leading zeros", "leading zeros or signs mean codes, not numbers: 'zip' (00037)")
def _(folder: Path, listener: Listener) -> None:
    assert with_column(folder, "zip", lambda i: f"{37 + 1613 * i % 99999:05d}").spec.names == ["h", "w", "d"]
    chosen = with_column(folder, "zip", lambda i: f"{37 + 1613 * i % 99999:05d}", x=["h", "zip"])
    assert values(chosen)[0, 1] == 37 and any("codes are read as numbers" in line for line in chosen.losses)


@AREA.changed("a few codes with leading zeros, which are categories", "'plz' (00037)")
def _(folder: Path, listener: Listener) -> None:
    source = with_column(folder, "plz", lambda i: ("00037", "01234", "94110", "NA")[i % 4])
    assert source.spec.names[3:] == ["plz: 00037", "plz: 01234", "plz: 94110"]
    assert values(source)[:4, 3:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    frame = pd.DataFrame(NOISE, columns=["h", "w", "d"]).assign(plz=[("00037", "01234")[i % 2] for i in ROWS])
    assert aekit.open_data(frame).spec.names[3:] == ["plz: 00037", "plz: 01234"]


@AREA.changed("telephone numbers with a plus", "'tel' (+49151")
def _(folder: Path, listener: Listener) -> None:
    assert with_column(folder, "tel", lambda i: f"+49151{7919 * i:08d}").spec.names == ["h", "w", "d"]
    assert with_column(folder, "tel", lambda i: f"030 {100 + 7 * i} {200 + 11 * i}").spec.names == ["h", "w", "d"]
    assert with_column(folder, "gain", lambda i: f"+{i % 9}").spec.names[-1] == "gain", "a number with its sign"


@AREA.changed("telephone numbers, ZIP codes, product codes and ids that repeat, without zeros", USED)
def _(folder: Path, listener: Listener) -> None:
    for name, cell in {
        "phone": lambda i: 4915100000000 + i * 7919,
        "zip_code": lambda i: 10000 + i * 1613 % 89999,
        "product": lambda i: 100000 + i * 73939 % 899999,
        "customer_id": lambda i: 1000 + i // 3,
        "PostalCode": lambda i: 500 + i % 7,
    }.items():
        assert any(USED in line and repr(name) in line for line in with_column(folder, name, cell).losses), name


@AREA.right("numbers that are no codes: of one width and a small range, counts, and years")
def _(folder: Path, listener: Listener) -> None:
    weights = np.random.default_rng(0).integers(52341, 58233, 60)
    assert not with_column(folder, "weight", lambda i: weights[i]).losses
    assert not with_column(folder, "phone", lambda i: i % 2).losses, "whether there is one"
    assert not with_column(folder, "born", lambda i: 1950 + 7 * i % 50).losses


@AREA.changed("dates of eight, six and fourteen digits", "dates as whole numbers ignored: 'when' (20240101)")
def _(folder: Path, listener: Listener) -> None:
    for cell in (
        lambda i: 20240101 + i % 28 + 100 * (i // 28),
        lambda i: (2019 + i // 12) * 100 + i % 12 + 1,
        lambda i: f"202401{i % 28 + 1:02d}1230{i:02d}",
    ):
        source = with_column(folder, "when", cell)
        assert source.spec.names == ["h", "w", "d"] and "dates as whole numbers" in source.losses[0]
    assert "when" in with_column(folder, "when", lambda i: 20240101 + i % 28, x=["h", "when"]).spec.names
    assert "when" in with_column(folder, "when", lambda i: 20240101 + i * 50).spec.names, "months of 50 days"


@AREA.changed("times as Excel, MATLAB and Unix count them", USED)
def _(folder: Path, listener: Listener) -> None:
    for name, cell in {
        "Timestamp": lambda i: f"{45292 + i * 7 % 60 / 48:.5f}",
        "datenum": lambda i: 739252 + i * 7 % 60,
        "created_at": lambda i: 1700000000 + i * i * 3571 % 100000,
    }.items():
        assert any(USED in line for line in with_column(folder, name, cell).losses), name


@AREA.changed("a table in which all numbers have leading zeros", "read as numbers, as all columns have leading zeros")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, text([[f"{(37 * i + 11 * j) % 512:04d}" for j in range(3)] for i in ROWS], "a,b,c"))
    assert values(source)[1].tolist() == [37, 48, 59]


@AREA.right("new rows for an encoder that was trained on a column before it had leading zeros")
def _(folder: Path, listener: Listener) -> None:
    like = with_column(folder, "n", lambda i: 7 * i % 50).spec
    assert values(with_column(folder, "n", lambda i: f"{i:03d}", like=like))[5, 3] == 5


@AREA.right("addresses of the internet beside decimal commas")
def _(folder: Path, listener: Listener) -> None:
    rows = [[str(NOISE[i, 0]).replace(".", ","), f"192.168.100.{100 + i}"] for i in ROWS]
    assert opened(folder, text(rows, "h;ip", ";")).spec.names == ["h"]


@AREA.changed("a column of 0 and 1 that says which rows are for training", "'is_train' (a split)")
def _(folder: Path, listener: Listener) -> None:
    assert with_column(folder, "is_train", lambda i: int(i % 3 > 0)).spec.names == ["h", "w", "d"]


@AREA.changed("cells that are quoted by apostrophes", "cells are quoted by apostrophes")
def _(folder: Path, listener: Listener) -> None:
    rows = [[f"'{NOISE[i, 0]}'", f"'{NOISE[i, 1]}'", f"'it''s, {'ab'[i % 2]}'"] for i in ROWS]
    source = opened(folder, text(rows, "'h','w','class'"))
    listener.lines += source.notes
    assert np.array_equal(values(source), NOISE[:, :2]) and labels(source)[:2] == ["it's, a", "it's, b"]
    names = opened(folder, text([[NOISE[i, 0], f"O'Neil {i % 2}"] for i in ROWS], "h,class"))
    assert labels(names)[0] == "O'Neil 0" and not any("apostrophes" in line for line in names.notes)


@AREA.changed("quotes inside cells with a backslash, as MySQL writes them", "written with a backslash")
def _(folder: Path, listener: Listener) -> None:
    rows = [[NOISE[i, 0], rf'"he said \"{"xy"[i % 2]}\", ok"'] for i in ROWS]
    source = opened(folder, text(rows, "h,class"))
    listener.lines += source.notes
    assert labels(source)[0] == 'he said "x", ok'
    paths = opened(folder, text([[NOISE[i, 0], rf'"C:\{"xy"[i % 2]}\"'] for i in ROWS], "h,class"))
    assert labels(paths)[0] == "C:\\x\\", "the end of a path"


@AREA.changed("JSON with whole numbers beyond 64 bits", "beyond 2^53, which float64 would round, ignored: 'k'")
def _(folder: Path, listener: Listener) -> None:
    records = [{"a": i % 7 / 7, "k": 2**70 + i, "id": 2**80 + i, "label": 2**90 + i % 2} for i in ROWS]
    for name, content in {
        "t.jsonl": "\n".join(map(json.dumps, records)),
        "t.json": json.dumps(records),
        "c.json": json.dumps({key: [record[key] for record in records] for key in records[0]}),
    }.items():
        source = aekit.open_data(written(folder, content, name))
        assert source.spec.names == ["a"] and source.ids[1] == str(2**80 + 1), name
        assert labels(source)[:2] == [str(2**90), str(2**90 + 1)]
    nested = "\n".join(json.dumps({"a": i % 7, "o": {"k": 2**70 + i}}) for i in ROWS)
    assert aekit.open_data(written(folder, nested, "n.jsonl")).spec.names == ["a"]


@AREA.refused(
    "JSON with a list that has a whole number beyond 64 bits", "'v' holds lists with a whole number beyond 64 bits"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(written(folder, "\n".join(json.dumps({"v": [2**70, i]}) for i in ROWS), "t.jsonl"))
