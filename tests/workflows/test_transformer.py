"""Test that the transformer fulfills the contract of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import aekit


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([aekit.AekitTransformer(epochs=1, overrides={"encoder.mlp.hidden": [8]})])
def test_scikit_learn_conformance(estimator, check) -> None:
    check(estimator)


def test_in_a_pipeline() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    table = rng.normal(size=(200, 5)) + 3 * labels[:, None]
    pipeline = make_pipeline(aekit.AekitTransformer(dim=2, epochs=5), LogisticRegression())
    assert pipeline.fit(table, labels).score(table, labels) > 0.9
    assert pipeline[0].get_feature_names_out().tolist() == ["aekittransformer0", "aekittransformer1"]
    assert np.array_equal(pipeline[0].transform(table), pipeline[0].encoder_.embed(table).vectors.astype(np.float64))
