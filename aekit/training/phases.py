"""Train in phases, with a log, checkpoints, a clean stop on Ctrl-C, and resuming."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.errors import RecipeError, TrainingError
from aekit.io.atomic import explain_write_errors, write_text
from aekit.io.manifests import explain_read_errors
from aekit.objectives.base import Objective
from aekit.progress import Progress
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.cost import CostEstimate
from aekit.training.frozen_features import precompute_features
from aekit.training.loop import train
from aekit.training.settings import Settings

LOG_LINES = 2000


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C after its state was saved; the message says how to resume."""


@dataclass(frozen=True)
class Phase:
    """A phase of training: an objective, its batches and its settings.

    Attributes:
        title: name in the progress bar and in messages.
        lowered_by: dotted names of the recipe settings that lower its time.
    """

    title: str
    objective: Objective
    batches: Batches
    settings: Settings
    lowered_by: tuple[str, ...] = ("train.epochs",)

    @property
    def steps(self) -> int:
        return self.settings.epochs * (1 if self.settings.optimizer == "lbfgs" else self.batches.per_epoch)

    @property
    def samples(self) -> int:
        """Number of samples that all steps process together."""
        per_step = len(self.batches.samples) if self.settings.optimizer == "lbfgs" else self.batches.batch_size
        return self.steps * per_step


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        loss: loss of the last step, or None if there was no step left.
        seconds: time in the loop, including that before interruptions.
    """

    loss: float | None
    seconds: float


def train_phases(phases: Sequence[Phase], folder: Path | None, *, resume: bool, progress: Progress) -> TrainingResult:
    """Train all phases, which share their networks.

    Args:
        phases: in order. The state of each objective must hold everything that later phases build on.
        folder: run folder, for ``log.jsonl`` and ``checkpoint/``; None: nothing is written or resumed.
        resume: load the checkpoint in `folder`, if there is one.
        progress: receives a bar for each phase, and a line about its time if it takes long; none on resuming, when the
            settings that lower it are fixed.

    Raises:
        RecipeError: the optimizer cannot train the objective.
        TrainingError: the loss stopped being finite, or the checkpoint does not load.
        Interrupted: Ctrl-C; the state is saved if there is a folder.
    """
    checkpoint = folder / "checkpoint" if folder else None
    reached = _saved_phase(checkpoint) if resume and checkpoint else None
    total = sum(phase.steps for phase in phases)
    done, seconds = sum(phase.steps for phase in phases[: reached or 0]), 0.0
    log: _Log | None = None
    try:
        for number, phase in enumerate(phases):
            if number < (reached or 0):
                continue
            phase.objective.set_display(progress)
            phase.objective.start(phase.batches.samples)
            _check(phase)  # after start, when the objective knows the network and the data
            for note in phase.objective.notes():
                progress.say(note)
            state = State.start(phase.objective, phase.settings)
            state.phase, state.seconds = number, seconds
            if number == reached and checkpoint:
                state.restore(checkpoint)
                progress.say(f"resuming after step {done + state.step}")
            log = log or _Log(folder, every=max(1, total // LOG_LINES), after=done + state.step)
            epochs, settings = phase.settings.epochs, phase.lowered_by
            cost = None if resume else CostEstimate(phase.title, epochs=epochs, steps=phase.steps, settings=settings)
            for record in run_phase(phase, state, checkpoint, progress, before=done, total=total):
                log.write(record, last=record["step"] == total)
                if cost and (line := cost.after_step(time.monotonic())):
                    progress.say(line)
            done, seconds = done + phase.steps, state.seconds
    finally:
        if log:
            log.close()
    return TrainingResult(log.last_loss if log else None, seconds)


def _check(phase: Phase) -> None:
    size, needed = phase.batches.batch_size, phase.objective.min_batch()
    if size < needed:
        raise RecipeError(
            [f"train.batch_size = {size}: the objective compares the samples of a batch; expected {needed} or more"]
        )
    random = phase.objective.randomness()
    if phase.settings.optimizer == "lbfgs" and random:
        raise RecipeError(
            [
                f"train.optimizer = 'lbfgs': needs a deterministic loss, but {' and '.join(random)} "
                f"draws random numbers; use 'adamw'"
            ]
        )


def run_phase(
    phase: Phase,
    state: State,
    checkpoint: Path | None,
    progress: Progress,
    *,
    before: int = 0,
    total: int | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[dict[str, float]]:
    """Train one phase, with a bar, regular checkpoints, and a stop between two steps on Ctrl-C.

    Yields a record per step, before the state after that step is saved: the caller may change the objective.

    Args:
        phase: phase to train.
        state: the initial or restored state.
        checkpoint: folder for the state, or None.
        progress: receives a bar.
        before: number of steps of earlier phases, added to those of this phase.
        total: number of steps of all phases, after which there is nothing to interrupt; None: other work follows.
        enough: called before the first step and after each; returns whether to stop.

    Raises:
        TrainingError: the loss stopped being finite.
        Interrupted: Ctrl-C; the state is saved if there is a folder.
    """
    if enough() or state.epoch == phase.settings.epochs:
        return
    saved_at, saved_step, clock = time.monotonic(), state.step, time.monotonic() - state.seconds
    per_step = phase.samples // phase.steps
    batches = precompute_features(phase.objective, phase.batches, phase.settings, phase.title, progress)
    try:
        with (
            explain_write_errors(checkpoint) if checkpoint else nullcontext(),
            stoppable() as stop,
            progress.task(phase.title, phase.samples, done=state.step * per_step) as task,
        ):
            for record in train(state, batches, phase.settings, progress.say):
                record["step"] += before
                yield record
                state.seconds = time.monotonic() - clock
                task.advance(per_step, f"epoch {record['epoch'] + 1:.0f} loss {record['loss']:.4g}")
                if stop.is_set() or enough():
                    break
                if checkpoint and time.monotonic() - saved_at >= phase.settings.checkpoint_seconds:
                    state.save(checkpoint)
                    saved_at, saved_step = time.monotonic(), state.step
            if checkpoint:  # at the end too, as the work that follows may be interrupted
                state.save(checkpoint)
            else:
                state.check_finite()
    except TrainingError as error:
        note = f"; the checkpoint of step {before + saved_step} is kept" if checkpoint and saved_step else ""
        raise TrainingError(f"{error}{note}") from None
    if stop.is_set() and before + state.step != total:
        how = "resume with the same command and --resume" if checkpoint else "cannot be resumed without a folder"
        raise Interrupted(f"stopped at step {before + state.step} of {total or phase.steps}, {phase.title}; {how}")


def _saved_phase(checkpoint: Path) -> int | None:
    return State.phase_of(checkpoint) if (checkpoint / "state.safetensors").exists() else None


class _Log:
    """Write ``log.jsonl``, a record every few steps. Resuming removes the lines of steps after the checkpoint."""

    def __init__(self, folder: Path | None, every: int, after: int) -> None:
        self.folder, self.every, self.file = folder, every, None
        self.last_loss: float | None = None
        if folder:
            path = folder / "log.jsonl"
            with explain_read_errors(path):
                lines = path.read_text("utf-8").splitlines() if path.exists() and after else []
                lines = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= after]
                self.last_loss = float(json.loads(lines[-1])["loss"]) if lines else None
            with explain_write_errors(folder):
                write_text(path, "".join(f"{line}\n" for line in lines))
                self.file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, record: dict[str, float], last: bool) -> None:
        self.last_loss = record["loss"]
        if self.folder and self.file and (last or record["step"] % self.every == 0):
            with explain_write_errors(self.folder):
                self.file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        if self.folder and self.file:
            with explain_write_errors(self.folder):
                self.file.close()


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Set the event on Ctrl-C, so that training stops between two steps; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def request_stop(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
