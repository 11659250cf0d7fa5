"""Pooling of the output of a network's stage to features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

Pooling = Literal["avg", "max", "token", "none"]


class Pool(nn.Module):
    """Pool maps (B, C, H, W) or (B, H, W, C) and tokens (B, N, C) -> (B, C).

    Args:
        how: ``avg`` or ``max`` over all positions, or all tokens but the prefix; ``token``: the first token; ``none``: no
            pooling, with maps as (B, C, H, W).
        channels_last: whether maps are (B, H, W, C).
        prefix: number of leading tokens without a position.
    """

    def __init__(self, how: Pooling, *, channels_last: bool = False, prefix: int = 0) -> None:
        super().__init__()
        self.how, self.channels_last, self.prefix = how, channels_last, prefix

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) -> (B, C), or (B, C, H, W) or (B, N, C) without pooling."""
        if x.ndim == 4 and self.channels_last:
            x = x.permute(0, 3, 1, 2)
        if self.how == "none":
            return x
        if self.how == "token":
            return x[:, 0]
        positions = x.flatten(2) if x.ndim == 4 else x[:, self.prefix :].transpose(1, 2)
        return positions.mean(2) if self.how == "avg" else positions.amax(2)


class GridMeans(nn.Module):
    """Average maps (B, C, H, W) over the cells of a grid -> (B, C, G).

    All cells are of one size, and overlap where the grid does not divide the map.

    Args:
        size: H and W.
        grid: cells along each side; at most as many as the map has entries.

    Attributes:
        cells: G, number of the cells.
    """

    def __init__(self, size: tuple[int, int], grid: int) -> None:
        super().__init__()
        counts = tuple(min(grid, side) for side in size)
        self.stride = tuple(side // count for side, count in zip(size, counts))
        self.kernel = tuple(side - (count - 1) * stride for side, count, stride in zip(size, counts, self.stride))
        self.cells = counts[0] * counts[1]

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.kernel, self.stride).flatten(2)
