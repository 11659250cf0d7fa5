"""Augment images and clips: random resized crop, flip, color jitter, grayscale, blur and solarize.

Implemented for batches in few operations: kornia took four times as long for small grayscale images and seven times for color,
as long as the network itself.
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
from aekit.io.device_constants import constant_like
from aekit.nn.augment.base import Augmentation, Strength, bernoulli, format_percent, uniform
from aekit.nn.blur import gaussian_blur

RATIO = 4 / 3
"""Maximum aspect ratio of a crop, and its inverse the minimum."""
JITTER_PROBABILITY = 0.8
"""Probability of color jitter."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a color (ITU-R BT.601)."""
CHROMA = ((0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
"""I and Q of red, green and blue in YIQ (NTSC), in which hue is an angle; Y is the brightness."""
MIN_BLUR = 0.4
"""Standard deviation in pixels below which a blur is invisible."""


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation(Augmentation):
    """Random crop of a fraction `crop_scale` of the area, resized to the full size; for most samples, jitter of brightness,
    contrast, saturation and hue, in this order; for some, grayscale, blur or solarization.

    All frames of a clip are augmented alike, and a part of its time is stretched to the full length. Color changes apply to
    three channels. Hue is rotated in YIQ, which keeps brightness and is much cheaper than HSV, which does not.

    Chen, Kornblith, Norouzi and Hinton, A simple framework for contrastive learning of visual representations, 2020;
    solarization: Grill et al., Bootstrap your own latent, 2020.

    Attributes:
        black, white: (), minimum and maximum of the image range.
        jitter: maximum relative change of brightness, contrast and saturation.
        hue: maximum rotation of the hue, in turns.
        grayscale, blur, solarize: probabilities.
        sigma: minimum and maximum standard deviation of the blur in pixels.
        flip: whether half of the samples are mirrored.
        pace: minimum fraction of a clip's time.
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
        color = ", color" if self.hue or self.grayscale else ""
        mirrored = "mirrored or not" if self.flip else "never mirrored"
        blurred, solarized = ", blur" if self.blurs else "", ", solarize" if self.solarize else ""
        return f"{format_percent(self.crop_scale)} of the area, {mirrored}; brightness, contrast{color}{blurred}{solarized}"

    @property
    def blurs(self) -> bool:
        """Whether blur is on and visible."""
        return self.blur > 0 and self.sigma[1] >= MIN_BLUR

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count = len(x)
        x = self._crop(x, generator)
        black, white = self.black.to(x.device), self.white.to(x.device)
        if not self.unit:
            x = (x - black) / (white - black).clamp(min=1e-12)
        x = self._jitter(x, generator)
        if self.blurs:
            sigma = uniform(count, *self.sigma, generator).where(bernoulli(count, self.blur, generator), 0.0)
            frames = x.transpose(1, 2).flatten(0, 1) if x.ndim == 5 else x  # (B * T, C, H, W)
            blurred = gaussian_blur(frames, sigma.repeat_interleave(len(frames) // count), math.ceil(2 * self.sigma[1]))
            x = blurred.unflatten(0, (count, -1)).transpose(1, 2) if x.ndim == 5 else blurred
        if self.solarize:
            inverted = bernoulli(count, self.solarize, generator).view(-1, *(1,) * (x.ndim - 1))
            x = torch.where(inverted & (x >= 0.5), 1 - x, x)
        return x if self.unit else black + x * (white - black)

    def _crop(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, *_, height, width = x.shape
        area = self.crop_scales(count, generator)
        ratio = uniform(count, -math.log(RATIO), math.log(RATIO), generator).exp() * height / width
        # A box that does not fit keeps its area and becomes longer along the other axis.
        relative_height = (area / (area * ratio).sqrt().clamp(max=1)).clamp(max=1)
        sides = [area / relative_height, relative_height]
        if x.ndim == 5:
            sides.append(uniform(count, self.pace, 1, generator))
        places = [uniform(count, 0, 1, generator) for _ in sides]
        mirrored = bernoulli(count, 0.5 if self.flip else 0.0, generator)
        return crop_and_resize(x, torch.stack(sides), torch.stack(places), mirrored)

    def _jitter(self, x: Tensor, generator: torch.Generator) -> Tensor:
        count, low = len(x), 1 - self.jitter
        jittered = bernoulli(count, JITTER_PROBABILITY, generator)
        factors = [uniform(count, low, 1 + self.jitter, generator).where(jittered, 1.0) for _ in range(3)]
        turn = uniform(count, -self.hue, self.hue, generator).where(jittered, 0.0)
        saturation = factors[2].where(~bernoulli(count, self.grayscale, generator), 0.0)
        return color_jitter(x, factors[0], factors[1], saturation, turn)


def crop_and_resize(x: Tensor, sides: Tensor, places: Tensor, mirrored: Tensor) -> Tensor:
    """Crop a box of each sample and resize it to the full size, by linear interpolation.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W).
        sides: (n, B) sides of the box as fractions of the whole: width, height and, for clips, duration.
        places: (n, B) position of the box along each axis, from 0 to 1.
        mirrored: (B,) bool, flip left to right.
    """
    # One row per axis, the last axis first. In grid coordinates, the whole extends from -1 to 1.
    maps = torch.diag_embed(sides.T)  # (B, n, n)
    maps[:, 0, 0] *= torch.where(mirrored, -1.0, 1.0)
    offsets = (2 * places - 1) * (1 - sides)
    grid = F.affine_grid(torch.cat([maps, offsets.T[:, :, None]], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def color_jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of each sample by one affine map of its colors.

    Args:
        x: (B, C, ...) in [0, 1].
        brightness: (B,) factors.
        contrast: (B,) factors on the distance from the sample's mean brightness.
        saturation: (B,) factors on the distance from gray; 0 removes the color. Only for three channels, as `turn`.
        turn: (B,) rotations of the hue, in turns.

    Returns:
        (B, C, ...) in [0, 1].
    """
    pixels = x.flatten(2)  # (B, C, N)
    gain = (brightness * contrast)[:, None, None]
    if x.shape[1] == 3:
        mean = pixels.mean(2) @ constant_like(_luma, like=turn)
        colored = (gain * color_jitter_matrices(saturation, turn)) @ pixels
    else:
        mean, colored = pixels.mean((1, 2)), gain * pixels
    # The offset is gray, which the color maps leave unchanged.
    return (colored + ((1 - contrast) * brightness * mean)[:, None, None]).clamp(0, 1).view_as(x)


def color_jitter_matrices(saturation: Tensor, turn: Tensor) -> Tensor:
    """Return RGB maps (B, 3, 3) for factors (B,) on the distance from gray and hue rotations (B,) in turns."""
    cosine, sine = saturation * (2 * math.pi * turn).cos(), saturation * (2 * math.pi * turn).sin()
    rotation = torch.zeros(len(turn), 3, 3, device=turn.device)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = cosine
    rotation[:, 1, 2], rotation[:, 2, 1] = -sine, sine
    return constant_like(_from_yiq, like=turn) @ rotation @ constant_like(_to_yiq, like=turn)


def _luma() -> Tensor:
    return torch.tensor(LUMA)


def _to_yiq() -> Tensor:
    return torch.tensor([LUMA, *CHROMA])


def _from_yiq() -> Tensor:
    return torch.linalg.inv(_to_yiq().double()).float()


PRESETS: dict[str, dict[str, Any]] = {
    "weak": {"crop_scale": (0.5, 1.0), "jitter": 0.2, "hue": 0.05, "grayscale": 0.1, "blur": 0.0, "solarize": 0.0},
    "default": {"crop_scale": (0.2, 1.0), "jitter": 0.4, "hue": 0.1, "grayscale": 0.2, "blur": 0.5, "solarize": 0.0},
    "strong": {"crop_scale": (0.08, 1.0), "jitter": 0.8, "hue": 0.2, "grayscale": 0.2, "blur": 0.5, "solarize": 0.2},
}
"""Strong: the ImageNet settings of Chen et al. plus solarization; default: their color settings for CIFAR-10."""
GRAY_PRESETS: dict[str, dict[str, Any]] = {
    name: {
        "crop_scale": (scale, 1.0),
        "jitter": jitter,
        "hue": 0.0,
        "grayscale": 0.0,
        "blur": PRESETS[name]["blur"],
        "solarize": 0.0,
    }
    for name, scale, jitter in (("weak", 0.9, 0.4), ("default", 0.8, 0.8), ("strong", 0.5, 0.8))
}
"""Without color in common, small crops of an image are hard to match, and larger ones work better; chosen on Fashion-MNIST."""


def image_augmentation(
    spec: SampleSpec, preprocess: Preprocess, strength: Strength = "default", flip: bool | None = None
) -> ImageAugmentation:
    """Return the augmentation for images (C, H, W) and clips (C, T, H, W).

    Args:
        spec: spec of the samples.
        preprocess: preprocessing of the samples.
        strength: name of the preset.
        flip: whether to mirror half of them; by default only in color, since grayscale images are often digits, text or scans.
    """
    color = spec.shape[0] == 3
    side = min(spec.shape[-2:])
    return ImageAugmentation(
        **(PRESETS if color else GRAY_PRESETS)[strength],
        unit=preprocess.unit,
        black=preprocess.low.min(),
        white=preprocess.high.max(),
        sigma=(0.1 * side / 224, 2.0 * side / 224),  # in pixels, relative to 224
        flip=color if flip is None else flip,
        pace=0.5,
    )
