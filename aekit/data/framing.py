"""Resize and crop images for pretrained networks, as torchvision's Resize and CenterCrop do, in whole pixels.

Pretrained networks were trained and evaluated on images that were prepared this way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aekit.data._cropping import Size, crop_geometry
from aekit.data.resampling import resampling_weights
from aekit.data.spec import Kernel, SampleSpec


def preprocessing_advice(spec: SampleSpec, target_size: Size, crop_pct: float, squash: bool, kernel: Kernel) -> str:
    """Advise how to read images so that a pretrained network gets the input it was trained with; "" if they are read so.

    Args:
        spec: spec of the samples.
        target_size: as `Framing`.
        crop_pct: as `Framing`.
        squash: as `Framing`.
        kernel: as `Framing`.
    """
    notes = []
    if spec.shape[1:] != target_size:
        notes.append(
            f"samples of {spec.shape[1]}x{spec.shape[2]} are resized to its input of {target_size[0]}x{target_size[1]}"
        )
    resize = "stretch" if squash and crop_pct == 1 else "torchvision"
    if spec.resize and (spec.shape[1:], spec.resize, spec.crop_pct, spec.interpolation) != (
        target_size,
        resize,
        crop_pct,
        kernel,
    ):
        side = target_size[0] if target_size[0] == target_size[1] else list(target_size)
        settings = {"size": side, "resize": resize, "crop_pct": crop_pct, "interpolation": kernel}
        advice = ", ".join(f"{name} = {value!r}" for name, value in settings.items())
        notes.append(f"its pretrained weights expect images read with {advice}")
    return "; ".join(notes)


def per_channel(values: Sequence[float], channels: int) -> list[float]:
    """Return a value for each channel: the given ones, or their mean if their number differs."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


class Framing(nn.Module):
    """Resize, crop and normalize samples in [0, 1] for a pretrained network.

    Samples of its input size are not resized. Resizing multiplies by a constant matrix along each side, so that an exported
    network does not depend on another implementation of it.

    Args:
        input_size: (height, width) of the samples.
        target_size: (height, width) of the network's input.
        mean: mean of each of C channels.
        std: standard deviation of each of C channels.
        crop_pct: as `crop_geometry`.
        squash: as `crop_geometry`.
        kernel: kernel of the resampling.
    """

    mean: Tensor
    std: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        input_size: Size,
        target_size: Size,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        crop_pct: float = 1.0,
        squash: bool = False,
        kernel: Kernel = "bicubic",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))
        self.fits = input_size == target_size
        self.input_size, self.target_size, self._kernel = input_size, target_size, kernel
        if not self.fits:
            sides, corner = crop_geometry(input_size, target_size, crop_pct, squash=squash)
            for name, before, after, start, length in zip(("rows", "columns"), input_size, sides, corner, target_size):
                weights = resampling_weights(before, after, kernel)[start : start + length].float()
                self.register_buffer(name, weights, persistent=False)  # follows from the architecture

    def without_crop(self) -> Framing:
        """Return one of the same sizes and normalization that resizes the whole image, whose sides' ratio may change."""
        mean, std = (values.flatten().tolist() for values in (self.mean, self.std))
        return Framing(self.input_size, self.target_size, mean, std, squash=True, kernel=self._kernel).to(
            self.mean.device
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (B, C, H, W) in [0, 1] to (B, C, height, width), channels last in memory."""
        if torch.is_autocast_enabled(x.device.type):  # bfloat16 is too coarse for pixels
            with torch.autocast(x.device.type, enabled=False):
                return self._frame(x.float())
        return self._frame(x)

    def _frame(self, x: Tensor) -> Tensor:
        if not self.fits:
            x = self.rows @ x @ self.columns.T
        # Convolutions on a CPU were measured 1.2 to 2.1 times as fast in this memory format.
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
