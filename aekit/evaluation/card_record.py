"""Condense an evaluation into what a model card says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.evaluation.results import Metric
from aekit.io.atomic import read_json


def known_afterwards(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says beside ``encoder.json``: `evaluation` and `findings`, as far as ``results.json`` holds them."""
    known: dict[str, Any] = {}
    if evaluation := results.get("evaluation"):
        known["evaluation"] = evaluation_record(evaluation)
    if findings := results.get("findings"):
        known["findings"] = findings
    return known


def known_beside(folder: Path, digest: str) -> dict[str, Any]:
    """Return what the ``results.json`` of the run around an encoder folder adds to its card; nothing where there is none."""
    results = folder.parent / "results.json"
    found = read_json(results) if results.is_file() else {}
    # The folder around an encoder may be that of embeddings or of a classifier, whose results are of another kind.
    return known_afterwards(found) if "trained" in found and found.get("digest") == digest else {}


def evaluation_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says of an evaluation: the split, the verdict, and the first metric of each evaluator by subject.

    Args:
        record: of the evaluation, as ``results.json`` holds it.
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
