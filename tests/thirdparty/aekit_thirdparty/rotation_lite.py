"""A pretext task: rotate each image by 0 to 3 quarter turns, and predict how many from the encoder's code."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from aekit.plugin import Encoder, Field, Pretext


class RotationLite(Pretext):
    """Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018.

    Raises:
        ValueError: samples that are not square images.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        width: Annotated[int, Field(ge=1, description="width of the hidden layer of the classifier")] = 32,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if spec.kind != "image" or spec.shape[1] != spec.shape[2]:
            raise ValueError(f"expected square images (C, S, S), found {spec}")
        self.head = nn.Sequential(nn.Linear(encoder.dim, width), nn.ReLU(), nn.Linear(width, 4))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the cross-entropy, and the accuracy, of images (B, C, S, S)."""
        turns = torch.randint(0, 4, (len(x),), generator=generator, device=x.device)
        rotated = torch.stack([x.rot90(quarters, (2, 3)) for quarters in range(4)])  # (4, B, C, S, S)
        logits = self.head(self.encoder.encode(rotated[turns, torch.arange(len(x), device=x.device)])).float()
        accuracy = (logits.argmax(1) == turns).float().mean()
        return {"loss": nn.functional.cross_entropy(logits, turns), "accuracy": accuracy}
