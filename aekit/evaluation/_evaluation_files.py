"""Write and read the files of an evaluation: its record, and the arrays of single samples, which JSON does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.errors import DamagedError
from aekit.evaluation.results import Result
from aekit.evaluation.run_results import EvaluationRecord
from aekit.io.atomic import atomic_file, atomic_folder
from aekit.io.manifest_models import Checksums
from aekit.io.manifests import check_files, checksums, explain_read_errors, read_manifest, write_manifest
from aekit.io.remote import local_path

FILE, RECORD = "predictions.npz", "evaluation.json"
FORMAT = 1


class SavedEvaluation(EvaluationRecord):
    """Entries of ``evaluation.json``."""

    format: int
    sha256: Checksums


def prediction_arrays(results: Mapping[str, Result], evaluated_rows: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the predictions of evaluators by name, and which samples they are of."""
    arrays = {"evaluated_rows": np.empty(0, np.int64) if evaluated_rows is None else evaluated_rows}
    for name, result in results.items():
        if result.predictions is not None:
            arrays[f"predictions {name}"] = result.predictions.astype(str)
        if result.confidence is not None:
            arrays[f"confidence {name}"] = result.confidence
        if "confusion" in result.plot_data:
            arrays[f"confusion {name}"] = np.asarray(result.plot_data["confusion"])
            arrays[f"classes {name}"] = np.asarray(result.plot_data["classes"]).astype(str)
    return arrays


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``predictions.npz``."""
    with atomic_file(folder / FILE) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_predictions(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of ``predictions.npz``, or none if there is no such file.

    Raises:
        IdentityError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        return {}
    with explain_read_errors(folder / FILE), np.load(folder / FILE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def write_evaluation(folder: Path, record: Mapping[str, Any], arrays: dict[str, np.ndarray], **samples: Any) -> None:
    """Write ``evaluation.json`` and ``predictions.npz`` into a new folder.

    Args:
        folder: the folder.
        record: what `Evaluation.to_dict` returned.
        arrays: `prediction_arrays`.
        samples: further arrays (N3,) of the test samples by name, or None.
    """
    for name, values in samples.items():
        if values is not None:
            array = np.asarray(values)
            arrays[name] = array.astype(str) if array.dtype == object else array
    with atomic_folder(folder) as part:
        write_arrays(part, arrays)
        write_manifest(part / RECORD, {"format": FORMAT, "sha256": checksums(part, [FILE])} | dict(record))


def read_evaluation(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the record and the arrays that `write_evaluation` wrote.

    Raises:
        DamagedError: the folder holds no evaluation, or is damaged.
    """
    folder = local_path(folder)
    if not (folder / RECORD).is_file():
        raise DamagedError(f"{folder}: no evaluation here; expected a folder that Evaluation.save wrote")
    record = read_manifest(folder / RECORD, SavedEvaluation, kind="evaluation", version=FORMAT)
    check_files(folder, record["sha256"], "save the evaluation again", needed=[FILE])
    return record, load_predictions(folder)
