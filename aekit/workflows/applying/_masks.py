"""Find the masked parts of samples: from mask files, transparency, or a mask value."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np

from aekit.data.opening import open_data
from aekit.data.readers.image_headers import BadImage
from aekit.data.readers.images import read_full_size
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, RecipeError
from aekit.workflows.applying._context import Context
from aekit.workflows.applying._references import CleanReferences, image_files

TRANSPARENT = "transparent"
ARRAYS = (".npy", ".npz")


class InpaintingMasks:
    """The mask of each sample.

    Args:
        mask: an image or array for all samples, or one for each of them, named as for `CleanReferences`; pixels brighter than
            half of the maximum are masked. None: `value` defines the mask.
        value: ``transparent``, for pixels of image files that are not opaque; or a number, or one for each channel, such as
            ``255,0,255``, in the units of the data: pixels of that value are masked.
        context: the run and the data.
        source: the samples.
        original_size: whether images are read at their original size.

    Raises:
        RecipeError: the value has another form.
        DataError: masks are missing or do not fit.
    """

    def __init__(self, mask: Any, value: str | None, context: Context, source: Source, original_size: bool) -> None:
        self.spec, self.source, self.original_size = context.spec, source, original_size
        self.masks: CleanReferences | None = None
        self.color: np.ndarray | None = None
        if mask is not None:
            # Arrays are used unchanged; images are resized like the samples.
            array = not isinstance(mask, (str, os.PathLike)) or os.fspath(mask).lower().endswith(ARRAYS)
            gray = replace(self.spec, shape=(1, *self.spec.shape[1:]), dtype="uint8")
            unchanged = original_size or array or not self.spec.is_image
            self.masks = CleanReferences(mask, context, source, unchanged, gray, "mask", shared=True)
        elif value != TRANSPARENT:
            self.color = _numbers(str(value), self.spec.shape[0])
        elif not image_files(source):
            raise DataError(f"mask_value = {value!r}: only image files have transparency; use a mask")
        elif not original_size:
            rgba = SampleSpec("image", (4, *self.spec.shape[1:]), "uint8", self.spec.resize)
            self.layers = open_data(context.data, context.options, like=rgba)

    def mask_for(self, row: int, raw: np.ndarray) -> np.ndarray:
        """Return the bool (1, ...) mask of a (*shape) sample at a position of the source."""
        if self.masks is not None:
            values = self.masks.reference_for(row, None)
            if values.shape[1:] != raw.shape[1:]:
                if values.size != math.prod(raw.shape[1:]):
                    mask_size, sample_size = ("x".join(map(str, each.shape)) for each in (values, raw))
                    raise DataError(
                        f"{self.source.ids[row]}: mask of size {mask_size} for a sample of size {sample_size}"
                    )
                values = values.reshape(1, *raw.shape[1:])
            hidden = (values > values.max() / 2).any(0, keepdims=True)
        elif self.color is not None:
            hidden = (raw == self.color.reshape(-1, *[1] * (raw.ndim - 1))).all(0, keepdims=True)
        else:
            hidden = self._opacity(row) < 255
        return hidden

    def _opacity(self, row: int) -> np.ndarray:
        """Return the (1, H, W) opacity in 0..255."""
        if not self.original_size:
            return self.layers.read(np.asarray([row]))[0][0][3:]
        path = image_files(self.source)[row]
        try:
            return read_full_size(path, SampleSpec("image", (4, 1, 1), "uint8"))[3:]
        except BadImage as error:
            raise DataError(f"{path}: {error}") from None


def _numbers(text: str, channels: int) -> np.ndarray:
    """Parse (1,) or (C,) values such as ``255,0,255``."""
    try:
        values = np.asarray([float(part) for part in text.split(",")])
    except ValueError:
        values = np.empty(0)
    if len(values) not in (1, channels):
        expected = (
            f"{TRANSPARENT!r}, a number, or {channels} separated by commas"
            if channels > 1
            else f"{TRANSPARENT!r} or a number"
        )
        raise RecipeError([f"mask_value = {text!r}: expected {expected}"])
    return values
