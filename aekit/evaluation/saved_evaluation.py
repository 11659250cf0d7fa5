"""Save an evaluation in a folder of its own, and open it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aekit.errors import DamagedError
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.run_results import EvaluationRecord
from aekit.evaluation.saved_predictions import FILE, evaluation_of, load_predictions, prediction_arrays, write_arrays
from aekit.io.atomic import atomic_folder
from aekit.io.manifest_models import Checksums
from aekit.io.manifests import check_files, checksums, read_manifest, write_manifest
from aekit.io.remote import local_path

RECORD = "evaluation.json"
FORMAT = 1


class SavedEvaluation(EvaluationRecord):
    """Entries of ``evaluation.json``."""

    format: int
    sha256: Checksums


def save_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``evaluation.json`` and the arrays of single samples into a new folder, and return it."""
    arrays = prediction_arrays(evaluation)
    samples = {"ids": evaluation.test_ids, "labels": evaluation.test_labels, "groups": evaluation.groups}
    for name, values in samples.items():
        if values is not None:
            array = np.asarray(values)
            arrays[name] = array.astype(str) if array.dtype == object else array
    with atomic_folder(folder) as part:
        write_arrays(part / FILE, arrays)
        write_manifest(part / RECORD, {"format": FORMAT, "sha256": checksums(part, [FILE])} | evaluation.to_dict())
    return folder


def open_evaluation(folder: Path) -> Evaluation:
    """Open a folder that `save_evaluation` wrote.

    Raises:
        DamagedError: it holds no evaluation, or is damaged.
    """
    folder = local_path(folder)
    if not (folder / RECORD).is_file():
        raise DamagedError(f"{folder}: no evaluation here; expected a folder that Evaluation.save wrote")
    record = read_manifest(folder / RECORD, SavedEvaluation, kind="evaluation", version=FORMAT)
    check_files(folder, record["sha256"], "save the evaluation again", needed=[FILE])
    return evaluation_of(record, load_predictions(folder))
