"""Determine the axes of arrays: vectors, series, images or clips, with the channels first or last."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from aekit.data.spec import Kind, SampleSpec
from aekit.errors import DataError

KindOption = Literal["auto", "vector", "series", "image", "clip"]
Layout = Literal["auto", "channels-first", "channels-last"]


def infer_axes(
    array: np.ndarray, kind: KindOption = "auto", layout: Layout = "auto", like: SampleSpec | None = None
) -> tuple[np.ndarray, Kind | None, str]:
    """Determine the axes of an array. No other code decides this.

    ====== ================================= ===========================================================
    axes   read as                           unless
    ====== ================================= ===========================================================
    2      vectors (N, D)
    3      gray images (N, H, W)           neither uint8, uint16, bool nor square: then series (N, C, T)
    4      images (N, C, H, W)             the last axis is 1, 3 or 4 and the second is not: (N, H, W, C);
                                             likewise if neither is, and H = W > C in that order
    5      clips (N, C, T, H, W)             likewise (N, T, H, W, C)
    ====== ================================= ===========================================================

    An array with one axis less than its kind needs gets a channel axis. If `like` is given, an interpretation that fits it
    takes precedence; an array of the shape of one sample is then one sample, and whole numbers are measurements.

    Returns:
        the array (N, *shape), channels first; its kind, None if unknown; a note on an ambiguous choice, or "".

    Raises:
        DataError: the array does not fit `kind`.
    """
    readings = list(_readings(array, kind, layout))
    if like is not None:
        fitting = [(a, k) for a, k in readings + list(_readings(array[None], kind, layout)) if _alike(a, k, like)]
        if fitting:
            arranged, inferred = fitting[0]
            return _as_measured(arranged, like), inferred, ""
    if not readings:
        if kind != "auto":
            raise DataError(f"array of shape {array.shape}: cannot be read as kind {kind!r}")
        return array, None, ""
    arranged, inferred = readings[0]
    note = ""
    if kind == "auto" and array.ndim == 3 and inferred == "series":
        _, channels, steps = array.shape
        note = f"read as series of {channels} channels and {steps} steps; kind = 'image' reads gray images"
    elif kind == "auto" and array.ndim == 3 and inferred == "image" and array.dtype not in _PIXELS:
        side = array.shape[1]
        note = f"read as gray images of {side}x{side}, as they are square; kind = 'series' reads {side} channels of {side} steps"
    elif kind == "auto" and array.ndim == 3 and inferred == "image" and _looks_like_one_image(array.shape):
        count, height, width = array.shape
        note = (
            f"read as {count} gray images of {height}x{width}; a single color image is array[None], (1, H, W, {width})"
        )
    elif layout == "auto" and inferred in _VISUAL and array.ndim == _AXES[inferred]:
        note = _note_on_channels(array.shape, inferred)
    return arranged, inferred, note


def _note_on_channels(shape: tuple[int, ...], kind: Kind) -> str:
    """Return a note on which axis holds the channels, where that is neither usual nor certain, or ""."""
    first, last = shape[1], shape[-1]
    if _ends_in_channels(shape) and last not in _CHANNELS:
        return f"read as {kind}s of {last} channels, which come last; layout = 'channels-first' reads {first} channels"
    if not _ends_in_channels(shape) and first not in _CHANNELS and last < first:
        return f"read as {kind}s of {first} channels, which come first; layout = 'channels-last' reads {last} channels"
    return ""


def _ends_in_channels(shape: tuple[int, ...]) -> bool:
    """Return whether (N, H, W, C) or (N, T, H, W, C) is likelier than channels after the first axis."""
    is_square = shape[-3] == shape[-2] > shape[-1]  # images of any number of bands
    if len(shape) == _AXES["clip"] and is_square:  # the second axis may count the frames
        return True
    if shape[1] in _CHANNELS or shape[-1] in _CHANNELS:
        return shape[1] not in _CHANNELS
    return is_square


def _looks_like_one_image(shape: tuple[int, ...]) -> bool:
    """Return whether an array of three axes has the shape of one image, (H, W, C)."""
    return shape[2] in _CHANNELS[1:] and min(shape[:2]) >= _SQUARE


_AXES: dict[Kind, int] = {"vector": 2, "series": 3, "image": 4, "clip": 5}
_VISUAL = ("image", "clip")
_CHANNELS = (1, 3, 4)
_PIXELS = (np.uint8, np.uint16, np.bool_)
_SQUARE = 8
"""Smallest side of square arrays of other numbers that are images."""


def _readings(array: np.ndarray, kind: KindOption, layout: Layout) -> list[tuple[np.ndarray, Kind]]:
    """Return every interpretation of the axes, the most likely first."""
    kinds: list[Kind]
    if kind != "auto":
        kinds = [kind]
    else:
        kinds = [k for k in get_args(Kind) if array.ndim == _AXES[k] or array.ndim == _AXES[k] - 1 >= 2]
        square = array.ndim == 3 and array.shape[1] == array.shape[2] >= _SQUARE
        images = square or (array.ndim == 3 and array.dtype in _PIXELS)
        kinds.sort(key=lambda k: (images and k != "image", array.ndim != _AXES[k]))
    readings: list[tuple[np.ndarray, Kind]] = []
    for k in kinds:
        if k == "vector":
            if array.ndim == 2 or (kind == "vector" and array.ndim > 2):
                readings.append((array.reshape(len(array), math.prod(array.shape[1:])), k))
        elif array.ndim == _AXES[k] - 1:
            readings.append((array[:, None], k))
        elif array.ndim == _AXES[k]:
            first, last = (array, k), (np.moveaxis(array, -1, 1), k)
            both = [last, first] if k in _VISUAL and _ends_in_channels(array.shape) else [first, last]
            readings += both if layout == "auto" else [last if layout == "channels-last" else first]
    return readings


def _as_measured(array: np.ndarray, like: SampleSpec) -> np.ndarray:
    """Return whole numbers as the floats of an encoder of vectors or series. Pixels stay: gray is 0..255 or 0..1."""
    are_whole = array.dtype.kind in "uib" and not isinstance(array, np.memmap)
    return array.astype(like.dtype) if are_whole and like.dtype.startswith("float") and not like.is_visual else array


def _alike(array: np.ndarray, kind: Kind, like: SampleSpec) -> bool:
    return kind == like.kind and array.shape[1:] == like.shape
