"""Features on scales that suit neighbors: levels, standardization and partial whitening, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aekit.nn.feature_scaling import Levels, PartialWhitening, Standardization
from aekit.nn.pooling import GridMeans


def mixed(count: int, width: int = 12, seed: int = 0) -> torch.Tensor:
    """Features (N, F) of very different variances, correlated, around different means."""
    generator = np.random.default_rng(seed)
    turned = (
        generator.normal(size=(count, width))
        * 3.0 ** -np.arange(width)
        @ np.linalg.qr(generator.normal(size=(width, width)))[0]
    )
    return torch.from_numpy(turned + np.arange(width)).float()


@pytest.mark.parametrize(("size", "grid", "cells"), [((7, 5), 3, 9), ((6, 6), 3, 9), ((2, 9), 4, 8), ((1, 1), 3, 1)])
def test_cells_of_a_grid_cover_the_map_and_are_of_one_size(size: tuple[int, int], grid: int, cells: int) -> None:
    pool = GridMeans(size, grid)
    x = torch.arange(2 * 3 * size[0] * size[1], dtype=torch.float64).view(2, 3, *size)
    means = pool(x)
    assert pool.cells == cells and means.shape == (2, 3, cells)
    rows, columns = min(grid, size[0]), min(grid, size[1])
    heights, widths = size[0] // rows, size[1] // columns
    tall, wide = size[0] - (rows - 1) * heights, size[1] - (columns - 1) * widths
    for number in range(cells):
        top, left = number // columns * heights, number % columns * widths
        expected = x[:, :, top : top + tall, left : left + wide].mean((2, 3))
        torch.testing.assert_close(means[:, :, number], expected)
    assert (rows - 1) * heights + tall == size[0] and (columns - 1) * widths + wide == size[1]


@pytest.mark.parametrize("shape", [(2, 30), (3, 8, 9)])
def test_levels_are_means_and_logarithms_of_deviations(shape: tuple[int, ...]) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(100, 2, (4, *shape))).float()
    pool = GridMeans(shape[1:], 2) if len(shape) == 3 else None  # type: ignore[arg-type]
    levels = Levels(pool)(x)
    cells = [x.numpy()] if pool is None else [x.numpy()[:, :, a : a + 4, b : b + 5] for a in (0, 4) for b in (0, 4)]
    over = tuple(range(2, 1 + len(shape)))
    means = np.stack([cell.mean(over) for cell in cells], 2)
    deviations = np.stack([np.log(cell.var(over) + 0.01**2) / 2 for cell in cells], 2)
    expected = np.concatenate([means.reshape(4, -1), deviations.reshape(4, -1)], 1)
    np.testing.assert_allclose(levels.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_levels_of_constant_samples_are_finite_and_have_gradients() -> None:
    x = torch.full((2, 1, 8, 8), 7.0, requires_grad=True)
    Levels(GridMeans((8, 8), 3))(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_features_that_do_not_vary_are_not_divided_by_their_rounding() -> None:
    features = mixed(50)
    features[:, 3] = 0.1
    features[:, 4] = 0.0
    standardization = Standardization(torch.zeros(12), torch.ones(12))
    standardization.fit(features)
    scaled = standardization(features)
    assert scaled[:, 3].abs().max() < 1e-6 and not scaled[:, 4].any()
    varied = [0, 1, 2, *range(5, 12)]
    np.testing.assert_allclose(scaled[:, varied].std(0, correction=0), 1, atol=1e-4)
    assert standardization(features + 1)[:, 3].abs().max() < 10


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_whitening_divides_components_by_a_power_of_their_deviation(power: float) -> None:
    """Distances are those of numpy's principal components, whatever the rotation."""
    features, components = mixed(300), 4
    whitening = PartialWhitening(12, components, power)
    whitening.fit(features)
    x = features.numpy().astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    deviations = np.sqrt(values[::-1][:components])
    expected = (x - x.mean(0)) @ vectors[:, ::-1][:, :components] / deviations**power
    expected *= np.sqrt(components / expected.var(0).sum())
    vectors_of = whitening(features).numpy()
    ours, theirs = (np.linalg.norm(v[:50, None] - v[None, :50], axis=2) for v in (vectors_of, expected))
    np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=2e-2)
    assert vectors_of.var(0).sum() == pytest.approx(components, rel=1e-3)
    np.testing.assert_allclose(vectors_of.mean(0), 0, atol=1e-4)


def test_whitening_keeps_one_component_for_two_samples() -> None:
    whitening = PartialWhitening(12, 12, 1.0)
    whitening.fit(mixed(8))
    assert np.linalg.matrix_rank(whitening.directions.numpy(), tol=1e-3) == 4
    assert whitening(mixed(100, seed=1)).abs().max() < 100
    whitening.fit(mixed(8)[:1].expand(3, 12))
    assert not whitening(mixed(8)[:1]).any()
    with pytest.raises(ValueError, match="not finite"):
        whitening.fit(torch.full((8, 12), float("nan")))


def test_rounding_where_cells_are_flat_is_no_feature() -> None:
    x = torch.full((1, 3, 12, 12), 0.9)
    x[..., :4, :4] = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    levels = Levels(GridMeans((12, 12), 3))
    exact = levels(x.double())
    assert (levels(x) - exact).abs().max() < 5e-4
