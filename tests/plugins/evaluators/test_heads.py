"""The evaluators with heads of their own, against scikit-learn called directly, and which evaluators run unless named."""

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
from aekit.evaluation import run as judge
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
    rest = generator.standard_normal((count, 2))
    x = np.concatenate([plane, rest], axis=1) * [1, 100, 1, 0.01]
    return x.astype(np.float32), np.array(["inner", "outer"])[labels]


def standardized(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return (x - x[seen].mean(axis=0)) / x[seen].std(axis=0)


test_svm_conforms = conformance("evaluator", "svm")
test_linear_svm_conforms = conformance("evaluator", "svm", {"kernel": "linear", "max_samples": 40})
test_mlp_head_conforms = conformance("evaluator", "mlp-head", {"hidden": 16, "lr": 0.01})


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_svm_is_the_best_of_its_grid_on_the_validation_part(kernel) -> None:
    x, y = rings()
    split = make_split(y)
    found = svm.evaluate(x, y, split, kernel=kernel)
    reached = {}
    z = standardized(x, split.train)
    for c in svm.C_VALUES[kernel]:
        for width in svm.GAMMA_FACTORS[kernel]:
            machine = SVC(C=c, kernel=kernel, gamma=width / 4).fit(z[split.train], y[split.train])
            reached[c, width / 4] = (machine.predict(z[split.validation]) == y[split.validation]).mean()
    assert {(row["C"], row["gamma"]): row["validation accuracy"] for row in found.table} == pytest.approx(reached)
    chosen = (found.chosen["C"], found.chosen.get("gamma", 0.25))
    assert reached[chosen] == max(reached.values())
    assert not any(reached[other] == reached[chosen] and other < chosen for other in reached), "of equals the smoothest"
    seen = np.concatenate([split.train, split.validation])
    z = standardized(x, seen)
    machine = SVC(C=chosen[0], kernel=kernel, gamma=chosen[1]).fit(z[seen], y[seen])
    right = machine.predict(z[split.test]) == y[split.test]
    assert found.scores is not None and found.scores.tolist() == right.astype(float).tolist()
    assert found.metrics["accuracy"].value == pytest.approx(right.mean())


def test_a_kernel_sees_what_no_line_can() -> None:
    x, y = rings()
    split = make_split(y)
    bent, straight = (svm.evaluate(x, y, split, kernel=kernel) for kernel in ("rbf", "linear"))
    assert bent.metrics["accuracy"].value > 0.95 and straight.metrics["accuracy"].value < 0.7
    assert mlp_head.evaluate(x, y, split).metrics["accuracy"].value > 0.95


def test_svm_is_fitted_on_no_more_than_it_may_and_says_so() -> None:
    x, y = rings()
    split = make_split(y)
    found = svm.evaluate(x, y, split, max_samples=40)
    assert (found.chosen["fitted_on"], found.chosen["of"]) == (40, 192)
    some = stratified_sample(np.concatenate([split.train, split.validation]), y, 40, seed=0)
    z = standardized(x, some)
    machine = SVC(C=found.chosen["C"], gamma=found.chosen["gamma"]).fit(z[some], y[some])
    right = (machine.predict(z[split.test]) == y[split.test]).mean()
    assert found.metrics["accuracy"].value == pytest.approx(right)
    whole = svm.evaluate(x, y, split)
    assert (whole.chosen["fitted_on"], whole.chosen["of"]) == (192, 192)


def test_mlp_head_is_the_network_of_the_epoch_that_the_validation_part_chose() -> None:
    x, y = rings()
    split = make_split(y)
    found = mlp_head.evaluate(x, y, split, hidden=8, lr=0.01, epochs=60, patience=4, seed=3)

    def network(rows: np.ndarray, size: int) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
        """After each epoch, how to get the probability of the outer ring."""
        scaler = StandardScaler().fit(x[rows])
        trained = MLPClassifier((8,), alpha=1e-4, learning_rate_init=0.01, random_state=3, batch_size=size)
        while True:
            trained.partial_fit(scaler.transform(x[rows]), y[rows], classes=["inner", "outer"])
            yield lambda wanted: trained.predict_proba(scaler.transform(x[wanted]))[:, 1]

    reached = []
    for probability in islice(network(split.train, 16), len(found.table)):
        outer, truth = probability(split.validation), y[split.validation] == "outer"
        reached.append((((outer > 0.5) == truth).mean(), np.log(np.where(truth, outer, 1 - outer)).mean()))
    assert [row["validation accuracy"] for row in found.table] == pytest.approx([right for right, _ in reached])
    assert [-row["validation cross-entropy"] for row in found.table] == pytest.approx([log for _, log in reached])
    best = reached.index(max(reached)) + 1
    assert found.chosen == {"epochs": best, "epochs_tried": len(reached), "hidden": 8}
    assert len(reached) == 60 or len(reached) == best + 4, "it stopped when the patience ran out, and no sooner"
    ends = network(np.concatenate([split.train, split.validation]), 19)
    probability = next(islice(ends, best - 1, None))
    right = (probability(split.test) > 0.5) == (y[split.test] == "outer")
    assert found.scores is not None and found.scores.tolist() == right.astype(float).tolist()


@pytest.mark.parametrize("function", [svm.evaluate, mlp_head.evaluate])
def test_heads_survive_what_cannot_be_told_apart(function: Callable[..., Result]) -> None:
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
    some = stratified_sample(rows, labels, 50, seed=1)
    assert len(some) == 50 == len(set(some.tolist())) and set(some.tolist()) <= set(rows.tolist())
    assert (np.diff(some) > 0).all()
    assert [int((labels[some] == name).sum()) for name in "abc"] == [30, 15, 5]
    assert stratified_sample(rows, labels, 500, seed=1) is rows
    assert stratified_sample(rows, labels, 50, seed=1).tolist() == some.tolist()
    assert stratified_sample(rows, labels, 50, seed=2).tolist() != some.tolist()


def test_what_is_slow_runs_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    at = "aekit_plugins.evaluators"
    entries = [
        Entry("knn", f"{at}.knn:evaluate", "", 2, ("labels",)),
        Entry("svm", f"{at}.svm:evaluate", "", 2, ("labels", "slow")),
    ]
    found = Registry([Plugin("evaluator", entry, "aekit", "0") for entry in entries])
    monkeypatch.setattr(judge, "registry", lambda: found)
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
