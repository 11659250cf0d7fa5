"""Finding the odd ones: scores of how unlike the training samples each sample is, judged where labels say what is odd."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.analysis.anomaly_baselines import BaselineDetectors
from aekit.analysis.anomaly_detector import Detector
from aekit.analysis.anomaly_image import anomalies_image
from aekit.data.opening import open_data
from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.stream import stream
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.encoder.parquet_store import skipped_csv
from aekit.errors import DataError, closest_name
from aekit.evaluation.metrics.detection import detection_metrics
from aekit.evaluation.results import Metric
from aekit.io.atomic import atomic_folder, write_json, write_text
from aekit.io.text_table import format_columns
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.progress import SILENT, Progress
from aekit.training.recipe import read_recipe
from aekit.training.training_data import training_rows, training_samples

__all__ = ["Anomalies", "Detector", "find_anomalies"]

AT_ONCE = 1024


@dataclass(frozen=True)
class Anomalies:
    """What was found, the oddest sample first.

    Attributes:
        digest: of the encoder.
        ids: (N,) names.
        scores: name -> (N,), higher for what is odder; see `Detector` and `Controls`. The order is that of ``combined``.
        labels: (N,) as the data has them, or None.
        anomalous: (N,) bool, what the labels say is an anomaly, or None.
        metrics: name of a score -> AUROC, average precision and false alarms; empty without such labels.
        notes: what was left out, and why.
        image: the oddest and the most usual samples, and how the scores are spread.
        detector: that gave the scores.
        skipped: id -> reason, of samples that could not be read.
    """

    digest: str
    ids: list[str]
    scores: dict[str, np.ndarray]
    labels: np.ndarray | None
    anomalous: np.ndarray | None
    metrics: dict[str, dict[str, Metric]]
    notes: list[str]
    image: Image.Image
    detector: Detector
    skipped: dict[str, str] = field(default_factory=dict)

    def text(self, max_samples: int = 10) -> str:
        """The figures, or without labels the oddest samples, and the notes."""
        rows: list[dict[str, Any]] = [
            {"score": score, **{name.replace("_", " "): str(metric) for name, metric in own.items()}}
            for score, own in self.metrics.items()
        ]
        if not rows:
            rows = [
                {"id": name, **{score: float(values[place]) for score, values in self.scores.items()}}
                for place, name in enumerate(self.ids[:max_samples])
            ]
        return "\n".join([format_columns(rows), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        odd = None if self.anomalous is None else int(self.anomalous.sum())
        return {
            "digest": self.digest,
            "samples": len(self.ids),
            "anomalies": odd,
            "metrics": {
                score: {name: {"value": m.value, "low": m.low, "high": m.high} for name, m in own.items()}
                for score, own in self.metrics.items()
            },
            "notes": self.notes,
        }

    def save(self, folder: Path) -> None:
        """Writes ``scores.csv``, ``results.json``, ``image.png`` and the detector into a folder that is there."""
        with (folder / "scores.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", *self.scores, *(["label"] if self.labels is not None else [])])
            for place, name in enumerate(self.ids):
                figures = [f"{values[place]:.6g}" for values in self.scores.values()]
                writer.writerow([name, *figures, *([self.labels[place]] if self.labels is not None else [])])
        write_json(folder / "results.json", self.to_dict())
        if self.skipped:
            write_text(folder / "skipped.csv", skipped_csv(self.skipped))
        self.image.save(folder / "image.png")
        self.detector.save(folder)


def find_anomalies(
    run: str | Path,
    data: Any,
    *,
    out: str | Path | None = None,
    normal: Sequence[str] | None = None,
    detector: str | Path | None = None,
    reference: Any = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    baselines: bool = True,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Anomalies:
    """Scores how odd each sample is for an encoder and what it was trained on.

    Args:
        run: folder of a run; one without a decoder has no reconstruction error.
        data: to look for anomalies in; what `aekit.open_data` takes.
        out: new folder for the scores, the figures, the image and the detector.
        normal: labels of normal samples, where labels are not 0 (normal) and 1.
        detector: folder with a detector of this run's encoder to be used again; default: one is fitted.
        reference: data that counts as normal, to fit it on; default: what the run was trained on.
        split: only these samples of data that has splits.
        options: of the sources that open `data` and `reference`, by their names.
        controls: whether to judge PCA, an isolation forest and the distance between raw samples too.
        seed: of the forest and of the bootstrap.
        device: to compute on, such as ``cuda``.
        progress: receives a bar.

    Raises:
        DataError: data that cannot be used, or a label that it does not have; nothing to fit a detector on.
        IdentityError: the detector is another encoder's.
        OutputError: `out` exists already.
    """
    with atomic_folder(Path(out)) if out is not None else nullcontext() as folder:
        encoder, autoencoder, notes = _loaded(run, device)
        source = open_data(data, options, like=encoder.spec)
        rows = source.rows_of(split)
        judges = _fit_detectors(
            run, encoder, autoencoder, detector, reference, options, baselines, seed, progress, notes
        )
        kept, gathered = [], dict[str, list[np.ndarray]]()
        for positions, raw in stream(
            source, rows, encoder.device, title="score", batch_size=AT_ONCE, progress=progress
        ):
            kept.append(positions)
            own = judges[0].scores(encoder, autoencoder, raw)
            for name, values in (own | (judges[1].scores(raw) if judges[1] else {})).items():
                gathered.setdefault(name, []).append(values)
        positions = np.concatenate(kept)
        scores = {name: np.concatenate(parts) for name, parts in gathered.items()}
        order = np.argsort(-scores["combined"], kind="stable")
        positions, scores = positions[order], {name: values[order] for name, values in scores.items()}
        labels = None if source.labels is None else source.labels[positions]
        anomalous = _anomalous(labels, normal, notes)
        if anomalous is not None:
            notes += _training_overlap(run, encoder, source, positions, anomalous)
        found = Anomalies(
            digest=encoder.digest,
            ids=[source.ids[int(row)] for row in positions],
            scores=scores,
            labels=labels,
            anomalous=anomalous,
            metrics={n: detection_metrics(v, anomalous, seed=seed) for n, v in scores.items()}
            if anomalous is not None
            else {},
            notes=notes,
            image=anomalies_image(encoder, autoencoder, source, positions, scores["combined"], labels, anomalous),
            detector=judges[0],
            skipped=dict(source.skipped),
        )
        if folder is not None:
            found.save(folder)
    return found


def _loaded(run: str | Path, device: str) -> tuple[Encoder, Autoencoder | None, list[str]]:
    if (Path(run) / "decoder").is_dir():
        autoencoder = load_autoencoder(run, device=device)
        return autoencoder.encoder, autoencoder, []
    return load(run, device=device), None, ["no reconstruction error: the run has no decoder"]


def _fit_detectors(
    run: str | Path,
    encoder: Encoder,
    autoencoder: Autoencoder | None,
    detector: str | Path | None,
    reference: Any,
    options: dict[str, Any] | None,
    baselines: bool,
    seed: int,
    progress: Progress,
    notes: list[str],
) -> tuple[Detector, BaselineDetectors | None]:
    """The detector and, where it is fitted now, the controls fitted on the same samples."""
    if detector is not None:
        if baselines:
            notes.append("no controls: the detector was fitted before")
        return Detector.load(detector, encoder), None
    if reference is not None:
        given = open_data(reference, options, like=encoder.spec)
        samples = load_samples(given, np.arange(len(given)), encoder.device, progress=progress)
    else:
        try:
            samples = training_samples(run, encoder, progress=progress)
        except DataError as error:
            raise DataError(f"{error}; name data of normal samples as reference") from None
    fitted = BaselineDetectors(encoder, samples, seed) if baselines else None
    if fitted and fitted.note:
        notes.append(fitted.note)
    return Detector.fit(encoder, autoencoder, samples), fitted


def _anomalous(labels: np.ndarray | None, normal: Sequence[str] | None, notes: list[str]) -> np.ndarray | None:
    """(N,) bool, or None and a note where the labels do not say."""
    if labels is None:
        if normal:
            raise DataError(f"normal = {list(normal)}: the data has no labels")
        notes.append("not judged: the data has no labels")
        return None
    names = labels.astype(str)
    if normal:
        for name in normal:
            if name not in names:
                raise DataError(f"normal: no sample with label {name!r}{closest_name(name, np.unique(names).tolist())}")
        found = ~np.isin(names, list(normal))
    elif set(names.tolist()) <= {"0", "1", "0.0", "1.0", "False", "True"}:
        found = np.isin(names, ["1", "1.0", "True"])
    else:
        notes.append(
            "not judged: labels are not 0 for normal samples and 1 for anomalies; say which are normal (--normal)"
        )
        return None
    if found.all() or not found.any():
        notes.append(f"not judged: all {len(found)} samples are {'anomalies' if found.all() else 'normal'}")
        return None
    return found


def _training_overlap(
    run: str | Path, encoder: Encoder, source: Source, rows: np.ndarray, anomalous: np.ndarray
) -> list[str]:
    """A note where the encoder was trained on samples that it is judged on."""
    trained_on, recipe = encoder.record.get("data", {}), Path(run) / "recipe.toml"
    if source.origin is None or source.origin["data"] != trained_on.get("data") or not recipe.is_file():
        return []
    seen = np.isin(rows, training_rows(source, read_recipe(recipe).data))
    normal, odd = int((seen & ~anomalous).sum()), int((seen & anomalous).sum())
    if not seen.any():
        return []
    return [
        f"the encoder was trained, without their labels, on {normal} of the {int((~anomalous).sum())} normal samples and "
        f"{odd} of the {int(anomalous.sum())} anomalies that it is judged on"
    ]
