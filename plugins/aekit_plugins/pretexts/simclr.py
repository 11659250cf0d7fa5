"""SimCLR: identify a sample's other view among all views in the batch."""

from __future__ import annotations

from typing import Annotated, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.augment.presets import CropOptions
from aekit.nn.gather import gather
from aekit.objectives.joint_embedding import (
    JointEmbeddingTask,
    force_float32,
    mlp,
    nearest_is_pair,
    project_together,
    projection_std,
)
from aekit.plugin import Encoder, Field


class SimCLR(JointEmbeddingTask):
    """Encode and project two views of each sample; the loss is the cross-entropy of identifying a view's partner among all
    other views in the batch by cosine similarity. Larger batches make the task harder and usually improve the embedding.

    Logged: ``pair_accuracy``, the fraction of samples whose first view is nearer to its own second view than to any other;
    ``projection_std``, which is 0 when all projections are identical (collapse).

    Chen, Kornblith, Norouzi and Hinton, A simple framework for contrastive learning of visual representations, 2020.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        temperature: Annotated[float, Field(gt=0, description="divisor of the cosine similarities")] = 0.2,
        hidden: Annotated[int, Field(ge=1, description="width of the projector's hidden layer")] = 512,
        width: Annotated[int, Field(ge=1, description="dimension of the projections")] = 128,
        **views: Unpack[CropOptions],
    ) -> None:
        super().__init__(encoder, mlp(encoder.dim, hidden, width), **views)
        self.temperature = temperature

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        projected = project_together(self.project, *self.two_views(x, generator))
        first, second = gather(*projected)
        return {
            "loss": nt_xent(first, second, self.temperature),
            "pair_accuracy": nearest_is_pair(first, second).float().mean(),
            "projection_std": projection_std(projected[0]),
        }


@force_float32
def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalized, temperature-scaled cross-entropy of identifying each projection's partner, averaged over 2 B.

    Args:
        first, second: (B, P) projections of two views; row i of each belongs to sample i.
        temperature: divisor of the cosine similarities.
    """
    count = len(first)
    both = F.normalize(torch.cat([first, second]), dim=1)
    similarities = (both @ both.T / temperature).fill_diagonal_(-torch.inf)  # (2 B, 2 B); no view is its own partner
    partner = torch.arange(2 * count, device=first.device).roll(count)
    return F.cross_entropy(similarities, partner)
