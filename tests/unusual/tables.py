"""Tables that people have: CSV, TSV and Parquet files, DataFrames, and arrays of numbers."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from unusual.harness import Area, Listener

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import DataError, DataWarning

AREA = Area(__name__)
NOISE = np.random.default_rng(0).normal(size=(60, 3)).round(3)
NAMES = ["h", "w", "d"]


def text(rows: Iterable[Iterable[Any]], header: str = "", delimiter: str = ",") -> str:
    lines = [delimiter.join(map(str, row)) for row in rows]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def written(folder: Path, content: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(content.encode(encoding))
    return folder / name


def opened(folder: Path, content: str, form: str = "utf-8", like: SampleSpec | None = None, **options: Any) -> Source:
    return aekit.open_data(written(folder, content, encoding=form), {"arrays": options} if options else None, like=like)


def values(source: Source) -> np.ndarray:
    return source.read(np.arange(len(source)))[0]


def frame(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(NOISE, columns=NAMES).assign(**more)


def labels(source: Source) -> list[Any]:
    assert source.labels is not None
    return source.labels.tolist()


# Rows


AREA.refused_file("a CSV with a line of names alone", "empty.csv: the table has no rows", "empty.csv", "a,b\n")


@AREA.refused("a CSV whose rows are of different lengths", "not a readable table (CSV parse error: Expected 3 columns")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a,b,c\n1,2,3\n4,5,6\n7,8\n")


@AREA.right("a gzipped CSV")
def _(folder: Path, listener: Listener) -> None:
    (folder / "t.csv.gz").write_bytes(gzip.compress(text(NOISE, "h,w,d").encode()))
    assert np.array_equal(values(aekit.open_data(folder / "t.csv.gz")), NOISE)


AREA.refused_file(
    "a gzipped CSV that was cut", "not a readable table", "t.csv.gz", gzip.compress(text(NOISE, "h,w,d").encode())[:100]
)


@AREA.refused(
    "an Excel workbook under the name of a CSV", "not a text table, but an archive, such as an Excel workbook"
)
def _(folder: Path, listener: Listener) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "t.csv", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "<a/>")
    aekit.open_data(folder / "t.csv")


AREA.refused_file(
    "random bytes under the name of a CSV",
    "not a text table; it begins with",
    "t.csv",
    np.random.default_rng(0).bytes(5000),
)


@AREA.refused("a web page under the name of a CSV", "a web page, such as that of a failed download")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "<!DOCTYPE html>\n<html>\n<head><title>404</title></head>\n<body>Not, found</body>\n</html>\n")


@AREA.refused("a name more than there are columns", "not a readable table (CSV parse error: Expected 3 columns, got 2")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "a,b,\n1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]], "a name that is empty"
    opened(folder, "a,b,c\n1,2\n3,4\n")


# Columns that are no features


@AREA.changed("the CSV of a DataFrame with its index", "'Unnamed: 0' (index)")
def _(folder: Path, listener: Listener) -> None:
    frame().to_csv(folder / "t.csv")
    source = aekit.open_data(folder / "t.csv")
    assert source.spec.names == NAMES and np.array_equal(values(source), NOISE)
    assert aekit.open_data(folder / "t.csv", {"arrays": {"x": ["Unnamed: 0", "h"]}}).spec.names == ["Unnamed: 0", "h"]


@AREA.changed("a CSV that was saved with an index three times", "'Unnamed: 0.1' (index)")
def _(folder: Path, listener: Listener) -> None:
    frame().to_csv(folder / "t.csv")
    for _ in range(2):
        pd.read_csv(folder / "t.csv").to_csv(folder / "t.csv")
    assert aekit.open_data(folder / "t.csv").spec.names == NAMES


@AREA.right("a DataFrame that was shuffled, and its CSV and Parquet: the index has the ids")
def _(folder: Path, listener: Listener) -> None:
    shuffled = frame(kind=["u", "v", "w"] * 20).sample(frac=0.7, random_state=0)
    shuffled.to_csv(folder / "t.csv")
    shuffled.to_parquet(folder / "t.parquet")
    expected = [*NAMES, "kind: u", "kind: v", "kind: w"]
    for data in (shuffled, folder / "t.csv", folder / "t.parquet"):
        source = aekit.open_data(data)
        assert source.spec.names == expected
        assert np.array_equal(values(source)[:, :3], shuffled[NAMES].to_numpy())
        assert list(source.ids) == [str(name) for name in shuffled.index]
    assert list(aekit.open_data(frame()[10:20]).ids) == [str(row) for row in range(10, 20)]


@AREA.right("new rows under another index than in training")
def _(folder: Path, listener: Listener) -> None:
    rows = frame()
    encoder = aekit.fit(rows.sample(frac=0.9, random_state=0), dim=2, epochs=1)
    moved = rows.set_index(rows.index + 1_000_000)
    assert np.array_equal(np.asarray(encoder.embed(rows)), np.asarray(encoder.embed(moved)))


@AREA.right("a DataFrame for an encoder of its array, whatever the array held and the index is")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(n=np.arange(60.0).astype(int)).sample(frac=1, random_state=0)
    for columns in (NAMES, [*NAMES, "n"]):
        like = aekit.open_data(rows[columns].to_numpy()).spec
        assert np.array_equal(values(aekit.open_data(rows[columns].reset_index(drop=True), like=like)), rows[columns])
    assert np.array_equal(values(aekit.open_data(rows[NAMES], like=aekit.open_data(NOISE).spec)), rows[NAMES])


@AREA.changed(
    "a DataFrame with an index of several levels, of measured numbers, or of dates",
    "the index of the table names the samples",
)
def _(folder: Path, listener: Listener) -> None:
    for index in (
        pd.MultiIndex.from_product([range(6), range(10)], names=["run", "step"]),
        pd.Index(np.linspace(0, 1, 60), name="temperature"),
        pd.date_range("2024-01-01", periods=60),
    ):
        source = aekit.open_data(frame().set_index(index))
        source.report_notes(listener)
        assert source.spec.names == NAMES and "the index" in listener.lines[-1]


@AREA.right("a DataFrame with the index 'id'")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(frame().set_index(pd.Index([f"s{n}" for n in range(60)], name="id")))
    assert source.spec.names == NAMES and source.ids[:2] == ["s0", "s1"]


@AREA.changed("row numbers under another name, from 0 or 1, in order or shuffled", "(row numbers)")
def _(folder: Path, listener: Listener) -> None:
    for number in (np.arange(60), np.arange(1, 61), np.random.default_rng(0).permutation(60)):
        frame(sample=number).to_csv(folder / "t.csv", index=False)
        assert aekit.open_data(frame(sample=number)).spec.names == NAMES
        assert aekit.open_data(folder / "t.csv").spec.names == NAMES


@AREA.changed("row numbers of a table of which a part was drawn", "'nr' (row numbers)")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(nr=np.arange(60)).sample(frac=0.6, random_state=0)
    assert aekit.open_data(rows).spec.names == NAMES


@AREA.changed("row numbers of each part in train.csv and test.csv", "(row numbers)")
def _(folder: Path, listener: Listener) -> None:
    for name, rows in {"train": frame()[:40], "test": frame()[40:]}.items():
        rows.assign(n=np.arange(len(rows))).to_csv(folder / f"{name}.csv", index=False)
    assert aekit.open_data(folder).spec.names == NAMES


@AREA.changed("whole numbers that name the rows: user_id, PassengerId, uuid, index", "(ids)")
def _(folder: Path, listener: Listener) -> None:
    ids = np.random.default_rng(0).choice(10**6, 60, replace=False)
    for name in ("user_id", "PassengerId", "uuid", "index", "customerID", "row id"):
        assert aekit.open_data(frame(**{name: ids})).spec.names == NAMES, name


@AREA.right("features that resemble ids: fractions in order, repeated store_id, years, whole numbers that differ")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(
        t=np.arange(60) / 2,
        store_id=np.arange(60) % 7,
        year=np.arange(1950, 2010),
        steps=np.random.default_rng(0).choice(10**5, 60, replace=False),
        grid=np.arange(60) * 10,
        humid=np.arange(60) * 3,
    )
    rows.to_csv(folder / "t.csv", index=False)
    for data in (rows, folder / "t.csv"):
        assert aekit.open_data(data).spec.names == [*NAMES, "t", "store_id", "year", "steps", "grid", "humid"]


@AREA.right("a table that R wrote, with names of rows, which are the ids, and blanks between cells")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, '"h" "a b" "class"\n"r 1" 1.5 2 "x y"\n"r 2" 3 4 "z"\n"r 3" 5 6 "z"\n')
    assert source.spec.names == ["h", "a b"] and labels(source) == ["x y", "z", "z"]
    assert values(source).tolist() == [[1.5, 2], [3, 4], [5, 6]] and list(source.ids) == ["r 1", "r 2", "r 3"]


@AREA.refused("a table with nothing but row numbers", "columns that number or name the rows ignored: 'n' (row numbers)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(pd.DataFrame({"n": np.arange(60)}))


@AREA.right("a scikit-learn transformer of a DataFrame with ids, words and any index, in any order of rows")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(town=["Oslo", "Rome"] * 30, user_id=np.random.default_rng(0).permutation(1000)[:60])
    transformer = aekit.AekitTransformer(epochs=1).fit(rows)
    assert transformer.encoder_.spec.names == [*NAMES, "town: Oslo", "town: Rome"]
    order = np.random.default_rng(1).permutation(60)
    assert np.allclose(transformer.transform(rows.iloc[order]), transformer.transform(rows)[order], atol=1e-6)


# The first line


SOURCE = "1 line below the table skipped: Source: office of statistics"


@AREA.changed("a remark below a table: its source, as a short line", SOURCE)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, text(NOISE, "h,w,d") + "Source: office of statistics\n")
    assert np.array_equal(values(source), NOISE)
    listener.lines += source.notes


@AREA.changed(
    "remarks below a table, as spreadsheets pad and quote them", "2 lines below the table skipped: Preliminary"
)
def _(folder: Path, listener: Listener) -> None:
    rows = text(NOISE, "h,w,d") + ',,\n"Preliminary figures, as of May",,\nSource: office of statistics,,\n'
    source = opened(folder, rows)
    assert np.array_equal(values(source), NOISE)
    listener.lines += source.notes


@AREA.changed(
    "a row of totals at the end", "the last row, 'Total', is read as a sample: remove it if it sums up the others"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, text([[f"city {n}", *row] for n, row in enumerate(NOISE)], "city,h,w,d") + "Total,1,2,3\n")
    assert len(source) == 61
    listener.lines += source.notes


AREA.refused_file(
    "a last row that is cut off in its first words",
    "cut.csv: not a readable table",
    "cut.csv",
    text([["New York", 1, 2]] * 30, "city,a,b") + "New York",
)


WORDS = ["the", ",", '"', "#", "//", "NA", "null", "10,000", "caf\u00e9", "it's", "of", "$100"]


@AREA.changed("a remark below a table with blanks between its cells", "2 lines below the table skipped: Source: NOAA")
def _(folder: Path, listener: Listener) -> None:
    rows = text(NOISE, "h w d", " ")
    source = opened(folder, rows + "\nSource: NOAA, station 12\nlast checked by Ann Lee\n")
    assert np.array_equal(values(source), NOISE)
    with pytest.raises(DataError, match="Expected 3 columns, got 4"):
        opened(folder, rows + "1 2 3 4\n")
    listener.lines += source.notes


@AREA.changed(
    "a single column of text that may be the label", "if 'species' is the label, data.arrays.y = 'species' says so"
)
def _(folder: Path, listener: Listener) -> None:
    species = [f"{number % 11},{number % 7},{'oak' if number % 3 else 'elm'}" for number in range(30)]
    source = opened(folder, "h,w,species\n" + "\n".join(species) + "\n")
    assert source.labels is None
    listener.lines += source.notes
    labeled = opened(folder, "h,w,species\n" + "\n".join(species) + "\n", y="species")
    assert labeled.labels is not None and labeled.labels[0] == "elm" and labeled.spec.size == 2
    names = opened(folder, "h,w,name\n" + "".join(f"{number},{number % 7},n{number // 2}\n" for number in range(30)))
    two = opened(folder, "h,w,city,kind\n" + "".join(f"{n},{n % 7},{'ab'[n % 2]},{'cd'[n % 2]}\n" for n in range(30)))
    assert not any("is the label" in note for note in names.notes)
    assert any("if one of 'city', 'kind' is the label, data.arrays.y = NAME says so" in note for note in two.notes)


@AREA.changed("word vectors of GloVe: a word and its numbers a line", "word vectors: the words are ids, e.g. 'the'")
def _(folder: Path, listener: Listener) -> None:
    path = written(folder, text(([word, *row] for word, row in zip(WORDS, NOISE)), delimiter=" "), "glove.txt")
    source = aekit.open_data(path)
    assert list(source.ids) == WORDS and np.array_equal(values(source), NOISE[: len(WORDS)])
    listener.lines += source.notes


@AREA.changed(
    "word vectors of word2vec: a line of their numbers, and words with blanks, of which a line is missing",
    "line 1 announces 13 words, the file has 12",
)
def _(folder: Path, listener: Listener) -> None:
    words = [f"{word} {word}" for word in WORDS]
    rows = text(([word, *row, ""] for word, row in zip(words, NOISE)), "13 3", " ")
    source = aekit.open_data(written(folder, rows, "wiki.vec"))
    assert list(source.ids) == words and np.array_equal(values(source), NOISE[: len(WORDS)])
    listener.lines += source.notes


AREA.refused_file(
    "word vectors with a line that is cut",
    "glove.txt: line 601: expected a word and 3 numbers",
    "glove.txt",
    text(((f"w{row}", 1, 2, 3.5) for row in range(600)), delimiter=" ") + "last 1 2\n",
)


@AREA.changed(
    "UCI's iris: no names, and classes in the last column", "column '4' is the label, as it alone holds words"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, text([*row, 1.5, f"Iris-{'ab'[n % 2]}"] for n, row in enumerate(NOISE)))
    assert len(source) == 60 and np.array_equal(values(source)[:, :3], NOISE) and labels(source)[0] == "Iris-a"
    listener.lines += source.notes


@AREA.changed("no names, and a missing value in line 1", "line 1 holds no names")
def _(folder: Path, listener: Listener) -> None:
    for gap in ("?", "", "NA", "-"):
        source = opened(folder, text([[*NOISE[0][:1], gap, 7.5], *NOISE[1:]]))
        assert len(source) == 60 and np.isnan(values(source)[0, 1]) and values(source)[0, 2] == 7.5
    listener.lines += source.notes


@AREA.right("no names, in words alone")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "p,x,s\ne,x,y\np,b,s\ne,x,s\np,b,y\n")
    assert len(source) == 5 and source.spec.names == ["0: e", "0: p", "1: b", "1: x", "2: s", "2: y"]


@AREA.changed(
    "no names, and whole classes in the last column", "column '3' has 2 different values; data.arrays.y = '3' uses it"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, text([*row, n % 2] for n, row in enumerate(NOISE)))
    assert source.labels is None and source.spec.shape == (4,)
    listener.lines += source.notes
    assert labels(aekit.open_data(folder / "table.csv", {"arrays": {"y": "3"}}))[:2] == [0, 1]


@AREA.changed("names that are numbers: 0, 1, 2 of pandas, or years", "line 1 is read as the names of columns")
def _(folder: Path, listener: Listener) -> None:
    pd.DataFrame(NOISE).to_csv(folder / "t.csv", index=False)
    assert np.array_equal(values(aekit.open_data(folder / "t.csv")), NOISE)
    source = opened(folder, "country,1990,1991,1992\nA,1.5,2,3\nB,4,5,6\nC,4,5,6\n")
    assert source.spec.names == ["1990", "1991", "1992"] and len(source) == 3
    listener.lines += source.notes


@AREA.right("a header that options declare, or deny")
def _(folder: Path, listener: Listener) -> None:
    assert len(opened(folder, "1,2\n3,4\n5,6\n", header=True)) == 2
    source = opened(folder, "a,b\n3,4\n5,6\n7,8\n", header=False)
    assert len(source) == 4 and source.spec.names == ["0", "1"] and np.isnan(values(source)[0]).all()


@AREA.right("new rows without names for an encoder of a table with names")
def _(folder: Path, listener: Listener) -> None:
    like = opened(folder, text(NOISE, "h,w,d")).spec
    assert np.array_equal(values(opened(folder, text(NOISE[:5]), like=like)), NOISE[:5])


# Encodings, delimiters and numbers


@AREA.right("UTF-8 with a byte-order mark, UTF-16, UTF-16 without a mark, UTF-32")
def _(folder: Path, listener: Listener) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        source = opened(folder, text(NOISE, "größe,w,d"), encoding)
        assert source.spec.names == ["größe", "w", "d"] and np.array_equal(values(source), NOISE)
    (folder / "names.csv").write_bytes("id,label\n0,é\n".encode("utf-8-sig"))
    assert labels(aekit.open_data(pd.read_csv(folder / "names.csv").assign(a=1.0))) == ["é"]


@AREA.changed("Windows' encoding, cp1252", "not UTF-8, read as cp1252")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "größe,class\n1,Å\n2,x\n3,Å\n", "cp1252")
    assert source.spec.names == ["größe"] and labels(source) == ["Å", "x", "Å"]
    listener.lines += source.notes


@AREA.right("an encoding that options name")
def _(folder: Path, listener: Listener) -> None:
    assert labels(opened(folder, "a,class\n1,\u0431\n2,\u044f\n", "cp1251", encoding="cp1251")) == ["\u0431", "\u044f"]


@AREA.refused("an encoding that the file is not in", "line 2 is not utf-8")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a,class\n1,Å\n", "cp1252", encoding="utf-8")


@AREA.refused("an encoding that does not exist", "encoding = 'utf-9': no such encoding")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a\n1\n", encoding="utf-9")


@AREA.right("semicolons, tabs, pipes or any number of blanks between cells")
def _(folder: Path, listener: Listener) -> None:
    for delimiter in ";\t|":
        assert np.array_equal(values(opened(folder, text(NOISE, delimiter.join(NAMES), delimiter))), NOISE)
    assert np.array_equal(values(opened(folder, "  " + text(NOISE, "  h   w d", "   "))), NOISE)
    assert np.array_equal(values(opened(folder, text(NOISE, "h~w~d", "~"), delimiter="~")), NOISE)


@AREA.right("cells that hold other delimiters in every row")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "x|y,1\nz|w,2\nz|v,3\n")).tolist() == [[1], [2], [3]]
    assert values(opened(folder, "tags,a\nx;y,1\nz;w,2\n")).tolist() == [[1], [2]]


@AREA.right("semicolons within quotes and words of a table with commas")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, 'a,note,b\n1,"x; y, z",2\n3,u;v;w,4\n5,"p;q",6\n')
    assert values(source).tolist() == [[1, 2], [3, 4], [5, 6]]


@AREA.changed(
    "semicolons and decimal commas, as Excel writes them in much of Europe", "decimal commas in 'h', 'w', 'd'"
)
def _(folder: Path, listener: Listener) -> None:
    content = text(NOISE, "h;w;d", ";").replace(".", ",")
    source = opened(folder, content)
    assert np.array_equal(values(source), NOISE)
    assert np.array_equal(values(opened(folder, content.partition("\n")[2])), NOISE), "without names"
    assert np.array_equal(values(opened(folder, content, decimal=",")), NOISE)
    listener.lines += source.notes


@AREA.right("a single column: of numbers with decimal commas, and of words with commas and semicolons in some")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "a\n0,25\n1,5\n-3,75\n")).ravel().tolist() == [0.25, 1.5, -3.75]
    source = opened(folder, 'a\nred\nblue;x\n"green, dark"\nred\nblue;x\nred\n')
    assert source.spec.names == ["a: blue;x", "a: green, dark", "a: red"] and len(source) == 6


@AREA.changed("thousands in the style of Europe, Switzerland and America", "separators of thousands in 'a', 'b'")
def _(folder: Path, listener: Listener) -> None:
    expected = [[1234.5, 1000.0], [12.25, 2500.0], [2345678.5, 900.0]]
    for content in (
        "a;b\n1.234,5;1.000\n12,25;2.500\n2.345.678,5;900\n",
        "a;b\n1'234.5;1'000\n12.25;2'500\n2'345'678.5;900\n",
        'a,b\n"1,234.5","1,000"\n12.25,"2,500"\n"2,345,678.5",900\n',
        "a;b\n1\u00a0234,5;1\u00a0000\n12,25;2\u00a0500\n2\u00a0345\u00a0678,5;900\n",
    ):
        source = opened(folder, content)
        assert values(source).tolist() == expected, content
    listener.lines += source.notes


@AREA.changed("numbers as Fortran writes them", "exponents of Fortran, as in 1.5D+03, in 'h', 'w'")
def _(folder: Path, listener: Listener) -> None:
    content = "h,w,code\n" + "".join(f"{n}.5D+0{n % 3},-1d-{n % 4},{n}D{n}\n" for n in range(1, 9))
    source = opened(folder, content)
    expected = [[(n + 0.5) * 10 ** (n % 3), -(10.0 ** -(n % 4))] for n in range(1, 9)]
    assert np.allclose(values(source)[:, :2], expected) and [c.name for c in source.spec.columns[:2]] == ["h", "w"]
    listener.lines += source.notes


@AREA.changed("-999 for missing values", "'w' is -999 in 3 of 40 rows, far from its other numbers")
def _(folder: Path, listener: Listener) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(40, 3)).round(3)
    numbers[[3, 7, 30], 1] = -999
    source = opened(folder, text(numbers, "h,w,d"))
    assert np.array_equal(values(source), numbers), "they are used, as nobody said otherwise"
    ages = opened(folder, text(np.column_stack([rng.integers(90, 100, 40), numbers[:, 0]]), "age,d"))
    assert not any("far from" in loss for loss in ages.losses), "99 is an age among ages of 90 to 99"


@AREA.changed("a last row of sums", "the last row is the sum of the others in 'h', 'w', 'd'; is it a sample?")
def _(folder: Path, listener: Listener) -> None:
    numbers = np.random.default_rng(0).normal(size=(40, 3)).round(3)
    opened(folder, text(np.vstack([numbers, numbers.sum(0).round(3)]), "h,w,d"))


@AREA.changed(
    "percent and currency signs, and a typographic minus", "percent or currency signs are left out in 'p', 'c'"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, 'p,c,m\n5%,"$1,200.50",\u22121.5\n7.5%,$3,2\n12%,$4.25,\u22123\n')
    assert values(source).tolist() == [[5, 1200.5, -1.5], [7.5, 3, 2], [12, 4.25, -3]]
    listener.lines += source.notes


@AREA.changed("lines of a logger before the table, as comments or not", "2 lines before the table skipped: # logger X3")
def _(folder: Path, listener: Listener) -> None:
    for above in ("Logger X3;serial 12\nDate: 2024-05-01\n\n", "# logger X3\n# serial 12\n"):
        source = opened(folder, above + text(NOISE, "h;w;d", ";"))
        assert np.array_equal(values(source), NOISE) and source.spec.names == NAMES
    listener.lines += source.notes
    assert np.array_equal(values(opened(folder, "x,y,z\nu,v,w\n" + text(NOISE, "h,w,d"), skip=2)), NOISE)


@AREA.changed("names in the last comment line, as numpy.savetxt writes them", "names of columns: the last comment line")
def _(folder: Path, listener: Listener) -> None:
    np.savetxt(folder / "t.csv", NOISE, header="h w d")
    source = aekit.open_data(folder / "t.csv")
    assert source.spec.names == NAMES and np.allclose(values(source), NOISE)
    listener.lines += source.notes


@AREA.right("comments between the rows")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "a,b\n1,2\n# paused\n3,4\n# resumed\n5,6\n")).tolist() == [[1, 2], [3, 4], [5, 6]]


@AREA.right("line breaks within quotes, in a file of 3 MB")
def _(folder: Path, listener: Listener) -> None:
    remark = "remark {}, first line\nsecond line, with 12.5" + 40 * " and more"
    numbers = np.arange(8000) % 977 / 4
    rows = ([a, f'"{remark.format(n)}"', a + 1] for n, a in enumerate(numbers))
    source = opened(folder, text(rows, "a,note,b"))
    assert np.array_equal(values(source), np.column_stack([numbers, numbers + 1]))


@AREA.right("line breaks of Windows and of old Macs")
def _(folder: Path, listener: Listener) -> None:
    for end in ("\r\n", "\r"):
        assert np.array_equal(values(opened(folder, text(NOISE, "h,w,d").replace("\n", end))), NOISE)


@AREA.right("columns whose names hold blanks and quotes")
def _(folder: Path, listener: Listener) -> None:
    (folder / "named.csv").write_text('a b,"c ""d"""\n1,2\n3,4\n')
    source = aekit.open_data(folder / "named.csv")
    assert [column.name for column in source.spec.columns] == ["a b", 'c "d"']
    assert "2 samples" in listener.command("data", folder / "named.csv")


@AREA.right("blanks after the commas")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "a, class\n 1, State-gov\n 2, Private\n")
    assert labels(source) == ["State-gov", "Private"] and values(source).tolist() == [[1], [2]]


@AREA.changed("a comma at the end of each line", "empty columns ignored: 'Unnamed: 2'")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "a,b,\n1,2,\n3,4,\n")).tolist() == [[1, 2], [3, 4]]
    assert values(opened(folder, "a,b\n1,2,\n3,4,\n")).tolist() == [[1, 2], [3, 4]]


@AREA.refused("a name of two columns", "'a' names more than one column")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a,a\n1,2\n3,4\n")


@AREA.refused("a DataFrame with a name of two columns", "the table: 'a' names more than one column")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(pd.DataFrame([[1, 2]], columns=["a", "a"]))


@AREA.right("Excel's line sep=; before the names")
def _(folder: Path, listener: Listener) -> None:
    assert values(opened(folder, "sep=;\na;b\n1,5;2\n3,5;4\n")).tolist() == [[1.5, 2], [3.5, 4]]


@AREA.refused("a quote that nothing closes", "a quote is not closed: 'x 2,y 3,z'")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, 'a,b\n1,"x\n2,y\n3,z\n')


@AREA.right("inches and other quotes within words")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, 'a,size\n1,5"\n2,6"\n3,5"\n4,6"\n5,5"\n')
    assert source.spec.names == ["a", 'size: 5"', 'size: 6"'] and len(source) == 5


@AREA.right("40,000 columns, more than fit in the first megabyte of a file")
def _(folder: Path, listener: Listener) -> None:
    from aekit.data.readers.delimited import read_delimited

    names = [f"measurement_of_the_gene_{n}" for n in range(40_000)]
    table, has_header, _ = read_delimited(written(folder, text([range(40_000), range(40_000)], ",".join(names))))
    assert has_header and table.column_names == names and table.num_rows == 2


# Missing values, words among numbers, dates


@AREA.changed("one '-' among numbers", "'-' (row 7) among the numbers of 'kids' is a missing value")
def _(folder: Path, listener: Listener) -> None:
    kids = [n % 6 for n in range(60)]
    source = opened(folder, text(([h, "-" if n == 7 else kids[n]] for n, (h, *_) in enumerate(NOISE)), "h,kids"))
    assert source.spec.names == ["h", "kids"]
    assert np.isnan(values(source)[7, 1]) and np.delete(values(source)[:, 1], 7).tolist() == kids[:7] + kids[8:]


@AREA.changed(
    "n/a, '--', #DIV/0! and a sum called Total", "'Total' (row 4) among the numbers of 'a' is a missing value"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "a,b\n1.5,n/a\n2,3\n3,--\n4,#DIV/0!\nTotal,10\n5,6\n")
    assert np.isnan(values(source)).tolist() == [[0, 1], [0, 0], [0, 1], [0, 1], [1, 0], [0, 0]]


@AREA.changed("a line of units below the names", "'degC' (row 0) among the numbers of 'h' is a missing value")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "h,w,d\ndegC,Pa,m\n" + text(NOISE))
    assert np.array_equal(values(source)[1:], NOISE) and np.isnan(values(source)[0]).all()


@AREA.changed("a line of units below 500 names", "words among the numbers of 490 more columns are missing values")
def _(folder: Path, listener: Listener) -> None:
    rows = NOISE[:, :1] + np.arange(500)
    source = opened(folder, ",".join(f"h{n}" for n in range(500)) + "\n" + ",".join(["degC"] * 500) + "\n" + text(rows))
    assert np.array_equal(values(source)[1:], rows) and np.isnan(values(source)[0]).all()
    assert len(listener.lines) < 20


@AREA.right("names of columns that R made unique: -113.8.1, -113.8.2")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "-113.8.1,-113.8.2,-111.3.1\n" + text(NOISE))
    assert source.spec.names == ["-113.8.1", "-113.8.2", "-111.3.1"]
    assert np.array_equal(values(source), NOISE)


@AREA.changed("two sources, as in 20,22, among numbers of sources", "'20,22' (row 8) among the numbers of 'source'")
def _(folder: Path, listener: Listener) -> None:
    rows = "".join(f"{age / 2},{age}\n" for age in range(1, 9)) + '4.5,"20,22"\n'
    source = opened(folder, "age,source\n" + rows)
    assert np.isnan(values(source)[8, 1]) and values(source)[7].tolist() == [4, 8]


@AREA.changed("carriage returns within cells without quotes", "carriage returns within lines are read as spaces")
def _(folder: Path, listener: Listener) -> None:
    rows = [f"{number},{'kind' if number % 2 else 'unkind'}" for number in range(30)]
    rows[3] = "3,un\rkind"
    source = opened(folder, "a,word\n" + "\n".join(rows) + "\n")
    listener.lines += source.notes
    assert len(source) == 30 and "word: un kind" in source.spec.names


@AREA.right("names of columns of two words, made like the categories below")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "wind_farms,coal_mining\n" + "favor_more,favor_less\nfavor_less,favor_more\n" * 9)
    assert source.spec.names[0] == "wind_farms: favor_less" and len(source) == 18


@AREA.changed("years as names of columns, with decimal commas", "line 1 is read as the names of columns")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "1940;1945;1950\n22,2;44,5;59,6\n10,5;15,5;29\n3,53;5,76;9,71\n1,04;1,98;2,45\n")
    listener.lines += source.notes
    assert source.spec.names == ["1940", "1945", "1950"] and values(source)[0].tolist() == [22.2, 44.5, 59.6]


@AREA.changed("years with gaps as names of columns", "line 1 is read as the names of columns")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "1850,1860,1870,1900,1910\n" + text(np.hstack([NOISE, NOISE[:, :2]]) * 1e-5))
    listener.lines += source.notes
    assert source.spec.names == ["1850", "1860", "1870", "1900", "1910"]


def countries_by_years(separator: str, folder: Path, listener: Listener) -> None:
    rows = "country 1999 2000\nAfghanistan 745 2666\nBrazil 37737 80488\nChina 212258 213766\n"
    source = opened(folder, rows.replace(" ", separator))
    listener.lines += source.notes
    assert source.spec.names == ["1999", "2000"] and values(source)[1].tolist() == [37737, 80488]


for separated_by, separator in (("tabs", "\t"), ("blanks", " ")):
    AREA.changed(
        f"countries and their numbers by years, with {separated_by}", "line 1 is read as the names of columns"
    )(partial(countries_by_years, separator))


@AREA.right("words that are as frequent as numbers: categories")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "size,a\n1,1.5\nL,2\n1,3\nL,4\n")
    assert source.spec.names == ["size: 1", "size: L", "a"]


@AREA.changed("words among the numbers of a DataFrame", "'x' (row 1) among the numbers of 'a' is a missing value")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(pd.DataFrame({"a": [1, "x", None, 3, 4.5], "b": 2.5}))
    assert np.nan_to_num(values(source), nan=-1).tolist() == [[1, 2.5], [-1, 2.5], [-1, 2.5], [3, 2.5], [4.5, 2.5]]


@AREA.changed(
    "dates and times of day",
    "columns of dates and times ignored: 'when', 'at'; data.arrays.x = [...] uses them as seconds",
)
def _(folder: Path, listener: Listener) -> None:
    rows = ([f"2024-01-0{n % 3 + 1} 10:30", f"{n % 24:02d}:15", h] for n, (h, *_) in enumerate(NOISE))
    assert opened(folder, text(rows, "when,at,h")).spec.names == ["h"]
    chosen = aekit.open_data(folder / "table.csv", {"arrays": {"x": ["when", "at"]}})
    assert values(chosen)[:2].tolist() == [[1704105000, 900], [1704191400, 4500]]
    again = aekit.open_data(folder / "table.csv", like=SampleSpec.from_dict(chosen.spec.to_dict()))
    assert np.array_equal(values(again), values(chosen))


@AREA.right("dates of a DataFrame, and of Europe and America where one day tells them apart")
def _(folder: Path, listener: Listener) -> None:
    days = pd.date_range("2024-01-01", periods=40)
    expected = [[float(day.timestamp())] for day in days]
    assert values(aekit.open_data(pd.DataFrame({"day": days}), {"arrays": {"x": "day"}})).tolist() == expected
    for form in ("%d.%m.%Y", "%m/%d/%Y", "%d-%b-%Y"):
        content = text(([day.strftime(form), 1] for day in days), "day,a")
        assert values(opened(folder, content, x="day")).tolist() == expected, form


@AREA.refused("dates that can be read in two ways", "dates such as '01/02/2024' can be read in two ways")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "day,a\n01/02/2024,1\n03/02/2024,2\n", x=["day", "a"])


@AREA.right("dates with gaps, and months")
def _(folder: Path, listener: Listener) -> None:
    gaps = opened(folder, "day,a\n2024-01-01,1\n,2\n-,3\n2024-01-02,5\n", x="day")
    assert np.nan_to_num(values(gaps), nan=-1).ravel().tolist() == [1704067200, -1, -1, 1704153600]
    assert values(opened(folder, "month,a\n1970-01,1\n1970-02,2\n", x="month")).ravel().tolist() == [0, 31 * 86400]


@AREA.refused("a date that does not exist", "column 'day': '2024-13-40' cannot be read as a date")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "day,a\n2024-01-01,1\n2024-13-40,2\n", x=["day", "a"])


@AREA.changed("rows with infinite numbers", "cannot be used")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "a,b\n1,2\ninf,3\n4,5\n,7\n" + "8,9\n" * 30 + "inf,1\n")
    kept = load_samples(source, np.arange(4), torch.device("cpu"))
    assert kept.rows.tolist() == [0, 2] and source.skipped["1"] == "inf in column 'a'"


@AREA.changed("masked values of a numpy array", "12 masked values are missing values: 12 of 60 rows cannot be used")
def _(folder: Path, listener: Listener) -> None:
    mask = np.zeros(NOISE.shape, bool)
    mask[::5, 2] = True
    source = aekit.open_data(np.ma.masked_array(np.where(mask, -9999.0, NOISE), mask=mask))
    assert np.array_equal(np.isnan(values(source)), mask) and np.array_equal(values(source)[~mask], NOISE[~mask])
    whole = aekit.open_data(np.ma.masked_array(np.where(mask, -9999, 7), mask=mask))
    assert np.array_equal(np.isnan(values(whole)), mask) and (values(whole)[~mask] == 7).all()
    assert np.isnan(values(aekit.open_data(list(np.ma.masked_array(NOISE, mask=mask))))).sum() == 12


@AREA.refused("masked pixels of 8-bit images", "fill them first, with array.filled(0)")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(np.ma.masked_array(np.zeros((3, 8, 8), np.uint8), mask=np.ones((3, 8, 8), bool)))


@AREA.right("a masked array with nothing masked keeps its dtype")
def _(folder: Path, listener: Listener) -> None:
    assert aekit.open_data(np.ma.masked_array(np.zeros((3, 8, 8), np.uint8))).spec.shape == (1, 8, 8)


# Types


@AREA.right("ids such as 00007, 1.10 and numbers of 20 digits")
def _(folder: Path, listener: Listener) -> None:
    for ids in (["00007", "7"], ["1.1", "1.10"], ["12345678901234567890", "12345678901234567891"], ["1e3", "1000"]):
        assert opened(folder, text(zip(ids, [1.5, 2]), "id,a")).ids == ids


@AREA.right("classes 007 and 7, and versions 1.1 and 1.10")
def _(folder: Path, listener: Listener) -> None:
    for classes in (["007", "7"], ["1.1", "1.10"], ["0x", "1"], ["1e3", "1000"]):
        assert labels(opened(folder, text(zip([1.5, 2], classes), "a,class"))) == classes
    assert labels(opened(folder, "a,class\n1.5,0\n2,1\n")) == [0, 1], "numbers without a second spelling"
    assert labels(opened(folder, "a,y\n1.5,0.25\n2,1.5\n")) == [0.25, 1.5]


@AREA.right("a column of text in training that holds numbers, or whole numbers of a DataFrame, later")
def _(folder: Path, listener: Listener) -> None:
    like = opened(folder, "size,a\n1,1\n2,2.5\nXL,3\n1,4\n2,5\nXL,6\n").spec
    assert like.names == ["size: 1", "size: 2", "size: XL", "a"]
    expected = [[0, 1, 0, 7], [1, 0, 0, 8]]
    assert values(opened(folder, "size,a\n2,7\n1,8\n", like=like)).tolist() == expected
    for sizes in ([2, 1], [2.0, 1.0], ["2", "1"]):
        assert values(aekit.open_data(pd.DataFrame({"size": sizes, "a": [7, 8]}), like=like)).tolist() == expected


@AREA.refused(
    "a column of numbers in training that holds words later", "column 'a' does not hold numbers; expected numbers"
)
def _(folder: Path, listener: Listener) -> None:
    like = opened(folder, "a,b\n1,2\n3,4\n").spec
    opened(folder, "a,b\nold,2\nnew,4\n", like=like)


@AREA.changed(
    "whole numbers beyond 2^53, such as nanoseconds", "beyond 2^53, which float64 would round, ignored: 't_ns'"
)
def _(folder: Path, listener: Listener) -> None:
    t = 1_700_000_000_000_000_123 + np.arange(60) * 1_000_003
    assert opened(folder, text(zip(t, NOISE[:, 0]), "t_ns,h")).spec.names == ["h"]
    assert aekit.open_data(frame(t_ns=t)).spec.names == NAMES
    assert aekit.open_data(frame(t_ns=np.full(60, 2**63 + 5, np.uint64))).spec.names == NAMES


@AREA.changed(
    "a DataFrame with whole numbers of Python beyond 64 bits", "beyond 2^53, which float64 would round, ignored: 'hash'"
)
def _(folder: Path, listener: Listener) -> None:
    numbers = range(20)
    frame = pd.DataFrame(
        {"hash": [2**70 + n for n in numbers], "a": [n % 7 for n in numbers], "b": [n % 5 for n in numbers]}
    )
    assert aekit.open_data(frame).spec.size == 2


@AREA.refused("whole numbers beyond 2^53 that are chosen as a feature", "column 't_ns' holds whole numbers beyond 2^53")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "t_ns,a\n1700000000000000123,1\n1700000000000000124,2\n", x=["t_ns", "a"])


@AREA.right("large whole numbers that float64 holds exactly, and small unsigned ones")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(pd.DataFrame({"a": np.array([2**60, 2**61, 3], np.uint64), "b": [2**53, 5, 5]}))
    assert values(source).tolist() == [[2.0**60, 2.0**53], [2.0**61, 5], [3, 5]]
    assert values(aekit.open_data(np.array([[5, 6], [7, 8]], np.uint64))).tolist() == [[5, 6], [7, 8]]


@AREA.refused("an array of unsigned numbers beyond 2^63", "array of dtype uint64 with values up to 9223372036854775813")
def _(folder: Path, listener: Listener) -> None:
    aekit.open_data(np.full((2, 2), 2**63 + 5, np.uint64))


@AREA.refused(
    "training on an array of whole numbers that float64 would round", "whole numbers beyond 2^53 are rounded by float64"
)
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(np.arange(80).reshape(40, 2) + 2**60 + 1, dim=1, epochs=1)


@AREA.changed(
    "pandas' categories, nullable and Arrow's columns, decimals and booleans", "an entry of 0 or 1 for each category"
)
def _(folder: Path, listener: Listener) -> None:
    rows = pd.DataFrame(
        {
            "n": pd.array([1, None, 3, 4], dtype="Int64"),
            "yes": pd.array([True, None, False, True], dtype="boolean"),
            "town": pd.Categorical(list("xyxy")),
            "rooms": pd.Categorical([3, 4, 3, 4]),
            "word": pd.array(["u", "v", None, "u"], dtype="string"),
        }
    )
    source = aekit.open_data(rows)
    assert source.spec.names == ["n", "yes", "town: x", "town: y", "rooms: 3", "rooms: 4", "word: u", "word: v"]
    assert values(source)[3].tolist() == [4, 1, 0, 1, 0, 1, 1, 0] and np.isnan(values(source)[1, :2]).all()
    rows.to_csv(folder / "t.csv", index=False)  # in which 3 and 4 are numbers, unless an encoder knows better
    rows.to_parquet(folder / "t.parquet")
    for other in (aekit.open_data(folder / "t.csv", like=source.spec), aekit.open_data(folder / "t.parquet")):
        assert other.spec.columns == source.spec.columns and np.array_equal(
            values(other), values(source), equal_nan=True
        )
    decimals = pa.table({"a": pa.array([1.5, 2.25]).cast(pa.decimal128(8, 2)), "b": np.array([1, 2], np.float16)})
    pq.write_table(decimals, folder / "d.parquet")
    assert values(aekit.open_data(folder / "d.parquet")).tolist() == [[1.5, 1], [2.25, 2]]
    listener.lines += source.notes


@AREA.refused("words in an array of objects", "array of objects: 'x' at (0, 1): expected numbers")
def _(folder: Path, listener: Listener) -> None:
    assert np.isnan(values(aekit.open_data(np.array([[1, None], [2, 3.5]], object)))).sum() == 1
    aekit.open_data(np.array([[1, "x"], [2, "y"]], object))


@AREA.changed("pandas' intervals, periods and lists", "columns without numbers ignored: 'i', 'l'")
def _(folder: Path, listener: Listener) -> None:
    periods = pd.period_range("2024-01", "2024-03", freq="M")
    rows = pd.DataFrame({"a": [1.0, 2, 3], "i": pd.cut([1, 2, 3], 2), "p": periods, "l": [[1], [2], [3]]})
    assert aekit.open_data(rows).spec.names == ["a"]


@AREA.right("a structured numpy array")
def _(folder: Path, listener: Listener) -> None:
    source = aekit.open_data(np.array([(1, 2.5), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]))
    assert source.spec.names == ["a", "b"] and values(source).tolist() == [[1, 2.5], [3, 4]]


# Precision and range


def scaled(data: Any) -> np.ndarray:
    """Return what a network would see of the data."""
    source = aekit.open_data(data)
    samples = load_samples(source, np.arange(len(source)), torch.device("cpu"))
    return fit_preprocess(samples)[0](samples.batch(torch.arange(len(samples)))).numpy()


@AREA.right("seconds since 1970, UTM metres and counters: a large mean with a small spread")
def _(folder: Path, listener: Listener) -> None:
    expected = (NOISE - NOISE.mean(0)) / NOISE.std(0)
    for offset in (1e6, 5.4e6, 1e8, 1.7e9):
        far = NOISE + offset
        for data in (far, pd.DataFrame(far), written(folder, text(far, "h,w,d"))):
            assert np.abs(scaled(data) - expected).max() < 1e-4, offset
    counter = 10**15 + np.round(NOISE * 1000).astype(np.int64)
    assert np.abs(scaled(counter) - expected).max() < 1e-4


@AREA.right("float32 values far from 0 are centered without a further loss")
def _(folder: Path, listener: Listener) -> None:
    far = (NOISE * 100 + 1e6).astype(np.float32)
    exact = far.astype(np.float64)
    assert np.abs(scaled(far) - (exact - exact.mean(0)) / exact.std(0)).max() < 1e-6


@AREA.right("an encoder of numbers far from 0, after it was saved and exported")
def _(folder: Path, listener: Listener) -> None:
    far = NOISE + 1.7e9
    encoder = aekit.fit(far, dim=2, epochs=1)
    vectors = encoder.embed(far).vectors
    assert np.array_equal(aekit.load(encoder.save(folder / "encoder")).embed(far).vectors, vectors)
    record = aekit.export_encoder(encoder, folder / "m.pt2", data=far)
    assert record["difference"] <= record["tolerance"] and len(np.unique(vectors[:, 0].round(5))) > 50


@AREA.refused("a column beyond float32", "value 2e+39 in column 'b': beyond the range of float32 (3.4e+38); divide")
def _(folder: Path, listener: Listener) -> None:
    content = text(([h, 1e39 * (n % 3)] for n, (h, *_) in enumerate(NOISE)), "a,b")
    listener.command("fit", written(folder, content), "-o", folder / "run", "--epochs", 1)


@AREA.refused("an array beyond float32", "value 2e+39 at (1,): beyond the range of float32")
def _(folder: Path, listener: Listener) -> None:
    aekit.fit(np.column_stack([NOISE[:, 0], 1e39 * (np.arange(60) % 3)]), dim=1, epochs=1)


@AREA.changed(
    "new rows beyond float32 for an encoder", "value 1e+39 in column 'b': beyond the range of float32 (3.4e+38); 1 row"
)
def _(folder: Path, listener: Listener) -> None:
    like = opened(folder, text(NOISE[:, :2], "a,b")).spec
    assert np.isinf(values(opened(folder, "a,b\n1,1e39\n2,3\n", like=like))).tolist() == [[False, True], [False, False]]


@AREA.right("numbers as small as 1e-42")
def _(folder: Path, listener: Listener) -> None:
    assert np.allclose(scaled(NOISE * 1e-42), (NOISE - NOISE.mean(0)) / NOISE.std(0), atol=1e-4)


@AREA.changed(
    "a table of 10 columns gets the units of a layer as embedding", "network: hidden = [64], activation = tanh"
)
def _(folder: Path, listener: Listener) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 10))
    assert aekit.fit(rows, epochs=1, progress=listener).dim == 64
    assert aekit.fit(rows, epochs=1, dim=12).dim == 12
    assert aekit.AekitTransformer(epochs=1).fit(rows).encoder_.dim == 64


@AREA.changed("a table of 10 columns gets a narrower code without noise", "dim: 5, half of the 10 entries of a sample")
def _(folder: Path, listener: Listener) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 10))
    assert aekit.fit(rows, epochs=1, variants="plain", progress=listener).dim == 5
    assert aekit.AekitTransformer("plain", epochs=1).fit(rows).encoder_.dim == 5


# Parts, splits and labels


@AREA.changed("sample_submission.csv beside train.csv and test.csv", "sample_submission.csv left out")
def _(folder: Path, listener: Listener) -> None:
    written(folder, text(([f"a{n}", n % 7 / 2, n % 2] for n in range(30)), "id,a,label"), "train.csv")
    written(folder, text(([f"b{n}", n % 7 / 2] for n in range(10)), "id,a"), "test.csv")
    written(folder, "id,label\nb0,0\n", "sample_submission.csv")
    output = listener.command("data", folder)
    assert "train 30, test 10" in output and "labels: 0 15, 1 15, (no label) 10" in output


@AREA.changed(
    "a label that only train.csv has, under a name of its own", "'Survived' is the label, as only the training part"
)
def _(folder: Path, listener: Listener) -> None:
    written(folder, text(([n % 7 / 2, n % 2] for n in range(30)), "a,Survived"), "train.csv")
    written(folder, text(([n % 7 / 2] for n in range(10)), "a"), "test.csv")
    source = aekit.open_data(folder)
    assert source.spec.names == ["a"] and labels(source)[:2] == [0, 1] and np.isnan(labels(source)[-1])
    listener.lines += source.notes


@AREA.refused(
    "train.csv and test.csv with numbers in one and words in the other", "their columns are of different types"
)
def _(folder: Path, listener: Listener) -> None:
    written(folder, "a,b\n1,2\n3,4\n", "train.csv")
    written(folder, "a,b\nold,2\nnew,4\n", "test.csv")
    aekit.open_data(folder)


@AREA.changed("a column 'split' of numbers", "column 'split' holds numbers, not splits: it is a feature")
def _(folder: Path, listener: Listener) -> None:
    content = text(([h, 60 + n / 10] for n, (h, *_) in enumerate(NOISE)), "pace,split")
    assert opened(folder, content).spec.names == ["pace", "split"]
    assert opened(folder, content, x=["pace", "split"]).splits is None


@AREA.changed("a column 'split' of words with chosen features", "column 'split' ignored: its values are not train")
def _(folder: Path, listener: Listener) -> None:
    assert opened(folder, "a,split\n1.5,left\n2,right\n", x="a").splits is None


@AREA.refused("a column 'split' of other words", "row 0 has split 'left'; expected train, validation or test")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a,split\n1,left\n2,right\n")


@AREA.right("missing labels, of numbers and of words, are no class")
def _(folder: Path, listener: Listener) -> None:
    written(folder, "a,class\n1.5,3\n2,\n4,3\n8,5\n")
    assert "labels: 3 2, 5 1, (no label) 1" in listener.command("data", folder / "table.csv")
    for gap in ("", "NA", "nan", "?"):
        written(folder, f"a,class\n1.5,x\n2,{gap}\n4,x\n8,y\n")
        assert "labels: x 2, y 1, (no label) 1" in listener.command("data", folder / "table.csv")
        written(folder, f"a,class\n1.5,3\n2,{gap}\n4,3\n8,5\n")
        assert "labels: 3 2, 5 1, (no label) 1" in listener.command("data", folder / "table.csv")


@AREA.refused("options of text tables for Parquet", "decimal = ',': is for text tables such as .csv, not for Parquet")
def _(folder: Path, listener: Listener) -> None:
    frame().to_parquet(folder / "t.parquet")
    aekit.open_data(folder / "t.parquet", {"arrays": {"decimal": ","}})


@AREA.right("a label file in Windows' encoding with semicolons and ids such as 007")
def _(folder: Path, listener: Listener) -> None:
    rows = frame().assign(id=[f"{n:03d}" for n in range(60)])
    encoder = aekit.fit(rows, dim=2, epochs=1)
    written(
        folder, text(([f"{n:03d}", "grün" if n % 2 else "rot"] for n in range(60)), "id;farbe", ";"), "l.csv", "cp1252"
    )
    from aekit.evaluation.labels import read_labels

    found, _ = read_labels(folder / "l.csv", list(encoder.embed(rows).ids))
    assert found.tolist() == ["rot", "grün"] * 30


@AREA.right("a list of images in UTF-16 with semicolons and ids such as 007")
def _(folder: Path, listener: Listener) -> None:
    from PIL import Image

    for name in ("ä.png", "b.png"):
        Image.new("L", (8, 8)).save(folder / name)
    source = aekit.open_data(written(folder, "id;path;class\n007;ä.png;01\n7;b.png;1\n", "list.csv", "utf-16"))
    assert list(source.ids) == ["007", "7"] and labels(source) == ["01", "1"]
    assert source.read(np.arange(2))[1].all()


@AREA.right("a recording with decimal commas and a preamble")
def _(folder: Path, listener: Listener) -> None:
    path = written(folder, "# logger\n" + text(NOISE, "h;w;d", ";").replace(".", ","), "r.csv")
    source = aekit.open_data(f"recordings:{path}", {"recordings": {"steps": 10, "test": 0}})
    assert source.spec.shape == (3, 10) and np.allclose(values(source)[0], NOISE[:10].T)


@AREA.changed(
    "a table of several rows a patient, whose ids repeat", "'id' is not an id, as values repeat ('p1' in 2 rows)"
)
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, "id,visit,height\np1,1,2.5\np1,2,2.6\np2,1,1.5\np2,3,1.6\n")
    assert [column.name for column in source.spec.columns] == ["visit", "height"] and list(source.ids) == list("0123")


@AREA.changed("a table whose only numbers are in a column named y", "'y' alone holds numbers: it is the sample")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, '"","y"\n"1",0.19\n"2",0.28\n"3",0.29\n')
    assert source.labels is None and source.read(np.arange(3))[0].ravel().tolist() == [0.19, 0.28, 0.29]


@AREA.changed("missing numbers, most of them in one column", "imputes them; 'b' is missing in 3")
def _(folder: Path, listener: Listener) -> None:
    opened(folder, "a,b\n1,\n2,\n,\n4,0.5\n5,0.25\n6,0.5\n")


# Values on another scale than those of the training


@AREA.changed(
    "standardized columns, or ones in another unit, for an encoder of raw ones", "in another unit, or scaled already?"
)
def _(folder: Path, listener: Listener) -> None:
    raw = frame(age=np.random.default_rng(1).normal(40, 9, 60), mass=np.random.default_rng(2).normal(70, 5, 60))
    encoder = aekit.fit(raw, dim=2, epochs=1, backbone="linear")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.embed(raw.iloc[:20])
        encoder.embed(raw.assign(mass=raw["mass"] * 1000).iloc[:5])
    with pytest.warns(DataWarning, match="values of 'mass' lie around"):
        encoder.embed(raw.assign(mass=raw["mass"] * 1000))
    encoder.embed((raw - raw.mean()) / raw.std())


@AREA.changed("series in another unit than those of the training", "values of channel 1 lie around")
def _(folder: Path, listener: Listener) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2, 32)).cumsum(2).astype("float32") + 50
    encoder = aekit.fit(rows, dim=2, epochs=1, overrides={"data.arrays.kind": "series"})
    rows[:, 1] *= 100
    encoder.embed(rows, options={"arrays": {"kind": "series"}})


# Columns of pandas whose type says more than their values


@AREA.right("a Categorical of numbers: its values are categories, also in a Parquet file, and labels stay numbers")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(kind=pd.Categorical([1, 2, 3] * 20), **{"class": pd.Categorical([7, 8, 9] * 20)})
    rows.to_parquet(folder / "t.parquet")
    for data in (rows, folder / "t.parquet"):
        source = aekit.open_data(data)
        assert source.spec.names == [*NAMES, "kind: 1", "kind: 2", "kind: 3"] and labels(source)[:3] == [7, 8, 9]
        assert values(source)[:3, 3:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@AREA.right("sparse columns, as `get_dummies(sparse=True)` makes them")
def _(folder: Path, listener: Listener) -> None:
    rows = frame(kind=["u", "v"] * 30)
    sparse, dense = (pd.get_dummies(rows, columns=["kind"], sparse=is_sparse) for is_sparse in (True, False))
    assert np.array_equal(values(aekit.open_data(sparse)), values(aekit.open_data(dense)))
