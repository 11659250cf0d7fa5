"""Every evaluator over an encoder's embeddings and over the controls, with the same samples in the same parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aekit.embeddings import Embeddings
from aekit.errors import DataError, PluginError, RecipeError, nearest
from aekit.evaluation.controls import controls as control_features
from aekit.evaluation.controls import widest
from aekit.evaluation.results import Result, Split
from aekit.evaluation.splits import as_classes, capped, make_split
from aekit.evaluation.verdict import ENCODER, first, verdict
from aekit.options import model_of, validated
from aekit.progress import SILENT, Progress
from aekit.registry import Plugin, registry

RAW_BYTES = 2**31
"""Raw features that the controls may hold."""
_FIGURE = 2**16
"""Numbers in a figure up to which `Evaluation.record` keeps it."""


@dataclass(frozen=True)
class Evaluation:
    """What was found out about embeddings.

    Attributes:
        digest: of the encoder that made them, or None.
        counts: ``samples``, ``dim``, ``classes``, ``train``, ``validation``, ``test``.
        split: where the split came from, in words.
        results: ``encoder`` and the controls (``raw``, ``pca-64``, ``random``) -> evaluator -> what it found.
        notes: what was left out, and why.
        judged: (N3,) positions into the embeddings of the samples that the scores and answers are of.
    """

    digest: str | None
    counts: Mapping[str, int]
    split: str
    results: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    judged: np.ndarray | None = None

    def table(self) -> list[dict[str, str]]:
        """A row for each subject, with the first metric of each evaluator."""
        return [
            {"subject": subject}
            | {f"{name} {first(result)[0]}": str(first(result)[1]) for name, result in found.items()}
            for subject, found in self.results.items()
        ]

    def verdict(self) -> list[str]:
        """What the figures say about the encoder, in sentences."""
        return verdict(self.results)

    def text(self) -> str:
        """The table, the verdict and the notes, for a terminal."""
        rows = self.table()
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        counts = ", ".join(f"{self.counts[part]:,} {part}" for part in ("train", "validation", "test"))
        return "\n".join([*shown, "", f"split: {self.split} ({counts})", *self.verdict(), *self.notes])

    def record(self) -> dict[str, Any]:
        """All of it as plain JSON, as ``results.json`` holds it."""
        return {
            "digest": self.digest,
            "counts": dict(self.counts),
            "split": self.split,
            "verdict": self.verdict(),
            "notes": self.notes,
            "results": {
                subject: {name: _plain(result) for name, result in found.items()}
                for subject, found in self.results.items()
            },
        }


def evaluate(
    embeddings: Any,
    labels: Any = None,
    *,
    evaluators: Iterable[str] | None = None,
    controls: bool = True,
    split: Split | None = None,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Judges embeddings, beside the raw samples, their principal components, and the encoder with random weights.

    Args:
        embeddings: `aekit.Embeddings`, or any (N, D) array; an array has no controls, as it has no samples.
        labels: (N,) classes; default: those stored with the embeddings. None, NaN and "" stand for no label.
        evaluators: names; default: all but those that are tagged as slow. Those that need labels are left out where there
            are none.
        controls: whether to judge the controls too.
        split: default: the data set's own where it has one, otherwise drawn by `seed`.
        seed: of the split, the random encoder and whatever the evaluators draw.
        options: of evaluators, by their names.
        progress: receives a bar for each subject.

    Raises:
        DataError: vectors that are not finite, labels that are not as many, too few samples, or a single class.
        PluginError: no such evaluator, or it cannot be used.
        RecipeError: options that an evaluator does not have.
    """
    stored = embeddings if isinstance(embeddings, Embeddings) else None
    vectors = _checked(embeddings)
    given = labels if labels is not None else stored.labels if stored else None
    classes, why_not = as_classes(given, len(vectors), of="embeddings")
    notes = [why_not] if why_not else []
    if split is None:
        split = make_split(classes, stored.splits if stored else None, seed=seed, count=len(vectors))
    chosen = _chosen(evaluators, classes is not None, options or {}, seed, notes)
    at_hand = _at_hand(stored, notes) if controls else None
    if at_hand:
        split = capped(split, RAW_BYTES // (4 * widest(at_hand[2].spec)), seed)
        if _saw_everything(stored, at_hand[2]):
            notes.append("the encoder was trained, without their labels, on the very samples that it is judged on")
        if tuned := at_hand[2].record.get("finetuned"):
            notes.append(
                f"the encoder was fine-tuned with labels of {tuned['data']}: on those it is no longer judged fairly"
            )

    rows = np.sort(np.concatenate([split.train, split.validation, split.test]))
    train, validation, test = (np.searchsorted(rows, part) for part in (split.train, split.validation, split.test))
    inner = Split(train, validation, test, split.origin)
    subjects = _subjects(vectors[rows], rows, inner, at_hand, seed, progress)
    truth = None if classes is None else classes[rows]
    results: dict[str, dict[str, Result]] = {}
    for subject, features in subjects:
        results[subject] = {}
        with progress.task(f"judge {subject}", len(chosen), "judgements") as task:
            for name, (function, settings) in chosen.items():
                results[subject][name] = function(features, truth, inner, **settings)
                task.advance(note=name)
    counts = {"samples": len(vectors), "dim": vectors.shape[1]}
    counts["classes"] = 0 if truth is None else len(np.unique(truth))
    counts |= {"train": len(train), "validation": len(validation), "test": len(test)}
    return Evaluation(stored.digest if stored else None, counts, split.origin, results, notes, rows[test])


def _checked(embeddings: Any) -> np.ndarray:
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2 or not vectors.size:
        raise DataError(f"embeddings of shape {vectors.shape}: expected (samples, width)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(f"{len(bad)} of {len(vectors)} embeddings are not finite, the first in row {bad[0]}")
    return vectors


def _chosen(
    names: Iterable[str] | None,
    have_labels: bool,
    options: Mapping[str, Mapping[str, Any]],
    seed: int,
    notes: list[str],
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Name -> the function and its options."""
    if names is None:
        plugins = registry().of("evaluator")
        slow = [plugin.name for plugin in plugins if "slow" in plugin.entry.tags]
        plugins = [plugin for plugin in plugins if "slow" not in plugin.entry.tags]
        if slow:
            notes.append(f"not run, as they take long: {', '.join(slow)}; they run where they are named")
    else:
        plugins = [registry().get("evaluator", name, wanted_by="evaluate") for name in names]
    titles = _titles(plugins)
    unknown = [name for name in options if name not in titles]
    if unknown:
        raise RecipeError([f"evaluate.{name}: is not among the evaluators{nearest(name, titles)}" for name in unknown])
    chosen = {}
    for title, plugin in titles.items():
        if "labels" in plugin.entry.tags and not have_labels:
            notes.append(f"{title} was left out: it needs labels")
            continue
        try:
            function = plugin.load()
        except PluginError as error:
            if names is not None:
                raise
            notes.append(f"{title} was left out: {error}")
            continue
        settings = dict(options.get(title, {}))
        if "seed" in model_of(function).model_fields:
            settings.setdefault("seed", seed)
        chosen[title] = (function, validated(plugin, settings, f"evaluate.{title}"))
    return chosen


def _titles(plugins: list[Plugin]) -> dict[str, Plugin]:
    names = [plugin.name for plugin in plugins]
    return {plugin.qualified if names.count(plugin.name) > 1 else plugin.name: plugin for plugin in plugins}


def _at_hand(stored: Embeddings | None, notes: list[str]) -> tuple[Any, np.ndarray, Any] | None:
    """Source, positions and encoder, or None and a note why there are no controls."""
    if stored is None:
        notes.append("no controls: an array does not say which samples and which encoder it comes from")
        return None
    encoder = stored.encoder()
    found = stored.source() if encoder else None
    if encoder is None or found is None:
        what = "encoder that made the embeddings" if encoder is None else "data that was embedded"
        notes.append(f"no controls: the {what} is no longer at hand")
        return None
    return *found, encoder


def _saw_everything(stored: Embeddings | None, encoder: Any) -> bool:
    """Whether the data had no splits, so that what the encoder was trained on includes what is its test here."""
    if stored is None or stored.splits is not None:
        return False
    origin, trained_on = stored.manifest.get("origin") or {}, encoder.record.get("data", {})
    return "data" in origin and origin["data"] == trained_on.get("data")


def _subjects(
    vectors: np.ndarray,
    rows: np.ndarray,
    split: Split,
    at_hand: tuple[Any, np.ndarray, Any] | None,
    seed: int,
    progress: Progress,
) -> Iterator[tuple[str, np.ndarray]]:
    yield ENCODER, vectors
    if at_hand:
        source, places, encoder = at_hand
        dim = vectors.shape[1]
        yield from control_features(source, places[rows], encoder, split, dim=dim, seed=seed, progress=progress)


def _plain(result: Result) -> dict[str, Any]:
    return {
        "metrics": {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in result.metrics.items()},
        "chosen": {
            name: value.item() if isinstance(value, np.generic) else value for name, value in result.chosen.items()
        },
        "table": result.table,
        "figures": {name: array.tolist() for name, array in result.figures.items() if array.size <= _FIGURE},
    }
