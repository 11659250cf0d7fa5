"""What figures say about an encoder that stands beside its controls: in sentences, and no more than they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from aekit.evaluation.intervals import difference
from aekit.evaluation.results import Metric, Result

ENCODER = "encoder"
Grade = Literal["good", "notice", "bad"]


def verdict(results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """A sentence or two for each evaluator.

    Args:
        results: ``encoder`` and the controls -> evaluator -> what it found.
    """
    return [sentence for _, sentence in graded(results)]


def graded(results: Mapping[str, Mapping[str, Result]]) -> list[tuple[Grade, str]]:
    """The sentences of `verdict`, each with what it means: ``good``, above all controls; ``bad``, no better than random weights;
    ``notice`` in between."""
    lines = []
    for name, own in results.get(ENCODER, {}).items():
        others = {subject: found[name] for subject, found in results.items() if subject != ENCODER and name in found}
        lines += _sentences(name, own, others)
    return lines


def first(result: Result) -> tuple[str, Metric]:
    """The metric that tables show, with its name."""
    return next(iter(result.metrics.items()))


def _sentences(name: str, own: Result, others: Mapping[str, Result]) -> list[tuple[Grade, str]]:
    metric, figure = first(own)
    title = f"{name}: {metric.replace('_', ' ')} {figure}"
    if not others:
        return [("notice", f"{title}, with no control beside it to say what that is worth")]
    standing = {subject: _standing(own, other) for subject, other in others.items()}
    parts = []
    for word in ("above", "level with", "below"):
        named = [f"{s} ({first(others[s])[1].value:.3f})" for s in others if standing[s] == word]
        if named:
            parts.append(f"{word} {listed(named)}")
    apart = all(_apart(figure, first(other)[1]) for other in others.values())
    if figure.low is None:
        tail = ""
    elif apart:
        tail = "; the intervals do not overlap" if len(others) == 1 else "; no interval overlaps with the encoder's"
    else:
        near = [subject for subject, other in others.items() if not _apart(figure, first(other)[1])]
        tail = f"; the intervals of {listed([ENCODER, *near])} overlap"
    best = all(word == "above" for word in standing.values())
    lines: list[tuple[Grade, str]] = [("good" if best else "notice", f"{title}, {', '.join(parts)}{tail}")]
    if standing.get("random", "above") != "above":
        lines.append(
            ("bad", f"{name}: no better than the same encoder with random weights: this shows nothing that was learned")
        )
    elif all(word != "above" for subject, word in standing.items() if subject != "random") and len(others) > 1:
        lines.append(
            ("notice", f"{name}: better than random weights, but no better than features that need no training")
        )
    return lines


def _standing(own: Result, other: Result) -> str:
    """Where the encoder stands: by the interval of the difference in pairs, where there are scores of the same samples."""
    ours, theirs = first(own)[1], first(other)[1]
    if own.scores is not None and other.scores is not None and len(own.scores) == len(other.scores):
        gap = difference(own.scores, other.scores)
        low, high = gap.low or 0.0, gap.high or 0.0
        return "above" if low > 0 else "below" if high < 0 else "level with"
    if ours.low is not None and theirs.low is not None and not _apart(ours, theirs):
        return "level with"
    return "above" if ours.value > theirs.value else "below" if ours.value < theirs.value else "level with"


def _apart(a: Metric, b: Metric) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low > b.high or b.low > a.high


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
