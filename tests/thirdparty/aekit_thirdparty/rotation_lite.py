"""A pretext task: every image is turned by 0 to 3 quarters, and the encoder's code has to tell by how many."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.objectives.base import Pretext
from aekit.plugin import Encoder, Field


class RotationLite(Pretext):
    """Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018.

    Raises:
        ValueError: samples that are not square images.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        width: Annotated[int, Field(ge=1, description="of the hidden layer that tells the turns apart")] = 32,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if spec.kind != "image" or spec.shape[1] != spec.shape[2]:
            raise ValueError(f"expected square images (C, S, S), found {spec}")
        self.head = nn.Sequential(nn.Linear(encoder.dim, width), nn.ReLU(), nn.Linear(width, 4))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, C, S, S) -> cross-entropy, and the share that is told right."""
        turns = torch.randint(0, 4, (len(x),), generator=generator, device=x.device)
        all_ways = torch.stack([x.rot90(quarters, (2, 3)) for quarters in range(4)])  # (4, B, C, S, S)
        told = self.head(self.encoder.encode(all_ways[turns, torch.arange(len(x), device=x.device)])).float()
        right = (told.argmax(1) == turns).float().mean()
        return {"loss": nn.functional.cross_entropy(told, turns), "right": right}
