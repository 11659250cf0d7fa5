"""Refuse samples that an encoder was not trained on, and notice those on another scale, such as standardized ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError
from aekit.progress import warn

FEW, MANY = 10, 256
"""Numbers of samples below which nothing is said, as a single one may be an outlier, and of samples that are looked at."""
IMAGES = 2
"""Images that are looked at: each has many values, and may take long to decode."""
NEARLY_BLACK = 1 / 16
"""Fraction of white that the brightest values of other images reach."""


def check_batch(raw: Any, spec: SampleSpec, preprocess: Preprocess) -> None:
    """Check a batch of raw samples (B, *spec.shape) that an encoder would otherwise embed without meaning.

    Raises:
        DataError: no tensor, a single sample, samples of another shape or dtype, or images and clips on another scale than
            those of the training.
    """
    if not isinstance(raw, torch.Tensor):
        advice = "expected a tensor (B, ...); encoder.embed takes other data"
        raise DataError(f"data of type {type(raw).__name__}: {advice}")
    if raw.dim() == len(spec.shape) and tuple(raw.shape) == spec.shape:  # the first alone is known in `torch.export`
        raise DataError("a single sample: expected a batch (B, ...), such as sample[None]")
    if preprocess.scale.dtype in (torch.float16, torch.bfloat16):
        check_width(preprocess)
    # Floats of another width have the same values. Integers may not: gray is 0..255 or 0..1.
    dtype = "uint8" if raw.dtype == torch.bool else str(raw.dtype).removeprefix("torch.")
    if tuple(raw.shape[1:]) != spec.shape or not spec.takes_dtype(dtype):
        shape = "x".join(map(str, raw.shape[1:]))
        raise DataError(f"samples are {spec.kind} {shape} {dtype}, the encoder takes {spec}")
    of_floats = raw.is_floating_point()
    if not (of_floats and spec.is_visual and preprocess.unit) or raw.is_meta or not raw.numel():
        return
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return  # a graph has no values to look at
    low, high = (float(extreme) for extreme in torch.aminmax(raw.detach()))
    if low < -1 or high > 2:
        expected = f"the encoder takes {spec} with values from 0 to 1"
        raise DataError(f"samples have values from {low:.4g} to {high:.4g}, {expected}")


def check_width(preprocess: Preprocess) -> None:
    """Check that an encoder was not converted by ``half()``, ``double()`` and the like.

    Raises:
        DataError: its weights are of another width than float32, in which they are saved.
    """
    if preprocess.scale.dtype == torch.float32:
        return
    width = str(preprocess.scale.dtype).removeprefix("torch.")
    advice = (
        "encoder.float() converts them, without the digits that are lost; precision = 'bf16' computes in half precision"
    )
    raise DataError(f"the encoder's weights were converted to {width}: expected float32; {advice}")


def warn_of_other_scale(encoder: Any, source: Source, positions: np.ndarray) -> None:
    """Warn if typical values lie outside those of the training by more than its whole range, or images have another white.

    Images of floats are not looked at, as an encoder refuses those on another scale, nor are clips and others that take long to
    read.

    Args:
        encoder: an encoder; one of another program, without a `Preprocess`, is passed over.
        source: source of the samples.
        positions: (N,) positions of the samples to embed.
    """
    preprocess = getattr(encoder, "preprocess", None)
    spec, are_images = source.spec, source.spec.is_visual
    if not isinstance(preprocess, Preprocess) or (source.slow and not spec.is_image):
        return
    if are_images and not (preprocess.unit and np.dtype(spec.dtype).kind in "ui"):
        return
    few, many = (1, IMAGES) if are_images else (FEW, MANY)
    if len(positions) < few:
        return
    sampled = positions[np.unique(np.linspace(0, len(positions) - 1, many).round().astype(np.intp))]
    raw, ok = read_valid(source, sampled)
    if ok.sum() < few:
        return
    if are_images:
        line = _describe_other_white(preprocess, raw[ok])
    else:
        line = describe_other_scale(preprocess, spec, to_tensor(raw[ok]))
    if line:
        warn(f"data: {line}")


def _describe_other_white(preprocess: Preprocess, raw: np.ndarray) -> str:
    """Return a line on images (B, *shape) of integers whose white is not that of the training, such as masks of 0 and 255
    instead of 0 and 1; "" if it is."""
    black, white = (float(preprocess.inverse(torch.full_like(preprocess.high, x)).mean()) for x in (0, 1))
    values = raw.reshape(len(raw), -1)
    brightest, bright = np.median(values.max(axis=1)), np.median(np.quantile(values, 0.99, axis=1))
    # A hundredth of an image is more than hot pixels, but a mask may have less foreground than that.
    too_bright = bright - black > 2 * (white - black)
    if not too_bright and not 0 < brightest - black < NEARLY_BLACK * (white - black):
        return ""
    reached = bright if too_bright else brightest
    return f"images reach values of about {reached:.4g}, and white is {white:.4g} to the encoder: on another scale?"


def describe_other_scale(preprocess: Preprocess, spec: SampleSpec, raw: torch.Tensor) -> str:
    """Return a line on the entries whose median over samples (B, *spec.shape) lies outside the training's range by more than its
    width; "" if there are none."""
    x = preprocess(raw.to(preprocess.scale.device)).cpu().numpy()
    low, high = (extreme.cpu().numpy()[None] for extreme in (preprocess.low, preprocess.high))
    shared = tuple(axis for axis in range(x.ndim) if low.shape[axis] == 1)
    median = np.median(x, axis=shared, keepdims=True)
    span = high - low
    far = (span > 0) & (np.maximum(low - median, median - high) > span)
    if not far.any():
        return ""
    worst = int(np.argmax(np.where(far, np.abs(median - low) / np.where(span > 0, span, 1), 0)))
    raw_median = preprocess.inverse(torch.from_numpy(median)[0].to(preprocess.scale.device)).cpu().numpy().ravel()
    least, most = (limit.cpu().numpy().ravel() for limit in preprocess.raw_range())
    name = repr(spec.names[worst]) if spec.columns else f"entry {worst}" if spec.is_vector else f"channel {worst}"
    others = int(far.sum()) - 1
    more = f", and those of {others} more" if others else ""
    return (
        f"values of {name} lie around {raw_median[worst]:.4g}, those of the training from {least[worst]:.4g} to {most[worst]:.4g}"
        f"{more}: in another unit, or scaled already?"
    )
