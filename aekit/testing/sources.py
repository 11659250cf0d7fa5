"""Check sources on small data sets: files of the formats that their tags name, or the data of their ``example``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.examples import MAKERS
from aekit.data.metadata import Metadata
from aekit.data.opening import open_data
from aekit.data.source import Source
from aekit.data.spec import Column, SampleSpec
from aekit.errors import DataError
from aekit.registry.discovery import Plugin
from aekit.testing.kit import Case, NotApplicableError, check, leaves_global_state_alone
from aekit.testing.samples import SPECS

LEAST = 8
"""Minimum number of samples of an example."""
SPLITS = {"train", "validation", "test"}
NO_EXAMPLE = (
    "the kit has no data to open: define example(folder: Path) -> str, a staticmethod of the class or a function in its module, "
    "which writes a small data set into the folder and returns what to open (or that and a dict of options)"
)


class SourceCase(Case):
    """A source, and a small data set for it to open."""

    def __init__(
        self, plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path, where: str, label: str = ""
    ) -> None:
        super().__init__(plugin, name, options, folder)
        self.where, self.label = where, label

    def open(self, where: str | None = None, like: SampleSpec | None = None) -> Source:
        """Open it as `aekit fit` does, or for an encoder of samples `like`."""
        options = {self.plugin.name: self.options} if self.options else None
        return open_data(f"{self.plugin.qualified}:{self.where if where is None else where}", options, like=like)

    @cached_property
    def source(self) -> Source:
        return self.open()

    @property
    def all(self) -> np.ndarray:
        return np.arange(len(self.source))


def source_cases(plugin: Plugin, name: str, options: Mapping[str, Any], folder: Path) -> list[SourceCase]:
    """Return the plugin's own example, or one for each format that its tags name and the kit can write.

    Raises:
        ValueError: there is neither.
    """
    code = plugin.load()
    example = getattr(code, "example", None) or getattr(sys.modules[code.__module__], "example", None)
    if example is not None:
        made = example(folder)
        where, made_options = made if isinstance(made, tuple) else (made, {})
        return [SourceCase(plugin, name, {**made_options, **options}, folder, str(where))]
    cases = []
    for make in dict.fromkeys(make for tag in plugin.entry.tags for make in MAKERS.get(tag, [])):
        subfolder = folder / make.__name__
        subfolder.mkdir()
        path = make(subfolder)
        if not hasattr(code, "claims") or code.claims(path):
            cases.append(SourceCase(plugin, name, options, folder, str(path), path.name))
    if not cases:
        raise ValueError(NO_EXAMPLE)
    return cases


@check("source")
def opens(case: SourceCase) -> None:
    """a small data set opens as a Source with a spec and at least 8 samples, without changing global random states"""
    with leaves_global_state_alone("opening and reading"):
        source = case.open()
        source.read(np.arange(min(4, len(source))))
    assert isinstance(source, Source), f"opens a {type(source).__name__}: expected a subclass of aekit.plugin.Source"
    assert isinstance(source.spec, SampleSpec), f"spec is {source.spec!r}: expected a SampleSpec"
    axes = len(SPECS[source.spec.kind].shape)
    assert len(source.spec.shape) == axes, f"spec {source.spec}: {source.spec.kind} samples have {axes} axes"
    assert np.dtype(source.spec.dtype).kind in "uif", f"spec.dtype is {source.spec.dtype}: expected numbers"
    assert len(source) >= LEAST, f"the example has {len(source)} samples: expected at least {LEAST}"


@check("source")
def what_is_missing_is_named(case: SourceCase) -> None:
    """for missing data it raises a DataError of one line"""
    absent = f"{case.where}-not-there"
    try:
        case.open(absent)
    except DataError as error:
        assert "\n" not in str(error), f"the message has {len(str(error).splitlines())} lines: expected one"
    else:
        raise AssertionError(f"opens {absent!r}, which does not exist")


@check("source")
def ids(case: SourceCase) -> None:
    """its ids are unique strings, one per sample"""
    names = list(case.source.ids)
    assert len(names) == len(case.source), f"{len(names)} ids for {len(case.source)} samples"
    wrong = [name for name in names if not isinstance(name, str)]
    assert not wrong, f"id {wrong[0]!r} is a {type(wrong[0]).__name__}: expected a string"
    assert len(set(names)) == len(names), f"{len(names) - len(set(names))} ids occur twice"


@check("source")
def read(case: SourceCase) -> None:
    """read returns (B, *shape) of the spec's dtype and the usable rows; others are zeros, with a reason"""
    source = case.source
    for size in (1, 2, 7):
        rows, ok = source.read(case.all[:size])
        expected = (size, *source.spec.shape)
        assert rows.shape == expected, f"read of {size} returns shape {rows.shape}: expected {expected}"
        assert str(rows.dtype) == source.spec.dtype, f"read returns {rows.dtype}, the spec says {source.spec.dtype}"
        assert ok.shape == (size,) and ok.dtype == bool, f"ok is {ok.dtype} {ok.shape}: expected bool ({size},)"
    rows, ok = source.read(case.all)
    assert ok.any(), f"none of the samples can be read: {next(iter(source.skipped.values()), 'no reason given')}"
    for row in np.flatnonzero(ok):
        assert source.ids[int(row)] not in source.skipped, (
            f"{source.ids[int(row)]} is marked as usable, and skipped says {source.skipped[source.ids[int(row)]]!r}"
        )
    for row in np.flatnonzero(~ok):
        assert source.ids[int(row)] in source.skipped, (
            f"{source.ids[int(row)]} cannot be read, and skipped has no reason"
        )
        assert not rows[row].any(), f"{source.ids[int(row)]} cannot be read, and its row is not zeros"


@check("source", optional=True)
def unreadable_files(case: SourceCase) -> None:
    """a file that is overwritten with noise is not a usable sample: it is left out, refused, or marked with a reason"""
    place = Path(case.where)
    if not place.is_dir() or len(files := [path for path in place.rglob("*") if path.is_file()]) < LEAST:
        raise NotApplicableError("its samples are not files of a folder")
    damaged = case.folder / f"damaged-{case.label or 'example'}"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(place, damaged)
    largest = max(files, key=lambda path: (path.stat().st_size, str(path))).relative_to(place)
    (damaged / largest).write_bytes(np.random.default_rng(0).bytes(2000))
    try:
        source = case.open(str(damaged))
        _, ok = source.read(np.arange(len(source)))
    except DataError:
        return
    lost = len(source) < len(case.source) or not ok.all()
    assert lost, f"{largest} holds noise, and every sample is marked as usable"


@check("source", optional=True)
def like_is_heeded(case: SourceCase) -> None:
    """opened for an encoder (`like`), it resizes images to its size and reads text columns with its categories"""
    spec = case.source.spec
    if spec.resize is not None and spec.is_visual:
        like = replace(spec, shape=(*spec.shape[:-2], *(side + 4 for side in spec.shape[-2:])))
    elif any(column.categories is not None and column.size > 1 for column in spec.columns):
        like = replace(spec, columns=tuple(_reversed(column) for column in spec.columns))
    else:
        raise NotApplicableError("it neither resizes images nor reads text columns")
    try:
        spec = case.open(like=like).spec
    except DataError as error:
        raise AssertionError(f"the encoder takes {like}, and it does not convert to `like`: {error}") from None
    assert spec.shape == like.shape, f"the encoder takes {like}, and it opens {spec}; convert to `like`"
    assert spec.columns == like.columns, (
        "it has other categories than `like`; read text columns with those of the encoder"
    )


def _reversed(column: Column) -> Column:
    return column if column.categories is None else replace(column, categories=column.categories[::-1])


@check("source")
def order_respected(case: SourceCase) -> None:
    """rows have the order of the indices, repeated ones included"""
    rows, _ = case.source.read(case.all)
    order = np.random.default_rng(0).permutation(len(case.source))
    assert _same(case.source.read(order)[0], rows[order]), "indices in another order return other samples"
    twice = np.asarray([5, 0, 5, 3])
    assert _same(case.source.read(twice)[0], rows[twice]), "a repeated index is not read twice"


@check("source")
def openings_agree(case: SourceCase) -> None:
    """opened again, it has the same spec, ids, samples, labels and splits"""
    first, second = case.source, case.open()
    assert first.spec == second.spec, f"the spec was {first.spec}, now {second.spec}"
    assert list(first.ids) == list(second.ids), "the ids differ"
    assert _same(first.read(case.all)[0], second.read(case.all)[0]), "the samples differ"
    for name in ("labels", "splits"):
        before, now = getattr(first, name), getattr(second, name)
        assert (before is None) == (now is None), (
            f"{name} were {'absent' if before is None else 'there'} the first time"
        )
        assert before is None or np.array_equal(before, now), f"the {name} differ"


@check("source")
def fingerprints(case: SourceCase) -> None:
    """different samples have different fingerprints, which depend neither on the opening nor on the batch"""
    rows, ok = case.source.read(case.all)
    prints = list(case.source.fingerprints(case.all))
    assert prints == list(case.open().fingerprints(case.all)), "another opening returns other fingerprints"
    singly = [case.source.fingerprints(case.all[row : row + 1])[0] for row in case.all]
    assert prints == singly, "a fingerprint depends on the batch"
    of: dict[str, bytes] = {}
    for row in np.flatnonzero(ok):
        content = of.setdefault(prints[row], rows[row].tobytes())
        assert content == rows[row].tobytes(), f"different samples have the same fingerprint, {prints[row]!r}"


@check("source")
def labels_and_splits(case: SourceCase) -> None:
    """labels, splits and metadata, if any, have one entry per sample; splits have valid names"""
    source = case.source
    for name in ("labels", "splits"):
        values = getattr(source, name)
        if values is not None:
            assert isinstance(values, np.ndarray), f"{name} is a {type(values).__name__}: expected an array"
            assert values.shape == (len(source),), f"{name} have shape {values.shape}: expected ({len(source)},)"
            assert values.dtype != object, f"{name} are Python objects: expected strings or numbers"
    metadata = Metadata({}) if source.metadata is None else source.metadata
    for name in metadata.names:
        column = metadata.column(name)
        assert len(column) == len(source), f"metadata {name!r} has {len(column)} values: expected {len(source)}"
    unknown = set() if source.splits is None else set(source.splits.tolist()) - SPLITS
    assert not unknown, f"split {sorted(map(str, unknown))[0]!r}: expected {', '.join(sorted(SPLITS))}"


@check("source", optional=True)
def labels_are_no_feature(case: SourceCase) -> None:
    """no entry of a vector determines the label"""
    source = case.source
    if source.labels is None or not source.spec.is_vector:
        raise NotApplicableError(
            "it has no labels" if source.labels is None else f"samples are {source.spec.kind}, not vector"
        )
    rows, ok = source.read(case.all)
    labels = source.labels[ok]
    classes = len(set(labels.tolist()))
    if not 2 <= classes <= len(labels) // 2:
        raise NotApplicableError(f"{classes} classes among {len(labels)} samples")
    for column, values in enumerate(rows[ok].T):
        pairs = len(set(zip(values.tolist(), labels.tolist())))
        assert not pairs == len(set(values.tolist())) == classes, f"column {column} determines the label"


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and first.tobytes() == second.tobytes()
