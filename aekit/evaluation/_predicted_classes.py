"""Tables of the classes that an evaluator predicted for the test samples of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aekit.errors import DataError, closest_name
from aekit.evaluation.metrics.classification import confusion_matrix, per_class_metrics
from aekit.evaluation.results import Result
from aekit.io.summaries import data_frame


class PredictedClasses(NamedTuple):
    """The classes of N3 test samples.

    Attributes:
        ids: ids, or their numbers among the test samples.
        labels: (N3,) of str.
        predictions: (N3,) of str.
        confidence: (N3,) probability of each prediction in 0..1, or None.
    """

    ids: Sequence[str]
    labels: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray | None


def predicted_classes(
    results: Mapping[str, Mapping[str, Result]],
    labels: np.ndarray | None,
    ids: Sequence[str] | None,
    evaluator: str | None,
    subject: str,
) -> PredictedClasses:
    """Return what an evaluator predicted, by default the first that predicts classes.

    Raises:
        DataError: no such subject, or no such evaluator that predicts classes.
    """
    if subject not in results:
        raise DataError(f"subject = {subject!r}: not evaluated{closest_name(subject, results)}")
    by_name = results[subject]
    predicting = [name for name, result in by_name.items() if result.predictions is not None]
    if labels is None or not predicting:
        raise DataError(
            f"no predicted classes of {subject!r}; evaluators=['probe'] predicts them, if the labels are classes"
        )
    name = predicting[0] if evaluator is None else evaluator
    if name not in predicting:
        problem = "predicts no classes" if name in by_name else "did not run"
        raise DataError(f"evaluator = {name!r}: {problem}; expected {' or '.join(predicting)}")
    names = [str(row) for row in range(len(labels))] if ids is None else ids
    predictions = np.asarray(by_name[name].predictions).astype(str)
    return PredictedClasses(names, labels.astype(str), predictions, by_name[name].confidence)


def confusion(predicted: PredictedClasses) -> Any:
    """Return the table of `Evaluation.confusion`."""
    classes, counts = confusion_matrix(predicted.labels, predicted.predictions)
    table = data_frame(dict(zip(classes.tolist(), counts.T)))
    return table.set_axis(classes.tolist()).rename_axis(index="label", columns="prediction")


def per_class(predicted: PredictedClasses) -> Any:
    """Return the table of `Evaluation.per_class`."""
    return data_frame(per_class_metrics(*confusion_matrix(predicted.labels, predicted.predictions))).set_index("class")


def errors(predicted: PredictedClasses) -> Any:
    """Return the table of `Evaluation.errors`."""
    wrong = np.flatnonzero(predicted.labels != predicted.predictions)
    columns: dict[str, Any] = {"id": [predicted.ids[row] for row in wrong.tolist()]}
    columns |= {"label": predicted.labels[wrong], "prediction": predicted.predictions[wrong]}
    if predicted.confidence is None:
        return data_frame(columns).set_index("id")
    table = data_frame(columns | {"confidence": predicted.confidence[wrong]}).set_index("id")
    return table.sort_values("confidence", ascending=False, kind="stable")
