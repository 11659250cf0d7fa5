"""Files as the test corpora of other libraries hold them: several tables in one, drawn tables, hidden cells, cut sound, CIFAR."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from unusual.exports import NAMES, NOISE, opened, rows, values
from unusual.exports_of_programs import workbook
from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)
HEADER = ",".join(NAMES)


# ---- several tables


@AREA.changed(
    "a second table below an empty line, with its own names", "41 lines below an empty one seem to be another table"
)
def _(folder: Path, listener: Listener) -> None:
    first, other = rows(NOISE, HEADER), rows(NOISE[:, :2], "x,y")
    for below in (f"\n{other}", f",,\nSecond part,,\n{other}", f"\r\n\r\n{other}"):
        source = opened(folder, first + below)
        assert source.spec.names == NAMES and np.array_equal(values(source), NOISE)
    source.report_notes(listener)


@AREA.changed("a second table of the same columns on a sheet", "seem to be another table, of 'x', 'y', 'z'")
def _(folder: Path, listener: Listener) -> None:
    cells = NOISE.tolist()
    workbook(folder / "t.xlsx", a=[NAMES, *cells, [], ["x", "y", "z"], *cells])
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert np.array_equal(values(source), NOISE)


@AREA.right("empty lines between rows, with words in cells, and files joined with an empty line")
def _(folder: Path, listener: Listener) -> None:
    half = rows(NOISE[:20], HEADER)
    assert len(opened(folder, half + "\n" + rows(NOISE[20:], HEADER))) == 40
    assert len(opened(folder, half + "\n\n" + rows(NOISE[20:]))) == 40
    named = "".join(f"{kind},{h},{w}\n\n" for kind, (h, w, _) in zip("abcd" * 10, NOISE.tolist()))
    assert len(opened(folder, "kind,h,w\n" + named)) == 40


@AREA.refused(
    "a row of totals with other cells below an empty line", "the table seems to end at line 41: save it without"
)
def _(folder: Path, listener: Listener) -> None:
    opened(folder, rows(NOISE, HEADER) + "\nTotal,3\n")


@AREA.changed("two tables beside each other on a sheet", "an empty column is between 'd' and 'x': read as one table")
def _(folder: Path, listener: Listener) -> None:
    workbook(folder / "t.xlsx", a=[[*NAMES, None, "x"], *[[*row, None, row[0] + 1] for row in NOISE.tolist()]])
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert source.spec.names == [*NAMES, "x"]


# ---- drawn tables


def drawn(between: str, left: str = "", right: str = "") -> list[str]:
    return [f"{left} {between.join(map(str, cells))} {right}" for cells in [NAMES, *NOISE.tolist()]]


@AREA.changed("tables in Markdown, and as MySQL and PostgreSQL print them", "lines drawn around the cells")
def _(folder: Path, listener: Listener) -> None:
    line = "+----+----+----+"
    names, *below = drawn(" | ", "|", "|")
    bare, *psql = drawn(" | ")
    for lines in (
        [names, "|:---|:--:|---|", *below],
        [line, names, line, *below, line, "40 rows in set (0.00 sec)"],
        [bare, "----+----+----", *psql, "(40 rows)", ""],
    ):
        source = opened(folder, "\n".join(lines))
        assert source.spec.names == NAMES and np.array_equal(values(source), NOISE)
    source.report_notes(listener)


@AREA.changed("dashes for missing values beside bars, which draw no table", "'--' (row 0) among the numbers of 'h'")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "h|w|d\n--|1|2\n" + rows(NOISE).replace(",", "|"))
    listener.lines += source.losses
    assert np.isnan(values(source)[0, 0]) and np.array_equal(values(source)[1:], NOISE)


# ---- hidden parts of workbooks


def hide_cells(book: openpyxl.Workbook) -> None:
    for number in (3, 5, 90):
        book["new"].row_dimensions[number].hidden = True
    book["new"].column_dimensions["B"].hidden = True
    book["new"].column_dimensions.group("F", "XFD", hidden=True)


def hide_sheet(book: openpyxl.Workbook) -> None:
    book.create_sheet("old", 0).append(["a"])
    book["old"].sheet_state = "hidden"


def check_hidden(hide: Callable[[openpyxl.Workbook], None], folder: Path, listener: Listener) -> None:
    workbook(folder / "t.xlsx", new=[NAMES, *NOISE.tolist()])
    book = openpyxl.load_workbook(folder / "t.xlsx")
    hide(book)
    book.save(folder / "t.xlsx")
    source = aekit.open_data(folder / "t.xlsx")
    source.report_notes(listener)
    assert np.array_equal(values(source), NOISE)


for _what, _says, _hide in (
    ("rows and columns", "hidden in the sheet, but read: 2 rows (3, 5) and 1 column (B)", hide_cells),
    ("sheets", "hidden sheets are not read: 'old'", hide_sheet),
):
    AREA.changed(f"hidden {_what} of a workbook", _says)(partial(check_hidden, _hide))


# ---- sound, dates, and files of other programs


@AREA.changed("an MP3 file that is cut off, also behind a tag", "sound is cut off, and read up to there: 2 of 4 files")
def _(folder: Path, listener: Listener) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(folder / "a.mp3", np.random.default_rng(0).normal(size=64_000) / 10, 16_000)
    sound = (folder / "a.mp3").read_bytes()
    tagged = b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + sound
    for name, content in ({"b": sound[: len(sound) // 2], "c": tagged, "d": tagged[:-600]}).items():
        (folder / f"{name}.mp3").write_bytes(content)
    source = aekit.open_data(folder)
    listener.lines += source.losses
    assert "'b.mp3'" in source.losses[-1]


@AREA.changed("a date of SPSS beyond the year 9999", "dates are read as numbers, as the program counts them")
def _(folder: Path, listener: Listener) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    when = [1e10, 2e10, 1e15] * 8
    frame = pd.DataFrame(NOISE[:24], columns=NAMES).assign(when=when)
    pyreadstat.write_sav(frame, str(folder / "d.sav"), variable_format={"when": "DATETIME20"})
    source = aekit.open_data(folder / "d.sav")
    source.report_notes(listener)
    assert values(source)[:3, 3].tolist() == when[:3]


AREA.refused_file(
    "saved variables of IDL, which end as files of SPSS", "read it by scipy.io.readsav", "a.sav", b"SR\0\4" * 9
)
AREA.refused_file("an image that no source reads", "save the images as PNG or TIFF", "a.exr", b"v/1\1" * 9)


@AREA.refused(
    "the description of a package of data, which lists tables", "column 'path' names files that are no images"
)
def _(folder: Path, listener: Listener) -> None:
    resources = [{"name": name, "path": f"{name}.csv"} for name in "ab"]
    (folder / "datapackage.json").write_text(json.dumps({"name": "p", "resources": resources}))
    aekit.open_data(folder / "datapackage.json")


@AREA.refused("a folder of gzipped volumes of a scanner", "found 2 .nii.gz; save the images as PNG or TIFF")
def _(folder: Path, listener: Listener) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.nii.gz").write_bytes(b"\x1f\x8b")
    aekit.open_data(folder)


# ---- the binary version of CIFAR


def records(count: int, classes: int, label_bytes: int = 1, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (count, label_bytes + 3072), np.uint8)
    values[:, :label_bytes] = (np.arange(count) % classes)[:, None]
    return values


@AREA.right("the folders of the binary versions of CIFAR-10 and CIFAR-100")
def _(folder: Path, listener: Listener) -> None:
    names = list("abcdefghij")
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    for number, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        records(20, 10, seed=number).tofile(folder / f"{name}.bin")
    source = aekit.open_data(folder)
    assert source.spec.shape == (3, 32, 32) and list(source.labels[:3]) == names[:3]
    assert source.splits.tolist() == ["train"] * 40 + ["test"] * 20
    assert np.array_equal(values(source)[20:40].reshape(20, -1), records(20, 10, seed=1)[:, 1:])
    other = folder / "cifar-100-binary"
    other.mkdir()
    (other / "fine_label_names.txt").write_text("\n".join(f"c{number}" for number in range(100)))
    part = records(20, 10, 2)
    part[:, 1] = np.arange(20) + 80
    part.tofile(other / "train.bin")
    assert aekit.open_data(other).labels[0] == "c80"


@AREA.refused("records of CIFAR that are cut off", "a multiple of 3,073, as a record of CIFAR has")
def _(folder: Path, listener: Listener) -> None:
    (folder / "data_batch_1.bin").write_bytes(records(3, 10).tobytes() + b"cut")
    aekit.open_data(folder)


@AREA.refused("files called as those of CIFAR that hold something else", "label 77: expected 0 to 9")
def _(folder: Path, listener: Listener) -> None:
    (folder / "data_batch_1.bin").write_bytes(bytes([77]) * 3073)
    aekit.open_data(folder)
