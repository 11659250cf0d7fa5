"""Resize Pillow images to the size of a spec."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from PIL import Image

from aekit.data._cropping import crop_geometry
from aekit.data.readers._image_files import MAX_MEGAPIXELS
from aekit.data.spec import Kernel, Resize, SampleSpec
from aekit.registry.options import Field

Side = Annotated[int, Field(ge=1, le=8192)]
Size = Literal["auto"] | Side | Annotated[list[Side], Field(min_length=2, max_length=2)]

_SIZE = "side in pixels, or [height, width]; auto: the size that all images share, up to 96, else 64"
_RESIZE = "crop the center, pad with black, stretch, or crop in whole pixels as torchvision does"
_CROP_PCT = "fraction of the shorter side that crop and torchvision keep"


class ResizingOptions(TypedDict, total=False):
    """Options of sources that resize images."""

    size: Annotated[Size, Field(default="auto", description=_SIZE)]
    resize: Annotated[Resize, Field(default="crop", description=_RESIZE)]
    crop_pct: Annotated[float, Field(default=1.0, gt=0, le=1, description=_CROP_PCT)]
    interpolation: Annotated[Kernel, Field(default="bicubic", description="kernel for resizing images")]


MaxMegapixels = Annotated[
    float, Field(default=MAX_MEGAPIXELS, gt=0, description="size of the largest image that is read, a limit on memory")
]


class DecodingOptions(ResizingOptions, total=False):
    """Options of sources that decode images from files or bytes."""

    max_megapixels: MaxMegapixels


def resize_image(image: Image.Image, spec: SampleSpec) -> Image.Image:
    """Resize an image to the size of a spec; Pillow widens the kernel when shrinking, so that fine patterns do not alias."""
    height, width = spec.shape[-2:]
    kernel = Image.Resampling[spec.interpolation.upper()]
    if image.size == (width, height) and spec.crop_pct == 1:
        return image
    if spec.resize == "stretch":
        return image.resize((width, height), kernel)
    if spec.resize == "torchvision":
        (tall, wide), (top, left) = crop_geometry((image.height, image.width), (height, width), spec.crop_pct)
        return image.resize((wide, tall), kernel).crop((left, top, left + width, top + height))
    if spec.resize == "pad":
        scale = min(width / image.width, height / image.height)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        background = Image.new(image.mode, (width, height))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        background.paste(image.resize(inner, kernel), (left, top))
        return background
    scale = max(width / image.width, height / image.height) / spec.crop_pct
    x, y = (image.width - width / scale) / 2, (image.height - height / scale) / 2
    box = (max(0.0, x), max(0.0, y), min(image.width, image.width - x), min(image.height, image.height - y))
    return image.resize((width, height), kernel, box)
