"""Scale raw samples for the network by one affine map, whose coefficients come from the training data.

It runs on the device, inside the encoder and its exports, so that every user of the encoder scales alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.samples import Samples, to_tensor
from aekit.data.spec import SampleSpec
from aekit.encoder.identity import Mode
from aekit.errors import DataError, RecipeError
from aekit.progress import warn

MOST = 100_000
"""Maximum number of samples, evenly spaced, that statistics come from."""
FAR = 100.0
"""Scaled distance of the origin from which samples are centered in float64: float32 would lose their last digits."""
DARK = 32
"""8-bit images without a value from this one on are probably on another scale."""
ROUNDING = 1e-15
"""Deviations up to this fraction of the mean are rounding errors of a constant."""
WIDE = (1e-30, 1e30)
"""Scales beyond these leave the range of float32 on the way."""


class Preprocess(nn.Module):
    """``raw * scale + shift``, per channel (per column for vectors), as float32.

    Where the data lies far from 0, as seconds since 1970 do, it is ``(raw - center) * factor`` in float64, then float32.

    Attributes:
        mode: ``unit`` scales the range of the data to [0, 1]; ``standard``: to mean 0 and standard deviation 1; ``none``: not
            at all.
        unit: whether the result lies in [0, 1], so that values can be interpreted as probabilities.
        scale, shift: coefficients, (C, 1, ...) or (D,).
        low, high: extremes of the training data after scaling, of the same shape.
        center, factor: float64 coefficients, of the same shape; None: those above are precise enough.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor
    center: Tensor | None
    factor: Tensor | None

    def __init__(
        self,
        mode: Mode,
        unit: bool,
        scale: Tensor,
        shift: Tensor,
        low: Tensor,
        high: Tensor,
        center: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.mode, self.unit = mode, unit
        for name, value in {"scale": scale, "shift": shift, "low": low, "high": high}.items():
            self.register_buffer(name, value.float())
        self.register_buffer("center", None if center is None else center.double())
        self.register_buffer("factor", None if center is None else scale.double())

    def forward(self, raw: Tensor) -> Tensor:
        """Scale raw samples (B, *shape) to float32."""
        if self.center is None or self.factor is None:
            return raw.to(torch.float32) * self.scale + self.shift
        return ((raw.to(torch.float64) - self.center) * self.factor).to(torch.float32)

    @torch.inference_mode()
    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw samples (B, *shape) in the memory of the CPU to float32."""
        return self(to_tensor(raw).to(self.scale.device)).cpu().numpy()

    def inverse(self, x: Tensor) -> Tensor:
        """Map scaled samples (B, *shape) back to the data's units, as float32, or float64 where that is needed."""
        if self.center is None or self.factor is None:
            return (x - self.shift) / self.scale
        return x.to(torch.float64) / self.factor + self.center

    def raw_range(self) -> tuple[Tensor, Tensor]:
        """Return the extremes of the training data in its own units, each (C, 1, ...) or (D,) float64."""
        return self.inverse(self.low).double(), self.inverse(self.high).double()

    def to_dict(self) -> dict[str, Any]:
        """Return what its coefficients do not say, as plain values."""
        centered = {} if self.center is None else {"centered": True}
        return {"mode": self.mode, "unit": self.unit, **centered}

    @classmethod
    def from_dict(cls, record: dict[str, Any], spec: SampleSpec) -> Preprocess:
        """Create one with placeholder coefficients, which the weights of a saved encoder replace."""
        ones = [torch.ones(_coefficient_shape(spec)) for _ in range(5)]
        return cls(record["mode"], record["unit"], *ones[: 5 if record.get("centered") else 4])


def fit_preprocess(samples: Samples, mode: Mode | Literal["auto"] = "auto") -> tuple[Preprocess, str]:
    """Choose the scaling from training samples.

    Args:
        samples: training samples.
        mode: ``auto``: ``unit`` for integer images and clips and for values in [0, 1], else ``standard``.

    Returns:
        the preprocessing, and a phrase that describes it.

    Raises:
        RecipeError: the mode is unknown.
        DataError: the samples hold numbers that the network cannot: beyond float32, or whole ones that float64 would round.
    """
    spec = samples.spec
    low, high, mean, deviation = _moments(samples)
    _check_range(spec, torch.maximum(low.abs(), high.abs()))
    whole = np.dtype(spec.dtype).kind in "ui"
    in_unit = bool(low.min() >= 0 and high.max() <= 1)
    if whole:
        _check_exact(spec, torch.maximum(low.abs(), high.abs()))
    if mode == "auto":
        mode = "unit" if in_unit or (whole and spec.is_visual) else "standard"
    ones, zeros = torch.ones_like(low), torch.zeros_like(low)
    if mode == "none" or (mode == "unit" and in_unit and not whole):
        scale, shift, why = ones, zeros, "values are not scaled"
    elif mode == "unit":
        bottom, top = _byte_range(spec, high) if spec.dtype == "uint8" else (low.min().item(), high.max().item())
        scale, shift = ones / max(top - bottom, 1e-12), ones * (-bottom / max(top - bottom, 1e-12))
        why = "values are not scaled" if (bottom, top) == (0, 1) else f"{bottom:g}..{top:g} is scaled to 0..1"
    elif mode == "standard":
        scale = torch.where(deviation > ROUNDING * mean.abs().clamp(min=1e-300), 1 / deviation, ones)
        shift = -mean * scale
        what = "column" if spec.is_vector else "channel"
        why = f"each {what} is scaled to mean 0 and standard deviation 1"
    else:
        raise RecipeError([f"encoder.scaling = {mode!r}: expected 'auto', 'unit', 'standard' or 'none'"])
    unit = mode == "unit" or (mode == "none" and in_unit)
    far = (shift.abs() > FAR).any() or (scale < WIDE[0]).any() or (scale > WIDE[1]).any()
    center = -shift / scale if far else None
    return Preprocess(mode, unit, scale, shift, low * scale + shift, high * scale + shift, center), why


def _byte_range(spec: SampleSpec, high: Tensor) -> tuple[float, float]:
    """Return the values of black and white in 8-bit samples, whatever their extremes, unless they are masks of 0 and 1."""
    brightest = high.max().item()
    if brightest == 1:
        return 0.0, 1.0
    if spec.is_visual and 1 < brightest < DARK:
        problem = f"the brightest value of the 8-bit images is {brightest:g} of 255, so that all are nearly black"
        warn(f"data: {problem}; if {brightest:g} is white, multiply them by {255 // brightest:g}")
    return 0.0, 255.0


def _check_range(spec: SampleSpec, largest: Tensor) -> None:
    """Reject values that float32, in which networks compute, cannot hold.

    Args:
        spec: of the samples.
        largest: largest absolute value of each coefficient's entries.
    """
    limit = torch.finfo(torch.float32).max
    if largest.max() > limit:
        entry = int(largest.flatten().argmax())
        place = spec.describe_position((entry,)) if spec.is_vector else f"in channel {entry}"
        raise DataError(
            f"value {largest.max():.3g} {place}: beyond the range of float32 ({limit:.2g}); "
            f"divide the values, or use their logarithm"
        )


def _coefficient_shape(spec: SampleSpec) -> tuple[int, ...]:
    return spec.shape if spec.is_vector else (spec.shape[0],) + (1,) * (len(spec.shape) - 1)


def _moments(samples: Samples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return minimum, maximum, mean and standard deviation in float64 on the CPU, each of the coefficients' shape."""
    shape = _coefficient_shape(samples.spec)
    over = (0,) if samples.spec.is_vector else (0, *range(2, len(samples.spec.shape) + 1))
    low, high = torch.full(shape, torch.inf, dtype=torch.float64), torch.full(shape, -torch.inf, dtype=torch.float64)
    count, mean, square = 0, torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    origin: Tensor | None = None
    for raw in samples.chunks(max_samples=MOST):
        chunk = raw.double()
        if origin is None:
            origin = chunk.amin(over, keepdim=True)
        chunk = chunk - origin  # so that the moments of data far from 0 are precise, and those of constants exact
        low = torch.minimum(low, chunk.amin(over).reshape(shape).cpu())
        high = torch.maximum(high, chunk.amax(over).reshape(shape).cpu())
        # Chan's parallel update: exact where a sum of squares would lose precision to a large mean.
        n = chunk.numel() // mean.numel()
        chunk_mean = chunk.mean(over).reshape(shape).cpu()
        spread = chunk.var(over, correction=0).reshape(shape).cpu() * n
        delta = chunk_mean - mean
        square += spread + delta**2 * count * n / (count + n)
        mean += delta * n / (count + n)
        count += n
    assert origin is not None
    start = origin.reshape(shape).cpu()
    return low + start, high + start, mean + start, (square / count).sqrt()


def _check_exact(spec: SampleSpec, largest: Tensor) -> None:
    """Reject whole numbers that float64, in which samples are centered, would round."""
    if largest.max() > 2**53:
        entry = int(largest.flatten().argmax())
        place = spec.describe_position((entry,)) if spec.is_vector else f"in channel {entry}"
        raise DataError(
            f"value {int(largest.max())} {place}: whole numbers beyond 2^53 are rounded by float64; "
            f"subtract the smallest, or divide them"
        )
