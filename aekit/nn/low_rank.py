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


def principal_axes(centered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal axes of centered points, exactly, from the smaller of their two matrices of products.

    Args:
        centered: (N, D) float64 with mean 0.

    Returns:
        the variances (K,) along the axes, ascending, and the axes (D, K), orthonormal; K is D, or for fewer points than
        dimensions at most N, as axes without variance are left out.
    """
    count, width = centered.shape
    if count >= width:
        return np.linalg.eigh(centered.T @ centered / count)
    values, vectors = np.linalg.eigh(centered @ centered.T / count)
    kept = values > 1e-12 * max(float(values[-1]), 1e-300)
    return values[kept], centered.T @ (vectors[:, kept] / np.sqrt(count * values[kept]))
