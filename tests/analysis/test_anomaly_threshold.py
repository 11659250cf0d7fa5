"""A yes or no with a stated rate of false alarms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command

import aekit
from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_threshold import CALIBRATION, hold_out, raise_alarms
from aekit.analysis.anomalies import find_anomalies
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.errors import DataError, RecipeError


def rows(seed: int, count: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> aekit.Encoder:
    return aekit.fit(rows(0), dim=4, epochs=2, backbone="linear", overrides={"train.precision": "fp32"})


def samples(values: np.ndarray) -> Samples:
    return load_samples(ArraySource(values), np.arange(len(values)), torch.device("cpu"))


def test_p_values_are_ranks_among_held_out_normal_samples() -> None:
    detector = Detector("digest", ["combined"], {CALIBRATION: torch.arange(9.0, dtype=torch.float64)})
    alarms = raise_alarms(detector, np.array([9.0, 8.0, 7.5, -1.0]), 0.2, np.array([True, True, False, False]), 0)
    assert alarms.p_values.tolist() == [0.1, 0.2, 0.2, 1.0]
    assert alarms.flags.tolist() == [True, True, True, False]
    assert alarms.false_alarms is not None and alarms.false_alarms.value == 0.5
    assert alarms.detected is not None and alarms.detected.value == 1.0
    assert raise_alarms(detector, np.array([9.0]), 0.1, None, 0).flags.all()
    with pytest.raises(DataError, match=r"threshold = 0.05: needs at least 19 held-out normal samples; there are 9"):
        raise_alarms(detector, np.array([9.0]), 0.05, None, 0)


def test_false_alarms_are_as_rare_as_promised(encoder: aekit.Encoder) -> None:
    """Detectors, thresholds and tested samples are drawn anew; the mean of their false alarms is below the rate."""
    rates = []
    for seed in range(12):
        scored = find_anomalies(
            encoder, rows(100 + seed), reference=rows(200 + seed), threshold=0.1, baselines=False, seed=seed
        )
        assert scored.alarms is not None and scored.alarms.held_out == 100
        rates.append(scored.alarms.flags.mean())
    assert 0.05 < np.mean(rates) < 0.13


def test_anomalies_are_called_and_normal_samples_are_not(
    encoder: aekit.Encoder, command: Command, tmp_path: Path
) -> None:
    encoder.save(tmp_path / "encoder")
    tested = np.concatenate([rows(1), 9 + rows(2, 30)])
    np.savez(tmp_path / "x.npz", x=tested, y=np.repeat([0, 1], [300, 30]))
    for name, seed in (("reference", 3), ("unseen", 4)):
        np.save(tmp_path / f"{name}.npy", rows(seed))
    base = ("anomalies", tmp_path / "encoder", tmp_path / "x.npz", "--reference", tmp_path / "reference.npy", "-q")
    extra = ("--threshold", "0.05", "--calibration", tmp_path / "unseen.npy")
    output = command.ok(*base, *extra, "-o", tmp_path / "out")
    assert "at a false-alarm rate of 5% (300 held-out normal samples); false alarms: 0." in output
    summary = json.loads((tmp_path / "out" / "results.json").read_text())["threshold"]
    assert summary["detected"]["value"] > 0.95 and summary["false_alarms"]["value"] < 0.12
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert sum(row["alarm"] == "yes" for row in table) == summary["called_anomalies"]
    assert all((float(row["p-value"]) <= 0.05) == (row["alarm"] == "yes") for row in table)

    # The saved detector keeps what its threshold is set by.
    again = find_anomalies(encoder, tested, detector=tmp_path / "out", threshold=0.05, baselines=False)
    assert again.alarms is not None and again.alarms.flags.sum() == summary["called_anomalies"]
    assert {"p-value", "alarm"} <= set(again.to_pandas())
    command.ok(*base, "-o", tmp_path / "plain")
    assert "saved without a threshold" in command(
        "anomalies", tmp_path / "encoder", tmp_path / "x.npz", "--detector", tmp_path / "plain", "--threshold", "0.1",
        "-o", tmp_path / "no", "-q"
    ).error  # fmt: skip


def test_held_out_samples_are_not_fitted_on() -> None:
    values = rows(0, 90)
    fitted, held_out = hold_out(samples(values), 0)
    assert len(fitted) == 60 and len(held_out) == 30
    assert sorted([*fitted.rows.tolist(), *held_out.rows.tolist()]) == list(range(90))
    assert torch.equal(next(held_out.chunks()), torch.from_numpy(values[held_out.rows]))
    mapped = Samples(fitted.spec, np.arange(90), values, torch.device("cpu"))
    assert torch.equal(next(hold_out(mapped, 0)[1].chunks()), next(held_out.chunks()))


def test_refusals_and_notes(encoder: aekit.Encoder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"threshold = 5.0: expected a false-alarm rate between 0 and 1"):
        find_anomalies(encoder, rows(1), reference=rows(2), threshold=5.0)
    with pytest.raises(DataError, match="pass threshold"):
        find_anomalies(encoder, rows(1), reference=rows(2), calibration=rows(3))
    with pytest.raises(DataError, match=r"needs at least 999 held-out normal samples; there are 100"):
        find_anomalies(encoder, rows(1), reference=rows(2), threshold=0.001, baselines=False)
    np.save(tmp_path / "x.npy", rows(0))
    aekit.fit(tmp_path / "x.npy", dim=2, epochs=1, backbone="linear", out=tmp_path / "run", report=False)
    scored = find_anomalies(tmp_path / "run", rows(1), threshold=0.1, baselines=False)
    assert "the encoder was trained on the held-out normal samples" in scored.text()
