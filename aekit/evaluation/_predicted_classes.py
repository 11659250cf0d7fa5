"""Tables of the classes that an evaluator predicted for the test samples of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aekit.errors import DataError, closest_name
from aekit.evaluation.metrics.classification import confusion_matrix, per_class_metrics
from aekit.io.summaries import data_frame

if TYPE_CHECKING:
    from aekit.evaluation.evaluation import Evaluation


def confusion(evaluation: Evaluation, evaluator: str | None, subject: str) -> Any:
    """Return the table of `Evaluation.confusion`."""
    classes, counts = _counted(evaluation, evaluator, subject)
    table = data_frame(dict(zip(classes.tolist(), counts.T)))
    return table.set_axis(classes.tolist()).rename_axis(index="label", columns="prediction")


def per_class(evaluation: Evaluation, evaluator: str | None, subject: str) -> Any:
    """Return the table of `Evaluation.per_class`."""
    return data_frame(per_class_metrics(*_counted(evaluation, evaluator, subject))).set_index("class")


def errors(evaluation: Evaluation, evaluator: str | None, subject: str) -> Any:
    """Return the table of `Evaluation.errors`."""
    labels, predictions, confidence = _predicted(evaluation, evaluator, subject)
    wrong = np.flatnonzero(labels != predictions)
    ids = evaluation.test_ids
    columns: dict[str, Any] = {"id": [str(row) if ids is None else ids[row] for row in wrong.tolist()]}
    columns |= {"label": labels[wrong], "prediction": predictions[wrong]}
    if confidence is not None:
        columns["confidence"] = confidence[wrong]
    table = data_frame(columns).set_index("id")
    return table if confidence is None else table.sort_values("confidence", ascending=False, kind="stable")


def _counted(evaluation: Evaluation, evaluator: str | None, subject: str) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions, _ = _predicted(evaluation, evaluator, subject)
    return confusion_matrix(labels, predictions)


def _predicted(
    evaluation: Evaluation, evaluator: str | None, subject: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the labels (N3,), the predictions (N3,) as text, and their confidence (N3,) or None.

    Raises:
        DataError: no such subject, or no such evaluator that predicts classes.
    """
    if subject not in evaluation.results:
        raise DataError(f"subject = {subject!r}: not evaluated{closest_name(subject, evaluation.results)}")
    results = evaluation.results[subject]
    predicting = [name for name, result in results.items() if result.predictions is not None]
    if evaluation.test_labels is None or not predicting:
        raise DataError(
            f"no predicted classes of {subject!r}; evaluators=['probe'] predicts them, if the labels are classes"
        )
    name = predicting[0] if evaluator is None else evaluator
    if name not in predicting:
        problem = "predicts no classes" if name in results else "did not run"
        raise DataError(f"evaluator = {name!r}: {problem}; expected {' or '.join(predicting)}")
    return (
        evaluation.test_labels.astype(str),
        np.asarray(results[name].predictions).astype(str),
        results[name].confidence,
    )
