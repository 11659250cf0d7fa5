"""Conditions of searches select what SQLite selects, and hostile ones are a selection or one line."""

from __future__ import annotations

import random
from pathlib import Path

import conditions
import pytest
from conditions import against_sqlite, hostile, refused, table

from aekit.index._filters import Condition


@pytest.mark.reliability
def test_conditions_select_what_sqlite_selects() -> None:
    assert not against_sqlite(400, seed=5)


@pytest.mark.reliability
def test_hostile_conditions_are_a_selection_or_one_line() -> None:
    rows = table(random.Random(0))
    problems = [refused(where, lambda where=where: Condition(where, rows)) for where in hostile(300, seed=5)]
    assert not any(problems), [problem for problem in problems if problem]


def test_a_difference_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "condition", lambda *_: ("small = 1", "small = 0"))
    assert against_sqlite(1, seed=5)
    assert refused("x", lambda: 1 / 0) == "'x': ZeroDivisionError: division by zero"


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore")
def test_hostile_conditions_on_all_engines_and_surfaces(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="serving needs the extra 'serve'")
    wrong = [problem for _, _, _, problems, _ in conditions.trials(tmp_path, 400) for problem in problems]
    assert not wrong, wrong
