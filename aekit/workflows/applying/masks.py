"""Where samples are to be restored: masks beside them, transparent parts of images, or a value that stands for a hole."""

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
from aekit.workflows.applying.context import Context
from aekit.workflows.applying.references import CleanReferences, image_files

TRANSPARENT = "transparent"
ARRAYS = (".npy", ".npz")


class InpaintingMasks:
    """The hole in each sample.

    Args:
        mask: an image or array for all samples, or one for each of them, named as `Originals` are; a hole is where a mask is
            brighter than half of its brightest. None: `value` says what a hole is.
        value: ``transparent``, for what is not opaque in image files; or a number, or one for each channel, such as
            ``255,0,255``, in the data's units: a hole is where a sample has it.
        job: whose data has holes.
        source: the samples.
        own_size: whether images are read at their own size.

    Raises:
        RecipeError: a value of another form.
        DataError: masks that are not there, or do not fit.
    """

    def __init__(self, mask: Any, value: str | None, context: Context, source: Source, own_size: bool) -> None:
        self.spec, self.source, self.own_size = context.spec, source, own_size
        self.masks: CleanReferences | None = None
        self.color: np.ndarray | None = None
        self.empty = 0
        """Samples without a hole, so far."""
        if mask is not None:
            # Arrays are taken as they are; images are brought to the size that the samples are brought to.
            array = not isinstance(mask, (str, os.PathLike)) or os.fspath(mask).lower().endswith(ARRAYS)
            gray = replace(self.spec, shape=(1, *self.spec.shape[1:]), dtype="uint8")
            as_it_is = own_size or array or not self.spec.is_image
            self.masks = CleanReferences(mask, context, source, as_it_is, gray, "mask", shared=True)
        elif value != TRANSPARENT:
            self.color = _numbers(str(value), self.spec.shape[0])
        elif not image_files(source):
            raise DataError(
                f"mask_value = {value!r}: only image files have transparent parts; give the holes as a mask"
            )
        elif not own_size:
            see_through = SampleSpec("image", (4, *self.spec.shape[1:]), "uint8", self.spec.resize)
            self.layers = open_data(context.data, context.options, like=see_through)

    def mask_for(self, row: int, raw: np.ndarray) -> np.ndarray:
        """(*shape) sample at a position of the source -> bool (1, ...), True in the hole."""
        if self.masks is not None:
            values = self.masks.reference_for(row, None)
            if values.shape[1:] != raw.shape[1:]:
                if values.size != math.prod(raw.shape[1:]):
                    one, other = ("x".join(map(str, each.shape)) for each in (values, raw))
                    raise DataError(f"{self.source.ids[row]}: a mask of {one} for a sample of {other}")
                values = values.reshape(1, *raw.shape[1:])
            hidden = (values > values.max() / 2).any(0, keepdims=True)
        elif self.color is not None:
            hidden = (raw == self.color.reshape(-1, *[1] * (raw.ndim - 1))).all(0, keepdims=True)
        else:
            hidden = self._opacity(row) < 255
        self.empty += not hidden.any()
        return hidden

    def _opacity(self, row: int) -> np.ndarray:
        """(1, H, W) of 0..255."""
        if not self.own_size:
            return self.layers.read(np.asarray([row]))[0][0][3:]
        path = image_files(self.source)[row]
        try:
            return read_full_size(path, SampleSpec("image", (4, 1, 1), "uint8"))[3:]
        except BadImage as error:
            raise DataError(f"{path}: {error}") from None


def _numbers(text: str, channels: int) -> np.ndarray:
    """(1,) or (C,) from ``255,0,255``."""
    try:
        found = np.asarray([float(part) for part in text.split(",")])
    except ValueError:
        found = np.empty(0)
    if len(found) not in (1, channels):
        wanted = (
            f"{TRANSPARENT!r}, a number, or {channels} with commas between"
            if channels > 1
            else f"{TRANSPARENT!r} or a number"
        )
        raise RecipeError([f"mask_value = {text!r}: expected {wanted}"])
    return found
