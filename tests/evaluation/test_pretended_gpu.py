"""Device mistakes of neighbors, probes and features are found without a GPU: a pretended one gives what the CPU gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pretended_gpu import GPU, pretended_gpu

from aekit.evaluation.linear.draws import fit_draws
from aekit.evaluation.linear.probe import fit_logistic
from aekit.evaluation.linear.ridge import fit_ridge
from aekit.evaluation.neighbors import nearest_neighbors, nearest_other_neighbors, rank_neighbors

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((400, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def classes(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 0] + 0.5 * np.random.default_rng(1).standard_normal(len(rows)) > 0).astype(int) + (rows[:, 1] > 1)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("k", [3, 150])
def test_neighbors(rows: np.ndarray, metric: Any, k: int) -> None:
    expected = nearest_neighbors(rows[:50], rows, k, metric=metric, device=CPU)
    ranked = np.concatenate([order for _, order in rank_neighbors(rows[:50], rows, metric=metric, device=CPU)])
    other = nearest_other_neighbors(rows, k, metric=metric)
    with pretended_gpu():
        scores, positions = nearest_neighbors(rows[:50], rows, k, metric=metric)
        np.testing.assert_allclose(scores, expected[0], atol=1e-5)
        assert np.mean(positions == expected[1]) > 0.99  # but for distances that are equal up to rounding
        on_gpu = np.concatenate([order for _, order in rank_neighbors(rows[:50], rows, metric=metric)])
        assert np.mean(on_gpu == ranked) > 0.99
        np.testing.assert_allclose(nearest_other_neighbors(rows, k, metric=metric)[0], other[0], atol=1e-5)


@pytest.mark.parametrize(
    ("count", "width", "options"),
    [
        (400, 12, {}),
        (400, 12, {"held_out": np.arange(400) % 3, "tolerance": 1e-6}),
        (60, 300, {}),
        (400, 300, {"max_directions": 20}),
        (400, 12, {"standardize": False}),
    ],
)
def test_logistic_regressions(classes: np.ndarray, count: int, width: int, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((count, width)).astype(np.float32) + classes[:count, None]
    strengths = [0.01, 1.0, 10.0, 0.1]
    expected = fit_logistic(x, classes[:count], strengths, device=CPU, **options)
    started = fit_logistic(x, classes[:count], [0.5], device=CPU, start=expected)
    with pretended_gpu():
        path = fit_logistic(x, classes[:count], strengths, **options)
        again = fit_logistic(x, classes[:count], [0.5], start=path, device=GPU)
    np.testing.assert_allclose(path.coef, expected.coef, atol=5e-3)
    np.testing.assert_allclose(again.coef, started.coef, atol=5e-3)
    assert path.converged.all() and again.converged.all()


def test_regressions_of_several_labels_of_draws_and_of_numbers(rows: np.ndarray, classes: np.ndarray) -> None:
    labels = np.stack([classes == 0, rows[:, 2] > 0], 1)
    draws, of_draws = rows[:120].reshape(4, 30, 12), np.tile(np.arange(3), 40).reshape(4, 30)
    folds = np.arange(120).reshape(4, 30) % 2

    def fits() -> list[np.ndarray]:
        return [
            fit_logistic(rows, labels, [0.1, 1.0]).coef,
            fit_draws(draws, of_draws, [0.1, 1.0], tolerance=1e-6, held_out=folds),
            fit_ridge(rows, rows[:, 0] ** 2, [0.1, 10]).coef,
            fit_ridge(rows[:10], rows[:10, 0] ** 2, [0.1, 10]).coef,
        ]

    expected = fits()
    with pretended_gpu():
        for computed, reference in zip(fits(), expected, strict=True):
            np.testing.assert_allclose(computed, reference, atol=1e-3)


@pytest.mark.parametrize(
    "fault",
    [
        lambda on_gpu, on_cpu: on_gpu + on_cpu,
        lambda on_gpu, on_cpu: torch.cat([on_gpu, on_cpu]),
        lambda on_gpu, on_cpu: on_cpu[on_gpu > 0],
        lambda on_gpu, on_cpu: on_gpu @ torch.ones(3, 1),
        lambda on_gpu, on_cpu: on_gpu.numpy(),
    ],
)
def test_faults_are_found(fault: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
    with pretended_gpu() as put:
        on_gpu, on_cpu = put(torch.ones(3)), torch.ones(3)
        assert on_gpu.device == GPU and (on_gpu + 1).cpu().tolist() == [2, 2, 2] and on_gpu[on_cpu > 0].device == GPU
        with pytest.raises((RuntimeError, TypeError), match=r"two devices|numpy"):
            fault(on_gpu, on_cpu)
