"""Labels of a few samples are propagated to all others, or predicted by a linear classifier; how many are right is estimated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, make_moons
from sklearn.semi_supervised import LabelSpreading

import aekit
from aekit.errors import DataError, RecipeError
from aekit.evaluation.propagation import neighbor_graph, propagate

DIGITS, DIGIT_OF = load_digits(return_X_y=True)


def _few(labels: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    """Return labels of which only `per_class` of each class are kept, the others are None."""
    rng, few = np.random.default_rng(seed), np.full(len(labels), None)
    for name in np.unique(labels):
        rows = rng.choice(np.flatnonzero(labels == name), per_class, replace=False)
        few[rows] = labels[rows]
    return few


def _moons() -> tuple[np.ndarray, np.ndarray]:
    x, y = make_moons(400, noise=0.06, random_state=0)
    return x.astype(np.float32), np.where(y == 0, "left", "right")


def test_the_graph_is_that_of_its_definition() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    distances = np.linalg.norm(x[:, None].astype(float) - x[None], axis=2)
    order = np.argsort(distances, axis=1)[:, 1:5]
    weights = np.zeros((30, 30))
    for a in range(30):
        for b in order[a]:
            scales = distances[a, order[a][-1]] * distances[b, order[b][-1]]
            weights[a, b] = weights[b, a] = np.exp(-(distances[a, b] ** 2) / scales)
    degrees = weights.sum(1)
    expected = weights / np.sqrt(degrees[:, None] * degrees[None])
    assert np.allclose(neighbor_graph(x, 4).toarray(), expected, atol=1e-5)


def test_weights_are_the_solution_and_the_limit_of_the_iteration() -> None:
    x, sources = DIGITS[:300].astype(np.float32), np.zeros((300, 3))
    sources[[0, 10], 0] = sources[[1, 20], 1] = sources[5, 2] = 1
    graph = neighbor_graph(x)
    weights = propagate(graph, sources, 0.9)
    dense = 0.1 * np.linalg.solve(np.eye(300) - 0.9 * graph.toarray(), sources)
    assert np.allclose(weights, dense, rtol=1e-6)
    labels = np.full(300, -1)
    labels[[0, 10, 1, 20, 5]] = 0, 0, 1, 1, 2
    # With a kernel of ones scikit-learn's graph has other weights: it is given ours, whose rows its Laplacian must not change.
    theirs = LabelSpreading(kernel=lambda a, b=None: graph.toarray(), alpha=0.9, max_iter=2000, tol=1e-9)
    normalized = graph.toarray() / np.sqrt(np.outer(graph.sum(axis=1), graph.sum(axis=1)))
    ours = propagate(csr_array(normalized), sources, 0.9)
    theirs.fit(x, labels)
    assert np.allclose(ours / ours.sum(1, keepdims=True), theirs.label_distributions_, atol=1e-6)


def test_equal_samples_are_linked_to_others() -> None:
    x = np.concatenate([np.zeros((20, 2)), np.random.default_rng(0).normal(size=(20, 2)) * 0.1 + 1]).astype(np.float32)
    graph = neighbor_graph(x, 30)
    assert (graph.toarray()[:20, 20:] > 0).any() and np.isfinite(graph.toarray()).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_graph_does_not_depend_on_the_scale(scale: float) -> None:
    x = DIGITS[:50].astype(np.float32)
    assert np.allclose(neighbor_graph(x * np.float32(scale)).toarray(), neighbor_graph(x).toarray(), atol=1e-5)


def test_labels_that_cannot_be_predicted_are_said_to_be_no_better_than_the_most_frequent_one() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    result = aekit.propagate_labels(noise, ["a", "b", "b", "b"] * 50, per_class=20, progress=False)
    assert result.accuracy is not None and result.accuracy.most_frequent == pytest.approx(130 / 160)
    assert result.notes == ["not significantly better than the most frequent label alone, 0.812"]


def test_one_label_of_each_class_suffices_where_samples_lie_densely() -> None:
    x, y = _moons()
    result = aekit.propagate_labels(x, y, per_class=1, method="propagation", progress=False)
    assert result.method == "propagation" and result.is_given.sum() == 2 and result.accuracy is not None
    assert result.accuracy.of == "labels that were not used" and result.accuracy.count == 398
    assert result.accuracy.methods["propagation"].value > 0.95 > result.accuracy.methods["linear"].value
    right = (result.labels == y)[~result.is_given].mean()
    assert result.accuracy.methods["propagation"].value == pytest.approx(right)
    sure = ~result.is_given & (result.shares >= 0.5)
    assert result.accuracy.sure_count == sure.sum()
    assert result.accuracy.sure is not None and result.accuracy.sure.value == pytest.approx(
        (result.labels == y)[sure].mean()
    )


def test_digits_are_labeled_better_than_by_a_linear_classifier() -> None:
    result = aekit.propagate_labels(DIGITS, DIGIT_OF, per_class=5, progress=False)
    assert result.accuracy is not None and result.method == "propagation"
    propagation, linear = (result.accuracy.methods[name] for name in ("propagation", "linear"))
    assert propagation.value > 0.93 and linear.value < 0.9
    assert propagation.low is not None and linear.high is not None and propagation.low > linear.high
    assert "Accuracy on 1,747 labels that were not used" in str(result)


def test_a_linear_classifier_labels_the_samples_where_it_is_better() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b"], 200)
    noise = rng.normal(size=(400, 12)) * 8
    x = np.column_stack([noise, (y == "b") * 1.0 + rng.normal(size=400) * 0.05]).astype(np.float32)
    few = _few(y, 20)
    result = aekit.propagate_labels(x, few, progress=False)
    assert result.method == "linear" and result.accuracy is not None
    assert result.accuracy.methods["linear"].value > result.accuracy.methods["propagation"].value
    assert str(result).startswith("A linear classifier of 40 given labels labeled 360 samples.")
    propagated = aekit.propagate_labels(x, few, method="propagation", progress=False)
    assert (result.labels == y).mean() > (propagated.labels == y).mean() + 0.1
    chosen = aekit.propagate_labels(x, few, method="linear", progress=False)
    assert (chosen.labels == result.labels).all() and np.allclose(chosen.shares, result.shares)


def test_the_accuracy_is_cross_validated_on_the_given_labels() -> None:
    few = _few(DIGIT_OF, 6)
    result = aekit.propagate_labels(DIGITS, few, folds=3, progress=False)
    assert result.accuracy is not None and result.accuracy.count == 60
    true = (result.labels == DIGIT_OF)[~result.is_given].mean()
    estimate = result.accuracy.methods["propagation"]
    assert estimate.low is not None and estimate.high is not None and estimate.low - 0.03 < true < estimate.high + 0.03
    # A label is never predicted from itself: shuffled labels are predicted no better than by chance.
    shuffled = few.copy()
    shuffled[few != None] = np.random.default_rng(0).permutation(few[few != None])  # noqa: E711
    guessed = aekit.propagate_labels(DIGITS, shuffled, progress=False).accuracy
    assert guessed is not None and guessed.methods["propagation"].value < 0.3


def test_samples_of_a_group_are_not_predicted_from_each_other() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(12), 20)
    y = np.where(rng.permutation(12)[patient] < 6, "ill", "well")
    x = (rng.normal(size=(12, 6))[patient] * 5 + rng.normal(size=(240, 6)) * 0.1).astype(np.float32)
    few = y.astype(object)
    few[::2] = None
    alone = aekit.propagate_labels(x, few, progress=False).accuracy
    grouped = aekit.propagate_labels(x, few, groups=patient, progress=False).accuracy
    assert alone is not None and grouped is not None
    assert alone.methods["propagation"].value == 1 > grouped.methods["propagation"].value + 0.2


def test_given_labels_are_kept_and_a_classifier_labels_samples_without_a_path(tmp_path: Path) -> None:
    x, y = _moons()
    apart = np.concatenate([x, x[:15] + [0, 50]]).astype(np.float32)  # above all others, as "left" is above "right"
    few = np.append(_few(y, 3), np.full(15, None))
    few[np.flatnonzero((y == "left") & (few[:400] == None))[0]] = "right"  # noqa: E711
    out = tmp_path / "out"
    result = aekit.propagate_labels(apart, few, neighbors=5, method="propagation", out=out, progress=False)
    known = few != None  # noqa: E711
    assert (result.labels[known] == few[known]).all() and (result.is_given == known).all()
    assert result.notes[0] == (
        "no label leads to 15 samples in one group: a linear classifier labels them; better label one of them, e.g. 400"
    )
    linear = aekit.propagate_labels(apart, few, neighbors=5, method="linear", progress=False)
    assert (result.labels[-15:] == linear.labels[-15:]).all() and not result.shares[-15:].any()
    assert (linear.shares > 0).all() and result.accuracy is not None and result.accuracy.sure_count <= known.sum()
    assert not any("no label leads" in note for note in linear.notes)
    with (out / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == result.labels.tolist() and list(rows[0]) == ["id", "label"]
    frame = result.to_pandas()
    assert list(frame.columns) == ["label", "share", "given"] and len(frame) == 415


def test_how_many_are_right_is_unknown_with_one_label_of_each_class() -> None:
    x, y = _moons()
    result = aekit.propagate_labels(x, _few(y, 1), progress=False)
    assert result.accuracy is None and "is unknown" in str(result)
    few = _few(y, 3)
    few[np.flatnonzero(few == "left")[1:]] = None
    result = aekit.propagate_labels(x, few, progress=False)
    assert result.accuracy is not None and result.accuracy.count == 3
    assert "classes with one given label were not cross-validated: left" in result.notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": DIGIT_OF}, "all 1,797 samples have a label: expected some without one; per_class"),
        ({"labels": None}, "the embeddings have no labels: pass labels"),
        ({"labels": np.where(np.arange(1797) < 5, "x", None)}, "all 5 labels are 'x': expected at least two classes"),
        ({"labels": DIGIT_OF, "per_class": 0}, "per_class = 0: expected at least 1"),
        ({"labels": DIGIT_OF, "per_class": 2, "alpha": 1.0}, "alpha = 1.0: expected a number above 0 and below 1"),
        ({"labels": DIGIT_OF, "per_class": 2, "neighbors": 0}, "neighbors = 0: expected at least 1"),
        ({"labels": DIGIT_OF, "per_class": 2, "folds": 1}, "folds = 1: expected at least 2"),
        ({"labels": DIGIT_OF, "per_class": 2, "method": "propagate"}, "method = 'propagate': .*propagation"),
    ],
)
def test_what_cannot_be_propagated_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises((DataError, RecipeError), match=message):
        aekit.propagate_labels(DIGITS, **arguments, progress=False)


def test_the_command_writes_labels_that_other_commands_read(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DIGITS[:400].astype(np.float32))
    with (tmp_path / "few.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "digit"], *zip(range(60), DIGIT_OF[:60].tolist())])
    base = ("propagate", tmp_path / "x.npy", "--labels", tmp_path / "few.csv", "-q")
    output = command.ok(*base, "-o", tmp_path / "out")
    assert "60 given labels" in output and f"all labels in {tmp_path / 'out'}/labels.csv" in output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"labels.csv", "propagated.csv", "propagated.json", "report.html"} <= written
    with (tmp_path / "out" / "labels.csv").open(encoding="utf-8") as file:
        labels = np.array([int(row["label"]) for row in csv.DictReader(file)])
    assert len(labels) == 400 and (labels == DIGIT_OF[:400]).mean() > 0.85
    only = ("--evaluator", "knn", "--no-baselines")
    assert "knn" in command.ok("evaluate", tmp_path / "x.npy", "--labels", tmp_path / "out" / "labels.csv", *only)
    facts = json.loads(command.ok(*base, "-o", tmp_path / "other", "--json"))
    assert facts["given"] == 60 and facts["samples"] == 400
    assert facts["accuracy"]["methods"]["propagation"]["value"] > 0.7
    refused = command("propagate", tmp_path / "x.npy", "-o", tmp_path / "none")
    assert "the embeddings have no labels: pass labels (--labels)" in refused.error
    assert not (tmp_path / "none").exists()
