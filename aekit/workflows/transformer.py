"""aekit as a scikit-learn transformer, for pipelines and grid searches over tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aekit.workflows.fitting import fit


class AekitTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embeds rows of a table by an autoencoder that is trained on them.

    Args:
        variants: names of autoencoder variants, such as ``("denoising",)``.
        backbone: name of the network.
        dim: width of the embedding; None: the number of columns, at most 64.
        epochs: passes over the rows; None: about 3000 steps in all.
        overrides: further recipe settings by dotted name, such as ``{"train.lr": 1e-3}``.
        random_state: seed of weights, order and noise; None means 0, so that fitting twice gives the same.

    Attributes:
        encoder_: the trained `aekit.Encoder`.
    """

    def __init__(
        self,
        variants: tuple[str, ...] = ("denoising",),
        *,
        backbone: str = "mlp",
        dim: int | None = None,
        epochs: int | None = None,
        overrides: dict[str, Any] | None = None,
        random_state: int | None = None,
    ) -> None:
        self.variants = variants
        self.backbone = backbone
        self.dim = dim
        self.epochs = epochs
        self.overrides = overrides
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AekitTransformer:
        """(N, D) rows; labels are not looked at."""
        rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        self.encoder_ = fit(
            rows,
            variants=list(self.variants),
            backbone=self.backbone,
            dim=min(rows.shape[1], 64) if self.dim is None else self.dim,
            epochs=self.epochs,
            seed=_seed(self.random_state),
            overrides={"train.precision": "fp32", **(self.overrides or {})},
        )
        self._n_features_out = self.encoder_.dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """(N, D) rows -> (N, dim) embeddings, in the dtype of the rows."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.encoder_.embed(rows).vectors.astype(rows.dtype)


def _seed(random_state: Any) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return 0 if random_state is None else int(random_state)
