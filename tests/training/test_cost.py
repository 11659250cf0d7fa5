"""Test the estimate of how long a training takes: from which steps, when it is reported, and that it changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import Said
from PIL import Image

import aekit
from aekit.data.opening import open_data
from aekit.data.source import ArraySource
from aekit.progress import Progress
from aekit.training import cost
from aekit.training.cost import CostEstimate, size_setting
from aekit.training.phases import Interrupted

EPOCHS = ("train.epochs",)
SETTINGS = {"encoder.backbone": "mlp", "objective.variants": ["denoising"], "train.batch_size": 16, "train.epochs": 3}


def report(estimate: CostEstimate, *times: float) -> dict[float, str]:
    """Return what the estimate reports after steps that end at these times: time -> line."""
    lines = {now: estimate.after_step(now) for now in times}
    return {now: line for now, line in lines.items() if line}


def test_the_first_step_is_excluded_and_the_line_comes_once() -> None:
    estimate = CostEstimate("fit", epochs=20, steps=3000, settings=("train.epochs", "data.images.size"))
    lines = report(estimate, 60.0, 60.9, 61.8, 62.7, 63.6, 64.5, 70.0)  # the first step took a minute to compile
    expected = "fit: about 45 min (20 epochs, 3,000 steps; train.epochs and data.images.size lower it)"
    assert lines == {62.7: expected}


@pytest.mark.parametrize(
    ("step_seconds", "steps", "reported"), [(0.01, 2900, False), (0.01, 3300, True), (20, 5, True)]
)
def test_only_long_trainings_are_reported(step_seconds: float, steps: int, reported: bool) -> None:
    estimate = CostEstimate("fit", epochs=1, steps=steps, settings=EPOCHS)
    lines = report(estimate, *(step_seconds * (1 + step) for step in range(steps)))
    assert len(lines) == reported


def test_a_training_that_ends_before_it_is_measured_is_not_reported() -> None:
    assert not report(CostEstimate("fit", epochs=1, steps=4, settings=EPOCHS), 100.0, 200.0, 300.0, 400.0)
    assert not report(CostEstimate("fit", epochs=1, steps=1, settings=EPOCHS), 100.0)


def test_records_that_arrive_in_bursts_as_on_a_gpu_are_measured_by_whole_bursts() -> None:
    times = [1.6 * (1 + step // 16) + 1e-4 * (step % 16) for step in range(160)]  # 16 steps of 0.1 s at a time
    lines = report(CostEstimate("fit", epochs=1, steps=6000, settings=EPOCHS), *times)
    assert list(lines.values()) == ["fit: about 10 min (1 epoch, 6,000 steps; train.epochs lowers it)"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(31, "30 s"), (88, "90 s"), (100, "2 min"), (240, "4 min"), (5000, "83 min"), (5500, "1.5 h"), (22471, "6.2 h")],
)
def test_times_are_rounded(seconds: float, text: str) -> None:
    step = seconds / 10
    lines = report(CostEstimate("fit", epochs=10, steps=10, settings=EPOCHS), step, 2 * step, 3 * step, 4 * step)
    assert lines == {4 * step: f"fit: about {text} (10 epochs; train.epochs lowers it)"}


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), np.uint8)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report the time of trainings of any length after their second step."""
    monkeypatch.setattr(cost, "MEASURED_STEPS", 1)
    monkeypatch.setattr(cost, "MEASURED_SECONDS", 0.0)
    monkeypatch.setattr(cost, "MIN_SECONDS", 0.0)


def time_lines(messages: Said) -> list[str]:
    return [line for line in messages.lines if ": about " in line]


@pytest.mark.usefixtures("always")
def test_a_run_reports_its_time_once() -> None:
    messages = Said()
    aekit.fit(images(), overrides=SETTINGS, progress=messages)
    (line,) = time_lines(messages)
    assert line.startswith("fit: about 0 s (3 epochs, 12 steps; train.epochs lowers it)")


@pytest.mark.usefixtures("always")
def test_each_phase_of_a_layer_wise_run_reports_its_own_time() -> None:
    messages = Said()
    layers = {"layerwise.epochs": 2, "encoder.mlp.hidden": [16, 8], "encoder.dim": 4}
    aekit.fit(images(), overrides=SETTINGS | layers, progress=messages)
    lines = time_lines(messages)
    assert [line.partition(":")[0] for line in lines] == ["layer 1", "layer 2", "layer 3", "fit"]
    assert "(2 epochs, 8 steps; layerwise.epochs lowers it)" in lines[0]


def test_a_short_run_reports_no_time() -> None:
    messages = Said()
    aekit.fit(images(), overrides=SETTINGS, progress=messages)
    assert not time_lines(messages)


@pytest.mark.usefixtures("always")
def test_a_resumed_run_reports_no_time_and_ends_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stops(Said):
        """Stop the run when it reports its time."""

        def say(self, text: str) -> None:
            super().say(text)
            if time_lines(self):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        aekit.fit(images(), overrides=SETTINGS, out=tmp_path / "run", report=False, progress=Stops())
    messages = Said()
    resumed = aekit.fit(
        images(), overrides=SETTINGS, out=tmp_path / "run", resume=True, report=False, progress=messages
    )
    assert "resuming after step 2" in messages and not time_lines(messages)
    monkeypatch.undo()
    assert aekit.fit(images(), overrides=SETTINGS, progress=Progress()).digest == resumed.digest


def test_the_size_is_named_where_the_source_resizes_samples(tmp_path: Path) -> None:
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    assert size_setting(open_data(tmp_path)) == "data.images.size"
    assert size_setting(open_data(f"patches:{tmp_path}", {"patches": {"size": 8}})) is None
    assert size_setting(ArraySource(images())) is None
