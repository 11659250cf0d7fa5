"""Project vectors to the plane by principal components, t-SNE or UMAP, reproducibly."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from aekit.errors import AekitError, DataError, RecipeError, importing
from aekit.shared_settings import warning_rules

Method = Literal["auto", "pca", "tsne", "umap"]

UNPROJECTED = "embeddings"
"""Name of the layout of two-dimensional vectors that are not projected."""
MIN_VECTORS = 3
"""Vectors that a layout needs."""
PERPLEXITY = 30.0
"""Effective number of neighbors that t-SNE preserves."""
NEIGHBORS = 15
"""Neighbors that UMAP preserves."""
NEIGHBORS_SHOWN = 8
"""Neighbors that a map shows of a sample."""


def project(
    vectors: np.ndarray, method: str = "auto", *, seed: int = 0, iterations: int = 1000
) -> tuple[np.ndarray, str]:
    """Project vectors to the plane.

    Args:
        vectors: (N, D), N at least 3, D at least 2, finite.
        method: ``pca``, the two directions of largest variance; ``tsne`` (van der Maaten and Hinton, Visualizing data using
            t-SNE, 2008); ``umap`` (McInnes, Healy and Melville, UMAP, 2018), which needs an extra package; ``auto``, the
            vectors themselves if they have two dimensions, else ``tsne``. t-SNE and UMAP keep neighbors together; distances
            between clusters and sizes of clusters mean little in them.
        seed: seed of t-SNE and UMAP.
        iterations: of t-SNE.

    Returns:
        (N, 2) float64, and the name of the layout, such as ``t-SNE``.

    Raises:
        DataError: fewer than 3 vectors or fewer than 2 dimensions.
        RecipeError: another method.
        AekitError: UMAP is not installed.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) < MIN_VECTORS or vectors.shape[1] < 2:
        raise DataError(
            f"embeddings of shape {vectors.shape}: a map needs at least {MIN_VECTORS} samples and 2 dimensions"
        )
    if method not in get_args(Method):
        raise RecipeError([f"method = {method!r}: expected {', '.join(get_args(Method))}"])
    if method == "auto" and vectors.shape[1] == 2:
        return vectors, UNPROJECTED
    plane, explained = pca_projection(vectors)
    if method == "pca":
        return plane, f"principal components ({100 * explained:.0f}% of the variance)"
    if method == "umap":
        return _umap(vectors, plane, seed), "UMAP"
    return _tsne(vectors, plane, seed, iterations), "t-SNE"


def pca_projection(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Project (N, D) rows to (N, 2), the two directions of largest variance, and return the fraction of the variance in them."""
    centered = rows - rows.mean(0)
    total = float(np.square(centered).sum())
    if len(rows) < rows.shape[1]:  # the smaller of the two products has the same directions
        values, left = np.linalg.eigh(centered @ centered.T)
        plane = left[:, :-3:-1] * np.sqrt(values[:-3:-1].clip(0))
    else:
        left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
        plane = left[:, :2] * sizes[:2]
    return plane, float(np.square(plane).sum()) / total if total > 0 else 1.0


def _tsne(vectors: np.ndarray, plane: np.ndarray, seed: int, iterations: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    # Start from the principal components, which preserves the global structure (Kobak and Berens, 2019).
    start = plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=-1)
    # scikit-learn 1.5 renamed n_iter.
    layout.set_params(**{"max_iter" if "max_iter" in layout.get_params() else "n_iter": iterations})
    return np.asarray(layout.fit_transform(vectors.astype(np.float32)), np.float64)


def _umap(vectors: np.ndarray, plane: np.ndarray, seed: int) -> np.ndarray:
    # UMAP warns that a seed costs threads, numba of its deprecations.
    with warning_rules(("ignore", "", Warning)):
        with importing("the layout umap needs umap-learn", "pip install 'aekit[maps]'", AekitError):
            from umap import UMAP
        start = 10 * plane / max(float(np.abs(plane).max()), 1e-12)
        settings: dict[str, Any] = {"n_neighbors": min(NEIGHBORS, len(vectors) - 1), "init": start.astype(np.float32)}
        layout = UMAP(random_state=seed, n_jobs=1, **settings)
        return np.asarray(layout.fit_transform(vectors.astype(np.float32)), np.float64)
