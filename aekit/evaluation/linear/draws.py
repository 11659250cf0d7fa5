"""Fit small logistic regressions to several draws of samples at once: alone, each is overhead of small tensor operations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aekit.evaluation.linear._lbfgs import minimize
from aekit.evaluation.linear._regressions import softmax_loss

MAX_ENTRIES = 2**21
"""Entries of the features of all models of a batch: above, products for one draw after the other are faster."""
_MAX_ITERATIONS = 200


def draws_at_once(models: int, samples: int, width: int) -> int:
    """Return how many draws `fit_draws` fits in a batch; below 2, `fit_logistic` is faster.

    Args:
        models: number of models of each draw.
        samples: N.
        width: D.
    """
    return MAX_ENTRIES // (models * samples * (width + 1))


def fit_draws(
    x: np.ndarray,
    y: np.ndarray,
    strengths: Sequence[float] | np.ndarray,
    *,
    tolerance: float,
    held_out: np.ndarray | None = None,
    device: torch.device | None = None,
) -> np.ndarray:
    """Minimize for each of G draws, as `fit_logistic` does for one, with features that are not standardized.

    Args:
        x: (G, N, D) float32 features.
        y: (G, N) class numbers, the same classes in each draw.
        strengths: (S,) values of ``C``, or (G, S) of each draw.
        tolerance: tolerance of the mean cross-entropy plus penalty, at which single precision is enough.
        held_out: (G, N) fold numbers 0 to F - 1, for cross-validation; None: one fold, which holds out none.
        device: device to compute on; default: a GPU if there is one.

    Returns:
        (G, F, S, C, D + 1) float64 coefficients, the intercept last.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = np.broadcast_to(np.asarray(strengths, np.float64), (len(x), np.shape(strengths)[-1]))
    numbers = np.full(y.shape, -1) if held_out is None else held_out
    problems = _Draws(*(torch.tensor(array, device=device) for array in (x, y, values, numbers)))
    width = problems.classes * problems.design.shape[2]
    start = torch.zeros(len(problems.penalty), width, dtype=torch.float64, device=device)
    end = minimize(problems, start, tolerance=tolerance, max_iterations=_MAX_ITERATIONS)
    solutions = end.x.view(len(x), problems.folds, -1, problems.classes, problems.design.shape[2])
    solutions = solutions - solutions.mean(3, keepdim=True)  # a common offset of the classes changes no probability
    rotated = solutions[..., :-1] @ problems.directions[:, None, None].mT
    return torch.cat([rotated, solutions[..., -1:]], -1).cpu().numpy()


class _Draws:
    """The G * F * S regressions as `aekit.evaluation.linear._lbfgs.Problems`, in the order of draw, fold and strength."""

    def __init__(self, x: Tensor, y: Tensor, strengths: Tensor, held_out: Tensor) -> None:
        (draws, count, _), self.target = x.shape, y
        self.classes, self.folds = int(y.max()) + 1, max(1, int(held_out.max()) + 1)
        seen = torch.arange(self.folds, device=x.device)[:, None] != held_out[:, None]  # (G, F, N)
        self.seen, self.counts = seen.flatten(0, 1).to(x.dtype), seen.sum(2).double().flatten()
        self.per_fold, self.per_draw = strengths.shape[1], self.folds * strengths.shape[1]
        weight = 2.0 if self.classes == 2 else 1.0
        inverse = strengths[:, None] * self.counts.view(draws, self.folds, 1)
        self.penalty = (weight / inverse).flatten()
        # Along the principal directions the preconditioner is diagonal, and the penalty is the same.
        products = x.double().mT @ x.double() / count
        variances, self.directions = torch.linalg.eigh(products)
        rotated = x @ self.directions.to(x.dtype)
        self.design = torch.cat([rotated, rotated.new_ones(draws, count, 1)], 2)
        self.squares = self.design.square()
        ones = variances.new_ones(draws, 1)
        curvature = torch.cat([variances.clamp(min=0), ones], 1) / self.classes  # as at zero
        self.curvature = curvature.repeat_interleave(self.per_draw, 0)[:, None].repeat(1, self.classes, 1)

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        weights, fold = x.view(len(which), self.classes, -1), which // self.per_fold
        rows = self.design[which // self.per_draw]  # (A, N, D + 1)
        losses, residual = softmax_loss(weights.to(rows.dtype) @ rows.mT, self.target[which // self.per_draw][:, None])
        seen, counts, decay = self.seen[fold], self.counts[fold], self.penalty[which]
        value = (losses * seen).sum(1, dtype=torch.float64) / counts
        gradient = ((residual * seen[:, None]) @ rows).double() / counts[:, None, None]
        gradient[..., :-1] += decay[:, None, None] * weights[..., :-1]
        return value + decay / 2 * weights[..., :-1].square().sum((1, 2)), gradient.flatten(1)

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        scale = self.curvature[which]
        scale[..., :-1] += self.penalty[which][:, None, None]
        return (gradient.view_as(scale) / scale).flatten(1)

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        draw = which // self.per_draw
        p = (x.view(len(which), self.classes, -1).to(self.design.dtype) @ self.design[draw].mT).softmax(1)
        curvature = (p * (1 - p)) @ self.squares[draw] / self.design.shape[1]
        self.curvature[which] = curvature.double().clamp(min=1e-8)
