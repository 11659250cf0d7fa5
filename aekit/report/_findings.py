"""Findings about a run, in sentences: problems, points that deserve attention, and what is in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from aekit.evaluation.checks.embedding_health import embedding_health
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.results import Result
from aekit.evaluation.summary import ENCODER, Severity, primary_metric
from aekit.report._snapshot import Snapshot
from aekit.visualization.page import headline

FALLING = 0.03
"""Fraction of the whole decrease of the loss: a larger decrease in the last tenth of training means that it is unfinished."""
SKIPPED = 0.01
"""Fraction of unreadable samples above which that is bad."""
NARROW = 0.9
"""Mean cosine of all pairs above which a search by cosine suffers."""
AGREE = 0.3
"""Agreement of neighbors in their label, from 0 (chance) to 1 (always), above which that is good."""
_FEW_STEPS = 40


class Finding(NamedTuple):
    """A sentence, and how serious it is."""

    severity: Severity
    text: str


def findings(
    results: Mapping[str, Any],
    losses: Sequence[float],
    snapshot: Snapshot,
    evaluation: Evaluation | None = None,
) -> list[Finding]:
    """Return all findings, the worst first.

    Args:
        results: what ``results.json`` holds.
        losses: as they were logged, of the last phase of training.
        snapshot: of some samples.
        evaluation: compared with baselines, or None.
    """
    notable = [*_embedding(results, snapshot, evaluation), *_loss(losses), *_data(results)]
    if evaluation is not None:
        # The comparisons are drawn: only conclusions that go beyond them are findings.
        notable += [
            Finding(severity, f"{text}.")
            for severity, text in evaluation.graded_summary()
            if not is_comparison(evaluation, text)
        ]
    else:
        notable += [
            Finding("bad", f"{text}.") for text in embedding_health(snapshot.vectors, seed=snapshot.seed).warnings
        ]
    if len(snapshot) > 2:
        notable += _neighborhood(snapshot)
    order = ("bad", "notice", "good")
    return sorted(notable, key=lambda finding: order.index(finding.severity))


def is_comparison(evaluation: Evaluation, sentence: str) -> bool:
    """Tell whether a sentence of a summary gives an evaluator's primary metric, which charts show with its baselines."""
    for name, result in evaluation.results.get(ENCODER, {}).items():
        metric, value = primary_metric(result)
        if sentence.startswith(f"{name}: {metric.replace('_', ' ')} {value}"):
            return True
    return False


def evaluation_headline(evaluation: Evaluation) -> str:
    """Return the sentence that answers whether the encoder is any good, colored by the comparisons behind it."""
    outcomes = [
        comparison.outcome
        for (_, subject), comparison in evaluation.paired_comparisons.items()
        if subject not in (ENCODER, *evaluation.compared_with)
    ]
    better, worse = outcomes.count("better"), outcomes.count("worse")
    severity = "good" if better and not worse else "bad" if worse and not better else "notice"
    return headline(evaluation.headline, severity)


def findings_html(notable: Iterable[Finding]) -> str:
    """Render findings as an HTML list."""
    lines = [f'<li class="{grade}">{escape(text)}</li>' for grade, text in notable]
    return f'<ul class="findings">{"".join(lines)}</ul>' if lines else ""


def _embedding(results: Mapping[str, Any], snapshot: Snapshot, evaluation: Evaluation | None) -> list[Finding]:
    metrics, dim = results.get("metrics", {}), snapshot.vectors.shape[1]
    notable = []
    if (rank := metrics.get("effective_rank", 0)) > dim / 4:
        notable.append(Finding("good", f"The embedding uses about {rank:g} of its {dim} dimensions (effective rank)."))
    if dead := int(metrics.get("dead_units", 0)):
        notable.append(Finding("notice", f"{dead} of the {dim} dimensions of the embedding are constant."))
    explained = metrics.get("explained")
    if explained is not None and explained <= 0:
        notable.append(Finding("bad", "The reconstruction is no closer to the samples than their mean."))
    elif explained is not None:
        pca = _explained_by_pca(evaluation)
        text = f"The reconstruction explains {100 * explained:.1f}% of the variance of the samples"
        if pca is not None and pca > explained:
            notable.append(Finding("notice", f"{text}, less than PCA of the same width ({100 * pca:.1f}%)."))
        else:
            notable.append(Finding("good", f"{text}."))
    return notable


def _explained_by_pca(evaluation: Evaluation | None) -> float | None:
    """Return the variance that PCA of the same width explains of the test samples, where it was measured."""
    if evaluation is None:
        return None
    for subject, results in evaluation.results.items():
        result: Result | None = results.get("reconstruction")
        if subject != ENCODER and result is not None and "explained" in result.metrics:
            return result.metrics["explained"].value
    return None


def _loss(losses: Sequence[float]) -> list[Finding]:
    values = np.asarray(losses, np.float64)
    if len(values) < _FEW_STEPS:
        return []
    tenth = len(values) // 10
    start, before, last = (
        float(part.mean()) for part in (values[:tenth], values[-2 * tenth : -tenth], values[-tenth:])
    )
    decrease = start - last
    if decrease <= 0:
        text = f"The loss did not decrease: {start:.4g} over the first tenth of the steps, {last:.4g} over the last."
        return [Finding("bad", text)]
    if before - last > FALLING * decrease:
        share = 100 * (before - last) / decrease
        text = f"The loss was still decreasing: {share:.0f}% of the whole decrease came in the last tenth of the steps."
        return [Finding("notice", f"{text} More epochs may help.")]
    if last - before > FALLING * decrease:
        return [
            Finding(
                "notice", f"The loss increased at the end, from {before:.4g} to {last:.4g}: a lower train.lr may help."
            )
        ]
    return [Finding("good", f"The loss decreased from {start:.4g} to {last:.4g} and leveled off.")]


def _data(results: Mapping[str, Any]) -> list[Finding]:
    trained = results.get("trained", {})
    skipped, used = trained.get("skipped", 0), trained.get("samples", 0)
    if not skipped:
        return []
    grade: Severity = "bad" if skipped > SKIPPED * (used + skipped) else "notice"
    return [Finding(grade, f"{skipped:,} samples could not be read; skipped.csv lists them with the reason.")]


def _neighborhood(snapshot: Snapshot) -> list[Finding]:
    _, neighbors = snapshot.neighbors
    notable = []
    unit = snapshot.vectors / np.linalg.norm(snapshot.vectors, axis=1, keepdims=True).clip(min=1e-12)
    total = unit.sum(0, dtype=np.float64)
    mean = float((total @ total - len(unit)) / (len(unit) * (len(unit) - 1)))  # over all pairs
    if mean > NARROW:
        text = f"All embeddings point in nearly the same direction: the mean cosine of two is {mean:.3f}."
        notable.append(Finding("notice", f"{text} Search with metric l2, or subtract the mean first."))
    near = np.linalg.norm(snapshot.vectors - snapshot.vectors[neighbors[:, 0]], axis=1)
    size = float(np.linalg.norm(snapshot.vectors - snapshot.vectors.mean(0), axis=1).mean())
    same = int((near <= 1e-5 * max(size, 1e-12)).sum())
    if same:
        text = f"{same:,} of {len(snapshot):,} samples have the same embedding as another"
        notable.append(Finding("notice", f"{text}: they are duplicates, or the encoder does not distinguish them."))
    if snapshot.classes is not None and len(np.unique(snapshot.classes)) > 1:
        known = snapshot.classes != ""
        agree = float((snapshot.classes[neighbors[known]] == snapshot.classes[known][:, None]).mean())
        _, counts = np.unique(snapshot.classes[known], return_counts=True)
        chance = float(np.square(counts / counts.sum()).sum())
        grade: Severity = "good" if agree - chance > AGREE * (1 - chance) else "notice"
        text = f"{100 * agree:.0f}% of the {neighbors.shape[1]} nearest neighbors of a sample have its label"
        notable.append(Finding(grade, f"{text} (chance: {100 * chance:.0f}%)."))
    return notable
