"""Samples with their labels, ids and splits, on their way from a file format or a container to a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from aekit.data.metadata import Metadata


@dataclass(frozen=True)
class ImagesOnDemand:
    """Images that a function returns one at a time.

    Attributes:
        count: number of images.
        item: returns the image at a position.
    """

    count: int
    item: Callable[[int], Image.Image]


@dataclass(frozen=True)
class Contents:
    """Samples, not yet opened.

    Attributes:
        samples: an array (N, ...), a table of N rows, N encoded images as bytes or paths, or images on demand.
        labels: (N,) or None.
        ids: (N,) unique ids, or None.
        splits: (N,) or None.
        notes, losses: as in `aekit.plugin.Source`.
        place: where they come from, for messages.
        blocks: (K + 1,) as in `aekit.plugin.Source`, of encoded images; or None.
        metadata: as in `aekit.plugin.Source`.
    """

    samples: np.ndarray | pa.Table | Sequence[bytes | Path] | ImagesOnDemand
    labels: np.ndarray | None = None
    ids: Sequence[str] | None = None
    splits: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    place: str = "the data"
    blocks: np.ndarray | None = None
    metadata: Metadata | None = None
