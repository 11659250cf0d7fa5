"""The shape and type of one sample, and how what is of another size is brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aekit.mathematics.resampling import Kernel

Kind = Literal["vector", "series", "image", "clip"]
Resize = Literal["crop", "pad", "stretch", "torchvision"]


@dataclass(frozen=True)
class SampleSpec:
    """The shape and type of one raw sample.

    Attributes:
        kind: ``vector`` (D,), ``series`` (C, T), ``image`` (C, H, W) or ``clip`` (C, T, H, W).
        shape: without the batch dimension, channels first.
        dtype: numpy's name of the raw dtype.
        resize: how what is of another size is brought to `shape`. Pictures and frames: ``crop`` (shorter side resized, centre
            kept), ``pad`` (longer side resized, edges zero), ``stretch``, or ``torchvision`` (as its Resize and CenterCrop, in
            whole pixels); series: ``stretch``, or ``pad`` (cut at the end, or the last value repeated). None where sizes must
            agree already.
        share: of the shorter side that ``crop`` and ``torchvision`` keep.
        interpolation: of pictures that are resized.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    resize: Resize | None = None
    share: float = 1.0
    interpolation: Kernel = "bicubic"

    @property
    def size(self) -> int:
        """Numbers in one sample."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.size * np.dtype(self.dtype).itemsize

    def record(self) -> dict[str, Any]:
        """As plain values; how pictures are resized is left out where it is as usual."""
        found = {"kind": self.kind, "shape": list(self.shape), "dtype": self.dtype, "resize": self.resize}
        unusual = {name: getattr(self, name) for name in ("share", "interpolation")}
        return found | {name: value for name, value in unusual.items() if value != getattr(SampleSpec, name)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> SampleSpec:
        share, interpolation = record.get("share", cls.share), record.get("interpolation", cls.interpolation)
        return cls(record["kind"], tuple(record["shape"]), record["dtype"], record["resize"], share, interpolation)

    def __str__(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))} {self.dtype}"
