"""Tests of the plan for data past one machine: its tables are those of its script, and the simulation agrees with arithmetic."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

pytest.importorskip("simpy")
import pipeline  # noqa: E402
import scale  # noqa: E402


def test_page_holds_the_tables_of_the_script() -> None:
    page = scale.PAGE.read_text("utf-8")
    tables = scale.tables(json.loads(scale.RATES.read_text("utf-8")))
    assert scale.insert(page, tables) == page, "python benchmarks/scale.py --write"
    assert all(table in page for table in tables.values())


@pytest.mark.parametrize(("workers", "expected"), [(2, 0.2), (5, 0.5), (40, 1.0)])
def test_device_waits_for_too_few_workers(workers: int, expected: float) -> None:
    assert pipeline.utilization(workers, rate=100, device_rate=1000) == pytest.approx(expected, abs=0.04)


def test_failures_cost_half_a_part_and_a_restart_each() -> None:
    rate, hours = 100.0, 1.0
    seconds = pipeline.PART / rate
    expected = (seconds / 2 + pipeline.RESTART) / (hours * 3600)
    cost = pipeline.cost_of_failures(64, rate, hours, 64 * 2_000_000)
    assert cost == pytest.approx(expected, rel=0.3)
    assert pipeline.cost_of_failures(8, rate, 1e9, 100_000) == 0
