"""Tiles of images and segments of series, cut with gaps and at places that vary, so that edges give no place away.

Tasks that ask where a piece belongs have answers that need no look at what is in it: a line that goes on across a border, a
brightness that falls off to one side, colors that a lens shifts. What is here takes those away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TileCells:
    """How a side is parted: a cell for each piece, in which the place of the piece varies, and gaps between the cells.

    Attributes:
        first: where the first cell starts; what is left over is on both sides.
        step: from one cell to the next.
        piece: length of a piece.
        play: entries by which the place of a piece varies; 0: not at all.
    """

    first: int
    step: int
    piece: int
    jitter: int

    @classmethod
    def partition(cls, length: int, count: int, gap: float, jitter: float, smallest: int = 2) -> TileCells:
        """`count` cells of a side of `length` entries.

        Args:
            gap: between neighboring pieces, as a share of ``length / count``; at least one entry unless it is 0.
            jitter: how far a piece may move, as such a share; at least one entry, where there is room, unless it is 0.
            smallest: length of a piece.

        Raises:
            ValueError: there is no room for that.
        """
        free, play = (max(1, round(share * length / count)) if share else 0 for share in (gap, jitter))
        cell = (length - (count - 1) * free) // count
        if cell < smallest:
            needed = count * smallest + (count - 1) * bool(gap)
            raise ValueError(
                f"expected at least {needed} entries along each side that is cut in {count}, found {length}"
            )
        play = min(play, cell - smallest)
        return cls((length - count * cell - (count - 1) * free) // 2, cell + free, cell - play, play)

    def starts(self, numbers: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Where pieces start in the cells of these numbers, of any shape: somewhere, or in the middle without a generator."""
        if generator is None:
            shift = torch.full_like(numbers, self.jitter // 2)
        else:
            shift = torch.randint(0, self.jitter + 1, numbers.shape, generator=generator, device=numbers.device)
        return self.first + self.step * numbers + shift


def cut_tiles(x: Tensor, tops: Tensor, lefts: Tensor, height: int, width: int) -> Tensor:
    """Tiles (B, N, C, height, width) of images (B, C, H, W), whose upper left corners are at `tops` and `lefts` (B, N)."""
    return x.movedim(1, -1)[_entries(tops, lefts, height, width)].movedim(-1, 2)


def paste_tiles(tiles: Tensor, tops: Tensor, lefts: Tensor, canvas: Tensor) -> Tensor:
    """Images (B, C, H, W): `canvas` with tiles (B, N, C, h, w) laid on it, whose corners are at `tops` and `lefts` (B, N)."""
    found = canvas.clone().movedim(1, -1)
    found[_entries(tops, lefts, *tiles.shape[-2:])] = tiles.movedim(2, -1)
    return found.movedim(-1, 1)


def cut_segments(x: Tensor, starts: Tensor, length: int) -> Tensor:
    """Series (B, C, N * length) or clips (B, C, N * length, H, W): the segments of `x` that start at `starts` (B, N), in that
    order."""
    steps = (starts[..., None] + torch.arange(length, device=x.device)).flatten(1)
    return x.movedim(2, 1)[torch.arange(len(x), device=x.device)[:, None], steps].movedim(1, 2)


def resize_tiles(tiles: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, N, C, h, w) -> (B * N, C, *size), interpolated. Tiles are smaller than samples, so that nothing is aliased."""
    return F.interpolate(tiles.flatten(0, 1), size=size, mode="bilinear")


def match_image_statistics(tiles: Tensor, x: Tensor) -> Tensor:
    """Gives each channel of each tile (B, N, C, h, w) the mean and the deviation of its whole image (B, C, H, W).

    Brightness, contrast and tint then tell nothing about a tile's place, and tiles stay on the scale of the data, for which the
    encoder is meant. What is nearly flat stays so: noise is not blown up to the contrast of the image.
    """
    mean, deviation = tiles.mean((-2, -1), keepdim=True), tiles.std((-2, -1), correction=0, keepdim=True)
    whole = x.mean((-2, -1), keepdim=True)[:, None], x.std((-2, -1), correction=0, keepdim=True)[:, None]
    return (tiles - mean) / torch.maximum(deviation, 0.1 * whole[1]).clamp(min=1e-6) * whole[1] + whole[0]


def random_grayscale(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) with a share of the images in gray, if they have three channels; other images as they are."""
    if x.shape[1] != 3 or share == 0:
        return x
    chosen = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < share
    return torch.where(chosen, x.mean(1, keepdim=True), x)


def _entries(tops: Tensor, lefts: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """An index (B, N, height, width) into (B, H, W, ...)."""
    device = tops.device
    rows = tops[..., None, None] + torch.arange(height, device=device)[:, None]
    columns = lefts[..., None, None] + torch.arange(width, device=device)
    return torch.arange(len(tops), device=device)[:, None, None, None], rows, columns
