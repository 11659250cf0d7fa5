"""Score samples by how anomalous they are for a trained encoder, and evaluate the scores if labels name the anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit._arguments import checked_arguments
from aekit.analysis._anomaly_baselines import BaselineDetectors
from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_image import anomalies_image
from aekit.analysis._anomaly_text import anomalies_text
from aekit.analysis._anomaly_threshold import Alarms, calibrate, check_rate, hold_out, raise_alarms
from aekit.analysis._anomaly_vectors import may_be_contaminated
from aekit.data.locations import same_place
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.data.samples import Samples, load_samples
from aekit.data.source import Source
from aekit.data.stream import stream
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import open_encoder
from aekit.encoder.parquet_store import skipped_csv
from aekit.errors import DataError, closest_name
from aekit.evaluation.metrics.detection import detection_metrics
from aekit.evaluation.results import Metric
from aekit.io.atomic import write_json, write_text
from aekit.io.csv_files import write_csv
from aekit.io.remote import beside, local_if_remote, optional_folder
from aekit.io.summaries import data_frame, html_summary
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.progress import Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.training.run_recipe import read_data_section
from aekit.training.training_data import training_rows, training_samples

__all__ = ["Anomalies", "Detector", "find_anomalies"]

BATCH = 1024


@dataclass(frozen=True)
class Anomalies:
    """Scores of samples, the most anomalous sample first.

    Attributes:
        digest: digest of the encoder.
        ids: (N,) names.
        scores: name -> (N,), higher for more anomalous samples; see `Detector` and `BaselineDetectors`. Samples are ordered by
            ``combined``.
        labels: (N,) labels of the data, or None.
        anomalous: (N,) bool, the anomalies according to the labels, or None.
        metrics: name of a score -> AUROC, average precision and false positive rate; empty if no labels name the anomalies.
        notes: what could not be computed, and why.
        image: the most anomalous and the most typical samples, and the distribution of the scores.
        detector: the detector that gave the scores.
        skipped: id -> reason, of samples that could not be read.
        alarms: which samples are called anomalies, with their p-values; None without a threshold.
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
    alarms: Alarms | None = None

    def text(self, max_samples: int = 10) -> str:
        """Return a conclusion in one sentence, a table of the metrics (without labels, of the top samples), and the notes."""
        notes = [*([] if self.alarms is None else [self.alarms.text()]), *self.notes]
        return anomalies_text(self.ids, self.scores, self.metrics, notes, self.detector, max_samples)

    def _alarm_columns(self) -> dict[str, np.ndarray]:
        return {} if self.alarms is None else {"p-value": self.alarms.p_values, "alarm": self.alarms.flags}

    def __repr__(self) -> str:
        return f"<Anomalies: {self.text(0).splitlines()[0]}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        conclusion = self.text(0).splitlines()[0]
        scores: list[dict[str, Any]] = [
            {"id": name} | {score: float(values[row]) for score, values in self.scores.items()}
            for row, name in enumerate(self.ids[:5])
        ]
        return html_summary(conclusion, self.notes, scores, total=len(self.ids), image=self.image)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row per sample, the most anomalous first: id as the index, the scores, and
        p-value, alarm, label and ``anomalous`` where present."""
        columns: dict[str, Any] = {"id": self.ids, **self.scores, **self._alarm_columns()}
        columns |= {} if self.labels is None else {"label": self.labels}
        return data_frame(columns | ({} if self.anomalous is None else {"anomalous": self.anomalous})).set_index("id")

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON."""
        return {
            "digest": self.digest,
            "samples": len(self.ids),
            "anomalies": None if self.anomalous is None else int(self.anomalous.sum()),
            "metrics": {
                score: {name: {"value": m.value, "low": m.low, "high": m.high} for name, m in by_name.items()}
                for score, by_name in self.metrics.items()
            },
            "notes": self.notes,
        } | ({} if self.alarms is None else {"threshold": self.alarms.to_dict()})

    def save(self, folder: Path) -> None:
        """Write ``scores.csv``, ``results.json``, ``image.png`` and the detector into an existing folder."""
        with (folder / "scores.csv").open("w", encoding="utf-8", newline="") as file:
            labels = [] if self.labels is None else [self.labels]
            alarms = self._alarm_columns()
            scores = ([f"{value:.6g}" for value in values] for values in self.scores.values())
            yes_or_no = (
                [("yes" if v else "no") if v.dtype == bool else f"{v:.6g}" for v in c] for c in alarms.values()
            )
            head = ["id", *self.scores, *alarms, *("label" for _ in labels)]
            write_csv(file, head, zip(self.ids, *scores, *yes_or_no, *labels))
        write_json(folder / "results.json", self.to_dict())
        if self.skipped:
            write_text(folder / "skipped.csv", skipped_csv(self.skipped))
        self.image.save(folder / "image.png")
        self.detector.save(folder)


@checked_arguments
def find_anomalies(
    run: str | Path | Autoencoder | Encoder,
    data: Any,
    *,
    out: str | Path | None = None,
    normal: Sequence[str] | None = None,
    detector: str | Path | Detector | None = None,
    reference: Any = None,
    threshold: float | None = None,
    calibration: Any = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    baselines: bool = True,
    seed: int = 0,
    device: str = "cpu",
    progress: ProgressOption = None,
) -> Anomalies:
    """Score how anomalous each sample is, given an encoder and normal samples.

    Args:
        run: folder of a run, an `aekit.load_autoencoder` or an `Encoder`; without a decoder there is no reconstruction error.
        data: samples to score; anything that `aekit.open_data` takes.
        out: new folder for the scores, the metrics, the image and the detector.
        normal: labels of normal samples; needed if the labels are not 0 (normal) and 1 (anomaly).
        detector: a detector of the same encoder, or the folder that holds it; default: a new detector is fitted.
        reference: normal samples to fit the detector on; default: the training data of the run. Needed if `run` is an object.
        threshold: rate of false alarms, such as 0.01: samples are called anomalies so that at most this fraction of normal
            samples is, by conformal p-values. A third of the normal samples is held out for it; default: scores alone.
        calibration: unseen normal samples to set the threshold by; default: a third of the reference.
        split: use only this split of `data`.
        options: options of the sources that open `data`, `reference` and `calibration`, by source name.
        baselines: also score by PCA, an isolation forest and the distance between raw samples.
        seed: seed of the isolation forest and the bootstrap.
        device: device to compute on, such as ``cuda``.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The scores, the most anomalous sample first.

    Raises:
        DataError: unusable data, an unknown label or split, nothing to fit a detector on, or too few held-out normal samples
            for the threshold.
        RecipeError: a threshold that is no probability.
        IdentityError: the detector belongs to another encoder.
        OutputError: `out` exists already.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> normal = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
        >>> encoder = aekit.fit(normal, dim=2, epochs=1)
        >>> samples = np.concatenate([normal[:5], np.full((1, 4), 50, "float32")])
        >>> found = aekit.find_anomalies(encoder, samples, reference=normal, baselines=False)
        >>> found.ids[0]  # the row of the most anomalous sample
        '5'
    """
    progress = open_progress(progress)
    if threshold is not None:
        check_rate(threshold)
    elif calibration is not None:
        raise DataError("calibration: sets a threshold; pass threshold (--threshold) too")
    run = local_if_remote(run)
    with optional_folder(out) as folder:
        encoder, autoencoder, notes = _open_run(run, device)
        source = open_data(data, options, like=encoder.spec)
        warn_if_inside(out, data)
        rows = source.rows_of(split)
        if detector is not None:
            fitted = detector if isinstance(detector, Detector) else Detector.load(detector, encoder)
            fitted.check(encoder)
            baseline_detectors = None
            if baselines:
                notes.append("no baselines: the detector was fitted in an earlier run")
        else:
            samples, held_out = _normal_samples(run, encoder, reference, options, progress), None
            contaminated = may_be_contaminated(source, rows, samples, notes)
            if threshold is not None and calibration is None:
                samples, held_out = hold_out(samples, seed)
                if reference is None:
                    notes.append(
                        "the encoder was trained on the held-out normal samples: there may be more false alarms than "
                        "stated; pass others as calibration (--calibration)"
                    )
            fitted = Detector.fit(encoder, autoencoder, samples, contaminated)
            if held_out is not None:
                calibrate(fitted, encoder, autoencoder, held_out)
            baseline_detectors = BaselineDetectors(encoder, samples, seed) if baselines else None
            notes += [baseline_detectors.note] if baseline_detectors and baseline_detectors.note else []
        if calibration is not None:
            calibrate(fitted, encoder, autoencoder, _read_all(calibration, options, encoder, progress))
        positions, scores = _score(source, rows, encoder, autoencoder, fitted, baseline_detectors, progress)
        source.warn_of_skipped(beside(out, "skipped.csv") if out is not None else None)
        labels = None if source.labels is None else source.labels[positions]
        anomalous = _anomalous(labels, normal, notes)
        metrics: dict[str, dict[str, Metric]] = {}
        if anomalous is not None:
            notes += _training_overlap(run, encoder, source, positions, anomalous)
            metrics = {name: detection_metrics(values, anomalous, seed=seed) for name, values in scores.items()}
        result = Anomalies(
            digest=encoder.digest,
            ids=[source.ids[int(row)] for row in positions],
            scores=scores,
            labels=labels,
            anomalous=anomalous,
            metrics=metrics,
            notes=notes,
            image=anomalies_image(encoder, autoencoder, source, positions, scores["combined"], labels, anomalous),
            detector=fitted,
            skipped=dict(source.skipped),
            alarms=None if threshold is None else raise_alarms(fitted, scores["combined"], threshold, anomalous, seed),
        )
        if folder is not None:
            result.save(folder)
    return result


def _open_run(run: str | Path | Autoencoder | Encoder, device: str) -> tuple[Encoder, Autoencoder | None, list[str]]:
    if isinstance(run, Autoencoder):
        autoencoder = run.eval().to(device)
        return autoencoder.encoder, autoencoder, []
    if isinstance(run, (str, Path)) and (Path(run) / "decoder").is_dir():
        autoencoder = load_autoencoder(run, device=device)
        return autoencoder.encoder, autoencoder, []
    name = "the run" if isinstance(run, (str, Path)) else "the encoder"
    return open_encoder(run, device=device), None, [f"no reconstruction error: {name} has no decoder"]


def _normal_samples(
    run: str | Path | Autoencoder | Encoder,
    encoder: Encoder,
    reference: Any,
    options: dict[str, Any] | None,
    progress: Progress,
) -> Samples:
    """Return the samples that the detector is fitted on."""
    if reference is not None:
        return _read_all(reference, options, encoder, progress)
    if not isinstance(run, (str, Path)):
        kind = type(run).__name__
        raise DataError(f"reference = None: expected normal samples, as an {kind} does not record its training samples")
    try:
        return training_samples(run, encoder, progress=progress)
    except DataError as error:
        raise DataError(f"{error}; pass normal samples as reference (--reference)") from None


def _read_all(data: Any, options: dict[str, Any] | None, encoder: Encoder, progress: Progress) -> Samples:
    source = open_data(data, options, like=encoder.spec)
    return load_samples(source, np.arange(len(source)), encoder.device, progress=progress)


def _score(
    source: Source,
    rows: np.ndarray,
    encoder: Encoder,
    autoencoder: Autoencoder | None,
    detector: Detector,
    baseline_detectors: BaselineDetectors | None,
    progress: Progress,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the positions (N,) of the samples that could be read, by descending combined score, and name -> (N,) scores."""
    batches, parts = [], dict[str, list[np.ndarray]]()
    for positions, raw in stream(source, rows, encoder.device, title="score", batch_size=BATCH, progress=progress):
        batches.append(positions)
        scores = detector.scores(encoder, autoencoder, raw)
        for name, values in (scores | (baseline_detectors.scores(raw) if baseline_detectors else {})).items():
            parts.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(-joined["combined"], kind="stable")
    return np.concatenate(batches)[order], {name: values[order] for name, values in joined.items()}


def _anomalous(labels: np.ndarray | None, normal: Sequence[str] | None, notes: list[str]) -> np.ndarray | None:
    """Return (N,) bool, or None and a note if the labels do not name the anomalies."""
    if labels is None:
        if normal:
            raise DataError(f"normal = {list(normal)}: the data has no labels")
        notes.append("no metrics: the data has no labels")
        return None
    names = labels.astype(str)
    if normal:
        for name in normal:
            if name not in names:
                raise DataError(f"normal: no sample with label {name!r}{closest_name(name, np.unique(names).tolist())}")
        anomalous = ~np.isin(names, list(normal))
    elif set(names.tolist()) <= {"0", "1", "0.0", "1.0", "False", "True"}:
        anomalous = np.isin(names, ["1", "1.0", "True"])
    else:
        notes.append("no metrics: labels are not 0 (normal) and 1 (anomaly); name the normal labels with --normal")
        return None
    if anomalous.all() or not anomalous.any():
        kind = "anomalies" if anomalous.all() else "normal"
        notes.append(f"no metrics: all {len(anomalous)} samples are {kind}")
        return None
    return anomalous


def _training_overlap(run: Any, encoder: Encoder, source: Source, rows: np.ndarray, anomalous: np.ndarray) -> list[str]:
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
