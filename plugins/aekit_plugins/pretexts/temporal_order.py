"""Temporal order: in which order are the segments of the clip or series?"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.classification import classification_head, classification_loss, format_predictions
from aekit.nn.permutations import distant_permutations
from aekit.nn.tiles import TileCells, cut_segments
from aekit.objectives.base import Pretext
from aekit.plugin import Encoder, Field

SHORT = 5
"""Samples of fewer steps are cut into two segments, as three with a step left out between them need as many."""


class TemporalOrder(Pretext):
    """Segments of the sample are shown in order or not, and the network says whether, or which order it is.

    The paper encodes frame by frame. Here the encoder is given the shuffled sample as a whole: it takes clips and series, it is
    their course in time that its embedding is to hold, and how things move within a segment helps to tell what came before.
    Between segments some time is left out, so that there is a jump at each joint, in order or not; what is left is stretched
    to the length that the encoder takes.

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
        parts: Annotated[
            int | None, Field(ge=2, le=5, description=f"segments; by default 3, and 2 for samples under {SHORT} steps")
        ] = None,
        question: Annotated[
            Literal["which", "whether"],
            Field(description="which of all orders it is; or whether it is in order, as half of the samples are"),
        ] = "which",
        gap: Annotated[float, Field(ge=0, le=0.5, description="time left out at a joint, as a share of a part")] = 0.1,
        jitter: Annotated[float, Field(ge=0, le=0.5, description="of a segment's start, as a share of a part")] = 0.1,
        width: Annotated[int, Field(ge=0, description="of the hidden layer that answers; 0: none")] = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if not spec.is_temporal:
            raise ValueError(f"expected series (C, T) or clips (C, T, H, W), found {spec}")
        parts = parts or (2 if spec.shape[1] < SHORT else 3)
        self.cells = TileCells.partition(spec.shape[1], parts, gap, jitter, smallest=1)
        # The first is the identity.
        self.register_buffer("orders", distant_permutations(parts, math.factorial(parts)).clone(), persistent=False)
        self.names = ["in order", *("-".join(str(part + 1) for part in order) for order in self.orders[1:].tolist())]
        self.whether = question == "whether"
        self.head = classification_head(encoder.dim, width, 2 if self.whether else len(self.names))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        seen, drawn = self.shuffle(x, generator)
        return classification_loss(self.head(self.encoder.encode(seen)), drawn.clamp(max=1) if self.whether else drawn)

    def shuffle(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, *shape) as it is shown, and (B,) in which of the orders that is; 0: in its own."""
        drawn = torch.randint(0, len(self.orders), (len(x),), generator=generator, device=x.device)
        if self.whether:
            other = torch.randint(1, len(self.orders), (len(x),), generator=generator, device=x.device)
            drawn = torch.where(torch.rand(len(x), generator=generator, device=x.device) < 0.5, 0, other)
        starts = self.cells.starts(self.orders[drawn], generator)
        return resample_steps(cut_segments(x, starts, self.cells.piece), x.shape[2]), drawn

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        seen, drawn = self.shuffle(x, generator)
        logits = self.head(self.encoder.encode(seen))
        return {
            "sample": x,
            "shown": seen,
            "is": [self.names[number] for number in drawn.tolist()],
            "network says": format_predictions(logits, ("in order", "shuffled") if self.whether else self.names),
        }


def resample_steps(x: Tensor, steps: int) -> Tensor:
    """Series (B, C, T) or clips (B, C, T, H, W) of another number of steps, interpolated between the nearest two."""
    rows = x.flatten(3) if x.ndim > 3 else x[..., None]  # (B, C, T, R)
    return F.interpolate(rows, size=(steps, rows.shape[3]), mode="bilinear").view(*x.shape[:2], steps, *x.shape[3:])
