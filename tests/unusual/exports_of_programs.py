"""Workbooks, logs and tables as offices, instruments and competitions write them."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from unusual.exports import NAMES, NOISE, opened, rows, table, values
from unusual.harness import Area, Listener

import aekit
from aekit.errors import DataError

AREA = Area(__name__)
HEADER = ",".join(NAMES)


def workbook(path: Path, **sheets: list[list[Any]]) -> None:
    """Save sheets of rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, cells in sheets.items():
        sheet = book.create_sheet(name)
        for row in cells:
            sheet.append(row)
    book.save(path)


# ---- the lines around a table


@AREA.changed(
    "a title, an empty line and a line of units in a workbook", "1 line before the table skipped: Report of 2024"
)
def _(folder: Path, listener: Listener) -> None:
    workbook(folder / "t.xlsx", a=[["Report of 2024"], [], NAMES, ["[kg]", "[m]", "[s]"], *NOISE.tolist()])
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert source.spec.names == NAMES and np.array_equal(values(source)[1:], NOISE)


@AREA.changed("30 lines of settings of an instrument above the names", "30 lines before the table skipped: Setting 0,0")
def _(folder: Path, listener: Listener) -> None:
    text = "".join(f"Setting {number},{number},,,\n" for number in range(30))
    source = opened(folder, text + rows(np.hstack([NOISE, NOISE[:, :2]]), "h,w,d,e,f"))
    source.report_notes(listener)
    assert source.spec.names == ["h", "w", "d", "e", "f"] and len(source) == 40


@AREA.changed(
    "a logger that describes itself in a line that is longer than the rows", "1 line before the table skipped: TOA5"
)
def _(folder: Path, listener: Listener) -> None:
    measured = "".join(f'"2024-01-01 00:{row:02d}:00",{row},{h},{w}\n' for row, (h, w, _) in enumerate(NOISE.tolist()))
    names = '"TIMESTAMP","RECORD","BattV","Temp"\n"TS","RN","Volts","Deg C"\n'
    source = opened(folder, "TOA5,CR1000,CR1000,4711,OS,program,12,Table1\n" + names + measured)
    source.report_notes(listener)
    assert source.spec.names == ["BattV", "Temp"] and np.array_equal(values(source)[1:], NOISE[:, :2])


@AREA.refused("a name more than there are columns is no line above the names", "Expected 3 columns, got 2")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, rows(NOISE[:, :2], "h,w,d"))


@AREA.changed(
    "files joined with their names, one with a byte-order mark", "2 rows that repeat the names of the columns (row 20)"
)
def _(folder: Path, listener: Listener) -> None:
    kinds = "".join(f"{'abc'[row % 3]},{h},{w}\n" for row, (h, w, _) in enumerate(NOISE[:20].tolist()))
    part = "kind,h,w\n" + kinds
    source = opened(folder, f"{part}{part}\ufeff{part}")
    source.report_notes(listener)
    assert len(source) == 60 and source.spec.columns[0].categories == ("a", "b", "c")


@AREA.right("categories that repeat in the words of line 1 are rows")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "a,b\n" + "a,c\nb,b\na,b\n" * 10, header=True)
    assert len(source) == 30


@AREA.changed("invisible characters beside numbers", "2 invisible characters in the text are left out")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, rows(NOISE, HEADER).replace("\n0.", "\n\u200b0.", 1).replace("h,w", "h,\u200ew"))
    source.report_notes(listener)
    assert source.spec.names == NAMES and np.array_equal(values(source), NOISE)


@AREA.right("names and words in quotes behind blanks")
def _(folder: Path, listener: Listener) -> None:
    cells = "".join(f'{h}, {w}, "{"uv"[row % 2]}"\n' for row, (h, w, _) in enumerate(NOISE.tolist()))
    source = opened(folder, f'"h", "w", "class"\n{cells}')
    assert source.spec.names == ["h", "w"] and np.unique(source.labels).tolist() == ["u", "v"]


@AREA.right("dashes of word processors as minus signs")
def _(folder: Path, listener: Listener) -> None:
    dashed = rows(NOISE, HEADER).replace("-", "\u2013")
    assert np.array_equal(values(opened(folder, dashed)), NOISE)
    kinds = table(folder, {"h": NOISE[:, 0], "range": ["10\u201320", "\u2013"] * 20}, "kinds.csv")
    assert kinds.spec.columns[1].categories == ("10\u201320", "\u2013")


# ---- columns


@AREA.changed("a column named id", "column 'ID' holds the ids")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"ID": [f"s{row}" for row in range(40)], "h": NOISE[:, 0], "w": NOISE[:, 1]})
    source.report_notes(listener)
    assert source.ids[0] == "s0" and source.spec.names == ["h", "w"]


@AREA.changed(
    "<0.05 and >100 in a fifth of the numbers",
    "columns with words among their numbers ignored: 'crp' ('<0.05', '>100')",
)
def _(folder: Path, listener: Listener) -> None:
    crp = ["<0.05" if row % 8 == 0 else ">100" if row % 13 == 5 else str(h) for row, h in enumerate(NOISE[:, 0])]
    assert table(folder, {"crp": crp, "w": NOISE[:, 1]}).spec.names == ["w"]


@AREA.refused(
    "<0.05 in a fifth of the numbers of a chosen column", "words among the numbers of 'crp' ('<0.05'); write numbers"
)
def _(folder: Path, listener: Listener) -> None:
    crp = ["<0.05" if row % 5 == 0 else str(h) for row, h in enumerate(NOISE[:, 0])]
    table(folder, {"crp": crp, "w": NOISE[:, 1]}, x="crp")


@AREA.changed("empty cells of a category", "cells without a category: 'kind' (4 of 40)")
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"kind": ["", *"abcabcabc"] * 4, "w": NOISE[:, 1]})
    source.report_notes(listener)
    assert not values(source)[0, :3].any()


@AREA.changed("cells that are merged over several rows", "'plant' has each value once, with empty cells below")
def _(folder: Path, listener: Listener) -> None:
    table(folder, {"plant": [name for group in "ABCD" for name in (group, *[""] * 9)], "w": NOISE[:, 1]})


@AREA.changed(
    "classes called NA, such as North America", "'NA' in 'label' is no label, but a missing one, in 20 of 40 rows"
)
def _(folder: Path, listener: Listener) -> None:
    source = table(folder, {"label": ["NA", "EU"] * 20, "h": NOISE[:, 0], "w": NOISE[:, 1]})
    source.report_notes(listener)
    assert source.labels is not None and source.labels.tolist() == ["", "EU"] * 20


@AREA.refused("pixels as text, as in FER2013", "'pixels' holds lists of 64 numbers as text, which are not read")
def _(folder: Path, listener: Listener) -> None:
    pixels = [" ".join(map(str, range(row, row + 64))) for row in range(40)]
    table(folder, {"emotion": [row % 7 for row in range(40)], "pixels": pixels})


@AREA.changed("PublicTest and PrivateTest, as competitions call their splits", "column 'Usage' holds the splits")
def _(folder: Path, listener: Listener) -> None:
    usage = (["Training"] * 2 + ["PublicTest", "PrivateTest"]) * 10
    source = table(folder, {"Usage": usage, "h": NOISE[:, 0], "w": NOISE[:, 1]})
    source.report_notes(listener)
    assert source.splits is not None and source.splits[:4].tolist() == ["train", "train", "validation", "test"]


@AREA.changed(
    "nanoseconds as whole numbers are said to be ignored alone", "beyond 2^53, which float64 would round, ignored: 't'"
)
def _(folder: Path, listener: Listener) -> None:
    table(folder, {"t": [1700000000000000000 + 7919 * row for row in range(40)], "h": NOISE[:, 0]})
    assert not any("used as numbers" in line for line in listener.lines)


# ---- workbooks


@AREA.changed(
    "a workbook with remarks on its first sheet", "sheet 'data' of 2 is read; data.arrays.sheet = ... reads 'README'"
)
def _(folder: Path, listener: Listener) -> None:
    workbook(folder / "t.xlsx", README=[["The data of a study."], ["Ask us!"]], data=[NAMES, *NOISE.tolist()])
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert np.array_equal(values(source), NOISE)


@AREA.right("a workbook of a single column of numbers before another sheet")
def _(folder: Path, listener: Listener) -> None:
    workbook(folder / "t.xlsx", a=[["h"], *[[value] for value in NOISE[:, 0].tolist()]], b=[NAMES, *NOISE.tolist()])
    assert np.array_equal(values(aekit.open_data(folder / "t.xlsx"))[:, 0], NOISE[:, 0])


@AREA.changed("durations in a workbook", "durations are read as seconds")
def _(folder: Path, listener: Listener) -> None:
    cells = [[datetime.timedelta(hours=1, minutes=row * 7 % 40), h] for row, h in enumerate(NOISE[:, 0].tolist())]
    workbook(folder / "t.xlsx", a=[["took", "h"], *cells])
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert values(source)[:2, 0].tolist() == [3600, 4020]


@AREA.refused(
    "text named as a workbook, as instruments export it",
    "not a workbook; give it a name that ends in .tsv",
)
def _(folder: Path, listener: Listener) -> None:
    text = rows(NOISE, HEADER).replace(",", "\t")
    for name in ("t.xlsx", "t.ods"):
        with pytest.raises(DataError, match=r"ends in \.tsv"):
            opened(folder, text, name)
    opened(folder, text, "t.xls")


@AREA.refused("a web page under the name of a workbook, which spreadsheet programs open", "save it from there as .xlsx")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "<html><table><tr><td>1</td></tr></table></html>", "t.xls")


# ---- files of other kinds


@AREA.right("a .dat file of KEEL, which describes its columns as ARFF does")
def _(folder: Path, listener: Listener) -> None:
    attributes = (
        "@attribute h real [-3, 3]\n@attribute w real [-3, 3]\n@attribute kind {a, b}\n@inputs h, w\n@outputs kind\n"
    )
    cells = "".join(f"{h}, {w}, {'ab'[row % 2]}\n" for row, (h, w, _) in enumerate(NOISE.tolist()))
    source = opened(folder, f"@relation noise\n{attributes}@data\n{cells}", "noise.dat")
    assert source.spec.names == ["h", "w"] and np.array_equal(values(source), NOISE[:, :2])
    assert source.labels is not None and source.labels[:2].tolist() == ["a", "b"]


@AREA.refused("sparse rows of LIBSVM, of which one is empty", "load it by sklearn.datasets.load_svmlight_file")
def _(folder: Path, listener: Listener) -> None:
    with pytest.raises(DataError, match="load_svmlight_file"):
        opened(folder, "1 1:2\n", "t.svm")
    opened(folder, "-1\n+1 3:0.5 7:1\n" * 20, "t.txt")


@AREA.refused("a CSV that was unpacked and kept its name", "t.csv.gz: not gzipped; its name should not end in .gz")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, rows(NOISE, HEADER), "t.csv.gz")


@AREA.refused(
    "a gzipped volume of a scanner", "not an IDX file; it begins with 5c010000; unpack it first if it is something"
)
def _(folder: Path, listener: Listener) -> None:
    (folder / "brain.nii.gz").write_bytes(gzip.compress(b"\x5c\x01\0\0" + bytes(344)))
    aekit.open_data(folder / "brain.nii.gz")


@AREA.refused("a folder of an archive, which is not unpacked", "no samples; found 1 .zip; unpack it first")
def _(folder: Path, listener: Listener) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "all.zip").write_bytes(b"PK\x03\x04")
    aekit.open_data(folder / "photos")


@AREA.refused("a part of an archive", "it is a part of an archive: join the parts")
def _(folder: Path, listener: Listener) -> None:
    (folder / "photos.zip.001").write_bytes(b"PK\x03\x04")
    aekit.open_data(folder / "photos.zip.001")
