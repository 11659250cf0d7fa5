"""Temporal order: predict the order of the shuffled segments of a clip or series."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.classification import HeadWidth, classification_head, classification_loss, format_predictions
from aekit.nn.permutations import distant_permutations
from aekit.nn.tiles import Gap, Jitter, TileCells, cut_segments
from aekit.plugin import Encoder, Field, Pretext

SHORT = 5
"""Samples with fewer steps are cut into two segments; three with a gap of one step between them need this many."""


class TemporalOrder(Pretext):
    """Show segments of the sample in order or shuffled, and predict whether they are in order, or in which order.

    The paper encodes frame by frame. Here the encoder gets the shuffled sample as a whole, because its embedding should
    describe the course in time, and motion within a segment helps to tell what came before. Some time is dropped between
    segments, so that every joint has a jump, in order or not; the rest is stretched to the encoder's input length.

    Raises:
        ValueError: samples without time, or too short to be cut.

    Misra, Zitnick and Hebert, Shuffle and learn: unsupervised learning using temporal order verification, 2016; which order it
    is: Lee, Huang, Singh and Yang, Unsupervised representation learning by sorting sequences, 2017.
    """

    orders: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        segments: Annotated[
            int | None,
            Field(ge=2, le=5, description=f"number of segments; by default 3, or 2 for samples under {SHORT} steps"),
        ] = None,
        gap: Gap = 0.1,
        jitter: Jitter = 0.1,
        question: Annotated[
            Literal["which", "whether"],
            Field(
                description="which: predict the order; whether: predict whether it is in order, as half of the samples are"
            ),
        ] = "which",
        width: HeadWidth = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        spec.require("series", "clip")
        segments = segments or (2 if spec.shape[1] < SHORT else 3)
        self.cells = TileCells.partition(spec.shape[1], segments, gap, jitter, smallest=1)
        # The first is the identity.
        self.register_buffer(
            "orders", distant_permutations(segments, math.factorial(segments)).clone(), persistent=False
        )
        self.names = [
            "in order",
            *("-".join(str(segment + 1) for segment in order) for order in self.orders[1:].tolist()),
        ]
        self.whether = question == "whether"
        self.head = classification_head(encoder.dim, width, 2 if self.whether else len(self.names))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        shuffled, drawn = self.shuffle(x, generator)
        return classification_loss(
            self.head(self.encoder.encode(shuffled)), drawn.clamp(max=1) if self.whether else drawn
        )

    def shuffle(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return shuffled samples (B, *shape) and the indices (B,) of their orders; 0: the original order."""
        drawn = torch.randint(0, len(self.orders), (len(x),), generator=generator, device=x.device)
        if self.whether:
            other = torch.randint(1, len(self.orders), (len(x),), generator=generator, device=x.device)
            drawn = torch.where(torch.rand(len(x), generator=generator, device=x.device) < 0.5, 0, other)
        starts = self.cells.starts(self.orders[drawn], generator)
        return resample_steps(cut_segments(x, starts, self.cells.piece), x.shape[2]), drawn

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        shuffled, drawn = self.shuffle(x, generator)
        logits = self.head(self.encoder.encode(shuffled))
        return {
            "sample": x,
            "shuffled": shuffled,
            "order": [self.names[number] for number in drawn.tolist()],
            "network predicts": format_predictions(logits, ("in order", "shuffled") if self.whether else self.names),
        }


def resample_steps(x: Tensor, steps: int) -> Tensor:
    """Resample series (B, C, T) or clips (B, C, T, H, W) to another number of steps, by linear interpolation in time."""
    rows = x.flatten(3) if x.ndim > 3 else x[..., None]  # (B, C, T, R)
    return F.interpolate(rows, size=(steps, rows.shape[3]), mode="bilinear").view(*x.shape[:2], steps, *x.shape[3:])
