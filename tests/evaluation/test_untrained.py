"""The encoder that samples get by default and that is not trained, as a baseline of trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aekit
from aekit.data.source import ArraySource
from aekit.evaluation.baselines import _untrained
from aekit.evaluation.baselines._untrained import untrained_baseline, untrained_dim
from aekit.evaluation.results import Split
from aekit.evaluation.run import Evaluation, evaluate
from aekit.progress import SILENT

SPLIT = Split(np.arange(60), np.arange(60, 80), np.arange(80, 120), "drawn")
ROWS = np.arange(120)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    values: np.ndarray = np.random.default_rng(0).integers(0, 256, (120, 1, 12, 12), np.uint8)
    return values


@pytest.fixture(scope="module")
def trained(images: np.ndarray) -> aekit.Encoder:
    return aekit.fit(images, dim=4, epochs=1, progress=False)


def test_it_is_what_fit_makes_of_the_training_part(images: np.ndarray, trained: aekit.Encoder) -> None:
    notes: list[str] = []
    baseline = untrained_baseline(ArraySource(images), ROWS, trained, SPLIT, notes, SILENT)
    assert baseline is not None and baseline.kind == "untrained" and baseline.name == "patch-dictionary"
    fitted = aekit.fit(images[SPLIT.train], seed=0, progress=False)
    np.testing.assert_allclose(baseline.features, fitted.embed(images).vectors, atol=1e-4)
    made = "compared with patch-dictionary, which aekit fit makes of such samples without options, untrained"
    assert notes == [f"{made}; backbone='patch-dictionary' (--backbone patch-dictionary) asks for it"]
    assert baseline.features.shape[1] == untrained_dim(trained)


def test_of_many_samples_it_is_left_out_unless_it_is_asked_for(
    images: np.ndarray, trained: aekit.Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aekit.evaluation.run.MAX_SAMPLES", 100)
    embeddings, labels = trained.embed(images), np.arange(120) % 2

    def evaluated(**options: Any) -> Evaluation:
        return evaluate(embeddings, labels, evaluators=["knn"], checks=False, **options)

    unasked = evaluated()
    assert "patch-dictionary" not in unasked.results
    left_out = "as more than 100 samples are evaluated; quick=False (--thorough) compares it"
    assert any(note.startswith("not compared with patch-dictionary") and left_out in note for note in unasked.notes)
    for asked in (evaluated(quick=False), evaluated(baselines=["untrained"])):
        assert "patch-dictionary" in asked.results and left_out not in " ".join(asked.notes)


def test_samples_outside_the_training_part_change_only_their_own_features(
    images: np.ndarray, trained: aekit.Encoder
) -> None:
    changed = images.copy()
    changed[100:] = 255 - changed[100:] // 2
    first, second = (
        untrained_baseline(ArraySource(array), ROWS, trained, SPLIT, [], SILENT) for array in (images, changed)
    )
    assert first is not None and second is not None
    np.testing.assert_allclose(first.features[:100], second.features[:100], atol=1e-6)
    assert np.abs(first.features[100:] - second.features[100:]).max() > 0.01


def test_other_kinds_of_samples_and_encoders_that_are_not_trained_have_none(images: np.ndarray) -> None:
    vectors = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    table = aekit.fit(vectors, dim=2, epochs=1, progress=False)
    assert untrained_baseline(ArraySource(vectors), ROWS, table, SPLIT, [], SILENT) is None and not untrained_dim(table)
    labels = np.arange(120) % 2
    untrained = evaluate(aekit.fit(images, progress=False).embed(images), labels, evaluators=["knn"], checks=False)
    assert list(untrained.results) == ["encoder", "raw", "pca-72"]


def test_it_is_read_from_the_cache_if_the_training_part_is_the_same(
    images: np.ndarray, trained: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("aekit.evaluation.baselines._cache.MIN_SECONDS", 0.0)
    built: list[int] = []
    compute = _untrained.network_features

    def counted(*args: Any, **options: Any) -> np.ndarray:
        built.append(len(args[1]))
        return compute(*args, **options)

    monkeypatch.setattr(_untrained, "network_features", counted)
    other = Split(np.arange(40), SPLIT.validation, SPLIT.test, "drawn")
    for split, count in ((SPLIT, 1), (SPLIT, 1), (other, 2)):
        untrained_baseline(ArraySource(images), ROWS, trained, split, [], SILENT)
        assert len(built) == count


def test_what_cannot_be_built_is_left_out_with_a_note(
    images: np.ndarray, trained: aekit.Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise aekit.errors.RecipeError(["backbone 'patch-dictionary' cannot take these"])

    monkeypatch.setattr(_untrained, "untrained_encoder", fails)
    notes: list[str] = []
    assert untrained_baseline(ArraySource(images), ROWS, trained, SPLIT, notes, SILENT) is None
    assert notes == ["not compared with patch-dictionary: backbone 'patch-dictionary' cannot take these"]
    assert untrained_dim(trained) == 0
