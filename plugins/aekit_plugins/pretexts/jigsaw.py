"""Jigsaw puzzles: predict the permutation of the shuffled tiles of an image."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.nn.classification import HeadWidth, classification_head, classification_loss, format_predictions
from aekit.nn.permutations import distant_permutations
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
from aekit.plugin import Encoder, Field, Pretext

SMALL = 48
"""Images with a shorter side are cut into 2 x 2 tiles, since a ninth of them shows little."""


class Jigsaw(Pretext):
    """Shuffle the tiles of a grid, encode each tile by itself, and predict the permutation from all their codes.

    Gaps between tiles, jittered positions, tiles normalized to the mean and standard deviation of the whole image, and some
    color images in grayscale prevent shortcuts by edges, brightness or chromatic aberration. Tiles are resized to the
    encoder's input size; a step costs as much as one on as many samples as there are tiles.

    Raises:
        ValueError: samples that are not images, or too small to be cut.

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016.
    """

    permutations: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        grid: Annotated[
            Literal[2, 3] | None,
            Field(description=f"tiles along each side; by default 3, or 2 for images under {SMALL} pixels"),
        ] = None,
        permutations: Annotated[
            int,
            Field(ge=2, le=2000, description="number of permutations, chosen far apart; a 2 x 2 grid has at most 24"),
        ] = 100,
        gap: Gap = 0.1,
        jitter: Jitter = 0.1,
        grayscale: Grayscale = 0.3,
        width: HeadWidth = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        spec.require("image")
        self.grid = grid or (2 if min(spec.shape[1:]) < SMALL else 3)
        self.rows, self.columns = (TileCells.partition(side, self.grid, gap, jitter) for side in spec.shape[1:])
        self.grayscale = grayscale
        self.register_buffer("permutations", distant_permutations(self.grid**2, permutations).clone(), persistent=False)
        self.head = classification_head(self.grid**2 * encoder.dim, width, len(self.permutations))

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        tiles, drawn = self.shuffle(x, generator)
        return classification_loss(self.logits(tiles), drawn)

    def shuffle(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return tiles (B, N, C, h, w) in shuffled order, and the indices (B,) of the permutations."""
        tops, lefts = self._corners(x, generator)
        x = random_grayscale(x, self.grayscale, generator)
        tiles = match_image_statistics(cut_tiles(x, tops, lefts, self.rows.piece, self.columns.piece), x)
        drawn = torch.randint(0, len(self.permutations), (len(x),), generator=generator, device=x.device)
        return _permute(tiles, self.permutations[drawn]), drawn

    def logits(self, tiles: Tensor) -> Tensor:
        """Return logits (B, permutations) for tiles (B, N, C, h, w)."""
        codes = self.encoder.encode(resize_tiles(tiles, self.encoder.spec.shape[1:]))
        return self.head(codes.view(len(tiles), -1))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        tiles, drawn = self.shuffle(x, generator)
        logits = self.logits(tiles)
        blank, (tops, lefts) = torch.zeros_like(x), self._corners(x, None)
        # Position i shows tile order[i]; sorted by the order, tile i is at position i again.
        predicted = _permute(tiles, self.permutations[logits.argmax(1)].argsort(1))
        names = [f"order {number + 1}" for number in range(len(self.permutations))]
        return {
            "sample": x,
            "shuffled": paste_tiles(tiles, tops, lefts, blank),
            "order the network predicts": paste_tiles(predicted, tops, lefts, blank),
            "order": [names[number] for number in drawn.tolist()],
            "network predicts": format_predictions(logits, names),
        }

    def _corners(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return top and left of every tile, (B, N) each: random, or centered in its cell without a generator."""
        cells = torch.arange(self.grid**2, device=x.device).expand(len(x), -1)
        tops = self.rows.starts(cells // self.grid, generator)
        return tops, self.columns.starts(cells % self.grid, generator)


def _permute(tiles: Tensor, order: Tensor) -> Tensor:
    """Reorder tiles (B, N, ...) so that position i of sample b holds tile `order[b, i]`."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
