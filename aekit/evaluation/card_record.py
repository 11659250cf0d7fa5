"""Condense an evaluation into the fields that a model card shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.evaluation.results import Metric
from aekit.evaluation.run_results import RESULTS, read_results
from aekit.io.manifests import read_entries


def card_fields(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``results.json`` that a model card shows: `evaluation` and `findings`, if there are any."""
    fields: dict[str, Any] = {}
    if evaluation := results.get("evaluation"):
        fields["evaluation"] = evaluation_record(evaluation)
    if findings := results.get("findings"):
        fields["findings"] = findings
    return fields


def read_card_fields(folder: Path, digest: str) -> dict[str, Any]:
    """Return the `card_fields` of the run around an encoder folder, or nothing if there is no such run."""
    run = folder.parent
    # The folder around an encoder may be that of embeddings or of a classifier, whose results are of another kind.
    if not (run / RESULTS).is_file() or "trained" not in read_entries(run / RESULTS):
        return {}
    results = read_results(run)
    return card_fields(results) if results["digest"] == digest else {}


def evaluation_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headline, the split, the summary and the primary metric of each evaluator by subject.

    Args:
        record: the evaluation as ``results.json`` holds it.
    """
    table = {}
    for subject, by_name in record["results"].items():
        row = {}
        for name, result in by_name.items():
            metric, value = next(iter(result["metrics"].items()))
            row[f"{name} {metric}".replace("_", " ")] = str(Metric(value["value"], value["low"], value["high"]))
        table[subject] = row
    return {
        "headline": record["headline"],
        "split": record["split"],
        "summary": [*record["warnings"], *record["summary"]],
        "table": table,
    }
