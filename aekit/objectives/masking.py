"""Shared parts of tasks that mask samples: fill values, and means over masked entries."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.registry.options import Field

FillValue = Literal["token", "mean", "zero"]
FillOption = Annotated[
    FillValue,
    Field(
        description="fill value of each channel inside the mask: token, a learned value that starts at the mean of the "
        "training samples; mean, that mean; zero, on the preprocessed scale"
    ),
]

MAX_SAMPLES = 10_000
"""Approximate maximum number of evenly spaced samples that the mean is computed from."""


class MaskFill(nn.Module):
    """Fills masked entries with one value per channel."""

    value: Tensor

    def __init__(self, encoder: Encoder, fill: FillValue) -> None:
        super().__init__()
        self.fill, zeros = fill, torch.zeros_like(encoder.preprocess.scale)
        if fill == "token":
            self.value = nn.Parameter(zeros)
        else:
            self.register_buffer("value", zeros)

    @torch.no_grad()
    def start(self, samples: Samples, encoder: Encoder) -> None:
        """Set the value from the training samples before the first step."""
        if self.fill != "zero":
            self.value.copy_(training_mean(samples, encoder))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Fill (B, *shape) where `hidden`, a bool mask that broadcasts to it, is True."""
        return torch.where(hidden, self.value, x)


def masked_mean(entries: Tensor, mask: Tensor) -> Tensor:
    """Return means (B,) of entries (B, *shape) where a bool mask, which broadcasts to them, is True; 0 if it never is."""
    mask = mask.expand_as(entries).flatten(1)
    return torch.where(mask, entries.flatten(1), 0.0).sum(1) / mask.sum(1).clamp(min=1)


def training_mean(samples: Samples, encoder: Encoder) -> Tensor:
    """Return the mean of the training samples on the preprocessed scale: (C, 1, ...), or (D,) for vectors."""
    shape = encoder.preprocess.scale.shape
    total, count = torch.zeros(shape, dtype=torch.float64), 0
    axes = (0,) if encoder.spec.is_vector else (0, *range(2, len(encoder.spec.shape) + 1))
    for raw in samples.chunks(max_samples=MAX_SAMPLES):
        x = encoder.preprocess(raw).double()
        total, count = total + x.sum(axes).reshape(shape).cpu(), count + x.numel() // shape.numel()
    return (total / count).to(encoder.device, torch.float32)
