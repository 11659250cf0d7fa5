"""The linear probe on designs of every condition: its probabilities are scikit-learn's, whatever the number of threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from aekit.evaluation.linear._design_matrix import design_of
from aekit.evaluation.linear._regressions import principal_directions
from aekit.evaluation.linear.probe import fit_logistic

KINDS = (
    "plain",
    "duplicates",
    "constants",
    "rank 1",
    "wide",
    "tall",
    "tiny",
    "huge",
    "mixed scales",
    "wide and constant",
)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_design(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) float32 of some condition, and classes (N,) that have something to do with them."""
    count, width, classes = int(rng.integers(30, 90)), int(rng.integers(2, 12)), int(rng.integers(2, 4))
    if kind == "wide":
        width = int(rng.integers(100, 200))
    if kind == "wide and constant":
        count, width = 60, 300
    if kind == "tall":
        count, width = 400, 3
    y = rng.integers(0, classes, count)
    y[:classes] = np.arange(classes)
    x = rng.normal(size=(count, width)) + rng.normal(size=(classes, width))[y]
    if kind == "duplicates":
        x = np.concatenate([x, x, x[:, :1]], 1)
    if "constant" in kind:
        x[:, rng.random(width) < 0.5] = 10 * rng.normal()
    if kind == "rank 1":
        x = np.outer(x[:, 0], rng.normal(size=width))
    if kind in ("tiny", "huge"):
        x *= 1e-6 if kind == "tiny" else 1e6
    if kind == "mixed scales":
        x *= 10.0 ** rng.integers(-6, 7, width)
    return x.astype(np.float32), y


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_scikit_learn(kind: str, threads: int) -> None:
    """Ten random designs of each kind, with one thread and with two: 200 in all."""
    for seed in range(10):
        rng = np.random.default_rng([seed, threads, KINDS.index(kind)])
        x, y = random_design(kind, rng)
        strength = float(10.0 ** rng.uniform(-3, 2))
        path = fit_logistic(x, y, [strength])
        design, _, _ = design_of(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = LogisticRegression(C=strength, max_iter=20_000, tol=1e-7).fit(design[:, :-1].numpy(), y)
        assert path.converged.all(), (kind, seed)
        expected = reference.predict_proba(design[:, :-1].numpy())
        assert np.abs(path.probabilities(x) - expected).max() < 2e-3, (kind, seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_wide_features_with_constant_columns_are_learned_in_float32(seed: int, threads: int) -> None:
    """Features of a rectified layer, 40% of them dead: too many for float64, and hard to factor in float32."""
    rng = np.random.default_rng(seed)
    count, width = 2500, 1280
    y = rng.integers(0, 5, count)
    x = np.maximum(rng.normal(size=(count, 60)) @ rng.normal(size=(60, width)) - 4, 0)
    x[:, :60] += 3 * (y[:, None] == np.arange(60) % 5)
    x[:, rng.random(width) < 0.4] = 0
    path = fit_logistic(x[:2000].astype(np.float32), y[:2000], [0.1])
    assert path.converged.all() and path.iterations[0] > 0
    assert (path.predict(x[2000:])[0] == y[2000:]).mean() > 0.9


def test_directions_are_finite_orthonormal_and_leave_constant_columns_out() -> None:
    design = torch.ones(50, 6)
    design[:, 1] = torch.linspace(-1, 1, 50)
    design[:, 0] = design[:, 2] = design[:, 3] = design[:, 4] = 0
    variances, directions = principal_directions(design)
    assert directions is not None and torch.equal(directions, torch.eye(5))
    assert variances.nonzero().flatten().tolist() == [1]
    design[:, :5] = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    _, directions = principal_directions(design)
    assert directions is not None and torch.allclose(directions.T @ directions, torch.eye(5), atol=1e-6)
