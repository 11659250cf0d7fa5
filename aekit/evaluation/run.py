"""Evaluate an encoder's embeddings and the baselines on the same samples and splits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from aekit._arguments import checked_arguments
from aekit.data.labels import align_labels
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.opening import open_embeddings
from aekit.encoder.pretrained import AUTO, NONE
from aekit.encoder.vectors import finite_vectors
from aekit.errors import RecipeError, closest_name
from aekit.evaluation._context import EvaluationContext, compact
from aekit.evaluation._evaluators import select_evaluators
from aekit.evaluation._processes import evaluator_processes
from aekit.evaluation._provenance import Provenance, align_embeddings, find_provenance, training_overlap_notes
from aekit.evaluation._queue import EvaluatorQueue
from aekit.evaluation._reconstruction import NAME as RECONSTRUCTION, evaluate_run
from aekit.evaluation._subjects import Measured, Subject, baseline_subjects, evaluate_subjects
from aekit.evaluation.baselines._untrained import MAX_SAMPLES, untrained_dim
from aekit.evaluation.baselines.build import MAX_RAW_DIM, Baseline, BaselineKind, raw_dim
from aekit.evaluation.checks._run import run_checks
from aekit.evaluation.evaluation import Evaluation, Mode
from aekit.evaluation.labels import Targets, TargetType, make_targets, resolve_labels
from aekit.evaluation.results import Split
from aekit.evaluation.splits import cap_split, make_split, stratified_cap
from aekit.evaluation.summary import ENCODER
from aekit.io.device import choose_device
from aekit.objectives.autoencoder import Autoencoder
from aekit.progress import Progress, warn
from aekit.progress_display import ProgressOption, open_progress

__all__ = ["Evaluation", "evaluate"]

RAW_BYTES = 2**31
"""Bytes that the features of a baseline may take in memory."""
WIDEST = 2**15
"""Dimensions that no baseline exceeds."""
QUICK_SAMPLES = 10_000
"""Samples of a quick evaluation: those on which every evaluator but the slow ones takes a few seconds."""


@checked_arguments
def evaluate(
    embeddings: Any,
    labels: Any = None,
    *,
    evaluators: Any = None,
    baselines: bool | Collection[str] = True,
    pretrained: str | Path = AUTO,
    checks: bool = True,
    quick: bool = True,
    compare_with: Mapping[str, Any] | None = None,
    run: str | Path | Autoencoder | None = None,
    split: Split | None = None,
    groups: Any = None,
    label_names: Iterable[str] = (),
    target_type: TargetType = "auto",
    seed: int = 0,
    device: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: ProgressOption = None,
) -> Evaluation:
    """Evaluate embeddings, and compare them with raw samples, PCA and the encoder with random weights.

    Args:
        embeddings: `aekit.Embeddings`, their folder, or an array (N, D). Baselines need the samples and the encoder, so an
            array has none.
        labels: (N,) classes or numbers, or (N, L) of 0 and 1 for several labels per sample; default: those stored with the
            embeddings. None, NaN and "" stand for a missing label. Or a dict of id -> label, or a file as
            ``aekit evaluate --labels`` takes it; labels of pandas are matched with ids by their index.
        evaluators: names, functions of embeddings, labels and split, ``all`` or ``quick``, or a list of these; default: all but
            the slow ones. Evaluators that need other labels are skipped.
        baselines: evaluate the baselines too, or only those of these kinds: ``raw``, ``pca``, ``random``, ``untrained``,
            ``pretrained``.
        pretrained: pretrained network to evaluate with the baselines: ``timm:MODEL``, with ``@FILE`` for its weights, or the
            folder of an encoder; ``none``; or ``auto``, one whose weights are at hand, for images of 32 pixels or more and if
            it takes no more than two minutes. A note tells which network and which weights.
        checks: check the health of the embeddings and their stability, and search for leakage between the parts of the split.
        quick: evaluate at most 10,000 samples, drawn by `seed` in the proportions of the classes, and the baselines on these
            alone; the note on it tells how many. Of more than 5,000, ``untrained`` is left out unless `baselines` names it, with
            a note. False evaluates all samples and baselines.
        compare_with: name -> embeddings of the same samples by another encoder, as an object, a folder or an array.
        run: the run of the encoder, or its autoencoder: evaluates the reconstruction too.
        split: default: the data set's own split, otherwise one drawn by `seed`.
        groups: (N,) group of each sample; a group stays in one part of the split, such as the images of one patient.
        label_names: (L,) names of several labels per sample.
        target_type: ``classes`` or ``numbers``; ``auto`` takes fractions as numbers, and so whole numbers with many different
            values and gaps (see `aekit.evaluation.splits.is_classes`).
        seed: seed of the split, the random encoder and the evaluators.
        device: device that the encoder is moved to, for the baselines and the reconstruction; default: where it is.
        options: evaluator -> its options.
        progress: shows a bar for each subject, as in `aekit.fit`.

    Returns:
        The results of each evaluator for each subject, the comparisons between them, and the checks.

    Raises:
        DataError: embeddings that are not finite, a wrong number of labels, too few samples, a single class, or embeddings of
            other samples in `compare_with`.
        IdentityError: `run` is of another encoder.
        PluginError: no such evaluator, or it cannot be used.
        RecipeError: unknown options, no such kind of baseline, or no such pretrained network.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> generator = np.random.default_rng(0)
        >>> labels = np.repeat(["cat", "dog"], 100)
        >>> vectors = generator.normal(size=(200, 8)) + (labels == "dog")[:, None]
        >>> noise = generator.normal(size=(200, 8))
        >>> evaluation = aekit.evaluate(vectors, labels, evaluators=["probe", "knn"], compare_with={"noise": noise})
        >>> evaluation.headline
        'Better than noise on the linear probe and k-nearest neighbors (40 test samples).'
        >>> evaluation.summary()
        ['encoder vs noise: significantly better on 2 of 2 metrics (95%, Holm)']
    """
    progress = open_progress(progress)
    opened = open_embeddings(embeddings)
    stored = opened if isinstance(embeddings, (str, Path, Embeddings)) else None
    vectors = finite_vectors(opened)
    targets, notes = _find_targets(labels, opened, stored, tuple(label_names), target_type)
    kinds = _baseline_kinds(baselines)
    groups = None if groups is None else align_labels(groups, opened.ids)
    if split is None:
        split = split_for_targets(targets, stored.splits if stored else None, len(vectors), seed=seed, groups=groups)
    selected = select_evaluators(evaluators, targets, options or {}, seed, notes)
    split, mode = _sampled(split, targets, seed, notes, progress) if quick else (split, "thorough")
    other_encoders = {
        name: align_embeddings(name, other, stored, len(vectors)) for name, other in (compare_with or {}).items()
    }
    subject_count = 1 + len(other_encoders) + (len(kinds) if stored else 0)
    wide = max(vectors.shape[1], MAX_RAW_DIM if stored and kinds else 0)
    samples = len(split.train) + len(split.validation) + len(split.test)

    @cache
    def open_provenance() -> Provenance | None:
        provenance = find_provenance(stored, notes) if baselines or checks or run is not None else None
        if provenance and device is not None:
            provenance.encoder.to(choose_device(device, "device"))
        notes.extend(training_overlap_notes(stored, provenance))
        if not (provenance and kinds) and str(pretrained) not in (AUTO, NONE):
            notes.append(f"not compared with {pretrained}, as there are no baselines")
        return provenance

    with evaluator_processes(samples, wide, len(selected), subject_count, progress.say) as processes:
        # Processes evaluate the embeddings while the encoder is opened. Without them, what prevents that is told first.
        if not processes.children or samples > RAW_BYTES // (4 * WIDEST):
            split = _capped(split, open_provenance(), kinds, seed)
        rows, inner = compact(split)
        evaluated = vectors[rows]
        queue = EvaluatorQueue(selected, None if targets is None else targets.values[rows], inner, processes)
        context = EvaluationContext(rows, inner, targets, open_provenance, seed, queue, notes, progress)
        measured = Measured()

        def subjects() -> Iterator[Baseline | Subject]:
            """Yield the encoder first, whose evaluators then run beside the checks."""
            yield Subject(ENCODER, evaluated)
            provenance = context.provenance
            if checks:
                measured.checks |= run_checks(context, evaluated, stored, other_encoders)
            for name, other in other_encoders.items():
                yield Subject(name, other[rows])
            if provenance and kinds:
                limit = MAX_SAMPLES if quick and baselines is True else None
                yield from baseline_subjects(
                    context, provenance, vectors.shape[1], kinds, str(pretrained), max_untrained=limit
                )

        evaluate_subjects(context, subjects(), evaluated, measured)
    if run is not None and context.provenance:
        reconstructions = evaluate_run(context, context.provenance, run, baselines=bool(kinds))
        for subject, result in reconstructions.items():
            measured.results.setdefault(subject, {})[RECONSTRUCTION] = result
    return Evaluation(
        digest=stored.digest if stored else None,
        counts=_counts(vectors, targets, rows, inner),
        split=split.origin,
        results=measured.results,
        mode=mode,
        notes=notes,
        evaluated_rows=rows[inner.test],
        compared_with=(*other_encoders, *measured.networks),
        checks=measured.checks,
        groups=inner.test_groups,
        test_ids=[opened.ids[row] for row in rows[inner.test].tolist()],
        test_labels=targets.values[rows[inner.test]] if targets is not None and targets.kind == "classes" else None,
        titles={subject: title for subject, title in measured.titles.items() if subject in measured.results},
    )


def _find_targets(
    labels: Any, opened: Embeddings, stored: Embeddings | None, names: tuple[str, ...], target_type: TargetType
) -> tuple[Targets | None, list[str]]:
    """Return the targets of embeddings, by default from their stored labels, and notes on them; missing ones are reported."""
    if labels is not None:
        labels, label_columns = resolve_labels(labels, opened.ids)
        names = names or label_columns
    elif stored is not None:
        labels = stored.labels
    count = len(opened.ids)
    targets, remark = make_targets(labels, count, what="embeddings", names=names, target_type=target_type)
    if targets is not None and not targets.has_target.all():
        missing = int((~targets.has_target).sum())
        warn(f"evaluate: {missing} of {count} samples have no label and are left out of the evaluation")
    return targets, [remark] if remark else []


def _capped(split: Split, provenance: Provenance | None, kinds: Collection[str], seed: int) -> Split:
    """Reduce a split so that the features of each baseline take at most `RAW_BYTES`."""
    if provenance is None or not kinds:
        return split
    untrained = untrained_dim(provenance.encoder) if "untrained" in kinds else 0
    return cap_split(split, RAW_BYTES // (4 * max(raw_dim(provenance.encoder.spec), untrained)), seed)


def _counts(vectors: np.ndarray, targets: Targets | None, rows: np.ndarray, split: Split) -> dict[str, int]:
    """Return the numbers of samples, dimensions, classes among the evaluated rows (M,), and samples in the parts of a split."""
    return {
        "samples": len(vectors),
        "dim": vectors.shape[1],
        "classes": len(np.unique(targets.values[rows])) if targets is not None and targets.kind == "classes" else 0,
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
    }


def _baseline_kinds(baselines: bool | Collection[str]) -> Collection[str]:
    """Return the kinds of baselines to evaluate."""
    every = get_args(BaselineKind)
    if isinstance(baselines, bool):
        return every if baselines else ()
    kinds = [baselines] if isinstance(baselines, str) else baselines
    for kind in kinds:
        if kind not in every:
            raise RecipeError([f"baselines = {kind!r}: expected {', '.join(every)}{closest_name(str(kind), every)}"])
    return kinds


def split_for_targets(
    targets: Targets | None, splits: Any, count: int, *, seed: int = 0, groups: np.ndarray | None = None
) -> Split:
    """Draw the split that suits the targets of N samples, stratified where they are classes.

    Args:
        targets: targets of the samples, or None.
        splits: (N,) names of the data set's own splits, or None.
        count: N.
        seed: seed of the drawing.
        groups: (N,) group of each sample; a group stays in one part.

    Raises:
        DataError: an empty part, a single class, or an unknown split name.
    """
    strata: np.ndarray | None = None
    if targets is not None and targets.kind == "classes":
        strata = np.where(targets.has_target, targets.values.astype(str), "")
    elif targets is not None and targets.kind == "numbers":
        strata = np.where(targets.has_target, 0.5, np.nan)  # only whether a target is known matters
    elif targets is not None:
        strata = np.where(targets.has_target[:, None], targets.values.astype(np.float64), np.nan)
    return make_split(strata, splits, seed=seed, groups=groups, count=count)


def _sampled(
    split: Split, targets: Targets | None, seed: int, notes: list[str], progress: Progress
) -> tuple[Split, Mode]:
    """Return the part of a split that a quick evaluation uses, and whether it leaves any out; a line and a note report it."""
    strata = targets.values if targets is not None and targets.kind == "classes" else None
    sample = stratified_cap(split, QUICK_SAMPLES, strata, seed)
    if sample is split:
        return split, "thorough"
    counts = [len(part) for part in (sample.train, sample.validation, sample.test)]
    total = len(split.train) + len(split.validation) + len(split.test)
    parts = "{:,} train, {:,} validation, {:,} test".format(*counts)
    note = f"quick: on {sum(counts):,} of {total:,} samples ({parts}); quick=False (--thorough) evaluates all"
    notes.append(note)
    progress.say(note)
    return sample, "quick"
