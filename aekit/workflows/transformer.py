"""A scikit-learn transformer, for pipelines and grid searches over tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aekit.data.samples import NoneUsable
from aekit.workflows.fitting import fit


class AekitTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed the rows of a table with an autoencoder that is trained on them.

    Args:
        variants: autoencoder variants, such as ``("denoising",)``, as `aekit.fit` takes them.
        backbone: the backbone, as `aekit.fit` takes it.
        dim: dimensions of the embedding; None: four times the number of features, but 64 to 256; with other variants or another
            backbone half of it, at most 64.
        epochs: passes over the rows; None: about 3000 steps in total.
        overrides: recipe settings by dotted name, such as ``{"train.lr": 1e-3}``.
        random_state: seed of weights, order and noise, or a generator of NumPy that draws it; None means 0, so that results are
            reproducible.

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
        """Train the autoencoder on (N, D) rows; labels are ignored.

        The columns of a DataFrame are used as `aekit.open_data` uses those of a CSV file: categories are encoded, and columns
        that only number or name the rows are left out with a warning.
        """
        self.encoder_ = fit(
            self._rows(X, reset=True),
            variants=self.variants,
            backbone=self.backbone,
            dim=self.dim,
            epochs=self.epochs,
            seed=_seed(self.random_state),
            overrides={"train.precision": "fp32", **(self.overrides or {})},
            progress=False,  # as scikit-learn's estimators
        )
        self._n_features_out = self.encoder_.dim
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed (N, D) rows as (N, dim), in the dtype of the rows.

        Raises:
            ValueError: a row of a DataFrame has no number in a column.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        try:
            embeddings = self.encoder_.embed(rows, metadata="none", precision="fp32", progress=False)
            lacking = len(rows) - len(embeddings)
        except NoneUsable:
            lacking = len(rows)
        if lacking:
            problem = f"{lacking} of {len(rows)} rows have missing or infinite values"
            raise ValueError(f"{problem}; overrides={{'data.arrays.missing': 'median'}} imputes missing ones")
        dtype = rows.dtype if isinstance(rows, np.ndarray) else np.dtype(self.encoder_.spec.dtype)
        return embeddings.vectors.astype(dtype)

    if TYPE_CHECKING:  # scikit-learn has no annotations

        def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray: ...

    def _rows(self, X: Any, *, reset: bool) -> Any:
        """Check (N, D) rows: arrays as scikit-learn does, tables by the names of their columns."""
        if hasattr(X, "__arrow_c_stream__") and hasattr(X, "columns") and len(X) > 1 - (not reset) and len(X.columns):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        minimum = {"ensure_min_samples": 2} if reset else {}
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=reset, **minimum)


def _seed(random_state: Any) -> int:
    """Return a seed; an `numpy.random.Generator` or `RandomState` draws it, so that each `fit` has another one."""
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return 0 if random_state is None else int(random_state)
