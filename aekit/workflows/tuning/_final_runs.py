"""Train the default recipe and the winner as ordinary runs, and evaluate each once on the test part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aekit.encoder.loading import load
from aekit.encoder.pretrained import NONE
from aekit.evaluation.label_free import label_free_scores, selection_score
from aekit.evaluation.metrics.intervals import bootstrap_difference
from aekit.evaluation.results import Metric, Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.run_results import read_results, write_results
from aekit.evaluation.saved_predictions import FILE, save_predictions
from aekit.evaluation.summary import ENCODER
from aekit.io.atomic import atomic_file
from aekit.io.manifests import checksums
from aekit.progress import NestedProgress, Progress
from aekit.workflows.fitting import fit
from aekit.workflows.tuning import _budget
from aekit.workflows.tuning._problem import Problem
from aekit.workflows.tuning._scoring import EVALUATOR_OF, RECONSTRUCTION, Criterion

SCORES = "test-scores.npy"
UNLABELED = ("kmeans",)
"""Evaluators of the test part without labels."""
MAX_LABEL_FREE = 1000


def fit_run(folder: Path, problem: Problem, settings: Mapping[str, Any], progress: Progress) -> float:
    """Train a recipe on everything but the test part, or go on with it; return the seconds of this call."""
    start = _budget.now()
    overrides = {name: value for name, value in settings.items() if not name.startswith("data.")}
    overrides |= {"data.source": problem.name, "train.seed": problem.seed}
    resume = (folder / "recipe.toml").exists()
    fit(problem.refitted_source, overrides=overrides, out=folder, resume=resume, report=False, progress=progress)
    return _budget.now() - start


def evaluate_run(
    folder: Path,
    problem: Problem,
    criterion: Criterion,
    progress: Progress,
    *,
    baselines: bool | Collection[str] = True,
) -> float:
    """Evaluate a run by the test part, with baselines, unless that was done; return the seconds.

    Its ``results.json`` gets the evaluation, ``test-scores.npy`` the scores of single samples.

    Args:
        folder: the run.
        problem: the data.
        criterion: what decided, which is evaluated.
        progress: receives bars.
        baselines: as in `aekit.evaluate`; pretrained networks compete, and are not baselines.
    """
    start = _budget.now()
    results = read_results(folder)
    if "evaluation" in results:
        return _budget.now() - start
    encoder = load(folder, device=problem.device)
    embeddings = encoder.embed(problem.refitted_source, metadata="none", precision="fp32", progress=progress)
    origin = embeddings.source()
    rows = np.arange(len(embeddings)) if origin is None else origin[1]
    targets = None if problem.targets is None else problem.targets.values[rows]
    kind = "auto" if problem.targets is None or problem.targets.kind == "multi-label" else problem.targets.kind
    evaluation = evaluate(
        embeddings,
        targets,
        evaluators=evaluators_of(criterion),
        baselines=baselines,
        pretrained=NONE,
        split=_among(problem.split, rows),
        label_names=() if problem.targets is None or problem.targets.kind != "multi-label" else problem.targets.names,
        target_type=kind,
        run=folder if criterion.name == RECONSTRUCTION else None,
        seed=problem.seed,
        progress=NestedProgress(progress),
    )
    scores = None
    if criterion.evaluator:
        scores = evaluation.results[ENCODER][criterion.evaluator].scores
    elif criterion.name != RECONSTRUCTION:
        tested = problem.refitted_source.read(problem.split.test[:MAX_LABEL_FREE])[0]
        scores = np.array([selection_score(label_free_scores(encoder, torch.from_numpy(tested), seed=problem.seed))])
    if scores is not None:
        with atomic_file(folder / SCORES) as part, part.open("wb") as file:
            np.save(file, np.asarray(scores, np.float64))
    save_predictions(evaluation, rows, folder)
    results["sha256"] |= checksums(folder, [FILE])
    results["evaluation"] = evaluation.to_dict()
    write_results(folder, results)
    return _budget.now() - start


def evaluators_of(criterion: Criterion) -> list[str]:
    """Return the evaluators of the test part: the one that decided, and with labels neighbors too."""
    if not criterion.evaluator:
        return list(UNLABELED)
    second = "knn" if criterion.evaluator == EVALUATOR_OF["classification"] else EVALUATOR_OF["classification"]
    return [criterion.evaluator, second]


def test_metric(folder: Path, criterion: Criterion) -> tuple[str, Metric]:
    """Return the name and the value of the metric of a run on the test part that compares with the validation score."""
    evaluator = "reconstruction" if criterion.name == RECONSTRUCTION else criterion.evaluator
    if not evaluator:
        return criterion.name, Metric(float(np.load(folder / SCORES, allow_pickle=False)[0]))
    name, value = next(iter(read_results(folder)["evaluation"]["results"][ENCODER][evaluator]["metrics"].items()))
    return f"{evaluator} {name.replace('_', ' ')}", Metric(value["value"], value.get("low"), value.get("high"))


def test_difference(folder: Path, other: Path, seed: int) -> Metric | None:
    """Return by how much a run is better than another on the test part, by its samples in pairs; None without scores."""
    paths = [run / SCORES for run in (folder, other)]
    if not all(path.is_file() for path in paths):
        return None
    ours, theirs = (np.load(path, allow_pickle=False) for path in paths)
    return bootstrap_difference(ours, theirs, seed=seed) if len(ours) == len(theirs) > 1 else None


def _among(split: Split, rows: np.ndarray) -> Split:
    """Return a split of all samples as positions among those that could be embedded."""
    parts = (np.flatnonzero(np.isin(rows, part)) for part in (split.train, split.validation, split.test))
    train, validation, test = parts
    return Split(train, validation, test, split.origin)
