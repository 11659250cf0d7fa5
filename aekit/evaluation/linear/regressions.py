"""Logistic regressions as problems for the minimizer: their values, gradients and curvature, for many at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

_LOGITS = 2**18
"""Logits held at a time: they stay in the cache."""
_SAMPLE = 5000
"""Samples that the curvature is looked at with."""
_FACTORED = 2048
"""Widest features whose covariance is factored to precondition the search."""

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Regressions:
    """Some of the regressions as `aekit.evaluation.linear.lbfgs.Problems`; P = C * (D + 1), the intercept last in each row.

    Args:
        design: (N, D + 1).
        target: (N,) class numbers, or (N, C) of 0 and 1.
        c: number of classes.
        penalty: (S,) on the squared coefficients, beside the mean cross-entropy.
        variances, directions: as `spectrum` gives.
        loss: of (A, C, B) logits and the B targets -> (A, B) losses and (A, C, B) their derivatives.
        seen: (S, N) which samples each sees, 1 or 0; None: all.
        counts: (S,) how many.
    """

    def __init__(
        self,
        design: Tensor,
        target: Tensor,
        c: int,
        penalty: Tensor,
        variances: Tensor,
        directions: Tensor | None,
        *,
        loss: Loss,
        seen: Tensor | None,
        counts: Tensor,
    ) -> None:
        self.design, self.target, self.c, self.penalty, self.directions = design, target, c, penalty, directions
        self.loss, self.seen, self.counts = loss, seen, counts
        # At zero the cross-entropy bends by 1 / C, along whatever changes the probabilities; that of one label by 1 / 4.
        bends = c if loss is softmax_loss else 4
        self.curvature = (torch.cat([variances, variances.new_ones(1)]) / bends).repeat(len(penalty), c, 1)
        self.sample = design[:: -(-len(design) // _SAMPLE)]
        self.squares = torch.cat([self._turn(self.sample[:, :-1]), self.sample[:, -1:]], dim=1).square()

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = x.view(len(which), self.c, -1)
        value, gradient = self._mean_loss(which, weights)
        decay = self.penalty[which]
        gradient[..., :-1] += decay[:, None, None] * weights[..., :-1]
        return value + decay / 2 * weights[..., :-1].square().sum((1, 2)), gradient.flatten(1)

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        shaped = gradient.view(len(which), self.c, -1)
        curvature = self.curvature[which]
        inner = self._turn(shaped[..., :-1]) / (curvature[..., :-1] + self.penalty[which][:, None, None])
        return torch.cat([self._turn(inner, back=True), shaped[..., -1:] / curvature[..., -1:]], dim=2).flatten(1)

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        flat = x.view(len(which) * self.c, -1).to(self.sample.dtype)
        logits = (flat @ self.sample.T).view(len(which), self.c, -1)
        p = logits.softmax(1) if self.loss is softmax_loss else logits.sigmoid()
        bend = (p * (1 - p)).flatten(0, 1) @ self.squares / len(self.sample)
        self.curvature[which] = bend.double().clamp(min=1e-8).view(len(which), self.c, -1)

    def _mean_loss(self, which: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(A, C, D + 1) float64 -> means (A,) over the samples, and their gradients, added up in float64 block by block."""
        a, c, width = weights.shape
        flat = weights.reshape(a * c, width).to(self.design.dtype)
        value = weights.new_zeros(a)
        gradient = weights.new_zeros(a * c, width)
        block = max(256, _LOGITS // (a * c))
        for start in range(0, len(self.design), block):
            rows, own = self.design[start : start + block], self.target[start : start + block]
            logits = (flat @ rows.T).view(a, c, len(rows))  # classes before samples: sums over classes run along memory
            losses, residual = self.loss(logits, own)
            if self.seen is not None:
                seen = self.seen[which, start : start + block]
                losses, residual = losses * seen, residual * seen[:, None]
            value += losses.sum(1, dtype=torch.float64)
            gradient += residual.reshape(a * c, len(rows)) @ rows
        counts = self.counts[which]
        return value / counts, gradient.view(a, c, width) / counts.view(-1, 1, 1)

    def _turn(self, rows: Tensor, back: bool = False) -> Tensor:
        """(..., D) to the principal directions, or back."""
        if self.directions is None:
            return rows
        return (rows.to(self.directions.dtype) @ (self.directions.T if back else self.directions)).to(rows.dtype)


def softmax_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of one class a sample, (B,) class numbers."""
    picked = target.expand(len(logits), 1, -1)
    log_p = logits.log_softmax(1)
    losses = -log_p.gather(1, picked)[:, 0]
    return losses, log_p.exp_().scatter_add_(1, picked, log_p.new_full(picked.shape, -1.0))


def sigmoid_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropies of several labels a sample, (B, C) of 0 and 1, added up."""
    truth = target.T
    return (softplus(logits) - truth * logits).sum(1), logits.sigmoid() - truth


def principal_directions(design: Tensor) -> tuple[Tensor, Tensor | None]:
    """The principal directions of the features, from a sample, for they are only a guide.

    Returns:
        (D,) variances and (D, D) directions in columns; None stands for the axes, where factoring would take too long.
    """
    rows = design[:: -(-len(design) // 20_000), :-1]
    if rows.shape[1] > _FACTORED:
        return rows.square().mean(0).double(), None
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
    return variances.double().clamp(min=0), directions
