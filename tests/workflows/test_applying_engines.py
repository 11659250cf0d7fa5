"""Workers apply a run as a single process does: reconstruction, denoising at the original size, and a pretext task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from PIL import Image
from worker_pools import Killing

import aekit
from aekit.encoder.engines._processes import ProcessPool
from aekit.errors import DataError, RecipeError
from aekit.workflows.applying.tasks import ApplyResult

FAST = {"train.precision": "fp32", "encoder.conv.channels": [4, 8], "encoder.dim": 0}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of noisy and clean images of several sizes, one of which cannot be read, and an array of small ones."""
    folder = tmp_path_factory.mktemp("pages")
    for kind in ("clean", "dirty", "masks"):
        (folder / kind).mkdir()
    for number in range(7):
        generator = np.random.default_rng(number)
        clean = np.kron(generator.integers(0, 2, (4, 5 + number % 2)), np.ones((6, 6))) * 200 + 20
        dirty = (clean + generator.normal(0, 20, clean.shape)).clip(0, 255)
        mask = np.zeros(clean.shape)
        mask[3:9, 5 : 12 * (number > 1)] = 255  # that of the first two is empty
        for kind, values in {"clean": clean, "dirty": dirty, "masks": mask}.items():
            Image.fromarray(values.astype(np.uint8)).save(folder / kind / f"{number}.png")
    (folder / "dirty" / "3.png").write_bytes(b"no image")
    small = np.random.default_rng(9).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    np.savez(folder / "small.npz", x_train=small[:20], x_test=small[20:])
    return folder


@pytest.fixture(scope="module")
def run(pages: Path) -> Path:
    """A run with a decoder, and a task that restores masked pixels."""
    options: dict[str, Any] = {"variants": ["plain"], "pretexts": ["inpainting"], "epochs": 1, "report": False}
    overrides = FAST | {"data.split": "train", "objective.inpainting.mask": "block"}
    aekit.fit(pages / "small.npz", out=pages / "run", overrides=overrides, **options)
    return pages / "run"


def check_same(several: ApplyResult, single: ApplyResult) -> None:
    """Check that two results are the same, up to rounding."""
    assert several.count == single.count and several.notes == single.notes
    assert several.details == single.details
    assert several.values is not None and single.values is not None
    for ours, theirs in zip(several.values, single.values, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.abs(ours.astype(float) - theirs).max() <= (1 if theirs.dtype == np.uint8 else 1e-4)
    for ours, theirs in zip([*several.rows, *several.samples], [*single.rows, *single.samples], strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-3, nan_ok=True))
    assert several.image.size == single.image.size
    difference = np.asarray(several.image, float) - np.asarray(single.image, float)
    assert np.abs(difference).max() <= 2


WORKERS: dict[str, Any] = {"engine": "processes", "workers": 2}
TASKS: list[tuple[str, str, dict[str, Any]]] = [
    ("small.npz", "reconstruct", {"split": "test"}),
    ("dirty", "reconstruct", {"baselines": False}),
    ("dirty", "denoise", {"clean": "clean"}),
    ("dirty", "denoise", {}),
    ("dirty", "inpaint", {"mask": "masks", "clean": "clean"}),
    ("dirty", "inpaint", {"demonstrate": True}),
    ("small.npz", "inpaint", {"split": "test", "seed": 3}),
]


@pytest.mark.parametrize(("data", "task", "options"), TASKS)
def test_workers_make_what_a_single_process_makes(
    data: str, task: str, options: dict[str, Any], run: Path, pages: Path, here: None
) -> None:
    options = {n: str(pages / value) if n in ("clean", "mask") else value for n, value in options.items()}
    single = aekit.apply(run, pages / data, task=task, **options)
    check_same(aekit.apply(run, pages / data, task=task, **options, **WORKERS), single)
    assert single.count == (20 if data == "small.npz" else 6)
    assert any("1 sample skipped, e.g. 3.png" in note for note in single.notes) == (data == "dirty")
    if "mask" in options:
        assert "2 of 6 samples have an empty mask" in single.notes


def test_worker_processes_that_are_killed_cost_nothing(
    run: Path, pages: Path, tmp_path: Path, pools: list[ProcessPool]
) -> None:
    options: dict[str, Any] = {"task": "denoise", "clean": pages / "clean", "baselines": False}
    single = aekit.apply(run, pages / "dirty", out=tmp_path / "single", **options)
    killing = Killing(pools, [2])
    aekit.apply(run, pages / "dirty", out=tmp_path / "several", progress=killing, **options, **WORKERS)
    assert (killing.at, pools[0].workers) == ([], [])
    names = sorted(path.relative_to(tmp_path / "single").as_posix() for path in (tmp_path / "single").rglob("*"))
    assert names == sorted(
        path.relative_to(tmp_path / "several").as_posix() for path in (tmp_path / "several").rglob("*")
    )
    for name in ("samples/0.png", "samples/6.png"):
        ours, theirs = (np.asarray(Image.open(tmp_path / kind / name), float) for kind in ("several", "single"))
        assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1
    results = json.loads((tmp_path / "several" / "results.json").read_text())
    assert results["samples"] == single.count == 6 and (tmp_path / "several" / "skipped.csv").is_file()


def test_what_workers_cannot_do_is_refused(
    run: Path, pages: Path, tmp_path: Path, command: Command, here: None
) -> None:
    small = np.load(pages / "small.npz")["x_test"]
    with pytest.raises(DataError, match="workers of engine 'processes' open data by its path"):
        aekit.apply(run, small, **WORKERS)
    with pytest.raises(DataError, match="clean: data in memory: workers open data by its path"):
        aekit.apply(run, pages / "small.npz", split="test", task="denoise", clean=np.zeros((40, 1, 8, 8)), **WORKERS)
    with pytest.raises(RecipeError, match="engine = 'processes': interpolate computes in this process; leave it out"):
        aekit.apply(run, pages / "small.npz", task="interpolate", **WORKERS)
    words = ("apply", run, pages / "small.npz", "-o", tmp_path / "out", "-n", 2)
    assert "workers = 2: expected engine 'processes' or 'ray'" in command(*words).error
    command.ok(*words, "--engine", "processes", "-q", "--no-baselines")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["samples"] == 40
