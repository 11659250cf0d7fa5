"""What a code costs, beside formats made for compression: bytes a sample, at what fidelity."""

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
"""Images that JPEG and PNG are tried on."""


@dataclass(frozen=True)
class Uint8Quantizer:
    """Codes in a byte an entry: each entry's range in even steps.

    Attributes:
        low, high: (D,) the range; what lies outside is cut.
    """

    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, codes: Iterable[Tensor]) -> Uint8Quantizer:
        """The range of batches of (B, D) codes."""
        ends = [(code.amin(0), code.amax(0)) for code in codes]
        return cls(torch.stack([low for low, _ in ends]).amin(0), torch.stack([high for _, high in ends]).amax(0))

    def pack(self, code: Tensor) -> Tensor:
        """(B, D) float -> (B, D) uint8."""
        step = (self.high - self.low).clamp(min=1e-12) / 255
        return ((code - self.low) / step).round().clamp(0, 255).to(torch.uint8)

    def unpack(self, packed: Tensor) -> Tensor:
        """(B, D) uint8 -> (B, D) float, off by at most half a step within the range."""
        return self.low + packed.float() * (self.high - self.low) / 255


@dataclass(frozen=True)
class FileSizes:
    """What images take as files.

    Attributes:
        png: mean bytes of a PNG, which loses nothing.
        jpeg: mean bytes of a JPEG of the quality below.
        header: bytes of those that an image of one color takes too.
        quality: the least, of 1 to 95, whose mean PSNR is that which was asked for; None where 95 does not reach it.
        psnr: mean PSNR of those JPEGs.
    """

    png: float
    jpeg: float
    header: float
    quality: int | None
    psnr: float


def supports_jpeg(spec: SampleSpec) -> bool:
    """Whether samples can be JPEG files: 8 bits of gray or RGB."""
    return spec.is_image and spec.dtype == "uint8" and spec.shape[0] in (1, 3)


def measure_file_sizes(images: np.ndarray, wanted: float) -> FileSizes:
    """Sizes of files.

    Args:
        images: (N, C, H, W) uint8 with C of 1 or 3.
        wanted: mean PSNR that the JPEGs should reach.
    """
    shown = [Image.fromarray(p[0] if len(p) == 1 else p.transpose(1, 2, 0)) for p in images]
    true = torch.from_numpy(np.stack([np.asarray(image) for image in shown]))

    def jpeg(quality: int) -> tuple[float, float]:
        packed = [_packed(image, "JPEG", quality=quality) for image in shown]
        back = torch.from_numpy(np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in packed]))
        ratios = psnr_from_mse(squared_errors(back, true), 255)
        return float(np.mean([len(one) for one in packed])), float(ratios.mean())

    low, high = 1, 95
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if jpeg(middle)[1] >= wanted else (middle + 1, high)
    size, reached = jpeg(low)
    plain = Image.new(shown[0].mode, shown[0].size)
    return FileSizes(
        png=float(np.mean([len(_packed(image, "PNG")) for image in shown])),
        jpeg=size,
        header=float(len(_packed(plain, "JPEG", quality=low))),
        quality=low if reached >= wanted else None,
        psnr=reached,
    )


def _packed(image: Image.Image, kind: str, **settings: int) -> bytes:
    stored = io.BytesIO()
    image.save(stored, kind, optimize=True, **settings)
    return stored.getvalue()
