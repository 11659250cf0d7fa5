"""The mathematics of the linear probe: logistic regression for every strength of regularisation in one batched fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aekit.errors import DataError
from aekit.evaluation.lbfgs import MEMORY, minimise
from aekit.samples import to_tensor

_SMALL = 2**21
"""Numbers in the features up to which everything is done in float64, because it costs next to nothing."""
_LOGITS = 2**21
"""Logits held at a time."""
_MEMORY = 2**29
"""Bytes of L-BFGS memory at a time; more strengths than that are fitted in groups."""
_SAMPLE = 5000
"""Samples that the curvature is looked at with."""
_FACTORED = 2048
"""Widest features whose covariance is factored to precondition the search."""


@dataclass(frozen=True)
class LogisticPath:
    """Logistic regressions of several strengths on one data set. Features are standardised by the training part.

    Attributes:
        strengths: (S,) inverse regularisation, scikit-learn's ``C``.
        classes: (C,) labels in the order of the columns.
        coef: (S, C, D) on standardised features.
        intercept: (S, C).
        mean: (D,) of the training features.
        scale: (D,) one over their deviation; 0 for constant columns.
        iterations: (S,) steps taken.
        converged: (S,) bool.
    """

    strengths: np.ndarray
    classes: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N, D) -> (S, N) labels."""
        found = np.empty((len(self.strengths), len(x)), np.intp)
        for start in range(0, len(x), 4096):
            for number in range(len(self.strengths)):
                found[number, start : start + 4096] = self._logits(x[start : start + 4096], number).argmax(axis=1)
        return self.classes[found]

    def probabilities(self, x: np.ndarray, number: int = 0) -> np.ndarray:
        """(N, D) -> (N, C) by the strength at position `number`."""
        logits = self._logits(x, number)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def _logits(self, x: np.ndarray, number: int) -> np.ndarray:
        rows = (x - self.mean) * self.scale
        return rows.astype(self.coef.dtype) @ self.coef[number].T + self.intercept[number]


def fit_logistic(
    x: np.ndarray | Tensor,
    y: np.ndarray,
    strengths: Sequence[float] | np.ndarray,
    *,
    max_iterations: int = 200,
    tolerance: float = 1e-9,
    device: torch.device | None = None,
) -> LogisticPath:
    """Fits multinomial logistic regression for all strengths at once.

    Minimises ``C * sum of cross-entropies + |coef|^2 / 2`` with a free intercept, as scikit-learn's LogisticRegression
    does. Two classes have a row of `coef` each, one the negative of the other; the penalty then counts their difference,
    so that the probabilities are those of scikit-learn's binary model of equal ``C``, whose coef is ``coef[1] - coef[0]``.

    The search is preconditioned by the curvature along the principal directions of the features, plus the penalty.

    Args:
        x: (N, D) training features.
        y: (N,) labels of any sortable type.
        strengths: (S,) values of ``C``, above 0.
        max_iterations: of L-BFGS, a strength each.
        tolerance: of the mean cross-entropy plus penalty. By default the probabilities are right to the third decimal.
        device: where to compute; default: a GPU where there is one.

    Raises:
        DataError: fewer than two classes, or features that are not finite.
    """
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"the labels of the {len(x)} training samples are all {classes.tolist()}: expected two classes")
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    design, mean, scale = _design(x if isinstance(x, Tensor) else to_tensor(np.asarray(x)), device)
    target = torch.as_tensor(codes, device=device)
    c, width = len(classes), design.shape[1]
    inverse = torch.as_tensor(np.asarray(strengths, np.float64), device=device)
    penalty = (2.0 if c == 2 else 1.0) / (inverse * len(design))
    spectrum = _spectrum(design)
    found, iterations, converged = [], [], []
    for group in penalty.split(max(1, _MEMORY // (2 * MEMORY * 8 * c * width))):
        start = torch.zeros(len(group), c * width, dtype=torch.float64, device=device)
        problems = _Regressions(design, target, c, group, *spectrum)
        end = minimise(problems, start, tolerance=tolerance, max_iterations=max_iterations)
        found.append(end.x.view(len(group), c, width))
        iterations.append(end.iterations)
        converged.append(end.converged)
    ends = torch.cat(found)
    ends -= ends.mean(1, keepdim=True)  # what all classes have in common changes no probability
    weights = ends.to(design.dtype).cpu().numpy()
    return LogisticPath(
        strengths=np.asarray(strengths, np.float64),
        classes=classes,
        coef=weights[..., :-1],
        intercept=weights[..., -1],
        mean=mean,
        scale=scale,
        iterations=torch.cat(iterations).cpu().numpy(),
        converged=torch.cat(converged).cpu().numpy(),
    )


class _Regressions:
    """The S regressions as `aekit.evaluation.lbfgs.Problems`; P = C * (D + 1), the intercept last in each row.

    Args:
        design: (N, D + 1) as `_design` gives.
        target: (N,) class numbers.
        c: number of classes.
        penalty: (S,) on the squared coefficients, beside the mean cross-entropy.
        variances, directions: as `_spectrum` gives.
    """

    def __init__(
        self, design: Tensor, target: Tensor, c: int, penalty: Tensor, variances: Tensor, directions: Tensor | None
    ) -> None:
        self.design, self.target, self.c, self.penalty, self.directions = design, target, c, penalty, directions
        # At zero the cross-entropy bends by 1 / C, along whatever changes the probabilities.
        self.curvature = (torch.cat([variances, variances.new_ones(1)]) / c).repeat(len(penalty), c, 1)
        self.sample = design[:: -(-len(design) // _SAMPLE)]
        self.squares = torch.cat([self._turn(self.sample[:, :-1]), self.sample[:, -1:]], dim=1).square()

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = x.view(len(which), self.c, -1)
        value, gradient = _cross_entropy(self.design, self.target, weights)
        decay = self.penalty[which]
        gradient[..., :-1] += decay[:, None, None] * weights[..., :-1]
        return value + decay / 2 * weights[..., :-1].square().sum((1, 2)), gradient.flatten(1)

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        shaped = gradient.view(len(which), self.c, -1)
        curvature = self.curvature[which]
        inner = self._turn(shaped[..., :-1]) / (curvature[..., :-1] + self.penalty[which][:, None, None])
        return torch.cat([self._turn(inner, back=True), shaped[..., -1:] / curvature[..., -1:]], dim=2).flatten(1)

    def look(self, which: Tensor, x: Tensor) -> None:
        flat = x.view(len(which) * self.c, -1).to(self.sample.dtype)
        p = (flat @ self.sample.T).view(len(which), self.c, -1).softmax(1)
        bend = (p * (1 - p)).flatten(0, 1) @ self.squares / len(self.sample)
        self.curvature[which] = bend.double().clamp(min=1e-8).view(len(which), self.c, -1)

    def _turn(self, rows: Tensor, back: bool = False) -> Tensor:
        """(..., D) to the principal directions, or back."""
        if self.directions is None:
            return rows
        return (rows.to(self.directions.dtype) @ (self.directions.T if back else self.directions)).to(rows.dtype)


def _design(features: Tensor, device: torch.device) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Standardised features with a last column of ones (N, D + 1), their mean (D,) and one over their deviation (D,)."""
    count, width = features.shape
    mean, square = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for rows in features.split(4096):
        mean += rows.double().cpu().sum(0) / count
    for rows in features.split(4096):
        square += (rows.double().cpu() - mean).square().sum(0) / count
    if not mean.isfinite().all() or not square.isfinite().all():
        raise DataError(f"features of shape ({count}, {width}): some are not finite; expected finite numbers")
    deviation = square.sqrt()
    scale = torch.where(deviation > 1e-6 * mean.abs(), 1 / deviation.clamp(min=1e-300), torch.zeros(()).double())
    dtype = torch.float64 if features.numel() <= _SMALL and device.type != "mps" else torch.float32
    design = torch.ones(count, width + 1, dtype=dtype, device=device)
    for start, rows in zip(range(0, count, 4096), features.split(4096)):
        design[start : start + 4096, :-1] = ((rows.double().cpu() - mean) * scale).to(dtype)
    return design, mean.numpy(), scale.numpy()


def _cross_entropy(design: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the samples of the cross-entropy, and its gradient.

    Args:
        design: (N, D + 1).
        target: (N,) class numbers.
        weights: (A, C, D + 1) float64.

    Returns:
        (A,) and (A, C, D + 1), added up in float64 block by block.
    """
    a, c, width = weights.shape
    flat = weights.reshape(a * c, width).to(design.dtype)
    value = weights.new_zeros(a)
    gradient = weights.new_zeros(a * c, width)
    block = max(256, _LOGITS // (a * c))
    for rows, own in zip(design.split(block), target.split(block)):
        logits = (flat @ rows.T).view(a, c, len(rows))  # classes before samples: sums over classes run along memory
        picked = own.expand(a, 1, len(rows))
        log_p = logits.log_softmax(1)
        value -= log_p.gather(1, picked)[:, 0].sum(1, dtype=torch.float64)
        residual = log_p.exp_().scatter_add_(1, picked, log_p.new_full(picked.shape, -1.0))
        gradient += residual.view(a * c, len(rows)) @ rows
    return value / len(design), (gradient / len(design)).view(a, c, width)


def _spectrum(design: Tensor) -> tuple[Tensor, Tensor | None]:
    """The principal directions of the features, from a sample, for they are only a guide.

    Returns:
        (D,) variances and (D, D) directions in columns; None stands for the axes, where factoring would take too long.
    """
    rows = design[:: -(-len(design) // 20_000), :-1]
    if rows.shape[1] > _FACTORED:
        return rows.square().mean(0).double(), None
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
    return variances.double().clamp(min=0), directions
