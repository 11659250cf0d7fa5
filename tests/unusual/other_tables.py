"""Tables of other programs: text with any ending, ARFF, Orange, old workbooks, SPSS, Stata, SAS and the UCR archive."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from unusual.harness import Area, Listener

import aekit
from aekit.data.source import Source

AREA = Area(__name__)
ROWS = [(*row, "abc"[number % 3]) for number, row in enumerate(np.random.default_rng(0).normal(size=(60, 3)).round(3))]
IRIS = """% 1. Title: Iris

@RELATION iris

@ATTRIBUTE 'sepal length' REAL
@attribute width numeric
@attribute color {red, 'dark blue', green}
@attribute kind {Iris-setosa,Iris-virginica}
@DATA
5.1,3.5,red,Iris-setosa
4.9,?,'dark blue',Iris-setosa
% a remark
6.3,3.3,green,Iris-virginica, {2}
5.8,2.7,?,Iris-virginica
5.1,3.3,red,Iris-setosa
4.9,3.1,green,Iris-virginica
"""


def lines(rows: Sequence[Sequence[Any]], delimiter: str = ",") -> str:
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


def opened(folder: Path, name: str, content: str | bytes, **options: Any) -> Source:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return aekit.open_data(path, {"arrays": options} if options else None)


def values(source: Source) -> np.ndarray:
    return source.read(np.arange(len(source)))[0]


def labels(source: Source) -> list[Any]:
    assert source.labels is not None
    return source.labels.tolist()


# Text tables


@AREA.changed("delimiters of several characters, as in MovieLens, and Hive's", "cells are separated by '::'")
def _(folder: Path, listener: Listener) -> None:
    numbers = [row[:3] for row in ROWS]
    for name, delimiter in (("ratings.dat", "::"), ("export.txt", "~|~"), ("export.csv", "||"), ("000000_0", "\x01")):
        prefix = "" if "." in name else "arrays:"
        (folder / name).write_text(lines(numbers, delimiter))
        source = aekit.open_data(f"{prefix}{folder / name}")
        assert np.array_equal(values(source), np.array(numbers)), delimiter
        listener.lines += source.notes
    quoted = opened(folder, "named.csv", 'a::b::c\n1::2::"x::y"\n3::4::z\n', delimiter="::", categories="few")
    assert values(quoted)[:, :2].tolist() == [[1, 2], [3, 4]]
    addresses = opened(folder, "log.csv", "address,n\n2001:db8::1,5\n2001:db8::2,6\n2001:db8::3,7\n")
    assert values(addresses).tolist() == [[5], [6], [7]]


@AREA.refused("sparse rows as LIBSVM writes them", "load it by sklearn.datasets.load_svmlight_file, and pass (X, y)")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a1a.txt", "-1 3:1 11:1 14:0.5\n+1 5:1 7:1e-3\n-1 1:2\n")


@AREA.refused("a delimiter of an option that is no delimiter", "expected one to three characters, tab or blanks")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "t.csv", "a,b\n1,2\n", delimiter="comma")


@AREA.changed(
    "a table of the UCI archive: .data, no names, the class in words", "column '3' is the label, as it alone holds"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "iris.data", lines(ROWS) + "\n")
    listener.lines += source.notes
    assert values(source).tolist() == [list(row[:3]) for row in ROWS] and labels(source) == [row[3] for row in ROWS]


@AREA.changed(
    "a table whose class is the first of its columns, in numbers",
    "column '0' has 3 different values; data.arrays.y = '0' uses",
)
def _(folder: Path, listener: Listener) -> None:
    listener.lines += opened(folder, "wine.data", lines([("abc".index(row[3]) + 1, *row[:3]) for row in ROWS])).notes


@AREA.right("a .txt file with several blanks between numbers, and before them")
def _(folder: Path, listener: Listener) -> None:
    text = "".join("  " + "  ".join(f"{value: .7e}" for value in row[:3]) + "\n" for row in ROWS)
    np.testing.assert_allclose(values(opened(folder, "X_train.txt", text)), [row[:3] for row in ROWS], atol=1e-6)


@AREA.right("a .txt file with one or two tabs between numbers")
def _(folder: Path, listener: Listener) -> None:
    text = "".join(f"{a}" + "\t" * (1 + (number % 7 == 0)) + f"{b}\t{c}\n" for number, (a, b, c, _) in enumerate(ROWS))
    assert values(opened(folder, "seeds.txt", text)).tolist() == [list(row[:3]) for row in ROWS]


@AREA.right("a gzipped .tab file, and a file of an ending of its own that is opened as arrays:FILE")
def _(folder: Path, listener: Listener) -> None:
    text = "h\tw\td\tclass\n" + lines(ROWS, "\t")
    assert labels(opened(folder, "table.tab.gz", gzip.compress(text.encode()))) == [row[3] for row in ROWS]
    (folder / "german.data-numeric").write_text(text)
    assert aekit.open_data(f"arrays:{folder / 'german.data-numeric'}").spec.shape == (3,)


@AREA.right("a list of images and their classes with a blank between them, as Caffe has it")
def _(folder: Path, listener: Listener) -> None:
    for number in range(6):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    (folder / "train.txt").write_text("".join(f"{number}.png {number % 2}\n" for number in range(6)))
    source = aekit.open_data(folder / "train.txt")
    assert source.spec.is_image and labels(source) == ["0", "1"] * 3


AREA.refused_file("a .txt file of prose", "no numbers in", "readme.txt", "These photographs are mine.\n\nPlease ask.\n")
AREA.refused_file("a binary .dat file", "not a text table; it begins with", "a.dat", bytes(range(256)) * 8)
AREA.refused_file("an ending that nobody knows", "if it is a table of text, open arrays:", "table.xyz", "1,2\n3,4\n")


@AREA.changed(
    "a table of Orange, with types and roles below the names", "whose role is meta, ignore or weight left out: 'name'"
)
def _(folder: Path, listener: Listener) -> None:
    head = "name\th\tsize\tkind\nstring\tc\tsmall large\td\nmeta\t\t\tclass\n"
    rows = [(f"n{number}", row[0], "small" if number % 2 else "large", row[3]) for number, row in enumerate(ROWS)]
    source = opened(folder, "zoo.tab", head + lines(rows, "\t"))
    listener.lines += source.notes
    assert [column.name for column in source.spec.columns] == ["h", "size"] and labels(source) == [
        row[3] for row in rows
    ]


# ARFF


@AREA.changed("an ARFF file with quoted names, gaps, remarks and a weight", "the weight of 1 row is not used")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "iris.arff", IRIS, missing="median")
    listener.lines += source.notes
    assert [column.name for column in source.spec.columns] == ["sepal length", "width", "color"]
    assert source.spec.columns[2].categories == ("dark blue", "green", "red")
    assert values(source)[1].tolist() == [4.9, 3.3, 1, 0, 0] and labels(source)[:3:2] == [
        "Iris-setosa",
        "Iris-virginica",
    ]


@AREA.right("a sparse ARFF file, gzipped; what it leaves out is 0 or the first category")
def _(folder: Path, listener: Listener) -> None:
    text = "@relation r\n@attribute a numeric\n@attribute b numeric\n@attribute c {no,yes}\n@data\n{0 2}\n{1 3, 2 yes}\n{}\n"
    source = opened(folder, "sparse.arff.gz", gzip.compress(text.encode()))
    assert values(source).tolist() == [[2, 0], [0, 3], [0, 0]] and labels(source) == ["no", "yes", "no"]


@AREA.right("ARFF categories that are numbers")
def _(folder: Path, listener: Listener) -> None:
    text = "@relation r\n@attribute a {1,2,3}\n@attribute b real\n@data\n" + lines(
        [(n % 3 + 1, n / 2) for n in range(12)]
    )
    assert opened(folder, "codes.arff", text).spec.columns[0].categories == ("1", "2", "3")


AREA.refused_file(
    "an ARFF file cut in its header", "has no @data line", "a.arff", "@relation r\n@attribute a numeric\n"
)
AREA.refused_file(
    "an ARFF row that lacks a value",
    "line 5 has 1 values; expected 2",
    "a.arff",
    "@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n1\n",
)
AREA.refused_file(
    "relational ARFF attributes",
    "open the .ts file instead",
    "a.arff",
    "@relation r\n@attribute a relational\n@end a\n@data\n1\n",
)


# Workbooks and statistics programs


def ods(path: Path, *tables: Sequence[Sequence[Any]]) -> Path:
    def cell(value: Any) -> str:
        if isinstance(value, str):
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
        return f'<table:table-cell office:value-type="float" office:value="{value}"/>'

    names = {name: f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" for name in ("office", "table", "text")}
    spaces = " ".join(f'xmlns:{name}="{urn}"' for name, urn in names.items())
    sheets = "".join(
        f'<table:table table:name="s{number}">'
        + "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for number, rows in enumerate(tables)
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest:manifest xmlns:manifest='urn:m'/>")
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>{sheets}</office:spreadsheet></office:body>"
            "</office:document-content>",
        )
    return path


@AREA.changed(
    "an OpenDocument spreadsheet whose first sheet is empty",
    "sheet 's1' of 2 is read; data.arrays.sheet = ... reads 's0'",
)
def _(folder: Path, listener: Listener) -> None:
    pytest.importorskip("python_calamine")
    source = aekit.open_data(ods(folder / "t.ods", [], [("h", "w", "d", "class"), *ROWS]))
    listener.lines += source.notes
    assert values(source).tolist() == [list(row[:3]) for row in ROWS] and labels(source) == [row[3] for row in ROWS]


@AREA.right("an old Excel workbook, .xls")
def _(folder: Path, listener: Listener) -> None:
    pytest.importorskip("python_calamine")
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook()
    sheet = book.add_sheet("log")
    for number, row in enumerate([("id", "h", "class"), *((f"r{n}", n / 2, "ab"[n % 2]) for n in range(30))]):
        for place, cell in enumerate(row):
            sheet.write(number + 2, place + 1, cell)
    book.save(str(folder / "old.xls"))
    source = aekit.open_data(folder / "old.xls")
    assert list(source.ids)[:2] == ["r0", "r1"] and values(source)[:2].tolist() == [[0.0], [0.5]]


AREA.refused_file(
    "a workbook .xls that is none", "a.xls: not a readable workbook", "a.xls", b"\xd0\xcf\x11\xe0" + bytes(600)
)


def survey(folder: Path, name: str, write: str, **options: Any) -> Source:
    pytest.importorskip("pyreadstat")
    import pandas as pd
    import pyreadstat

    frame = pd.DataFrame({"sex": [1.0, 2.0] * 6, "age": [20.0, 99.0, 30.5] * 4, "town": list("abcabcabcabc")})
    getattr(pyreadstat, write)(frame, str(folder / name), **options)
    return aekit.open_data(folder / name)


@AREA.changed(
    "SPSS, with labels of all values of a column, and of some of another", "labels of some values are not used in 'age'"
)
def _(folder: Path, listener: Listener) -> None:
    source = survey(
        folder, "s.sav", "write_sav", variable_value_labels={"sex": {1: "male", 2: "female"}, "age": {99: "no answer"}}
    )
    listener.lines += source.notes
    assert source.spec.columns[0].categories == ("female", "male") and values(source)[1, 2] == 99


@AREA.right("Stata and SAS")
def _(folder: Path, listener: Listener) -> None:
    stata = survey(folder, "s.dta", "write_dta", variable_value_labels={"sex": {1: "male", 2: "female"}})
    sas = survey(folder, "s.xpt", "write_xport")
    assert stata.spec.columns[0].categories == ("female", "male")
    assert values(sas)[:3, :2].tolist() == [[1, 20], [2, 99], [1, 30.5]]


AREA.refused_file(
    "a .dta file that is none", "not a readable table of a statistics program", "a.dta", b"no Stata at all"
)


# Series


def ucr(rows: int, steps: int, cut: int = 0) -> str:
    noise = np.random.default_rng(rows).normal(size=(rows, steps))
    noise[1::2, steps - cut :] = np.nan
    return "".join(f"{number % 3 + 1}\t" + "\t".join(map(str, row)) + "\n" for number, row in enumerate(noise))


@AREA.changed(
    "the text files of the UCR archive: the class, then the values, NaN behind short series", "resampled to 20"
)
def _(folder: Path, listener: Listener) -> None:
    (folder / "Toy_TEST.tsv").write_text(ucr(9, 20))
    source = opened(folder, "Toy_TRAIN.tsv", ucr(30, 20, cut=4))
    listener.lines += source.notes
    assert source.spec.shape == (1, 20) and labels(source)[:4] == ["1", "2", "3", "1"]
    assert source.splits is not None and (source.splits == "test").sum() == 9 and len(aekit.open_data(folder)) == 39


@AREA.right("a table called NAME_TRAIN.tsv that holds no classes in front")
def _(folder: Path, listener: Listener) -> None:
    rows = [(number, *row) for number, row in enumerate(np.random.default_rng(0).normal(size=(30, 9)).round(3))]
    assert opened(folder, "log_TRAIN.tsv", lines(rows, "\t")).spec.is_vector


# Missing values


@AREA.changed(
    "a table most of whose rows lack a number", "more than half of the rows have missing values, and are used"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "a.csv", "a,b,c\n" + "1,,3\n2,5,\n,4,2\n4,5,6\n5,,1\n" * 4)
    assert source.read(np.arange(20))[1].all() and [column.impute_value for column in source.spec.columns] == [
        3,
        5,
        2.5,
    ]
