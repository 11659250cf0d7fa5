"""Evaluate the subjects of an evaluation: the embeddings themselves, and those that they are compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from aekit.encoder.encoder import Encoder
from aekit.errors import AekitError
from aekit.evaluation._backbone_features import NAME as FEATURES, backbone_features, has_pretrained_features
from aekit.evaluation._context import EvaluationContext
from aekit.evaluation._provenance import Provenance
from aekit.evaluation.baselines._pretrained import pretrained_baseline
from aekit.evaluation.baselines._untrained import untrained_baseline
from aekit.evaluation.baselines.build import Baseline, baseline_features, baseline_title
from aekit.evaluation.checks.embedding_health import add_pca_angles
from aekit.evaluation.labels import Targets
from aekit.evaluation.results import CheckResult, Result


class Subject(NamedTuple):
    """Embeddings that are evaluated: the encoder's, or others that they are compared with."""

    name: str
    features: np.ndarray


@dataclass
class Measured:
    """What was measured on the subjects so far.

    Attributes:
        results: subject -> evaluator -> result.
        checks: check -> result.
        networks: names of the pretrained networks.
        titles: subject -> its name within a sentence.
    """

    results: dict[str, dict[str, Result]] = field(default_factory=dict)
    checks: dict[str, CheckResult] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=lambda: {FEATURES: "the pretrained features"})


def baseline_subjects(
    context: EvaluationContext,
    provenance: Provenance,
    dim: int,
    kinds: Collection[str],
    pretrained: str,
    *,
    max_untrained: int | None,
) -> Iterator[Baseline | Subject]:
    """Yield the features of the baselines of D dimensions; evaluators in the queue may run while they are computed.

    Args:
        context: the evaluation.
        provenance: source and encoder of the embeddings.
        dim: D.
        kinds: of the baselines.
        pretrained: as `aekit.evaluate` takes it.
        max_untrained: samples above which the untrained encoder is left out, with a note; None: it never is.
    """
    source, encoder = provenance.source, provenance.encoder
    positions, progress, free_cores = provenance.rows[context.rows], context.progress, context.queue.free_cores
    if "random" in kinds and _is_untrained(encoder):
        kinds = [kind for kind in kinds if kind != "random"]
        context.notes.append("random weights are not a baseline here: the encoder was not trained")
    yield from baseline_features(
        source,
        positions,
        encoder,
        context.split,
        dim=dim,
        kinds=kinds,
        seed=context.seed,
        progress=progress,
        free_cores=free_cores,
    )
    if "untrained" in kinds:
        untrained = untrained_baseline(
            source,
            positions,
            encoder,
            context.split,
            context.notes,
            progress,
            seed=context.seed,
            max_samples=max_untrained,
            free_cores=free_cores,
        )
        if untrained is not None:
            yield untrained
    if "pretrained" not in kinds:
        return
    if has_pretrained_features(encoder):
        bare = backbone_features(source, positions, encoder, progress=progress, free_cores=free_cores)
        yield Subject(FEATURES, bare)
    network = pretrained_baseline(
        pretrained, source, positions, encoder, context.notes, progress, free_cores=free_cores
    )
    if network is not None:
        yield network


def evaluate_subjects(
    context: EvaluationContext, subjects: Iterable[Baseline | Subject], vectors: np.ndarray, measured: Measured
) -> None:
    """Run the evaluators on each subject. One that fails leaves the queue, and a note tells for which subject.

    Args:
        context: the evaluation.
        subjects: features at the rows of the context, which are computed while evaluators run.
        vectors: (M, D) embeddings of the encoder at these rows.
        measured: receives the results.

    Raises:
        AekitError: every evaluator failed.
    """
    failures: list[AekitError] = []
    selected = context.queue.selected
    for subject, outcomes in context.queue.run(subjects):
        by_evaluator = measured.results.setdefault(subject.name, {})
        if isinstance(subject, Baseline):
            _describe_baseline(context, subject, vectors, measured)
        with context.progress.task(f"evaluate {subject.name}", len(selected), "evaluators") as task:
            for name, outcome in outcomes:
                if isinstance(outcome, AekitError):
                    failures.append(outcome)
                    context.notes.append(f"{name} is left out for {subject.name}: {outcome}")
                    del selected[name]
                else:
                    by_evaluator[name] = _with_label_names(outcome, context.targets)
                task.advance(note=name)
        if failures and not selected and not any(measured.results.values()):
            raise failures[0]


def _describe_baseline(context: EvaluationContext, baseline: Baseline, vectors: np.ndarray, measured: Measured) -> None:
    if baseline.kind == "pretrained":
        measured.networks.append(baseline.name)
    if context.provenance:
        measured.titles[baseline.name] = baseline_title(baseline, context.provenance.encoder.spec)
    if baseline.kind == "pca" and "health" in measured.checks:
        health = add_pca_angles(measured.checks["health"], vectors, baseline.features, context.seed)
        measured.checks["health"] = health


def _with_label_names(result: Result, targets: Targets | None) -> Result:
    """Replace the numbers of several labels per sample by their names in the table."""
    if targets is None or targets.kind != "multi-label":
        return result
    rows = [row | {"label": targets.names[row["label"]]} if "label" in row else row for row in result.table]
    return replace(result, table=rows)


def _is_untrained(encoder: Encoder) -> bool:
    return not encoder.backbone.trains and not {"trained", "weights"} & set(encoder.record)
