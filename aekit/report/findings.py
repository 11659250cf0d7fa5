"""What is noticeable about a run, in words: what is wrong, what deserves a look, and what is as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from aekit.evaluation.judge import Evaluation
from aekit.evaluation.verdict import Grade, graded
from aekit.report.look import Look

LOW_RANK, DEAD, FALLING, SKIPPED, HUB, NARROW = 0.1, 0.05, 0.03, 0.01, 0.2, 0.9
"""Above or below which something is noticeable: effective rank and dead numbers as shares of the width, the fall of the loss
over the last tenth of training, skipped samples, the share of samples that have one among their neighbours, the mean cosine."""


class Finding(NamedTuple):
    """A sentence, and how serious it is."""

    grade: Grade
    text: str


def findings(
    results: Mapping[str, Any],
    terms: Mapping[str, Sequence[tuple[float, float]]],
    look: Look | None = None,
    judged: Evaluation | None = None,
) -> list[Finding]:
    """Everything that was found, the worst first.

    Args:
        results: what ``results.json`` holds.
        terms: name -> (step, value) as they were logged.
        look: at some samples, or None.
        judged: an evaluation beside controls, or None.
    """
    found = [*_embedding(results), *_loss(terms), *_data(results)]
    if judged is not None:
        # Of an evaluator's sentences the last is the conclusion; all of them stand beside the figures.
        last = {text.partition(":")[0]: Finding(grade, f"{text}.") for grade, text in graded(judged.results)}
        found += last.values()
    if look is not None and len(look) > 2:
        found += _neighbourhood(look)
    order = ("bad", "notice", "good")
    return sorted(found, key=lambda finding: order.index(finding.grade))


def as_list(found: Iterable[Finding]) -> str:
    """The findings as HTML."""
    lines = [f'<li class="{grade}">{escape(text)}</li>' for grade, text in found]
    return f'<ul class="findings">{"".join(lines)}</ul>' if lines else ""


def _embedding(results: Mapping[str, Any]) -> list[Finding]:
    metrics, dim = results.get("metrics", {}), _width(results)
    found = []
    if dim and (rank := metrics.get("effective_rank")) is not None:
        if rank < LOW_RANK * dim or rank < 1.5:
            found.append(
                Finding(
                    "bad",
                    f"The embedding uses about {rank:g} of its {dim} directions: it has collapsed, or nearly. Most of its "
                    f"numbers say the same.",
                )
            )
        else:
            found.append(Finding("good", f"The embedding spreads over about {rank:g} of its {dim} directions."))
    if dead := int(metrics.get("dead_units", 0)):
        grade: Grade = "bad" if dead > DEAD * dim else "notice"
        found.append(Finding(grade, f"{dead} of the {dim} numbers of the embedding never change."))
    explained = metrics.get("explained")
    if explained is not None and explained <= 0.05:
        found.append(
            Finding(
                "bad", f"The reconstruction explains {100 * explained:.1f} % of the variance: it is hardly a sample."
            )
        )
    elif explained is not None:
        found.append(Finding("good", f"The reconstruction explains {100 * explained:.1f} % of the samples' variance."))
    return found


def _width(results: Mapping[str, Any]) -> int:
    return int(results.get("cost", {}).get("embedding_bytes", 0)) // 4


def _loss(terms: Mapping[str, Sequence[tuple[float, float]]]) -> list[Finding]:
    # The last of several phases counts: each starts anew.
    values = np.array([value for _, value in terms.get("loss", next(iter(terms.values()), []))])
    if len(values) < 40:
        return []
    tenth = len(values) // 10
    start, before, last = (
        float(part.mean()) for part in (values[:tenth], values[-2 * tenth : -tenth], values[-tenth:])
    )
    fallen = start - last
    if fallen <= 0:
        return [
            Finding(
                "bad",
                f"The loss did not fall: {start:.4g} over the first tenth of the steps, {last:.4g} over the last.",
            )
        ]
    if before - last > FALLING * fallen:
        share = 100 * (before - last) / fallen
        return [
            Finding(
                "notice",
                f"The loss was still falling at the end: {share:.0f} % of its whole fall came with the last tenth of the "
                f"steps. More epochs may help.",
            )
        ]
    if last - before > FALLING * fallen:
        return [
            Finding("notice", f"The loss rose at the end, from {before:.4g} to {last:.4g}: a lower train.lr may help.")
        ]
    return [Finding("good", f"The loss fell from {start:.4g} to {last:.4g} and had levelled off.")]


def _data(results: Mapping[str, Any]) -> list[Finding]:
    trained = results.get("trained", {})
    skipped, used = trained.get("skipped", 0), trained.get("samples", 0)
    if not skipped:
        return []
    grade: Grade = "bad" if skipped > SKIPPED * (used + skipped) else "notice"
    return [Finding(grade, f"{skipped:,} samples could not be read; skipped.csv says which and why.")]


def _neighbourhood(look: Look) -> list[Finding]:
    _, places = look.near
    found = []
    unit = look.vectors / np.linalg.norm(look.vectors, axis=1, keepdims=True).clip(min=1e-12)
    total = unit.sum(0, dtype=np.float64)
    mean = float((total @ total - len(unit)) / (len(unit) * (len(unit) - 1)))  # over all pairs
    if mean > NARROW:
        found.append(
            Finding(
                "notice",
                f"All embeddings point nearly the same way: two of them have a cosine of {mean:.3f} on average. Search by "
                f"l2, or subtract the mean first.",
            )
        )
    near = np.linalg.norm(look.vectors - look.vectors[places[:, 0]], axis=1)
    size = float(np.linalg.norm(look.vectors - look.vectors.mean(0), axis=1).mean())
    same = int((near <= 1e-5 * max(size, 1e-12)).sum())
    if same:
        grade: Grade = "bad" if same > 0.5 * len(look) else "notice"
        found.append(
            Finding(
                grade,
                f"{same:,} of the {len(look):,} samples that were looked at have the very embedding of another: they are "
                f"duplicates, or the encoder cannot tell them apart.",
            )
        )
    crowd = np.bincount(places.ravel(), minlength=len(look))
    if len(look) >= 200 and (share := crowd.max() / len(look)) > HUB:
        found.append(
            Finding(
                "notice",
                f"{look.ids[int(crowd.argmax())]} is among the {places.shape[1]} nearest of {100 * share:.0f} % of the other "
                f"samples: a hub, which searches will find too often.",
            )
        )
    if look.classes is not None and len(np.unique(look.classes)) > 1:
        known = look.classes != ""
        own, others = look.classes[known], look.classes[places[known]]
        agree, chance = float((others == own[:, None]).mean()), float(_by_chance(own))
        found.append(
            Finding(
                "good" if agree > 2 * chance else "notice",
                f"Of the {places.shape[1]} nearest neighbours of a sample {100 * agree:.0f} % have its label, where chance "
                f"would give {100 * chance:.0f} %.",
            )
        )
    return found


def _by_chance(labels: np.ndarray) -> float:
    _, counts = np.unique(labels, return_counts=True)
    return float(np.square(counts / counts.sum()).sum())
