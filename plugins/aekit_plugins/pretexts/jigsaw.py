"""Jigsaw puzzles: in which of a set of orders are the tiles of the image?"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.nn.classification import classification_head, classification_loss, format_predictions
from aekit.nn.permutations import distant_permutations
from aekit.nn.tiles import TileCells, cut_tiles, match_image_statistics, paste_tiles, random_grayscale, resize_tiles
from aekit.objectives.base import Pretext
from aekit.plugin import Encoder, Field

SMALL = 48
"""Images of shorter sides are cut into 2 x 2 tiles, as there is little to see in a ninth of them."""


class Jigsaw(Pretext):
    """The tiles of a grid are shuffled, each is encoded by itself, and the network names the order from all their codes.

    Between tiles there are gaps, their places vary, each has the mean and the deviation of the whole image, and a share of
    color images is seen in gray: neither edges nor brightness nor the color fringes of a lens tell what belongs where.
    A tile is enlarged to the size that the encoder takes; a step costs that of as many samples as there are tiles.

    Raises:
        ValueError: samples that are not images, or too small to be cut.

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016.
    """

    orders: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        grid: Annotated[
            Literal[2, 3] | None,
            Field(description=f"tiles along each side; by default 3, and 2 for images under {SMALL} entries"),
        ] = None,
        orders: Annotated[
            int, Field(ge=2, le=2000, description="to tell apart, far from one another; a 2 x 2 grid has at most 24")
        ] = 100,
        gap: Annotated[float, Field(ge=0, le=0.5, description="between tiles, as a share of a cell of the grid")] = 0.1,
        jitter: Annotated[float, Field(ge=0, le=0.5, description="of a tile's place, as a share of a cell")] = 0.1,
        gray: Annotated[float, Field(ge=0, le=1, description="share of color images that are seen in gray")] = 0.3,
        width: Annotated[int, Field(ge=0, description="of the hidden layer that answers; 0: none")] = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if not spec.is_image:
            raise ValueError(f"expected images (C, H, W), found {spec}")
        self.grid = grid or (2 if min(spec.shape[1:]) < SMALL else 3)
        self.rows, self.columns = (TileCells.partition(side, self.grid, gap, jitter) for side in spec.shape[1:])
        self.gray = gray
        self.register_buffer("orders", distant_permutations(self.grid**2, orders).clone(), persistent=False)
        self.head = classification_head(self.grid**2 * encoder.dim, width, len(self.orders))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        tiles, drawn = self.shuffle(x, generator)
        return classification_loss(self.logits(tiles), drawn)

    def shuffle(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tiles (B, N, C, h, w) in the order in which they are shown, and (B,) which of the orders that is."""
        tops, lefts = self._corners(x, generator)
        x = random_grayscale(x, self.gray, generator)
        tiles = match_image_statistics(cut_tiles(x, tops, lefts, self.rows.piece, self.columns.piece), x)
        drawn = torch.randint(0, len(self.orders), (len(x),), generator=generator, device=x.device)
        return _taken(tiles, self.orders[drawn]), drawn

    def logits(self, tiles: Tensor) -> Tensor:
        """(B, N, C, h, w) -> (B, orders) logits."""
        codes = self.encoder.encode(resize_tiles(tiles, self.encoder.spec.shape[1:]))
        return self.head(codes.view(len(tiles), -1))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        tiles, drawn = self.shuffle(x, generator)
        logits = self.logits(tiles)
        blank, (tops, lefts) = torch.zeros_like(x), self._corners(x, None)
        # Place i shows tile order[i]; sorted by the order, tile i is at place i again.
        answer = _taken(tiles, self.orders[logits.argmax(1)].argsort(1))
        names = [f"order {number + 1}" for number in range(len(self.orders))]
        return {
            "sample": x,
            "shuffled": paste_tiles(tiles, tops, lefts, blank),
            "network puts it so": paste_tiles(answer, tops, lefts, blank),
            "is": [names[number] for number in drawn.tolist()],
            "network says": format_predictions(logits, names),
        }

    def _corners(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """(B, N) each: top and left of every tile, drawn, or in the middle of its cell without a generator."""
        cells = torch.arange(self.grid**2, device=x.device).expand(len(x), -1)
        tops = self.rows.starts(cells // self.grid, generator)
        return tops, self.columns.starts(cells % self.grid, generator)


def _taken(tiles: Tensor, order: Tensor) -> Tensor:
    """(B, N, ...) with tile `order[b, i]` of each sample at its place i."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
