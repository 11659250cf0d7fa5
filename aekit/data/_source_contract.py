"""Find where a source of another distribution breaks the contract of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from aekit.data.spec import Kind, SampleSpec

SPLITS = ("train", "validation", "test")


def source_problem(source: Any) -> str:
    """Return what is wrong with the attributes of a source that has been opened, or ""."""
    spec: Any = getattr(source, "spec", None)
    if not isinstance(spec, SampleSpec):
        return f"spec is {_shown(spec)}: expected an aekit.plugin.SampleSpec"
    if spec.kind not in get_args(Kind):
        return f"spec.kind = {spec.kind!r}: expected {', '.join(get_args(Kind))}"
    ids: Any = getattr(source, "ids", None)
    if not isinstance(ids, Sequence) or isinstance(ids, str):
        return f"ids is {_shown(ids)}: expected a list of texts"
    if len(ids) and not isinstance(ids[0], str):
        return f"ids[0] is {ids[0]!r}: expected text, such as {str(ids[0])!r}"
    for name in ("labels", "splits"):
        values: Any = getattr(source, name)
        if values is None:
            continue
        if not isinstance(values, np.ndarray) or len(values) != len(ids):
            return f"{name} is {_of_shape(values)}: expected an array ({len(ids)},), one entry per id"
    unknown = [] if source.splits is None else sorted(set(map(str, source.splits.tolist())) - set(SPLITS))
    return f"splits has {unknown[0]!r}: expected {', '.join(SPLITS)}" if unknown else ""


def read_problem(spec: SampleSpec, count: int, returned: Any) -> str:
    """Return what is wrong with the result of a `read` of `count` samples, or ""."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        return f"read() returned {type(returned).__name__}: expected samples and a mask of those that are usable"
    for name, array, shape in (("samples", returned[0], (count, *spec.shape)), ("the mask", returned[1], (count,))):
        if not isinstance(array, np.ndarray) or array.shape != shape:
            return f"read() returned {name} as {_of_shape(array)}: expected an array {shape}"
    rows, ok = returned
    if str(rows.dtype) != spec.dtype:
        return f"read() returned samples of {rows.dtype}: expected {spec.dtype}, as its spec says"
    return "" if ok.dtype == bool else f"read() returned the mask as {ok.dtype}: expected bool"


def _shown(value: Any) -> str:
    return "missing" if value is None else type(value).__name__


def _of_shape(value: Any) -> str:
    return f"an array {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
