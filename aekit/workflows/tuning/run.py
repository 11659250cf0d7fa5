"""Search for the best encoder that this machine can make of some data within a time budget, and prove it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from aekit._arguments import checked_arguments
from aekit.data.opening import open_data
from aekit.encoder.untrained import untrained_default
from aekit.errors import AekitError, RecipeError, closest_name
from aekit.evaluation.labels import make_targets, resolve_labels
from aekit.io.atomic import folder_lock, write_text
from aekit.io.device import choose_device
from aekit.progress import NestedProgress, Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.registry.overrides import flatten_settings, nest, read_toml
from aekit.training.phases import Interrupted
from aekit.training.run_recipe import recipe_settings
from aekit.workflows._resuming import check_same_data, data_facts
from aekit.workflows.tuning._budget import LONGER, RUNGS, SUBJECTS, Budget
from aekit.workflows.tuning._final_runs import evaluate_run, fit_run, test_difference, test_metric
from aekit.workflows.tuning._outlook import LearningCurve, gain_of_more_candidates, selection_optimism
from aekit.workflows.tuning._problem import Problem, data_name, make_problem
from aekit.workflows.tuning._refit import Refit
from aekit.workflows.tuning._result import BEST, DEFAULT_RUN, RECIPE, Tuning
from aekit.workflows.tuning._scoring import PURPOSES, RECONSTRUCTION, Criterion, choose_criterion
from aekit.workflows.tuning._search import Search, choose_winner, load_scores, measure_default
from aekit.workflows.tuning._space import Space
from aekit.workflows.tuning._state import STATE, SearchState, open_state
from aekit.workflows.tuning._study import STEPS, Study, last_rung, load_optuna, settings_of

__all__ = ["Tuning", "tune"]

MOST_MINUTES = 60 * 24 * 30


@checked_arguments
def tune(
    data: Any,
    out: str | Path,
    *,
    minutes: float,
    labels: Any = None,
    purpose: str | None = None,
    recipes: str | Path | Iterable[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
    seed: int = 0,
    started: float | None = None,
    progress: ProgressOption = None,
) -> Tuning:
    """Search for the best recipe within a time budget, train the winner, and evaluate it on samples that no candidate saw.

    Candidates are all registered variants, pretext tasks and backbones that take the data, with the ranges of their options,
    embedding dimensions, batch sizes and learning rates; and pretrained networks whose weights are on this machine. They are
    trained on the training part of the split, stopped early unless they are among the best third, and chosen by the
    validation part. The winner and the default recipe are trained on both, and evaluated on the test part next to raw samples,
    PCA and random weights. The same call again goes on where the last one stopped.

    Args:
        data: data as `aekit.open_data` takes it.
        out: folder of the search.
        minutes: the time that everything may take.
        labels: (N,) or (N, L) labels, or as `aekit.evaluate` takes them; default: those of the data. They choose between
            candidates, and train none.
        purpose: what the encoder is for: ``retrieval``, ``classification``, ``clustering``, ``anomalies`` or
            ``reconstruction``; default: classification, or without labels a label-free score.
        recipes: recipe files (``.toml``) that compete too; their ``[data]`` is ignored.
        overrides: recipe settings of all candidates, by dotted names, which are not searched.
        device: device to train on.
        seed: seed of the split, the search and all trainings.
        started: when the time began to run, as `time.monotonic`; default: with the call.
        progress: shows choices and a line per candidate, as in `aekit.fit`.

    Returns:
        the winner, its scores, and the comparison.

    Raises:
        RecipeError: too few minutes for one candidate, or an unknown purpose.
        DataError: too few samples.
        OutputError: `out` holds something else.
        AekitError: Optuna is not installed.
        Interrupted: Ctrl-C; the same call goes on.

    Examples:
        >>> tuning = aekit.tune("sklearn:wine", "search", minutes=0.5)
        >>> len(tuning.sentences()), Path("search/best.toml").exists()
        (3, True)
    """
    progress = open_progress(progress)
    if purpose is not None and purpose not in PURPOSES:
        raise RecipeError([f"purpose = {purpose!r}: expected {', '.join(PURPOSES)}{closest_name(purpose, PURPOSES)}"])
    if not 0 < minutes <= MOST_MINUTES:
        raise RecipeError([f"minutes = {minutes!r}: expected a positive number, at most {MOST_MINUTES:,} (30 days)"])
    budget, folder = Budget(60 * minutes), Path(out)
    budget.start = budget.start if started is None else started
    fixed = recipe_settings({}, None, {"device": device}, dict(overrides or {}))
    competing = _user_recipes(recipes)
    name = data_name(data)
    settings = {
        "data": name,
        "minutes": minutes,
        "purpose": purpose,
        "labels": str(labels) if isinstance(labels, (str, Path)) else labels is not None,
        "recipes": competing,
        "overrides": {key: value for key, value in fixed.items() if key != "train.device"},
        "seed": seed,
    }
    existed = folder.exists()
    with folder_lock(folder, whole=True):
        try:
            state = open_state(folder, settings)
            budget.spent_before = state.spent
            if state.result:
                progress.say(f"{folder} is already finished; nothing to do")
                return Tuning.from_dict(folder, state.result)
            load_optuna()  # before anything is computed
            problem = _open(data, name, labels, fixed, seed, progress)
            return _Tuner(folder, problem, purpose, fixed, competing, budget, state, progress).run()
        except Interrupted:
            raise Interrupted(f"stopped; run the same command again to continue {folder}") from None
        except AekitError:
            if not existed and not (folder / STATE).exists():  # nothing was trained
                shutil.rmtree(folder, ignore_errors=True)
            raise


class _Tuner:
    """One call of `tune`, step by step: measure, default recipe, search, winner."""

    def __init__(
        self,
        folder: Path,
        problem: Problem,
        purpose: str | None,
        fixed: dict[str, Any],
        recipes: dict[str, dict[str, Any]],
        budget: Budget,
        state: SearchState,
        progress: Progress,
    ) -> None:
        self.folder, self.problem, self.fixed, self.recipes = folder, problem, fixed, recipes
        self.budget, self.state, self.progress = budget, state, progress
        self.quiet = NestedProgress(Progress())
        self.criterion: Criterion = choose_criterion(purpose, problem, progress.say)
        self.growth = problem.refitted_count / len(problem.training_rows)

    def run(self) -> Tuning:
        facts = data_facts(self.problem.source, self.problem.samples)
        if self.state.facts:
            check_same_data(self.folder, self.state.facts, facts)
        self.state.facts = facts
        self._measure()
        self._default()
        reconstructs = self.criterion.name == RECONSTRUCTION
        space = Space(
            self.problem.source.spec, self.fixed, self.recipes, reconstructs=reconstructs, seed=self.problem.seed
        )
        study = Study(self.folder, space, self.problem.seed)
        search = Search(
            self.folder,
            self.problem,
            self.criterion,
            self.fixed,
            study,
            self.budget,
            self.state,
            self.state.measured["scoring"],
            int(self.state.measured["dim"]),
            self.progress,
        )
        search.run()
        self.state.save(self.budget)
        return self._finish(study)

    def _measure(self) -> None:
        """Measure the default recipe, and plan the time of a training by it; an interrupted search keeps its plan."""
        measured = self.state.measured
        self.budget.evaluated = len(self.problem.source) / len(self.problem.scored[0])
        if not measured:
            default, scoring = measure_default(self.problem, self.criterion, self.fixed)
            epoch = default.seconds_per_step * default.steps_per_epoch
            self.budget.check_enough(default.seconds_per_step, epoch, scoring, self.growth)
            self.budget.plan(epoch * default.recipe.train.epochs, epoch)
            epochs = default.recipe.train.epochs
            if "train.epochs" not in self.fixed:
                epochs = min(epochs, default.epochs_in(self.budget.training))
            measured |= {"training": self.budget.training, "refit": self.budget.refit, "scoring": scoring}
            measured |= {"epochs": epochs, "default_epochs": default.recipe.train.epochs, "dim": default.encoder.dim}
            measured |= {"longest": LONGER * epoch * default.recipe.train.epochs}
            if epochs < default.recipe.train.epochs:
                self.progress.say(
                    f"the default training gets {epochs} of its {default.recipe.train.epochs} epochs, as each candidate gets "
                    f"the same time"
                )
        self.budget.training, self.budget.refit = measured["training"], measured["refit"]
        self.budget.evaluation = measured.get("evaluation", 0.0)
        minutes = self.budget.seconds / 60
        self.progress.say(f"budget: {minutes:g} min, up to {self.budget.training:.0f} s of training for each candidate")

    def _default(self) -> None:
        """Train the default recipe on all but the test part, and evaluate it, which measures what evaluating takes."""
        folder = self.folder / DEFAULT_RUN
        self.state.save(self.budget)
        fit_run(folder, self.problem, self.fixed | {"train.epochs": int(self.state.measured["epochs"])}, self.quiet)
        self.state.save(self.budget)
        seconds = evaluate_run(folder, self.problem, self.criterion, self.quiet)
        least = SUBJECTS * self.state.measured["scoring"]  # it may have been evaluated by a call that was killed
        self.state.measured.setdefault("evaluation", max(seconds, least))
        self.budget.evaluation = self.state.measured["evaluation"]
        self.state.save(self.budget)

    def _finish(self, study: Study) -> Tuning:
        trials = study.trials()
        best = choose_winner(self.folder, trials)
        if best is None:
            raise RecipeError(
                [
                    f"minutes = {self.budget.seconds / 60:g}: no candidate was trained in time; run the same "
                    f"command with {1.5 * self.budget.seconds / 60:.1f} or more to continue"
                ]
            )
        settings = settings_of(best)
        refit = Refit(
            self.folder / BEST,
            self.problem,
            self.criterion,
            self.fixed,
            self.budget,
            self.state,
            best,
            self.growth,
            self.progress,
        )
        is_default = best.number == 0 and not refit.is_worthwhile()
        if not is_default:
            settings = refit.run()
        winner = self.folder / (DEFAULT_RUN if is_default else BEST)
        epochs = {"train.epochs": int(self.state.measured["epochs"])} if is_default else {}
        self._write_recipe(self.fixed | settings | epochs)
        result = self._result(trials, best, settings, winner, is_default)
        self.state.result = result.to_dict()
        self.state.save(self.budget)
        return result

    def _write_recipe(self, settings: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in settings.items() if name != "train.device"}
        record = nest({"data.source": self.problem.name} | plain | {"train.seed": self.problem.seed})
        write_text(self.folder / RECIPE, tomli_w.dumps(record))

    def _result(self, trials: list[Any], best: Any, settings: dict[str, Any], winner: Path, is_default: bool) -> Tuning:
        rung, value = last_rung(best) or (0, 0.0)
        scores = [load_scores(self.folder, t.number, reached[0]) for t in trials if (reached := last_rung(t))]
        single = [score for score in scores if score is not None]
        curve = self._curve(best, rung)
        counts: dict[str, int] = {}
        for trial in trials:
            if trial.state.is_finished():
                counts[trial.state.name.lower()] = counts.get(trial.state.name.lower(), 0) + 1
        metric, test = test_metric(winner, self.criterion)
        untrained = untrained_default(self.problem.source.spec)
        return Tuning(
            folder=self.folder.absolute(),
            winner=_title(best),
            settings=settings,
            criterion=self.criterion.name,
            validation=value,
            metric=metric,
            test=test,
            default=test_metric(self.folder / DEFAULT_RUN, self.criterion)[1],
            difference=None if is_default else test_difference(winner, self.folder / DEFAULT_RUN, self.problem.seed),
            optimism=selection_optimism(np.stack(single), seed=self.problem.seed) if single else None,
            more_training=curve.gain_of_doubling(bounded=self.criterion.bounded, seed=self.problem.seed),
            more_candidates=gain_of_more_candidates(
                [reached[1] for trial in trials if (reached := last_rung(trial))], seed=self.problem.seed
            ),
            counts=counts,
            candidates=[_row(trial) for trial in trials if trial.state.is_finished()],
            seconds=round(self.budget.spent, 1),
            minutes=self.budget.seconds / 60,
            is_default=is_default,
            is_untrained_default=untrained is not None and _title(best) == f"untrained {untrained.name}",
        )

    def _curve(self, best: Any, rung: int) -> LearningCurve:
        if not best.user_attrs["seconds_per_step"]:
            return LearningCurve([], [], None)
        reached = [number for number in range(rung + 1) if STEPS[number] in best.intermediate_values]
        samples = [load_scores(self.folder, best.number, number) for number in reached]
        complete = [score for score in samples if score is not None]
        return LearningCurve(
            [RUNGS[number] for number in reached],
            [best.intermediate_values[STEPS[number]] for number in reached],
            np.stack(complete) if len(complete) == len(reached) and complete else None,
        )


def _title(trial: Any) -> str:
    objective = trial.params["objective"]
    backbone = trial.params.get("backbone", "default")
    return objective if backbone == "default" else f"{objective} on {backbone}"


def _row(trial: Any) -> dict[str, Any]:
    reached = last_rung(trial)
    return {
        "number": trial.number,
        "candidate": _title(trial) if "objective" in trial.params else "",
        "score": None if reached is None else reached[1],
        "trained": None if reached is None else round(RUNGS[reached[0]], 3),
        "outcome": trial.user_attrs.get("reason", trial.state.name.lower()),
    }


def _user_recipes(recipes: str | Path | Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return name -> settings of recipe files, without those of the data."""
    paths = [recipes] if isinstance(recipes, (str, Path)) else list(recipes)
    made: dict[str, dict[str, Any]] = {}
    for path in map(Path, paths):
        flat = flatten_settings(read_toml(path))
        if path.stem in made:
            raise RecipeError([f"{path}: another recipe is named {path.stem!r} too; rename one of the files"])
        made[path.stem] = {name: v for name, v in flat.items() if not name.startswith(("data.", "evaluate."))}
    return made


def _open(data: Any, name: str, labels: Any, fixed: dict[str, Any], seed: int, progress: Progress) -> Problem:
    """Open the data and its labels, and split it."""
    options = nest({key.removeprefix("data."): value for key, value in fixed.items() if key.startswith("data.")})
    source = open_data(data, options)
    source.report_notes(progress)
    labels, names = (None, ()) if labels is None else resolve_labels(labels, source.ids)
    targets, remark = make_targets(
        source.labels if labels is None else labels, len(source), what="samples", names=names
    )
    if remark:
        progress.say(remark)
    device = choose_device(fixed.get("train.device", "auto"), "device")
    return make_problem(name, source, targets, device, seed, progress)
