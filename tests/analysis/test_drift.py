"""Drift of new data from a reference."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from scipy.stats import energy_distance

import aekit
from aekit.analysis._two_sample import dimension_shifts, energy_test, separate
from aekit.errors import DataError, IdentityError, RecipeError
from aekit.progress import SILENT

FEW = {"permutations": 100, "progress": False}


def normal(seed: int, count: int = 120, move: float = 0.0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    rows[:, 3] += move
    return rows


def test_false_alarms_are_as_rare_as_promised() -> None:
    tests = [energy_test(normal(s, 60), normal(s + 100, 60), np.arange(120), 40, s, SILENT) for s in range(40)]
    alarms = sum(test.p_value <= 0.05 for test in tests)
    assert alarms <= 6, "2 are expected; more than 6 have a probability of 0.3%"


def test_planted_drift_is_found_and_located() -> None:
    drift = aekit.measure_drift(normal(0), normal(1, move=1.0), **FEW)
    assert drift.has_drifted and drift.test.p_value == pytest.approx(1 / 101)
    assert drift.rows()[0]["dimension"] == 3 and 0.7 < drift.rows()[0]["shift in standard deviations"] < 1.3
    assert (0.65 < drift.auroc < 0.85 and "moderately" in drift.text()) or "strongly" in drift.text()
    assert drift.test.low < drift.test.statistic < drift.test.high and drift.test.null_high < drift.test.low


def test_the_samples_and_clusters_that_differ_are_named() -> None:
    new = normal(1)
    new[:15] += 8
    drift = aekit.measure_drift(normal(0), new, **FEW)
    assert drift.has_drifted and {int(name) for name in drift.ids[:15]} == set(range(15))
    assert drift.outside > 0.12 and (np.diff(drift.scores) <= 0).all()
    assert abs(sum(row["new"] for row in drift.clusters) - 1) < 1e-9
    assert abs(drift.clusters[0]["change"]) == max(abs(row["change"]) for row in drift.clusters)


def test_the_statistic_is_the_energy_distance() -> None:
    a, b = normal(0, 400)[:, :1], normal(1, 400, move=0)[:, :1] + 1
    test = energy_test(a, b, np.arange(800), 50, 0, SILENT)
    between = np.abs(a - b.T).mean()
    assert test.statistic == pytest.approx(energy_distance(a[:, 0], b[:, 0]) ** 2 / (2 * between), rel=0.05)
    repeated = [
        energy_test(normal(s, 60), normal(s + 50, 60, move=1.5), np.arange(120), 20, 0, SILENT) for s in range(12)
    ]
    spread = np.std([one.statistic for one in repeated])
    width = np.mean([one.high - one.statistic for one in repeated]) / 1.96
    assert 0.5 < width / spread < 2, "the interval is as wide as the statistic varies"


def test_groups_are_exchanged_together() -> None:
    """Ten recordings of each side, each at a place of its own: no drift, but samples are far from independent."""
    alarms, naive = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sides = []
        for side in "ab":
            centers = np.repeat(rng.normal(size=(10, 3)), 12, axis=0)
            ids = [f"{side}{recording}/{step}" for recording in range(10) for step in range(12)]
            sides.append(aekit.Embeddings.from_array(centers + 0.2 * rng.normal(size=centers.shape), ids=ids))
        naive += aekit.measure_drift(*sides, **FEW).has_drifted
        alarms += aekit.measure_drift(*sides, groups="^[^/]+", **FEW).has_drifted
    assert naive >= 9 and alarms <= 3
    assert "20 groups" in aekit.measure_drift(*sides, groups="^[^/]+", **FEW).notes[0]


def test_a_classifier_separates_what_differs() -> None:
    auroc, scores = separate(normal(0), normal(1, move=6), np.arange(240), 0)
    assert auroc > 0.99 and scores[120:].min() > scores[:120].mean()
    assert abs(separate(normal(0), normal(1), np.arange(240), 0)[0] - 0.5) < 0.12
    assert dimension_shifts(np.ones((5, 2)), np.ones((5, 2))).tolist() == [0, 0]


def test_many_samples_are_drawn_from() -> None:
    drift = aekit.measure_drift(normal(0, 300), normal(1, 40), max_samples=50, **FEW)
    assert drift.counts == (50, 40) and drift.notes == ["50 of 300 reference samples were compared, drawn with seed 0"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 new samples: expected at least 10"):
        aekit.measure_drift(normal(0), normal(1, 5))
    with pytest.raises(DataError, match="vectors of length 3: expected 5"):
        aekit.measure_drift(normal(0), normal(1)[:, :3])
    with pytest.raises(RecipeError, match=r"alpha = 1.5: expected a probability"):
        aekit.measure_drift(normal(0), normal(1), alpha=1.5)
    with pytest.raises(RecipeError, match=r"permutations = 50: alpha = 0.01 needs at least 100"):
        aekit.measure_drift(normal(0), normal(1), alpha=0.01, permutations=50)
    with pytest.raises(RecipeError, match="not a regular expression"):
        aekit.measure_drift(normal(0), normal(1), groups="(")


def test_the_command_embeds_new_data_with_the_run(command: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "known.npz", x=normal(0))
    np.savez(tmp_path / "same.npz", x=normal(1))
    np.savez(tmp_path / "moved.npz", x=normal(2, move=3))
    aekit.fit(tmp_path / "known.npz", dim=3, epochs=2, backbone="linear", out=tmp_path / "run", report=False)
    output = command.ok("drift", tmp_path / "run", tmp_path / "same.npz", "-o", tmp_path / "a", "-q")
    assert output.startswith("No drift found")
    summary = json.loads(
        command.ok("drift", tmp_path / "run", tmp_path / "moved.npz", "-o", tmp_path / "b", "-q", "--json")
    )
    assert summary["drift"] and summary["p_value"] < 0.01 and summary["samples"] == {"reference": 120, "new": 120}
    with (tmp_path / "b" / "drift.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 120
    page = (tmp_path / "b" / "report.html").read_text("utf-8")
    assert page.count("48 of 120 samples. ") == 2 and "of 3 dimensions" not in page
    other = aekit.fit(tmp_path / "known.npz", dim=3, epochs=1, backbone="linear", seed=5)
    with pytest.raises(IdentityError):
        aekit.measure_drift(tmp_path / "run", other.embed(tmp_path / "same.npz"))
    assert (
        "at least 100"
        in command(
            "drift",
            tmp_path / "run",
            tmp_path / "same.npz",
            "-o",
            tmp_path / "c",
            "--alpha",
            "0.01",
            "--permutations",
            "50",
        ).error
    )
