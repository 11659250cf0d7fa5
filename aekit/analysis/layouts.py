"""Places in the plane for vectors of any width: principal components, t-SNE, UMAP. Seeded, so that a map can be drawn again."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np

from aekit.errors import AekitError, DataError, RecipeError

Method = Literal["auto", "pca", "tsne", "umap"]

PERPLEXITY = 30.0
"""Neighbors that t-SNE keeps near."""
NEIGHBORS = 15
"""Neighbors that UMAP keeps near."""


def project(code: np.ndarray, method: str = "auto", *, seed: int = 0) -> tuple[np.ndarray, str]:
    """Places for vectors, and what they are, in words.

    Args:
        code: (N, D), N at least 3, D at least 2, finite.
        method: ``pca``, the two directions of the largest variance; ``tsne`` (van der Maaten and Hinton, Visualizing data
            using t-SNE, 2008); ``umap`` (McInnes, Healy and Melville, UMAP, 2018), which needs an extra package; ``auto``, the
            vectors themselves where they have two numbers, else ``tsne``. The two in the middle keep neighbors together:
            distances between far groups, and their sizes, mean little.
        seed: of t-SNE and UMAP.

    Returns:
        (N, 2) float64, and a phrase such as ``t-SNE``.

    Raises:
        DataError: fewer vectors, or narrower ones.
        RecipeError: another method.
        AekitError: UMAP without its package.
    """
    code = np.asarray(code, np.float64)
    if code.ndim != 2 or len(code) < 3 or code.shape[1] < 2:
        raise DataError(f"embeddings of shape {code.shape}: a map needs 3 samples of 2 numbers at least")
    if method not in get_args(Method):
        raise RecipeError([f"method = {method!r}: expected {', '.join(get_args(Method))}"])
    if method == "auto" and code.shape[1] == 2:
        return code, "the code itself"
    plane, share = pca_projection(code)
    if method == "pca":
        return plane, f"principal components ({100 * share:.0f} % of the variance)"
    if method == "umap":
        return _umap(code, plane, seed), "UMAP"
    return _tsne(code, plane, seed), "t-SNE"


def pca_projection(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """(N, D) -> (N, 2), the two directions of the largest variance, and the share of the variance that they hold."""
    centerd = rows - rows.mean(0)
    total = float(np.square(centerd).sum())
    if len(rows) < rows.shape[1]:  # the smaller of the two products has the same directions
        values, left = np.linalg.eigh(centerd @ centerd.T)
        plane = left[:, :-3:-1] * np.sqrt(values[:-3:-1].clip(0))
    else:
        left, sizes, _ = np.linalg.svd(centerd, full_matrices=False)
        plane = left[:, :2] * sizes[:2]
    return plane, float(np.square(plane).sum()) / total if total > 0 else 1.0


def _tsne(code: np.ndarray, plane: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    # Started from the principal components, so that what lies apart at large stays so (Kobak and Berens, 2019).
    start = plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(PERPLEXITY, (len(code) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=-1)
    return layout.fit_transform(code.astype(np.float32)).astype(np.float64)


def _umap(code: np.ndarray, plane: np.ndarray, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a seed costs threads, and numba what it will drop some day
        try:
            from umap import UMAP
        except ImportError:
            raise AekitError("UMAP needs a package of its own: pip install 'aekit[maps]'") from None
        start = 10 * plane / max(float(np.abs(plane).max()), 1e-12)
        settings: dict[str, Any] = {"n_neighbors": min(NEIGHBORS, len(code) - 1), "init": start.astype(np.float32)}
        layout = UMAP(random_state=seed, n_jobs=1, **settings)
        return np.asarray(layout.fit_transform(code.astype(np.float32)), np.float64)


NEAR = 8
"""Neighbors that are shown of a sample."""
