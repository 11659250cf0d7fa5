"""Detectors that train no network: the scores that an autoencoder should exceed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.analysis._anomaly_vectors import MAX_REFERENCE, neighbor_distances
from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.evaluation.baselines.build import flatten_samples, raw_shape
from aekit.evaluation.metrics.image import squared_errors
from aekit.nn.pca import PCA, fit_pca


class BaselineDetectors:
    """Baselines fitted on the reference samples of the detector, after the encoder's preprocessing.

    - ``pca-K``: squared reconstruction error of as many principal components as the embedding has dimensions.
    - ``isolation forest``: scikit-learn's, with default settings (Liu, Ting and Zhou, Isolation forest, 2008).
    - ``raw neighbors``: mean distance of the sample to the 5 nearest of 10,000 reference samples, excluding itself.

    For the last two, large images are averaged down as in the raw baseline of `aekit.evaluate`.

    Args:
        encoder: encoder whose preprocessing and embedding width are used.
        samples: reference samples.
        seed: seed of the isolation forest.

    Attributes:
        note: why there is no PCA, or "".
    """

    def __init__(self, encoder: Encoder, samples: Samples, seed: int) -> None:
        self.encoder, self.shape, self.note = encoder, raw_shape(encoder.spec), ""
        self.pca: PCA | None = None
        if encoder.dim < encoder.spec.size:
            self.pca = fit_pca(samples, encoder.preprocess, encoder.dim)
        else:
            size = encoder.spec.size
            self.note = f"no PCA baseline: {encoder.dim} components reconstruct samples of {size} values without error"
        chunks = samples.chunks(size=256, max_samples=MAX_REFERENCE)
        self._fit_forest(np.concatenate([self._features(encoder.preprocess(raw)) for raw in chunks]), seed)

    def _fit_forest(self, reference: np.ndarray, seed: int) -> None:
        from sklearn.ensemble import IsolationForest

        self.reference, self.seed = reference, seed
        self.forest: Any = IsolationForest(random_state=seed).fit(reference)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what `from_state` needs: values that JSON can express, and tensors."""
        tensors = {"reference": torch.from_numpy(self.reference)}
        if self.pca is not None:
            tensors |= {"pca.mean": self.pca.mean, "pca.directions": self.pca.directions}
        return {"seed": self.seed, "explained": self.pca and self.pca.explained}, tensors

    @classmethod
    def from_state(
        cls, encoder: Encoder, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> BaselineDetectors:
        """Build the detectors whose `state` this is; the isolation forest is fitted again, with the same seed."""
        baselines = cls.__new__(cls)
        baselines.encoder, baselines.shape, baselines.note = encoder, raw_shape(encoder.spec), ""
        baselines.pca = None
        if settings["explained"] is not None:
            baselines.pca = PCA(tensors["pca.mean"], tensors["pca.directions"], settings["explained"])
        baselines._fit_forest(tensors["reference"].cpu().numpy(), settings["seed"])
        return baselines

    @torch.inference_mode()
    def scores(self, raw: Tensor) -> dict[str, np.ndarray]:
        """Score (B, *shape) raw samples: name -> (B,) float64, higher for more anomalous samples."""
        x = self.encoder.preprocess(raw)
        features = self._features(x)
        scores = {}
        if self.pca is not None:
            scores[f"pca-{self.pca.dim}"] = squared_errors(self.pca.reconstruct(x), x).cpu().numpy()
        scores["isolation forest"] = -self.forest.score_samples(features)
        return scores | {"raw neighbors": neighbor_distances(features, self.reference)}

    def _features(self, x: Tensor) -> np.ndarray:
        return flatten_samples(x, self.shape).cpu().numpy()
