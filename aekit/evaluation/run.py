"""Every evaluator over an encoder's embeddings and over the controls, with the same samples in the same parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aekit.encoder.embeddings import Embeddings, finite_vectors
from aekit.encoder.identity import check_same_encoder
from aekit.errors import PluginError, RecipeError, closest_name
from aekit.evaluation.backbone_features import NAME as FEATURES, backbone_features, has_pretrained_features
from aekit.evaluation.baselines.build import Baseline, baseline_features, baseline_title, max_baseline_width
from aekit.evaluation.checks.embedding_health import embedding_health, neighbor_overlap, subspace_angles
from aekit.evaluation.checks.leakage import find_leakage
from aekit.evaluation.checks.stability import stability
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.labels import TAG_BY_KIND, TARGET_DESCRIPTIONS, Targets, TargetType, make_targets
from aekit.evaluation.provenance import Provenance, align_embeddings, find_provenance, training_overlap_notes
from aekit.evaluation.reconstruction import NAME as RECONSTRUCTION, evaluate_reconstruction
from aekit.evaluation.results import CheckResult, Result, Split
from aekit.evaluation.splits import cap_split, make_split
from aekit.evaluation.summary import ENCODER
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.progress import SILENT, Progress
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import options_model, validate_options

__all__ = ["ALL", "QUICK", "Evaluation", "evaluate"]

RAW_BYTES = 2**31
"""Raw features that the controls may hold."""
ALL, QUICK = "all", "quick"
"""Stand for every evaluator, also those that are tagged as slow, and for those that are tagged as quick."""


def evaluate(
    embeddings: Any,
    labels: Any = None,
    *,
    evaluators: Iterable[str] | None = None,
    baselines: bool = True,
    checks: bool = True,
    compare_with: Mapping[str, Any] | None = None,
    run: str | Path | Autoencoder | None = None,
    split: Split | None = None,
    groups: Any = None,
    label_names: Iterable[str] = (),
    target_type: TargetType = "auto",
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Judges embeddings, beside the raw samples, their principal components, and the encoder with random weights.

    Args:
        embeddings: `aekit.Embeddings`, or any (N, D) array; an array has no controls, as it has no samples.
        labels: (N,) classes, or numbers on a scale; (N, L) of 0 and 1, several a sample; default: those stored with the
            embeddings. None, NaN and "" stand for no label.
        evaluators: names, ``all`` or ``quick``; default: all but those that are tagged as slow. Those that need labels are
            left out where there are none of their kind.
        controls: whether to judge the controls too.
        checks: whether to look at the health of the embeddings, and for leaks between the parts.
        beside: name -> embeddings of the same samples by other encoders, to be compared in pairs.
        run: that the encoder is of, or its autoencoder: then it is judged, too, how much of the samples comes back.
        split: default: the data set's own where it has one, otherwise drawn by `seed`.
        groups: (N,) samples of one group stay in one part, such as images of one patient.
        label_names: (L,) of several labels.
        target_type: ``classes``, to be told apart, or ``numbers`` on a scale, to be predicted. ``auto``: fractions are numbers,
            and so are whole numbers of which there are many different ones, with gaps (`is_classes`).
        seed: of the split, the random encoder and whatever the evaluators draw.
        options: of evaluators, by their names.
        progress: receives a bar for each subject.

    Raises:
        DataError: vectors that are not finite, labels that are not as many, too few samples, a single class, or embeddings
            beside these that are of other samples.
        IdentityError: the run is of another encoder.
        PluginError: no such evaluator, or it cannot be used.
        RecipeError: options that an evaluator does not have.
    """
    stored = embeddings if isinstance(embeddings, Embeddings) else None
    vectors = finite_vectors(embeddings)
    given = labels if labels is not None else stored.labels if stored else None
    targets, said = make_targets(
        given, len(vectors), what="embeddings", names=tuple(label_names), target_type=target_type
    )
    notes = [said] if said else []
    if split is None:
        split = split_for_targets(targets, stored.splits if stored else None, len(vectors), seed=seed, groups=groups)
    chosen = _chosen(evaluators, targets, options or {}, seed, notes)
    rivals = {name: align_embeddings(name, other, stored, len(vectors)) for name, other in (compare_with or {}).items()}
    origin = find_provenance(stored, notes) if baselines or checks or run is not None else None
    if origin and baselines:
        split = cap_split(split, RAW_BYTES // (4 * max_baseline_width(origin.encoder.spec)), seed)
    notes += training_overlap_notes(stored, origin)

    rows = np.unique(np.concatenate([split.train, split.validation, split.test]))
    train, validation, test = (np.searchsorted(rows, part) for part in (split.train, split.validation, split.test))
    inner = Split(train, validation, test, split.origin, None if split.groups is None else split.groups[rows])
    values = None if targets is None else targets.values[rows]
    results: dict[str, dict[str, Result]] = {}
    titles: dict[str, str] = {FEATURES: "the pretrained features"}
    found: dict[str, CheckResult] = {}
    if checks:
        found = _checks(vectors[rows], rows, inner, values, stored, origin, rivals, seed)
    subjects = _subjects(vectors[rows], rows, inner, rivals, origin if baselines else None, seed, progress)
    for described in subjects:
        subject, features = described.name, described.features
        results[subject] = {}
        if isinstance(described, Baseline) and origin:
            titles[subject] = baseline_title(described, origin.encoder.spec)
        if checks and isinstance(described, Baseline) and described.kind == "pca":
            found["health"] = _with_angles(found["health"], vectors[rows], features, seed)
        with progress.task(f"judge {subject}", len(chosen), "judgments") as task:
            for name, (function, settings, takes) in chosen.items():
                result = function(features, values if takes else None, inner, **settings)
                results[subject][name] = _with_names(result, targets)
                task.advance(note=name)
    if run is not None and origin:
        _add_reconstruction(results, run, origin, rows, inner, baselines, seed, notes, progress)
    counts = {"samples": len(vectors), "dim": vectors.shape[1], "classes": 0}
    if targets is not None and targets.kind == "classes":
        counts["classes"] = len(np.unique(targets.values[rows]))
    counts |= {"train": len(train), "validation": len(validation), "test": len(test)}
    return Evaluation(
        digest=stored.digest if stored else None,
        counts=counts,
        split=split.origin,
        results=results,
        notes=notes,
        evaluated_rows=rows[test],
        compared_with=tuple(rivals),
        checks=found,
        groups=inner.test_groups,
        titles={subject: titles[subject] for subject in results if subject in titles},
    )


def split_for_targets(
    targets: Targets | None, splits: Any, count: int, *, seed: int = 0, groups: np.ndarray | None = None
) -> Split:
    """What `make_split` draws by what is known of N samples.

    Args:
        truth: their labels, or None.
        splits: (N,) names, or None.
        count: N.
        seed: of what is drawn.
        groups: (N,) samples of one group stay in one part.

    Raises:
        DataError: a part that would be empty, a single class, or an unknown split name.
    """
    strata: np.ndarray | None = None
    if targets is not None and targets.kind == "classes":
        strata = np.where(targets.has_target, targets.values.astype(str), "")
    elif targets is not None and targets.kind == "targets":
        strata = np.where(targets.has_target, 0.5, np.nan)  # by nothing but whether it is known
    elif targets is not None:
        strata = np.where(targets.has_target[:, None], targets.values.astype(np.float64), np.nan)
    return make_split(strata, splits, seed=seed, groups=groups, count=count)


def _chosen(
    names: Iterable[str] | None,
    targets: Targets | None,
    options: Mapping[str, Mapping[str, Any]],
    seed: int,
    notes: list[str],
) -> dict[str, tuple[Any, dict[str, Any], bool]]:
    """Name -> the function, its options, and whether it takes labels of this kind."""
    named = None if names is None else list(names)
    every = registry().by_kind("evaluator")
    if named is None:
        slow = [plugin.name for plugin in every if "slow" in plugin.entry.tags]
        plugins = [plugin for plugin in every if plugin.name not in slow]
        if slow:
            notes.append(f"not run, as they take long: {', '.join(slow)}; they run where they, or all, are named")
    elif ALL in named or QUICK in named:
        plugins = [plugin for plugin in every if ALL in named or "quick" in plugin.entry.tags or plugin.name in named]
    else:
        plugins = [registry().get("evaluator", name, required_by="evaluate") for name in named]
    titles = _titles(plugins)
    unknown = [name for name in options if name not in titles]
    if unknown:
        raise RecipeError(
            [f"evaluate.{name}: is not among the evaluators{closest_name(name, titles)}" for name in unknown]
        )
    chosen, left_out = {}, []
    for title, plugin in titles.items():
        takes = targets is not None and TAG_BY_KIND[targets.kind] in plugin.entry.tags
        takes = takes or (targets is not None and targets.kind == "classes")
        if "labels" in plugin.entry.tags and not takes:
            left_out.append(title)
            continue
        try:
            function = plugin.load()
        except PluginError as error:
            if named is not None and title in named:
                raise
            notes.append(f"{title} was left out: {error}")
            continue
        settings = dict(options.get(title, {}))
        if "seed" in options_model(function).model_fields:
            settings.setdefault("seed", seed)
        chosen[title] = (function, validate_options(plugin, settings, f"evaluate.{title}"), takes)
    if left_out:
        why = (
            "labels"
            if targets is None
            else f"{TARGET_DESCRIPTIONS['classes']}, and the labels are {TARGET_DESCRIPTIONS[targets.kind]}"
        )
        notes.append(f"left out, as they need {why}: {', '.join(left_out)}")
    return chosen


def _titles(plugins: list[Plugin]) -> dict[str, Plugin]:
    names = [plugin.name for plugin in plugins]
    return {plugin.qualified if names.count(plugin.name) > 1 else plugin.name: plugin for plugin in plugins}


def _checks(
    vectors: np.ndarray,
    rows: np.ndarray,
    split: Split,
    values: np.ndarray | None,
    stored: Embeddings | None,
    origin: Provenance | None,
    compared_with: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, CheckResult]:
    """What is to be known beside the figures, of the embeddings at `rows` that are in a part of the split."""
    stamps, ids = None, None
    if stored is not None:
        ids = [stored.ids[row] for row in rows.tolist()]
        hashes = [stored.rows.hashes[row] for row in rows.tolist()]
        stamps = None if hashes == ids else hashes  # vectors that no encoder made have no hashes of samples
    labels = values if values is not None and values.ndim == 1 and values.dtype.kind != "f" else None
    own = embedding_health(vectors, seed=seed)
    kept = {
        f"neighbors_shared_with_{name}": neighbor_overlap(vectors, r[rows], seed=seed)
        for name, r in compared_with.items()
    }
    found = {"health": replace(own, values={**own.values, **kept})}
    found["leakage"] = find_leakage(vectors, split, stamps=stamps, ids=ids, labels=labels, seed=seed)
    if origin is not None:
        found["stability"] = stability(origin.encoder, origin.source, origin.rows[rows[split.test]], seed=seed)
    return found


def _with_angles(found: CheckResult, vectors: np.ndarray, components: np.ndarray, seed: int) -> CheckResult:
    """Health with how far the embeddings are from what PCA of the same width tells."""
    angles = subspace_angles(vectors, components, seed=seed)
    if not len(angles):
        return found
    figures = {"mean_angle_to_pca": float(angles.mean()), "largest_angle_to_pca": float(angles.max())}
    return replace(found, values={**found.values, **figures})


def _with_names(result: Result, targets: Targets | None) -> Result:
    """The result with the names of several labels in its table, where that has their numbers."""
    if targets is None or targets.kind != "multi-label":
        return result
    rows = [row | {"label": targets.names[row["label"]]} if "label" in row else row for row in result.table]
    return replace(result, table=rows)


class Subject(NamedTuple):
    """Embeddings that are evaluated: the encoder's, or others that they are compared with."""

    name: str
    features: np.ndarray


def _subjects(
    vectors: np.ndarray,
    rows: np.ndarray,
    split: Split,
    compared_with: Mapping[str, np.ndarray],
    origin: Provenance | None,
    seed: int,
    progress: Progress,
) -> Iterator[Baseline | Subject]:
    yield Subject(ENCODER, vectors)
    for name, theirs in compared_with.items():
        yield Subject(name, theirs[rows])
    if origin:
        source, places, encoder = origin
        dim = vectors.shape[1]
        yield from baseline_features(source, places[rows], encoder, split, dim=dim, seed=seed, progress=progress)
        if has_pretrained_features(encoder):
            yield Subject(FEATURES, backbone_features(source, places[rows], encoder, progress=progress))


def _add_reconstruction(
    results: dict[str, dict[str, Result]],
    run: str | Path | Autoencoder,
    origin: Provenance,
    rows: np.ndarray,
    split: Split,
    baselines: bool,
    seed: int,
    notes: list[str],
    progress: Progress,
) -> None:
    """Adds what comes back of the test samples, where the run has a decoder."""
    autoencoder = run if isinstance(run, Autoencoder) else load_autoencoder(run)
    check_same_encoder(autoencoder.encoder.digest, origin.encoder.digest, what="the run", maker="the embeddings are")
    if not autoencoder.reconstructs_samples:
        notes.append("no reconstruction: the decoder ends at the output of frozen stages, and not at samples")
        return
    places = origin.rows[rows]
    found = evaluate_reconstruction(
        autoencoder,
        origin.source,
        places[split.train],
        places[split.test],
        baselines=baselines,
        groups=split.test_groups,
        seed=seed,
        progress=progress,
    )
    for subject, result in found.items():
        results.setdefault(subject, {})[RECONSTRUCTION] = result
