"""Hold the scores of anomalies: as text, as a table, and as files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_heatmaps import HeatMaps
from aekit.analysis._anomaly_text import anomalies_text
from aekit.analysis._anomaly_threshold import Alarms
from aekit.encoder.parquet_store import skipped_csv
from aekit.evaluation.results import Metric
from aekit.io.atomic import write_json, write_text
from aekit.io.csv_files import write_csv
from aekit.io.summaries import data_frame, html_summary
from aekit.visualization.sample_page import SamplePage


@dataclass(frozen=True, eq=False)
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
        heatmaps: heat maps of the most anomalous images; None for other samples.
        page: the most anomalous samples, as a page.
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
    heatmaps: HeatMaps | None = None
    page: SamplePage | None = None

    def text(self, max_samples: int = 10) -> str:
        """Return a conclusion in one sentence, a table of the metrics (without labels, of the top samples), and the notes."""
        notes = [*([] if self.alarms is None else [self.alarms.text()]), *self.notes]
        pixels = "" if self.heatmaps is None else self.heatmaps.text()
        notes = [*([pixels] if pixels else []), *notes]
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
                score: {name: asdict(metric) for name, metric in by_name.items()}
                for score, by_name in self.metrics.items()
            },
            "notes": self.notes,
        } | {
            name: part.to_dict() for name, part in {"threshold": self.alarms, "heatmaps": self.heatmaps}.items() if part
        }

    def save(self, folder: Path) -> None:
        """Write ``scores.csv``, ``results.json``, ``image.png``, the page and the detector into an existing folder, and of
        images ``heatmaps/``."""
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
        memory = None if self.heatmaps is None else self.heatmaps.memory
        self.detector.save(folder, patches=memory is not None)
        if self.heatmaps is not None:
            self.heatmaps.save(folder / "heatmaps")
            if memory is not None:
                levels = {name: scale.level for name, scale in self.heatmaps.scales.items() if scale.level is not None}
                memory.save(folder, self.digest, levels)
        if self.page is not None:
            self.page.save(folder)
