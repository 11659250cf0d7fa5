"""Ridge regression for every regularization strength at once: the linear probe for numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aekit.evaluation.linear._design_matrix import design_of

_ROWS = 8192


@dataclass(frozen=True)
class RidgePath:
    """Ridge regressions of several strengths on one data set, with features standardized by the training part.

    Attributes:
        strengths: (S,) inverse regularization: one over scikit-learn's ``alpha``.
        coef: (S, D) coefficients of the standardized features.
        intercept: mean of the training targets.
        mean: (D,) mean of the training features.
        scale: (D,) one over their standard deviation; 0 for constant columns.
    """

    strengths: np.ndarray
    coef: np.ndarray
    intercept: float
    mean: np.ndarray
    scale: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return (S, N) predictions for (N, D) features."""
        blocks = [x[start : start + _ROWS] for start in range(0, len(x), _ROWS)]
        parts = [self.coef @ ((rows - self.mean) * self.scale).T + self.intercept for rows in blocks]
        return np.concatenate(parts, axis=1)


def fit_ridge(
    x: np.ndarray, y: np.ndarray, strengths: Sequence[float] | np.ndarray, *, device: torch.device | None = None
) -> RidgePath:
    """Minimize ``C * sum of squared errors + |coef|^2`` with a free intercept, for all C by one factorization.

    Args:
        x: (N, D) training features.
        y: (N,) targets.
        strengths: (S,) values of ``C``, above 0.
        device: device to compute on; default: a GPU if there is one.

    Raises:
        DataError: features that are not finite.
    """
    design, mean, scale = design_of(x, device)
    center = float(np.mean(y, dtype=np.float64))
    target = torch.as_tensor(np.asarray(y, np.float64) - center, device=design.device)
    inverse = torch.as_tensor(1 / np.asarray(strengths, np.float64), device=design.device)[:, None]
    features = design[:, :-1]
    blocks = [(features[at : at + _ROWS].double(), target[at : at + _ROWS]) for at in range(0, len(features), _ROWS)]
    if features.shape[1] <= len(features):
        eigenvalues, axes = torch.linalg.eigh(torch.stack([rows.T @ rows for rows, _ in blocks]).sum(0))
        projected = torch.stack([rows.T @ values for rows, values in blocks]).sum(0) @ axes  # (D,)
        coef = (projected / (eigenvalues.clamp(min=0) + inverse)) @ axes.T
    else:  # the same from the Gram matrix, which is smaller
        rows = features.double()
        eigenvalues, axes = torch.linalg.eigh(rows @ rows.T)
        coef = ((target @ axes) / (eigenvalues.clamp(min=0) + inverse)) @ (axes.T @ rows)
    return RidgePath(np.asarray(strengths, np.float64), coef.cpu().numpy(), center, mean, scale)
