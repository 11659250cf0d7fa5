"""Tiles of images and segments of series, cut with gaps and jitter.

Tasks that ask for the position of a piece have shortcuts: lines that continue across a border, vignetting, chromatic
aberration. These functions remove them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.registry.options import Field

Gap = Annotated[float, Field(ge=0, le=0.5, description="gap between pieces, as a fraction of a cell")]
Jitter = Annotated[float, Field(ge=0, le=0.5, description="jitter of a piece's position, as a fraction of a cell")]
Grayscale = Annotated[float, Field(ge=0, le=1, description="probability of converting a color image to grayscale")]
"""Options of tasks that ask for the position of a piece; they close its shortcuts."""


@dataclass(frozen=True)
class TileCells:
    """Partition of a side into cells with gaps between them, each holding a piece at a random position.

    Attributes:
        first: start of the first cell; the remainder of the side is split between both ends.
        step: distance between the starts of neighboring cells.
        piece: length of a piece.
        jitter: entries by which the position of a piece in its cell varies; 0: fixed.
    """

    first: int
    step: int
    piece: int
    jitter: int

    @classmethod
    def partition(cls, length: int, count: int, gap: float, jitter: float, smallest: int = 2) -> TileCells:
        """Partition a side of `length` entries into `count` cells.

        Args:
            length: of the side.
            count: number of cells.
            gap: between neighboring cells, as a fraction of ``length / count``; at least one entry unless it is 0.
            jitter: of the pieces, as the same fraction; at least one entry, if there is room, unless it is 0.
            smallest: length of a piece.

        Raises:
            ValueError: the side is too short.
        """
        gap_size, play = (max(1, round(fraction * length / count)) if fraction else 0 for fraction in (gap, jitter))
        cell = (length - (count - 1) * gap_size) // count
        if cell < smallest:
            needed = count * smallest + (count - 1) * bool(gap)
            raise ValueError(
                f"expected at least {needed} entries along each side that is cut into {count}, found {length}"
            )
        play = min(play, cell - smallest)
        margin = (length - count * cell - (count - 1) * gap_size) // 2
        return cls(margin, cell + gap_size, cell - play, play)

    def starts(self, numbers: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return random starts of pieces in the given cells, of any shape; without a generator, the centered ones."""
        if generator is None:
            shift = torch.full_like(numbers, self.jitter // 2)
        else:
            shift = torch.randint(0, self.jitter + 1, numbers.shape, generator=generator, device=numbers.device)
        return self.first + self.step * numbers + shift


def cut_tiles(x: Tensor, tops: Tensor, lefts: Tensor, height: int, width: int) -> Tensor:
    """Cut tiles (B, N, C, height, width) out of images (B, C, H, W), with upper left corners `tops` and `lefts` (B, N)."""
    return x.movedim(1, -1)[_entries(tops, lefts, height, width)].movedim(-1, 2)


def paste_tiles(tiles: Tensor, tops: Tensor, lefts: Tensor, canvas: Tensor) -> Tensor:
    """Paste tiles (B, N, C, h, w) onto a copy of `canvas` (B, C, H, W), with corners `tops` and `lefts` (B, N)."""
    images = canvas.clone().movedim(1, -1)
    images[_entries(tops, lefts, *tiles.shape[-2:])] = tiles.movedim(2, -1)
    return images.movedim(-1, 1)


def cut_segments(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """Join the segments of `x` that start at `starts` (B, N), in that order.

    Returns:
        Series (B, C, N * length) or clips (B, C, N * length, H, W).
    """
    steps = (starts[..., None] + torch.arange(length, device=x.device)).flatten(1)
    return x.movedim(2, 1)[torch.arange(len(x), device=x.device)[:, None], steps].movedim(1, 2)


def resize_tiles(tiles: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize tiles (B, N, C, h, w) -> (B * N, C, *size); they are enlarged, so that nothing is aliased."""
    return F.interpolate(tiles.flatten(0, 1), size=size, mode="bilinear")


def match_image_statistics(tiles: Tensor, x: Tensor) -> Tensor:
    """Give each channel of each tile (B, N, C, h, w) the mean and standard deviation of its image (B, C, H, W).

    Brightness, contrast and tint then reveal nothing about a tile's position, and tiles stay on the scale of the data.
    Nearly flat tiles stay flat: noise is not amplified to the contrast of the image.
    """
    mean, deviation = tiles.mean((-2, -1), keepdim=True), tiles.std((-2, -1), correction=0, keepdim=True)
    image_mean = x.mean((-2, -1), keepdim=True)[:, None]
    image_deviation = x.std((-2, -1), correction=0, keepdim=True)[:, None]
    scale = torch.maximum(deviation, 0.1 * image_deviation).clamp(min=1e-6)
    return (tiles - mean) / scale * image_deviation + image_mean


def random_grayscale(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Turn images (B, C, H, W) gray with the given probability, if they have three channels."""
    if x.shape[1] != 3 or probability == 0:
        return x
    chosen = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < probability
    return torch.where(chosen, x.mean(1, keepdim=True), x)


def _entries(tops: Tensor, lefts: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return an index (B, N, height, width) into (B, H, W, ...)."""
    device = tops.device
    rows = tops[..., None, None] + torch.arange(height, device=device)[:, None]
    columns = lefts[..., None, None] + torch.arange(width, device=device)
    return torch.arange(len(tops), device=device)[:, None, None, None], rows, columns
