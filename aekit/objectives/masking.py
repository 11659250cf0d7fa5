"""What tasks share that hide a part of each sample: what stands in its place, and errors that count where it was hidden."""

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
        description="what stands in place of what is hidden, in each channel: token, a learned value that starts at the mean of "
        "the training samples; that mean; or zero on the preprocessed scale"
    ),
]

MOST = 10_000
"""The mean comes from at most about this many samples, evenly spaced."""


class MaskFill(nn.Module):
    """Puts a value of its own for each channel in place of what is hidden."""

    value: Tensor

    def __init__(self, encoder: Encoder, fill: FillValue) -> None:
        super().__init__()
        self.fill, nothing = fill, torch.zeros_like(encoder.preprocess.scale)
        if fill == "token":
            self.value = nn.Parameter(nothing)
        else:
            self.register_buffer("value", nothing)

    @torch.no_grad()
    def start(self, samples: Samples, encoder: Encoder) -> None:
        """Looks at the training samples, before the first step."""
        if self.fill != "zero":
            self.value.copy_(training_mean(samples, encoder))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, *shape) and a bool mask that broadcasts to it -> (B, *shape)."""
        return torch.where(hidden, self.value, x)


def masked_mean(entries: Tensor, chosen: Tensor) -> Tensor:
    """(B,) means of (B, *shape) entries where a bool mask, which broadcasts to them, is True; 0 where it nowhere is."""
    chosen = chosen.expand_as(entries).flatten(1)
    return torch.where(chosen, entries.flatten(1), 0.0).sum(1) / chosen.sum(1).clamp(min=1)


def training_mean(samples: Samples, encoder: Encoder) -> Tensor:
    """The mean of the training samples on the preprocessed scale: (C, 1, ...), or (D,) for vectors."""
    shape = encoder.preprocess.scale.shape
    total, count = torch.zeros(shape, dtype=torch.float64), 0
    over = (0,) if encoder.spec.is_vector else (0, *range(2, len(encoder.spec.shape) + 1))
    for raw in samples.chunks(max_samples=MOST):
        x = encoder.preprocess(raw).double()
        total, count = total + x.sum(over).reshape(shape).cpu(), count + x.numel() // shape.numel()
    return (total / count).to(encoder.device, torch.float32)
