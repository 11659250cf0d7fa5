"""Grids of patches, encoding of visible patches only, and a decoder for their tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.data.spec import SampleSpec

DEFAULT_GRID = {"series": 16, "image": 8, "clip": 8}
"""Kind of sample -> default number of patches along each side."""
_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class PatchGrid:
    """Grid of patches over a sample, numbered row by row. Patches of clips extend through all frames (tubes); patches at the far
    edges may be smaller.

    Attributes:
        size: size of the sample without channels.
        patch: size of a patch along each axis.
        grid: number of patches along each axis.
        count: N, patches per sample.

    Raises:
        ValueError: the samples are vectors, or the patches do not fit into them.
    """

    def __init__(self, spec: SampleSpec, patch: int | Sequence[int] | None = None) -> None:
        spec.require("series", "image", "clip")
        self.size = spec.shape[1:]
        plane = self.size[-2:]
        if patch is None:
            patch = [math.ceil(side / DEFAULT_GRID[spec.kind]) for side in plane]
        sides = [patch] * len(plane) if isinstance(patch, int) else list(patch)
        if len(sides) != len(plane) or any(side > length for side, length in zip(sides, plane)):
            raise ValueError(
                f"patch = {patch}: expected {len(plane)} sides no larger than {' x '.join(map(str, plane))}"
            )
        self.patch = (*self.size[:-2], *sides)
        self.grid = tuple(-(-whole // side) for whole, side in zip(self.size, self.patch))
        self.count = math.prod(self.grid)

    def unpool(self, patches: Tensor) -> Tensor:
        """Spread patch values (B, N) over all entries of each patch -> (B, 1, *size)."""
        patches = patches.view(len(patches), 1, *self.grid)
        for axis, (side, whole) in enumerate(zip(self.patch, self.size), 2):
            patches = patches.repeat_interleave(side, axis).narrow(axis, 0, whole)
        return patches

    def pool(self, x: Tensor) -> Tensor:
        """Return the values (B, N) of patches that are constant in (B, 1, *size): the inverse of `unpool`."""
        for axis, side in enumerate(self.patch, 2):
            x = x.index_select(axis, torch.arange(0, x.shape[axis], side, device=x.device))
        return x.flatten(1)

    def means(self, x: Tensor) -> Tensor:
        """Return the mean (B, N) of each patch of (B, C, *size) over all channels."""
        pool = _POOLS[len(self.grid)]
        return pool(x.mean(1, keepdim=True), self.patch, ceil_mode=True, count_include_pad=False).flatten(1)

    def standardize(self, x: Tensor) -> Tensor:
        """Standardize each patch of (B, C, *size), over all its channels, to mean 0 and standard deviation 1."""
        centered = x - self.unpool(self.means(x))
        return centered / (self.unpool(self.means(centered.square())) + 1e-6).sqrt()

    def unpatchify(self, patches: Tensor, channels: int) -> Tensor:
        """Assemble patches (B, N, C * entries of a patch) -> (B, C, *size)."""
        axes = len(self.grid)
        blocks = patches.view(len(patches), *self.grid, channels, *self.patch)  # (B, *grid, C, *patch)
        order = [0, axes + 1, *(place for axis in range(axes) for place in (1 + axis, axes + 2 + axis))]
        whole = [count * side for count, side in zip(self.grid, self.patch)]
        joined = blocks.permute(order).reshape(len(patches), channels, *whole)
        for axis, side in enumerate(self.size, 2):
            joined = joined.narrow(axis, 0, side)
        return joined


class PatchDecoder(nn.Module):
    """A small transformer from the tokens of visible patches to all patches, with the code in place of the class token.

    He et al., Masked autoencoders are scalable vision learners, 2022, except for the code, through which the head is trained too.

    Args:
        tokens_dim: W, width of the encoder's tokens.
        dim: D, width of the code.
        grid: grid of the patches.
        channels: C, channels of the sample.
        depth: number of layers; their width is about half of W.
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
        """Decode tokens (B, V, W) of the patches at `places` (B, V), and the code (B, D) -> (B, *shape)."""
        tokens = self.tokens(tokens)
        all_tokens = self.hidden.to(tokens).expand(len(tokens), self.grid.count, -1)
        all_tokens = all_tokens.scatter(1, places[..., None].expand_as(tokens), tokens) + self.positions
        x = torch.cat([self.code(code)[:, None], all_tokens], 1)
        for layer in self.layers:
            x = layer(x)
        return self.grid.unpatchify(self.out(x[:, 1:]), self.channels)


class VisibleTokenEncoder:
    """A patch network as a sequence of steps that can encode visible patches only.

    Args:
        stages: stages of the network; nested ``nn.Sequential`` are flattened. The last step is the pooling.
        places: returns True for the step that adds positions to the tokens; its output is (B, prefix + N, W).
        prefix: number of leading tokens that stand for no patch.

    Raises:
        ValueError: not exactly one step adds positions.
    """

    def __init__(self, stages: Iterable[nn.Module], places: Callable[[nn.Module], bool], prefix: int) -> None:
        self.steps = tuple(step for stage in stages for step in layers_of(stage))
        numbers = [number for number, step in enumerate(self.steps) if places(step)]
        if len(numbers) != 1:
            raise ValueError(f"expected one step of the network that adds positions to tokens, found {len(numbers)}")
        self.placed, self.prefix = numbers[0], prefix

    def __call__(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the patches numbered `places` (B, V) of samples (B, *shape) -> tokens (B, V, W) and features (B, F)."""
        *steps, pooling = self.steps
        for number, step in enumerate(steps):
            x = step(x)
            if number == self.placed:
                visible = x[:, self.prefix :].gather(1, places[..., None].expand(-1, -1, x.shape[2]))
                x = torch.cat([x[:, : self.prefix], visible], 1)
        return x[:, self.prefix :], pooling(x).flatten(1)


def layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """Return the layers of a stage, which are called one by one to encode the visible patches alone."""
    if type(module) is nn.Sequential:
        for inner in module:
            yield from layers_of(inner)
    else:
        yield module


def sincos_positions(grid: Sequence[int], width: int) -> Tensor:
    """Return sine and cosine positions (N, width) of a grid, with equal widths for each axis, padded with zeros.

    Vaswani et al., Attention is all you need, 2017.
    """
    axis_width = width // (2 * len(grid))
    frequencies = 10000 ** (-torch.arange(axis_width) / axis_width)
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid)).view(-1, len(grid))
    angles = (places[..., None] * frequencies).flatten(1)  # (N, axes * axis_width)
    return F.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width - 2 * axis_width * len(grid)))
