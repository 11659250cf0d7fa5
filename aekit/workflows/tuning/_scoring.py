"""Score a candidate on the validation part: by an evaluator if there are labels, else by a label-free score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Inference
from aekit.errors import DataError
from aekit.evaluation.checks.training_metrics import training_metrics
from aekit.evaluation.label_free import SELECTION, label_free_scores, selection_score
from aekit.evaluation.results import Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.summary import ENCODER
from aekit.objectives.base import Objective
from aekit.progress import SILENT
from aekit.training.build import find_autoencoder
from aekit.workflows.tuning._problem import Problem

Purpose = Literal["retrieval", "classification", "clustering", "anomalies", "reconstruction"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
EVALUATOR_OF = {"retrieval": "retrieval", "classification": "probe", "clustering": "kmeans", "anomalies": "anomaly"}
"""Purpose -> the evaluator whose primary metric decides, if there are labels."""
RECONSTRUCTION = "explained variance of the reconstruction"
CHUNK = 256


@dataclass(frozen=True)
class Scored:
    """The score of a candidate.

    Attributes:
        value: the score, higher is better.
        samples: (N,) scores of the validation samples whose mean it is, or None.
        dim: width of the embeddings.
    """

    value: float
    samples: np.ndarray | None
    dim: int


@dataclass(frozen=True)
class Criterion:
    """The score that decides between candidates.

    Attributes:
        name: in words.
        evaluator: name of the evaluator, or "".
        bounded: whether it is at most 1, so that 1 minus it is an error.
    """

    name: str
    evaluator: str
    bounded: bool

    def score(self, objective: Objective, problem: Problem) -> Scored:
        """Score a trained objective on the validation part.

        Raises:
            AekitError: the evaluator refuses the embeddings, or they are not finite.
        """
        samples, split = problem.scored
        encoder = objective.encoder.eval()
        if self.name == RECONSTRUCTION:
            return self._reconstruction(objective, samples, split)
        if not self.evaluator:
            raw = samples.batch(torch.from_numpy(split.test))
            scores = label_free_scores(encoder, raw, seed=problem.seed)
            return Scored(selection_score(scores), None, encoder.dim)
        vectors = embed(encoder, samples)
        if not np.isfinite(vectors).all():
            raise DataError("its embeddings are not finite")
        value, single = self.evaluate(vectors, problem.scored_targets, split, problem)
        return Scored(value, single, encoder.dim)

    def evaluate(
        self, vectors: np.ndarray, targets: np.ndarray | None, split: Split, problem: Problem
    ) -> tuple[float, np.ndarray | None]:
        """Return the primary metric of the evaluator on the test part of a split, and the scores of its samples or None."""
        assert problem.targets is not None
        kind = problem.targets.kind
        evaluation = evaluate(
            vectors,
            targets,
            evaluators=[self.evaluator],
            baselines=False,
            checks=False,
            quick=False,
            split=split,
            target_type="auto" if kind == "multi-label" else kind,
            seed=problem.seed,
            progress=SILENT,
        )
        result = evaluation.results[ENCODER].get(self.evaluator)
        if result is None:
            raise DataError(evaluation.notes[-1])
        return next(iter(result.metrics.values())).value, result.scores

    def _reconstruction(self, objective: Objective, samples: Samples, split: Split) -> Scored:
        autoencoder = find_autoencoder(objective)
        if autoencoder is None:
            raise DataError("it has no decoder")
        metrics = training_metrics(objective.encoder, _Part(samples, split.test), autoencoder)
        return Scored(metrics.get("explained", 0.0), None, objective.encoder.dim)


class _Part(Samples):
    """Some of the samples of a set."""

    def __init__(self, samples: Samples, positions: np.ndarray) -> None:
        super().__init__(samples.spec, samples.rows[positions], samples.data, samples.device)
        self._samples, self._positions = samples, torch.from_numpy(positions)

    def batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather raw samples (B, *shape) from positions (B,) in this part."""
        return self._samples.batch(self._positions[positions])


def choose_criterion(purpose: str | None, problem: Problem, say: Callable[[str], None]) -> Criterion:
    """Choose what decides, and say why."""
    if purpose == "reconstruction":
        return Criterion(RECONSTRUCTION, "", bounded=True)
    if problem.targets is None:
        reason = "there are no labels" if purpose is None else f"{purpose} cannot be measured without labels"
        say(f"selection: by the label-free score {SELECTION}, as {reason}")
        return Criterion(f"label-free score {SELECTION}", "", bounded=False)
    chosen = purpose or "classification"
    evaluator = EVALUATOR_OF[chosen]
    say(f"selection: by the evaluator {evaluator} on {len(problem.scored[1].test)} validation samples")
    return Criterion(f"{evaluator} on validation", evaluator, bounded=True)


def embed(encoder: Encoder, samples: Samples) -> np.ndarray:
    """Return the (N, D) float32 embeddings of samples in memory."""
    run = Inference(encoder, len(samples), device=encoder.device)
    with eval_mode(encoder):
        vectors = [run(raw).cpu().numpy() for raw in samples.chunks(CHUNK)]
    return np.concatenate(vectors).astype(np.float32)
