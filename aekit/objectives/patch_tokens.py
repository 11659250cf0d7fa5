"""Samples as grids of patches, networks that encode some of the patches alone, and a decoder for these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.data.spec import SampleSpec

PARTS = {"series": 16, "image": 8, "clip": 8}
"""Kind of sample -> patches along each side where their size is not given."""
_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class PatchGrid:
    """A sample cut into patches, counted row by row. Those of clips go through all frames (tubes); those at the far edges may be
    smaller than the others.

    Attributes:
        size: of the sample without its channels.
        patch: size of a patch, of as many axes.
        grid: patches along each axis.
        count: N, patches of a sample.

    Raises:
        ValueError: vectors, or patches that do not fit into the sample.
    """

    def __init__(self, spec: SampleSpec, patch: int | Sequence[int] | None = None) -> None:
        if spec.kind not in PARTS:
            raise ValueError(f"expected series (C, T), images (C, H, W) or clips (C, T, H, W), found {spec}")
        self.size = spec.shape[1:]
        flat = self.size[-2:]
        if patch is None:
            patch = [math.ceil(side / PARTS[spec.kind]) for side in flat]
        sides = [patch] * len(flat) if isinstance(patch, int) else list(patch)
        if len(sides) != len(flat) or any(side > whole for side, whole in zip(sides, flat)):
            raise ValueError(f"patch = {patch}: expected {len(flat)} sides no larger than {' x '.join(map(str, flat))}")
        self.patch = (*self.size[:-2], *sides)
        self.grid = tuple(-(-whole // side) for whole, side in zip(self.size, self.patch))
        self.count = math.prod(self.grid)

    def unpool(self, patches: Tensor) -> Tensor:
        """(B, N) -> (B, 1, *size), each patch's value at all its places."""
        patches = patches.view(len(patches), 1, *self.grid)
        for axis, (side, whole) in enumerate(zip(self.patch, self.size), 2):
            patches = patches.repeat_interleave(side, axis).narrow(axis, 0, whole)
        return patches

    def pool(self, x: Tensor) -> Tensor:
        """(B, 1, *size) of one value in each patch -> (B, N), those values: the way back from `spread`."""
        for axis, side in enumerate(self.patch, 2):
            x = x.index_select(axis, torch.arange(0, x.shape[axis], side, device=x.device))
        return x.flatten(1)

    def means(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, N), the mean of each patch over all channels."""
        pool = _POOLS[len(self.grid)]
        return pool(x.mean(1, keepdim=True), self.patch, ceil_mode=True, count_include_pad=False).flatten(1)

    def standardize(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> the same, with each patch, over all its channels, of mean 0 and deviation 1."""
        centerd = x - self.unpool(self.means(x))
        return centerd / (self.unpool(self.means(centerd.square())) + 1e-6).sqrt()

    def unpatchify(self, patches: Tensor, channels: int) -> Tensor:
        """(B, N, C * entries of a patch) -> (B, C, *size)."""
        axes = len(self.grid)
        parted = patches.view(len(patches), *self.grid, channels, *self.patch)  # (B, *grid, C, *patch)
        order = [0, axes + 1, *(place for axis in range(axes) for place in (1 + axis, axes + 2 + axis))]
        whole = [count * side for count, side in zip(self.grid, self.patch)]
        joined = parted.permute(order).reshape(len(patches), channels, *whole)
        for axis, side in enumerate(self.size, 2):
            joined = joined.narrow(axis, 0, side)
        return joined


class PatchDecoder(nn.Module):
    """A small transformer from the tokens of visible patches to all patches, with the code in the place of a class token.

    He et al., Masked autoencoders are scalable vision learners, 2022, but for the code, through which the head is trained too.

    Args:
        tokens_dim: W, of the encoder's tokens.
        dim: D, of the code.
        grid: of the patches.
        channels: C, of the sample.
        depth: layers. Their width is half of W.
    """

    positions: Tensor

    def __init__(self, tokens_dim: int, dim: int, grid: PatchGrid, channels: int, depth: int = 2) -> None:
        super().__init__()
        heads = max(1, tokens_dim // 128)
        width = heads * max(32, tokens_dim // (2 * heads) // 8 * 8)
        self.grid, self.channels = grid, channels
        self.tokens, self.code = nn.Linear(tokens_dim, width), nn.Linear(dim, width)
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", sincos_positions(grid.grid, width), persistent=False)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels * math.prod(grid.patch)))

    def forward(self, tokens: Tensor, places: Tensor, code: Tensor) -> Tensor:
        """Tokens (B, V, W) of the patches at `places` (B, V), and the code (B, D) of all of them -> (B, *shape)."""
        tokens = self.tokens(tokens)
        every = self.hidden.to(tokens).expand(len(tokens), self.grid.count, -1)
        every = every.scatter(1, places[..., None].expand_as(tokens), tokens) + self.positions
        x = torch.cat([self.code(code)[:, None], every], 1)
        for layer in self.layers:
            x = layer(x)
        return self.grid.unpatchify(self.out(x[:, 1:]), self.channels)


class VisibleTokenEncoder:
    """A network made of patches as steps that follow one another: what it takes to leave patches out.

    Args:
        stages: of the network; plain sequences among them are taken apart. The last step is the pooling.
        places: of a step, whether it gives the tokens their places; what follows it sees (B, prefix + N, W).
        prefix: tokens that stand for no patch, before the others.

    Raises:
        ValueError: no step does.
    """

    def __init__(self, stages: Iterable[nn.Module], places: Callable[[nn.Module], bool], prefix: int) -> None:
        self.steps = tuple(step for stage in stages for step in _steps(stage))
        found = [number for number, step in enumerate(self.steps) if places(step)]
        if len(found) != 1:
            raise ValueError("no step of the network gives tokens their places")
        self.placed, self.prefix = found[0], prefix

    def __call__(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *shape) and numbers of patches (B, V) -> their tokens (B, V, W) and the features (B, F)."""
        *steps, pooling = self.steps
        for number, step in enumerate(steps):
            x = step(x)
            if number == self.placed:
                visible = x[:, self.prefix :].gather(1, places[..., None].expand(-1, -1, x.shape[2]))
                x = torch.cat([x[:, : self.prefix], visible], 1)
        return x[:, self.prefix :], pooling(x).flatten(1)


def _steps(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for inner in module:
            yield from _steps(inner)
    else:
        yield module


def sincos_positions(grid: Sequence[int], width: int) -> Tensor:
    """(N, width) sines and cosines of the places in a grid, for each axis as many; what is left over is zero.

    Vaswani et al., Attention is all you need, 2017.
    """
    each = width // (2 * len(grid))
    slowness = 10000 ** (-torch.arange(each) / each)
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid)).view(-1, len(grid))
    angles = (places[..., None] * slowness).flatten(1)  # (N, axes * each)
    return F.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width - 2 * each * len(grid)))
