"""Raw samples and their principal components, as baselines."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from aekit.data.samples import to_tensor
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import Preprocess
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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(70, 90), (64, 64), (40, 200)])
def test_large_images_are_averaged_and_scaled_in_either_order(dtype: type, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    raw = to_tensor((250 * generator.random((5, 3, *size))).astype(dtype))
    scale, shift = (torch.tensor(values).view(3, 1, 1) for values in ([0.5, 2.0, 1e-2], [-3.0, 0.0, 7.0]))
    shape = build.raw_shape(SampleSpec("image", (3, *size), np.dtype(dtype).name))
    for center in (None, torch.full((3, 1, 1), 1.5)):
        preprocess = Preprocess("standard", False, scale, shift, 0 * scale, scale, center)
        expected = build.flatten_samples(preprocess(raw), shape)
        torch.testing.assert_close(build._raw_rows(raw, preprocess, shape), expected, rtol=1e-5, atol=1e-5)
