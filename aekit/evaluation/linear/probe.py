"""Logistic regression for every regularization strength in one batched fit: the linear probe for classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from aekit.errors import DataError
from aekit.evaluation.linear._design_matrix import design_of, span_of
from aekit.evaluation.linear._lbfgs import MEMORY, Minimum, minimize
from aekit.evaluation.linear._regressions import (
    Regressions,
    principal_directions,
    sigmoid_loss,
    softmax_loss,
)
from aekit.nn.pca import leading_directions

SEARCH_TOLERANCE = 1e-6
"""Tolerance that suffices to choose a strength: accuracies differ from those of exact fits by up to 0.002."""
SINGLE_TOLERANCE = SEARCH_TOLERANCE
"""Tolerance from which single precision is enough; nearer the minimum its rounding takes more steps than it saves."""
_ONE_BATCH = 2**23
"""Products of an evaluation of all models up to which all are fitted as one batch."""
_PARTS = ("x", "value", "iterations", "converged")
_MEMORY = 2**29
"""Bytes of L-BFGS memory at a time; more strengths are fitted in groups."""


@dataclass(frozen=True)
class LogisticPath:
    """Logistic regressions of several strengths on one data set, with features standardized by the training part.

    Attributes:
        strengths: (S,) inverse regularization, scikit-learn's ``C``.
        classes: (C,) labels in the order of the columns; for several labels per sample, their numbers.
        coef: (S, C, D) coefficients of the standardized features.
        intercept: (S, C) intercepts.
        mean: (D,) mean of the training features.
        scale: (D,) one over their standard deviation; 0 for constant columns.
        iterations: (S,) iterations of the fits.
        converged: (S,) bool, whether a fit converged.
        several: whether there are several labels per sample rather than one class.
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
        """Return (S, N) classes for (N, D) features, or (S, N, C) bool for several labels per sample."""
        shape = (len(self.strengths), len(x), len(self.classes)) if self.several else (len(self.strengths), len(x))
        predictions = np.empty(shape, bool if self.several else np.intp)
        for start in range(0, len(x), 4096):
            rows = self._standardize(x[start : start + 4096])
            for number in range(len(self.strengths)):
                logits = rows @ self.coef[number].T + self.intercept[number]
                predictions[number, start : start + 4096] = logits > 0 if self.several else logits.argmax(axis=1)
        return predictions if self.several else self.classes[predictions]

    def probabilities(self, x: np.ndarray, number: int = 0) -> np.ndarray:
        """Return (N, C) probabilities by the strength at position `number`; several labels have independent probabilities."""
        logits = self.logits(x, number)
        if self.several:
            return 1 / (1 + np.exp(-logits.clip(-500, 500)))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def linear(self, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return (C, D) weights and (C,) biases of the logits for features that are not standardized."""
        weight = self.coef[number].astype(np.float64) * self.scale
        return weight, self.intercept[number] - weight @ self.mean

    def logits(self, x: np.ndarray, number: int = 0) -> np.ndarray:
        """Return (N, C) logits by the strength at position `number`."""
        return self._standardize(x) @ self.coef[number].T + self.intercept[number]

    def _standardize(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean) * self.scale).astype(self.coef.dtype)


def fit_logistic(
    x: np.ndarray | Tensor,
    y: np.ndarray,
    strengths: Sequence[float] | np.ndarray,
    *,
    max_iterations: int = 200,
    tolerance: float = 1e-9,
    held_out: np.ndarray | None = None,
    standardize: bool = True,
    max_directions: int | None = None,
    start: LogisticPath | None = None,
    device: torch.device | None = None,
) -> LogisticPath:
    """Fit multinomial logistic regression for all strengths at once, or binary ones for several labels per sample.

    Minimizes ``C * sum of cross-entropies + |coef|^2 / 2`` with a free intercept, as scikit-learn's LogisticRegression
    does. Two classes have a row of `coef` each, one the negative of the other; the penalty then counts their difference,
    so that the probabilities are those of scikit-learn's binary model of equal ``C``, whose coef is ``coef[1] - coef[0]``.

    The best coefficients lie in the span of the samples: with fewer samples than features the search is in a basis of it.
    The search is preconditioned by the curvature along the principal directions of the features, plus the penalty. The
    weakest, the strongest and the middle strength are fitted first, as one batch; those between two fitted strengths then start
    between their solutions, as the next batch, and so on. For little data all strengths are one batch.

    Args:
        x: (N, D) training features.
        y: (N,) labels of any sortable type, or (N, C) bool for several labels per sample.
        strengths: (S,) values of ``C``, above 0.
        max_iterations: L-BFGS iterations for each strength.
        tolerance: tolerance of the mean cross-entropy plus penalty. By default the probabilities are accurate to three decimals;
            `SEARCH_TOLERANCE` suffices to choose a strength.
        held_out: (N,) fold numbers 0 to F - 1, for cross-validation: the path then has F * S models, the first S of which are
            fitted without fold 0, and so on.
        standardize: False leaves the features unchanged.
        max_directions: look for coefficients in the span of as many leading principal directions only, which is faster for wide
            features; default: all.
        start: models of the same features and classes for similar samples; the search starts from the one with the nearest
            strength, which saves a third of the steps; from the origin if there are more features than samples, or if it does
            not converge. Default: from the origin.
        device: device to compute on; default: a GPU if there is one.

    Raises:
        DataError: fewer than two classes, or features that are not finite.
    """
    y = np.asarray(y)
    several = y.ndim == 2
    classes, codes = (np.arange(y.shape[1]), y.astype(np.float32)) if several else np.unique(y, return_inverse=True)
    if len(classes) < 2 and not several:
        raise DataError(f"the labels of the {len(x)} training samples are all {classes.tolist()}: expected two classes")
    design, mean, scale = design_of(x, device, standardize=standardize, single=tolerance >= SINGLE_TOLERANCE)
    target = torch.as_tensor(codes, device=design.device)
    ordered = np.sort(np.asarray(strengths, np.float64))
    features, ones = design[:, :-1], design[:, -1:]
    span, basis = span_of(features), None
    if span is not None:  # whose axes are the principal directions
        design, variances, directions = torch.cat([span.coordinates, ones], 1), span.variances, None
    else:
        if max_directions is not None and max_directions < features.shape[1]:
            leading = leading_directions(features, max_directions)
            basis = None if leading is None else leading[1]
        if basis is not None:
            design = torch.cat([features @ basis, ones], 1)
        variances, directions = principal_directions(design)
        if directions is not None and directions.shape[0] == directions.shape[1]:
            # Along the principal directions the preconditioner is diagonal, and the penalty is the same.
            design = torch.cat([design[:, :-1] @ directions, ones], 1)
            basis, directions = directions if basis is None else basis @ directions, None
    values = target.to(design.dtype) if several else target
    # More features than samples separate the classes: weak penalties make coefficients so large that the way from them is longer.
    origin = None
    if start is not None and len(x) > x.shape[1]:
        origin = _coefficients_along(start, mean, scale, basis, ordered).to(design.device)
    curvature = (variances, directions)
    search = _Search(design, values, len(classes), several, ordered, held_out, curvature, origin)
    ends = search.run(tolerance, max_iterations)
    if origin is not None and not ends.converged.all():
        # Fewer features may separate the classes too.
        search = _Search(design, values, len(classes), several, ordered, held_out, curvature, None)
        ends = search.run(tolerance, max_iterations)
    solutions = ends.x.view(len(ends.x), len(classes), -1)
    if not several:
        solutions = solutions - solutions.mean(1, keepdim=True)  # a common offset of the classes changes no probability
    weights = solutions.to(design.dtype)
    if span is not None:
        weights = torch.cat([span.coefficients(weights[..., :-1], features), weights[..., -1:]], -1)
    elif basis is not None:
        weights = torch.cat([weights[..., :-1] @ basis.T, weights[..., -1:]], -1)
    coefficients = weights.cpu().numpy()
    # In the order of `strengths`, not sorted.
    places = np.searchsorted(ordered, np.asarray(strengths, np.float64))
    places = (np.arange(search.folds)[:, None] * len(ordered) + places).ravel()
    return LogisticPath(
        strengths=np.tile(np.asarray(strengths, np.float64), search.folds),
        classes=classes,
        coef=coefficients[places, :, :-1],
        intercept=coefficients[places, :, -1],
        mean=mean,
        scale=scale,
        iterations=ends.iterations.cpu().numpy()[places],
        converged=ends.converged.cpu().numpy()[places],
        several=several,
    )


def _coefficients_along(
    models: LogisticPath, mean: np.ndarray, scale: np.ndarray, basis: Tensor | None, strengths: np.ndarray
) -> Tensor:
    """Return (S, P) float64 coefficients, for other standardized features, of the models whose strengths are nearest.

    Args:
        models: the models.
        mean: (D,) mean of the other features.
        scale: (D,) one over their standard deviation.
        basis: (D, R) orthonormal basis that the coefficients are expressed in; None: the axes.
        strengths: (S,) strengths.
    """
    nearest = np.abs(np.log(models.strengths) - np.log(strengths)[:, None]).argmin(axis=1)
    rows = []
    for number in nearest:
        weight, bias = models.linear(int(number))
        inner = weight * np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
        inner = inner if basis is None else inner @ basis.double().cpu().numpy()
        rows.append(np.concatenate([inner, (bias + weight @ mean)[:, None]], axis=1).ravel())
    return torch.from_numpy(np.stack(rows))


class _Search:
    """The F * S fits, in batches that each start from the solutions of the previous ones.

    Args:
        design: (N, D + 1).
        target: (N,) class numbers, or (N, C) of 0 and 1.
        c: number of classes.
        several: whether there are several labels per sample.
        strengths: (S,) in increasing order.
        held_out: (N,) fold numbers, or None.
        spectrum: what `principal_directions` returns for the design.
        origin: (S, P) coefficients to start from; None: zeros.
    """

    def __init__(
        self,
        design: Tensor,
        target: Tensor,
        c: int,
        several: bool,
        strengths: np.ndarray,
        held_out: np.ndarray | None,
        spectrum: tuple[Tensor, Tensor | None],
        origin: Tensor | None,
    ) -> None:
        self.design, self.target, self.c, self.several = design, target, c, several
        self.logs = np.log(strengths)
        self.spectrum, self.origin = spectrum, origin
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
        """Return the minima in order, fold by fold, with x of (F * S, C * (D + 1))."""
        known: dict[int, Minimum] = {}
        last = len(self.logs) - 1
        products = self.design.numel() * self.c * self.folds * len(self.logs)
        # For little data one batch from the origin is faster than several with better starts.
        wave = list(range(last + 1)) if products <= _ONE_BATCH else sorted({0, last // 2, last})
        while wave:
            starts = torch.cat([self._start(place, known) for place in wave])  # (W * F, P)
            at_once = max(1, _MEMORY // (2 * MEMORY * 8 * starts.shape[1]))
            ends = []
            for batch, places in zip(starts.split(at_once), self._numbered(wave).split(at_once)):
                problems = self._problems(places)
                ends.append(minimize(problems, batch, tolerance=tolerance, max_iterations=max_iterations))
            end = _joined(ends)
            for number, place in enumerate(wave):
                rows = slice(number * self.folds, (number + 1) * self.folds)
                known[place] = Minimum(end.x[rows], end.value[rows], end.iterations[rows], end.converged[rows])
            done = sorted(known)
            wave = [(a + b) // 2 for a, b in pairwise(done) if b - a > 1]
        ends = [known[place] for place in sorted(known)]
        return Minimum(*(torch.stack([getattr(end, part) for end in ends], 1).flatten(0, 1) for part in _PARTS))

    def _start(self, place: int, known: dict[int, Minimum]) -> Tensor:
        """Interpolate (F, P) between the solutions of the nearest strengths on both sides, or return the origin."""
        below, above = [p for p in known if p < place], [p for p in known if p > place]
        if self.origin is not None:
            return self.origin[place].expand(self.folds, -1).contiguous()
        if not below or not above:
            width = self.c * self.design.shape[1]
            return torch.zeros(self.folds, width, dtype=torch.float64, device=self.design.device)
        low, high = max(below), min(above)
        gap = self.logs[high] - self.logs[low]
        weight = (self.logs[place] - self.logs[low]) / gap if gap > 0 else 0.5
        return (1 - weight) * known[low].x + weight * known[high].x

    def _numbered(self, wave: Sequence[int]) -> Tensor:
        """Return (W * F, 2) fold and strength of each problem."""
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
            coupled=self.origin is not None,
            seen=seen,
            counts=self.counts[folds],
        )


def _joined(parts: Sequence[Minimum]) -> Minimum:
    return Minimum(*(torch.cat([getattr(minimum, part) for minimum in parts]) for part in _PARTS))
