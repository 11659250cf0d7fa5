"""Views of images and clips: a part of it at full size, perhaps mirrored, in other light, blurred or solarized.

Written out for batches, in few operations: kornia took four times as long for small images in gray and seven times in color,
where that was as long as the network that saw them took.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation, Strength, bernoulli, format_percent, uniform
from aekit.nn.blur import gaussian_blur

RATIO = 4 / 3
"""Parts are this much wider than high, or higher than wide, at most."""
JITTERED = 0.8
"""Chance of a sample to be shown in other light."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a color (ITU-R BT.601)."""
TO_YIQ = torch.tensor([LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])
FROM_YIQ = torch.linalg.inv(TO_YIQ.double()).float()
"""Between red, green and blue and brightness with two differences of colors (NTSC), in whose plane hue is an angle."""
LEAST_BLUR = 0.4
"""Deviation in pixels below which a blur cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation(Augmentation):
    """A box of a `share` of the area at the size of the whole; for most samples other brightness, contrast, saturation and hue,
    in this order; some lose their color, are blurred, or have what is brighter than half inverted.

    All frames of a clip are treated alike, and a part of its time is stretched to the whole. Colors are those of three
    channels. Hue is turned in the plane of two differences of colors, which keeps brightness, and not by way of HSV, which
    costs much more and does not.

    Chen, Kornblith, Norouzi and Hinton, A simple framework for contrastive learning of visual representations, 2020;
    solarizing: Grill et al., Bootstrap your own latent, 2020.

    Attributes:
        black, white: (), between which images lie.
        light: most by which brightness, contrast and saturation change, as a share.
        hue: largest turn, in turns.
        gray, blur, solarize: chances; color is lost, the image is blurred, bright parts are inverted.
        sigma: least and largest deviation of the blur in pixels.
        flip: whether half of the samples are mirrored.
        time: least part of a clip's time.
    """

    black: Tensor
    white: Tensor
    jitter: float
    hue: float
    grayscale: float
    blur: float
    sigma: tuple[float, float]
    solarize: float
    flip: bool
    pace: float

    @property
    def description(self) -> str:
        color = " and color" if self.hue or self.grayscale else ""
        mirrored = "mirrored or not" if self.flip else "never mirrored"
        blurred, solarized = ", blur" if self.blurs else "", ", solarizing" if self.solarize else ""
        return f"{format_percent(self.crop_scale)} of the area, {mirrored}; light{color}{blurred}{solarized}"

    @property
    def blurs(self) -> bool:
        """Whether there is a blur that could be seen."""
        return self.blur > 0 and self.sigma[1] >= LEAST_BLUR

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count = len(x)
        x = self._part(x, generator)
        black, white = self.black.to(x.device), self.white.to(x.device)
        if not self.unit:
            x = (x - black) / (white - black).clamp(min=1e-12)
        x = self._in_other_light(x, generator)
        if self.blurs:
            sigma = uniform(count, *self.sigma, generator).where(bernoulli(count, self.blur, generator), 0.0)
            frames = x.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else x  # (B * T, C, H, W)
            soft = gaussian_blur(frames, sigma.repeat_interleave(len(frames) // count), math.ceil(2 * self.sigma[1]))
            x = soft.unflatten(0, (count, -1)).transpose(1, 2) if x.ndim == 5 else soft
        if self.solarize:
            inverted = bernoulli(count, self.solarize, generator).view(-1, *(1,) * (x.ndim - 1))
            x = torch.where(inverted & (x >= 0.5), 1 - x, x)
        return x if self.unit else black + x * (white - black)

    def _part(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, *_, height, width = x.shape
        area = self.crop_scales(count, generator)
        ratio = uniform(count, -math.log(RATIO), math.log(RATIO), generator).exp() * height / width
        # Where a box of this ratio does not fit, it becomes longer in the other way, and keeps its area.
        high = (area / (area * ratio).sqrt().clamp(max=1)).clamp(max=1)
        sides = [area / high, high]
        if x.ndim == 5:
            sides.append(uniform(count, self.pace, 1, generator))
        places = [uniform(count, 0, 1, generator) for _ in sides]
        mirrored = bernoulli(count, 0.5 if self.flip else 0.0, generator)
        return crop_and_resize(x, torch.stack(sides), torch.stack(places), mirrored)

    def _in_other_light(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, few = len(x), 1 - self.jitter
        jittered = bernoulli(count, JITTERED, generator)
        factors = [uniform(count, few, 1 + self.jitter, generator).where(jittered, 1.0) for _ in range(3)]
        turn = uniform(count, -self.hue, self.hue, generator).where(jittered, 0.0)
        saturation = factors[2].where(~bernoulli(count, self.grayscale, generator), 0.0)
        return color_jitter(x, factors[0], factors[1], saturation, turn)


def crop_and_resize(x: Tensor, sides: Tensor, places: Tensor, mirrored: Tensor) -> Tensor:
    """A box of each sample at the size of the whole, by linear interpolation.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W).
        sides: (n, B) of the box as parts of the whole: width, height, and for clips duration.
        places: (n, B) of the box along each axis: 0 at the beginning, 1 at the end.
        mirrored: (B,) bool, left to right.
    """
    # A row for each axis, the last axis first. In the units of a grid, the whole reaches from -1 to 1.
    maps = torch.diag_embed(sides.T)  # (B, n, n)
    maps[:, 0, 0] *= torch.where(mirrored, -1.0, 1.0)
    offsets = (2 * places - 1) * (1 - sides)
    grid = F.affine_grid(torch.cat([maps, offsets.T[:, :, None]], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def color_jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
    """Each sample in other light, all of it in one affine map of its colors.

    Args:
        x: (B, C, ...) in [0, 1].
        brightness: (B,) factors.
        contrast: (B,) factors on the distance from the sample's mean brightness.
        saturation: (B,) factors on the distance from gray; 0 takes the color away. For three channels, as `turn`.
        turn: (B,) of the hue, in turns.

    Returns:
        (B, C, ...) in [0, 1].
    """
    pixels = x.flatten(2)  # (B, C, N)
    gain = (brightness * contrast)[:, None, None]
    if x.shape[1] == 3:
        mean = pixels.mean(2) @ torch.tensor(LUMA, device=x.device)
        colored = (gain * color_jitter_matrices(saturation, turn)) @ pixels
    else:
        mean, colored = pixels.mean((1, 2)), gain * pixels
    # What is added is a gray, which maps of colors leave as it is.
    return (colored + ((1 - contrast) * brightness * mean)[:, None, None]).clamp(0, 1).view_as(x)


def color_jitter_matrices(saturation: Tensor, turn: Tensor) -> Tensor:
    """(B,) factors on the distance from gray and (B,) turns of the hue -> (B, 3, 3) maps of red, green and blue."""
    cosine, sine = saturation * (2 * math.pi * turn).cos(), saturation * (2 * math.pi * turn).sin()
    turned = torch.zeros(len(turn), 3, 3, device=turn.device)
    turned[:, 0, 0] = 1
    turned[:, 1, 1] = turned[:, 2, 2] = cosine
    turned[:, 1, 2], turned[:, 2, 1] = -sine, sine
    return FROM_YIQ.to(turn.device) @ turned @ TO_YIQ.to(turn.device)


PRESETS: dict[str, dict[str, Any]] = {
    "weak": {"crop_scale": (0.5, 1.0), "jitter": 0.2, "hue": 0.05, "grayscale": 0.1, "blur": 0.0, "solarize": 0.0},
    "usual": {"crop_scale": (0.2, 1.0), "jitter": 0.4, "hue": 0.1, "grayscale": 0.2, "blur": 0.5, "solarize": 0.0},
    "strong": {"crop_scale": (0.08, 1.0), "jitter": 0.8, "hue": 0.2, "grayscale": 0.2, "blur": 0.5, "solarize": 0.2},
}
"""Strong is what Chen et al. take for ImageNet, and solarizing; usual has their light and color for CIFAR-10."""
GRAY_PRESETS: dict[str, dict[str, Any]] = {
    name: {
        "crop_scale": (share, 1.0),
        "jitter": light,
        "hue": 0.0,
        "grayscale": 0.0,
        "blur": PRESETS[name]["blur"],
        "solarize": 0.0,
    }
    for name, share, light in (("weak", 0.9, 0.4), ("usual", 0.8, 0.8), ("strong", 0.5, 0.8))
}
"""Without color to tell by what small boxes of an image have in common, large ones do better; chosen on Fashion-MNIST."""


def image_augmentation(
    spec: SampleSpec, preprocess: Preprocess, strength: Strength = "usual", flip: bool | None = None
) -> ImageAugmentation:
    """Views of images (C, H, W) and clips (C, T, H, W).

    Args:
        flip: whether they may be mirrored; by default those in color. Gray ones are often digits, text or scans.
    """
    color = spec.shape[0] == 3
    side = min(spec.shape[-2:])
    return ImageAugmentation(
        **(PRESETS if color else GRAY_PRESETS)[strength],
        unit=preprocess.unit,
        black=preprocess.low.min(),
        white=preprocess.high.max(),
        sigma=(0.1 * side / 224, 2.0 * side / 224),  # in pixels, of images of 224
        flip=color if flip is None else flip,
        pace=0.5,
    )
