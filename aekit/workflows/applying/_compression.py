"""Measure the size of codes, compared with JPEG and PNG files."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aekit.data.spec import SampleSpec
from aekit.evaluation.metrics.image import psnr_from_mse, squared_errors

MAX_COMPARED = 200
"""Number of images to compress as JPEG and PNG."""


@dataclass(frozen=True)
class Uint8Quantizer:
    """Quantize codes to one byte per entry, uniformly over the range of each entry.

    Attributes:
        low, high: (D,) the range; values outside are clipped.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, codes: Iterable[Tensor]) -> Uint8Quantizer:
        """Fit the range to batches of (B, D) codes."""
        limits = [(code.amin(0), code.amax(0)) for code in codes]
        return cls(torch.stack([low for low, _ in limits]).amin(0), torch.stack([high for _, high in limits]).amax(0))

    def pack(self, code: Tensor) -> Tensor:
        """Quantize (B, D) floats to (B, D) uint8."""
        step = (self.high - self.low).clamp(min=1e-12) / 255
        return ((code - self.low) / step).round().clamp(0, 255).to(torch.uint8)

    def unpack(self, packed: Tensor) -> Tensor:
        """Convert (B, D) uint8 back to (B, D) floats, with an error of at most half a step within the range."""
        return self.low + packed.float() * (self.high - self.low) / 255


@dataclass(frozen=True)
class FileSizes:
    """Sizes of images as files.

    Attributes:
        png: mean bytes of a PNG, which is lossless.
        jpeg: mean bytes of a JPEG of the quality below.
        header: bytes of a JPEG of a single color: its header and tables.
        quality: the lowest quality, of 1 to 95, that reaches the target PSNR; None if 95 does not.
        psnr: mean PSNR of those JPEGs.
    """

    png: float
    jpeg: float
    header: float
    quality: int | None
    psnr: float


def supports_jpeg(spec: SampleSpec) -> bool:
    """Return whether samples can be JPEG files: 8-bit grayscale or RGB."""
    return spec.is_image and spec.dtype == "uint8" and spec.shape[0] in (1, 3)


def measure_file_sizes(images: np.ndarray, target_psnr: float) -> FileSizes:
    """Measure the sizes of images as PNG and JPEG files.

    Args:
        images: (N, C, H, W) uint8 with C of 1 or 3.
        target_psnr: mean PSNR in dB that the JPEGs should reach.
    """
    opened = [Image.fromarray(p[0] if len(p) == 1 else p.transpose(1, 2, 0)) for p in images]
    true = torch.from_numpy(np.stack([np.asarray(image) for image in opened]))

    def jpeg(quality: int) -> tuple[float, float]:
        files = [_compress(image, "JPEG", quality=quality) for image in opened]
        decoded = torch.from_numpy(np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]))
        psnr = psnr_from_mse(squared_errors(decoded, true), 255)
        return float(np.mean([len(file) for file in files])), float(psnr.mean())

    low, high = 1, 95
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if jpeg(middle)[1] >= target_psnr else (middle + 1, high)
    size, reached = jpeg(low)
    plain = Image.new(opened[0].mode, opened[0].size)
    return FileSizes(
        png=float(np.mean([len(_compress(image, "PNG")) for image in opened])),
        jpeg=size,
        header=float(len(_compress(plain, "JPEG", quality=low))),
        quality=low if reached >= target_psnr else None,
        psnr=reached,
    )


def _compress(image: Image.Image, kind: str, **settings: int) -> bytes:
    stored = io.BytesIO()
    image.save(stored, kind, optimize=True, **settings)
    return stored.getvalue()
