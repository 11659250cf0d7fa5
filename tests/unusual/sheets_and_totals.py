"""Rows that sum up others, below a table or among its rows, and what is hidden in workbooks of any kind."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unusual.exports import NAMES, NOISE, opened, rows, values
from unusual.harness import Area, Listener

import aekit

AREA = Area(__name__)
HEADER = f"city,{','.join(NAMES)}"
BODY = "".join(f"c{number},{h},{w},{d}\n" for number, (h, w, d) in enumerate(NOISE.tolist()))
SUMS = ",".join(map(str, NOISE.sum(0).round(3)))
MEANS = ",".join(map(str, NOISE.mean(0).round(3)))


# ---- rows that sum up others


@AREA.changed("totals in other languages, with colons and counts behind", "the last row, 'Gesamtergebnis', is read as")
def _(folder: Path, listener: Listener) -> None:
    for name in (
        "Total general",
        "Итого",
        "合計",
        "Summe:",
        "TOTAL (n=40)",
        "Grand Total",
        "Gesamtergebnis",
        "Subtotal",
    ):
        source = opened(folder, f"{HEADER}\n{BODY}{name},1,2,3\n")
        assert f"the last row, {name!r}, is read as a sample: remove it if it sums up the others" in source.losses
        assert len(source) == 41, "it may be a city"


@AREA.changed(
    "the mean and further statistics below a table", "the last 3 rows, 'Mean', 'SD', 'n', are read as samples"
)
def _(folder: Path, listener: Listener) -> None:
    opened(folder, f"{HEADER}\n{BODY}Mean,{MEANS}\nSD,1,1,1\nn,40,40,40\n")


@AREA.changed("a total in the second column, behind an empty id", "the last row, 'Total', is read as a sample")
def _(folder: Path, listener: Listener) -> None:
    body = "".join(f"{number},{line}\n" for number, line in enumerate(BODY.splitlines()))
    opened(folder, f"nr,{HEADER}\n{body},Total,1,2,3\n")


@AREA.changed("a last row of sums or means without a name", "the last row is the mean of the others in 'h', 'w', 'd'")
def _(folder: Path, listener: Listener) -> None:
    source = opened(folder, f"{HEADER}\n{BODY},{SUMS}\n")
    assert "the last row is the sum of the others in 'h', 'w', 'd'; is it a sample?" in source.losses
    gap = BODY.replace(f"c4,{NOISE[4, 0]}", "c4,")
    sums = np.nansum(np.where(np.arange(40)[:, None] == [4, -1, -1], np.nan, NOISE), axis=0).round(3)
    source = opened(folder, f"{HEADER}\n{gap},{','.join(map(str, sums))}\n")
    assert any("is the sum of the others" in line for line in source.losses), "beside a missing value"
    opened(folder, f"{HEADER}\n{BODY},{MEANS}\n")


@AREA.changed("frame.loc['Total'] = frame.sum(), a pivot with margins, describe()", "the last row, 'Total', is read as")
def _(folder: Path, listener: Listener) -> None:
    frame = pd.DataFrame(NOISE, columns=NAMES)
    described = aekit.open_data(pd.concat([frame, frame.describe()]))
    assert "the last 8 rows, 'count', 'mean', 'std', ..., are read as samples" in "".join(described.losses)
    assert list(described.ids[:2]) == ["0", "1"] and np.array_equal(values(described)[:40], NOISE)
    long = pd.DataFrame({"a": list("xyzw") * 10, "b": list("uv") * 20, "c": NOISE[:, 0]})
    margins = pd.pivot_table(long, index="a", columns="b", values="c", margins=True)
    assert "the last row, 'All', is read as" in "".join(aekit.open_data(margins).losses)
    for name, save in (("a.parquet", frame.to_parquet), ("a.json", frame.to_json)):
        total = frame.assign(city=[f"c{row}" for row in range(39)] + ["Total"])
        getattr(total, save.__name__)(folder / name)
        assert "the last row, 'Total', is read as" in "".join(aekit.open_data(folder / name).losses), name
    frame.loc["Total"] = frame.sum()
    aekit.open_data(frame)


@AREA.right("cities called like statistics, alone or among few categories, and rows that sum up nothing")
def _(folder: Path, listener: Listener) -> None:
    categories = "".join(f"{('total', 'mean')[row % 2]},{row % 7},{row % 3}\n" for row in range(40))
    texts = [
        f"{HEADER}\n{BODY}Max,1,2,3\n",
        f"{HEADER}\n{BODY}Total Recall,1,2,3\n",
        f"kind,a,b\n{categories}",
        rows(NOISE, ",".join(NAMES)),
    ]
    for text in texts:
        source = opened(folder, text)
        assert not any("sum" in line or "the last" in line for line in (*source.losses, *source.notes)), text[-40:]


# ---- what is hidden in workbooks


def open_document(path: Path, sheets: dict[str, str], styles: str = "") -> None:
    """Save sheets, whose rows and columns are given as XML, as an OpenDocument spreadsheet."""
    names = ("office", "table", "text", "style")
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    tables = "".join(f"<table:table {name}>{content}</table:table>" for name, content in sheets.items())
    body = f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest:manifest xmlns:manifest='urn:m'/>")
        text = f"<office:document-content {spaces}>{styles}{body}</office:document-content>"
        archive.writestr("content.xml", text)


def xml_row(cells: list[Any], attributes: str = "") -> str:
    inner = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>'
        if isinstance(cell, str)
        else f'<table:table-cell office:value-type="float" office:value="{cell}"/>'
        for cell in cells
    )
    return f"<table:table-row {attributes}>{inner}</table:table-row>"


def hide_in_open_document(folder: Path) -> Path:
    collapsed = 'table:visibility="collapse"'
    columns = (
        f"<table:table-column/><table:table-column {collapsed}/><table:table-column table:number-columns-repeated='9'/>"
    )
    hidden = {2: collapsed, 4: 'table:visibility="filter"'}
    lines = [xml_row(cells, hidden.get(number, "")) for number, cells in enumerate([NAMES, *NOISE.tolist()])]
    below = f'<table:table-row {collapsed} table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
    other = f"<table:table-column {collapsed}/>{xml_row(['a note'], collapsed)}"
    sheets = {'table:name="x"': other, 'table:style-name="t" table:name="a &amp; b"': columns + "".join(lines) + below}
    open_document(folder / "t.ods", sheets)
    return folder / "t.ods"


def hide_in_xls(folder: Path, lines: int = 40) -> Path:
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook()
    book.add_sheet("x").col(0).hidden = True
    sheet = book.add_sheet("a & b")
    for number, cells in enumerate([NAMES, *NOISE[:lines].tolist()]):
        for place, cell in enumerate(cells):
            sheet.write(number, place, cell)
    sheet.row(2).hidden = sheet.row(4).hidden = sheet.col(1).hidden = True
    sheet.row(60_000).hidden = True
    book.save(str(folder / "t.xls"))
    return folder / "t.xls"


HIDDEN = "hidden in the sheet, but read: 2 rows (3, 5) and 1 column (B)"


def check_hidden(make: Callable[[Path], Path]) -> Callable[[Path, Listener], None]:
    def check(folder: Path, listener: Listener) -> None:
        pytest.importorskip("python_calamine")
        source = aekit.open_data(make(folder), {"arrays": {"sheet": "a & b"}})
        source.report_notes(listener)
        assert np.array_equal(values(source), NOISE[: len(source)])

    return check


AREA.changed("hidden rows and columns of an OpenDocument spreadsheet", HIDDEN)(check_hidden(hide_in_open_document))
AREA.changed("hidden rows and columns of an old Excel workbook", HIDDEN)(check_hidden(hide_in_xls))


@AREA.changed("a table in the middle of an old workbook, with hidden cells", "2 rows (13, 15) and 1 column (AB)")
def _(folder: Path, listener: Listener) -> None:
    pytest.importorskip("python_calamine")
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook()
    sheet = book.add_sheet("log")
    for number, cells in enumerate([NAMES, *NOISE.tolist()]):
        for place, cell in enumerate(cells):
            sheet.write(number + 10, place + 26, cell)
    sheet.row(12).hidden = sheet.row(14).hidden = sheet.row(2).hidden = True
    sheet.col(27).hidden = sheet.col(3).hidden = True
    book.save(str(folder / "t.xls"))
    aekit.open_data(folder / "t.xls").report_notes(listener)


@AREA.right("old workbooks that are small, and that are cut and spliced: what is hidden is found, or nothing")
def _(folder: Path, listener: Listener) -> None:
    from aekit.data.readers._xls_records import hidden_in_xls

    path = hide_in_xls(folder, lines=5)
    hidden = hidden_in_xls(path, 1)
    assert hidden.rows == {3, 5, 60_001} and hidden.columns == {2} and hidden_in_xls(path, 0).columns == {1}
    content, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content[: random.integers(len(content))] if random.random() < 0.3 else content)
        for place in random.integers(0, max(len(damaged), 1), 4) if damaged else ():
            damaged[int(place) % (600 if random.random() < 0.5 else len(damaged)) % len(damaged)] = random.integers(256)
        path.write_bytes(damaged)
        hidden_in_xls(path, int(random.integers(3)))
