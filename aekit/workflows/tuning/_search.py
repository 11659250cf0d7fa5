"""Work on candidates, one after the other, as long as the budget allows."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aekit.encoder.eval_mode import eval_mode
from aekit.errors import AekitError
from aekit.io.atomic import atomic_file
from aekit.progress import Progress
from aekit.workflows.saved_run import one_line
from aekit.workflows.tuning import _budget
from aekit.workflows.tuning._budget import RUNGS, Budget
from aekit.workflows.tuning._candidate import TIMED_STEPS, Candidate
from aekit.workflows.tuning._problem import Problem
from aekit.workflows.tuning._scoring import Criterion
from aekit.workflows.tuning._space import GENERAL, RATE
from aekit.workflows.tuning._state import SearchState
from aekit.workflows.tuning._study import STEPS, Study, best_trial, last_rung

TRIALS = "trials"
TIMED_SAMPLES = 16
"""Samples by which the speed of a network is measured."""
NARROW, WIDTH = 32, 0.6
"""Width of an embedding from which scoring it takes longer, and the exponent of the width in the time that it takes."""
TOO_SLOW = 2.0
"""Time of one epoch, of scoring or of the preparation before the first step, as a multiple of that of a whole training, from
which a candidate is too slow."""


@dataclass
class Search:
    """A search for the best candidate.

    Attributes:
        folder: folder of the search.
        problem: the data.
        criterion: what decides.
        fixed: settings of all candidates.
        study: the candidates so far.
        budget: the time.
        state: what the folder keeps about the search.
        scoring: seconds of scoring the default recipe.
        dim: width of its embedding.
        progress: receives a line for each candidate.
    """

    folder: Path
    problem: Problem
    criterion: Criterion
    fixed: dict[str, Any]
    study: Study
    budget: Budget
    state: SearchState
    scoring: float
    dim: int
    progress: Progress

    @property
    def growth(self) -> float:
        """Samples of the refitted winner, relative to those of a candidate."""
        return self.problem.refitted_count / len(self.problem.training_rows)

    def run(self) -> None:
        """Work on candidates until there is only the time left that the end needs."""
        while self._has(self.budget.training * RUNGS[0] + self.scoring):
            self._work_on(self.study.next())
            self.state.save(self.budget)

    def _has(self, seconds: float, scoring: float = 0.0) -> bool:
        """Return whether there is time for something and for the end, if the best candidate so far wins, or another.

        Args:
            seconds: what it takes.
            scoring: seconds of scoring the other.
        """
        best = best_trial(self.study.trials())
        if best is None:
            return self.budget.has(seconds, self.growth, max(self.scoring, scoring))
        slowest = max(best.user_attrs.get("scoring", self.scoring), scoring)
        return self.budget.has(seconds, self.growth, slowest, trains=best.user_attrs["seconds_per_step"] > 0)

    def _work_on(self, trial: Any) -> None:
        """Build, train and score a candidate, or record why that fails."""
        title = f"candidate {trial.number}"
        try:
            settings = self.study.space.suggest(trial)
            if (same := self.study.same_as(trial)) is not None:
                self.study.finish(trial, "fail", reason=f"the same as candidate {same}")
                return
            named = self._title(trial, settings)
            candidate = Candidate(self.problem, self.fixed | settings)
            self._set_epochs(trial, candidate, settings)
        except (AekitError, ValueError, RuntimeError) as error:
            self._failed(trial, title, error)
            return
        if candidate.trains and candidate.seconds_per_step * candidate.steps_per_epoch > (
            TOO_SLOW * self.budget.training
        ):
            self.study.finish(trial, "fail", reason="one epoch takes longer than the budget allows")
            self.progress.say(f"{title}: {named}: left out, one epoch takes too long")
            return
        try:
            self._climb(trial, candidate, f"{title}: {named}")
        except (AekitError, ValueError, RuntimeError) as error:
            self._failed(trial, f"{title}: {named}", error)

    def _failed(self, trial: Any, title: str, error: Exception) -> None:
        self.study.finish(trial, "fail", reason=one_line(error))
        self.progress.say(f"{title}: left out, {one_line(error)}")
        self._remove_checkpoint(trial)

    def _set_epochs(self, trial: Any, candidate: Candidate, settings: dict[str, Any]) -> None:
        """Choose the epochs of a candidate by its speed, and record its settings; an interrupted one keeps its own."""
        known = trial.user_attrs.get("settings")
        if known is not None:
            candidate.seconds_per_step = trial.user_attrs["seconds_per_step"]
            candidate.set_epochs(json.loads(known)["train.epochs"])
            return
        candidate.measure(TOO_SLOW * self.budget.training if trial.number else math.inf)
        epochs = settings.get("train.epochs", self.fixed.get("train.epochs"))
        if epochs is None:
            epochs = candidate.epochs_in(self.budget.training)
            if trial.number == 0:
                epochs = min(epochs, candidate.recipe.train.epochs)
            trial.set_user_attr("timed", True)  # not the candidate's own
        candidate.set_epochs(epochs)
        trial.set_user_attr("seconds_per_step", candidate.seconds_per_step)
        trial.set_user_attr("settings", json.dumps(settings | {"train.epochs": epochs}))

    def _climb(self, trial: Any, candidate: Candidate, title: str) -> None:
        """Train a candidate from rung to rung, as long as it is among the best and there is time."""
        folder = self.folder / TRIALS / f"{trial.number:03d}"
        reached = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        value, before = 0.0, 0
        for number, fraction in enumerate(RUNGS):
            step = max(1, math.ceil(fraction * candidate.steps)) if candidate.trains else 0
            if STEPS[number] in reached:
                value, before = reached[STEPS[number]], step
            else:
                scoring = trial.user_attrs.get("scoring") or self._expected_scoring(candidate)
                if trial.number and scoring > TOO_SLOW * max(self.budget.training, 2 * self.scoring):
                    line = f"{title}: left out, scoring it takes about {scoring:.0f} s"
                    self._prune(trial, "scoring it takes too long", line)
                    return
                seconds = (step - before) * candidate.seconds_per_step
                if trial.number and not self._has(seconds + scoring, scoring):
                    missing = (
                        f"no time for {fraction:.0%} of its training" if candidate.trains else "no time to score it"
                    )
                    self._prune(trial, missing, f"{title}: {f'{value:.4f}, ' if before else ''}{missing}")
                    return
                self.state.save(self.budget)
                value, before = self._train_and_score(trial, candidate, folder, number, before, step), step
            if number < len(RUNGS) - 1 and candidate.trains and trial.number and trial.should_prune():
                line = f"{title}: {value:.4f} after {fraction:.0%}, stopped"
                self._prune(trial, f"not among the best third after {fraction:.0%}", line)
                return
        self.study.finish(trial, "complete", value)
        self.progress.say(f"{title}: {value:.4f}")
        self._remove_checkpoint(trial)

    def _prune(self, trial: Any, reason: str, line: str) -> None:
        """Stop a candidate for a reason, and report it in a line."""
        self.study.finish(trial, "pruned", reason=reason)
        self.progress.say(line)
        self._remove_checkpoint(trial)

    def _train_and_score(
        self, trial: Any, candidate: Candidate, folder: Path, rung: int, before: int, step: int
    ) -> float:
        """Train a candidate from step `before` to `step`; record its times and its score after the rung, and return the score."""
        start = _budget.now()
        candidate.train_to(step, folder)
        if step - before > TIMED_STEPS:
            candidate.seconds_per_step = (_budget.now() - start) / (step - before)
            trial.set_user_attr("seconds_per_step", candidate.seconds_per_step)
        start = _budget.now()
        scored = self.criterion.score(candidate.objective, self.problem)
        trial.set_user_attr("scoring", _budget.now() - start)
        if trial.number == 0:
            self.scoring = trial.user_attrs["scoring"]  # the machine is now faster or slower than at first
        trial.set_user_attr("dim", scored.dim)
        if scored.samples is not None:
            self._save_scores(folder, rung, scored.samples)
        self._report(trial, rung, scored.value, candidate)
        return scored.value

    def _expected_scoring(self, candidate: Candidate) -> float:
        """Return the seconds of scoring a candidate: those of the default recipe, or more where its network is slower or its
        embedding wider."""
        samples, _ = self.problem.scored
        raw = next(samples.chunks(TIMED_SAMPLES))
        with eval_mode(candidate.encoder), torch.inference_mode():
            candidate.encoder(raw[:2])
            start = _budget.now()
            candidate.encoder(raw)
        embedding = (_budget.now() - start) * len(samples) / len(raw)
        return max(self.scoring * max(1.0, candidate.encoder.dim / max(NARROW, self.dim)) ** WIDTH, embedding)

    def _report(self, trial: Any, number: int, value: float, candidate: Candidate) -> None:
        """Record a score; that of a candidate that is not trained holds for all rungs."""
        for step in [STEPS[number]] if candidate.trains else STEPS[number:]:
            trial.report(value, step=step)
            if not candidate.trains:
                trial.should_prune()  # which records the rung, for the candidates after it

    @staticmethod
    def _save_scores(folder: Path, number: int, scores: np.ndarray) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / f"scores-{number}.npy") as part, part.open("wb") as file:
            np.save(file, scores.astype(np.float64))

    def _remove_checkpoint(self, trial: Any) -> None:
        shutil.rmtree(self.folder / TRIALS / f"{trial.number:03d}" / "checkpoint", ignore_errors=True)

    def _title(self, trial: Any, settings: Mapping[str, Any]) -> str:
        objective = trial.params.get("objective", "default").removeprefix("variant ").removeprefix("pretext ")
        backbone = settings.get("encoder.backbone")
        return (
            f"{objective} on {backbone}"
            if backbone and not objective.startswith(("pretrained", "untrained"))
            else objective
        )


def load_scores(folder: Path, number: int, rung: int) -> np.ndarray | None:
    """Return the scores of the validation samples by a candidate after a rung, or None."""
    path = folder / TRIALS / f"{number:03d}" / f"scores-{rung}.npy"
    return np.load(path, allow_pickle=False) if path.is_file() else None


def choose_winner(folder: Path, trials: list[Any]) -> Any | None:
    """Return the candidate that wins: the best one, unless the default recipe is within a standard error of it.

    The best of hundreds is often ahead by a sample or two, which other samples do not repeat (Breiman et al., Classification and
    Regression Trees, 1984, choose the simplest tree by this rule).
    """
    best = best_trial(trials)
    default = next((trial for trial in trials if trial.number == 0), None)
    if best is None or default is None or best.number == 0:
        return best
    ours, theirs = last_rung(best), last_rung(default)
    if ours is None or theirs is None or theirs[0] < ours[0]:
        return best
    scores, of_default = load_scores(folder, best.number, ours[0]), load_scores(folder, 0, theirs[0])
    if scores is None or of_default is None or scores.shape != of_default.shape or len(scores) < 2:
        return best
    difference = scores.astype(np.float64) - of_default
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return best if difference.mean() > error * (1 + 1e-9) else default  # a single sample is exactly one error


def measure_default(problem: Problem, criterion: Criterion, fixed: Mapping[str, Any]) -> tuple[Candidate, float]:
    """Time the default recipe: return it with its seconds per step, and the seconds of scoring it.

    It is trained, as a recipe with a rate is, also where `aekit.fit` trains nothing by default: that competes by itself.
    """
    candidate = Candidate(problem, {RATE: GENERAL[RATE].default, **fixed})
    candidate.measure()
    criterion.score(candidate.objective, problem)  # reads the samples
    start = _budget.now()
    criterion.score(candidate.objective, problem)
    return candidate, _budget.now() - start
