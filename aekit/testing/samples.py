"""Make small synthetic samples of every kind, deterministically, from three latent factors."""

from __future__ import annotations

import numpy as np

from aekit.data.spec import Kind, SampleSpec

SPECS: dict[Kind, SampleSpec] = {
    "vector": SampleSpec("vector", (20,), "float32"),
    "series": SampleSpec("series", (2, 16), "float32"),
    "image": SampleSpec("image", (1, 8, 8), "uint8"),
    "clip": SampleSpec("clip", (1, 4, 8, 8), "uint8"),
}
"""Samples that plugins are tested on. Images are square, for tasks that rotate them."""

COLOR = SampleSpec("image", (3, 8, 8), "uint8")
"""Samples for image plugins that refuse gray images."""

SHAPES: dict[Kind, list[tuple[int, ...]]] = {
    "vector": [(1,), (2,), (7,), (33,)],
    "series": [(1, 8), (3, 13), (5, 50)],
    "image": [(1, 8, 8), (3, 13, 13), (5, 28, 20), (1, 9, 17)],
    "clip": [(1, 4, 8, 8), (3, 5, 13, 10)],
}
"""Shapes that backbones must support or refuse: small, odd-sized and elongated ones, of one, three and five channels."""

FACTORS = 3


def low_rank(spec: SampleSpec, count: int = 256, seed: int = 0) -> np.ndarray:
    """Make samples (count, *spec.shape) of spec.dtype, of rank 3 about their mean.

    Integers are squashed to 0..255, with enough contrast for cross-entropy to decrease.
    """
    source = np.random.default_rng([seed, spec.size])
    factors = source.standard_normal((count, FACTORS))
    patterns = source.standard_normal((FACTORS, spec.size))
    rows = factors @ patterns + 2 * source.standard_normal(spec.size)
    if np.dtype(spec.dtype).kind in "ui":
        rows = 127.5 * (1 + np.tanh(rows))
    return rows.astype(spec.dtype).reshape(count, *spec.shape)


def blobs(
    count: int, classes: int, dim: int = 8, distance: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Make vectors (count, dim) float32 around one center per class, and class names (count,), in random order.

    At a distance of 1 classes overlap; at 4 they are well separated.
    """
    source = np.random.default_rng([seed, dim, classes])
    numbers = source.permutation(np.arange(count) % classes)
    centers = distance * source.standard_normal((classes, dim))
    vectors = centers[numbers] + source.standard_normal((count, dim))
    return vectors.astype(np.float32), np.asarray([f"class-{number}" for number in numbers])
