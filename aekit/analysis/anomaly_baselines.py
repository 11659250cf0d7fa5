"""Detectors that need no training of a network: what an autoencoder's scores must beat to be worth it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.analysis.anomaly_detector import MAX_REFERENCE, neighbor_distances
from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.evaluation.baselines.build import flatten_samples, raw_shape
from aekit.evaluation.metrics.image import squared_errors
from aekit.nn.pca import PCA, fit_pca


class BaselineDetectors:
    """Fitted on the samples that the detector was fitted on, on the network's scale.

    - ``pca-K``: squared error of the reconstruction from as many principal components as the code has numbers.
    - ``isolation forest``: Liu, Ting and Zhou, Isolation forest, 2008, of scikit-learn, with its usual settings.
    - ``raw neighbors``: mean distance of the sample itself to the 5 nearest of 10,000 training samples,
      itself not counted.

    Wide images are averaged down for the last two, as for the raw control of `aekit.evaluate`.

    Args:
        encoder: whose preprocessing and code width they share.
        samples: training samples.
        seed: of the forest.

    Attributes:
        note: why there is no PCA, or "".
    """

    def __init__(self, encoder: Encoder, samples: Samples, seed: int) -> None:
        from sklearn.ensemble import IsolationForest

        self.encoder, self.shape, self.note = encoder, raw_shape(encoder.spec), ""
        self.pca: PCA | None = None
        if encoder.dim < encoder.spec.size:
            self.pca = fit_pca(samples, encoder.preprocess, encoder.dim)
        else:
            self.note = (
                f"no PCA: {encoder.dim} components of samples of {encoder.spec.size} numbers would leave no error"
            )
        kept = samples.chunks(size=256, max_samples=MAX_REFERENCE)
        self.base = np.concatenate([self._features(encoder.preprocess(raw)) for raw in kept])
        self.forest: Any = IsolationForest(random_state=seed).fit(self.base)

    @torch.inference_mode()
    def scores(self, raw: Tensor) -> dict[str, np.ndarray]:
        """(B, *shape) raw samples -> name -> (B,) float64, higher for what is less like the training samples."""
        x = self.encoder.preprocess(raw)
        features = self._features(x)
        found = {}
        if self.pca is not None:
            found[f"pca-{self.pca.dim}"] = squared_errors(self.pca.reconstruct(x), x).cpu().numpy()
        found["isolation forest"] = -self.forest.score_samples(features)
        return found | {"raw neighbors": neighbor_distances(features, self.base)}

    def _features(self, x: Tensor) -> np.ndarray:
        return flatten_samples(x, self.shape).cpu().numpy()
