"""Test label-free scores against the formulas of their papers, written out with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import aekit
from aekit.evaluation.label_free import LABEL_FREE, label_free_scores, lidar, rankme, spectral_decay, view_stability


def test_rankme_is_the_entropy_of_the_singular_values() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 0.5, 0.1]
    # Singular values are the roots of the eigenvalues of the Gram matrix; Garrido et al., 2023, equations 2 and 3.
    values = [math.sqrt(max(value, 0.0)) for value in np.linalg.eigvalsh(vectors.T @ vectors)]
    entropy = 0.0
    for value in values:
        p = value / sum(values) + 1e-7
        entropy -= p * math.log(p)
    assert rankme(vectors) == pytest.approx(math.exp(entropy), rel=1e-5)
    assert rankme(np.eye(6)) == pytest.approx(6.0, rel=1e-4)
    assert rankme(np.zeros((5, 3))) == 0.0


def test_the_decay_of_a_power_law_is_its_exponent() -> None:
    generator = np.random.default_rng(0)
    basis, _ = np.linalg.qr(generator.normal(size=(50, 8)) - 0.0)
    basis -= basis.mean(axis=0)
    basis, _ = np.linalg.qr(basis)  # orthonormal columns of mean 0
    for alpha in (0.5, 1.0, 2.0):
        vectors = basis * np.arange(1, 9.0) ** (-alpha / 2)  # eigenvalues of the covariance fall as i ** -alpha
        assert spectral_decay(vectors) == pytest.approx(alpha, rel=1e-6)
    assert spectral_decay(np.ones((5, 1))) == 0.0


def test_lidar_is_the_rank_of_the_discriminant_analysis() -> None:
    views = np.random.default_rng(0).normal(size=(30, 4, 3)) * 0.3
    views += np.random.default_rng(1).normal(size=(30, 1, 3)) * [3, 1, 0.5]
    mean = views.mean(axis=(0, 1))
    between, within = np.zeros((3, 3)), np.zeros((3, 3))
    for sample in views:
        offset = sample.mean(axis=0) - mean
        between += np.outer(offset, offset) / (len(views) - 1)
        for view in sample:
            residual = view - sample.mean(axis=0)
            within += np.outer(residual, residual) / (len(views) * (views.shape[1] - 1))
    within += 1e-4 * np.trace(within) / 3 * np.eye(3)
    values = np.linalg.eigvals(np.linalg.solve(within, between)).real  # those of the symmetric product in the paper
    p = values / values.sum() + 1e-7
    assert lidar(views) == pytest.approx(math.exp(-sum(p * np.log(p))), rel=1e-6)
    assert lidar(1000 * views) == pytest.approx(lidar(views))


def test_stability_counts_shared_neighbors() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    same = view_stability(vectors, vectors.copy())
    assert same == {"neighbors_kept": 1.0, "retrieved": 1.0}
    views = vectors + 0.5 * np.random.default_rng(1).normal(size=vectors.shape)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = views / np.linalg.norm(views, axis=1, keepdims=True)
    shared, own = 0, 0
    for number in range(60):
        before = np.argsort([np.inf if i == number else np.linalg.norm(unit[i] - unit[number]) for i in range(60)])
        distances = np.linalg.norm(unit - seen[number], axis=1)
        own += distances.argmin() == number
        distances[number] = np.inf
        shared += len({*before[:10]} & {*np.argsort(distances)[:10]})
    scores = view_stability(vectors, views)
    assert scores["neighbors_kept"] == pytest.approx(shared / 600)
    assert scores["retrieved"] == pytest.approx(own / 60)
    assert view_stability(vectors[:5], vectors[:5])["retrieved"] == 0.0


@pytest.mark.parametrize("shape", [(40, 8), (40, 2, 16), (40, 1, 8, 8)])
def test_every_score_of_an_encoder_is_finite_and_repeats(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    encoder = aekit.fit(x, variants=["plain"], dim=4, epochs=1, progress=False)
    scores = label_free_scores(encoder, torch.from_numpy(x))
    assert set(scores) == set(LABEL_FREE) and all(map(math.isfinite, scores.values()))
    assert scores == label_free_scores(encoder, torch.from_numpy(x))
    assert 1 <= scores["rankme"] <= 4.001
