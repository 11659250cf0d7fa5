"""Logistic regressions as problems of the minimizer: values, gradients and curvature of many at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aekit.nn.pca import leading_directions

_LOGITS, _FEATURES = 2**18, 2**19
"""Logits and features in memory at a time: they stay in the cache."""
_SAMPLE = 5000
"""Samples that the curvature is estimated from."""
_MAX_FACTORED = 2048
"""Width of the features up to which their covariance is factored to precondition the search."""
_LEADING = 256
"""Principal directions of wider features that precondition it."""

_COUPLED, _MIN_COUPLED = 400, 8
"""Coefficients of all classes whose Hessian is factored, and the directions that must at least be among them."""
_DAMPING = 1e-3
"""Fraction of its diagonal that is added to that Hessian, as it is that of a sample and is singular along equal coefficients."""
_ROUNDING = 1e-6
"""Fraction of its largest entry that is added too: float32 rounds by less."""

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Regressions:
    """Regressions as `aekit.evaluation.linear._lbfgs.Problems`; P = C * (D + 1), the intercept last in each row.

    Args:
        design: (N, D + 1).
        target: (N,) class numbers, or (N, C) of 0 and 1.
        c: number of classes.
        penalty: (S,) weight of the squared coefficients, added to the mean cross-entropy.
        variances, directions: what `principal_directions` returns.
        loss: (A, C, B) logits and B targets -> (A, B) losses and their (A, C, B) derivatives.
        coupled: whether the preconditioner knows how the coefficients along the leading directions depend on each other, which
            pays for a few problems that start near their minima and have many steps to go.
        seen: (S, N) 1 for samples that a regression is fitted on, 0 for others; None: all samples.
        counts: (S,) number of samples of each regression.
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
        coupled: bool,
        seen: Tensor | None,
        counts: Tensor,
    ) -> None:
        self.design, self.target, self.c, self.penalty, self.directions = design, target, c, penalty, directions
        self.loss, self.seen, self.counts = loss, seen, counts
        # At zero the curvature of the cross-entropy is 1 / C along whatever changes the probabilities; of one label 1 / 4.
        divisor = c if loss is softmax_loss else 4
        self.curvature = (torch.cat([variances, variances.new_ones(1)]) / divisor).repeat(len(penalty), c, 1)
        self.sample = design[:: -(-len(design) // _SAMPLE)]
        self.squares = self._squares(self.sample[:, :-1], self.sample[:, -1:])
        self.leading, self.factors = None, dict[int, Tensor]()
        count = min(_COUPLED // c - 1, len(variances))
        if coupled and loss is softmax_loss and directions is None and count >= min(_MIN_COUPLED, len(variances)):
            self.leading = torch.cat([variances.topk(count).indices, torch.tensor([len(variances)]).to(design.device)])

    def evaluate(self, which: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = x.view(len(which), self.c, -1)
        value, gradient = self._mean_loss(which, weights)
        decay = self.penalty[which]
        gradient[..., :-1] += decay[:, None, None] * weights[..., :-1]
        return value + decay / 2 * weights[..., :-1].square().sum((1, 2)), gradient.flatten(1)

    def precondition(self, which: Tensor, gradient: Tensor) -> Tensor:
        shaped = gradient.view(len(which), self.c, -1)
        curvature = self.curvature[which]
        scale = curvature[..., :-1] + self.penalty[which][:, None, None]
        if self.directions is None:
            inner = shaped[..., :-1] / scale
        else:
            count = self.directions.shape[1]
            rotated = self._rotate(shaped[..., :-1])
            inner = self._rotate(rotated / scale[..., :count], back=True)
            if count < shaped.shape[2] - 1:  # what lies in no direction has one curvature
                inner += (shaped[..., :-1] - self._rotate(rotated, back=True)) / scale[..., count:]
        result = torch.cat([inner, shaped[..., -1:] / curvature[..., -1:]], dim=2)
        for place, number in enumerate(which.tolist() if self.factors else ()):
            if (factor := self.factors.get(number)) is not None:
                solved = torch.cholesky_solve(shaped[place][:, self.leading].reshape(-1, 1), factor)
                result[place][:, self.leading] = solved.view(self.c, -1)
        return result.flatten(1)

    def update_preconditioner(self, which: Tensor, x: Tensor) -> None:
        flat = x.view(len(which) * self.c, -1).to(self.sample.dtype)
        logits = (flat @ self.sample.T).view(len(which), self.c, -1)
        p = logits.softmax(1) if self.loss is softmax_loss else logits.sigmoid()
        curvature = (p * (1 - p)).flatten(0, 1) @ self.squares / len(self.sample)
        self.curvature[which] = curvature.double().clamp(min=1e-8).view(len(which), self.c, -1)
        if self.leading is not None:
            for number, probabilities in zip(which.tolist(), p):
                factor, failure = torch.linalg.cholesky_ex(self._leading_hessian(probabilities, self.penalty[number]))
                if not failure:
                    self.factors[number] = factor

    def _leading_hessian(self, p: Tensor, penalty: Tensor) -> Tensor:
        """Return the (C * L, C * L) Hessian along the leading directions and the intercept, given (C, N) probabilities."""
        assert self.leading is not None
        features = self.sample[:, self.leading].float()  # (N, L)
        weighted = p.float()[:, None] * features.T  # (C, L, N)
        hessian = -(weighted.flatten(0, 1) @ weighted.flatten(0, 1).T).double()
        for place, block in enumerate((weighted @ features).double()):
            rows = slice(place * len(block), (place + 1) * len(block))
            hessian[rows, rows] += block
        hessian /= len(features)
        diagonal = hessian.diagonal()
        diagonal *= 1 + _DAMPING
        diagonal += _ROUNDING * diagonal.max()
        diagonal.view(self.c, -1)[:, :-1] += penalty
        return hessian

    def _mean_loss(self, which: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean losses (A,) and their gradients at (A, C, D + 1) float64, summed in float64 block by block."""
        a, c, width = weights.shape
        flat = weights.reshape(a * c, width).to(self.design.dtype)
        value = weights.new_zeros(a)
        gradient = weights.new_zeros(a * c, width)
        block = max(256, min(_LOGITS // (a * c), _FEATURES // width))
        for start in range(0, len(self.design), block):
            rows, target = self.design[start : start + block], self.target[start : start + block]
            logits = _product(flat, rows.T).view(a, c, len(rows))  # classes before samples: their sums are contiguous
            losses, residual = self.loss(logits, target)
            if self.seen is not None:
                seen = self.seen[which, start : start + block]
                losses, residual = losses * seen, residual * seen[:, None]
            value += losses.sum(1, dtype=torch.float64)
            gradient += _product(residual.reshape(a * c, len(rows)), rows)
        counts = self.counts[which]
        return value / counts, gradient.view(a, c, width) / counts.view(-1, 1, 1)

    def _squares(self, features: Tensor, ones: Tensor) -> Tensor:
        """Return the squares of (N, D) features along each direction, on average along all others if there are any, and of 1."""
        if self.directions is None:
            return torch.cat([features.square(), ones], dim=1)
        squares, width = self._rotate(features).square(), features.shape[1] - self.directions.shape[1]
        others = (features.square().sum(1, keepdim=True) - squares.sum(1, keepdim=True)).clamp(min=0) / max(1, width)
        return torch.cat([squares, others[:, : min(width, 1)], ones], dim=1)

    def _rotate(self, rows: Tensor, back: bool = False) -> Tensor:
        """Rotate (..., D) to the K principal directions, or (..., K) back."""
        assert self.directions is not None
        return (rows.to(self.directions.dtype) @ (self.directions.T if back else self.directions)).to(rows.dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices, in float64 on a CPU by NumPy's OpenBLAS: for a few rows it takes half of the time of MKL on AMD's."""
    if a.dtype == torch.float64 and a.device.type == "cpu":
        return torch.from_numpy(a.numpy() @ b.numpy())
    return a @ b


def softmax_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy for one class per sample, (B,) class numbers, and its derivatives."""
    picked = target.expand(len(logits), 1, -1)
    log_p = logits.log_softmax(1)
    losses = -log_p.gather(1, picked)[:, 0]
    return losses, log_p.exp_().scatter_add_(1, picked, log_p.new_full(picked.shape, -1.0))


def sigmoid_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed binary cross-entropies for several labels per sample, (B, C) of 0 and 1, and their derivatives."""
    labels = target.T
    return (softplus(logits) - labels * logits).sum(1), logits.sigmoid() - labels


def principal_directions(design: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the principal directions of a sample of the features; they precondition the search.

    The covariance is factored in float64 and without constant columns: in float32, LAPACK returns NaN or fails for wide
    features of low rank, depending on the number of threads.

    Args:
        design: (N, D + 1) standardized features, the last column ones.

    Returns:
        (D,) variances, and (D, D) directions in columns; or (K + 1,) variances along K leading directions (D, K) and on average
        along all others, where the features are wide; or None for the axes, where factoring fails.
    """
    rows = design[:: -(-len(design) // 20_000), :-1]
    variances = rows.double().square().mean(0)
    if rows.device.type == "mps":
        return variances, None
    if rows.shape[1] > _MAX_FACTORED:
        leading = leading_directions(rows, _LEADING)
        if leading is None:
            return variances, None
        values, directions = leading
        if len(values) == rows.shape[1]:
            return leading
        others = (variances.sum() - values.sum()).clamp(min=0) / (rows.shape[1] - len(values))
        return torch.cat([values, others[None]]), directions
    varying = variances.nonzero()[:, 0]
    features = rows[:, varying].double()
    try:
        values, vectors = torch.linalg.eigh(features.T @ features / len(rows))
    except torch.linalg.LinAlgError:
        return variances, None
    if not (values.isfinite().all() and vectors.isfinite().all()):
        return variances, None
    directions = torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
    directions[varying[:, None], varying] = vectors
    variances = torch.zeros_like(variances).index_copy(0, varying, values.clamp(min=0))
    return variances, directions.to(design.dtype)
