"""Variations of MNIST: rotated digits, noise backgrounds, and few training samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit.plugin import DataError, Field, RowIds, SampleSpec, Source, closest_name, open_data

NAMES = ("basic", "rot", "bg-rand", "rot-bg-rand")

Count = Annotated[int, Field(ge=1)]


class MnistVariations(Source):
    """Rotate the digits of MNIST or draw them on noise, as the original samples are no longer available.

    The 70,000 digits are shuffled and split; the angle and background of each are fixed:

    - ``basic``: unchanged;
    - ``rot``: rotated around the center by an angle uniform in 0..2 pi, bilinear, dark outside;
    - ``bg-rand``: each pixel is the maximum of the digit and noise uniform in 0..255;
    - ``rot-bg-rand``: both.

    All sets of one seed hold the same digits in the same order, so that one can be the target of another. Samples are
    generated when they are read.

    Larochelle, Erhan, Courville, Bergstra and Bengio, An empirical evaluation of deep architectures on problems with many
    factors of variation, 2007.

    Raises:
        DataError: the name is unknown, or there are too few digits, or they are not 8-bit images.
    """

    def __init__(
        self,
        where: str,
        like: SampleSpec | None = None,
        *,
        seed: Annotated[int, Field(ge=0, description="seed of the order, the angles and the noise")] = 0,
        digits: Annotated[
            str,
            Field(min_length=1, description="data to vary: any 8-bit images, such as a folder of IDX files"),
        ] = "torchvision:MNIST",
        train: Annotated[Count, Field(description="number of training samples")] = 10_000,
        validation: Annotated[Count, Field(description="number of validation samples")] = 2_000,
        test: Annotated[Count, Field(description="number of test samples")] = 50_000,
        max_angle: Annotated[float, Field(gt=0, le=360, description="maximum angle of rot, in degrees")] = 360.0,
    ) -> None:
        if where not in NAMES:
            raise DataError(f"mnist-variations:{where}: no such data set{closest_name(where, NAMES)}")
        self._digits = source = open_data(digits)
        if not source.spec.is_image or source.spec.dtype != "uint8":
            raise DataError(f"mnist-variations:{where}: {digits} holds {source.spec}; expected 8-bit images")
        count = train + validation + test
        if count > len(source):
            raise DataError(
                f"mnist-variations:{where}: {digits} holds {len(source)} samples; expected at least {count}"
            )
        generator = np.random.default_rng(seed)
        self._rows = generator.permutation(len(source))[:count]
        self._angles = generator.random(count) * np.deg2rad(max_angle) if "rot" in where else None
        self._noise = seed if "bg-rand" in where else None
        self.spec, self.slow, self.skipped = source.spec, source.slow, {}
        self.notes, self.losses = source.notes, source.losses
        self.splits = np.repeat(["train", "validation", "test"], [train, validation, test])
        self.labels = None if source.labels is None else source.labels[self._rows]
        self.ids = RowIds(self.splits, count)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, ok = self._digits.read(self._rows[indices])
        if self._angles is not None:
            images = rotate_images(images, self._angles[indices])
        if self._noise is not None:
            # A generator for each sample, so that its background does not depend on the rest of the batch.
            blocks = [np.random.default_rng((self._noise, int(index))).bytes(self.spec.size) for index in indices]
            noise = np.frombuffer(b"".join(blocks), np.uint8).reshape(images.shape)
            images = np.maximum(images, noise)
        for position in np.flatnonzero(~ok):
            row = int(self._rows[indices[position]])
            self.skipped[self.ids[int(indices[position])]] = self._digits.skipped[self._digits.ids[row]]
        return images * ok[:, None, None, None], ok


def rotate_images(images: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Rotate images around their centers, with bilinear interpolation and 0 outside.

    Args:
        images: (B, C, H, W) uint8.
        angles: (B,) radians, counterclockwise.
    """
    high, wide = images.shape[2:]
    y, x = np.mgrid[:high, :wide] - np.array([high - 1, wide - 1])[:, None, None] / 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    # Source coordinates of each pixel; clipping has no effect beyond a border of zeros.
    down = (sin * x + cos * y + (high - 1) / 2 + 1).clip(0, high + 1)
    across = (cos * x - sin * y + (wide - 1) / 2 + 1).clip(0, wide + 1)
    top, left = np.minimum(down.astype(np.intp), high), np.minimum(across.astype(np.intp), wide)
    below, right = (down - top)[..., None], (across - left)[..., None]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 3, 1)
    index = np.arange(len(images))[:, None, None]
    upper = padded[index, top, left] * (1 - right) + padded[index, top, left + 1] * right
    lower = padded[index, top + 1, left] * (1 - right) + padded[index, top + 1, left + 1] * right
    return (upper * (1 - below) + lower * below).round().astype(np.uint8).transpose(0, 3, 1, 2)


def example(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return an example for the conformance kit to open."""
    from aekit.plugin import write_mnist

    return "rot-bg-rand", {"digits": str(write_mnist(folder)), "train": 6, "validation": 2, "test": 4}
