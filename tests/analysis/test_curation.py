"""Selections of samples, and rare and over-represented regions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command

import aekit
from aekit.analysis._sample_selection import cover, densities
from aekit.errors import DataError, RecipeError

STRATEGIES = ("representative", "typical", "coverage")


def groups(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of five groups of 20 to 200 samples, and their groups."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(5), [200, 100, 60, 40, 20])
    return (rng.normal(size=(420, 6)) + 20 * np.eye(6)[codes]).astype(np.float32), codes


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_of_each_group_is_selected(strategy: str) -> None:
    vectors, codes = groups()
    chosen = aekit.curate(vectors, 5, strategy=strategy)
    assert sorted(codes[chosen.selected]) == [0, 1, 2, 3, 4]
    assert chosen.selected_ids == [str(row) for row in chosen.selected] and chosen.distance < chosen.random_distance
    again = aekit.curate(vectors, 5, strategy=strategy)
    assert np.array_equal(again.selected, chosen.selected)
    many = aekit.curate(vectors, 100, strategy=strategy).selected
    assert len(set(many.tolist())) == 100


@pytest.mark.parametrize("strategy", ["typical", "coverage"])
def test_groups_with_labels_wait(strategy: str) -> None:
    vectors, codes = groups()
    labels = np.full(420, None, object)
    labels[[0, 1, 2, 200]] = ["a", "a", "a", "b"]
    chosen = aekit.curate(vectors, 3, strategy=strategy, labels=labels)
    assert sorted(codes[chosen.selected]) == [2, 3, 4]
    everything = aekit.curate(vectors, 415, strategy=strategy, labels=labels).selected
    assert len(set(everything.tolist())) == 415 and not {0, 1, 2, 200} & set(everything.tolist())


def test_uncertain_samples_lie_between_the_classes() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.uniform(-1, 1, (300, 2)).astype(np.float32)
    labels = np.full(300, "", object)
    for row in range(60):
        labels[row] = "right" if vectors[row, 0] > 0 else "left"
    chosen = aekit.curate(vectors, 8, strategy="uncertain", labels=labels)
    assert chosen.selected.min() >= 60 and len(set(chosen.selected.tolist())) == 8
    assert np.abs(vectors[chosen.selected, 0]).mean() < 0.25 < np.abs(vectors[60:, 0]).mean()
    assert np.ptp(vectors[chosen.selected, 1]) > 1, "spread along the boundary"
    assert chosen.margins is not None and np.isnan(chosen.margins[:60]).all() and (chosen.margins[60:] >= 0).all()
    assert "margin" in chosen.to_pandas()


def test_rare_and_over_represented_samples() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3)).astype(np.float32)
    vectors[:5] = 12 * np.eye(3)[[0, 1, 2, 0, 1]] * np.array([1, 1, 1, -1, -1])[:, None]
    vectors[300:] = 30 + 0.01 * rng.normal(size=(100, 3))
    chosen = aekit.curate(vectors, 10)
    assert (chosen.density[:5] < 0.5).all() and (chosen.density[300:] > 2).all()
    kinds = {row["kind"]: row["samples"] for row in chosen.rows()}
    assert kinds["over-represented"] >= 1 and "100 are in over-represented regions" in chosen.text()
    assert set(chosen.to_dict()["rare"]) >= {"0", "1", "2", "3", "4"}
    assert np.array_equal(densities(np.zeros((20, 2), np.float32), 10), np.ones(20)), "equal samples"


def test_k_center_is_greedy() -> None:
    line = np.array([[0.0], [1], [2], [10], [11]], np.float32)
    assert cover(line, np.array([0]), np.array([1, 2, 3, 4]), 2).tolist() == [4, 2]
    assert cover(line, np.array([], int), np.arange(5), 2).tolist() == [2, 4], "from the sample nearest to the mean"


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"n": 0}, RecipeError, "n = 0: expected at least 1"),
        ({"strategy": "typicl"}, RecipeError, "did you mean 'typical'"),
        ({"n": 420}, DataError, "expected fewer than the 420 samples"),
        ({"strategy": "uncertain"}, DataError, "needs labels for some samples"),
        ({"strategy": "uncertain", "labels": ["a"] * 420}, DataError, "nothing to label next|at least two classes"),
        ({"strategy": "uncertain", "labels": np.linspace(0, 1, 420)}, DataError, "the labels are numbers"),
        ({"strategy": "uncertain", "labels": ["a"] * 9 + [""] * 411}, DataError, "expected two classes"),
        ({"n": 50, "labels": ["a"] * 400 + [""] * 20}, DataError, "fewer than the 20 samples without a label"),
    ],
)
def test_refusals(settings: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        aekit.curate(groups()[0], **{"n": 5} | settings)  # type: ignore[arg-type]


def test_the_command(command: Command, tmp_path: Path) -> None:
    vectors, codes = groups()
    np.savez(tmp_path / "x.npz", x=vectors, y=codes)
    output = command.ok("curate", tmp_path / "x.npz", "-n", "5", "-o", tmp_path / "out", "-q")
    assert (
        output.startswith("5 of 420 samples selected (representative)") and "every sample has a label already" in output
    )
    with (tmp_path / "out" / "selected.csv").open(newline="") as file:
        selected = [row["id"] for row in csv.DictReader(file)]
    with (tmp_path / "out" / "curation.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 420 and [rows[name]["selected"] for name in selected] == ["0", "1", "2", "3", "4"]
    assert {int(rows[name]["label"]) for name in selected} == {0, 1, 2, 3, 4}
    (tmp_path / "y.csv").write_text("id,label\n" + "".join(f"{row},{codes[row]}\n" for row in range(0, 420, 3)))
    labeled = ("--labels", tmp_path / "y.csv", "--strategy", "uncertain", "-q", "--json")
    summary = json.loads(command.ok("curate", tmp_path / "x.npz", "-n", "5", "-o", tmp_path / "b", *labeled))
    assert len(summary["selected"]) == 5 and all(int(name) % 3 for name in summary["selected"])
