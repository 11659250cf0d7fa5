"""What is noticeable about a run, in words: what is wrong, what deserves a look, and what is as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from aekit.evaluation.checks.embedding_health import embedding_health
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.summary import Severity
from aekit.report.snapshot import Snapshot

FALLING = 0.03
"""Share of the loss's whole fall: more than that in the last tenth of training is unfinished."""
SKIPPED = 0.01
"""Share of the samples that could not be read, above which that is bad."""
NARROW = 0.9
"""Mean cosine of all pairs above which a search by cosine suffers."""
AGREE = 0.3
"""How far from chance to certainty neighbors share a label, above which that is good."""
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
    """Everything that was found, the worst first.

    Args:
        results: what ``results.json`` holds.
        losses: as they were logged, of the last phase of training.
        look: at some samples.
        judged: an evaluation beside controls, or None.
    """
    found = [*_embedding(results, snapshot), *_loss(losses), *_data(results)]
    if evaluation is not None:
        # Of an evaluator's sentences the last is the conclusion; all of them stand beside the figures.
        last = {text.partition(":")[0]: Finding(grade, f"{text}.") for grade, text in evaluation.graded_summary()}
        found += last.values()
    else:
        found += [
            Finding("bad", f"{text}.") for text in embedding_health(snapshot.vectors, seed=snapshot.seed).warnings
        ]
    if len(snapshot) > 2:
        found += _neighborhood(snapshot)
    order = ("bad", "notice", "good")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def findings_html(found: Iterable[Finding]) -> str:
    """The findings as HTML."""
    lines = [f'<li class="{grade}">{escape(text)}</li>' for grade, text in found]
    return f'<ul class="findings">{"".join(lines)}</ul>' if lines else ""


def _embedding(results: Mapping[str, Any], snapshot: Snapshot) -> list[Finding]:
    metrics, dim = results.get("metrics", {}), snapshot.vectors.shape[1]
    found = []
    if (rank := metrics.get("effective_rank", 0)) > dim / 4:
        found.append(Finding("good", f"The embedding spreads over about {rank:g} of its {dim} directions."))
    if dead := int(metrics.get("dead_units", 0)):
        found.append(Finding("notice", f"{dead} of the {dim} numbers of the embedding never change."))
    explained = metrics.get("explained")
    if explained is not None and explained <= 0:
        found.append(Finding("bad", "What comes back is no nearer to the samples than their mean is."))
    elif explained is not None:
        found.append(Finding("good", f"The reconstruction explains {100 * explained:.1f} % of the samples' variance."))
    return found


def _loss(losses: Sequence[float]) -> list[Finding]:
    values = np.asarray(losses, np.float64)
    if len(values) < _FEW_STEPS:
        return []
    tenth = len(values) // 10
    start, before, last = (
        float(part.mean()) for part in (values[:tenth], values[-2 * tenth : -tenth], values[-tenth:])
    )
    fallen = start - last
    if fallen <= 0:
        text = f"The loss did not fall: {start:.4g} over the first tenth of the steps, {last:.4g} over the last."
        return [Finding("bad", text)]
    if before - last > FALLING * fallen:
        share = 100 * (before - last) / fallen
        text = f"The loss was still falling at the end: {share:.0f} % of its whole fall came with the last tenth of the steps."
        return [Finding("notice", f"{text} More epochs may help.")]
    if last - before > FALLING * fallen:
        return [
            Finding("notice", f"The loss rose at the end, from {before:.4g} to {last:.4g}: a lower train.lr may help.")
        ]
    return [Finding("good", f"The loss fell from {start:.4g} to {last:.4g} and had leveled off.")]


def _data(results: Mapping[str, Any]) -> list[Finding]:
    trained = results.get("trained", {})
    skipped, used = trained.get("skipped", 0), trained.get("samples", 0)
    if not skipped:
        return []
    grade: Severity = "bad" if skipped > SKIPPED * (used + skipped) else "notice"
    return [Finding(grade, f"{skipped:,} samples could not be read; skipped.csv says which and why.")]


def _neighborhood(snapshot: Snapshot) -> list[Finding]:
    _, places = snapshot.neighbors
    found = []
    unit = snapshot.vectors / np.linalg.norm(snapshot.vectors, axis=1, keepdims=True).clip(min=1e-12)
    total = unit.sum(0, dtype=np.float64)
    mean = float((total @ total - len(unit)) / (len(unit) * (len(unit) - 1)))  # over all pairs
    if mean > NARROW:
        text = f"All embeddings point nearly the same way: two of them have a cosine of {mean:.3f} on average."
        found.append(Finding("notice", f"{text} Search by l2, or subtract the mean first."))
    near = np.linalg.norm(snapshot.vectors - snapshot.vectors[places[:, 0]], axis=1)
    size = float(np.linalg.norm(snapshot.vectors - snapshot.vectors.mean(0), axis=1).mean())
    same = int((near <= 1e-5 * max(size, 1e-12)).sum())
    if same:
        text = f"{same:,} of the {len(snapshot):,} samples that were looked at have the very embedding of another"
        found.append(Finding("notice", f"{text}: they are duplicates, or the encoder cannot tell them apart."))
    if snapshot.classes is not None and len(np.unique(snapshot.classes)) > 1:
        known = snapshot.classes != ""
        agree = float((snapshot.classes[places[known]] == snapshot.classes[known][:, None]).mean())
        _, counts = np.unique(snapshot.classes[known], return_counts=True)
        chance = float(np.square(counts / counts.sum()).sum())
        grade: Severity = "good" if agree - chance > AGREE * (1 - chance) else "notice"
        text = f"Of the {places.shape[1]} nearest neighbors of a sample {100 * agree:.0f} % have its label"
        found.append(Finding(grade, f"{text}, where chance would give {100 * chance:.0f} %."))
    return found
