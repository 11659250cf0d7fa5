"""Workers score as a single process does: vectors with baselines, and images with masks and heat maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from PIL import Image
from worker_pools import Killing

import aekit
from aekit.analysis import _anomaly_scoring, _patch_memory
from aekit.analysis.anomalies import Anomalies
from aekit.encoder.engines._processes import ProcessPool
from aekit.errors import DataError, RecipeError

SIDE = 32
FAST = {"train.precision": "fp32"}


def check_same(several: Anomalies, single: Anomalies) -> None:
    """Check that two results are the same, up to rounding."""
    assert several.scores.keys() == single.scores.keys()
    for name, values in single.scores.items():
        assert several.scores[name] == pytest.approx(values, rel=1e-5, abs=1e-7), name
    assert several.ids == single.ids and several.skipped == single.skipped
    assert several.notes == single.notes
    ours, theirs = (json.loads(json.dumps(result.to_dict())) for result in (several, single))
    assert flat(ours) == pytest.approx(flat(theirs), rel=1e-4, abs=1e-6)


def flat(values: Any, place: str = "") -> dict[str, Any]:
    """Return the numbers in nested values by their places."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    numbers = {} if items or not isinstance(values, (int, float)) else {place: values}
    for name, value in items:
        numbers |= flat(value, f"{place}.{name}")
    return numbers


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rows near a plane and a few far from it, and a run that was trained on others."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("table")
    plane = generator.normal(size=(2, 6))
    rows = generator.normal(size=(260, 2)) @ plane + 0.1 * generator.normal(size=(260, 6))
    rows[250:] += 3 * generator.normal(size=(10, 6))
    labels = (np.arange(260) >= 250).astype(int)
    np.savez(folder / "rows.npz", X_train=rows[:120], y_train=labels[:120], X_test=rows[120:], y_test=labels[120:])
    aekit.fit(folder / "rows.npz", dim=2, epochs=5, out=folder / "run", overrides=FAST, report=False)
    return folder / "rows.npz", folder / "run"


def test_worker_processes_score_as_a_single_process_does(
    table: tuple[Path, Path], pools: list[ProcessPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where workers are killed."""
    data, run = table
    monkeypatch.setattr(_anomaly_scoring, "BATCH", 2)
    options: dict[str, Any] = {"split": "test", "threshold": 0.1}
    single = aekit.find_anomalies(run, data, **options)
    killing = Killing(pools, [4])
    several = aekit.find_anomalies(run, data, engine="processes", workers=2, progress=killing, **options)
    check_same(several, single)
    assert {"isolation forest", "pca-2", "raw-tails", "reconstruction", "combined"} <= single.scores.keys()
    assert (pools[0].count, killing.at, pools[0].workers) == (2, [], []) and pools[0].ended >= 1


def test_the_command_writes_the_same_table(
    table: tuple[Path, Path], here: None, tmp_path: Path, command: Command
) -> None:
    data, run = table
    words = ["anomalies", run, data, "--split", "test", "--no-baselines", "-q"]
    command.ok(*words, "-o", tmp_path / "single")
    command.ok(*words, "-o", tmp_path / "several", "--engine", "processes", "-n", 2)
    tables = [(tmp_path / name / "scores.csv").read_text().splitlines() for name in ("single", "several")]
    assert [line.partition(",")[0] for line in tables[0]] == [line.partition(",")[0] for line in tables[1]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images in the folders of MVTec AD, some with a bright spot and its mask, and a run that was trained on others."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("images") / "noise"
    for number in range(36):
        part = "train/good" if number < 24 else "test/good" if number < 30 else "test/spot"
        pixels, mask = generator.integers(0, 120, (SIDE, SIDE), dtype=np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        if part == "test/spot":
            mask[4 : 8 + number % 3, 9:15] = 255
            pixels[mask > 0] = 250
            (folder / "ground_truth" / "spot").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(folder / "ground_truth" / "spot" / f"{number:03d}_mask.png")
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / part / f"{number:03d}.png")
    settings = {"data.split": "train", "encoder.conv.channels": [4, 8]}
    aekit.fit(folder, dim=4, epochs=1, out=folder.parent / "run", overrides=FAST | settings, report=False)
    return folder, folder.parent / "run"


def test_workers_count_the_pixels_of_heat_maps(
    images: tuple[Path, Path], here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With an image that cannot be read, and with the memory of patches that was saved before."""
    folder, run = images
    monkeypatch.setattr(_patch_memory, "CANDIDATES", 500)
    monkeypatch.setattr(_anomaly_scoring, "BATCH", 3)
    folder = Path(shutil.copytree(folder, tmp_path / "noise"))
    (folder / "test" / "good" / "027.png").write_bytes(b"no image")
    options: dict[str, Any] = {"split": "test", "heatmaps": 3}
    workers: dict[str, Any] = {"engine": "processes", "workers": 2}
    single = aekit.find_anomalies(run, folder, out=tmp_path / "single", **options)
    several = aekit.find_anomalies(run, folder, **options, **workers)
    check_same(several, single)
    assert list(single.skipped) == ["test/good/027.png"] and "patches" in single.scores
    assert single.heatmaps is not None and several.heatmaps is not None
    assert list(single.heatmaps.metrics) == ["reconstruction", "patches", "mean image", "raw patches"]
    for name, maps in single.heatmaps.maps.items():
        assert np.allclose(several.heatmaps.maps[name], maps, atol=1e-5)

    options |= {"detector": tmp_path / "single"}
    check_same(aekit.find_anomalies(run, folder, **options, **workers), aekit.find_anomalies(run, folder, **options))
    encoder = aekit.load(run)  # without a decoder, and without masks
    options = {"split": "test", "heatmaps": 0, "reference": folder / "train", "baselines": False}
    check_same(
        aekit.find_anomalies(encoder, folder, **options, **workers), aekit.find_anomalies(encoder, folder, **options)
    )


def test_what_workers_cannot_score_is_refused(table: tuple[Path, Path], tmp_path: Path, here: None) -> None:
    data, run = table
    rows = np.load(data)["X_test"]
    with pytest.raises(DataError, match="workers of engine 'processes' open data by its path"):
        aekit.find_anomalies(run, rows, engine="processes", out=tmp_path / "out")
    with pytest.raises(RecipeError, match="workers = 2: expected engine 'processes' or 'ray'"):
        aekit.find_anomalies(run, data, workers=2)
    assert not (tmp_path / "out").exists()
