"""Cards of an evaluation: the answer, metrics with their intervals next to the baselines, mistakes and calibration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from aekit.data.labels import label_texts
from aekit.data.source import Source, read_valid
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.results import CheckResult, Result
from aekit.evaluation.summary import ENCODER, primary_metric
from aekit.report._findings import Finding, evaluation_headline, findings_html, is_comparison
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
from aekit.visualization.sprite_cells import SpriteSheetBuilder

CLASSES = 40
"""Most classes for which a confusion matrix is readable."""
MISTAKES, ROWS = 24, 60
_SIGNS = {"better": "▼", "worse": "▲"}
LEGEND = (
    "▼: significantly worse than the encoder, ▲: significantly better (95%, paired test, Holm); no sign: no significant "
    "difference."
)


def evaluation_cards(
    page: Page,
    evaluation: Evaluation,
    source: Source,
    rows: np.ndarray | None,
    sprites: SpriteSheetBuilder,
    *,
    below: str = "",
) -> list[str]:
    """Return the cards of an evaluation.

    Args:
        page: the page that they are for.
        evaluation: what to show.
        source: of the samples.
        rows: (N,) positions in it of the embeddings that were evaluated; None: mistakes cannot be shown.
        sprites: draws the samples.
        below: a remark on the metrics.
    """
    counts = ", ".join(f"{evaluation.counts[part]:,} {part}" for part in ("train", "validation", "test"))
    remark = " ".join(filter(None, [below, f"Split: {evaluation.split} ({counts})."]))
    main, others = interval_charts(evaluation)
    more = [collapsible("All other metrics", side_by_side(*others))] if others else []
    numbers = collapsible("As a table", table(_comparison_table(evaluation)))
    parts = [
        evaluation_headline(evaluation),
        card("Compared with baselines", f"{remark} {LEGEND}", side_by_side(*main), *more, numbers),
    ]
    remarks = [*_remarks(evaluation), *(Finding("notice", f"{note}.") for note in evaluation.notes)]
    if remarks:
        parts.append(card("Remarks", "", findings_html(remarks)))
    for name, result in evaluation.results.get(ENCODER, {}).items():
        parts += [
            _confusion(name, result),
            *_prediction_cards(page, name, result, evaluation, source, rows, sprites),
        ]
    details = [collapsible(name, _details(evaluation, name)) for name in evaluation.results.get(ENCODER, {})]
    details += [collapsible(name, _check(check)) for name, check in evaluation.checks.items()]
    return [*parts, card("All results", "By evaluator and by check.", *details)]


def interval_charts(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """Draw metrics with their intervals, next to the baselines: the primary metric of each evaluator, and all others."""
    main: list[str] = []
    others: list[str] = []
    for name, encoder_result in evaluation.results.get(ENCODER, {}).items():
        for number, metric in enumerate(encoder_result.metrics):
            metrics = {
                subject: results[name].metrics[metric]
                for subject, results in evaluation.results.items()
                if name in results and metric in results[name].metrics
            }
            if number and len(metrics) > 1 and len({m.value for m in metrics.values()}) == 1:
                continue  # depends on the data alone; a primary metric may be perfect for all of them
            baselines = {who: who not in (ENCODER, *evaluation.compared_with) for who in metrics}
            signs = {who: "" if number else _sign(evaluation, name, who) for who in metrics}
            drawn = {
                f"{who} {signs[who]}".rstrip(): (m.value, m.low, m.high, baselines[who]) for who, m in metrics.items()
            }
            (others if number else main).append(intervals(drawn, f"{name}: {metric.replace('_', ' ')}"))
    return main, others


def _sign(evaluation: Evaluation, evaluator: str, subject: str) -> str:
    comparison = evaluation.paired_comparisons.get((evaluator, subject))
    return _SIGNS.get(comparison.outcome, "") if comparison else ""


def _comparison_table(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return a row for each evaluator, with the primary metric of each subject."""
    rows = []
    for name, encoder_result in evaluation.results.get(ENCODER, {}).items():
        row = {"": f"{name} {primary_metric(encoder_result)[0].replace('_', ' ')}"}
        for subject, results in evaluation.results.items():
            if name in results:
                row[subject] = f"{primary_metric(results[name])[1]} {_sign(evaluation, name, subject)}".rstrip()
        rows.append(row)
    return rows


def _remarks(evaluation: Evaluation) -> Iterable[Finding]:
    """Return the warnings and what the charts do not show: conclusions that are more than a comparison."""
    for severity, text in evaluation.graded_summary():
        if not is_comparison(evaluation, text):
            yield Finding(severity, f"{text}.")


def _check(check: CheckResult) -> str:
    rows = [dict(row) for row in check.table[:ROWS]]
    return fact_table({key.replace("_", " "): f"{value:.4g}" for key, value in check.values.items()}) + table(rows)


def _confusion(name: str, result: Result) -> str:
    counts, classes = result.plot_data.get("confusion"), result.plot_data.get("classes")
    if counts is None or classes is None:
        return ""
    names = [str(label) for label in classes]
    wrong = np.array(counts)
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(at), len(names)) for at in np.argsort(-wrong, axis=None, kind="stable")[:8]]
    lines = [
        {"label": names[row], "predicted": names[column], "samples": int(wrong[row, column])}
        for row, column in worst
        if wrong[row, column]
    ]
    matrix = confusion_table(counts, names) if len(names) <= CLASSES else ""
    below = "Rows are labels, columns predictions; the color of a cell shows its fraction of the row."
    return card(
        f"Confusion ({name})", below if matrix else "The most frequent mistakes.", wrapped_row(matrix, table(lines))
    )


def _prediction_cards(
    page: Page,
    name: str,
    result: Result,
    evaluation: Evaluation,
    source: Source,
    rows: np.ndarray | None,
    sprites: SpriteSheetBuilder,
) -> list[str]:
    """Show the most confident mistakes, and the calibration of the confidence."""
    if result.predictions is None or result.confidence is None or evaluation.evaluated_rows is None:
        return []
    if source.labels is None or rows is None or rows.max(initial=-1) >= len(source):
        return []
    positions = rows[evaluation.evaluated_rows]
    y_true, y_pred = label_texts(source.labels)[positions], label_texts(result.predictions)
    wrong = np.flatnonzero(y_true != y_pred)
    worst = wrong[np.argsort(-result.confidence[wrong], kind="stable")[:MISTAKES]]
    parts = []
    if len(worst):
        raw, ok = read_valid(source, positions[worst])
        sheet = sprites.sprite_sheet(sprites.raw_to_cells(raw))
        drawn = []
        for place, at in enumerate(worst):
            title = f"{y_pred[at]}, not {y_true[at]}"
            caption = f"{100 * result.confidence[at]:.0f}% · {source.ids[int(positions[at])]}"
            drawn.append(figure(page.thumbnail(sheet, place, title) if ok[place] else "", title, caption, kind="wrong"))
        remark = f"{len(wrong):,} of {len(y_true):,} test samples are misclassified. These have the highest confidence; each "
        remark += "shows the prediction and the label. Some of the labels may be wrong."
        parts.append(card(f"Most confident mistakes ({name})", remark, gallery(drawn, wide=sheet.aspect)))
    right = y_true == y_pred
    error = calibration_error(result.confidence, right)
    remark = (
        f"Mean confidence {result.confidence.mean():.3f}, accuracy {right.mean():.3f}; expected calibration error "
        f"{error:.3f} (15 bins; 0 is perfect). Bars below the dashed line show overconfidence."
    )
    return [*parts, card(f"Calibration ({name})", remark, reliability_diagram(result.confidence, right))]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Compute the expected calibration error (Naeini, Cooper and Hauskrecht, 2015): the mean gap between confidence and
    accuracy over bins of equal width, weighted by their samples.

    Args:
        confidence: (N,) in 0..1.
        right: (N,) bool.
        bins: how many.
    """
    counts, accuracy, mean = bin_by_confidence(confidence, right, bins)
    return float((counts * np.abs(accuracy - mean)).sum() / max(1, counts.sum()))


def _details(evaluation: Evaluation, name: str) -> str:
    rows: list[dict[str, Any]] = []
    for subject, results in evaluation.results.items():
        if name in results:
            row: dict[str, Any] = {"": subject}
            rows.append(row | {key.replace("_", " "): str(m) for key, m in results[name].metrics.items()})
    encoder_result = evaluation.results[ENCODER][name]
    facts = {f"chosen: {key}": value for key, value in encoder_result.chosen.items()}
    chosen = fact_table(facts) if facts else ""
    shown = encoder_result.table[:ROWS]
    more = sentences([f"and {len(encoder_result.table) - ROWS} more rows"]) if len(encoder_result.table) > ROWS else ""
    return table(rows) + chosen + table(shown) + more
