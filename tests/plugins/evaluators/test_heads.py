"""SVM and MLP heads compared with scikit-learn, and the evaluators that run by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from aekit_plugins.evaluators import mlp_head, svm
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from aekit.errors import PluginError
from aekit.evaluation.results import Result, Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.splits import make_split, stratified_sample
from aekit.registry.discovery import Plugin, Registry
from aekit.registry.hookspecs import Entry
from aekit.testing import conformance


def rings(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one around the other, in the first two of four columns of different scales."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 2
    angle = generator.uniform(0, 2 * np.pi, count)
    radius = np.where(labels == 0, 1.0, 3.0) + 0.25 * generator.standard_normal(count)
    plane = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    noise = generator.standard_normal((count, 2))
    x = np.concatenate([plane, noise], axis=1) * [1, 100, 1, 0.01]
    return x.astype(np.float32), np.array(["inner", "outer"])[labels]


def standardized(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (x - x[rows].mean(axis=0)) / x[rows].std(axis=0)


test_svm_conforms = conformance("evaluator", "svm")
test_linear_svm_conforms = conformance("evaluator", "svm", {"kernel": "linear", "max_samples": 40})
test_mlp_head_conforms = conformance("evaluator", "mlp-head", {"hidden": 16, "lr": 0.01})


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_svm_is_the_best_of_its_grid_on_the_validation_split(kernel) -> None:
    x, y = rings()
    split = make_split(y)
    result = svm.evaluate(x, y, split, kernel=kernel)
    accuracies = {}
    z = standardized(x, split.train)
    for c in svm.C_VALUES[kernel]:
        for width in svm.GAMMA_FACTORS[kernel]:
            model = SVC(C=c, kernel=kernel, gamma=width / 4).fit(z[split.train], y[split.train])
            accuracies[c, width / 4] = (model.predict(z[split.validation]) == y[split.validation]).mean()
    assert {(row["C"], row["gamma"]): row["validation accuracy"] for row in result.table} == pytest.approx(accuracies)
    chosen = (result.chosen["C"], result.chosen.get("gamma", 0.25))
    assert accuracies[chosen] == max(accuracies.values())
    assert not any(accuracies[other] == accuracies[chosen] and other < chosen for other in accuracies), (
        "of equals the smoothest"
    )
    rows = np.concatenate([split.train, split.validation])
    z = standardized(x, rows)
    model = SVC(C=chosen[0], kernel=kernel, gamma=chosen[1]).fit(z[rows], y[rows])
    correct = model.predict(z[split.test]) == y[split.test]
    assert result.scores is not None and result.scores.tolist() == correct.astype(float).tolist()
    assert result.metrics["accuracy"].value == pytest.approx(correct.mean())


def test_a_kernel_separates_rings_unlike_a_line() -> None:
    x, y = rings()
    split = make_split(y)
    bent, straight = (svm.evaluate(x, y, split, kernel=kernel) for kernel in ("rbf", "linear"))
    assert bent.metrics["accuracy"].value > 0.95 and straight.metrics["accuracy"].value < 0.7
    assert mlp_head.evaluate(x, y, split).metrics["accuracy"].value > 0.95


def test_svm_is_fitted_on_at_most_max_samples_and_notes_it() -> None:
    x, y = rings()
    split = make_split(y)
    result = svm.evaluate(x, y, split, max_samples=40)
    assert (result.chosen["fitted_on"], result.chosen["of"]) == (40, 192)
    rows = stratified_sample(np.concatenate([split.train, split.validation]), y, 40, seed=0)
    z = standardized(x, rows)
    model = SVC(C=result.chosen["C"], gamma=result.chosen["gamma"]).fit(z[rows], y[rows])
    correct = (model.predict(z[split.test]) == y[split.test]).mean()
    assert result.metrics["accuracy"].value == pytest.approx(correct)
    whole = svm.evaluate(x, y, split)
    assert (whole.chosen["fitted_on"], whole.chosen["of"]) == (192, 192)


def test_mlp_head_is_the_network_of_the_epoch_that_the_validation_split_chose() -> None:
    x, y = rings()
    split = make_split(y)
    result = mlp_head.evaluate(x, y, split, hidden=8, lr=0.01, epochs=60, patience=4, seed=3)

    def network(rows: np.ndarray, size: int) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
        """Yield, after each epoch, a function to the probability of the outer ring."""
        scaler = StandardScaler().fit(x[rows])
        trained = MLPClassifier((8,), alpha=1e-4, learning_rate_init=0.01, random_state=3, batch_size=size)
        while True:
            trained.partial_fit(scaler.transform(x[rows]), y[rows], classes=["inner", "outer"])
            yield lambda rows: trained.predict_proba(scaler.transform(x[rows]))[:, 1]

    history = []
    for probability in islice(network(split.train, 16), len(result.table)):
        outer, truth = probability(split.validation), y[split.validation] == "outer"
        history.append((((outer > 0.5) == truth).mean(), np.log(np.where(truth, outer, 1 - outer)).mean()))
    assert [row["validation accuracy"] for row in result.table] == pytest.approx([correct for correct, _ in history])
    assert [-row["validation cross-entropy"] for row in result.table] == pytest.approx([log for _, log in history])
    best = history.index(max(history)) + 1
    assert result.chosen == {"epochs": best, "epochs_tried": len(history), "hidden": 8}
    assert len(history) == 60 or len(history) == best + 4, "it stopped when the patience ran out, and no sooner"
    ends = network(np.concatenate([split.train, split.validation]), 19)
    probability = next(islice(ends, best - 1, None))
    correct = (probability(split.test) > 0.5) == (y[split.test] == "outer")
    assert result.scores is not None and result.scores.tolist() == correct.astype(float).tolist()


@pytest.mark.parametrize("function", [svm.evaluate, mlp_head.evaluate])
def test_heads_accept_inseparable_classes(function: Callable[..., Result]) -> None:
    generator = np.random.default_rng(5)
    y = np.arange(120) % 3
    split = make_split(y)
    noise = generator.standard_normal((120, 5)).astype(np.float32)
    assert function(noise, y, split).metrics["accuracy"].value < 0.6
    collapsed = function(np.ones_like(noise), y, split)
    assert collapsed.metrics["accuracy"].value == pytest.approx(1 / 3, abs=0.05)


def test_a_stratified_sample_keeps_the_proportions() -> None:
    labels = np.repeat(["a", "b", "c"], [600, 300, 100])
    rows = np.arange(1000)[::2]
    sample = stratified_sample(rows, labels, 50, seed=1)
    assert len(sample) == 50 == len(set(sample.tolist())) and set(sample.tolist()) <= set(rows.tolist())
    assert (np.diff(sample) > 0).all()
    assert [int((labels[sample] == name).sum()) for name in "abc"] == [30, 15, 5]
    assert stratified_sample(rows, labels, 500, seed=1) is rows
    assert stratified_sample(rows, labels, 50, seed=1).tolist() == sample.tolist()
    assert stratified_sample(rows, labels, 50, seed=2).tolist() != sample.tolist()


def test_slow_evaluators_run_only_if_named(monkeypatch: pytest.MonkeyPatch) -> None:
    at = "aekit_plugins.evaluators"
    entries = [
        Entry("knn", f"{at}.knn:evaluate", "", 2, ("labels",)),
        Entry("svm", f"{at}.svm:evaluate", "", 2, ("labels", "slow")),
    ]
    plugins = Registry([Plugin("evaluator", entry, "aekit", "0") for entry in entries])
    monkeypatch.setattr("aekit.evaluation._evaluators.registry", lambda: plugins)
    x, y = rings()
    split = Split(*np.array_split(np.arange(240), 3), "made by hand")
    by_default = evaluate(x, y, split=split)
    assert list(by_default.results["encoder"]) == ["knn"]
    assert "skipped as slow: svm; name them, or all, to run them" in by_default.notes
    named = evaluate(x, y, split=split, evaluators=["svm"], options={"svm": {"max_samples": 20}})
    assert list(named.results["encoder"]) == ["svm"]
    assert named.results["encoder"]["svm"].chosen["fitted_on"] == 20
    assert not any("take long" in note for note in named.notes)
    with pytest.raises(PluginError, match="did you mean 'svm'"):
        evaluate(x, y, split=split, evaluators=["swm"])
