"""Judging embeddings: splits, evaluators, the controls beside which a figure means something, and intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aekit.evaluation.results import Findings, Metric, Result, Split

if TYPE_CHECKING:
    from aekit.evaluation.choosing import choose, folds_of
    from aekit.evaluation.intervals import bootstrap, difference
    from aekit.evaluation.judge import Evaluation, evaluate
    from aekit.evaluation.neighbours import nearest, rankings
    from aekit.evaluation.probe import SEARCH, LogisticPath, fit_logistic
    from aekit.evaluation.ridge import RidgePath, fit_ridge
    from aekit.evaluation.splits import as_classes, few_labels, few_of_each, groups_of, make_split, stratified

__all__ = [
    "SEARCH",
    "Evaluation",
    "Findings",
    "LogisticPath",
    "Metric",
    "Result",
    "RidgePath",
    "Split",
    "as_classes",
    "bootstrap",
    "choose",
    "difference",
    "evaluate",
    "few_labels",
    "few_of_each",
    "fit_logistic",
    "fit_ridge",
    "folds_of",
    "groups_of",
    "make_split",
    "nearest",
    "rankings",
    "stratified",
]

_HOME = {
    "Evaluation": "judge",
    "evaluate": "judge",
    "LogisticPath": "probe",
    "SEARCH": "probe",
    "fit_logistic": "probe",
    "RidgePath": "ridge",
    "fit_ridge": "ridge",
    "choose": "choosing",
    "folds_of": "choosing",
    "bootstrap": "intervals",
    "difference": "intervals",
    "as_classes": "splits",
    "few_labels": "splits",
    "few_of_each": "splits",
    "groups_of": "splits",
    "make_split": "splits",
    "stratified": "splits",
    "nearest": "neighbours",
    "rankings": "neighbours",
}


def __getattr__(name: str) -> Any:
    """Names that need torch are imported when they are first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
