"""What evaluators found, to look at: the table with controls, each figure on its interval, mistakes and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from aekit.data.source import Source, read_valid
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.results import CheckResult, Result
from aekit.evaluation.summary import ENCODER, primary_metric
from aekit.report.findings import Finding, findings_html
from aekit.visualization.charts import bin_by_confidence, confusion_table, intervals, reliability_diagram
from aekit.visualization.page import (
    Page,
    card,
    collapsible,
    fact_table,
    figure,
    gallery,
    sentences,
    side_by_side,
    table,
    wrapped_row,
)
from aekit.visualization.sprite_sheets import SpriteSheetBuilder

CLASSES = 40
"""Up to which a confusion matrix can be read."""
MISTAKES, ROWS = 24, 60
_SIGNS = {"above": "▼", "below": "▲", "level with": ""}


def evaluation_cards(
    page: Page,
    found: Evaluation,
    source: Source,
    rows: np.ndarray | None,
    sprites: SpriteSheetBuilder,
    *,
    below: str = "",
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
    verdict = findings_html(
        [*(Finding(*line) for line in found.graded_summary()), *(Finding("notice", note) for note in found.notes)]
    )
    signs = (
        "▼ and ▲: below and above the encoder, by a paired test over the test samples; without a sign: not told apart."
    )
    parts = [card("Is it any good?", told, table(_beside_each_other(found)), f'<p class="faint">{signs}</p>', verdict)]
    firsts, others = _intervals(found)
    more = [collapsible("All other figures", side_by_side(*others))] if others else []
    below = "Of the encoder, and in gray of the controls."
    parts.append(card("Figures and their 95 % intervals", below, side_by_side(*firsts), *more))
    for name, result in found.results.get(ENCODER, {}).items():
        parts += [_confusion(name, result), *_answers(page, name, result, found, source, rows, sprites)]
    details = [collapsible(name, _details(found, name)) for name in found.results.get(ENCODER, {})]
    details += [collapsible(name, _check(check)) for name, check in found.checks.items()]
    return [*parts, card("Everything that was found", "By evaluator, and what was checked beside them.", *details)]


def _beside_each_other(found: Evaluation) -> list[dict[str, str]]:
    """A row for each evaluator, with the first metric of each subject."""
    rows = []
    for name, own in found.results.get(ENCODER, {}).items():
        row = {"": f"{name} {primary_metric(own)[0].replace('_', ' ')}"}
        for subject, results in found.results.items():
            pair = found.paired_comparisons.get((name, subject))
            sign = _SIGNS[pair.outcome] if pair else ""
            row[subject] = f"{primary_metric(results[name])[1]} {sign}".rstrip() if name in results else ""
        rows.append(row)
    return rows


def _check(found: CheckResult) -> str:
    rows = [dict(row) for row in found.table[:ROWS]]
    return fact_table({key.replace("_", " "): f"{value:.4g}" for key, value in found.values.items()}) + table(rows)


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
            rows = {
                who: (m.value, m.low, m.high, who not in (ENCODER, *found.compared_with)) for who, m in figures.items()
            }
            (others if number else firsts).append(intervals(rows, f"{name}: {metric.replace('_', ' ')}"))
    return firsts, others


def _confusion(name: str, result: Result) -> str:
    counts, classes = result.plot_data.get("confusion"), result.plot_data.get("classes")
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
    matrix = confusion_table(counts, names) if len(names) <= CLASSES else ""
    below = "Rows are the labels, columns what was answered; the depth of a cell is its share of the row."
    return card(
        f"Confusion ({name})", below if matrix else "The most frequent mistakes.", wrapped_row(matrix, table(lines))
    )


def _answers(
    page: Page,
    name: str,
    result: Result,
    found: Evaluation,
    source: Source,
    rows: np.ndarray | None,
    sprites: SpriteSheetBuilder,
) -> list[str]:
    """The worst mistakes, and how far confidence can be trusted."""
    if result.predictions is None or result.confidence is None or found.evaluated_rows is None or source.labels is None:
        return []
    if rows is None or rows.max(initial=-1) >= len(source):
        return []
    evaluation = rows[found.evaluated_rows]
    truth, answers = np.asarray(source.labels)[evaluation].astype(str), result.predictions.astype(str)
    wrong = np.flatnonzero(truth != answers)
    worst = wrong[np.argsort(-result.confidence[wrong], kind="stable")[:MISTAKES]]
    parts = []
    if len(worst):
        raw, ok = read_valid(source, evaluation[worst])
        sheet = sprites.sprite_sheet(sprites.raw_to_cells(raw))
        drawn = []
        for place, at in enumerate(worst):
            title = f"{answers[at]}, not {truth[at]}"
            caption = f"{100 * result.confidence[at]:.0f} % sure · {source.ids[int(evaluation[at])]}"
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
    return [*parts, card(f"Calibration ({name})", told, reliability_diagram(result.confidence, right))]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, 2015): the mean gap between confidence and accuracy over
    bins of equal width, by the samples in them.

    Args:
        confidence: (N,) in 0..1.
        right: (N,) bool.
        bins: how many.
    """
    counts, accuracy, mean = bin_by_confidence(confidence, right, bins)
    return float((counts * np.abs(accuracy - mean)).sum() / max(1, counts.sum()))


def _details(found: Evaluation, name: str) -> str:
    rows: list[dict[str, Any]] = []
    for subject, results in found.results.items():
        if name in results:
            row: dict[str, Any] = {"": subject}
            rows.append(row | {key.replace("_", " "): str(m) for key, m in results[name].metrics.items()})
    own = found.results[ENCODER][name]
    chosen = fact_table({f"chosen: {key}": value for key, value in own.chosen.items()}) if own.chosen else ""
    shown = own.table[:ROWS]
    more = sentences([f"and {len(own.table) - ROWS} more rows"]) if len(own.table) > ROWS else ""
    return table(rows) + chosen + table(shown) + more
