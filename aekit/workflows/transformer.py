"""A scikit-learn transformer, for pipelines and grid searches over tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aekit.workflows.fitting import fit


class AekitTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed the rows of a table with an autoencoder that is trained on them.

    Args:
        variants: autoencoder variants, such as ``("denoising",)``, as `aekit.fit` takes them.
        backbone: the backbone, as `aekit.fit` takes it.
        dim: dimensions of the embedding; None: the number of columns, at most 64.
        epochs: passes over the rows; None: about 3000 steps in total.
        overrides: recipe settings by dotted name, such as ``{"train.lr": 1e-3}``.
        random_state: seed of weights, order and noise; None means 0, so that results are reproducible.

    Attributes:
        encoder_: the trained `aekit.Encoder`.

    Examples:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> X, y = load_iris(return_X_y=True)
        >>> pipeline = make_pipeline(aekit.AekitTransformer(dim=2, epochs=1), LogisticRegression())
        >>> pipeline.fit(X, y).predict(X).shape
        (150,)
    """

    def __init__(
        self,
        variants: Any = ("denoising",),
        *,
        backbone: Any = "mlp",
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
        """Train the autoencoder on (N, D) rows; labels are ignored."""
        rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        self.encoder_ = fit(
            rows,
            variants=self.variants,
            backbone=self.backbone,
            dim=min(rows.shape[1], 64) if self.dim is None else self.dim,
            epochs=self.epochs,
            seed=_seed(self.random_state),
            overrides={"train.precision": "fp32", **(self.overrides or {})},
            progress=False,  # as scikit-learn's estimators
        )
        self._n_features_out = self.encoder_.dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed (N, D) rows as (N, dim), in the dtype of the rows."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.encoder_.embed(rows, progress=False).vectors.astype(rows.dtype)


def _seed(random_state: Any) -> int:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return 0 if random_state is None else int(random_state)
