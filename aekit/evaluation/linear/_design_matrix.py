"""Prepare features for linear models: centered, scaled, with a column of ones for the intercept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.errors import DataError

MAX_FLOAT64_SIZE = 2**21
"""Size of the features up to which float64 is used, because it costs next to nothing."""
_ROWS = 4096


def design_of(
    x: np.ndarray | Tensor, device: torch.device | None = None, *, standardize: bool = True, single: bool = False
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Standardize features and append a column of ones.

    Args:
        x: (N, D).
        device: device of the result; default: a GPU if there is one.
        standardize: False leaves the features unchanged.
        single: return float32 even if the features are small.

    Returns:
        (N, D + 1) float32, or float64 if small; (D,) the mean; (D,) one over the standard deviation, 0 for constant columns.

    Raises:
        DataError: features that are not finite.
    """
    features = x if isinstance(x, Tensor) else to_tensor(np.asarray(x))
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count, width = features.shape
    mean, square = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for rows in features.split(_ROWS):
        mean += rows.double().cpu().sum(0) / count
    for rows in features.split(_ROWS):
        square += (rows.double().cpu() - mean).square().sum(0) / count
    if not mean.isfinite().all() or not square.isfinite().all():
        raise DataError(f"features of shape ({count}, {width}): some are not finite; expected finite numbers")
    deviation = square.sqrt()
    scale = torch.where(deviation > 1e-6 * mean.abs(), 1 / deviation.clamp(min=1e-300), torch.zeros(()).double())
    if not standardize:
        mean, scale = torch.zeros_like(mean), torch.ones_like(scale)
    double = not single and features.numel() <= MAX_FLOAT64_SIZE and device.type != "mps"
    dtype = torch.float64 if double else torch.float32
    design = torch.ones(count, width + 1, dtype=dtype, device=device)
    for start, rows in zip(range(0, count, _ROWS), features.split(_ROWS)):
        design[start : start + _ROWS, :-1] = ((rows.double().cpu() - mean) * scale).to(dtype)
    return design, mean.numpy(), scale.numpy()


class Span(NamedTuple):
    """Principal axes of the span of fewer samples than features, in which the best coefficients of a linear model lie.

    Attributes:
        coordinates: (N, R) the features along the axes, of the dtype of the features; R at most N.
        variances: (R,) float64 mean squares of the features along the axes, ascending.
        weights: (N, R) float64; each axis is the sum of the samples with these weights.
    """

    coordinates: Tensor
    variances: Tensor
    weights: Tensor

    def coefficients(self, along: Tensor, features: Tensor) -> Tensor:
        """Return (..., D) coefficients of (N, D) features whose coordinates along the axes are (..., R)."""
        return (along.double() @ self.weights.T).to(features.dtype) @ features


def span_of(features: Tensor) -> Span | None:
    """Find the span of (N, D) features; None if N is not below D, or where factoring fails."""
    if len(features) >= features.shape[1] or features.device.type == "mps":
        return None
    products = features.new_zeros(len(features), len(features), dtype=torch.float64)
    for columns in features.split(_ROWS, dim=1):
        products += columns.double() @ columns.double().T
    try:
        values, vectors = torch.linalg.eigh(products)
    except torch.linalg.LinAlgError:
        return None
    kept = values > 1e-12 * values[-1].clamp(min=1e-300)
    if not kept.any() or not vectors.isfinite().all():
        return None
    values, vectors = values[kept], vectors[:, kept]
    lengths = values.sqrt()
    return Span((vectors * lengths).to(features.dtype), values / len(features), vectors / lengths)
