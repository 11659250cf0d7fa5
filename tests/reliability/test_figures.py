"""docs/reliability.md is current, and names every suite that has kept figures."""

from __future__ import annotations

import json
from pathlib import Path

import figures
import pytest
from figures import FOLDER, PAGE, SUITES, Figure, page, record


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/reliability/figures.py --write writes it"


def test_every_suite_is_on_the_page() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} <= set(SUITES)
    for suite in SUITES.values():
        assert f"## {suite.title}\n\n{suite.text}" in page()


def test_figures_are_kept_with_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FOLDER", tmp_path / "figures")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "load.py"), str(tmp_path), "60"])
    record("load", [Figure("a|b", "held open", 1200, 1, "p99 3 ms"), Figure("c", "held open", 1, 0)])
    kept = json.loads((tmp_path / "figures" / "load.json").read_text("utf-8"))
    assert kept["command"] == "python tests/reliability/load.py FOLDER 60"
    text = page()
    assert "1,201 trials, 1 wrong; `python tests/reliability/load.py FOLDER 60`" in text
    assert "| a\\|b | held open | 1,200 | 1 | p99 3 ms |" in text
    assert text.count("No figures are kept yet") == len(SUITES) - 1
