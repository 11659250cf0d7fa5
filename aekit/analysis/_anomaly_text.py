"""Put the scores of anomalies into words: a conclusion in one sentence and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aekit.analysis._anomaly_detector import Detector
from aekit.evaluation.results import Metric
from aekit.io.text_table import format_columns

PATCHES = "patches"
"""Name of the score and of the heat map that compare patches of images with a memory of normal ones."""
CHANCE = 0.5
"""AUROC of guessing."""


def anomalies_text(
    ids: Sequence[str],
    scores: dict[str, np.ndarray],
    metrics: dict[str, dict[str, Metric]],
    notes: Sequence[str],
    detector: Detector,
    max_samples: int,
) -> str:
    """Return the conclusion, the table of the metrics (without metrics, of the top samples), and the notes.

    Args:
        ids: (N,) names, the most anomalous sample first.
        scores: name -> (N,) scores.
        metrics: name of a score -> metrics; empty if no labels name the anomalies.
        notes: what could not be computed, and why.
        detector: the detector that gave the scores.
        max_samples: rows of the table of samples.
    """
    if metrics:
        conclusion = _comparison(metrics, detector)
        rows: list[dict[str, Any]] = [
            {"score": score, **{name.replace("_", " "): str(metric) for name, metric in by_name.items()}}
            for score, by_name in metrics.items()
        ]
    else:
        conclusion = _outliers(ids, scores, detector)
        rows = [
            {"id": name, **{score: float(values[row]) for score, values in scores.items()}}
            for row, name in enumerate(ids[:max_samples])
        ]
    return "\n".join([conclusion, format_columns(rows), *notes])


def _comparison(metrics: dict[str, dict[str, Metric]], detector: Detector) -> str:
    """Return a sentence that compares the combined score with the best baseline."""
    auroc = {score: by_name["auroc"] for score, by_name in metrics.items()}
    combined = auroc["combined"]
    low, high = (combined.value if end is None else end for end in (combined.low, combined.high))
    if high < CHANCE:
        sentence = f"The combined score ranks anomalies as more normal than normal samples: an AUROC of {combined}"
    elif low <= CHANCE:
        sentence = f"The combined score is no better than guessing: an AUROC of {combined}"
    else:
        sentence = f"The combined score separates anomalies from normal samples with an AUROC of {combined}"
    if PATCHES in auroc:
        sentence += f"; {PATCHES} alone have {auroc[PATCHES]}"
    baselines = [score for score in auroc if score not in (*detector.names, PATCHES)]
    if not baselines:
        return f"{sentence}."
    best = max(baselines, key=lambda score: auroc[score].value)
    return f"{sentence}; the best baseline is {best}, with {auroc[best]}."


def _outliers(ids: Sequence[str], scores: dict[str, np.ndarray], detector: Detector) -> str:
    """Return a sentence that counts the samples with scores outside the range of the reference samples."""
    outside = int(detector.exceeds_reference(scores).sum())
    names = " or ".join(detector.weights)
    sentence = f"{outside:,} of {len(ids):,} samples have a higher {names} score than every reference sample"
    return f"{sentence}; the most anomalous sample is {ids[0]!r}."
