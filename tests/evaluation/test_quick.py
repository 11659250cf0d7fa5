"""A quick evaluation says what it leaves out, shares the cores, and keeps the features of baselines."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command, Said

import aekit
from aekit.data.source import ArraySource
from aekit.errors import DataError
from aekit.evaluation import run
from aekit.evaluation._concurrency import concurrently
from aekit.evaluation.baselines import _cache
from aekit.evaluation.baselines.build import baseline_features
from aekit.evaluation.splits import make_split, stratified_cap


def clouds(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw (N, 4) vectors around the centers of three classes of different sizes, and the classes."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], count, p=[0.7, 0.28, 0.02])
    return rng.normal(size=(count, 4)) + 2 * (labels[:, None] == ["a", "b", "c", "d"]), labels


def test_a_quick_evaluation_draws_samples_and_says_so_and_a_thorough_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "QUICK_SAMPLES", 400)
    vectors, labels = clouds(1000)
    quick = aekit.evaluate(vectors, labels, evaluators="knn")
    assert quick.mode == "quick" and sum(quick.counts[part] for part in ("train", "validation", "test")) == 400
    (note,) = [note for note in quick.notes if note.startswith("quick: on 400 of 1,000 samples")]
    assert "--thorough" in note and "quick=False" in note and note in quick.text()
    assert quick.to_dict()["mode"] == "quick" and quick.evaluated_rows is not None
    whole = aekit.evaluate(vectors, labels, evaluators="knn", quick=False)
    assert whole.mode == "thorough" and whole.counts["test"] == 200 and "quick" not in whole.text()
    # Fewer test samples: a wider interval around a similar value.
    few, many = (evaluation.results["encoder"]["knn"].metrics["accuracy"] for evaluation in (quick, whole))
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert few.high - few.low > many.high - many.low and few.low <= many.value <= few.high


def test_few_samples_are_evaluated_equally_either_way() -> None:
    vectors, labels = clouds(300)
    first, second = (aekit.evaluate(vectors, labels, evaluators="knn", quick=quick) for quick in (True, False))
    assert first.to_dict() == second.to_dict() and first.mode == "thorough"


def test_a_sampled_split_keeps_the_proportions_of_the_classes() -> None:
    _, labels = clouds(5000)
    split = make_split(labels)
    sample = stratified_cap(split, 1000, labels, seed=0)
    for part, drawn in ((split.train, sample.train), (split.validation, sample.validation), (split.test, sample.test)):
        assert set(drawn) <= set(part)
        shares = [[(labels[rows] == name).mean() for name in "abc"] for rows in (part, drawn)]
        np.testing.assert_allclose(shares[0], shares[1], atol=1.5 / len(drawn) + 1e-3)
    assert stratified_cap(split, 5000, labels, seed=0) is split


def test_the_command_is_quick_unless_it_is_told_to_be_thorough(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "QUICK_SAMPLES", 200)
    vectors, labels = clouds(500)
    np.save(tmp_path / "z.npy", vectors.astype(np.float32))
    np.save(tmp_path / "y.npy", labels)
    arguments = ("evaluate", str(tmp_path / "z.npy"), "--labels", str(tmp_path / "y.npy"), "--evaluator", "knn")
    assert "note: quick: on 200 of 500 samples" in command.ok(*arguments)
    assert json.loads((tmp_path / "z.results.json").read_text())["mode"] == "quick"
    assert "quick:" not in command.ok(*arguments, "--thorough")
    assert json.loads((tmp_path / "z.results.json").read_text())["mode"] == "thorough"


def test_an_evaluation_that_cannot_be_written_is_printed_all_the_same(tmp_path: Path, command: Command) -> None:
    vectors, labels = clouds(100)
    np.save(tmp_path / "z.npy", vectors.astype(np.float32))
    np.save(tmp_path / "y.npy", labels)
    os.mkfifo(tmp_path / "z.results.json")
    arguments = ("evaluate", str(tmp_path / "z.npy"), "--labels", str(tmp_path / "y.npy"), "--evaluator", "knn")
    printed = command(*arguments)
    assert "knn accuracy" in printed.out and "z.results.json: cannot be written: it is a pipe" in printed.error


def test_evaluators_run_side_by_side_each_with_a_share_of_the_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        meeting = threading.Barrier(2, timeout=30)  # passed only if two run at a time

        def work(number: int) -> tuple[int, int]:
            meeting.wait()
            return number, torch.get_num_threads()

        with concurrently(2) as submit:
            assert [future.result() for future in [submit(work, number) for number in range(2)]] == [(0, 1), (1, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_evaluator_that_fails_beside_others_costs_only_itself() -> None:
    vectors, labels = clouds(120)

    def refusing(embeddings: np.ndarray, labels: np.ndarray, split: Any) -> float:
        raise DataError("no such thing")

    evaluation = aekit.evaluate(vectors, labels, evaluators=["knn", refusing, "kmeans"])
    assert list(evaluation.results["encoder"]) == ["knn", "kmeans"]
    assert any("refusing is left out for encoder: no such thing" in note for note in evaluation.notes)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (60, 1, 8, 8)).astype(np.uint8)


@pytest.fixture(scope="module")
def encoder(images: np.ndarray) -> aekit.Encoder:
    return aekit.fit(images, dim=6, overrides={"train.epochs": 1, "train.precision": "fp32"})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(_cache, "MIN_SECONDS", 0)
    return tmp_path / "baselines"


def features(images: np.ndarray, encoder: aekit.Encoder, seed: int = 0) -> tuple[list[np.ndarray], str]:
    """Return the features of the baselines, and what was said."""
    split, said = make_split(np.arange(len(images)) % 2), Said()
    rows = np.arange(len(images))
    baselines = baseline_features(ArraySource(images), rows, encoder, split, dim=6, seed=seed, progress=said)
    return [baseline.features for baseline in baselines], "; ".join(said.lines)


def test_baselines_are_kept_and_read_again_for_the_same_samples_only(
    images: np.ndarray, encoder: aekit.Encoder, cache: Path
) -> None:
    first, said = features(images, encoder)
    assert f"kept in {cache}" in said
    second, said = features(images, encoder)
    assert f"read from {cache}" in said
    assert all(np.array_equal(one, other) for one, other in zip(first, second))
    changed = images.copy()
    changed[30, 0, 4, 4] ^= 1
    for other in (features(changed, encoder), features(images, encoder, seed=1), features(images[::-1], encoder)):
        assert "kept in" in other[1] and "read" not in other[1]


def test_a_damaged_or_unwritable_cache_costs_nothing_but_time(
    images: np.ndarray, encoder: aekit.Encoder, cache: Path
) -> None:
    first, _ = features(images, encoder)
    (entry,) = [path for path in cache.iterdir() if path.is_dir()]
    (entry / "random.npy").write_bytes(b"nonsense")
    second, said = features(images, encoder)
    assert "is damaged" in said and all(np.array_equal(one, other) for one, other in zip(first, second))
    for path in cache.iterdir():
        (path / "raw.npy").unlink()
        (path / "random.npy").unlink()
        path.rmdir()
    cache.rmdir()
    cache.write_text("a file in the way")
    third, said = features(images, encoder)
    assert "not kept" in said and all(np.array_equal(one, other) for one, other in zip(first, third))


def test_the_cache_is_bounded(
    images: np.ndarray, encoder: aekit.Encoder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features(images, encoder)
    size = sum(file.stat().st_size for file in cache.rglob("*.npy"))
    monkeypatch.setattr(_cache, "MAX_BYTES", int(2.5 * size))
    for seed in range(1, 5):
        features(images, encoder, seed)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2
    monkeypatch.setattr(_cache, "MAX_BYTES", size)
    _, said = features(images, encoder, 9)
    assert "kept" not in said
