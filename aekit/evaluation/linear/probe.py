"""The mathematics of the linear probe: logistic regression for every strength of regularization in one batched fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from aekit.errors import DataError
from aekit.evaluation.linear.design_matrix import design_of
from aekit.evaluation.linear.lbfgs import MEMORY, Minimum, minimize
from aekit.evaluation.linear.regressions import Regressions, principal_directions, sigmoid_loss, softmax_loss

SEARCH_TOLERANCE = 1e-6
"""Tolerance at which a fit is good enough to choose a strength by: accuracies are those of exact fits but for some 0.002."""
_PARTS = ("x", "value", "iterations", "converged")
_MEMORY = 2**29
"""Bytes of L-BFGS memory at a time; more strengths than that are fitted in groups."""


@dataclass(frozen=True)
class LogisticPath:
    """Logistic regressions of several strengths on one data set. Features are standardized by the training part.

    Attributes:
        strengths: (S,) inverse regularization, scikit-learn's ``C``.
        classes: (C,) labels in the order of the columns; for several labels a sample, their numbers.
        coef: (S, C, D) on standardized features.
        intercept: (S, C).
        mean: (D,) of the training features.
        scale: (D,) one over their deviation; 0 for constant columns.
        iterations: (S,) steps taken.
        converged: (S,) bool.
        several: whether a sample has any number of the labels, rather than one of them.
    """

    strengths: np.ndarray
    classes: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray
    several: bool = False

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N, D) -> (S, N) labels, or (S, N, C) bool for several labels a sample."""
        shape = (len(self.strengths), len(x), len(self.classes)) if self.several else (len(self.strengths), len(x))
        found = np.empty(shape, bool if self.several else np.intp)
        for start in range(0, len(x), 4096):
            for number in range(len(self.strengths)):
                logits = self.logits(x[start : start + 4096], number)
                found[number, start : start + 4096] = logits > 0 if self.several else logits.argmax(axis=1)
        return found if self.several else self.classes[found]

    def probabilities(self, x: np.ndarray, number: int = 0) -> np.ndarray:
        """(N, D) -> (N, C) by the strength at position `number`; several labels have a probability each."""
        logits = self.logits(x, number)
        if self.several:
            return 1 / (1 + np.exp(-logits.clip(-500, 500)))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def logits(self, x: np.ndarray, number: int = 0) -> np.ndarray:
        """(N, D) -> (N, C) by the strength at position `number`."""
        rows = (x - self.mean) * self.scale
        return rows.astype(self.coef.dtype) @ self.coef[number].T + self.intercept[number]


def fit_logistic(
    x: np.ndarray | Tensor,
    y: np.ndarray,
    strengths: Sequence[float] | np.ndarray,
    *,
    max_iterations: int = 200,
    tolerance: float = 1e-9,
    held_out: np.ndarray | None = None,
    standardize: bool = True,
    device: torch.device | None = None,
) -> LogisticPath:
    """Fits multinomial logistic regression for all strengths at once; one against the rest for several labels a sample.

    Minimizes ``C * sum of cross-entropies + |coef|^2 / 2`` with a free intercept, as scikit-learn's LogisticRegression
    does. Two classes have a row of `coef` each, one the negative of the other; the penalty then counts their difference,
    so that the probabilities are those of scikit-learn's binary model of equal ``C``, whose coef is ``coef[1] - coef[0]``.

    The search is preconditioned by the curvature along the principal directions of the features, plus the penalty. The
    weakest, the strongest and the middle strength are fitted first, as one batch; those between two that are known then
    start between their solutions, as the next batch, and so on.

    Args:
        x: (N, D) training features.
        y: (N,) labels of any sortable type, or (N, C) bool, which of C labels each sample has.
        strengths: (S,) values of ``C``, above 0.
        max_iterations: of L-BFGS, a strength each.
        tolerance: of the mean cross-entropy plus penalty. By default the probabilities are right to the third decimal;
            `SEARCH_TOLERANCE` is enough to choose a strength by.
        left_out: (N,) numbers 0 to F - 1, for cross-validation: the path then has F * S models, the first S of which are
            fitted without the samples of number 0, and so on.
        standardize: otherwise the features are taken as they are.
        device: where to compute; default: a GPU where there is one.

    Raises:
        DataError: fewer than two classes, or features that are not finite.
    """
    y = np.asarray(y)
    several = y.ndim == 2
    classes, codes = (np.arange(y.shape[1]), y.astype(np.float32)) if several else np.unique(y, return_inverse=True)
    if len(classes) < 2 and not several:
        raise DataError(f"the labels of the {len(x)} training samples are all {classes.tolist()}: expected two classes")
    design, mean, scale = design_of(x, device, standardize=standardize)
    target = torch.as_tensor(codes, device=design.device)
    ordered = np.sort(np.asarray(strengths, np.float64))
    search = _Search(design, target.to(design.dtype) if several else target, len(classes), several, ordered, held_out)
    ends = search.run(tolerance, max_iterations)
    found = ends.x.view(len(ends.x), len(classes), -1)
    if not several:
        found = found - found.mean(1, keepdim=True)  # what all classes have in common changes no probability
    weights = found.to(design.dtype).cpu().numpy()
    # As asked for, not in order.
    places = np.searchsorted(ordered, np.asarray(strengths, np.float64))
    places = (np.arange(search.folds)[:, None] * len(ordered) + places).ravel()
    return LogisticPath(
        strengths=np.tile(np.asarray(strengths, np.float64), search.folds),
        classes=classes,
        coef=weights[places, :, :-1],
        intercept=weights[places, :, -1],
        mean=mean,
        scale=scale,
        iterations=ends.iterations.cpu().numpy()[places],
        converged=ends.converged.cpu().numpy()[places],
        several=several,
    )


class _Search:
    """The F * S fits, in batches of which each starts from what the ones before it found.

    Args:
        design: (N, D + 1).
        target: (N,) class numbers, or (N, C) of 0 and 1.
        c: number of classes.
        several: whether samples have several labels.
        strengths: (S,) rising.
        left_out: (N,) numbers of folds, or None.
    """

    def __init__(
        self, design: Tensor, target: Tensor, c: int, several: bool, strengths: np.ndarray, held_out: np.ndarray | None
    ) -> None:
        self.design, self.target, self.c, self.several = design, target, c, several
        self.logs = np.log(strengths)
        self.spectrum = principal_directions(design)
        self.seen: Tensor | None = None
        self.folds, counts = 1, torch.tensor([len(design)], device=design.device)
        if held_out is not None:
            numbers = torch.as_tensor(np.asarray(held_out), device=design.device)
            self.folds = int(numbers.max()) + 1
            seen = torch.arange(self.folds, device=design.device)[:, None] != numbers
            self.seen, counts = seen.to(design.dtype), seen.sum(1)
        inverse = torch.as_tensor(strengths, device=design.device)
        self.counts = counts.double()
        self.penalty = (2.0 if c == 2 and not several else 1.0) / (inverse * self.counts[:, None])  # (F, S)

    def run(self, tolerance: float, max_iterations: int) -> Minimum:
        """The minima in order, fold by fold, x: (F * S, C * (D + 1))."""
        known: dict[int, Minimum] = {}
        last = len(self.logs) - 1
        wave = sorted({0, last // 2, last})
        while wave:
            starts = torch.cat([self._start(place, known) for place in wave])  # (W * F, P)
            at_once = max(1, _MEMORY // (2 * MEMORY * 8 * starts.shape[1]))
            ends = []
            for some, places in zip(starts.split(at_once), self._numbered(wave).split(at_once)):
                problems = self._problems(places)
                ends.append(minimize(problems, some, tolerance=tolerance, max_iterations=max_iterations))
            end = _joined(ends)
            for number, place in enumerate(wave):
                own = slice(number * self.folds, (number + 1) * self.folds)
                known[place] = Minimum(end.x[own], end.value[own], end.iterations[own], end.converged[own])
            done = sorted(known)
            wave = [(a + b) // 2 for a, b in pairwise(done) if b - a > 1]
        ends = [known[place] for place in sorted(known)]
        return Minimum(*(torch.stack([getattr(end, part) for end in ends], 1).flatten(0, 1) for part in _PARTS))

    def _start(self, place: int, known: dict[int, Minimum]) -> Tensor:
        """(F, P): between the solutions of the next strengths on both sides, or zero."""
        below, above = [p for p in known if p < place], [p for p in known if p > place]
        if not below or not above:
            width = self.c * self.design.shape[1]
            return torch.zeros(self.folds, width, dtype=torch.float64, device=self.design.device)
        low, high = max(below), min(above)
        gap = self.logs[high] - self.logs[low]
        share = (self.logs[place] - self.logs[low]) / gap if gap > 0 else 0.5
        return (1 - share) * known[low].x + share * known[high].x

    def _numbered(self, wave: Sequence[int]) -> Tensor:
        """(W * F, 2) fold and strength of each problem."""
        pairs = [(fold, place) for place in wave for fold in range(self.folds)]
        return torch.tensor(pairs, device=self.design.device)

    def _problems(self, numbered: Tensor) -> Regressions:
        folds, places = numbered[:, 0], numbered[:, 1]
        seen = None if self.seen is None else self.seen[folds]
        return Regressions(
            self.design,
            self.target,
            self.c,
            self.penalty[folds, places],
            *self.spectrum,
            loss=sigmoid_loss if self.several else softmax_loss,
            seen=seen,
            counts=self.counts[folds],
        )


def _joined(parts: Sequence[Minimum]) -> Minimum:
    return Minimum(*(torch.cat([getattr(one, part) for one in parts]) for part in _PARTS))
