"""MNIST made harder: digits turned, or on a background of noise, few of them to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit.plugin import DataError, Field, RowIds, SampleSpec, Source, closest_name, open_data

NAMES = ("basic", "rot", "bg-rand", "rot-bg-rand")

Count = Annotated[int, Field(ge=1)]


class MnistVariations(Source):
    """The sets of Larochelle, Erhan, Courville, Bergstra and Bengio, An empirical evaluation of deep architectures on
    problems with many factors of variation, 2007, made anew from MNIST; not their very samples, which are no longer to be
    had. The 70,000 digits are shuffled and divided; each is then turned and given its background once and for all:

    - ``basic``: as they are;
    - ``rot``: turned about the center by an angle uniform in 0..2 pi, bilinear, dark outside;
    - ``bg-rand``: each pixel is the brighter of the digit and noise uniform in 0..255;
    - ``rot-bg-rand``: both.

    All of one seed hold the same digits in the same order, so that one can be the target of another. Samples are made
    when they are read.

    Raises:
        DataError: another name; there are no digits, or fewer than are asked for, or they are not 8-bit images.
    """

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        seed: Annotated[int, Field(ge=0, description="of the order, the angles and the noise")] = 0,
        of: Annotated[
            str,
            Field(min_length=1, description="where the digits are: any 8-bit images, such as a folder of IDX files"),
        ] = "torchvision:MNIST",
        train: Annotated[Count, Field(description="digits to train on")] = 10_000,
        validation: Annotated[Count, Field(description="digits to choose with")] = 2_000,
        test: Annotated[Count, Field(description="digits to judge by")] = 50_000,
        turn: Annotated[float, Field(gt=0, le=360, description="largest angle of rot, in degrees")] = 360.0,
    ) -> None:
        if where not in NAMES:
            raise DataError(f"mnist-variations:{where}: no such data set{closest_name(where, NAMES)}")
        self._digits = digits = open_data(of)
        if not digits.spec.is_image or digits.spec.dtype != "uint8":
            raise DataError(f"mnist-variations:{where}: {of} holds {digits.spec}; expected images of 8 bits")
        count = train + validation + test
        if count > len(digits):
            raise DataError(f"mnist-variations:{where}: {of} holds {len(digits)} samples; {count} were asked for")
        generator = np.random.default_rng(seed)
        self._rows = generator.permutation(len(digits))[:count]
        self._angles = generator.random(count) * np.deg2rad(turn) if "rot" in where else None
        self._noise = seed if "bg-rand" in where else None
        self.spec, self.slow, self.skipped, self.note = digits.spec, digits.slow, {}, digits.note
        self.splits = np.repeat(["train", "validation", "test"], [train, validation, test])
        self.labels = None if digits.labels is None else digits.labels[self._rows]
        self.ids = RowIds(self.splits, count)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, ok = self._digits.read(self._rows[indices])
        if self._angles is not None:
            images = rotate_images(images, self._angles[indices])
        if self._noise is not None:
            # A generator for each sample, so that its background does not depend on what else is read.
            drawn = [np.random.default_rng((self._noise, int(index))).bytes(self.spec.size) for index in indices]
            noise = np.frombuffer(b"".join(drawn), np.uint8).reshape(images.shape)
            images = np.maximum(images, noise)
        for position in np.flatnonzero(~ok):
            row = int(self._rows[indices[position]])
            self.skipped[self.ids[int(indices[position])]] = self._digits.skipped[self._digits.ids[row]]
        return images * ok[:, None, None, None], ok


def rotate_images(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Images turned about their centers, with bilinear interpolation and 0 outside.

    Args:
        images: (B, C, H, W) uint8.
        angles: (B,) radians, counterclockwise.
    """
    high, wide = images.shape[2:]
    y, x = np.mgrid[:high, :wide] - np.array([high - 1, wide - 1])[:, None, None] / 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    # Where each pixel comes from; beyond a border of zeros it does not matter where.
    down = (sin * x + cos * y + (high - 1) / 2 + 1).clip(0, high + 1)
    across = (cos * x - sin * y + (wide - 1) / 2 + 1).clip(0, wide + 1)
    top, left = np.minimum(down.astype(np.intp), high), np.minimum(across.astype(np.intp), wide)
    below, right = (down - top)[..., None], (across - left)[..., None]
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 3, 1)
    one = np.arange(len(images))[:, None, None]
    upper = framed[one, top, left] * (1 - right) + framed[one, top, left + 1] * right
    lower = framed[one, top + 1, left] * (1 - right) + framed[one, top + 1, left + 1] * right
    return (upper * (1 - below) + lower * below).round().astype(np.uint8).transpose(0, 3, 1, 2)


def example(folder: Path) -> tuple[str, dict[str, Any]]:
    """What the conformance kit opens."""
    from aekit.plugin import write_mnist

    return "rot-bg-rand", {"of": str(write_mnist(folder)), "train": 6, "validation": 2, "test": 4}
