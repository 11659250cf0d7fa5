"""Judging embeddings: splits, evaluators, the controls beside which a figure means something, and intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aekit.evaluation.results import Metric, Result, Split

if TYPE_CHECKING:
    from aekit.evaluation.intervals import bootstrap, difference
    from aekit.evaluation.judge import Evaluation, evaluate
    from aekit.evaluation.neighbours import nearest
    from aekit.evaluation.probe import LogisticPath, fit_logistic
    from aekit.evaluation.splits import as_classes, few_labels, make_split, stratified

__all__ = [
    "Evaluation",
    "LogisticPath",
    "Metric",
    "Result",
    "Split",
    "as_classes",
    "bootstrap",
    "difference",
    "evaluate",
    "few_labels",
    "fit_logistic",
    "make_split",
    "nearest",
    "stratified",
]

_HOME = {
    "Evaluation": "judge",
    "evaluate": "judge",
    "LogisticPath": "probe",
    "fit_logistic": "probe",
    "bootstrap": "intervals",
    "difference": "intervals",
    "as_classes": "splits",
    "few_labels": "splits",
    "make_split": "splits",
    "stratified": "splits",
    "nearest": "neighbours",
}


def __getattr__(name: str) -> Any:
    """Names that need torch are imported when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
