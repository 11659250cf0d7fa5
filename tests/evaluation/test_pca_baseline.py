"""Principal components of the raw samples, as a baseline."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from aekit.evaluation.baselines import build


@pytest.mark.parametrize(("samples", "width"), [(640, 800), (800, 640)])
def test_components_of_hundreds_of_samples_are_exact_without_scikit_learn(
    samples: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    rng = np.random.default_rng(0)
    raw = (rng.normal(size=(samples, width)) * 0.99 ** np.arange(width)).astype(np.float32)
    train = np.arange(0, samples, 5).repeat(4) + np.tile(np.arange(4), len(range(0, samples, 5)))
    baseline = build._pca_baseline(raw, train, 1280, seed=0)
    centered = raw - raw[train].mean(0)
    axes = np.linalg.svd(centered[train].astype(np.float64), full_matrices=False)[2]
    expected = centered @ axes.T
    assert baseline.name == f"pca-{min(len(train), width)}"
    rank = min(len(train) - 1, width)
    np.testing.assert_allclose(np.abs(baseline.features[:, :rank]), np.abs(expected[:, :rank]), atol=2e-3)
