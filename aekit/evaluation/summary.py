"""What figures say about an encoder that stands beside its controls: in sentences, and no more than they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from aekit.evaluation.metrics.paired_tests import PairedComparison, paired_comparisons
from aekit.evaluation.results import Metric, Result

ENCODER = "encoder"
Severity = Literal["good", "notice", "bad"]
ENOUGH = 100  # test samples
CLEAR = 0.1
"""Of the way from guessing to no mistake: within it a figure is near guessing, beyond it clearly better."""
_PHRASES = {
    "better": "better than",
    "not significantly different": "not significantly different from",
    "worse": "worse than",
}
Results = Mapping[str, Mapping[str, Result]]


def summarize(results: Results, compared_with: Collection[str] = ()) -> list[str]:
    """A sentence or two for each evaluator.

    Args:
        results: ``encoder``, other encoders and the controls -> evaluator -> what it found.
        rivals: which of them are other encoders, and no controls.
    """
    return [sentence for _, sentence in graded_summary(results, compared_with)]


def graded_summary(
    results: Results,
    compared_with: Collection[str] = (),
    comparisons: Mapping[tuple[str, str], PairedComparison] | None = None,
) -> list[tuple[Severity, str]]:
    """The sentences of `verdict`, each with what it means: ``good``, above all controls; ``bad``, no better than random
    weights by the figure itself, or than guessing; ``notice`` in between. `standing` is what `pairs` gives, where that is known
    already."""
    compared = paired_comparisons(results, ENCODER) if comparisons is None else comparisons
    related = any(_clearly_better_than_guessing(found) for by_name in results.values() for found in by_name.values())
    lines = []
    for name, own in results.get(ENCODER, {}).items():
        others = {subject: found[name] for subject, found in results.items() if subject != ENCODER and name in found}
        blind = _blind(name, own, others, related)
        lines += _sentences(
            name, own, others, {subject: compared[name, subject] for subject in others}, compared_with, blind
        )
    return lines


def primary_metric(result: Result) -> tuple[str, Metric]:
    """The metric that tables show, with its name."""
    return next(iter(result.metrics.items()))


def _sentences(
    name: str,
    own: Result,
    others: Mapping[str, Result],
    comparisons: Mapping[str, PairedComparison],
    compared_with: Collection[str],
    blind: list[tuple[Severity, str]],
) -> list[tuple[Severity, str]]:
    metric, figure = primary_metric(own)
    title = f"{name}: {metric.replace('_', ' ')} {figure}"
    if not others:
        return [("notice", f"{title}, with no control beside it to say what that is worth"), *blind]
    parts = []
    for word in ("better", "not significantly different", "worse"):
        named = [f"{s} ({primary_metric(others[s])[1].value:.3f})" for s in others if comparisons[s].outcome == word]
        if named:
            parts.append(f"{_PHRASES[word]} {join_words(named)}")
    near = [subject for subject, other in others.items() if not _apart(figure, primary_metric(other)[1])]
    if figure.low is None:
        tail = ""
    elif near:
        tail = f"; the intervals of {join_words([ENCODER, *near])} overlap"
    else:
        tail = "; the intervals do not overlap" if len(others) == 1 else "; no interval overlaps with the encoder's"
    controls = {subject: pair.outcome for subject, pair in comparisons.items() if subject not in compared_with}
    best = bool(controls) and all(word == "better" for word in controls.values())
    lines: list[tuple[Severity, str]] = [("good" if best else "notice", f"{title}, {', '.join(parts)}{tail}")]
    if blind:
        return [*lines, *blind]
    if controls.get("random", "better") != "better":
        lines.append(_no_better_than_random(name, own, others["random"]))
    elif all(word != "better" for subject, word in controls.items() if subject != "random") and len(controls) > 1:
        lines.append(
            ("notice", f"{name}: better than random weights, but no better than features that need no training")
        )
    return lines


def _no_better_than_random(name: str, own: Result, random: Result) -> tuple[Severity, str]:
    """What is not significantly different from random weights by its mean, or only as far as so few samples can tell."""
    sentence = f"{name}: no better than the same encoder with random weights"
    if primary_metric(own)[1].value <= primary_metric(random)[1].value:
        return "bad", f"{sentence}: this shows nothing that was learned"
    return "notice", f"{sentence}, {_as_far_as(own)}"


def _as_far_as(own: Result) -> str:
    count = "these" if own.scores is None else f"{len(own.scores):,}"
    return f"as far as {count} test samples can tell"


def _blind(name: str, own: Result, others: Mapping[str, Result], related: bool) -> list[tuple[Severity, str]]:
    """Where the encoder is no better than answers that look at no sample. `related`: some judgment, of whatever subject, has
    shown that the labels have to do with the samples."""
    if own.chance is None or not near_chance(own):
        return []
    sentence = f"{name}: no better than guessing ({own.chance:.3f})"
    seeing = [subject for subject, other in others.items() if not near_chance(other)]
    if seeing:
        sentence += f", where {join_words(seeing)} {'is' if len(seeing) == 1 else 'are'}"
    elif others:
        sentence += f", nor is {' or '.join(others)}"
    if not all(_near_guessing(found) for found in ([own] if seeing else [own, *others.values()])):
        return [("notice", f"{sentence}, {_as_far_as(own)}")]
    if seeing:
        return [("bad", sentence)]
    if related:
        return [("notice", sentence)]
    return [("bad", f"{sentence}: the labels seem to have nothing to do with the samples")]


def _near_guessing(result: Result) -> bool:
    """Whether there were enough samples to find out, 100, as the interval of fewer is itself a guess, and its upper end is near
    guessing."""
    figure, chance = primary_metric(result)[1], result.chance or 0.0
    enough = result.scores is None or len(result.scores) >= ENOUGH
    return enough and (figure.value if figure.high is None else figure.high) <= chance + CLEAR * (1 - chance)


def _clearly_better_than_guessing(result: Result) -> bool:
    if result.chance is None:
        return False
    figure = primary_metric(result)[1]
    return (figure.value if figure.low is None else figure.low) > result.chance + CLEAR * (1 - result.chance)


def near_chance(result: Result) -> bool:
    """Return whether the primary metric is not significantly better than guessing."""
    figure = primary_metric(result)[1]
    return result.chance is not None and (figure.value if figure.low is None else figure.low) <= result.chance


def _apart(a: Metric, b: Metric) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low > b.high or b.low > a.high


def join_words(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
