"""Tests of Excel workbooks as tables."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aekit
from aekit.data.readers.tables import column_names, read_table, remarks
from aekit.errors import DataError

openpyxl = pytest.importorskip("openpyxl")


def write_book(path: Path, hidden: tuple[str, ...] = (), **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if name in hidden:
            sheet.sheet_state = "hidden"
    book.save(path)
    return path


def rows_of(count: int) -> list[list[Any]]:
    return [
        [f"r{i}", i % 7 + 0.5, i * i, "ab"[i % 2], datetime.datetime(2024, 1, 1 + i % 28, 10)] for i in range(count)
    ]


HEADER = ["id", "speed", "load", "class", "when"]


def test_workbook_is_the_csv_file_of_its_cells(tmp_path: Path) -> None:
    book = write_book(tmp_path / "machines.xlsx", log=[HEADER, *rows_of(40)])
    text = tmp_path / "machines.csv"
    text.write_text("\n".join([",".join(HEADER), *(",".join(map(str, row)) for row in rows_of(40))]))
    expected, data = aekit.open_data(str(text)), aekit.open_data(str(book))
    assert data.spec == expected.spec
    np.testing.assert_array_equal(np.asarray(data.labels), np.asarray(expected.labels))
    assert list(data.ids) == list(expected.ids) == [f"r{i}" for i in range(40)]
    assert read_table(book).equals(read_table(text))


@pytest.mark.parametrize("number", ["2000000000", "1" + "0" * 30])
def test_a_row_with_an_impossible_number_is_refused(number: str, tmp_path: Path) -> None:
    write_book(tmp_path / "a.xlsx", log=[HEADER, *rows_of(3)])
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as changed:
        for name in book.namelist():
            content = book.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = content.replace(b'<row r="4"', f'<row r="{number}"'.encode())
                assert number.encode() in content
            changed.writestr(name, content)
    with pytest.raises(DataError, match=r"sheet 'log' has more than 1,048,576 rows"):
        aekit.open_data(str(tmp_path / "b.xlsx"))


def test_empty_rows_and_columns_around_the_table_are_left_out(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        [],
        [None, "Measurements of May"],
        [],
        [None, *HEADER],
        *([None, *row] for row in rows_of(30)),
    ]
    book = write_book(tmp_path / "a.xlsx", data=rows)
    table = read_table(book)
    assert table.column_names == HEADER == column_names(book)
    assert len(table) == 30


def test_sheets_are_chosen_by_name_and_the_choice_is_said(tmp_path: Path) -> None:
    plain = [["x", "y"], *([i, i + 0.5] for i in range(20))]
    book = write_book(tmp_path / "b.xlsx", ("notes",), notes=[["hello"]], first=plain, second=[["u", "v"], *plain[1:9]])
    hidden = "hidden sheets are not read: 'notes'"
    assert remarks(read_table(book)) == ["sheet 'first' of 2 is read; sheet = ... reads 'second'", hidden]
    source = aekit.open_data(str(book), {"arrays": {"sheet": "second"}})
    assert len(source) == 8
    with pytest.raises(DataError, match=r"no sheet 'secnd'.*'second'.*; available: 'notes', 'first', 'second'"):
        aekit.open_data(str(book), {"arrays": {"sheet": "secnd"}})


def test_formulas_without_result_are_counted(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["a", "b"], *([i, i + 0.25] for i in range(20)), [3, "=A2+1"]]
    table = read_table(write_book(tmp_path / "c.xlsx", data=rows))
    assert remarks(table)[0].startswith("1 formula has no stored result and is a missing value; ")
    assert table["b"].to_pylist()[-1] in ("", None)


def test_titles_that_spreadsheets_pad_are_skipped_in_csv_too(tmp_path: Path) -> None:
    text = tmp_path / "padded.csv"
    text.write_text(
        "Measurements of May,,,\nby,M. Curie,,\n,,,\nw,x,y,z\n"
        + "".join(f"{i},{i * i},{i / 2},{-i}\n" for i in range(20))
    )
    table = read_table(text)
    assert table.column_names == ["w", "x", "y", "z"] == column_names(text)
    assert remarks(table) == ["2 lines before the table skipped: Measurements of May,,, by,M. Curie,,"]
    text.write_text("id,,\n" + "".join(f"{i},{i * i},{i / 2}\n" for i in range(20)))
    assert read_table(text).column_names == ["id", "Unnamed: 1", "Unnamed: 2"]


@pytest.mark.parametrize(("option", "value"), [("encoding", "cp1252"), ("delimiter", ";")])
def test_options_of_text_files_are_refused(tmp_path: Path, option: str, value: str) -> None:
    book = write_book(tmp_path / "d.xlsx", data=[["a", "b"], [1, 2], [3, 4]])
    with pytest.raises(DataError, match=f"{option} = '{value}': is for text tables"):
        aekit.open_data(str(book), {"arrays": {option: value}})


def test_damaged_encrypted_and_huge_workbooks_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = write_book(tmp_path / "e.xlsx", data=[["a", "b"], [1, 2], [3, 4]])
    cut = tmp_path / "cut.xlsx"
    cut.write_bytes(book.read_bytes()[:900])
    with pytest.raises(DataError, match="not a readable workbook"):
        read_table(cut)
    old = tmp_path / "old.xlsx"
    old.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    with pytest.raises(DataError, match="without a password"):
        read_table(old)
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(book) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("xl/media/zeros.bin", bytes(80_000_000))
    monkeypatch.setenv("AEKIT_MEMORY", "100MB")
    with pytest.raises(DataError, match=r"would take .* of memory, but 95.4 MiB are allowed"):
        read_table(bomb)


def test_far_cells_cost_no_memory(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    for i in range(20):
        book.active.append([i, i + 0.5])
    book.active.cell(100_000, 10_000, 7)
    book.save(tmp_path / "far.xlsx")
    assert len(read_table(tmp_path / "far.xlsx")) == 21


def test_recordings_and_lists_of_images_open_workbooks(tmp_path: Path) -> None:
    from PIL import Image

    book = write_book(tmp_path / "log.xlsx", log=[["t", "a", "b"], *([i, i % 5, (i % 3) / 2] for i in range(1200))])
    assert aekit.open_data(f"recordings:{book}").spec.kind == "series"
    names = []
    for i in range(6):
        names.append(f"{i}.png")
        Image.new("RGB", (16, 16), (i * 40, 0, 0)).save(tmp_path / names[-1])
    images = write_book(
        tmp_path / "list.xlsx", list=[["file", "label"], *([name, "ab"[i % 2]] for i, name in enumerate(names))]
    )
    data = aekit.open_data(str(images))
    assert data.spec.kind == "image"
    assert list(np.asarray(data.labels)) == ["a", "b"] * 3


def test_an_old_workbook_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    damaged = Path(__file__).parents[1] / "reliability" / "corpus" / "xls" / "all-memory"
    (tmp_path / "old.xls").write_bytes(damaged.read_bytes())
    with pytest.raises(
        DataError,
        match=r"old.xls: (not a readable workbook \(in its reader: it was ended by signal|its sheets would take)",
    ):
        aekit.open_data(tmp_path / "old.xls")
