"""Score samples by how anomalous they are for a trained encoder, and evaluate the scores if labels name the anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aekit._arguments import checked_arguments
from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_image import anomalies_image
from aekit.analysis._anomaly_labels import find_anomalous, training_overlap
from aekit.analysis._anomaly_maps import DEFAULT_COUNT, HeatMapper, check_heat_maps
from aekit.analysis._anomaly_masks import Masks, find_masks
from aekit.analysis._anomaly_page import anomalies_page
from aekit.analysis._anomaly_results import Anomalies
from aekit.analysis._anomaly_scoring import Scorer, score_samples
from aekit.analysis._anomaly_threshold import calibrate, check_rate, hold_out, raise_alarms
from aekit.analysis._anomaly_vectors import may_be_contaminated
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.data.samples import Samples, load_samples
from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.engines.choice import EngineName, choose_engine
from aekit.encoder.loading import open_encoder
from aekit.errors import DataError
from aekit.evaluation.metrics.detection import detection_metrics_by_score
from aekit.io.remote import beside, local_if_remote, local_path, optional_folder
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.progress import Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.training.training_data import training_samples

__all__ = ["Anomalies", "Detector", "find_anomalies"]

_HELD_OUT_OF_TRAINING = (
    "the encoder was trained on the held-out normal samples: there may be more false alarms than stated; pass others as "
    "calibration (--calibration)"
)


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
    heatmaps: int | None = None,
    patches: bool | None = None,
    masks: Any = None,
    baselines: bool = True,
    seed: int = 0,
    device: str = "cpu",
    engine: EngineName = "single",
    workers: int | None = None,
    address: str | None = None,
    progress: ProgressOption = None,
) -> Anomalies:
    """Score how anomalous each sample is, given an encoder and normal samples.

    Args:
        run: folder of a run, an `aekit.load_autoencoder` or an `Encoder`; without a decoder there is no reconstruction error.
        data: samples to score; anything that `aekit.open_data` takes.
        out: new folder for the scores, the metrics, the image, the page and the detector.
        normal: labels of normal samples; needed if the labels are not 0 (normal) and 1 (anomaly).
        detector: a detector of the same encoder, or the folder that holds it; default: a new detector is fitted.
        reference: normal samples to fit the detector on; default: the training data of the run. Needed if `run` is an object.
        threshold: rate of false alarms, such as 0.01: samples are called anomalies so that at most this fraction of normal
            samples is, by conformal p-values. A third of the normal samples is held out for it; default: scores alone.
        calibration: unseen normal samples to set the threshold by; default: a third of the reference.
        split: use only this split of `data`.
        options: options of the sources that open `data`, `reference` and `calibration`, by source name.
        heatmaps: number of heat maps, of the most anomalous images; default: 24 for images.
        patches: score every image by its most anomalous patch too; default: if there are masks, or few images.
        masks: masks of the anomalies in images, to evaluate the heat maps by: a folder, or an array (N, H, W); default: a folder
            ``ground_truth`` next to the images, if there is one.
        baselines: also score by PCA, an isolation forest and the distance between raw samples.
        seed: seed of the isolation forest and the bootstrap.
        device: device to compute on, such as ``cuda``.
        engine: what scores `data`, as in `aekit.embed`; the detector is fitted in this process.
        workers: number of workers, as in `aekit.embed`.
        address: of a running Ray cluster, as in `aekit.embed`.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        The scores, the most anomalous sample first.

    Raises:
        DataError: unusable data, an unknown label or split, nothing to fit a detector on, or too few held-out normal samples
            for the threshold; masks that do not fit their images.
        RecipeError: a threshold that is not a probability; there is no such engine, or it does not take these options.
        IdentityError: the detector belongs to another encoder.
        OutputError: `out` exists already.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> normal = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
        >>> encoder = aekit.fit(normal, dim=2, epochs=1)
        >>> samples = np.concatenate([normal[:5], np.full((1, 4), 50, "float32")])
        >>> anomalies = aekit.find_anomalies(encoder, samples, reference=normal, baselines=False)
        >>> anomalies.ids[0]  # the row of the most anomalous sample
        '5'
    """
    progress, chosen = open_progress(progress), choose_engine(engine, workers, address)
    if threshold is not None:
        check_rate(threshold)
    elif calibration is not None:
        raise DataError("calibration: needs a threshold; pass threshold (--threshold) too")
    run = local_if_remote(run)
    with optional_folder(out) as folder:
        encoder, autoencoder, notes = _open_run(run, device)
        source = open_data(data, options, like=encoder.spec)
        if chosen is not None:
            chosen.check(source)
        warn_if_inside(out, data)
        rows = source.rows_of(split)
        has_maps = check_heat_maps(encoder.spec, heatmaps, patches, masks)
        pixel_masks = find_masks(source, rows, masks) if has_maps and heatmaps != 0 else None
        search = _Search(run, encoder, autoencoder, source, rows, normal, pixel_masks, seed, notes)
        search.compare_masks_with_labels()
        if detector is not None:
            notes += ["no baselines: the detector was fitted in an earlier run"] if baselines else []
            scorer = _saved_scorer(detector, encoder, autoencoder, has_maps=has_maps)
        else:
            scorer = search.fit_scorer(
                _normal_samples(run, encoder, reference, options, progress),
                holds_out=threshold is not None and calibration is None,
                are_of_training=reference is None,
                baselines=baselines,
                heat_maps=has_maps,
            )
        if scorer.mapper is not None:
            scorer.mapper.evaluate_with(pixel_masks, patches, len(rows))
            notes += scorer.mapper.notes
        if calibration is not None:
            calibrate(scorer.detector, encoder, autoencoder, _read_all(calibration, options, encoder, progress))
        positions, scores = score_samples(scorer, source, rows, chosen, progress)
        source.warn_of_skipped(beside(out, "skipped.csv") if out is not None else None)
        result = search.result(scorer, positions, scores, threshold, heatmaps)
        if folder is not None:
            result.save(folder)
    return result


@dataclass(frozen=True)
class _Search:
    """A search for anomalies.

    Attributes:
        run: what the user has named.
        encoder: encoder of the run.
        autoencoder: the encoder with its decoder, or None.
        source: the samples to score.
        rows: (N,) their positions in it.
        normal: labels of normal samples, or None.
        masks: masks of the anomalies in images, or None.
        seed: seed of all that is drawn.
        notes: receives remarks.
    """

    run: Any
    encoder: Encoder
    autoencoder: Autoencoder | None
    source: Source
    rows: np.ndarray
    normal: Sequence[str] | None
    masks: Masks | None
    seed: int
    notes: list[str]

    def compare_masks_with_labels(self) -> None:
        """Note where masks and labels contradict each other."""
        if self.masks is None:
            return
        known = find_anomalous(self._labels(self.rows), self.normal, self.masks, self.rows, [])
        if known is not None:
            self.notes.extend(self.masks.compare_with_labels(self.rows, known, self.source.ids))

    def fit_scorer(
        self, samples: Samples, *, holds_out: bool, are_of_training: bool, baselines: bool, heat_maps: bool
    ) -> Scorer:
        """Fit a detector, and what else scores samples, to normal samples.

        Args:
            samples: normal samples.
            holds_out: hold a third of them out, and set a threshold by it.
            are_of_training: whether the encoder was trained on them.
            baselines: fit baseline detectors too.
            heat_maps: fit what draws heat maps too.
        """
        contaminated, held_out = may_be_contaminated(self.source, self.rows, samples, self.notes), None
        if holds_out:
            samples, held_out = hold_out(samples, self.seed)
            self.notes.extend([_HELD_OUT_OF_TRAINING] if are_of_training else [])
        scorer = Scorer.fit(
            self.encoder,
            self.autoencoder,
            samples,
            self.seed,
            contaminated=contaminated,
            baselines=baselines,
            heat_maps=heat_maps,
            pixel_baselines=baselines and self.masks is not None,
        )
        if held_out is not None:
            calibrate(scorer.detector, self.encoder, self.autoencoder, held_out)
        if scorer.baselines is not None and scorer.baselines.note:
            self.notes.append(scorer.baselines.note)
        return scorer

    def result(
        self,
        scorer: Scorer,
        positions: np.ndarray,
        scores: dict[str, np.ndarray],
        threshold: float | None,
        heatmaps: int | None,
    ) -> Anomalies:
        """Return the result for samples at (M,) positions, the most anomalous first, with name -> (M,) scores."""
        encoder, source, notes, labels = self.encoder, self.source, self.notes, self._labels(positions)
        anomalous = find_anomalous(labels, self.normal, self.masks, positions, notes)
        notes += [] if anomalous is None else training_overlap(self.run, encoder, source, positions, anomalous)
        shown = positions[: DEFAULT_COUNT if heatmaps is None else heatmaps]
        maps = None if scorer.mapper is None else scorer.mapper.top(source, shown, self.seed)
        combined, alarms = scores["combined"], None
        if threshold is not None:
            alarms = raise_alarms(scorer.detector, combined, threshold, anomalous, self.seed)
        result = Anomalies(
            digest=encoder.digest,
            ids=[source.ids[int(row)] for row in positions],
            scores=scores,
            labels=labels,
            anomalous=anomalous,
            metrics={} if anomalous is None else detection_metrics_by_score(scores, anomalous, seed=self.seed),
            notes=notes,
            image=anomalies_image(encoder, self.autoencoder, source, positions, combined, labels, anomalous, maps),
            detector=scorer.detector,
            skipped=dict(source.skipped),
            alarms=alarms,
            heatmaps=maps,
        )
        return replace(result, page=anomalies_page(result, encoder, source, positions))

    def _labels(self, positions: np.ndarray) -> np.ndarray | None:
        return None if self.source.labels is None else self.source.labels[positions]


def _open_run(run: str | Path | Autoencoder | Encoder, device: str) -> tuple[Encoder, Autoencoder | None, list[str]]:
    if isinstance(run, Autoencoder):
        autoencoder = run.eval().to(device)
        return autoencoder.encoder, autoencoder, []
    if isinstance(run, (str, Path)) and (Path(run) / "decoder").is_dir():
        autoencoder = load_autoencoder(run, device=device)
        return autoencoder.encoder, autoencoder, []
    name = "the run" if isinstance(run, (str, Path)) else "the encoder"
    return open_encoder(run, device=device), None, [f"no reconstruction error: {name} has no decoder"]


def _saved_scorer(
    detector: str | Path | Detector, encoder: Encoder, autoencoder: Autoencoder | None, *, has_maps: bool
) -> Scorer:
    """Return a scorer with a detector that was fitted before, and with the patch memory of its folder if maps are drawn."""
    fitted = detector if isinstance(detector, Detector) else Detector.load(detector, encoder)
    fitted.check(encoder)
    if not has_maps:
        return Scorer(encoder, autoencoder, fitted)
    memory = None if isinstance(detector, Detector) or not fitted.has_patches else local_path(detector)
    return Scorer(encoder, autoencoder, fitted, HeatMapper.load(memory, encoder, autoencoder))


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
