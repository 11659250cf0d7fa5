"""Features made ready for linear models: centerd, scaled, with a column of ones for the intercept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.errors import DataError

SMALL = 2**21
"""Numbers in the features up to which everything is done in float64, because it costs next to nothing."""
_ROWS = 4096


def design_of(
    x: np.ndarray | Tensor, device: torch.device | None = None, *, standardize: bool = True
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Standardized features with a last column of ones.

    Args:
        x: (N, D).
        device: where to hold them; default: a GPU where there is one.
        standardize: otherwise they are taken as they are.

    Returns:
        (N, D + 1) float32, or float64 where that costs little; (D,) their mean; (D,) one over their deviation, 0 for
        columns that do not change.

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
    dtype = torch.float64 if features.numel() <= SMALL and device.type != "mps" else torch.float32
    design = torch.ones(count, width + 1, dtype=dtype, device=device)
    for start, rows in zip(range(0, count, _ROWS), features.split(_ROWS)):
        design[start : start + _ROWS, :-1] = ((rows.double().cpu() - mean) * scale).to(dtype)
    return design, mean.numpy(), scale.numpy()
