"""One candidate: a recipe that is built, timed, and trained rung by rung from its checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aekit.encoder.encoder import Encoder
from aekit.errors import RecipeError, TrainingError
from aekit.io.atomic import write_text
from aekit.objectives.base import Objective
from aekit.progress import SILENT, Progress, Task
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.defaults import resolve_defaults
from aekit.training.initial_weights import initial_scaling
from aekit.training.phases import Phase, train_phases
from aekit.training.recipe import make_recipe
from aekit.training.run_recipe import recipe_text
from aekit.workflows.tuning import _budget
from aekit.workflows.tuning._problem import Problem

TIMED_STEPS = 4
"""Steps by which a candidate's speed is measured, after a first one that warms up."""
MAX_EPOCHS = 400


class _Deadline(Progress):
    """Stop what reports progress before the first step, after a number of seconds.

    Args:
        seconds: the limit.
        training: title of the training itself, which has a limit of its own.
    """

    def __init__(self, seconds: float, training: str) -> None:
        self.seconds, self.end, self.training = seconds, _budget.now() + seconds, training

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        def advance(units: int = 1, note: str = "") -> None:
            if title != self.training and _budget.now() > self.end:
                raise TrainingError(f"its preparation ({title}) takes longer than {self.seconds:.0f} s")

        task = Task()
        task.advance = advance  # type: ignore[method-assign]
        yield task


class Candidate:
    """A recipe on the data of a search.

    Args:
        problem: the data.
        settings: settings by dotted name; those of the data are the problem's.

    Attributes:
        recipe: the resolved recipe.
        seconds_per_step: as measured by `measure`; 0 for a candidate that is not trained.

    Raises:
        AekitError: the recipe does not fit the data.
    """

    def __init__(self, problem: Problem, settings: Mapping[str, Any]) -> None:
        self.problem = problem
        settings = {name: value for name, value in settings.items() if not name.startswith("data.")}
        recipe = make_recipe({"data": {"source": problem.name}}, settings | {"train.seed": problem.seed})
        layerwise = recipe.layerwise
        if layerwise.epochs or layerwise.layers or recipe.data.target:
            raise RecipeError(["layerwise and data.target: not supported by aekit tune"])
        samples = problem.samples
        self.preprocess, _ = initial_scaling(recipe.encoder, samples)
        self.recipe = resolve_defaults(recipe, samples, self.preprocess, None, problem.device, lambda line: None)
        self.seconds_per_step = 0.0
        self._objective: Objective | None = None

    @property
    def trains(self) -> bool:
        return self.recipe.trains

    @property
    def objective(self) -> Objective:
        """The objective, built on first use."""
        if self._objective is None:
            preprocess = self.preprocess.to(self.problem.device)
            self._objective = make_objective(self.recipe, self.problem.samples.spec, preprocess)
            self._objective.to(self.problem.device)
            if not self.trains:
                self._objective.start(self.problem.samples)
        return self._objective

    @property
    def encoder(self) -> Encoder:
        return self.objective.encoder

    @property
    def steps_per_epoch(self) -> int:
        return self._batches().per_epoch

    def steps_per_refitted_epoch(self) -> int:
        """Return the steps of an epoch on all samples but those of the test part."""
        count = self.problem.refitted_count
        return count // min(self.recipe.train.batch_size, count)

    def measure(self, limit: float = math.inf) -> float:
        """Measure the seconds of a step, on a network that is then built anew.

        Args:
            limit: seconds that the preparation before the first step may take, such as a teacher's pass over the samples.

        Raises:
            TrainingError: it takes longer.
        """
        if not self.trains:
            return 0.0
        enough = math.ceil((TIMED_STEPS + 1) / self.steps_per_epoch)
        phase = self._phase(max(enough, self.recipe.train.epochs))
        preparing = _Deadline(limit, phase.title) if math.isfinite(limit) else SILENT
        train_phases([phase], None, resume=False, progress=preparing, stop_at=1)
        start = _budget.now()
        train_phases([phase], None, resume=False, progress=SILENT, stop_at=TIMED_STEPS)
        self.seconds_per_step = (_budget.now() - start) / TIMED_STEPS
        self._objective = None
        return self.seconds_per_step

    def epochs_in(self, seconds: float) -> int:
        """Return the number of epochs that take about these seconds, at least 1."""
        epochs = int(seconds / max(self.seconds_per_step * self.steps_per_epoch, 1e-9))
        return min(MAX_EPOCHS, max(1, epochs))

    def set_epochs(self, epochs: int) -> None:
        if self.trains:
            self.recipe = self.recipe.with_train(epochs=epochs)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.recipe.train.epochs * self.steps_per_epoch if self.trains else 0

    def train_to(self, step: int, folder: Path) -> None:
        """Train from the checkpoint in a folder, if there is one, until a step, and save a checkpoint.

        Raises:
            TrainingError: the loss stopped being finite, or the checkpoint is damaged.
            Interrupted: Ctrl-C; the state is saved.
        """
        if not self.trains:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "recipe.toml"
        if not path.exists():
            write_text(path, recipe_text(self.recipe))
        resume = (folder / "checkpoint" / "state.safetensors").exists()
        phase = self._phase(self.recipe.train.epochs)
        train_phases([phase], folder, resume=resume, progress=SILENT, stop_at=step)

    def _phase(self, epochs: int) -> Phase:
        settings = self.recipe.train.model_copy(update={"epochs": epochs, "checkpoint_seconds": 20.0})
        return Phase("fit", self.objective, self._batches(), settings)

    def _batches(self) -> Batches:
        return Batches(self.problem.samples, self.recipe.train.batch_size, self.recipe.train.seed)
