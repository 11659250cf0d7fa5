"""The part of an encoder that embedding needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from aekit.data.spec import SampleSpec


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
    @property
    def preprocess(self) -> Any: ...
    def eval(self) -> Any: ...
    def copy_to(self, folder: Path) -> None: ...
    def __call__(self, raw: torch.Tensor) -> torch.Tensor: ...
