"""Tell anomalies from normal samples by their labels, and find scored samples that the encoder was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aekit.analysis._anomaly_masks import Masks
from aekit.data.labels import label_texts
from aekit.data.locations import same_place
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.errors import DataError, closest_name
from aekit.training.run_recipe import read_data_section
from aekit.training.training_data import training_rows


def find_anomalous(
    labels: np.ndarray | None, normal: Sequence[str] | None, masks: Masks | None, rows: np.ndarray, notes: list[str]
) -> np.ndarray | None:
    """Tell anomalies by their labels, or else by their masks.

    Args:
        labels: (N,) labels, or None.
        normal: labels of normal samples, or None.
        masks: masks of anomalies, or None.
        rows: (N,) positions of the samples.
        notes: receives a line if neither labels nor masks name the anomalies.

    Returns:
        (N,) bool, or None.

    Raises:
        DataError: no sample has a normal label, or there are no labels.
    """
    reasons: list[str] = []
    anomalous = anomalies_by_label(labels, normal, reasons)
    if anomalous is None and masks is not None:
        reasons = ["labels do not name the anomalies: images with a mask are anomalies, the others normal"]
        anomalous = anomalies_by_label(masks.anomalous(rows).astype(int), None, reasons)
    notes += reasons
    return anomalous


def anomalies_by_label(labels: np.ndarray | None, normal: Sequence[str] | None, notes: list[str]) -> np.ndarray | None:
    """Return (N,) bool, or None and a note if the labels do not name the anomalies."""
    if labels is None:
        if normal:
            raise DataError(f"normal = {list(normal)}: the data has no labels")
        notes.append("no metrics: the data has no labels")
        return None
    names = label_texts(labels)
    if unlabeled := int((names == "").sum()):
        notes.append(
            f"no metrics: {unlabeled} of {len(names)} samples have no label, so it is unknown whether they are anomalies"
        )
        return None
    if normal:
        for name in normal:
            if name not in names:
                raise DataError(f"normal: no sample with label {name!r}{closest_name(name, np.unique(names).tolist())}")
        anomalous = ~np.isin(names, list(normal))
    elif set(names.tolist()) <= {"0", "1", "False", "True"}:
        anomalous = np.isin(names, ["1", "True"])
    else:
        notes.append(
            "no metrics: labels are not 0 (normal) and 1 (anomaly); name the normal labels as normal (--normal)"
        )
        return None
    if anomalous.all() or not anomalous.any():
        kind = "anomalies" if anomalous.all() else "normal"
        notes.append(f"no metrics: all {len(anomalous)} samples are {kind}")
        return None
    return anomalous


def training_overlap(run: Any, encoder: Encoder, source: Source, rows: np.ndarray, anomalous: np.ndarray) -> list[str]:
    """Return a note if the encoder was trained on samples that are scored."""
    if not isinstance(run, (str, Path)) or not (Path(run) / "recipe.toml").is_file():
        return []
    trained_data = encoder.record.get("data", {}).get("data")
    if source.origin is None or not same_place(source.origin["data"], trained_data, None, encoder.folder):
        return []
    trained_on = np.isin(rows, training_rows(source, read_data_section(Path(run) / "recipe.toml")))
    if not trained_on.any():
        return []
    return [
        f"the encoder was trained, without labels, on {int((trained_on & ~anomalous).sum())} of the "
        f"{int((~anomalous).sum())} normal samples and {int((trained_on & anomalous).sum())} of the "
        f"{int(anomalous.sum())} anomalies scored here"
    ]
