"""Splits, intervals, neighbors, evaluators, and the evaluation of embeddings compared with baselines."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.evaluators import kmeans, knn, probe, retrieval

import aekit
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.embedded_rows import Rows
from aekit.encoder.embeddings import Embeddings
from aekit.errors import DataError, PluginError, RecipeError
from aekit.evaluation import neighbors, run as evaluation_run
from aekit.evaluation._gpu_neighbors import fast_topk, rank_on_gpu, search_on_gpu
from aekit.evaluation._neighbor_rows import prepare
from aekit.evaluation.baselines import build
from aekit.evaluation.baselines.build import baseline_features, raw_dim, raw_shape
from aekit.evaluation.metrics.clustering import hungarian_matches
from aekit.evaluation.metrics.intervals import bootstrap, bootstrap_difference
from aekit.evaluation.neighbors import nearest_neighbors, rank_neighbors
from aekit.evaluation.results import Metric, Result, Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.splits import cap_split, is_classes, make_split, select_labels
from aekit.evaluation.summary import graded_summary
from aekit.registry.discovery import Plugin, Registry
from aekit.registry.hookspecs import Entry


def clouds(count: int = 300, width: int = 8, classes: int = 3, apart: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds, one a class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, count)
    return (generator.standard_normal((count, width)) + apart * np.eye(width)[labels]).astype(np.float32), labels


# Splits


def parts(split: Split) -> list[set[int]]:
    return [set(part.tolist()) for part in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("kind", [int, float, str, object])
def test_a_split_is_disjoint_complete_stratified_and_the_same_for_a_seed(kind: type) -> None:
    labels = np.repeat([0, 1, 2], [100, 200, 700]).astype(kind)
    split = make_split(labels, seed=3)
    assert sum(map(len, parts(split))) == len(set.union(*parts(split))) == 1000
    for part, share in zip((split.train, split.validation, split.test), (0.6, 0.2, 0.2)):
        counts = [np.sum(labels[part] == label) for label in np.unique(labels)]
        np.testing.assert_allclose(counts, share * np.array([100, 200, 700]), atol=1)
    assert parts(make_split(labels, seed=3)) == parts(split) != parts(make_split(labels, seed=4))
    assert split.origin == "stratified 60/20/20% drawn with seed 3"


def test_targets_on_a_scale_and_no_labels_are_split_without_strata() -> None:
    assert not is_classes(np.array([0.5, 1.0])) and is_classes(np.array([1.0, np.nan]))
    for split in (make_split(np.linspace(0, 1, 50)), make_split(None, count=50)):
        assert [len(part) for part in parts(split)] == [30, 10, 10]
        assert split.origin.startswith("60/20/20%")


def test_whole_numbers_are_classes_unless_they_are_many_with_gaps() -> None:
    generator = np.random.default_rng(0)
    prices = generator.integers(300, 20_000, 5000)
    assert not is_classes(prices), "4,400 different ones of 5,000"
    assert not is_classes(np.repeat(np.unique(prices), 6)), "many for each, but thousands of them"
    assert is_classes(np.repeat(np.arange(2000), 2)), "counted without a gap"
    assert is_classes(generator.integers(18, 90, 5000)) and is_classes(np.array([3, 900, 7]))
    assert is_classes(prices.astype(str)), "words are names"
    assert not is_classes(np.arange(100)), "another for every sample"
    assert not is_classes(np.append(np.arange(100.0), np.inf))
    assert is_classes(np.array(["a", 0.5, None], object)), "words among numbers"
    assert is_classes(np.array([*prices, None], object)) == is_classes(prices)
    for numbers in (prices, np.repeat(np.arange(2000), 2), np.arange(100)):
        with_a_gap = np.append(numbers.astype(float), np.nan)
        assert is_classes(with_a_gap) == is_classes(numbers), "floats because of what is missing"


def test_a_part_of_the_labels_is_taken_as_the_whole_is() -> None:
    generator = np.random.default_rng(0)
    classes, rows = np.repeat(np.arange(3000), 3), generator.permutation(9000)[:500]
    assert not is_classes(classes[rows]) and is_classes(select_labels(classes, rows))
    assert select_labels(classes, rows).tolist() == classes[rows].astype(str).tolist()
    prices = generator.integers(300, 20_000, 5000)
    narrow = np.argsort(prices)[:200]
    assert (
        not is_classes(select_labels(prices, narrow))
        and select_labels(prices, narrow).tolist() == prices[narrow].tolist()
    )


def test_the_data_sets_own_split_is_used() -> None:
    labels = np.arange(100) % 4
    names = np.array(["train"] * 50 + ["validation"] * 20 + ["test"] * 30)
    assert parts(make_split(labels, names)) == [set(range(50)), set(range(50, 70)), set(range(70, 100))]
    without = np.where(names == "validation", "train", names)
    split = make_split(labels, without)
    assert set(split.test.tolist()) == set(range(70, 100))
    assert parts(split)[0] | parts(split)[1] == set(range(70))
    assert len(split.validation) == 14  # 3 or 4 of each class's 17 or 18
    assert "14 training samples as validation part" in split.origin
    only_train = make_split(labels, np.array(["train"] * 100))
    assert [len(part) for part in parts(only_train)] == [60, 20, 20]
    assert "only train samples" in only_train.origin


def test_classes_of_one_or_two_stay_in_the_training_part() -> None:
    labels = np.array(["common"] * 30 + ["pair"] * 2 + ["single"])
    assert {30, 31, 32} <= parts(make_split(labels))[0]


def test_samples_of_a_group_stay_together() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 400)
    split = make_split(groups % 2, groups=groups)
    result = [set(groups[part].tolist()) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, result)) == len(set.union(*result)) == 40
    assert all(len(part) > 40 for part in parts(split))


def test_samples_without_a_label_belong_to_no_part() -> None:
    labels = np.array(["a", "b", None, "a", "b"] * 10, object)
    split = make_split(labels)
    assert all(labels[row] is not None for part in parts(split) for row in part)
    assert split.origin.endswith("; 10 samples without a label skipped")


def test_what_cannot_be_split_is_said_in_one_line() -> None:
    with pytest.raises(DataError, match=r"all 9 labeled samples are of class \['x'\]: expected at least two classes"):
        make_split(["x"] * 9)
    with pytest.raises(DataError, match=r"the validation part of 4 samples \(.*\) is empty"):
        make_split(["a", "a", "b", "b"], ["train", "train", "train", "test"])
    with pytest.raises(DataError, match="the validation part of 2 samples"):
        make_split(["a", "b"])
    with pytest.raises(DataError, match="3 labels, 2 splits: expected the same number of each"):
        make_split([1, 2, 1], ["train", "test"])
    with pytest.raises(DataError, match="split 'tset': expected train, validation or test; did you mean 'test'"):
        make_split([1, 2], ["train", "tset"])


def test_a_capped_split_gives_up_training_samples_first() -> None:
    split = make_split(np.arange(1000) % 2)
    small = cap_split(split, 500, seed=0)
    assert [len(part) for part in parts(small)] == [250, 125, 125]
    assert [len(part) for part in parts(cap_split(split, 900, seed=0))] == [500, 200, 200]
    assert all(a <= b for a, b in zip(parts(small), parts(split)))
    assert small.origin.endswith("500 of 1000 samples") and cap_split(split, 1000, seed=0) is split


# Intervals


def test_bootstrap_agrees_with_resampling_written_out() -> None:
    scores = np.random.default_rng(0).choice([0.0, 0.3, 1.0], 80)
    metric = bootstrap(scores, seed=1, resamples=4000)
    drawn = np.random.default_rng(2).integers(0, 80, (4000, 80))
    low, high = np.quantile(scores[drawn].mean(axis=1), [0.025, 0.975])
    assert metric.value == pytest.approx(scores.mean())
    assert (metric.low, metric.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert bootstrap(scores, seed=1) == bootstrap(scores, seed=1) != bootstrap(scores, seed=2)


def test_intervals_hold_what_they_promise() -> None:
    generator = np.random.default_rng(0)
    metrics = [bootstrap(generator.random(200) < 0.7, seed=i) for i in range(200)]
    covered = np.mean([(m.low or 0) <= 0.7 <= (m.high or 1) for m in metrics])
    assert 0.9 <= covered <= 0.99


def test_paired_differences_see_what_separate_intervals_do_not() -> None:
    hard = np.random.default_rng(0).random(1000) < 0.5
    ours, theirs = hard.astype(float), hard.astype(float)
    theirs[np.flatnonzero(hard)[:20]] = 0
    assert (bootstrap(ours).low or 0) < (bootstrap(theirs).high or 0)
    assert (bootstrap_difference(ours, theirs).low or 0) > 0
    assert bootstrap_difference(ours, ours) == Metric(0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="3 scores against 2"):
        bootstrap_difference(np.ones(3), np.ones(2))


# Neighbors


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_nearest_agrees_with_all_pairs(metric: neighbors.Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_QUERIES", 7)
    monkeypatch.setattr(neighbors, "_BASE", 11)
    generator = np.random.default_rng(0)
    queries, base = generator.standard_normal((30, 5)) + 3, generator.standard_normal((50, 5)) + 3
    if metric == "cosine":
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, base)]
        all_pairs = unit[0] @ unit[1].T
    else:
        all_pairs = -((queries[:, None] - base[None]) ** 2).sum(axis=2)
    scores, positions = nearest_neighbors(queries.astype(np.float32), base.astype(np.float32), 13, metric=metric)
    order = np.argsort(-all_pairs, axis=1)[:, :13]
    assert np.array_equal(positions, order)
    np.testing.assert_allclose(scores, np.take_along_axis(all_pairs, order, axis=1), atol=1e-4)


@pytest.mark.parametrize(("count", "k"), [(5, 5), (640, 7), (1000, 7), (1000, 40), (4096, 20)])
def test_the_largest_are_those_of_a_full_sort(count: int, k: int) -> None:
    scores = torch.randn(9, count, generator=torch.Generator().manual_seed(0))
    values, places = fast_topk(scores, k)
    assert torch.equal(values, scores.sort(dim=1, descending=True).values[:, :k])
    assert torch.equal(scores.gather(1, places), values)


@pytest.mark.parametrize(("rows", "k"), [(3, 3), (700, 1), (700, 300), (9000, 11), (9000, 2500)])
def test_equal_neighbors_are_ordered_by_position(rows: int, k: int) -> None:
    generator = np.random.default_rng(rows + k)
    base = generator.integers(0, 4, (rows, 2)).astype(np.float32)  # many are equal
    queries = generator.integers(0, 4, (7, 2)).astype(np.float32)
    scores, positions = nearest_neighbors(queries, base, k)
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (queries, base)]
    cosines = unit[0] @ unit[1].T
    np.testing.assert_allclose(np.take_along_axis(cosines, positions, axis=1), -np.sort(-cosines)[:, :k], atol=1e-6)
    assert (np.diff(scores) <= 0).all() and (np.diff(positions)[np.diff(scores) == 0] > 0).all()


@pytest.mark.parametrize(("metric", "around"), [("cosine", 0), ("cosine", 100), ("l2", 0)])
def test_a_gpu_finds_the_neighbors_that_the_cpu_finds(metric: neighbors.Metric, around: float) -> None:
    generator = np.random.default_rng(1)
    queries, base = (around + generator.normal(size=(rows, 6)).astype(np.float32) for rows in (300, 5000))
    scores, positions = nearest_neighbors(queries, base, 9, metric=metric)
    prepared = prepare(queries, base, metric)
    device = torch.device("cpu")  # which computes what a GPU would
    near, where = search_on_gpu(prepared, 9, device)
    assert np.array_equal(where, positions)
    np.testing.assert_allclose(near, scores, atol=1e-4)
    ranked = np.concatenate([order for _, order in rank_on_gpu(prepared, 128, device)])
    expected = np.concatenate([order for _, order in rank_neighbors(queries, base, metric=metric)])
    assert (ranked != expected).mean() < 1e-3, "but for rounding"


def test_distances_beyond_float32_give_positions_of_the_base() -> None:
    base = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32) * 1e20
    _, positions = nearest_neighbors(base[:5], base, 3, metric="l2")
    assert positions.min() >= 0 and positions.max() < 5000 and all(len(set(row)) == 3 for row in positions.tolist())


def test_nearest_gives_no_more_than_there_are_and_takes_read_only_arrays() -> None:
    base = np.eye(4, dtype=np.float32)
    base.flags.writeable = False
    scores, positions = nearest_neighbors(base, base, 9)
    assert scores.shape == (4, 4) and positions[:, 0].tolist() == [0, 1, 2, 3]
    assert nearest_neighbors(base[:0], base, 2)[1].shape == (0, 2)


# Evaluators


def test_probe_finds_classes_that_are_there_and_none_that_are_not() -> None:
    x, y = clouds()
    split = make_split(y)
    result = probe.evaluate(x, np.array(["a", "b", "c"])[y], split)
    assert result.metrics["accuracy"].value > 0.95
    assert result.plot_data["confusion"].sum() == len(split.test)
    assert [row["class"] for row in result.table] == ["a", "b", "c"]
    assert np.mean([row["recall"] for row in result.table]) == pytest.approx(result.metrics["balanced_accuracy"].value)
    shuffled = np.random.default_rng(1).permutation(y)
    chance = probe.evaluate(x, shuffled, make_split(shuffled)).metrics["accuracy"]
    assert (chance.low or 0) < 1 / 3 + 0.05 and chance.value < 0.5


def test_knn_votes_as_written_out() -> None:
    x, y = clouds(apart=1.5)
    split = make_split(y)
    result = knn.evaluate(x, y, split, metric="l2")
    seen = np.concatenate([split.train, split.validation])
    right = []
    for row in split.test:
        near = seen[np.argsort(((x[seen] - x[row]) ** 2).sum(axis=1))[: result.chosen["k"]]]
        counts = np.bincount(y[near], minlength=3)
        first = next(label for label in y[near] if counts[label] == counts.max()) if result.chosen["k"] <= 3 else None
        right.append((counts.argmax() if first is None else first) == y[row])
    assert result.metrics["accuracy"].value == pytest.approx(np.mean(right), abs=0.02)  # ties among many may differ
    best = max(row["validation accuracy"] for row in result.table)
    assert next(row for row in result.table if row["k"] == result.chosen["k"])["validation accuracy"] == best


def test_knn_gives_a_tie_to_the_nearer() -> None:
    x = np.array([[1.0], [2.0], [4.0], [1.4]], np.float32)
    labels = np.array(["near", "far", "far", "near"])
    ((_, _, answer),) = knn._votes(x, labels, np.array([0, 1]), np.array([3]), [2], "l2", [0.0])
    assert answer.tolist() == ["near"]


def test_retrieval_agrees_with_rankings_written_out() -> None:
    x, y = clouds(apart=1.0)
    split = make_split(y)
    result = retrieval.evaluate(x, y, split, metric="l2", depth=20)
    precision, average = [], []
    for row in split.test:
        order = split.train[np.argsort(((x[split.train] - x[row]) ** 2).sum(axis=1))]
        hits = (y[order] == y[row])[:20]
        precision.append(hits[:5].mean())
        places = np.flatnonzero(hits)
        possible = min(20, int((y[split.train] == y[row]).sum()))
        average.append(sum(hits[: place + 1].mean() for place in places) / possible)
    assert result.metrics["precision@5"].value == pytest.approx(np.mean(precision))
    assert result.metrics["map@20"].value == pytest.approx(np.mean(average))
    assert next(iter(result.metrics)) == "map@20"


def test_retrieval_of_a_class_that_is_not_there_counts_nothing() -> None:
    x = np.eye(4, dtype=np.float32)
    split = Split(np.array([0, 1]), np.array([2]), np.array([3]), "")
    assert retrieval.evaluate(x, np.array(["a", "a", "b", "c"]), split).metrics["map@100"].value == 0


def test_matching_is_the_best_of_all() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        clusters, labels = generator.integers(0, 4, 60), generator.integers(0, 4, 60)
        best = max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(4)))
        assert hungarian_matches(clusters, labels).mean() == pytest.approx(best)
    more = hungarian_matches(np.arange(6), np.array([0, 0, 0, 1, 1, 1]))
    assert more.sum() == 2  # a cluster that stands for no class is wrong


@pytest.mark.parametrize("evaluate_on", ["test", "all"])
def test_kmeans_finds_clouds_with_and_without_labels(evaluate_on: Any) -> None:
    x, y = clouds(apart=12)
    result = kmeans.evaluate(x, y, make_split(y), evaluate_on=evaluate_on)
    assert result.metrics["clustering_accuracy"].value == result.metrics["nmi"].value == pytest.approx(1)
    assert result.scores is not None and len(result.scores) == (60 if evaluate_on == "test" else 300)
    unnamed = kmeans.evaluate(x, None, make_split(None, count=300))
    assert unnamed.chosen["clusters"] == 3 and unnamed.metrics["silhouette"].value > 0.5


def test_clusters_can_be_scored_on_all_samples() -> None:
    x, y = clouds(apart=12)
    for evaluate_on, count in {"test": 60, "all": 300}.items():
        evaluation = aekit.evaluate(x, y, evaluators=["kmeans"], options={"kmeans": {"evaluate_on": evaluate_on}})
        scores = evaluation.results["encoder"]["kmeans"].scores
        assert scores is not None and len(scores) == count


@pytest.mark.parametrize("function", [probe.evaluate, knn.evaluate, retrieval.evaluate, kmeans.evaluate])
def test_noise_is_at_chance_and_a_collapsed_encoder_is_survived(function: Callable[..., Result]) -> None:
    _, y = clouds()
    split = make_split(y)
    noise = np.random.default_rng(5).standard_normal((300, 8)).astype(np.float32)
    assert next(iter(function(noise, y, split).metrics.values())).value < 0.55
    collapsed = function(np.ones_like(noise), y, split)
    assert all(np.isfinite(metric.value) for metric in collapsed.metrics.values())


# Baselines


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Noisy images with a bright half: left or right."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    array = generator.integers(0, 120, (200, 1, 8, 8))
    array[labels == 0, :, :, :4] += 60
    array[labels == 1, :, :, 4:] += 60
    return array.astype(np.uint8), np.array(["left", "right"])[labels]


@pytest.fixture(scope="module")
def encoder(images: tuple[np.ndarray, np.ndarray]) -> aekit.Encoder:
    return aekit.fit(images[0], dim=6, overrides={"train.epochs": 1, "train.precision": "fp32"})


def test_baselines_are_raw_pca_of_the_training_part_and_a_random_encoder(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    array, labels = images
    split, rows = make_split(labels[::-1]), np.arange(200)[::-1].copy()
    result = {b.name: b.features for b in baseline_features(ArraySource(array), rows, encoder, split, dim=6, seed=0)}
    assert list(result) == ["raw", "pca-6", "random"]
    np.testing.assert_allclose(result["raw"], array[::-1].reshape(200, -1) / 255, atol=1e-6)
    centered = result["raw"] - result["raw"][split.train].mean(axis=0)
    _, _, axes = np.linalg.svd(centered[split.train], full_matrices=False)
    np.testing.assert_allclose(np.abs(result["pca-6"]), np.abs(centered @ axes[:6].T), atol=1e-3)
    np.testing.assert_allclose(result["random"], encoder.with_random_weights(0).embed(array).vectors[::-1], atol=1e-4)


@pytest.mark.parametrize("held", [0, 2**28])
def test_raw_samples_are_there_before_the_random_encoder_embeds(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "HELD_BYTES", held)
    embedded: list[int] = []
    source, rows = ArraySource(images[0]), np.arange(200)
    baselines = baseline_features(
        source, rows, encoder, make_split(images[1]), dim=6, free_cores=lambda: embedded.append(1) or 1
    )
    assert [next(baselines).kind for _ in "12"] == ["raw", "pca"] and not embedded
    np.testing.assert_allclose(
        next(baselines).features, encoder.with_random_weights(0).embed(images[0]).vectors, atol=1e-4
    )
    assert embedded


def test_wide_samples_are_averaged_down_and_the_name_says_so() -> None:
    assert raw_shape(SampleSpec("image", (1, 64, 64), "uint8")) is None
    photograph = SampleSpec("image", (3, 96, 20), "uint8")
    assert raw_shape(photograph) == (32, 20) and raw_dim(photograph) == 3 * 32 * 20
    many = SampleSpec("image", (12, 64, 64), "uint16")
    assert raw_dim(many) <= 4096
    assert raw_shape(SampleSpec("series", (2, 9000), "float32")) == (4096,)


# The evaluation


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The four evaluators, and nothing else."""
    tags = {"probe": ("labels",), "knn": ("labels",), "retrieval": ("labels",), "kmeans": ()}
    entries = [Entry(n, f"aekit_plugins.evaluators.{n}:evaluate", "", 2, tags[n]) for n in tags]
    result = Registry([Plugin("evaluator", entry, "aekit", "0") for entry in entries])
    monkeypatch.setattr("aekit.evaluation._evaluators.registry", lambda: result)
    return result


@pytest.mark.usefixtures("registered")
def test_the_whole_evaluation(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    array, labels = images
    embeddings = encoder.embed(array)
    result = evaluate(embeddings, labels, options={"probe": {"c_steps": 3}})
    assert list(result.results) == ["encoder", "raw", "pca-6", "random", "patch-dictionary"]
    assert all(list(results) == ["probe", "knn", "retrieval", "kmeans"] for results in result.results.values())
    assert result.digest == encoder.digest
    assert result.counts == {"samples": 200, "dim": 6, "classes": 2, "train": 120, "validation": 40, "test": 40}
    assert result.results["raw"]["probe"].metrics["accuracy"].value > 0.9
    record = json.loads(json.dumps(result.to_dict()))
    assert record["results"]["encoder"]["probe"]["metrics"]["accuracy"]["low"] <= 1
    assert record["summary"] == result.summary() and any("encoder vs random: " in line for line in result.summary())
    assert record["details"] == result.details() and any("random" in line for line in result.details())
    lines = result.text().splitlines()
    assert lines[0] == result.headline == record["headline"] and lines[0].endswith("(40 test samples).")
    assert lines[2].split() == list(result.results) and lines[3].startswith("probe accuracy  ")
    assert lines[7].startswith("< significantly worse than the encoder") and lines[9].startswith("encoder vs raw: ")
    assert "split: " not in result.text() and f"split: {result.split} (120 train" in result.text(verbose=True)
    assert not set(result.details()) & set(lines) and set(result.details()) < set(
        result.text(verbose=True).splitlines()
    )
    again = evaluate(embeddings, labels, options={"probe": {"c_steps": 3}})
    assert again.to_dict() == result.to_dict()


@pytest.mark.usefixtures("registered")
def test_baselines_are_chosen_by_their_kinds(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    embeddings = encoder.embed(images[0])
    some = evaluate(embeddings, images[1], evaluators=["knn"], checks=False, baselines=("pca", "random"))
    assert list(some.results) == ["encoder", "pca-6", "random"]
    assert list(evaluate(embeddings, images[1], evaluators=["knn"], checks=False, baselines="raw").results) == [
        "encoder", "raw",
    ]  # fmt: skip
    with pytest.raises(RecipeError, match=r"baselines = 'pcs': expected raw, pca, .*did you mean 'pca'"):
        evaluate(embeddings, images[1], baselines=["pcs"])


@pytest.mark.usefixtures("registered")
def test_all_subjects_use_fewer_samples_if_the_raw_features_exceed_the_memory(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_run, "RAW_BYTES", 100 * 512 * 4)  # 512 features of the patch dictionary
    result = evaluate(encoder.embed(images[0]), images[1], evaluators=["retrieval"])
    assert (result.counts["train"], result.counts["test"]) == (50, 25)
    assert "100 of 200 samples" in result.split
    assert {len(results["retrieval"].scores) for results in result.results.values()} == {25}  # type: ignore[arg-type]


@pytest.mark.usefixtures("registered")
def test_arrays_are_evaluated_without_baselines_and_a_note_says_why() -> None:
    x, y = clouds()
    result = evaluate(x, y, evaluators=["knn"])
    assert list(result.results) == ["encoder"] and result.digest is None
    assert "no baselines: an array does not say" in result.notes[0]
    assert "no baseline to compare with" in result.details()[0]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("labels", [None, [None] * 300, np.full(300, np.nan)])
def test_without_labels_the_evaluators_that_need_them_are_skipped_with_a_note(labels: Any) -> None:
    result = evaluate(clouds()[0], labels)
    assert list(result.results["encoder"]) == ["kmeans"]
    assert list(result.results["encoder"]["kmeans"].metrics) == ["silhouette"]
    assert "skipped, as they need labels: probe, knn, retrieval" in result.notes


@pytest.mark.usefixtures("registered")
def test_labels_and_splits_that_are_stored_are_used() -> None:
    x, y = clouds()
    splits = np.array(["train"] * 200 + ["test"] * 100)
    names = [str(i) for i in range(300)]
    stored = Embeddings({"digest": "d", "count": 300, "dim": 8}, rows=Rows(names, x, y.astype(str), splits, names))
    result = evaluate(stored, evaluators=["retrieval"])
    assert result.counts["test"] == 100 and result.split.startswith("the data set's own")
    assert result.digest == "d" and "no baselines: the encoder" in result.notes[0]


def test_unusable_labels_are_refused_before_training(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.random.default_rng(0).random((60, 8)), y=np.repeat("only", 60))
    with pytest.raises(
        DataError, match=r"all 60 labeled samples are of class \['only'\]: expected at least two classes"
    ):
        aekit.fit(tmp_path / "one.npz", out=tmp_path / "run", overrides={"evaluate.evaluators": ["probe"]})
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("registered")
def test_mistakes_are_reported_in_one_line() -> None:
    x, y = clouds()
    with pytest.raises(DataError, match=r"labels of shape \(5,\) for 300 embeddings"):
        evaluate(x, y[:5])
    with pytest.raises(DataError, match="expected at least two classes"):
        evaluate(x, np.zeros(300, int))
    with pytest.raises(DataError, match="1 of 300 embeddings are not finite, the first in row 7"):
        evaluate(np.where(np.arange(300)[:, None] == 7, np.nan, x), y)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        evaluate(np.ones(3), y)
    with pytest.raises(PluginError, match="did you mean 'probe'"):
        evaluate(x, y, evaluators=["prob"])
    with pytest.raises(RecipeError, match=r"evaluate\.knm: not a selected evaluator; did you mean 'knn'"):
        evaluate(x, y, options={"knm": {}})
    with pytest.raises(RecipeError, match=r"evaluate\.knn\.mac_k: no such option; did you mean 'max_k'"):
        evaluate(x, y, options={"knn": {"mac_k": 3}})


def test_a_broken_evaluator_costs_only_itself(registered: Registry) -> None:
    registered.plugins.append(Plugin("evaluator", Entry("odd", "no.such:thing", "", 2), "elsewhere", "2"))
    x, y = clouds()
    result = evaluate(x, y)
    assert len(result.results["encoder"]) == 4
    assert any("skipped odd" in note and "elsewhere 2" in note for note in result.notes)
    with pytest.raises(PluginError, match="odd"):
        evaluate(x, y, evaluators=["odd"])


def summarize(results: dict[str, dict[str, Result]]) -> list[str]:
    return [sentence for _, sentence in graded_summary(results)]


def scored(*, right: int, of: int = 1000) -> dict[str, Result]:
    scores = (np.arange(of) < right).astype(float)
    return {"probe": Result({"accuracy": bootstrap(scores)}, scores=scores)}


def test_the_sentences_claim_no_more_than_the_tests_show() -> None:
    above = summarize({"encoder": scored(right=860), "raw": scored(right=800), "random": scored(right=700)})
    assert len(above) == 1
    assert "better than raw (0.800) and random (0.700); no interval overlaps with the encoder's" in above[0]
    close = summarize({"encoder": scored(right=860), "pca-64": scored(right=850), "random": scored(right=700)})
    assert "better than pca-64 (0.850) and random (0.700); the intervals of encoder and pca-64 overlap" in close[0]
    useless = summarize({"encoder": scored(right=700), "raw": scored(right=800), "random": scored(right=700)})
    assert "not significantly different from random (0.700), worse than raw (0.800)" in useless[0]
    assert useless[1].endswith("random weights: no sign that training taught it anything")
    shuffled = np.roll(scored(right=690)["probe"].scores, 200)
    other = {"probe": Result({"accuracy": bootstrap(shuffled)}, scores=shuffled)}
    unsure = summarize({"encoder": scored(right=700), "random": other})
    assert "not significantly different from random (0.690)" in unsure[0]
    assert unsure[1].endswith(
        "no better than the same encoder with random weights, as far as 1,000 test samples can tell"
    )
    idle = summarize({"encoder": scored(right=800), "raw": scored(right=800), "random": scored(right=700)})
    assert "no better than features that need no training" in idle[1]


def test_without_scores_the_intervals_decide() -> None:
    def only(*numbers: float) -> dict[str, Result]:
        return {"probe": Result({"accuracy": Metric(*numbers)})}

    line, after = summarize(
        {"encoder": only(0.8, 0.7, 0.9), "raw": only(0.75, 0.65, 0.85), "random": only(0.5, 0.4, 0.6)}
    )
    assert "better than random (0.500), not significantly different from raw (0.750)" in line
    assert "no better than features that need no training" in after
    # The random weights of an encoder that is not trained are no baseline, so nothing is said of them.
    untrained = {"encoder": only(0.8, 0.7, 0.9), "raw": only(0.75, 0.65, 0.85), "pca": only(0.7, 0.6, 0.8)}
    assert "random weights" not in "".join(summarize(untrained))


def test_embeddings_are_given_as_a_path_an_object_or_an_array(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path
) -> None:
    array, labels = images
    np.save(tmp_path / "images.npy", array)
    stored = encoder.embed(tmp_path / "images.npy", out=tmp_path / "embeddings")
    vectors = np.asarray(stored)
    settings: dict[str, Any] = {"evaluators": ["knn"], "baselines": False, "checks": False}
    by_path, by_object, by_array = (
        evaluate(given, labels, **settings) for given in (tmp_path / "embeddings", stored, vectors)
    )
    assert evaluate(str(tmp_path / "embeddings"), labels, **settings).to_dict() == by_path.to_dict()
    assert by_path.to_dict() == by_object.to_dict() and by_path.digest == encoder.digest
    assert (
        by_array.digest is None
        and by_array.results["encoder"]["knn"].metrics == by_path.results["encoder"]["knn"].metrics
    )
    tensor = evaluate(torch.from_numpy(vectors.copy()).requires_grad_(), labels, **settings)
    assert tensor.to_dict() == by_array.to_dict()
    compared = evaluate(vectors[:, :2], labels, compare_with={"all": tmp_path / "embeddings"}, **settings)
    assert compared.results["all"]["knn"].metrics == by_path.results["encoder"]["knn"].metrics
    with pytest.raises(DataError, match="no embeddings here"):
        evaluate(tmp_path, labels)
