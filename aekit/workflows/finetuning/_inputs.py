"""Check the output folder, the labels and the split of fine-tuning."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aekit.data.source import Source
from aekit.errors import DataError, OutputError, RecipeError, TrainingError
from aekit.evaluation.labels import resolve_labels
from aekit.evaluation.results import Split
from aekit.evaluation.splits import few_label_split, make_split, to_class_labels
from aekit.io.atomic import holds_only
from aekit.io.manifest_models import Manifest, Sha256
from aekit.io.remote import refuse_remote
from aekit.registry.options import validation_errors
from aekit.registry.overrides import describe_changes
from aekit.training.settings import MACHINE_SETTINGS, Settings


class FinetuneSettings(Manifest):
    """Settings that a resumed call must share with the first."""

    layers: int | None
    per_class: int | None
    patience: int
    baselines: bool
    encoder: Sha256
    labels: str
    train: dict[str, Any]


def is_finished(folder: Path, resume: bool) -> bool:
    """Return whether a folder holds finished fine-tuning.

    Raises:
        OutputError: the folder cannot be written or resumed.
    """
    refuse_remote(folder, "a fine-tuned run")
    checkpoint = folder / "checkpoint"
    if holds_only(folder, ("checkpoint",)) and (not checkpoint.exists() or holds_only(checkpoint, ())):
        return False  # a process was killed before it wrote anything to resume
    unfinished = (folder / "checkpoint" / "settings.json").is_file()
    finished = (folder / "encoder" / "encoder.json").is_file() and (folder / "classifier.json").is_file()
    if resume and not (finished or unfinished):
        raise OutputError(f"{folder}: nothing to resume")
    if not resume and folder.exists():
        state = (
            "holds interrupted fine-tuning; resume=True (--resume) continues it, or" if unfinished else "is not empty;"
        )
        raise OutputError(f"{folder}: {state} choose another folder as out (-o)")
    return resume and finished


def check_options(
    layer_count: int, layers: int | None, per_class: int | None, patience: int, settings: Mapping[str, Any]
) -> None:
    """Check the options of fine-tuning an encoder of `layer_count` layers.

    Raises:
        RecipeError: some are out of range; a line for each.
    """
    expected = {
        f"layers = {layers}: expected 0 to {layer_count}, the number of layers": 0 <= (layers or 0) <= layer_count,
        f"per_class = {per_class}: expected 1 or more": per_class is None or per_class >= 1,
        f"patience = {patience}: expected 0 or more": patience >= 0,
        "train.epochs = 0: expected 1 or more": settings.get("epochs") != 0,
    }
    problems = [problem for problem, holds in expected.items() if not holds]
    if problems := problems + validation_errors(Settings, settings, "train"):
        raise RecipeError(problems)


def labels_and_split(source: Source, labels: Any, per_class: int | None, seed: int) -> tuple[np.ndarray, Split]:
    """Return the (N,) classes and the split."""
    labels = source.labels if labels is None else resolve_labels(labels, source.ids)[0]
    y_true, problem = to_class_labels(labels, len(source), what="samples")
    if y_true is None:
        where = ", such as the column that y of its source names" if source.spec.columns and not problem else ""
        raise DataError(f"no labels to fine-tune with: {problem or 'the data has none'}; expected classes{where}")
    split = make_split(y_true, source.splits, seed=seed)
    if per_class is not None:
        split = few_label_split(split, y_true, per_class, seed=seed)
    return y_true, split


def check_same_settings(
    path: Path, before: dict[str, Any], now: dict[str, Any], set_fields: Collection[str] | None = None
) -> None:
    """Check that a resumed call has the settings of the first.

    Args:
        path: file that `before` is from, for the message.
        before: settings of the first call; {} if they are not known.
        now: settings of this call.
        set_fields: the settings that this call sets, where the others may depend on the machine; None: all are compared.

    Raises:
        TrainingError: something has changed.
    """
    if before and set_fields is not None:
        for name in MACHINE_SETTINGS.difference(set_fields):
            now["train"][name] = before["train"].get(name)
    if before and (changed := describe_changes(before, now)):
        raise TrainingError(f"{path}: cannot resume with other settings: {'; '.join(changed)}")
