"""Evaluators: values compared with scikit-learn and direct implementations, choice of hyperparameters, and notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.evaluators import anomaly, few_labels, gaussian_mixture, hdbscan, kmeans, knn, probe, retrieval, svm
from commands import Command
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

import aekit
from aekit.data.source import ArraySource
from aekit.errors import DataError, IdentityError, RecipeError
from aekit.evaluation._backbone_features import backbone_features
from aekit.evaluation._reconstruction import evaluate_reconstruction
from aekit.evaluation.id_groups import groups_from_ids
from aekit.evaluation.labels import make_targets, read_labels
from aekit.evaluation.linear.probe import fit_logistic
from aekit.evaluation.linear.ridge import fit_ridge
from aekit.evaluation.metrics.clustering import hungarian_matches
from aekit.evaluation.metrics.detection import detection_metrics, mean_detection_metrics
from aekit.evaluation.metrics.intervals import bootstrap
from aekit.evaluation.metrics.outlier_scores import _isolation, outlier_scores
from aekit.evaluation.model_selection import assign_folds, select_setting
from aekit.evaluation.neighbors import rank_neighbors
from aekit.evaluation.results import Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.splits import make_split, sample_per_class
from aekit.nn import gaussian_mixtures
from aekit.testing import conformance

Data = tuple[np.ndarray, np.ndarray]
CPU = torch.device("cpu")

test_few_labels_conforms = conformance("evaluator", "few-labels", {"repeats": 2, "max_per_class": 10})
test_probe_with_folds_conforms = conformance("evaluator", "probe", {"folds": 3, "c_steps": 4})
test_mixture_conforms = conformance("evaluator", "gaussian-mixture", {"covariance": "diag", "ignore_labels": True})


@pytest.fixture(scope="module")
def digits() -> Data:
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y.astype(str)


@pytest.fixture(scope="module")
def several() -> Data:
    """Samples with any number of four labels."""
    x, y = make_multilabel_classification(400, 12, n_classes=4, random_state=0)
    return x.astype(np.float32), y.astype(bool)


# The linear probe


def test_one_against_the_rest_agrees_with_scikit_learn_to_the_third_decimal(several: Data) -> None:
    x, y = several
    path = fit_logistic(x, y, [1e-3, 0.1, 10], device=CPU, max_iterations=1000)
    assert path.converged.all() and path.predict(x).shape == (3, 400, 4)
    for number, strength in enumerate(path.strengths):
        model = OneVsRestClassifier(LogisticRegression(C=strength, tol=1e-10, max_iter=5000))
        theirs = model.fit((x - path.mean) * path.scale, y).predict_proba((x - path.mean) * path.scale)
        assert np.abs(path.probabilities(x, number) - theirs).max() < 5e-4
    assert np.array_equal(path.predict(x)[1], path.probabilities(x, 1) > 0.5)


@pytest.mark.parametrize("count", [442, 9])  # more samples than features, and fewer
def test_ridge_agrees_with_scikit_learn(count: int) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:count] * 100, y[:count]
    path = fit_ridge(x, y, [1e-3, 1.0, 50.0], device=CPU)
    scaled = StandardScaler().fit_transform(x)
    for number, strength in enumerate(path.strengths):
        theirs = Ridge(alpha=1 / strength).fit(scaled, y)
        np.testing.assert_allclose(path.coef[number], theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(path.predict(x)[number], theirs.predict(scaled), atol=1e-6)


def test_strengths_in_any_order_and_many_of_them_give_what_each_gives_alone(digits: Data) -> None:
    x, y = digits[0][:600], digits[1][:600]
    strengths = np.array([1.0, 1e-3, 30.0, 1e-2, 0.1, 5.0, 1e-4])
    together = fit_logistic(x, y, strengths, device=CPU)
    assert together.strengths.tolist() == strengths.tolist()
    for number in (0, 1, 4):
        alone = fit_logistic(x, y, strengths[[number]], device=CPU)
        assert np.abs(alone.probabilities(x) - together.probabilities(x, number)).max() < 5e-4


def test_folds_that_are_left_out_are_fitted_without_them(digits: Data) -> None:
    x, y = StandardScaler().fit_transform(digits[0][:300].astype(np.float64)), digits[1][:300]
    numbers = assign_folds(y, 300, 3, seed=0)
    path = fit_logistic(x, y, [0.01, 1.0], held_out=numbers, standardize=False, tolerance=1e-12, device=CPU)
    assert path.coef.shape[0] == 6 and path.strengths.tolist() == [0.01, 1.0] * 3
    for fold in range(3):
        train = numbers != fold
        for place, strength in enumerate([0.01, 1.0]):
            model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10).fit(x[train], y[train])
            assert np.abs(path.probabilities(x, 2 * fold + place) - model.predict_proba(x)).max() < 5e-4


def test_folds_are_even_and_stratified() -> None:
    labels = np.repeat(["a", "b", "c"], [50, 23, 5])
    numbers = assign_folds(labels, 78, 5, seed=1)
    for name in "abc":
        counts = np.bincount(numbers[labels == name], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(numbers, assign_folds(labels, 78, 5, seed=2))


def test_cross_validation_chooses_what_scikit_learn_would(digits: Data) -> None:
    x, y = digits
    split = make_split(y)
    strengths = np.geomspace(1e-4, 1e2, 5)
    result = probe.evaluate(x, y, split, min_c=1e-4, max_c=1e2, c_steps=5, folds=5)
    assert result.chosen_on == "5-fold cross-validation of train and validation"
    rows = np.concatenate([split.train, split.validation])
    theirs = []
    for strength in strengths:
        right = []
        for train, validation in StratifiedKFold(5, shuffle=True, random_state=0).split(x[rows], y[rows]):
            scaler = StandardScaler().fit(x[rows[train]])
            model = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(x[rows[train]]), y[rows[train]])
            right.append(model.score(scaler.transform(x[rows[validation]]), y[rows[validation]]))
        theirs.append(np.mean(right))
    np.testing.assert_allclose(result.plot_data["validation"], theirs, atol=0.015)  # other folds
    assert result.plot_data["validation"].argmax() == np.argmax(theirs)
    assert (
        result.plot_data["validation"][list(strengths).index(result.chosen["C"])]
        == result.plot_data["validation"].max()
    )


def test_groups_stay_in_one_fold_and_the_test_part_is_not_seen() -> None:
    groups = np.repeat(np.arange(20), 5)
    split = Split(np.arange(60), np.arange(60, 80), np.arange(80, 100), "", groups)
    validations = []

    def score(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
        assert not set(groups[train]) & set(groups[validation]) and max(train.max(), validation.max()) < 80
        validations.append(validation)
        return np.array([0.1, 0.9, 0.9])

    choice = select_setting(score, split, None, folds=4)
    assert choice.best == 1 and sorted(np.concatenate(validations).tolist()) == list(range(80))


def test_targets_are_probed_by_ridge_and_r2() -> None:
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32)
    evaluation = evaluate(x, y, evaluators=["probe", "knn", "kmeans"])
    assert list(evaluation.results["encoder"]) == ["probe", "kmeans"] and evaluation.counts["classes"] == 0
    assert "skipped, as they need one class per sample, and the labels are numbers: knn" in evaluation.notes
    result = evaluation.results["encoder"]["probe"]
    split = make_split(y)
    rows = np.concatenate([split.train, split.validation])
    scaler = StandardScaler().fit(x[rows])
    theirs = Ridge(alpha=1 / result.chosen["C"]).fit(scaler.transform(x[rows]), y[rows])
    expected = r2_score(y[split.test], theirs.predict(scaler.transform(x[split.test])))
    assert result.metrics["r2"].value == pytest.approx(expected, abs=1e-4) and expected > 0.3
    assert result.scores is not None and result.scores.mean() == pytest.approx(expected, abs=1e-4)


def test_the_target_type_of_whole_numbers_can_be_set() -> None:
    x, y = load_diabetes(return_X_y=True)
    x, whole = x.astype(np.float32), y.astype(int)
    scaled = evaluate(x, y, evaluators=["probe"], checks=False).results["encoder"]["probe"]
    evaluation = evaluate(x, whole, evaluators=["probe"], checks=False)
    assert evaluation.results["encoder"]["probe"].metrics["r2"].value == scaled.metrics["r2"].value
    assert any(
        line.startswith("the labels, 214 different whole numbers, are treated as numbers") for line in evaluation.notes
    )
    decades = 10 * (whole // 50)
    assert evaluate(x, decades, evaluators=["probe"], checks=False).counts["classes"] == 7
    numeric = evaluate(x, decades, evaluators=["probe"], target_type="numbers", checks=False)
    assert 0.3 < numeric.results["encoder"]["probe"].metrics["r2"].value < 0.6 and not any(
        "labels" in n for n in numeric.notes
    )
    named = evaluate(x, decades + 0.5, evaluators=["probe"], target_type="classes", checks=False)
    assert named.counts["classes"] == 7
    with pytest.raises(aekit.AekitError, match=r"labels with target_type 'numbers': .*'ten'"):
        evaluate(x, np.where(decades > 20, "ten", "20"), target_type="numbers", checks=False)


def test_several_labels_are_probed_by_mean_average_precision(several: Data) -> None:
    x, y = several
    evaluation = evaluate(x, y.astype(int), evaluators=["probe"], label_names=["w", "x", "y", "z"])
    result = evaluation.results["encoder"]["probe"]
    split = make_split(y)
    rows = np.concatenate([split.train, split.validation])
    model = fit_logistic(x[rows], y[rows], [result.chosen["C"]])
    logits = model.logits(x[split.test])
    single = [average_precision_score(y[split.test, k], logits[:, k]) for k in range(4)]
    assert result.metrics["map"].value == pytest.approx(np.mean(single))
    assert [row["average precision"] for row in result.table] == pytest.approx(single)
    assert [row["label"] for row in result.table] == ["w", "x", "y", "z"]
    assert result.chance == pytest.approx(y[split.test].mean()) and (result.metrics["map"].low or 0) > result.chance


# Labels


def test_kinds_of_targets_are_recognized() -> None:
    cases: list[tuple[Any, str]] = [
        (["a", "b", "a"], "classes"),
        ([1, 2, 1], "classes"),
        ([1.0, np.nan, 2.0], "classes"),
        ([0.5, 1.0, 2.0], "numbers"),
        (np.eye(3), "multi-label"),
    ]
    for labels, kind in cases:
        targets, _ = make_targets(labels, 3, what="embeddings")
        assert targets is not None and targets.kind == kind
    whole, _ = make_targets(np.arange(100.0), 100, what="embeddings")
    assert whole is not None and whole.kind == "numbers", (
        "floats of a hundred values with one sample each are no classes"
    )
    missing, _ = make_targets([1.0, np.nan, 2.0], 3, what="embeddings")
    assert (
        missing is not None and missing.has_target.tolist() == [True, False, True] and missing.values.dtype.kind == "i"
    )
    with pytest.raises(
        DataError, match=r"labels of shape \(2, 2\): value 3; expected 0 and 1 for several labels per sample"
    ):
        make_targets(np.array([[0, 3], [1, 0]]), 2, what="embeddings")
    assert make_targets(None, 3, what="embeddings") == (None, "")


def test_labels_are_read_from_tables_and_arrays(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    (tmp_path / "classes.csv").write_text("id,kind\nc,cat\na,dog\n")
    labels, names = read_labels(tmp_path / "classes.csv", ids)
    assert labels.tolist() == ["dog", "", "cat"] and names == ()
    (tmp_path / "several.csv").write_text("id,wet,warm\na,1,0\nb,0,1\nc,1,1\n")
    labels, names = read_labels(tmp_path / "several.csv", ids)
    assert labels.tolist() == [[1, 0], [0, 1], [1, 1]] and names == ("wet", "warm")
    (tmp_path / "targets.csv").write_text("id,price\na,1.5\nb,2\n")
    np.testing.assert_array_equal(read_labels(tmp_path / "targets.csv", ids)[0], [1.5, 2, np.nan])
    np.save(tmp_path / "labels.npy", np.arange(3))
    assert read_labels(tmp_path / "labels.npy", ids)[0].tolist() == [0, 1, 2]
    (tmp_path / "nameless.csv").write_text("name,kind\na,b\n")
    (tmp_path / "strangers.csv").write_text("id,kind\nx,b\n")
    (tmp_path / "words.csv").write_text("id,kind,color\na,b,red\n")
    for name, problem in {
        "no.csv": "no such file; expected labels",
        "nameless.csv": "no column 'id'",
        "strangers.csv": "no id matches a sample; expected ids such as 'a'",
        "words.csv": "column 'kind' holds text",
    }.items():
        with pytest.raises(DataError, match=problem):
            read_labels(tmp_path / name, ids)
    np.save(tmp_path / "long.npy", np.arange(9))
    with pytest.raises(DataError, match=r"shape \(9,\) for 3 embeddings"):
        read_labels(tmp_path / "long.npy", ids)


def test_groups_come_from_ids() -> None:
    assert groups_from_ids(["ann/1.png", "ann/2.png", "bob/1.png"], "^[^/]+").tolist() == ["ann", "ann", "bob"]
    assert groups_from_ids(["p1-x", "p2-x"], "p(.)-").tolist() == ["1", "2"]
    with pytest.raises(RecipeError, match="not a regular expression"):
        groups_from_ids(["a"], "(")
    with pytest.raises(DataError, match="groups = '/': no match in 'a'"):
        groups_from_ids(["a"], "/")


# Nearest neighbors, retrieval


def test_knn_weights_neighbors_by_their_similarity(digits: Data) -> None:
    x, y = digits
    split = make_split(y)
    result = knn.evaluate(x, y, split, metric="cosine", temperature=0.1, max_k=20)
    k = result.chosen["k"]
    rows = np.concatenate([split.train, split.validation])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarities = unit[split.test] @ unit[rows].T
    neighbors = np.argsort(-similarities, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarities, neighbors, 1) / 0.1)
    classes = np.unique(y)
    votes = np.stack([(weights * (y[rows][neighbors] == name)).sum(1) for name in classes], 1)
    assert result.metrics["accuracy"].value == pytest.approx(
        (classes[votes.argmax(1)] == y[split.test]).mean(), abs=0.003
    )
    assert {row["temperature"] for row in knn.evaluate(x, y, split).table} == {0.0, 0.03, 0.07, 0.2}


def test_retrieval_over_whole_rankings_agrees_with_direct_implementations(digits: Data) -> None:
    # With noise, because scikit-learn counts equal distances as one rank.
    x = digits[0][:500] + 0.1 * np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32)
    y = digits[1][:500]
    split = make_split(y)
    result = retrieval.evaluate(x, y, split, metric="l2")
    average, precise, recall, hit = [], [], [], []
    for row in split.test:
        order = split.train[np.argsort(((x[split.train] - x[row]) ** 2).sum(1), kind="stable")]
        relevant = y[order] == y[row]
        average.append(average_precision_score(relevant, -np.arange(len(relevant))))
        precise.append(relevant[: relevant.sum()].mean())
        recall.append(relevant[:100].sum() / relevant.sum())
        hit.append(relevant[:5].any())
    metrics = {name: metric.value for name, metric in result.metrics.items()}
    assert metrics["map"] == pytest.approx(np.mean(average)) and metrics["r_precision"] == pytest.approx(
        np.mean(precise)
    )
    assert metrics["recall@100"] == pytest.approx(np.mean(recall)) and metrics["hit@5"] == pytest.approx(np.mean(hit))
    noise = np.random.default_rng(0).standard_normal((500, 32)).astype(np.float32)
    by_luck = retrieval.evaluate(noise, y, split)
    assert by_luck.chance == pytest.approx(by_luck.metrics["map@100"].value, abs=0.01)


def test_rankings_hold_every_row_once() -> None:
    x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    for part, order in rank_neighbors(x[:7], x, metric="l2"):
        assert order.shape == (7, 50) and (np.sort(order, 1) == np.arange(50)).all()
        assert order[:, 0].tolist() == list(range(7))[part]


# Few labels


def test_few_labels_are_few_and_c_is_chosen_within_them(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits
    split = make_split(y)
    shown: list[tuple[int, set[str]]] = []
    real = few_labels.fit_draws

    def watched(rows: np.ndarray, labels: np.ndarray, strengths: Any, **more: Any) -> Any:
        shown.extend((len(draw), set(draw)) for draw in labels)
        return real(rows, labels, strengths, **more)

    monkeypatch.setattr(few_labels, "fit_draws", watched)
    result = few_labels.evaluate(x, y, split, repeats=2, max_per_class=10)
    assert {count for count, _ in shown} == {10, 50, 100} and all(len(names) == 10 for _, names in shown)
    assert list(result.metrics) == ["accuracy@10", "accuracy@1", "accuracy@5"]
    values = [result.metrics[f"accuracy@{count}"].value for count in (1, 5, 10)]
    assert values == sorted(values) and values[2] > 0.8
    other = y.copy()
    hidden = np.concatenate([split.validation, split.test])
    other[hidden] = np.random.default_rng(0).permutation(other[hidden])
    assert few_labels.evaluate(x, other, split, repeats=2, max_per_class=10).chosen == result.chosen


def test_few_labels_agree_with_scikit_learn(digits: Data) -> None:
    x, y = digits
    split = make_split(y)
    result = few_labels.evaluate(x, y, split, repeats=3, max_per_class=1)
    scaler = StandardScaler().fit(x[split.train])
    correct = []
    for draw in range(3):
        rows = sample_per_class(split.train, y, 1, seed=draw)
        model = LogisticRegression(C=few_labels.ONE_SHOT_C, max_iter=1000).fit(scaler.transform(x[rows]), y[rows])
        correct.append(model.score(scaler.transform(x[split.test]), y[split.test]))
    assert result.table[0]["accuracy"] == pytest.approx(np.mean(correct), abs=0.01)
    assert result.table[0]["std over draws"] == pytest.approx(np.std(correct, ddof=1), abs=0.01)


def test_few_labels_notes_small_classes() -> None:
    y = np.repeat(["a", "b"], [200, 20])
    x = np.random.default_rng(0).standard_normal((220, 3)).astype(np.float32)
    result = few_labels.evaluate(x, y, make_split(y), repeats=2)
    assert "at most 10 labels per class, as the smallest class has 12 training samples" in result.notes
    assert result.chance == 0.5, "equal counts per class do not reveal the majority class"


# Clusters


def test_no_dense_cluster_is_said_and_not_scored_in_silence() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 200)).astype(np.float32), np.arange(60) % 3
    result = hdbscan.evaluate(x, y, Split(np.arange(30), np.arange(30, 40), np.arange(40, 60), "by hand"))
    assert result.metrics["clusters"].value == 0 and result.notes[0].startswith("no dense clusters found")


@pytest.mark.parametrize("module", [kmeans, gaussian_mixture, hdbscan])
def test_existing_clusters_are_found_and_counted(module: Any) -> None:
    generator = np.random.default_rng(0)
    y = np.arange(600) % 5
    x = (generator.standard_normal((600, 10)) + 12 * np.eye(10)[y]).astype(np.float32)
    split = make_split(y)
    result = module.evaluate(x, y, split)
    assert result.metrics["clustering_accuracy"].value > 0.95 and result.metrics["nmi"].value > 0.9
    assert result.metrics["silhouette"].value > 0.5
    unnamed = module.evaluate(x, None, split)
    groups = unnamed.metrics["clusters"].value if module is hdbscan else unnamed.chosen["clusters"]
    assert groups == 5
    if module is not hdbscan:
        assert result.chosen["clusters_without_labels"] == 5
        assert module.evaluate(x, y, split, ignore_labels=True).chosen_on == "validation"


@pytest.mark.parametrize("clusters", [1, 3, 12])
def test_a_full_mixture_is_that_of_scikit_learn(clusters: int) -> None:
    x = load_digits().data
    x = gaussian_mixture._whiten(x.astype(np.float32), np.arange(len(x)), 10)
    (ours,) = gaussian_mixture._fit_full(x[:1200], [clusters], 2, seed=4)
    reference = GaussianMixture(clusters, reg_covar=1e-3, n_init=2, random_state=4).fit(x[:1200].astype(np.float64))
    assert ours.score(x[1200:]) == pytest.approx(reference.score(x[1200:]), abs=1e-5)
    assert (ours.predict(x[1200:]) == reference.predict(x[1200:])).mean() > 0.995


@pytest.mark.parametrize("most", [1, 2**22])
def test_mixtures_that_are_fitted_together_are_those_fitted_alone(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_mixtures, "MAX_RESPONSIBILITIES", most)
    x = gaussian_mixture._whiten(load_digits().data.astype(np.float32), np.arange(1797), 10)
    together = gaussian_mixture._fit_full(x[:1200], [2, 5, 12], 2, seed=4)
    for count, mixture in zip([2, 5, 12], together):
        (alone,) = gaussian_mixture._fit_full(x[:1200], [count], 2, seed=4)
        assert mixture.coefficients.shape[1] == count
        assert mixture.score(x[1200:]) == pytest.approx(alone.score(x[1200:]), abs=1e-9)
        assert (mixture.predict(x[1200:]) == alone.predict(x[1200:])).all()


def test_a_mixture_finds_elongated_clusters_that_k_means_cuts() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(600) % 2
    x = np.stack([generator.standard_normal(600) * 20, generator.standard_normal(600) + 8.0 * y], 1).astype(np.float32)
    split = make_split(y)
    assert gaussian_mixture.evaluate(x, y, split).metrics["clustering_accuracy"].value > 0.95
    assert kmeans.evaluate(x, y, split).metrics["clustering_accuracy"].value < 0.7


def test_samples_in_no_cluster_count_as_wrong() -> None:
    assert hungarian_matches(np.array([-1, -1, 0, 0]), np.array(["a", "a", "b", "b"])).tolist() == [0, 0, 1, 1]
    assert hungarian_matches(np.array([-1, -1]), np.array(["a", "b"])).tolist() == [0, 0]


# Anomalies


def test_mean_detection_metrics_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    targets = np.stack([generator.random(300) < 0.2, generator.random(300) < 0.5, np.zeros(300, bool)])
    scores = generator.standard_normal((3, 300)) + targets
    means, per_row = mean_detection_metrics(scores, targets)
    areas = [roc_auc_score(targets[k], scores[k]) for k in range(2)]
    precisions = [average_precision_score(targets[k], scores[k]) for k in range(2)]
    assert means["auroc"].value == pytest.approx(np.mean(areas)) and per_row[:2, 0] == pytest.approx(areas)
    assert means["average_precision"].value == pytest.approx(np.mean(precisions)) and np.isnan(per_row[2]).all()
    alone, _ = mean_detection_metrics(scores[:1], targets[:1], resamples=1000)
    other = detection_metrics(scores[0], targets[0])
    assert alone["auroc"].low == pytest.approx(other["auroc"].low, abs=0.015)  # that one draws both kinds apart
    with pytest.raises(ValueError, match="every target is equal"):
        mean_detection_metrics(scores[2:], targets[2:])


@pytest.mark.parametrize(("count", "width"), [(200, 4), (40, 300), (1, 6)])
def test_outlier_scores_agree_with_direct_implementations(count: int, width: int) -> None:
    generator = np.random.default_rng(0)
    normal, rows = generator.standard_normal((count, width)), 2 * generator.standard_normal((50, width))
    if count == 1:  # no covariance at all: every direction has the same tiny variance
        assert np.isfinite(outlier_scores(normal.astype(np.float32), rows.astype(np.float32), 0)["mahalanobis"]).all()
        return
    scores = outlier_scores(normal.astype(np.float32), rows.astype(np.float32), 0)
    distances = np.sort(np.linalg.norm(rows[:, None] - normal[None], axis=2), 1)[:, :5].mean(1)
    np.testing.assert_allclose(scores["neighbors"], distances, atol=1e-3)
    covariance = np.cov(normal.T, bias=True)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / width * np.eye(width)
    away = rows - normal.mean(0)
    expected = np.sqrt(np.einsum("nd,de,ne->n", away, np.linalg.inv(covariance), away))
    np.testing.assert_allclose(scores["mahalanobis"], expected, rtol=1e-4)


def test_kmeans_of_few_wide_samples_finds_the_clusters_of_all_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 40)
    x = (generator.normal(size=(120, 300)) + 2 * generator.normal(size=(3, 300)).repeat(40, 0) + 9).astype(np.float32)
    split, fit, widths = make_split(y), kmeans.fit_kmeans, list[int]()

    def fit_and_note(rows: np.ndarray, *arguments: Any) -> Any:
        widths.append(rows.shape[1])
        return fit(rows, *arguments)

    monkeypatch.setattr(kmeans, "fit_kmeans", fit_and_note)
    result = kmeans.evaluate(x, y, split)
    assert set(widths) == {120}
    monkeypatch.setattr(kmeans, "project_to_span", lambda points: points)
    expected = kmeans.evaluate(x, y, split)
    assert widths[-1] == 300 and result.chosen == expected.chosen
    for name, metric in expected.metrics.items():
        assert result.metrics[name].value == pytest.approx(metric.value, abs=1e-5)


@pytest.mark.parametrize("count", [1, 2, 40, 257])
def test_a_forest_scores_as_the_isolation_forest_of_scikit_learn(count: int) -> None:
    generator = np.random.default_rng(0)
    normal, rows = generator.standard_normal((count, 6)).astype(np.float32), generator.standard_normal((300, 6))
    forest = IsolationForest(random_state=0).fit(normal)
    of_its_trees = _isolation(forest.estimators_, rows, count)
    if count > 1:  # a single sample cannot be split: every score is the same
        np.testing.assert_allclose(of_its_trees, -forest.score_samples(rows), rtol=1e-12)
    scores = np.stack([outlier_scores(normal, rows.astype(np.float32), seed)["forest"] for seed in range(4)])
    expected = np.stack([-IsolationForest(random_state=seed).fit(normal).score_samples(rows) for seed in range(4)])
    if count <= 2:
        assert scores.std() == 0
        return
    # Other trees: the scores differ by the chance of a forest, and have no bias.
    assert scores.mean() == pytest.approx(expected.mean(), abs=0.01)  # whose standard deviation is 0.004 for one forest
    assert np.corrcoef(scores.mean(0), expected.mean(0))[0, 1] > 0.97


def test_each_class_or_the_named_one_is_normal(digits: Data) -> None:
    x, y = digits
    split = make_split(y)
    result = anomaly.evaluate(x, y, split)
    assert [row["normal"] for row in result.table] == sorted(set(y)) and result.metrics["auroc"].value > 0.98
    areas = {name: result.metrics[f"auroc_{name}"].value for name in ("neighbors", "mahalanobis", "forest")}
    assert result.metrics["auroc"].value == areas[result.chosen["score"]] and min(areas.values()) > 0.9
    named = anomaly.evaluate(x, y, split, normal=["0", "1"])
    assert [row["normal"] for row in named.table] == ["0, 1"]
    few = anomaly.evaluate(x, y, split, max_classes=3, max_samples=20)
    assert few.notes == ["3 of 10 classes in turn taken as normal", "fitted on at most 20 training samples per class"]
    with pytest.raises(DataError, match="no training samples of class 'ten'"):
        anomaly.evaluate(x, y, split, normal=["ten"])


# Sampling


def test_sampling_is_noted(digits: Data) -> None:
    x, y = digits
    split = make_split(y)
    assert any("40 of 359 test samples" in n for n in retrieval.evaluate(x, y, split, max_queries=40).notes)
    assert any(
        "densities estimated from 100 of 1,438 samples" in n
        for n in hdbscan.evaluate(x, y, split, max_samples=100).notes
    )
    mixture = gaussian_mixture.evaluate(x, y, split, max_samples=300, components=8)
    assert "on 8 principal components of 64 dimensions" in mixture.notes
    assert any(note.startswith("clusters fitted to 300 of 1,438 samples") for note in mixture.notes)
    assert any("fitted on 60 of 1,438 samples" in note for note in svm.evaluate(x, y, split, max_samples=60).notes)
    many = np.tile(x, (9, 1)) + np.random.default_rng(0).standard_normal((9 * len(x), 64)).astype(np.float32)
    result = kmeans.evaluate(many, None, make_split(None, count=len(many)))
    assert any("silhouette of 2,000 of the 3,235 samples" in note for note in result.notes)
    assert any("without labels chosen with 5,000 of " in note for note in result.notes)


# Intervals of groups


def test_intervals_of_groups_are_wider_where_samples_of_a_group_are_alike() -> None:
    scores = np.repeat(np.random.default_rng(0).random(20) < 0.5, 50).astype(float)
    groups = np.repeat(np.arange(20), 50)
    alone, together = bootstrap(scores), bootstrap(scores, groups=groups)
    assert alone.value == together.value
    assert (together.high or 0) - (together.low or 0) > 4 * ((alone.high or 0) - (alone.low or 0))
    # Groups of one sample each are samples.
    single = bootstrap(scores, groups=np.arange(1000))
    assert (single.low, single.high) == (pytest.approx(alone.low, abs=0.01), pytest.approx(alone.high, abs=0.01))


# Reconstruction


def test_reconstructions_are_compared_with_pca(digits: Data) -> None:
    images = (15 * digits[0]).astype(np.uint8).reshape(-1, 1, 8, 8)
    autoencoder = None

    def keep(objective: Any) -> None:
        nonlocal autoencoder
        autoencoder = objective

    source = ArraySource(images)
    split = make_split(digits[1])
    encoder = aekit.fit(images, dim=8, overrides={"train.epochs": 2, "train.precision": "fp32"})
    from aekit.objectives.autoencoder import Autoencoder

    autoencoder = Autoencoder(encoder, encoder.decoder(), {}, "bce").eval()
    results = evaluate_reconstruction(autoencoder, source, split.train, split.test)
    assert list(results) == ["encoder", "pca-8"]
    x = encoder.preprocess(torch.from_numpy(images[split.test])).numpy()
    reconstructed = autoencoder.reconstruct(torch.from_numpy(images[split.test])).numpy()
    errors = np.square(reconstructed - x).reshape(len(x), -1).mean(1)
    metrics = results["encoder"].metrics
    assert metrics["mse"].value == pytest.approx(errors.mean(), rel=1e-4)
    assert metrics["psnr"].value == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-4)
    variance = np.square(x - x.mean(0)).mean()
    assert metrics["explained"].value == pytest.approx(1 - errors.mean() / variance, abs=1e-4)
    assert -1 <= metrics["ssim"].value <= 1
    flat = (images / 255.0).reshape(len(images), -1)
    mean = flat[split.train].mean(0)
    _, _, axes = np.linalg.svd(flat[split.train] - mean, full_matrices=False)
    linear = (flat[split.test] - mean) @ axes[:8].T @ axes[:8] + mean
    expected = np.square(linear - flat[split.test]).mean()
    assert results["pca-8"].metrics["mse"].value == pytest.approx(expected, rel=1e-3)


# From end to end


def test_the_command_line_takes_labels_groups_and_others(command: Command, tmp_path: Path, several: Data) -> None:
    x, y = several
    np.save(tmp_path / "x.npy", x)
    quick = ("--quiet", "--set", "train.epochs=1", "--set", "train.precision=fp32", "--dim", "4")
    for name, seed in (("one", 0), ("two", 1)):
        run, data = tmp_path / f"run-{name}", tmp_path / "x.npy"
        command.ok("fit", data, "-o", run, *quick, "--set", f"train.seed={seed}")
        command.ok("embed", run, data, "-o", tmp_path / name, "--quiet")
    np.save(tmp_path / "several.npy", y)
    output = command.ok(
        *(
            "evaluate",
            tmp_path / "one",
            "--labels",
            tmp_path / "several.npy",
            "--compare-with",
            tmp_path / "two",
            "--quiet",
        ),
        *(
            "--groups",
            "^.*(?=.)|^.$",
            "--evaluator",
            "probe",
            "--run",
            tmp_path / "run-one",
            "--seed",
            "3",
            "--verbose",
        ),
    )
    assert "probe map" in output and "reconstruction explained" in output and f"{tmp_path / 'two'}" in output
    assert "groups, each in one part" in output
    written = json.loads((tmp_path / "one" / "results.json").read_text())
    assert (
        written["compared_with"] == [str(tmp_path / "two")]
        and written["checks"]["health"]["values"]["effective_rank"] > 1
    )
    assert written["results"]["encoder"]["probe"]["chosen_on"] == "validation"
    targets = [f"{row},{row / 7:.4f}" for row in range(400)]
    (tmp_path / "targets.csv").write_text("\n".join(["id,target", *targets]))
    scale = command.ok("evaluate", tmp_path / "one", "--labels", tmp_path / "targets.csv", "--no-baselines", "--quiet")
    assert "probe r2" in scale and "skipped, as they need one class per sample" in scale
    assert "skipped as slow" in scale and "no baselines" not in scale
    wrong = command("evaluate", tmp_path / "one", "--run", tmp_path / "run-two", "--evaluator", "kmeans", "--quiet")
    assert "from encoder" in wrong.error
    assert (
        "made by the same encoder"
        in command("evaluate", tmp_path / "one", "--compare-with", tmp_path / "one", "--quiet").error
    )


def test_a_run_evaluates_its_reconstructions_and_keeps_groups_together(tmp_path: Path, digits: Data) -> None:
    x = digits[0][:300]
    np.savez(tmp_path / "x.npz", X=x, y=digits[1][:300])
    overrides = {"train.epochs": 1, "train.precision": "fp32", "evaluate.evaluators": ["kmeans"]}
    overrides["evaluate.groups"] = "^.*(?=.)|^.$"
    aekit.fit(tmp_path / "x.npz", dim=4, out=tmp_path / "run", overrides=overrides)
    evaluation = json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]
    assert set(evaluation["results"]["encoder"]) == {"kmeans", "reconstruction"}
    assert set(evaluation["results"]["pca-4"]) == {"kmeans", "reconstruction"}
    assert "groups, each in one part" in evaluation["split"]


def test_frozen_pretrained_features_are_a_baseline(digits: Data, tmp_path: Path) -> None:
    images = (15 * digits[0][:300]).astype(np.uint8).reshape(-1, 1, 8, 8)
    fast = {"train.epochs": 1, "train.precision": "fp32"}
    first = aekit.fit(images, dim=6, out=tmp_path / "first", overrides=fast)
    transfer = {"encoder.weights": str(tmp_path / "first"), "encoder.frozen": "all"}
    second = aekit.fit(images, dim=3, overrides=fast | transfer)
    evaluation = evaluate(second.embed(images), digits[1][:300], evaluators=["quick"], checks=False)
    assert list(evaluation.results) == ["encoder", "raw", "pca-3", "random", "patch-dictionary", "features"]
    features = backbone_features(ArraySource(images), np.arange(7), second)
    with torch.no_grad():
        expected = first.backbone(first.preprocess(torch.from_numpy(images[:7])))
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)
    assert "features" not in evaluate(first.embed(images), digits[1][:300], evaluators=["knn"], checks=False).results


def test_a_run_of_another_encoder_is_refused(digits: Data) -> None:
    from aekit.objectives.autoencoder import Autoencoder

    one, two = (aekit.fit(digits[0], dim=d, overrides={"train.epochs": 1, "train.precision": "fp32"}) for d in (3, 4))
    other = Autoencoder(two, two.decoder(), {}, "mse").eval()
    with pytest.raises(IdentityError, match="from encoder"):
        evaluate(one.embed(digits[0]), digits[1], evaluators=["kmeans"], run=other, checks=False, baselines=False)


def test_all_names_every_evaluator_and_the_slow_ones_run_where_they_are_named(digits: Data) -> None:
    x, y = digits[0][:400], digits[1][:400]
    every = evaluate(
        x, y, evaluators=["all"], options={"few-labels": {"repeats": 2, "max_per_class": 10}}, checks=False
    )
    assert {"svm", "mlp-head", "few-labels", "anomaly", "hdbscan"} <= set(every.results["encoder"])
    assert not any("not run" in note for note in every.notes) and not every.checks
    quick = evaluate(x, y, evaluators=["quick", "hdbscan"], checks=False)
    assert set(quick.results["encoder"]) == {"probe", "knn", "retrieval", "hdbscan"}
    assert set(evaluate(x, evaluators=["quick"], checks=False).results["encoder"]) == {"kmeans"}
