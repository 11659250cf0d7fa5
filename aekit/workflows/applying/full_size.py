"""A network without a dense layer on images of any size, whole or in tiles that overlap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aekit.encoder.encoder import Encoder

OVERLAP = 64
"""Pixels that a tile sees beyond its own on each side."""


@dataclass(frozen=True)
class FullSizeNetwork:
    """A network for images of any size.

    Attributes:
        run: (B, C, H, W) preprocessed -> the same on that scale, for sides that are multiples.
        multiple: what the sides of an image are padded to a multiple of.
        whole: whether it has to see all of an image at once.
    """

    run: Callable[[Tensor], Tensor]
    multiple: int
    whole: bool = False

    def restore(self, x: Tensor, tile: int = 0) -> Tensor:
        """Runs the network on one image.

        Args:
            x: (C, H, W) of any size, preprocessed.
            tile: side of the pieces that it is done in, with 64 pixels around them; 0: all at once.

        Returns:
            (C, H, W) on the same scale.
        """
        high, wide = x.shape[1:]
        padded = _padded(x, -high % self.multiple, -wide % self.multiple)
        # Pieces begin at multiples of the stride, so that each entry is computed exactly as it would be in the whole.
        step = (0 if self.whole else -(-tile // self.multiple) * self.multiple) or max(padded.shape)
        around = -(-OVERLAP // self.multiple) * self.multiple
        out = torch.empty_like(padded)
        for top in range(0, padded.shape[1], step):
            for left in range(0, padded.shape[2], step):
                y, z = max(0, top - around), max(0, left - around)
                piece = self.run(padded[None, :, y : top + step + around, z : left + step + around])[0]
                inner = piece[:, top - y : top - y + step, left - z : left - z + step]
                out[:, top : top + step, left : left + step] = inner
        return out[:, :high, :wide]


@torch.inference_mode()
def full_size_network(encoder: Encoder, decoder: nn.Module, run: Callable[[Tensor], Tensor]) -> FullSizeNetwork | str:
    """The network for images of any size, or why it runs on those of one size only.

    Args:
        encoder, decoder: of the network.
        run: (B, C, H, W) preprocessed -> the same, by stages and mirrors alone (`aekit.encoder.backbone.through`).
    """
    spec = encoder.spec
    if not spec.is_image:
        return f"it takes {spec}"
    if encoder.architecture["head"]:
        return f"its code is made for that size by the head of {encoder.architecture['head']['variant']!r}"
    if not isinstance(encoder.head, nn.Identity) or not isinstance(getattr(decoder, "expand", None), nn.Unflatten):
        return f"its code is a dense layer of {encoder.dim} numbers; encoder.dim = 0 leaves that out"
    (high, wide), features = spec.shape[1:], encoder.backbone.features_shape
    if len(features) != 3 or high % features[1] or wide % features[2] or high // features[1] != wide // features[2]:
        return f"its stages do not divide the {wide}x{high} pixels that it was trained on evenly"
    multiple = high // features[1]
    probe = torch.zeros(1, spec.shape[0], high + multiple, wide + 2 * multiple, device=encoder.device)
    try:
        shape = run(probe).shape
    except RuntimeError:
        shape = torch.Size()
    return FullSizeNetwork(run, multiple) if shape == probe.shape else "its backbone is not made of convolutions alone"


def _padded(x: Tensor, below: int, right: int) -> Tensor:
    if not (below or right):
        return x
    # Reflection needs more pixels than it adds.
    mode = "reflect" if below < x.shape[1] and right < x.shape[2] else "replicate"
    return F.pad(x[None], (0, right, 0, below), mode=mode)[0]
