"""What evaluators found, to look at: the table with controls, each figure on its interval, mistakes and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.evaluation.judgement import Evaluation
from aekit.evaluation.results import Findings, Result
from aekit.evaluation.verdict import ENCODER, first
from aekit.report.charts import binned, confusion, intervals, reliability
from aekit.report.findings import Finding, as_list
from aekit.report.page import Page, beside, card, facts, figure, folded, gallery, sentences, table, wrapped
from aekit.report.sheets import Painter
from aekit.samples import Source, read_usable

CLASSES = 40
"""Up to which a confusion matrix can be read."""
MISTAKES, ROWS = 24, 60
_SIGNS = {"above": "▼", "below": "▲", "level with": ""}


def judgement(
    page: Page, found: Evaluation, source: Source, rows: np.ndarray | None, painter: Painter, *, below: str = ""
) -> list[str]:
    """The cards of an evaluation.

    Args:
        page: that they are for.
        found: the evaluation.
        source: of the samples.
        rows: (N,) positions in it of the embeddings that were judged; None: mistakes cannot be shown.
        painter: of the samples.
        below: what has to be said of the figures.
    """
    counts = ", ".join(f"{found.counts[part]:,} {part}" for part in ("train", "validation", "test"))
    told = " ".join(filter(None, [below, f"Split: {found.split} ({counts})."]))
    verdict = as_list(
        [*(Finding(*line) for line in found.graded()), *(Finding("notice", note) for note in found.notes)]
    )
    signs = (
        "▼ and ▲: below and above the encoder, by a paired test over the test samples; without a sign: not told apart."
    )
    parts = [card("Is it any good?", told, table(_beside_each_other(found)), f'<p class="faint">{signs}</p>', verdict)]
    firsts, others = _intervals(found)
    more = [folded("All other figures", beside(*others))] if others else []
    below = "Of the encoder, and in grey of the controls."
    parts.append(card("Figures and their 95 % intervals", below, beside(*firsts), *more))
    for name, result in found.results.get(ENCODER, {}).items():
        parts += [_confusion(name, result), *_answers(page, name, result, found, source, rows, painter)]
    details = [folded(name, _details(found, name)) for name in found.results.get(ENCODER, {})]
    details += [folded(name, _check(check)) for name, check in found.checks.items()]
    return [*parts, card("Everything that was found", "By evaluator, and what was checked beside them.", *details)]


def _beside_each_other(found: Evaluation) -> list[dict[str, str]]:
    """A row for each evaluator, with the first metric of each subject."""
    rows = []
    for name, own in found.results.get(ENCODER, {}).items():
        row = {"": f"{name} {first(own)[0].replace('_', ' ')}"}
        for subject, results in found.results.items():
            pair = found.standing.get((name, subject))
            sign = _SIGNS[pair.word] if pair else ""
            row[subject] = f"{first(results[name])[1]} {sign}".rstrip() if name in results else ""
        rows.append(row)
    return rows


def _check(found: Findings) -> str:
    rows = [dict(row) for row in found.table[:ROWS]]
    return facts({key.replace("_", " "): f"{value:.4g}" for key, value in found.figures.items()}) + table(rows)


def _intervals(found: Evaluation) -> tuple[list[str], list[str]]:
    """Of the first metric of each evaluator, and of all others."""
    firsts: list[str] = []
    others: list[str] = []
    for name, own in found.results.get(ENCODER, {}).items():
        for number, metric in enumerate(own.metrics):
            figures = {
                subject: results[name].metrics[metric]
                for subject, results in found.results.items()
                if name in results and metric in results[name].metrics
            }
            if len(figures) > 1 and len({m.value for m in figures.values()}) == 1:
                continue  # says something of the data alone
            rows = {who: (m.value, m.low, m.high, who not in (ENCODER, *found.rivals)) for who, m in figures.items()}
            (others if number else firsts).append(intervals(rows, f"{name}: {metric.replace('_', ' ')}"))
    return firsts, others


def _confusion(name: str, result: Result) -> str:
    counts, classes = result.figures.get("confusion"), result.figures.get("classes")
    if counts is None or classes is None:
        return ""
    names = [str(label) for label in classes]
    wrong = np.array(counts)
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(at), len(names)) for at in np.argsort(-wrong, axis=None, kind="stable")[:8]]
    lines = [
        {"label": names[row], "answered as": names[column], "samples": int(wrong[row, column])}
        for row, column in worst
        if wrong[row, column]
    ]
    matrix = confusion(counts, names) if len(names) <= CLASSES else ""
    below = "Rows are the labels, columns what was answered; the depth of a cell is its share of the row."
    return card(
        f"Confusion ({name})", below if matrix else "The most frequent mistakes.", wrapped(matrix, table(lines))
    )


def _answers(
    page: Page,
    name: str,
    result: Result,
    found: Evaluation,
    source: Source,
    rows: np.ndarray | None,
    painter: Painter,
) -> list[str]:
    """The worst mistakes, and how far confidence can be trusted."""
    if result.answers is None or result.confidence is None or found.judged is None or source.labels is None:
        return []
    if rows is None or rows.max(initial=-1) >= len(source):
        return []
    judged = rows[found.judged]
    truth, answers = np.asarray(source.labels)[judged].astype(str), result.answers.astype(str)
    wrong = np.flatnonzero(truth != answers)
    worst = wrong[np.argsort(-result.confidence[wrong], kind="stable")[:MISTAKES]]
    parts = []
    if len(worst):
        raw, ok = read_usable(source, judged[worst])
        sheet = painter.sheet(painter.of_raw(raw))
        drawn = []
        for place, at in enumerate(worst):
            title = f"{answers[at]}, not {truth[at]}"
            caption = f"{100 * result.confidence[at]:.0f} % sure · {source.ids[int(judged[at])]}"
            drawn.append(figure(page.thumbnail(sheet, place, title) if ok[place] else "", title, caption, kind="wrong"))
        told = f"{len(wrong):,} of {len(truth):,} test samples were answered wrongly. These are the surest of them: "
        told += "what the answer was, and what the label is. Some may be mistakes of the labels."
        parts.append(card(f"Hardest mistakes ({name})", told, gallery(drawn, wide=sheet.aspect)))
    right = truth == answers
    error = calibration_error(result.confidence, right)
    told = (
        f"Mean confidence {result.confidence.mean():.3f}, accuracy {right.mean():.3f}; expected calibration error "
        f"{error:.3f} (15 bins; 0 is perfect). Bars below the dashed line are too sure of themselves."
    )
    return [*parts, card(f"Calibration ({name})", told, reliability(result.confidence, right))]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, 2015): the mean gap between confidence and accuracy over
    bins of equal width, by the samples in them.

    Args:
        confidence: (N,) in 0..1.
        right: (N,) bool.
        bins: how many.
    """
    counts, accuracy, mean = binned(confidence, right, bins)
    return float((counts * np.abs(accuracy - mean)).sum() / max(1, counts.sum()))


def _details(found: Evaluation, name: str) -> str:
    rows: list[dict[str, Any]] = []
    for subject, results in found.results.items():
        if name in results:
            row: dict[str, Any] = {"": subject}
            rows.append(row | {key.replace("_", " "): str(m) for key, m in results[name].metrics.items()})
    own = found.results[ENCODER][name]
    chosen = facts({f"chosen: {key}": value for key, value in own.chosen.items()}) if own.chosen else ""
    shown = own.table[:ROWS]
    more = sentences([f"and {len(own.table) - ROWS} more rows"]) if len(own.table) > ROWS else ""
    return table(rows) + chosen + table(shown) + more
