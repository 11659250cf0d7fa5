"""Test fine-tuning: the objective, the trained layers, the choice of the epoch, baselines, resuming, the saved classifier."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command, Said
from sklearn.linear_model import LogisticRegression

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.errors import DataError, IdentityError, OutputError, RecipeError, TrainingError
from aekit.evaluation.linear.probe import fit_logistic
from aekit.evaluation.splits import few_label_split, make_split
from aekit.objectives.base import Batch
from aekit.progress import Progress, Task
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.phases import Interrupted
from aekit.training.settings import Settings
from aekit.workflows.finetuning._classification import METRICS, BestEpoch, ClassificationObjective, FrozenRegression
from aekit.workflows.finetuning.classifier import Classifier

CPU = torch.device("cpu")
FAST: dict[str, Any] = {"epochs": 4, "lr": 0.01, "batch_size": 16, "precision": "fp32"}


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Create noisy images with a bright left, right or upper half; not all can be classified."""
    generator = np.random.default_rng(0)
    labels = np.arange(210) % 3
    array = generator.integers(0, 150, (210, 1, 8, 8))
    array[labels == 0, :, :, :4] += 30
    array[labels == 1, :, :, 4:] += 30
    array[labels == 2, :, :4, :] += 30
    return array.astype(np.uint8), np.array(["left", "right", "up"])[labels]


@pytest.fixture(scope="module")
def encoder(images: tuple[np.ndarray, np.ndarray]) -> aekit.Encoder:
    settings = {"train.precision": "fp32", "encoder.conv.channels": [4, 8], "encoder.conv.norm": "batch"}
    return aekit.fit(images[0], dim=6, epochs=2, overrides=settings)


@pytest.fixture(scope="module")
def tuned(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path_factory: pytest.TempPathFactory):
    """Return the result of fine-tuning, and the folder."""
    folder = tmp_path_factory.mktemp("tuned") / "out"
    return aekit.finetune(encoder, images[0], labels=images[1], out=folder, **FAST), folder


def normalized(encoder: aekit.Encoder) -> aekit.Encoder:
    """Build the same network with embeddings of length 1."""
    return aekit.Encoder(
        encoder.spec,
        encoder.preprocess,
        encoder.backbone,
        encoder.head,
        encoder.architecture | {"normalize": True},
        encoder.plugins,
    )


# The objective


def test_the_loss_is_the_cross_entropy_of_a_linear_layer_on_the_code_before_normalization(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    objective = ClassificationObjective(normalized(encoder), 3, seed=1).eval()
    raw, labels = torch.from_numpy(images[0][:20]), torch.arange(20) % 3
    found = objective.loss(Batch(raw, labels), torch.Generator())
    code = np.asarray(encoder.embed(images[0][:20]), np.float64)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in objective.classifier.parameters())
    logits = code @ weight.T + bias
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert found["loss"].item() == pytest.approx(-log_p[np.arange(20), labels.numpy()].mean(), rel=1e-4)
    assert found["accuracy"].item() == pytest.approx((logits.argmax(axis=1) == labels.numpy()).mean())


def test_initial_weights_depend_only_on_the_seed(encoder: aekit.Encoder) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (ClassificationObjective(encoder, 3, seed=seed).classifier.weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("layers", [None, 0, 1, 2, 3])
def test_the_top_layers_are_trained_and_those_below_are_frozen_including_their_norms(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, layers: int | None
) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    found = aekit.finetune(encoder, images[0], labels=images[1], layers=layers, baselines=False, **FAST)
    after = found.encoder.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    names = ["backbone.stages.0", "backbone.stages.1", "head"]
    trained = names if layers is None else names[3 - layers :]
    expected = {name for name in before if any(name.startswith(f"{unit}.") for unit in trained)}
    assert changed == expected
    assert any("running_mean" in name for name in before), "there are statistics that could change"
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items()), "a copy is trained"
    assert (found.encoder.digest == encoder.digest) == (layers == 0)
    assert all(parameter.requires_grad for parameter in found.encoder.parameters())


def test_each_layer_has_its_own_learning_rate(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    """Compare with one step of gradient descent, computed from the gradient of autograd."""
    fixed: dict[str, Any] = {"optimizer": "sgd", "momentum": 0, "weight_decay": 0, "schedule": "constant", "warmup": 0}
    settings = Settings(epochs=1, batch_size=210, lr=0.1, layer_decay=0.5, precision="fp32", **fixed)
    samples = load_samples(ArraySource(images[0]), np.arange(210), CPU)
    objective = ClassificationObjective(encoder.with_random_weights(3), 3).train()
    state = State.start(objective, settings)
    batches = Batches(samples, 210, 0, torch.arange(210) % 3)
    names = [name for name, _ in objective.named_parameters()]
    first = [p.detach().clone() for p in objective.parameters()]
    gradients = torch.autograd.grad(
        objective.loss(next(batches.epoch(0)), torch.Generator())["loss"], list(objective.parameters())
    )
    list(train(state, batches, settings))
    scales = {
        "classifier": 1.0,
        "encoder.head": 0.5,
        "encoder.backbone.stages.1": 0.25,
        "encoder.backbone.stages.0": 0.125,
    }
    for name, before, gradient, after in zip(names, first, gradients, objective.parameters()):
        scale = next(value for part, value in scales.items() if name.startswith(part))
        torch.testing.assert_close(after.detach(), before - 0.1 * scale * gradient, rtol=1e-3, atol=1e-6)


def test_weight_decay_applies_only_to_matrices(encoder: aekit.Encoder) -> None:
    objective = ClassificationObjective(encoder.with_random_weights(0), 3)
    state = State.start(objective, Settings(weight_decay=0.3, layer_decay=0.5))
    grouped = [p for group in state.optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(objective.parameters()))
    for group in state.optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.3) for p in group["params"])


def test_a_head_without_weights_is_not_a_layer(images: tuple[np.ndarray, np.ndarray]) -> None:
    features = aekit.fit(images[0], dim=0, epochs=1, overrides={"encoder.conv.channels": [4]})
    assert len(features.layers) == 1
    found = aekit.finetune(features, images[0], labels=images[1], layers=1, baselines=False, **FAST)
    assert found.classifier.linear.in_features == features.dim


def test_lbfgs_trains_it_too(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "lbfgs", "epochs": 3, "weight_decay": 0.0}
    found = aekit.finetune(
        encoder, images[0], labels=images[1], layers=0, baselines=False, patience=0, out=tmp_path / "out", **settings
    )
    assert found.results["chosen"]["finetuned"]["run"] == 3
    split = make_split(images[1])
    code = np.asarray(encoder.embed(images[0]), np.float64)
    best = LogisticRegression(C=1e8, max_iter=5000, tol=1e-8).fit(code[split.train], images[1][split.train])
    log_p = np.log(best.predict_proba(code[split.train]))
    lowest = -log_p[np.arange(len(split.train)), np.searchsorted(best.classes_, images[1][split.train])].mean()
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] == 3 and last["loss"] < lowest + 0.1


# Labels, and the choice of the epoch


def test_few_labels_are_drawn_by_class_and_split_into_training_and_validation() -> None:
    labels = np.repeat(["a", "b", "c"], [100, 60, 40])
    whole = make_split(labels, seed=1)
    split = few_label_split(whole, labels, 10, seed=1)
    for part, count in ((split.train, 8), (split.validation, 2)):
        assert [int((labels[part] == name).sum()) for name in "abc"] == [count] * 3
        assert set(part.tolist()) <= set(whole.train.tolist())
    assert not set(split.train.tolist()) & set(split.validation.tolist())
    assert split.test is whole.test
    assert split.origin.startswith("10 labels per class drawn with seed 1, validation included; stratified 60/20/20%")
    fewer = few_label_split(whole, labels, 5, seed=1)
    drawn, more = ({*s.train.tolist(), *s.validation.tolist()} for s in (fewer, split))
    assert drawn < more, "fewer labels are a part of more"
    assert few_label_split(whole, labels, 5, seed=2).train.tolist() != fewer.train.tolist()
    single = few_label_split(whole, labels, 2, seed=1)
    assert (len(single.train), len(single.validation)) == (6, 0)


def test_too_few_labels_are_reported_by_class() -> None:
    labels = np.repeat(["a", "b", "c"], [100, 60, 40])
    with pytest.raises(DataError, match=r"per_class = 30: too few labels; .* has 24 of 'c' \(stratified"):
        few_label_split(make_split(labels), labels, 30, seed=0)
    with pytest.raises(DataError, match="has 36 of 'b', 24 of 'c'"):
        few_label_split(make_split(labels), labels, 37, seed=0)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_cross_entropy(encoder: aekit.Encoder) -> None:
    objective = ClassificationObjective(encoder.with_random_weights(0), 3)
    best = BestEpoch(objective, 9)
    seen = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.85), (0.6, 0.1)]
    for epoch, (accuracy, entropy) in enumerate(seen):
        with torch.no_grad():
            objective.classifier.bias.fill_(epoch)
        best.sums += torch.tensor([6.0, 1.5])
        best.add(objective, 3, (accuracy, entropy))
        assert best.best == min(epoch, 2)
        assert best.objective.classifier.bias[0] == min(epoch, 2), "its weights are kept"
    assert best.metrics(2) == {
        "loss": 2.0,
        "accuracy": 0.5,
        "validation_accuracy": pytest.approx(0.7),
        "validation_cross_entropy": pytest.approx(0.8),
    }
    assert best.should_stop(2) and not best.should_stop(3) and not best.should_stop(0)


def test_an_epoch_has_to_be_better_than_the_initial_weights(encoder: aekit.Encoder) -> None:
    objective = ClassificationObjective(encoder.with_random_weights(0), 3)
    best = BestEpoch(objective, 9)
    bias = objective.classifier.bias.clone()
    best.add_start((0.9, 0.3), (0.7, 0.8))
    assert list(best.logged) == [-1] and not best.should_stop(1)
    seen = [(0.5, 1.0), (0.7, 0.8), (0.7, 0.9), (0.7, 0.79)]
    for epoch, (validation, expected) in enumerate(zip(seen, (-1, -1, -1, 3))):
        with torch.no_grad():
            objective.classifier.bias.fill_(epoch + 10)
        best.add(objective, 3, validation)
        assert best.best == expected
        assert torch.equal(best.objective.classifier.bias, bias if expected < 0 else torch.full((3,), 13.0))
        assert best.should_stop(1) == (epoch == 2), "patience counts from the best of the epochs"
    assert best.metrics(-1) == pytest.approx(dict(zip(METRICS, (0.3, 0.9, 0.7, 0.8))))


def test_without_validation_the_last_epoch_is_selected(encoder: aekit.Encoder) -> None:
    objective = ClassificationObjective(encoder.with_random_weights(0), 3)
    best = BestEpoch(objective, 3)
    for epoch in range(3):
        assert not best.should_stop(1)
        best.add(objective, 1, (float("nan"), float("nan")))
        assert best.best == epoch
    assert best.should_stop(0) and set(best.metrics(2)) == {"loss", "accuracy"}


def test_results_are_of_the_selected_weights_on_test_samples_that_are_read_once(
    tuned: Any, images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    found, folder = tuned
    array, labels = images
    split = make_split(labels)
    answers = found.classifier.predict(array)
    right = answers == labels
    assert found.accuracy["finetuned"].value == pytest.approx(right[split.test].mean())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(line["training"], line["epoch"]) for line in lines] == [
        *(("finetuned", epoch) for epoch in (0, 1, 2, 3, 4)),
        *(("random", epoch) for epoch in (1, 2, 3, 4)),
    ]
    own = [line for line in lines if line["training"] == "finetuned"]
    best = max(own, key=lambda line: (line["validation_accuracy"], -line["validation_cross_entropy"]))
    chosen = found.results["chosen"]["finetuned"]
    assert (chosen["epoch"], chosen["run"]) == (best["epoch"], 4)
    assert best["validation_accuracy"] == pytest.approx(right[split.validation].mean())
    odds = found.classifier.probabilities(array)[split.validation]
    truth = np.searchsorted(found.classifier.classes, labels[split.validation])
    assert best["validation_cross_entropy"] == pytest.approx(
        -np.log(odds[np.arange(len(odds)), truth]).mean(), rel=1e-4
    )
    assert found.results["counts"] == {"classes": 3, "train": 126, "validation": 42, "test": 42, "skipped": 0}
    for name in ("random", "frozen"):
        gap = found.accuracy["finetuned"].value - found.accuracy[name].value
        assert found.gains[name].value == pytest.approx(gap)
    assert (found.results["base_encoder"], found.results["digest"]) == (encoder.digest, found.encoder.digest)


def test_test_labels_change_only_the_metrics(
    tuned: Any, images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    array, labels = images
    split = make_split(labels)
    parts = np.full(210, "train", object)
    parts[split.validation], parts[split.test] = "validation", "test"
    other = labels.copy()
    other[split.test] = np.roll(labels[split.test], 7)
    runs = [
        aekit.finetune(encoder, ArraySource(array, labels=given, splits=parts.astype(str)), baselines=False, **FAST)
        for given in (labels, other)
    ]
    assert runs[0].encoder.digest == runs[1].encoder.digest == tuned[0].encoder.digest
    assert runs[0].results["chosen"] == runs[1].results["chosen"]
    assert runs[0].accuracy["finetuned"] != runs[1].accuracy["finetuned"]
    assert runs[0].results["split"] == "the data set's own"


def test_patience_stops_training(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(images[1])
    settings = FAST | {"epochs": 60, "out": tmp_path / "out"}
    found = aekit.finetune(encoder, images[0], labels=shuffled, patience=3, baselines=False, **settings)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    start, *epochs = [(line["validation_accuracy"], -line["validation_cross_entropy"]) for line in lines]
    best = epochs.index(max(epochs)) + 1
    chosen = found.results["chosen"]["finetuned"]
    assert chosen["run"] == len(epochs) == best + 3 < 60
    assert chosen["epoch"] == (best if max(epochs) > start else 0)


def test_few_labels_from_end_to_end(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    for per_class, counts in ((10, (24, 6)), (1, (3, 0))):
        found = aekit.finetune(encoder, images[0], labels=images[1], per_class=per_class, **FAST)
        assert (found.results["counts"]["train"], found.results["counts"]["validation"]) == counts
        assert found.results["counts"]["test"] == 42, "the test part stays as it is"
    assert "the last, as there are too few labels for validation" in found.text()
    assert found.results["chosen"]["finetuned"]["epoch"] == 4 and found.results["chosen"]["frozen"]["C"] == 1


# Baselines


def test_the_random_baseline_is_the_same_network_trained_from_random_weights(
    tuned: Any, images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    """Train it step by step, with a random classifier too."""
    split, codes = make_split(images[1]), np.unique(images[1], return_inverse=True)[1]
    samples, choose_on, test_on = (
        load_samples(ArraySource(images[0]), rows, CPU) for rows in (split.train, split.validation, split.test)
    )
    objective = ClassificationObjective(encoder.with_random_weights(0), 3, seed=0)
    settings = Settings(**FAST)
    batches = Batches(samples, 16, 0, torch.from_numpy(codes[split.train]))
    reached = []
    for record in train(State.start(objective, settings), batches, settings):
        if record["step"] % batches.per_epoch == 0:
            logits, right = objective.logits_of(choose_on), torch.from_numpy(codes[split.validation])
            accuracy = float((logits.argmax(1) == right).double().mean())
            entropy = float(torch.nn.functional.cross_entropy(logits, right))
            answers = objective.logits_of(test_on).argmax(1).numpy()
            reached.append((accuracy, -entropy, record["epoch"] + 1, float((answers == codes[split.test]).mean())))
    accuracy, entropy, epoch, on_test = max(reached)
    chosen = tuned[0].results["chosen"]["random"]
    assert (chosen["epoch"], chosen["run"]) == (epoch, 4)
    assert (chosen["validation_accuracy"], chosen["validation_cross_entropy"]) == pytest.approx((accuracy, -entropy))
    assert tuned[0].accuracy["random"].value == pytest.approx(on_test)


def test_the_frozen_baseline_equals_logistic_regression_of_scikit_learn(
    tuned: Any, images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    split, labels = make_split(images[1]), images[1]
    code = np.asarray(encoder.embed(images[0]), np.float64)
    code = (code - code[split.train].mean(axis=0)) / code[split.train].std(axis=0)
    reached = []
    for c in np.geomspace(1e-4, 1e3, 10):
        model = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(code[split.train], labels[split.train])
        odds = model.predict_proba(code[split.validation])
        truth = np.searchsorted(model.classes_, labels[split.validation])
        log = np.log(odds[np.arange(len(odds)), truth]).mean()
        right = (model.predict(code[split.test]) == labels[split.test]).mean()
        reached.append(((odds.argmax(axis=1) == truth).mean(), log, c, right))
    *_, c, right = max(reached)
    assert tuned[0].results["chosen"]["frozen"]["C"] == pytest.approx(c)
    assert tuned[0].accuracy["frozen"].value == pytest.approx(right)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("normalized_output", [False, True])
def test_the_classifier_starts_from_logistic_regression_on_the_code(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, count: int, normalized_output: bool
) -> None:
    names = np.unique(images[1])[:count]
    array, labels = (part[np.isin(images[1], names)] for part in images)
    samples = load_samples(ArraySource(array), np.arange(len(array)), CPU)
    start = deepcopy(normalized(encoder) if normalized_output else encoder).eval()
    with torch.no_grad():
        raw = next(samples.chunks(len(array)))
        code = start.encode(start.preprocess(raw)).double().numpy()
        embedded = start(raw).double().numpy()
    objective = ClassificationObjective(start, count)
    for features, regression in (
        (code, FrozenRegression(start, samples, labels, None, labels[:0], normalized=False)),
        (embedded, FrozenRegression(start, samples, labels, None, labels[:0])),
    ):
        scaled = (features - features.mean(axis=0)) / features.std(axis=0)
        expected = LogisticRegression(C=1.0, max_iter=5000, tol=1e-9).fit(scaled, labels).predict_proba(scaled)
        logits = torch.from_numpy(features @ regression.weight.T + regression.bias)
        assert logits.softmax(1).numpy() == pytest.approx(expected, abs=2e-3)
        if features is code:
            objective.start_from(regression)
            assert objective.logits_of(samples).softmax(1).numpy() == pytest.approx(expected, abs=2e-3)
            before, weight = objective.logits_of(samples).argmax(1), objective.classifier.weight
            for factor, norm in ((1.0, None), (100.0, (count / 3) ** 0.5)):
                with torch.no_grad():
                    weight *= factor
                    objective.classifier.bias.mul_(factor)
                norm = norm or min(weight.detach().norm().item(), (count / 3) ** 0.5)
                objective.shorten_classifier()
                assert weight.detach().norm().item() == pytest.approx(norm, rel=1e-5)
                assert torch.equal(objective.logits_of(samples).argmax(1), before), "no prediction changes"


def test_constant_entries_of_the_code_get_no_weight() -> None:
    code = np.random.default_rng(0).normal(size=(60, 3)) * [1, 100, 0] + [0, 5, 7]
    path = fit_logistic(code, (code[:, 0] > 0).astype(int), [1.0])
    weight, bias = path.linear()
    assert code @ weight.T + bias == pytest.approx(path.logits(code), abs=1e-4) and (weight[:, 2] == 0).all()


@pytest.mark.parametrize("normalized_output", [False, True])
@pytest.mark.parametrize("layers", [None, 0])
def test_the_frozen_encoder_is_chosen_where_no_epoch_is_better(
    images: tuple[np.ndarray, np.ndarray],
    encoder: aekit.Encoder,
    tmp_path: Path,
    layers: int | None,
    normalized_output: bool,
) -> None:
    start = normalized(encoder) if normalized_output else encoder
    settings = FAST | {"lr": 30.0, "schedule": "constant", "layers": layers}
    found = aekit.finetune(start, images[0], labels=images[1], out=tmp_path / "out", **settings)
    assert "chosen: the frozen encoder with logistic regression, which was better on 42 validation" in found.text()
    assert found.encoder.digest == start.digest and "finetuned" not in found.encoder.record
    chosen = found.results["chosen"]["finetuned"]
    assert (chosen["epoch"], chosen["run"]) == (0, 4)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert lines[0] == {"training": "finetuned", "epoch": 0} | {name: chosen[name] for name in METRICS}
    rows = make_split(images[1])
    again = aekit.load_classifier(tmp_path / "out")
    right = again.predict(images[0]) == images[1]
    assert right[rows.test].mean() == pytest.approx(found.accuracy["finetuned"].value)
    assert right[rows.train].mean() == pytest.approx(chosen["accuracy"])
    assert right[rows.validation].mean() == pytest.approx(chosen["validation_accuracy"])
    if not normalized_output:
        assert found.accuracy["finetuned"] == found.accuracy["frozen"] and found.gains["frozen"].value == 0
        frozen = FrozenRegression(
            start,
            *(load_samples(ArraySource(images[0]), rows.train, CPU), images[1][rows.train]),
            *(load_samples(ArraySource(images[0]), rows.validation, CPU), images[1][rows.validation]),
        )
        assert np.array_equal(again.linear.weight.detach().numpy(), frozen.weight.astype(np.float32))


def test_an_epoch_that_is_better_than_the_frozen_encoder_is_chosen(tuned: Any) -> None:
    chosen = tuned[0].results["chosen"]
    said = tuned[0].text()
    assert chosen["finetuned"]["epoch"] > 0
    for title, choice in (("chosen: fine-tuned", chosen["finetuned"]), ("random weights:", chosen["random"])):
        assert f"{title} epoch {choice['epoch']} of 4, selected on 42 validation samples" in said


def test_fine_tuning_learns_separable_classes(encoder: aekit.Encoder) -> None:
    labels = np.arange(120) % 2
    array = np.zeros((120, 1, 8, 8), np.uint8)
    array[labels == 1, :, 2:6, 2:6] = 200
    array += np.random.default_rng(0).integers(0, 30, array.shape).astype(np.uint8)
    found = aekit.finetune(encoder, array, labels=labels, **FAST)
    assert found.accuracy["finetuned"].value == 1
    assert found.classifier.predict(array).dtype == labels.dtype


# Saved artifacts


def test_a_folder_holds_the_encoder_the_classifier_and_the_results(tuned: Any) -> None:
    found, folder = tuned
    names = {path.name for path in folder.iterdir()}
    assert names == {"encoder", "classifier.safetensors", "classifier.json", "results.json", "log.jsonl"}
    written = json.loads((folder / "results.json").read_text())
    assert {name: value for name, value in written.items() if name != "seal"} == json.loads(json.dumps(found.to_dict()))
    assert aekit.load(folder).digest == found.encoder.digest
    assert aekit.load(folder).record["finetuned"]["base_encoder"] == found.results["base_encoder"]
    assert "| fine-tuned with | 168 labels of <data in memory> |" in (folder / "encoder" / "README.md").read_text()


def test_a_classifier_loads_bit_equal(tuned: Any, images: tuple[np.ndarray, np.ndarray]) -> None:
    found, folder = tuned
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = aekit.load_classifier(folder)
    assert torch.equal(before, torch.random.get_rng_state())
    odds = again.probabilities(images[0])
    assert np.array_equal(odds, found.classifier.probabilities(images[0]))
    assert odds.shape == (210, 3) and odds.sum(axis=1) == pytest.approx(np.ones(210))
    assert again.classes.tolist() == ["left", "right", "up"]
    assert again.predict(images[0]).tolist() == again.classes[odds.argmax(axis=1)].tolist()
    one_by_one = np.concatenate([again.probabilities(images[0][i : i + 1]) for i in range(5)])
    assert one_by_one == pytest.approx(odds[:5], abs=1e-5)


def test_unreadable_samples_are_skipped() -> None:
    table = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    labels = (table[:, 0] > 0).astype(int)
    encoder = aekit.fit(table, dim=3, epochs=1)
    table[[4, 50]] = np.nan
    found = aekit.finetune(encoder, table, labels=labels, baselines=False, **FAST)
    assert found.results["counts"]["skipped"] == 2
    assert sum(found.results["counts"][part] for part in ("train", "validation", "test")) == 88
    assert len(found.classifier.predict(table)) == 88
    with pytest.raises(DataError, match=r"none of 1 samples can be read, e\.g\. 0: nan at"):
        found.classifier.predict(table[4:5])
    with pytest.raises(DataError, match=r"4: nan at \(0,\) \(strict\)"):
        found.classifier.predict(table, strict=True)


def test_samples_without_a_label_are_not_used(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    labels = images[1].astype(object)
    labels[::2] = None
    found = aekit.finetune(encoder, images[0], labels=labels, baselines=False, **FAST)
    assert sum(found.results["counts"][part] for part in ("train", "validation", "test")) == 105
    assert found.classifier.classes.tolist() == ["left", "right", "up"]


def test_another_encoder_and_damaged_files_are_rejected(tuned: Any, encoder: aekit.Encoder, tmp_path: Path) -> None:
    found, folder = tuned
    swapped, damaged, lost = (shutil.copytree(folder, tmp_path / name) for name in ("swapped", "damaged", "lost"))
    shutil.rmtree(swapped / "encoder")
    encoder.save(swapped / "encoder")
    with pytest.raises(IdentityError, match=f"comes from encoder {found.encoder.digest[:12]}.*{encoder.digest[:12]}"):
        aekit.load_classifier(swapped)
    path = damaged / "classifier.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(IdentityError, match="is damaged"):
        aekit.load_classifier(damaged)
    (lost / "classifier.safetensors").unlink()
    with pytest.raises(IdentityError, match=r"classifier\.safetensors: is missing; fine-tune again"):
        aekit.load_classifier(lost)
    with pytest.raises(DataError, match="no classifier here"):
        aekit.load_classifier(folder / "encoder")


# Interrupting and resuming


class Stopping(Progress):
    """Stop training at one of its steps, as Ctrl-C or a kill does."""

    def __init__(self, title: str, step: int, kill: bool) -> None:
        self.title, self.step, self.kill = title, step, kill

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        task = Task()
        if title == self.title:
            task.advance = self._advance  # type: ignore[method-assign]
        yield task

    def _advance(self, units: int = 1, note: str = "") -> None:
        self.step -= 1
        if self.step == 0:
            if self.kill:
                raise RuntimeError("killed")
            os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_while_the_result_is_saved_leaves_no_checkpoint(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, out = Classifier.save, tmp_path / "out"

    def interrupted(self: Classifier, folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        save(self, folder)

    monkeypatch.setattr(Classifier, "save", interrupted)
    aekit.finetune(encoder, images[0], labels=images[1], out=out, **FAST | {"epochs": 1}, baselines=False)
    assert {path.name for path in out.iterdir()} == {
        *("classifier.json", "classifier.safetensors", "encoder", "log.jsonl", "results.json")
    }
    assert aekit.load_classifier(out)


@pytest.mark.parametrize("kill", [False, True], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize(("title", "step"), [("fine-tuned", 10), ("random weights", 21)])
def test_interrupted_fine_tuning_resumes_bit_equal(
    tuned: Any,
    images: tuple[np.ndarray, np.ndarray],
    encoder: aekit.Encoder,
    tmp_path: Path,
    title: str,
    step: int,
    kill: bool,
) -> None:
    whole, folder = tuned
    out = tmp_path / "out"
    settings = FAST | {"checkpoint_seconds": 0.0}
    given = {"labels": images[1], "out": out, **settings}
    with pytest.raises(RuntimeError if kill else Interrupted, match="killed" if kill else f"{title}; resume=True"):
        aekit.finetune(encoder, images[0], progress=Stopping(title, step, kill), **given)
    assert {path.name for path in out.iterdir()} <= {"checkpoint", "log.jsonl"}
    with pytest.raises(
        OutputError, match=r"holds interrupted fine-tuning; resume=True \(--resume\) continues it, or choose"
    ):
        aekit.finetune(encoder, images[0], **given)
    with pytest.raises(DataError, match="fine-tuning was interrupted"):
        aekit.load_classifier(out)
    said = Said()
    found = aekit.finetune(encoder, images[0], resume=True, progress=said, **given)
    assert f"{title}: resuming after step {step if not kill else step - 1}" in said
    assert found.encoder.digest == whole.encoder.digest
    for name in ("log.jsonl", "classifier.safetensors", "classifier.json"):
        assert (out / name).read_bytes() == (folder / name).read_bytes(), name
    assert found.results["chosen"] == whole.results["chosen"] and found.accuracy == whole.accuracy
    assert not (out / "checkpoint").exists()
    again = aekit.finetune(encoder, images[0], resume=True, progress=said, **given)
    assert "nothing to resume" in said and again.to_dict() == json.loads(json.dumps(found.to_dict()))


def test_the_frozen_encoder_is_still_chosen_after_an_interruption(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path
) -> None:
    settings = FAST | {"lr": 30.0, "schedule": "constant", "labels": images[1], "baselines": False}
    whole = aekit.finetune(encoder, images[0], out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        progress = Stopping("fine-tuned", 10, False)
        aekit.finetune(encoder, images[0], out=tmp_path / "out", progress=progress, **settings)
    found = aekit.finetune(encoder, images[0], out=tmp_path / "out", resume=True, **settings)
    assert found.encoder.digest == whole.encoder.digest == encoder.digest
    assert found.results["chosen"] == whole.results["chosen"] and found.results["chosen"]["finetuned"]["epoch"] == 0
    for name in ("log.jsonl", "classifier.safetensors", "classifier.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_resuming_with_other_settings_is_rejected(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        progress = Stopping("fine-tuned", 2, False)
        aekit.finetune(encoder, images[0], labels=images[1], out=out, progress=progress, **FAST)
    with pytest.raises(TrainingError, match=r"cannot resume with other settings: layers was None, now 1"):
        aekit.finetune(encoder, images[0], labels=images[1], out=out, resume=True, layers=1, **FAST)
    with pytest.raises(TrainingError, match=r"train\.lr was 0\.01, now 0\.02"):
        aekit.finetune(encoder, images[0], labels=images[1], out=out, resume=True, **FAST | {"lr": 0.02})
    with pytest.raises(TrainingError, match="labels was"):
        other = np.roll(images[1], 1)
        aekit.finetune(encoder, images[0], labels=other, out=out, resume=True, **FAST)
    with pytest.raises(TrainingError, match="encoder was"):
        random = encoder.with_random_weights(4)
        aekit.finetune(random, images[0], labels=images[1], out=out, resume=True, **FAST)


def test_an_interruption_without_a_folder(images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder) -> None:
    with pytest.raises(Interrupted, match="stopped at step 2 of 28, fine-tuned; cannot be resumed without a folder"):
        progress = Stopping("fine-tuned", 2, False)
        aekit.finetune(encoder, images[0], labels=images[1], progress=progress, **FAST)


# Mistakes


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"labels": None}, DataError, "no labels to fine-tune with: the data has none; expected classes"),
        ({"labels": [None] * 210}, DataError, "no labels to fine-tune with: no sample has a label"),
        ({"labels": np.linspace(0, 1, 210)}, DataError, "numbers rather than classes"),
        ({"labels": ["a"] * 210}, DataError, "all 210 labeled samples are of class"),
        ({"labels": ["a", "b"]}, DataError, r"labels of shape \(2,\) for 210 samples: expected one each"),
        ({"per_class": 43}, DataError, r"per_class = 43: .* has 42 of 'left', 42 of 'right', 42 of 'up'"),
        ({"per_class": 0}, RecipeError, "per_class = 0: expected 1 or more"),
        ({"layers": 4}, RecipeError, "layers = 4: expected 0 to 3, the number of layers"),
        ({"layers": -1}, RecipeError, "layers = -1: expected 0 to 3"),
        ({"layer_decay": 1.5}, RecipeError, r"train\.layer_decay = 1\.5: expected less than or equal to 1"),
        ({"patience": -1}, RecipeError, "patience = -1: expected 0 or more"),
        ({"epochs": 0}, RecipeError, r"train\.epochs = 0: expected 1 or more"),
        ({"optimizer": "lbfgs", "layer_decay": 0.5}, RecipeError, "'lbfgs', which has no learning rates"),
        ({"epoch": 3}, RecipeError, r"train\.epoch: no such option; did you mean 'epochs'"),
        ({"lr": -1.0}, RecipeError, r"train\.lr = -1\.0: expected greater than 0"),
    ],
)
def test_mistakes_are_one_line(
    images: tuple[np.ndarray, np.ndarray],
    encoder: aekit.Encoder,
    tmp_path: Path,
    given: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        aekit.finetune(encoder, images[0], **{"labels": images[1], "out": tmp_path / "out", **given})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_mistakes_in_splits_and_folders_are_one_line(
    images: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder, tmp_path: Path
) -> None:
    array, labels = images
    splits = np.array(["train", "tset", "test"])[np.arange(210) % 3]
    with pytest.raises(DataError, match="split 'tset': expected train, validation or test; did you mean 'test'"):
        aekit.finetune(encoder, ArraySource(array, labels=labels, splits=splits))
    of_class = np.array(["train", "validation", "test"])[np.arange(210) % 3]
    with pytest.raises(DataError, match=r"the training labels are all \['left'\]: expected at least two classes"):
        aekit.finetune(encoder, ArraySource(array, labels=labels, splits=of_class))
    with pytest.raises(DataError, match="samples are image 1x9x9 uint8, the encoder takes image 1x8x8 uint8"):
        aekit.finetune(encoder, np.zeros((4, 1, 9, 9), np.uint8), labels=[1, 2, 1, 2])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(OutputError, match="is not empty; choose another folder"):
        aekit.finetune(encoder, array, labels=labels, out=tmp_path / "full")
    with pytest.raises(OutputError, match="nothing to resume"):
        aekit.finetune(encoder, array, labels=labels, out=tmp_path / "none", resume=True)


def test_notes_on_earlier_training_of_the_encoder(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.random.default_rng(0).normal(size=(90, 4)), y=np.arange(90) % 2)
    encoder = aekit.fit(tmp_path / "a.npz", dim=2, epochs=1)
    found = aekit.finetune(encoder, tmp_path / "a.npz", baselines=False, **FAST)
    assert "pretrained on the test samples too, without labels" in found.text()
    again = aekit.finetune(found.encoder, tmp_path / "a.npz", baselines=False, **FAST)
    assert any("was fine-tuned with labels of" in note for note in again.results["notes"])
    embeddings = found.encoder.embed(tmp_path / "a.npz", out=tmp_path / "e")
    judged = aekit.evaluate(embeddings, evaluators=["knn"])
    assert any("was fine-tuned with labels of" in note for note in judged.notes)


# The command line


def test_the_whole_workflow_on_the_command_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    y = np.array(["cold", "warm"])[np.arange(150) % 2]
    x = generator.normal(size=(150, 6)) + 2.0 * (y == "warm")[:, None]
    np.savez("data.npz", X=x.astype(np.float32), y=y)
    fast = ("--set", "train.precision=fp32", "--epochs", 9, "-q")
    command.ok("fit", "data.npz", "-o", "run", "--variant", "plain", "--dim", 4, *fast)
    same = ("finetune", "run", "data.npz", "-o", "tuned", "--per-class", 20, "--lr", 0.02, *fast)
    outcome = command(*same)
    assert outcome.code == 0 and outcome.err == "", outcome.err
    for said in (
        "fine-tuned  ",
        "random weights  ",
        "frozen + logistic regression  ",
        "32 training, 8 validation",
    ):
        assert said in outcome.out, said
    digest = aekit.load("tuned").digest
    assert digest[:12] in outcome.out and digest != aekit.load("run").digest
    results = json.loads(Path("tuned/results.json").read_text())
    assert results["settings"]["train"]["epochs"] == 9 and results["settings"]["per_class"] == 20
    assert set(results["accuracy"]) == {"finetuned", "random", "frozen"}

    x[3] = np.nan
    np.savez("new.npz", X=x.astype(np.float32))
    outcome = command("classify", "tuned", "new.npz", "-o", "predictions.csv")
    assert "149 predictions in predictions.csv" in outcome.out
    assert "1 sample skipped, e.g. 3: nan at" in outcome.err
    with open("predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    classifier = aekit.load_classifier("tuned")
    odds = classifier.probabilities("new.npz")
    assert [row["id"] for row in rows] == [str(i) for i in range(150) if i != 3]
    assert [row["label"] for row in rows] == classifier.predict("new.npz").tolist()
    assert [float(row["probability"]) for row in rows] == pytest.approx(odds.max(axis=1), abs=1e-6)
    assert np.mean([row["label"] == y[int(row["id"])] for row in rows]) > 0.9

    table = command.ok("classify", "tuned", "new.npz", "-q").splitlines()
    assert len(table) == 149 and table[0].split() == [f"{odds[0].max():.4f}", rows[0]["label"], "0"]
    printed = [json.loads(line) for line in command.ok("classify", "tuned", "new.npz", "--json", "-q").splitlines()]
    assert [line["label"] for line in printed] == [row["label"] for row in rows]

    assert "is not empty" in command("finetune", "run", "data.npz", "-o", "tuned", *fast).error
    assert "is already finished" in command(*(word for word in same if word not in ("-q", "--quiet")), "--resume").err
    changed = command("finetune", "run", "data.npz", "-o", "tuned", "--resume")
    assert "per_class was 20, now None" in changed.error
    assert "no classifier here" in command("classify", "run", "new.npz").error
    assert (
        "did you mean 'weight_decay'"
        in command("finetune", "run", "data.npz", "-o", "other", "--set", "train.weight_decai=1").error
    )
    assert "the data has none" in command("finetune", "run", "new.npz", "-o", "other").error
    assert not Path("other").exists()
