"""A source of labeled vectors: concentric rings, rotated into a space of more dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np

from aekit.plugin import ArraySource, DataError, Field, SampleSpec, Source


def open_rings(
    where: str,
    like: SampleSpec | None = None,
    *,
    rings: Annotated[int, Field(ge=2, description="number of rings, which are the classes")] = 3,
    width: Annotated[int, Field(ge=2, description="dimensions of the space")] = 10,
    noise: Annotated[float, Field(ge=0, description="standard deviation from the ring; rings are 1 apart")] = 0.1,
) -> Source:
    """Open ``rings:300``: 300 vectors of 3 classes, the same at every opening.

    Raises:
        DataError: `where` is not a number of samples.
    """
    if not where.isdigit() or int(where) == 0:
        raise DataError(f"rings:{where}: expected a number of samples, such as rings:300")
    source = np.random.default_rng(0)
    plane, _ = np.linalg.qr(source.standard_normal((width, 2)))
    ring = np.arange(int(where)) % rings
    angle = 2 * np.pi * source.random(len(ring))
    radius = 1 + ring + noise * source.standard_normal(len(ring))
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (N, 2)
    return ArraySource((points @ plane.T).astype(np.float32), labels=np.asarray([f"ring-{number}" for number in ring]))


def example(folder: Path) -> str:
    """Return an example for the conformance kit to open."""
    return "30"
