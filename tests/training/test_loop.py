"""Test the training loop: schedule, order, exact resume, stopping."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupting import check_restored
from safetensors.torch import load_file

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.errors import TrainingError
from aekit.objectives.base import Batch, Objective
from aekit.testing.samples import SPECS
from aekit.training.batches import Batches, derive_seed
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import learning_rate
from aekit.training.settings import Settings, uses_bf16

CPU = torch.device("cpu")


def images(count: int = 96, side: int = 12) -> np.ndarray:
    """Create low-rank grayscale images that an autoencoder can learn."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 9, 4 * side * side)).reshape(4, side, side)
    mixed = np.tensordot(rng.random((count, 4)), waves, 1)
    return (255 * (mixed - mixed.min()) / np.ptp(mixed)).astype(np.uint8)[:, None]


def samples(count: int = 96) -> Samples:
    source = ArraySource(images(count))
    return load_samples(source, np.arange(count), CPU)


def objective(settings: Settings, held: Samples) -> Objective:
    from aekit.encoder.preprocessing import fit_preprocess
    from aekit.training.recipe import make_recipe

    recipe = make_recipe(
        {
            "data": {"source": "memory"},
            "encoder": {"backbone": "conv", "dim": 4, "conv": {"channels": [4]}},
            "objective": {"variants": ["denoising"]},
            "train": settings.model_dump(),
        }
    )
    return make_objective(recipe, held.spec, fit_preprocess(held)[0])


def test_schedule_rises_linearly_and_falls_as_half_a_cosine() -> None:
    settings = Settings(lr=2.0, warmup=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(2.0 / 11)
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1 + math.cos(math.pi * 45 / 90))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert learning_rate(Settings(lr=2.0, schedule="constant", warmup=0), 99, 100) == 2.0


def test_each_epoch_visits_every_sample_once_in_an_order_that_depends_on_seed_and_epoch() -> None:
    held = samples(96)
    batches = Batches(held, 32, seed=3)
    first, again, second = (torch.cat([b.raw for b in batches.epoch(e)]).flatten(1) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    everything = held.batch(torch.arange(96)).flatten(1)
    assert torch.equal(first.sort(0).values, everything.sort(0).values)
    tail = torch.cat([b.raw for b in batches.epoch(1, start=2)])
    assert torch.equal(tail.flatten(1), second[64:])


def test_seeds_of_neighboring_steps_are_unrelated() -> None:
    seeds = {derive_seed(seed, epoch, step) for seed in range(3) for epoch in range(5) for step in range(50)}
    assert len(seeds) == 3 * 5 * 50
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_run_restored_in_the_middle_ends_bit_equal(tmp_path: Path) -> None:
    settings, held = Settings(epochs=2, batch_size=32, precision="fp32"), samples()
    check_restored(
        lambda seed: objective(settings.model_copy(update={"seed": seed}), held), held, settings, 2, tmp_path
    )


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    settings, held = Settings(), samples()
    State.start(objective(settings, held), settings).save(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="does not load"):
        State.start(objective(settings, held), settings).restore(tmp_path / "checkpoint")


class Explodes(Objective):
    """An objective whose second term is NaN from step 3 on."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = aekit.fit(images(), dim=2, epochs=1)
        self.steps = 0

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        self.steps += 1
        wild = torch.tensor(float("nan") if self.steps >= 3 else 1.0)
        good = self.encoder(batch.raw).square().mean()
        return {"loss": good + wild, "good": good.detach(), "wild": wild}


def test_a_loss_that_is_not_finite_names_step_and_term() -> None:
    settings, held = Settings(epochs=2, batch_size=32), samples()
    with pytest.raises(TrainingError, match=r"step 3: wild is nan; lower train\.lr"):
        list(train(State.start(Explodes(), settings), Batches(held, 32, 0), settings))


class Idle(Objective):
    """An objective whose large matrix, which has no effect on the loss, becomes NaN in step 3."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = aekit.fit(images(), dim=2, epochs=1)
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(True)
        self.large, self.steps = torch.nn.Parameter(torch.ones(100, 100)), 0

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"loss": self.encoder(batch.raw).square().mean() + 0 * self.large.sum().nan_to_num(0)}

    def after_step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            self.large.data[7, 7] = float("nan")


@pytest.mark.parametrize(("size", "steps"), [(4, "1 to 16"), (16, "1 to 6"), (48, "3 to 4")])
def test_a_weight_that_is_not_finite_is_found_at_the_16th_step_and_at_the_end_of_an_epoch(
    size: int, steps: str
) -> None:
    settings, held = Settings(epochs=2, batch_size=size, precision="fp32"), samples()
    with pytest.raises(TrainingError, match=rf"steps {steps}: a weight is nan; lower train\.lr"):
        list(train(State.start(Idle(), settings), Batches(held, size, 0), settings))


def test_a_weight_that_is_not_finite_is_not_saved_between_checks(tmp_path: Path) -> None:
    settings, held = Settings(epochs=1, batch_size=4, precision="fp32"), samples()
    state = State.start(Idle(), settings)
    for record in itertools.islice(train(state, Batches(held, 4, 0), settings), 3):
        if record["step"] == 2:
            state.save(tmp_path)
    with pytest.raises(TrainingError, match="step 3: large is not finite"):
        state.save(tmp_path)
    restored = State.start(Idle(), settings)
    restored.restore(tmp_path)
    assert restored.step == 2


def test_gradient_clipping_bounds_the_step() -> None:
    held = samples()
    settings = Settings(
        epochs=1,
        batch_size=96,
        optimizer="sgd",
        momentum=0,
        weight_decay=0,
        lr=1.0,
        clip=1e-3,
        warmup=0,
        precision="fp32",
    )
    state = State.start(objective(settings, held), settings)
    before = {n: p.detach().clone() for n, p in state.objective.named_parameters()}
    list(train(state, Batches(held, 96, 0), settings))
    moved = sum(((p - before[n]) ** 2).sum() for n, p in state.objective.named_parameters()).sqrt().item()
    assert moved <= 1.05e-3


COMMAND = [sys.executable, "-c", "from aekit.cli import main; main()"]


def fit_command(data: Path, out: Path, *more: str) -> list[str]:
    settings = [
        "train.batch_size=16",
        "train.precision='fp32'",
        "train.checkpoint_seconds=0",
        "encoder.conv.channels=[4,8]",
    ]
    sets = [part for setting in settings for part in ("--set", setting)]
    return [
        *COMMAND,
        "fit",
        str(data),
        "-o",
        str(out),
        "--variant",
        "denoising",
        "--dim",
        "4",
        "--epochs",
        "40",
        *sets,
        *more,
    ]


def stop_in_the_middle(command: list[str], out: Path, how: int) -> tuple[int, str]:
    """Return exit code and error output of a command that received a signal after its first checkpoint."""
    # Like a background job of a shell script, which ignores SIGINT and is ended by SIGTERM.
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if how == signal.SIGTERM else None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ignore)
    checkpoint = out / "checkpoint" / "state.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train an uninterrupted run; its data is in the parent folder."""
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "images.npy", images(200))
    subprocess.run(fit_command(folder / "images.npy", folder / "run"), check=True, capture_output=True)
    return folder / "run"


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
    ids=["kill -9", "Ctrl-C", "kill in the background"],
)
def test_a_stopped_run_resumes_to_the_same_weights(whole: Path, tmp_path: Path, how: int) -> None:
    data, stopped = whole.parent / "images.npy", tmp_path / "stopped"
    code, errors = stop_in_the_middle(fit_command(data, stopped), stopped, how)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert not (stopped / "encoder").exists(), "the run ended before it could be stopped"
    if how != signal.SIGKILL:
        assert "resume=True (--resume) continues it" in errors
    again = subprocess.run(fit_command(data, stopped), capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr

    subprocess.run(fit_command(data, stopped, "--resume"), check=True, capture_output=True)
    ours, theirs = (load_file(run / "encoder" / "weights.safetensors") for run in (whole, stopped))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert aekit.load(whole).digest == aekit.load(stopped).digest
    steps = [line.split('"step": ')[1].split(",")[0] for line in (stopped / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps), key=int), "the log has steps twice or out of order"


def test_a_resumed_run_must_have_the_same_settings(tmp_path: Path) -> None:
    data, out = tmp_path / "images.npy", tmp_path / "run"
    np.save(data, images(200))
    stop_in_the_middle(fit_command(data, out), out, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"objective\.denoising\.anneal was False, now True"):
        aekit.fit(
            str(data), variants=["denoising"], dim=4, epochs=40, out=out, resume=True,
            overrides={
                "train.batch_size": 16, "train.precision": "fp32", "train.checkpoint_seconds": 0,
                "encoder.conv.channels": [4, 8], "objective.denoising.anneal": True,
            },
        )  # fmt: skip
    assert os.path.exists(out / "checkpoint" / "state.safetensors")


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler], ids=["ignored", "usual"])
def test_sigterm_interrupts_whether_or_not_ctrl_c_does(handler: object) -> None:
    from aekit.cli._signals import Stop

    before = signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    try:
        with pytest.raises(KeyboardInterrupt):
            Stop().terminate(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGINT, before)


def test_clips_are_trained_in_bf16_on_a_cpu_only_if_set() -> None:
    assert not uses_bf16(Settings(), SPECS["clip"], CPU)
    assert uses_bf16(Settings(precision="bf16"), SPECS["clip"], CPU)
    assert uses_bf16(Settings(), SPECS["image"], CPU) == uses_bf16(Settings(), SPECS["vector"], CPU)
