"""CSV that people open in a spreadsheet: no cell becomes a formula, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aekit.io.csv_files import csv_text

HOSTILE = [
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    '=cmd|"/c calc"!A1',
    "-x.png",
]
PLAIN = ["plain", "a=b", "7", "-7", "+7", "-1.5e-3", ".5", "two\nlines", 'a "quoted", one', "", "'=1"]


def test_only_cells_that_could_be_formulas_are_changed() -> None:
    text = csv_text(["name", "=head"], [[cell, number] for number, cell in enumerate(HOSTILE + PLAIN)])
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["name", "'=head"]
    assert [row[0] for row in rows] == [f"'{cell}" for cell in HOSTILE] + PLAIN
    assert [row[1] for row in rows] == [str(number) for number in range(len(rows))]


def test_numbers_of_other_types_are_not_touched() -> None:
    assert csv_text(["x"], [[-1], [-0.5], [None], [True]]) == "x\n-1\n-0.5\n\nTrue\n".replace("\n\n", '\n""\n')


def test_a_spreadsheet_reads_text_and_numbers_and_no_formula(tmp_path: Path) -> None:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("needs LibreOffice")
    (tmp_path / "cells.csv").write_text(csv_text(["cell"], [[cell] for cell in HOSTILE + PLAIN]), "utf-8")
    options = ["--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to", "fods"]
    command = [office, *options, "--infilter=CSV:44,34,76,1", "--outdir", str(tmp_path), str(tmp_path / "cells.csv")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    sheet = (tmp_path / "cells.fods").read_text("utf-8")
    assert "table:formula" not in sheet and "=HYPERLINK" in sheet
    numbers = [float(number) for number in re.findall(r'office:value-type="float" office:value="([^"]+)"', sheet)]
    assert numbers == [7, -7, 7, -0.0015, 0.5]
