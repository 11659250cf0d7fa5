"""Relative position: where does the second patch lie, seen from the first?"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from aekit.nn.classification import classification_head, classification_loss, format_predictions
from aekit.nn.tiles import TileCells, cut_tiles, match_image_statistics, paste_tiles, random_grayscale, resize_tiles
from aekit.objectives.base import Pretext
from aekit.plugin import Encoder, Field

NAMES = ("up left", "up", "up right", "left", "right", "down left", "down", "down right")
"""Where the cells about the middle of a 3 x 3 grid lie, in reading order."""
MIDDLE = 4


class RelativePosition(Pretext):
    """The network sees the middle one of 3 x 3 patches and one of its 8 neighbors, each by itself, and says which one.

    The middle patch lies where it lies whichever neighbor is asked for, so that it alone tells nothing. Between patches there
    are gaps, their places vary, each has the mean and the deviation of the whole image, and a share of color images is
    seen in gray, against the color fringes of lenses. A patch is enlarged to the size that the encoder takes.

    Raises:
        ValueError: samples that are not images, or too small to be cut.

    Doersch, Gupta and Efros, Unsupervised visual representation learning by context prediction, 2015.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        gap: Annotated[
            float, Field(ge=0, le=0.5, description="between patches, as a share of a third of a side")
        ] = 0.1,
        jitter: Annotated[float, Field(ge=0, le=0.5, description="of a patch's place, as a share of a third")] = 0.1,
        gray: Annotated[float, Field(ge=0, le=1, description="share of color images that are seen in gray")] = 0.3,
        width: Annotated[int, Field(ge=0, description="of the hidden layer that answers; 0: none")] = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if not spec.is_image:
            raise ValueError(f"expected images (C, H, W), found {spec}")
        self.rows, self.columns = (TileCells.partition(side, 3, gap, jitter) for side in spec.shape[1:])
        self.gray = gray
        self.head = classification_head(2 * encoder.dim, width, len(NAMES))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        patches, _, neighbors = self.pairs(x, generator)
        return classification_loss(self.logits(patches), neighbors)

    def pairs(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Patches (B, 2, C, h, w), the middle one first; top and left of each, (B, 2); and (B,) which neighbor it is."""
        neighbors = torch.randint(0, len(NAMES), (len(x),), generator=generator, device=x.device)
        # In reading order, the middle cell stands between the fourth neighbor and the fifth.
        other = neighbors + (neighbors >= MIDDLE)
        cells = torch.stack([torch.full_like(other, MIDDLE), other], 1)
        corners = self.rows.starts(cells // 3, generator), self.columns.starts(cells % 3, generator)
        x = random_grayscale(x, self.gray, generator)
        return (
            match_image_statistics(cut_tiles(x, *corners, self.rows.piece, self.columns.piece), x),
            corners,
            neighbors,
        )

    def logits(self, patches: Tensor) -> Tensor:
        """(B, 2, C, h, w) -> (B, 8) logits."""
        codes = self.encoder.encode(resize_tiles(patches, self.encoder.spec.shape[1:]))
        return self.head(codes.view(len(patches), -1))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        patches, corners, neighbors = self.pairs(x, generator)
        seen = resize_tiles(patches, x.shape[2:]).unflatten(0, patches.shape[:2])
        places = cut_tiles(x, *corners, self.rows.piece, self.columns.piece)
        # The rest is drawn pale, so that the patches stand out, dark ones too.
        middle = (x.amin((-2, -1), keepdim=True) + x.amax((-2, -1), keepdim=True)) / 2
        return {
            "two patches": paste_tiles(places, *corners, middle + 0.35 * (x - middle)),
            "middle patch": seen[:, 0],
            "other patch": seen[:, 1],
            "other lies": [NAMES[number] for number in neighbors.tolist()],
            "network says": format_predictions(self.logits(patches), NAMES),
        }
