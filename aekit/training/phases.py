"""Train in phases, with a log, checkpoints, a clean stop on Ctrl-C, and resuming."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aekit.data.samples import Samples
from aekit.errors import RecipeError, ShortTraceback, TrainingError
from aekit.io.atomic import explain_write_errors, write_text
from aekit.io.manifests import explain_read_errors
from aekit.io.processes import agreeing
from aekit.objectives.base import Objective
from aekit.progress import Progress
from aekit.training._step_memory import check_step_memory
from aekit.training.batches import Batches, derive_seed
from aekit.training.build import make_layers
from aekit.training.checkpoint import State
from aekit.training.cost import CostEstimate
from aekit.training.distributed import check_same_state, check_shares
from aekit.training.frozen_features import precompute_features
from aekit.training.loop import train
from aekit.training.recipe import Recipe
from aekit.training.settings import Settings
from aekit.training.sharding import is_sharded, training_precision

LOG_LINES = 2000


class Interrupted(ShortTraceback, KeyboardInterrupt):
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
    def size(self) -> tuple[str, int] | None:
        """Name of the setting for the size of images or frames, and their size; None if the source does not resize them."""
        names = [name for name in self.lowered_by if name.startswith("data.")]
        return (names[0], max(self.objective.encoder.spec.shape[-2:])) if names else None

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


def make_phases(
    recipe: Recipe, objective: Objective, samples: Samples, targets: Samples | None, size: str | None
) -> list[Phase]:
    """Return the phases of a recipe: its layers one by one, if it asks for them, and then everything.

    Args:
        recipe: the resolved recipe.
        objective: the objective that it names.
        samples: training samples.
        targets: the clean samples, if the objective restores them from `samples`.
        size: name of the setting that lowers the size of the samples, if there is one.

    Raises:
        RecipeError: there is nothing to train.
    """
    settings, lowered_by = recipe.train, (size,) if size else ()
    phases = []
    for number, (layer, layer_settings) in enumerate(make_layers(recipe, objective)):
        # A single layer has no layers below it whose learning rate could decay.
        rate = {"lr": layer_settings.lr or settings.lr, "layer_decay": 1.0}
        changed = settings.model_copy(update={"epochs": layer_settings.epochs, **rate})
        batches = Batches(samples, settings.batch_size, derive_seed(settings.seed, number))
        phases.append(Phase(f"layer {number + 1}", layer, batches, changed, ("layerwise.epochs", *lowered_by)))
    batches = Batches(samples, settings.batch_size, settings.seed, None, targets)
    phases.append(Phase("fit", objective, batches, settings, ("train.epochs", *lowered_by)))
    phases = [phase for phase in phases if phase.steps]
    if not phases:
        raise RecipeError(["train.epochs = 0: nothing to train; set it or layerwise.epochs"])
    return phases


def train_phases(
    phases: Sequence[Phase], folder: Path | None, *, resume: bool, progress: Progress, stop_at: int | None = None
) -> TrainingResult:
    """Train all phases, which share their networks.

    Args:
        phases: in order. The state of each objective must hold everything that later phases build on.
        folder: run folder, for ``log.jsonl`` and ``checkpoint/``; None: nothing is written or resumed.
        resume: load the checkpoint in `folder`, if there is one.
        progress: receives a bar for each phase, and a line about its time if it takes long; none on resuming, when the
            settings that lower it are fixed.
        stop_at: number of steps after which to stop, with a checkpoint from which `resume` goes on; None: train to the end.

    Raises:
        RecipeError: the optimizer cannot train the objective.
        TrainingError: the loss stopped being finite, or the checkpoint does not load.
        Interrupted: Ctrl-C; the state is saved if there is a folder.
    """
    ranks = phases[0].batches.ranks
    writes = ranks is None or ranks.is_first
    checkpoint = folder / "checkpoint" if folder else None
    with agreeing(ranks):
        reached = _saved_phase(checkpoint) if resume and checkpoint else None
    total = sum(phase.steps for phase in phases)
    done, seconds = sum(phase.steps for phase in phases[: reached or 0]), 0.0
    log: _Log | None = None
    try:
        for number, phase in enumerate(phases):
            if number < (reached or 0):
                continue
            phase.objective.set_display(progress)
            if number == 0:
                phases[-1].objective.start_backbone(phase.batches.samples)
            with training_precision(phase.objective, phase.settings):
                phase.objective.start(phase.batches.samples)
            _check(phase)  # after start, when the objective knows the network and the data
            for note in phase.objective.notes():
                progress.say(note)
            state = State.start(phase.objective, phase.settings)
            state.phase, state.seconds = number, seconds
            if number == reached and checkpoint:
                with agreeing(ranks):
                    state.restore(checkpoint)
                progress.say(f"resuming after step {done + state.step}")
            log = log or _Log(folder if writes else None, every=max(1, total // LOG_LINES), after=done + state.step)
            epochs, settings = phase.settings.epochs, phase.lowered_by
            cost = None if resume else CostEstimate(phase.title, epochs=epochs, steps=phase.steps, settings=settings)
            kept = checkpoint if writes else None
            enough = partial(_has_reached, state, None if stop_at is None else stop_at - done)
            for record in run_phase(phase, state, kept, progress, before=done, total=total, enough=enough):
                log.write(record, last=record["step"] == total)
                if cost and (line := cost.after_step(time.monotonic())):
                    progress.say(line)
            check_same_state(phase.objective, ranks)
            done, seconds = done + phase.steps, state.seconds
            if stop_at is not None and done >= stop_at:
                break
    finally:
        if log:
            log.close()
    return TrainingResult(log.last_loss if log else None, seconds)


def _has_reached(state: State, step: int | None) -> bool:
    return step is not None and state.step >= step


def _check(phase: Phase) -> None:
    check_shares(phase.batches, phase.settings)
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
    """Train one phase, with a bar, regular checkpoints, and a stop between two steps on Ctrl-C, in any of several processes.

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
    per_step, ranks, stopped = phase.samples // phase.steps, phase.batches.ranks, False
    sharing = ranks if is_sharded(phase.objective) else None
    batches = precompute_features(phase.objective, phase.batches, phase.settings, phase.title, progress)
    check_step_memory(state, batches, phase.settings, phase.size)
    try:
        with (
            explain_write_errors(checkpoint) if checkpoint else nullcontext(),
            stoppable(again=ranks is None) as stop,
            progress.task(phase.title, phase.samples, done=state.step * per_step) as task,
        ):
            for record in train(state, batches, phase.settings, progress.say):
                record["step"] += before
                yield record
                state.seconds = time.monotonic() - clock
                task.advance(per_step, f"epoch {record['epoch'] + 1:.0f} loss {record['loss']:.4g}")
                stopped = stop.is_set() if ranks is None else ranks.any(stop.is_set())
                if stopped or enough():
                    break
                due = bool(checkpoint) and time.monotonic() - saved_at >= phase.settings.checkpoint_seconds
                if due if sharing is None else sharing.any(due):
                    state.save(checkpoint)
                    saved_at, saved_step = time.monotonic(), state.step
            if checkpoint or sharing:  # at the end too, as the work that follows may be interrupted
                state.save(checkpoint)
            else:
                state.check_finite()
    except TrainingError as error:
        note = f"; the checkpoint of step {before + saved_step} is kept" if checkpoint and saved_step else ""
        raise TrainingError(f"{error}{note}") from None
    if (stop.is_set() if ranks is None else stopped) and before + state.step != total:
        how = "resume=True (--resume) continues it" if checkpoint else "cannot be resumed without a folder"
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
def stoppable(*, again: bool = True) -> Iterator[threading.Event]:
    """Set the event on Ctrl-C, so that training stops between two steps.

    Args:
        again: whether a second Ctrl-C stops at once. One of several processes gets a signal from the terminal and another one
            from torchrun, which ends it for good if it takes too long.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def request_stop(number: int, frame: Any) -> None:
        stop.set()
        if again:
            signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
