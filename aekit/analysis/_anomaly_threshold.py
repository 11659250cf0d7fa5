"""Turn anomaly scores into a yes or no with a stated rate of false alarms, by conformal p-values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aekit.analysis._anomaly_detector import CALIBRATION, Detector
from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.errors import DataError, RecipeError
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.results import Metric
from aekit.objectives.autoencoder import Autoencoder

HELD_OUT = 1 / 3
"""Fraction of the normal samples that the threshold is set by, and the detector is not fitted on."""
MAX_HELD_OUT = 5000


@dataclass(frozen=True)
class Alarms:
    """Samples that are flagged as anomalies.

    Attributes:
        rate: promised rate of false alarms: at most this fraction of normal samples is called an anomaly.
        p_values: (N,) conformal p-values: the fraction of held-out normal samples, the sample itself counted, that score at
            least as high; below or at `rate` a sample is called an anomaly.
        held_out: number of held-out normal samples.
        false_alarms: fraction of the normal samples that were called anomalies, if the labels name them.
        detected: fraction of the anomalies that were called so.
    """

    rate: float
    p_values: np.ndarray
    held_out: int
    false_alarms: Metric | None = None
    detected: Metric | None = None

    @property
    def flags(self) -> np.ndarray:
        """(N,) bool, which samples are flagged as anomalies."""
        return self.p_values <= self.rate

    def text(self) -> str:
        """Return in one line how many samples are flagged as anomalies and, with labels, how many of them rightly."""
        line = (
            f"{int(self.flags.sum()):,} of {len(self.p_values):,} samples are called anomalies, at a false-alarm rate of "
            f"{100 * self.rate:g}% ({self.held_out:,} held-out normal samples)"
        )
        if self.false_alarms is not None and self.detected is not None:
            line += (
                f"; false alarms: {self.false_alarms} of the normal samples, detected: {self.detected} of the anomalies"
            )
        return f"{line}."

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON."""
        measured = {"false_alarms": self.false_alarms, "detected": self.detected}
        return {
            "false_alarm_rate": self.rate,
            "held_out": self.held_out,
            "called_anomalies": int(self.flags.sum()),
        } | {name: None if metric is None else asdict(metric) for name, metric in measured.items()}


def check_rate(rate: float) -> None:
    """Check that a false-alarm rate is a probability.

    Raises:
        RecipeError: it is not between 0 and 1.
    """
    if not 0 < rate < 1:
        raise RecipeError([f"threshold = {rate}: expected a false-alarm rate between 0 and 1, such as 0.01"])


def hold_out(samples: Samples, seed: int) -> tuple[Samples, Samples]:
    """Divide normal samples, by the seed, into those to fit a detector on and those to set its threshold by."""
    order = np.random.default_rng(seed).permutation(len(samples))
    count = min(MAX_HELD_OUT, int(HELD_OUT * len(samples)))
    return _part(samples, np.sort(order[count:])), _part(samples, np.sort(order[:count]))


def _part(samples: Samples, positions: np.ndarray) -> Samples:
    import torch

    rows = samples.rows[positions]
    if isinstance(samples.data, torch.Tensor):
        data = samples.data.index_select(0, torch.from_numpy(positions).to(samples.data.device))
        return Samples(samples.spec, rows, data, samples.device)
    places = positions if samples.places is None else samples.places[positions]
    return Samples(samples.spec, rows, samples.data, samples.device, places)


def calibrate(detector: Detector, encoder: Encoder, autoencoder: Autoencoder | None, held_out: Samples) -> None:
    """Score normal samples that the detector was not fitted on, and store their combined scores with it."""
    import torch

    scores = [detector.scores(encoder, autoencoder, raw)["combined"] for raw in held_out.chunks()]
    detector.tensors[CALIBRATION] = torch.from_numpy(np.sort(np.concatenate(scores)))


def raise_alarms(
    detector: Detector, combined: np.ndarray, rate: float, anomalous: np.ndarray | None, seed: int
) -> Alarms:
    """Call samples anomalies by their combined scores (Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005).

    Args:
        detector: a detector that was calibrated.
        combined: (N,) scores.
        rate: rate of false alarms.
        anomalous: (N,) bool, the anomalies according to the labels, or None.
        seed: seed of the bootstrap.

    Raises:
        DataError: the detector was not calibrated, or on too few samples for the rate.
    """
    if CALIBRATION not in detector.tensors:
        raise DataError("the detector was saved without a threshold; fit one with threshold (--threshold)")
    normal = detector.tensors[CALIBRATION].numpy()
    needed = int(np.ceil(1 / rate - 1e-9)) - 1
    if len(normal) < needed:
        raise DataError(
            f"threshold = {rate:g}: needs at least {needed:,} held-out normal samples; there are {len(normal):,}"
        )
    at_least = len(normal) - np.searchsorted(normal, combined, side="left")
    p_values = (1 + at_least) / (1 + len(normal))
    flags = p_values <= rate
    if anomalous is None:
        return Alarms(rate, p_values, len(normal))
    false_alarms, detected = (bootstrap(flags[rows].astype(float), seed=seed) for rows in (~anomalous, anomalous))
    return Alarms(rate, p_values, len(normal), false_alarms, detected)
