"""Run a network without dense layers on images of any size, whole or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.encoder.encoder import Encoder

OVERLAP = 64
"""Pixels of context around each tile, unless the backbone sees further."""


@dataclass(frozen=True)
class FullSizeNetwork:
    """A network for images of any size.

    Attributes:
        run: (B, C, H, W) preprocessed -> the same on that scale, for sides that are multiples of `multiple`.
        multiple: images are padded to a multiple of this.
        whole: whether it needs the whole image at once.
        overlap: pixels of context around each tile.
    """

    run: Callable[[Tensor], Tensor]
    multiple: int
    whole: bool = False
    overlap: int = OVERLAP

    def restore(self, x: Tensor, tile: int = 0) -> Tensor:
        """Run the network on one image.

        Args:
            x: (C, H, W) of any size, preprocessed.
            tile: side of the tiles, which get context from the tiles around them; 0: the whole image at once.

        Returns:
            (C, H, W) on the same scale.
        """
        high, wide = x.shape[1:]
        padded = _padded(x, -high % self.multiple, -wide % self.multiple)
        # Tiles begin at multiples of the stride, so that each pixel is computed exactly as in the whole image.
        step = (0 if self.whole else -(-tile // self.multiple) * self.multiple) or max(padded.shape)
        around = -(-self.overlap // self.multiple) * self.multiple
        out = torch.empty_like(padded)
        for top in range(0, padded.shape[1], step):
            for left in range(0, padded.shape[2], step):
                y, z = max(0, top - around), max(0, left - around)
                tile_output = self.run(padded[None, :, y : top + step + around, z : left + step + around])[0]
                inner = tile_output[:, top - y : top - y + step, left - z : left - z + step]
                out[:, top : top + step, left : left + step] = inner
        return out[:, :high, :wide]


@torch.inference_mode()
def full_size_network(encoder: Encoder, decoder: nn.Module, run: Callable[[Tensor], Tensor]) -> FullSizeNetwork | str:
    """Return the network for images of any size, or the reason why it supports only one size.

    Args:
        encoder, decoder: parts of the network.
        run: (B, C, H, W) preprocessed -> the same, by stages and mirrors only (`aekit.encoder.backbone.apply_any_size`).
    """
    spec = encoder.spec
    if not spec.is_image:
        return f"it takes {spec}"
    if encoder.architecture["head"]:
        return f"its code has that size because of the head of {encoder.architecture['head']['variant']!r}"
    if not isinstance(encoder.head, nn.Identity) or not isinstance(getattr(decoder, "expand", None), nn.Unflatten):
        return f"its code is a dense layer of {encoder.dim} units; train with encoder.dim = 0"
    (high, wide), features = spec.shape[1:], encoder.backbone.features_shape
    if len(features) != 3 or high % features[1] or wide % features[2] or high // features[1] != wide // features[2]:
        return f"its stages do not divide the {wide}x{high} pixels of training evenly"
    multiple = high // features[1]
    probe = torch.zeros(1, spec.shape[0], high + multiple, wide + 2 * multiple, device=encoder.device)
    try:
        shape = run(probe).shape
    except RuntimeError:
        shape = torch.Size()
    if shape != probe.shape:
        return "its backbone is not fully convolutional"
    return FullSizeNetwork(run, multiple, overlap=max(OVERLAP, encoder.backbone.reach))


def _padded(x: Tensor, below: int, right: int) -> Tensor:
    if not (below or right):
        return x
    # Reflection needs more pixels than it adds.
    mode = "reflect" if below < x.shape[1] and right < x.shape[2] else "replicate"
    return F.pad(x[None], (0, right, 0, below), mode=mode)[0]
