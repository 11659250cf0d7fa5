"""Exact dimension reduction of few points in many dimensions."""

from __future__ import annotations

import numpy as np

BLOCK = 4096
"""Columns converted to float64 at a time."""


def project_to_span(points: np.ndarray) -> np.ndarray:
    """Express points in an orthonormal basis of their span, in at most as many dimensions as there are points.

    Lengths, angles, distances and singular values are preserved up to rounding.

    Args:
        points: (N, D).

    Returns:
        (N, N) of the same dtype if N is at most D / 2, otherwise `points`.
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
