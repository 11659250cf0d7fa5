"""Train the winner again, on all samples but those of the test part, as long as there is time, and evaluate it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aekit.progress import NestedProgress, Progress, warn
from aekit.registry.overrides import read_toml
from aekit.workflows.tuning._budget import MARGIN, WITH_BASELINES, Budget
from aekit.workflows.tuning._candidate import MAX_EPOCHS, Candidate
from aekit.workflows.tuning._final_runs import evaluate_run, fit_run
from aekit.workflows.tuning._problem import Problem
from aekit.workflows.tuning._scoring import Criterion
from aekit.workflows.tuning._state import SearchState
from aekit.workflows.tuning._study import STEPS, settings_of

FURTHER = 1.5
"""Factor of the epochs of the default recipe from which it is worth training again, if it won."""
SHARE = 0.1
"""Most time of the baselines that depend on the encoder, as a fraction of the budget, for which it is trained less."""
KINDS = ("pca", "random")
"""Baselines that depend on the encoder; the default recipe was evaluated with the others."""


@dataclass
class Refit:
    """The last training of a search.

    Attributes:
        folder: folder of the run.
        problem: the data.
        criterion: what decided.
        fixed: settings of all candidates.
        budget: the time.
        state: what the folder of the search keeps.
        best: the winner, an `optuna.trial.FrozenTrial`.
        growth: samples that it is trained on, relative to those of a candidate.
        progress: receives a line for each choice.
    """

    folder: Path
    problem: Problem
    criterion: Criterion
    fixed: dict[str, Any]
    budget: Budget
    state: SearchState
    best: Any
    growth: float
    progress: Progress

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the winner, by dotted name."""
        return settings_of(self.best)

    @property
    def is_begun(self) -> bool:
        """Whether an earlier call began it."""
        return (self.folder / "recipe.toml").exists()

    def is_worthwhile(self) -> bool:
        """Return whether there is time to train the default recipe much longer than it was."""
        return self.is_begun or self._epochs[0] > FURTHER * self.state.measured["epochs"]

    def run(self) -> dict[str, Any]:
        """Train and evaluate the winner, or go on with it; return its settings with the epochs that it got."""
        settings = self.settings
        if self.is_begun:
            settings = settings | {"train.epochs": read_toml(self.folder / "recipe.toml")["train"]["epochs"]}
        elif self.best.user_attrs["seconds_per_step"]:
            epochs, enough = self._epochs
            if not enough:
                planned = settings["train.epochs"]
                warn(f"tune: the time is short: the winner is trained for {epochs} of {planned} epochs")
            settings = settings | {"train.epochs": epochs}
        epochs = settings["train.epochs"]
        trained = f"training the winner: {epochs} epochs of {self.problem.refitted_count} samples"
        self.progress.say(trained if epochs else "the winner is not trained; evaluating it")
        quiet = NestedProgress(Progress())
        fit_run(self.folder, self.problem, self.fixed | settings, quiet)
        self.state.save(self.budget)
        in_time = self.budget.left > self._evaluation(WITH_BASELINES)
        if not in_time:
            self.progress.say(
                "the time is short: the winner is compared with the random weights and PCA of the default"
            )
        evaluate_run(self.folder, self.problem, self.criterion, quiet, baselines=KINDS if in_time else ())
        return settings

    @cached_property
    def _epochs(self) -> tuple[int, bool]:
        """The epochs that there is time for, and whether these are as many as the candidate was to have.

        It gets more, as far as there is time, if the time of a candidate limited them and its scores did not fall.
        """
        candidate = Candidate(self.problem, self.fixed | self.settings)
        if not candidate.trains:
            return 0, True
        seconds = max(self.best.user_attrs["seconds_per_step"], candidate.measure())
        epoch = seconds * candidate.steps_per_refitted_epoch()
        left = self.budget.left - MARGIN / 2 * self.budget.seconds
        possible = max(1, int((left - self._evaluation()) / epoch))
        planned = self.settings["train.epochs"]
        if possible < planned:
            return possible, False
        with_baselines = self._evaluation(WITH_BASELINES)
        evaluation = with_baselines if with_baselines < SHARE * self.budget.seconds else self._evaluation()
        longest = min(left - evaluation, self.growth * self.state.measured["longest"]) / epoch
        values = [self.best.intermediate_values[step] for step in STEPS if step in self.best.intermediate_values]
        rises = len(values) < 2 or values[-1] >= values[-2]
        if self.best.user_attrs.get("timed") and rises:
            planned = max(planned, min(int(longest), MAX_EPOCHS))
        return planned, True

    def _evaluation(self, factor: float = 1.0) -> float:
        """Return the seconds of evaluating it on the test part."""
        scoring = self.best.user_attrs.get("scoring", self.state.measured["scoring"])
        return factor * self.budget.evaluation_of(scoring)
