"""The part of an encoder that embedding needs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.encoder.embedded_rows import Rows
from aekit.encoder.inference import Precision
from aekit.progress import Progress


class Embedder(Protocol):
    """What embedding needs of an encoder: a protocol, because `aekit.encoder.encoder.Encoder` imports `embed_samples`."""

    @property
    def spec(self) -> SampleSpec: ...
    @property
    def dim(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def device(self) -> torch.device: ...
    def eval(self) -> Any: ...
    def copy_to(self, folder: Path) -> None: ...
    def __call__(self, raw: torch.Tensor) -> torch.Tensor: ...


class EmbedsBatches(Protocol):
    """What engines need of `aekit.encoder.embedding.BatchEmbedder`, whose module imports them."""

    encoder: Embedder
    source: Source
    batch_size: int | None
    precision: Precision
    strict: bool
    progress: Progress

    @property
    def batch(self) -> int: ...
    def vectors(self, rows: np.ndarray) -> Generator[tuple[np.ndarray, np.ndarray, list[str]], None, None]: ...
    def rows(self, indices: np.ndarray, vectors: np.ndarray, hashes: Sequence[str]) -> Rows: ...
