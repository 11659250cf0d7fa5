"""Relative position: predict where the second patch lies relative to the first."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.nn.classification import HeadWidth, classification_head, classification_loss, format_predictions
from aekit.nn.tiles import (
    Gap,
    Grayscale,
    Jitter,
    TileCells,
    cut_tiles,
    match_image_statistics,
    paste_tiles,
    random_grayscale,
    resize_tiles,
)
from aekit.plugin import Encoder, Pretext

NAMES = ("up left", "up", "up right", "left", "right", "down left", "down", "down right")
"""Positions of the cells around the middle of a 3 x 3 grid, in reading order."""
MIDDLE = 4


class RelativePosition(Pretext):
    """Encode the middle one of 3 x 3 patches and one of its 8 neighbors, each by itself, and predict which neighbor it is.

    The position of the middle patch does not depend on the neighbor, so it alone reveals nothing. Gaps between patches,
    jittered positions, patches normalized to the mean and standard deviation of the whole image, and some color images in
    grayscale, against chromatic aberration, prevent shortcuts. Patches are resized to the encoder's input size.

    Raises:
        ValueError: samples that are not images, or too small to be cut.

    Doersch, Gupta and Efros, Unsupervised visual representation learning by context prediction, 2015.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        gap: Gap = 0.1,
        jitter: Jitter = 0.1,
        grayscale: Grayscale = 0.3,
        width: HeadWidth = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        spec.require("image")
        self.rows, self.columns = (TileCells.partition(side, 3, gap, jitter) for side in spec.shape[1:])
        self.grayscale = grayscale
        self.head = classification_head(2 * encoder.dim, width, len(NAMES))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        patches, _, neighbors = self.pairs(x, generator)
        return classification_loss(self.logits(patches), neighbors)

    def pairs(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Return patches (B, 2, C, h, w), the middle one first; top and left of each, (B, 2); and the neighbor's index (B,)."""
        neighbors = torch.randint(0, len(NAMES), (len(x),), generator=generator, device=x.device)
        # In reading order, the middle cell comes between the fourth and the fifth neighbor.
        other = neighbors + (neighbors >= MIDDLE)
        cells = torch.stack([torch.full_like(other, MIDDLE), other], 1)
        corners = self.rows.starts(cells // 3, generator), self.columns.starts(cells % 3, generator)
        x = random_grayscale(x, self.grayscale, generator)
        return (
            match_image_statistics(cut_tiles(x, *corners, self.rows.piece, self.columns.piece), x),
            corners,
            neighbors,
        )

    def logits(self, patches: Tensor) -> Tensor:
        """Return logits (B, 8) for patches (B, 2, C, h, w)."""
        codes = self.encoder.encode(resize_tiles(patches, self.encoder.spec.shape[1:]))
        return self.head(codes.view(len(patches), -1))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        patches, corners, neighbors = self.pairs(x, generator)
        resized = resize_tiles(patches, x.shape[2:]).unflatten(0, patches.shape[:2])
        places = cut_tiles(x, *corners, self.rows.piece, self.columns.piece)
        # The rest is drawn pale, so that patches stand out, including dark ones.
        middle = (x.amin((-2, -1), keepdim=True) + x.amax((-2, -1), keepdim=True)) / 2
        return {
            "two patches": paste_tiles(places, *corners, middle + 0.35 * (x - middle)),
            "middle patch": resized[:, 0],
            "other patch": resized[:, 1],
            "position of the other": [NAMES[number] for number in neighbors.tolist()],
            "network predicts": format_predictions(self.logits(patches), NAMES),
        }
