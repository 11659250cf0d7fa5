"""Save the predictions of an evaluation next to its ``results.json``, and restore the evaluation of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit._arguments import checked_arguments
from aekit.evaluation._evaluation_files import (
    FILE as FILE,
    load_predictions as load_predictions,
    prediction_arrays,
    read_evaluation,
    write_arrays,
)
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.metrics._paired_tests import PairedComparison
from aekit.evaluation.results import CheckResult, Metric, Result
from aekit.evaluation.summary import ENCODER


def save_predictions(evaluation: Evaluation, rows: np.ndarray, folder: Path) -> None:
    """Write ``predictions.npz``: the predictions of the encoder's evaluators, which ``results.json`` does not hold.

    Args:
        evaluation: the evaluation.
        rows: (N,) positions in the source of the embeddings that were evaluated.
        folder: folder of the run.
    """
    arrays = prediction_arrays(evaluation.results.get(ENCODER, {}), evaluation.evaluated_rows)
    write_arrays(folder, {"rows": rows} | arrays)


def evaluation_of(record: Mapping[str, Any], predictions: Mapping[str, np.ndarray]) -> Evaluation:
    """Restore an evaluation, without the scores of its samples.

    Args:
        record: what `Evaluation.to_dict` returned.
        predictions: what `load_predictions` returned; also ``ids``, ``labels`` and ``groups`` of the test samples, if known.
    """
    results = {
        subject: {
            name: _result(stored, name, predictions if subject == ENCODER else {}) for name, stored in by_name.items()
        }
        for subject, by_name in record["results"].items()
    }
    checks = {
        name: CheckResult(stored["values"], stored.get("warnings", []), stored["notes"], stored["table"])
        for name, stored in record["checks"].items()
    }
    ids = predictions.get("ids")
    evaluation = Evaluation(
        digest=record["digest"],
        counts=record["counts"],
        split=record["split"],
        results=results,
        evaluated_rows=predictions.get("evaluated_rows"),
        compared_with=record["compared_with"],
        checks=checks,
        titles=record["titles"],
        mode=record.get("mode", "thorough"),
        groups=predictions.get("groups"),
        test_ids=None if ids is None else ids.tolist(),
        test_labels=predictions.get("labels"),
    )
    # The pairs were tested on the scores of single samples, which are not stored.
    evaluation.__dict__["paired_comparisons"] = {
        (pair["evaluator"], pair["subject"]): PairedComparison(
            Metric(pair["difference"], pair["low"], pair["high"]) if "difference" in pair else None,
            pair["p_value"],
            pair["outcome"],
        )
        for pair in record["paired_comparisons"]
    }
    evaluation.notes.extend(record["notes"][len(evaluation.sampling_notes()) :])
    return evaluation


@checked_arguments
def open_evaluation(folder: str | Path) -> Evaluation:
    """Open the folder of an evaluation that `aekit.Evaluation.save` wrote.

    Args:
        folder: the folder, or its URL.

    Raises:
        DamagedError: it holds no evaluation, or is damaged.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> labels = np.repeat(["cat", "dog"], 100)
        >>> vectors = np.random.default_rng(0).normal(size=(200, 8)) + 3 * (labels == "dog")[:, None]
        >>> evaluation = aekit.evaluate(vectors, labels, evaluators=["probe"])
        >>> evaluation.save("evaluation").name
        'evaluation'
        >>> aekit.open_evaluation("evaluation").errors().empty
        True
    """
    return evaluation_of(*read_evaluation(folder))


def _result(stored: Mapping[str, Any], name: str, predictions: Mapping[str, np.ndarray]) -> Result:
    plot_data = {key: np.asarray(values) for key, values in stored["plot_data"].items()}
    plot_data |= {
        key: predictions[f"{key} {name}"] for key in ("confusion", "classes") if f"{key} {name}" in predictions
    }
    return Result(
        metrics={key: Metric(m["value"], m["low"], m["high"]) for key, m in stored["metrics"].items()},
        chosen=stored["chosen"],
        table=stored["table"],
        plot_data=plot_data,
        predictions=predictions.get(f"predictions {name}"),
        confidence=predictions.get(f"confidence {name}"),
        chosen_on=stored["chosen_on"],
        chance=stored["chance"],
        notes=stored["notes"],
    )
