"""Rotation: by which of a few angles was the image turned?"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.nn.classification import classification_head, classification_loss, format_predictions
from aekit.objectives.base import Pretext
from aekit.plugin import Encoder, Field


class Rotation(Pretext):
    """The image is turned counterclockwise, and the network says by how much: that takes knowing what is up in it.

    Half and quarter turns move entries and leave them as they are. Eighths are interpolated, inside a circle, so that no blank
    corner tells the angle; and as what is interpolated is less sharp than what is not, which would tell eighths from quarters,
    all are interpolated then: moved by up to half an entry each way, with a further small turn. Of images that are not square
    the central square is turned, unless it is by half. All frames of a clip are turned alike.

    Raises:
        ValueError: samples that are neither images nor clips.

    Gidaris, Singh and Komodakis, Unsupervised representation learning by predicting image rotations, 2018; for clips, Jing,
    Yang, Liu and Tian, Self-supervised spatiotemporal feature learning via video rotation prediction, 2018.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        ways: Annotated[Literal[2, 4, 8], Field(description="angles, from no turn on in equal steps")] = 4,
        views: Annotated[
            Literal["all", "one"],
            Field(
                description="all: each sample in each of its turns, at that many times the cost; one: in a drawn one"
            ),
        ] = "all",
        jitter: Annotated[
            float | None,
            Field(ge=0, le=20, description="largest further turn in degrees, each way; by default 0, and 8 for 8 ways"),
        ] = None,
        width: Annotated[int, Field(ge=0, description="of the hidden layer that answers; 0: none")] = 1024,
    ) -> None:
        super().__init__(encoder)
        spec = encoder.spec
        if not spec.is_visual:
            raise ValueError(f"expected images (C, H, W) or clips (C, T, H, W), found {spec}")
        self.ways, self.views = ways, views
        self.jitter = math.radians((8.0 if ways == 8 else 0.0) if jitter is None else jitter)
        self.head = classification_head(encoder.dim, width, ways)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if self.views == "all":
            turns = torch.arange(self.ways, device=x.device).repeat_interleave(len(x))
            x = x.repeat(self.ways, *[1] * (x.ndim - 1))
        else:
            turns = torch.randint(0, self.ways, (len(x),), generator=generator, device=x.device)
        return classification_loss(self.head(self.encoder.encode(self.rotate(x, turns, generator))), turns)

    def rotate(self, x: Tensor, turns: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, ..., H, W), each turned by `turns` (B,) steps."""
        if self.ways == 2 and not self.jitter:
            return rotate_quarters(x, 2 * turns)
        high, wide = x.shape[-2:]
        side = min(high, wide)
        top, left = (high - side) // 2, (wide - side) // 2
        square = x[..., top : top + side, left : left + side]
        if self.ways == 8 or self.jitter:
            drawn = 2 * torch.rand(3, len(x), generator=generator, device=x.device) - 1
            angles = turns * (2 * math.pi / self.ways) + self.jitter * drawn[0]
            square = rotate_in_circle(square, angles, 0.5 * drawn[1:])
        else:
            square = rotate_quarters(square, turns)
        return F.pad(square, (left, wide - side - left, top, high - side - top))

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        names = [f"{360 * turn // self.ways}°" for turn in range(self.ways)]
        turns = torch.randint(0, self.ways, (len(x),), generator=generator, device=x.device)
        seen = self.rotate(x, turns, generator)
        answers = format_predictions(self.head(self.encoder.encode(seen)), names)
        is_turned = [names[turn] for turn in turns.tolist()]
        return {"sample": x, "turned": seen, "by": is_turned, "network says": answers}


def rotate_quarters(x: Tensor, quarters: Tensor) -> Tensor:
    """Squares (B, ..., S, S), or any images for even numbers, each turned by `quarters` (B,) in 0..3, exactly."""
    quarters = quarters.view(-1, *[1] * (x.ndim - 1))
    x = torch.where(quarters >= 2, x.flip((-2, -1)), x)
    return torch.where(quarters % 2 == 1, x.rot90(1, (-2, -1)), x) if x.shape[-1] == x.shape[-2] else x


def rotate_in_circle(x: Tensor, angles: Tensor, moved: Tensor) -> Tensor:
    """Squares (B, ..., S, S), each moved left and up by `moved` (2, B) entries, at most half of one, and then turned by `angles`
    (B,) radians; bilinear, and 0 outside the circle of radius S / 2 - 1."""
    side, cosine, sine = x.shape[-1], angles.cos()[:, None, None], angles.sin()[:, None, None]
    ticks = (2 * torch.arange(side, device=x.device) + 1) / side - 1
    down, across = ticks[:, None], ticks
    # By hand, as affine_grid multiplies in bfloat16 under autocast, which is too coarse for places.
    places = torch.stack([cosine * across - sine * down, sine * across + cosine * down], -1)  # (B, S, S, 2)
    places = places + (2 / side) * moved.T[:, None, None]
    found = F.grid_sample(x.flatten(1, -3), places, align_corners=False).view_as(x)
    return found * (down.square() + across.square() <= (1 - 2 / side) ** 2 + 1e-6)
