"""Few points of many numbers, by as few numbers as they need."""

from __future__ import annotations

import numpy as np

BLOCK = 4096
"""Columns that are held in float64 at once."""


def project_to_span(points: np.ndarray) -> np.ndarray:
    """The same points from the same origin in an orthonormal basis of what they span: lengths, angles, distances, means and
    singular values stay what they are, to rounding. N points of D numbers need no more than N.

    Args:
        points: (N, D).

    Returns:
        (N, N) of the same dtype where that is half of D or less, and otherwise `points`.
    """
    count, width = points.shape
    if 2 * count > width:
        return points
    products = np.zeros((count, count))
    for start in range(0, width, BLOCK):
        block = points[:, start : start + BLOCK].astype(np.float64)
        products += block @ block.T
    values, vectors = np.linalg.eigh(products)
    return (vectors * np.sqrt(values.clip(0))).astype(points.dtype)
