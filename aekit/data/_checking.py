"""Check a source that has been opened, and issue the lines on what it left out."""

from __future__ import annotations

from aekit.data.readers._doubtful_numbers import doubtful_entries
from aekit.data.readers._label_names import similar_classes
from aekit.data.source import RowIds, Source, TextIds
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.progress import warn
from aekit.registry.discovery import registry
from aekit.registry.option_places import with_places


def check_source(source: Source, text: str, like: SampleSpec | None, plugin: str = "") -> Source:
    """Check that a source has samples, that their ids are unique, and that they fit `like`; issue its losses as warnings.

    Args:
        source: the source.
        text: what was opened, for messages.
        like: spec of an encoder's input.
        plugin: name of the plugin that has just opened it, whose options its lines name; "": it was open before.

    Raises:
        DataError: there are no samples, two have one id, or they do not fit.
    """
    if not len(source):
        raise DataError(f"{text}: no samples in it")
    if not isinstance(source.ids, (RowIds, TextIds)):
        seen: set[str] = set()
        for name in source.ids:
            if name in seen:
                raise DataError(f"{text}: id {name!r} occurs more than once; ids must be unique")
            seen.add(name)
    if like is not None and not _fits(source.spec, like):
        raise DataError(f"{text}: samples are {source.spec}, the encoder takes {like}")
    if plugin and like is None and not source.spec.columns:
        source.losses = (*source.losses, *doubtful_entries(source))
    if plugin and source.labels is not None:
        source.losses = (*source.losses, *similar_classes(source.labels))
    for opened_by in registry().named("source", plugin)[:1]:
        source.notes = tuple(with_places(line, "data", opened_by) for line in source.notes)
        source.losses = tuple(with_places(line, "data", opened_by) for line in source.losses)
    for line in source.losses:
        warn(f"data: {line}")
    return source


def _fits(spec: SampleSpec, like: SampleSpec) -> bool:
    return (spec.kind, spec.shape) == (like.kind, like.shape) and like.takes_dtype(spec.dtype)
