"""Save the predictions of an evaluation next to its ``results.json``, and restore the evaluation of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.metrics._paired_tests import PairedComparison
from aekit.evaluation.results import CheckResult, Metric, Result
from aekit.evaluation.summary import ENCODER
from aekit.io.atomic import atomic_file
from aekit.io.manifests import explain_read_errors

FILE = "predictions.npz"


def save_predictions(evaluation: Evaluation, rows: np.ndarray, folder: Path) -> None:
    """Write ``predictions.npz``: the predictions of the encoder's evaluators, which ``results.json`` does not hold.

    Args:
        evaluation: the evaluation.
        rows: (N,) positions in the source of the embeddings that were evaluated.
        folder: folder of the run.
    """
    write_arrays(folder / FILE, {"rows": rows} | prediction_arrays(evaluation))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, which `load_predictions` reads."""
    with atomic_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def prediction_arrays(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return the predictions of the encoder's evaluators, and which samples they are of."""
    evaluated = np.empty(0, np.int64) if evaluation.evaluated_rows is None else evaluation.evaluated_rows
    arrays = {"evaluated_rows": evaluated}
    for name, result in evaluation.results.get(ENCODER, {}).items():
        if result.predictions is not None:
            arrays[f"predictions {name}"] = result.predictions.astype(str)
        if result.confidence is not None:
            arrays[f"confidence {name}"] = result.confidence
        if "confusion" in result.plot_data:
            arrays[f"confusion {name}"] = np.asarray(result.plot_data["confusion"])
            arrays[f"classes {name}"] = np.asarray(result.plot_data["classes"]).astype(str)
    return arrays


def load_predictions(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of ``predictions.npz``, or none if there is no such file.

    Raises:
        IdentityError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        return {}
    with explain_read_errors(folder / FILE), np.load(folder / FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


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
