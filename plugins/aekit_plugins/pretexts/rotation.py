"""Rotation: predict the angle by which the image was rotated."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.classification import HeadWidth, classification_head, classification_loss, format_predictions
from aekit.plugin import Encoder, Field, Pretext


class Rotation(Pretext):
    """Rotate the image counterclockwise and predict the angle, which requires knowing which way is up.

    Half and quarter turns only move pixels. Eighths are interpolated inside a circle, so that no blank corner reveals the
    angle. Since interpolation blurs, which would separate eighths from quarters, all angles are then interpolated: shifted by
    up to half a pixel each way and rotated by a small extra angle. Of images that are not square, the central square is
    rotated, except by half turns. All frames of a clip are rotated alike.

    Raises:
        ValueError: samples that are neither images nor clips.

    Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018; for clips, Jing,
    Yang, Liu and Tian, Self-supervised spatiotemporal feature learning via video rotation prediction, 2018.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        angles: Annotated[Literal[2, 4, 8], Field(description="number of evenly spaced angles, starting at 0")] = 4,
        copies: Annotated[
            Literal["all", "one"],
            Field(description="all: each sample at every angle, at that many times the cost; one: at one random angle"),
        ] = "all",
        jitter: Annotated[
            float | None,
            Field(
                ge=0, le=20, description="maximum extra rotation in degrees, each way; by default 0, or 8 for 8 angles"
            ),
        ] = None,
        width: HeadWidth = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        spec.require("image", "clip")
        self.angles, self.copies = angles, copies
        self.jitter = math.radians((8.0 if angles == 8 else 0.0) if jitter is None else jitter)
        self.head = classification_head(encoder.dim, width, angles)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if self.copies == "all":
            turns = torch.arange(self.angles, device=x.device).repeat_interleave(len(x))
            x = x.repeat(self.angles, *[1] * (x.ndim - 1))
        else:
            turns = torch.randint(0, self.angles, (len(x),), generator=generator, device=x.device)
        return classification_loss(self.head(self.encoder.encode(self.rotate(x, turns, generator))), turns)

    def rotate(self, x: Tensor, turns: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate each of (B, C, ..., H, W) by `turns` (B,) steps of the angle."""
        if self.angles == 2 and not self.jitter:
            return rotate_quarters(x, 2 * turns)
        high, wide = x.shape[-2:]
        side = min(high, wide)
        top, left = (high - side) // 2, (wide - side) // 2
        square = x[..., top : top + side, left : left + side]
        if self.angles == 8 or self.jitter:
            drawn = 2 * torch.rand(3, len(x), generator=generator, device=x.device) - 1
            radians = turns * (2 * math.pi / self.angles) + self.jitter * drawn[0]
            square = rotate_in_circle(square, radians, 0.5 * drawn[1:])
        else:
            square = rotate_quarters(square, turns)
        return F.pad(square, (left, wide - side - left, top, high - side - top))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        names = [f"{360 * turn // self.angles}°" for turn in range(self.angles)]
        turns = torch.randint(0, self.angles, (len(x),), generator=generator, device=x.device)
        rotated = self.rotate(x, turns, generator)
        predictions = format_predictions(self.head(self.encoder.encode(rotated)), names)
        angles = [names[turn] for turn in turns.tolist()]
        return {"sample": x, "rotated": rotated, "angle": angles, "network predicts": predictions}


def rotate_quarters(x: Tensor, quarters: Tensor) -> Tensor:
    """Rotate squares (B, ..., S, S), or any images for even numbers, by `quarters` (B,) in 0..3, exactly."""
    quarters = quarters.view(-1, *[1] * (x.ndim - 1))
    x = torch.where(quarters >= 2, x.flip((-2, -1)), x)
    return torch.where(quarters % 2 == 1, x.rot90(1, (-2, -1)), x) if x.shape[-1] == x.shape[-2] else x


def rotate_in_circle(x: Tensor, angles: Tensor, shift: Tensor) -> Tensor:
    """Shift squares (B, ..., S, S) left and up by `shift` (2, B) pixels, at most half a pixel, then rotate them by `angles` (B,)
    radians; bilinear, and 0 outside the circle of radius S / 2 - 1."""
    side, cosine, sine = x.shape[-1], angles.cos()[:, None, None], angles.sin()[:, None, None]
    ticks = (2 * torch.arange(side, device=x.device) + 1) / side - 1
    down, across = ticks[:, None], ticks
    # By hand, since affine_grid multiplies in bfloat16 under autocast, which is too coarse for coordinates.
    places = torch.stack([cosine * across - sine * down, sine * across + cosine * down], -1)  # (B, S, S, 2)
    places = places + (2 / side) * shift.T[:, None, None]
    rotated = F.grid_sample(x.flatten(1, -3), places, align_corners=False).view_as(x)
    return rotated * (down.square() + across.square() <= (1 - 2 / side) ** 2 + 1e-6)
