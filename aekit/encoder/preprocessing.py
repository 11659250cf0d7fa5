"""From a raw sample to the numbers that the network sees: one affine map, fixed by the training data.

It runs on the device, inside the encoder and inside its exports, so that everybody who has the encoder scales alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.errors import RecipeError

Mode = Literal["unit", "standard", "none"]

MOST = 100_000
"""Statistics come from at most about this many samples, evenly spaced."""


class Preprocess(nn.Module):
    """``raw * scale + shift``, per channel (per column for vectors), as float32.

    Attributes:
        mode: ``unit`` maps the range of the data to [0, 1]; ``standard`` to mean 0 and deviation 1; ``none`` leaves it.
        unit: whether the result lies in [0, 1], so that a sample can be read as probabilities.
        scale, shift: (C, 1, ...) or (D,).
        low, high: the training data's extremes, on the network's scale; same shape.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, mode: Mode, unit: bool, scale: Tensor, shift: Tensor, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.mode, self.unit = mode, unit
        for name, value in {"scale": scale, "shift": shift, "low": low, "high": high}.items():
            self.register_buffer(name, value.float())

    def forward(self, raw: Tensor) -> Tensor:
        """(B, *shape) raw -> (B, *shape) float32."""
        return raw.to(torch.float32) * self.scale + self.shift

    def inverse(self, x: Tensor) -> Tensor:
        """(B, *shape) on the network's scale -> float32 in the data's units."""
        return (x - self.shift) / self.scale

    def raw_range(self) -> tuple[Tensor, Tensor]:
        """The extremes of the training data in its own units, each (C, 1, ...) or (D,) float64."""
        return self.inverse(self.low).double(), self.inverse(self.high).double()

    def to_dict(self) -> dict[str, Any]:
        return {"mode": self.mode, "unit": self.unit}

    @classmethod
    def from_dict(cls, record: dict[str, Any], spec: SampleSpec) -> Preprocess:
        """An empty one, whose buffers a saved encoder's weights will fill."""
        return cls(record["mode"], record["unit"], *(torch.ones(_profile_shape(spec)) for _ in range(4)))


def fit_preprocess(samples: Samples, mode: Mode | Literal["auto"] = "auto") -> tuple[Preprocess, str]:
    """Chooses the scaling from training samples, and says why.

    Args:
        samples: of the training split only.
        mode: ``auto`` takes ``unit`` for integers (images, counts) and for floats within [0, 1], ``standard`` for the
            rest.

    Returns:
        the preprocessing, and a phrase for people.
    """
    spec = samples.spec
    low, high, mean, deviation = _moments(samples)
    whole = np.dtype(spec.dtype).kind in "ui"
    in_unit = bool(low.min() >= 0 and high.max() <= 1)
    if mode == "auto":
        mode = "unit" if in_unit or (whole and spec.is_visual) else "standard"
    ones, zeros = torch.ones_like(low), torch.zeros_like(low)
    if mode == "none" or (mode == "unit" and in_unit and not whole):
        scale, shift, why = ones, zeros, "values are used as they are"
    elif mode == "unit":
        # 8-bit images keep their natural range whatever the sample's extremes: black is 0 and white is 1.
        bottom, top = (0.0, 255.0) if spec.dtype == "uint8" else (low.min().item(), high.max().item())
        scale, shift = ones / max(top - bottom, 1e-12), ones * (-bottom / max(top - bottom, 1e-12))
        why = f"{bottom:g}..{top:g} is scaled to 0..1"
    elif mode == "standard":
        scale = torch.where(deviation > 1e-12 * mean.abs().clamp(min=1e-30), 1 / deviation, ones)
        shift = -mean * scale
        what = "column" if spec.is_vector else "channel"
        why = f"each {what} is scaled to mean 0 and deviation 1"
    else:
        raise RecipeError([f"encoder.scaling = {mode!r}: should be 'auto', 'unit', 'standard' or 'none'"])
    unit = mode == "unit" or (mode == "none" and in_unit)
    return Preprocess(mode, unit, scale, shift, low * scale + shift, high * scale + shift), why


def _profile_shape(spec: SampleSpec) -> tuple[int, ...]:
    return spec.shape if spec.is_vector else (spec.shape[0],) + (1,) * (len(spec.shape) - 1)


def _moments(samples: Samples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Minimum, maximum, mean and standard deviation in float64 on the CPU, each of the profile's shape."""
    shape = _profile_shape(samples.spec)
    over = (0,) if samples.spec.is_vector else (0, *range(2, len(samples.spec.shape) + 1))
    low, high = torch.full(shape, torch.inf, dtype=torch.float64), torch.full(shape, -torch.inf, dtype=torch.float64)
    count, mean, square = 0, torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for raw in samples.chunks(max_samples=MOST):
        chunk = raw.double()
        low = torch.minimum(low, chunk.amin(over).reshape(shape).cpu())
        high = torch.maximum(high, chunk.amax(over).reshape(shape).cpu())
        # Chan's parallel update: exact where a sum of squares would lose everything to a large mean.
        n = chunk.numel() // mean.numel()
        here = chunk.mean(over).reshape(shape).cpu()
        spread = chunk.var(over, correction=0).reshape(shape).cpu() * n
        delta = here - mean
        square += spread + delta**2 * count * n / (count + n)
        mean += delta * n / (count + n)
        count += n
    return low, high, mean, (square / count).sqrt()
