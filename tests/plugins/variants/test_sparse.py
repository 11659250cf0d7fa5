"""Sparse autoencoders: L1 and KL penalties, k-sparse and winner-take-all heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.variants.sparse_kl import SparseKL, divergence
from aekit_plugins.variants.sparse_l1 import SparseL1
from scipy.stats import entropy
from torch import Tensor, nn

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.backbone import TiedLayer
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch, Step
from aekit.testing import conformance
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

# The conformance kit tests them with default options.
test_kl_over_all_conforms = conformance("variant", "sparse-kl", {"average_over": "all", "update_interval": 2})
test_k_sparse_conforms = conformance("variant", "k-sparse", {"k": 5, "alpha": 1.0, "anneal": False})

SIGMOID: dict[str, Any] = {"backbone": "mlp", "dim": 0, "mlp": {"hidden": [9], "activation": "sigmoid"}}
SETTINGS = Settings(epochs=3, batch_size=16, precision="fp32", device="cpu")


def make_samples(shape: tuple[int, ...] = (6,), count: int = 60) -> Samples:
    array = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    return load_samples(ArraySource(array), np.arange(count), torch.device("cpu"))


def make_autoencoder(data: Samples, encoder: dict[str, Any], **variants: dict[str, Any]) -> Autoencoder:
    """An autoencoder with these variants, started."""
    named = {name.replace("_", "-"): options for name, options in variants.items()}
    values = {"data": {"source": "memory"}, "encoder": encoder, "objective": {"variants": list(named), **named}}
    objective = make_objective(make_recipe(values), data.spec, fit_preprocess(data)[0])
    objective.start(data)
    assert isinstance(objective, Autoencoder)
    return objective


def all_samples(data: Samples) -> Tensor:
    return data.batch(torch.arange(len(data)))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def step(code: Tensor, features: Tensor | None = None) -> Step:
    """A step of which only the code and the features matter."""
    unused, x = torch.zeros(len(code), 1), code if features is None else features
    return Step(unused, unused, x, code, unused, unused[:, 0], lambda x: x, generator())


# L1


def test_l1_is_the_mean_over_samples_of_the_sum_over_units() -> None:
    code, features = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[4.0], [-1.0]])
    assert SparseL1(weight=0.2).penalty(step(code, features))["l1"].item() == pytest.approx(0.2 * (3 + 0.5) / 2)
    of_features = SparseL1(weight=0.2, units="features").penalty(step(code, features))
    assert of_features["l1"].item() == pytest.approx(0.2 * (4 + 1) / 2)


# KL


def kl(target: float, rates: np.ndarray) -> np.ndarray:
    return np.asarray([entropy([target, 1 - target], [rate, 1 - rate]) for rate in rates])


def slope(target: float, rates: np.ndarray) -> np.ndarray:
    """Derivative of the divergence by the rate."""
    return -target / rates + (1 - target) / (1 - rates)


def test_the_divergence_is_that_of_two_coins() -> None:
    rates = np.asarray([0.01, 0.05, 0.3, 0.99])
    assert divergence(0.05, torch.from_numpy(rates)).numpy() == pytest.approx(kl(0.05, rates))
    assert divergence(0.05, torch.tensor([0.0, 1.0])).isfinite().all()


def rates(code: np.ndarray, bounds: str) -> np.ndarray:
    """(N, D) -> (D,)."""
    if bounds == "any":
        return (code.mean(0) - code.min(0)) / (code.max(0) - code.min(0))
    return code.mean(0) if bounds == "sigmoid" else (code.mean(0) + 1) / 2


@pytest.mark.parametrize("bounds", ["any", "sigmoid", "tanh"])
def test_kl_over_the_batch_and_its_gradient(bounds: str) -> None:
    """The gradient is compared with finite differences from numpy."""
    code = np.random.default_rng(0).random((7, 4))
    units = torch.tensor(code, dtype=torch.float32, requires_grad=True)
    term = SparseKL(target=0.1, weight=2.0, activation_range=bounds).penalty(step(units))["kl"]
    term.backward()

    def value(code: np.ndarray) -> float:
        return 2 * kl(0.1, rates(code, bounds)).sum()

    assert term.item() == pytest.approx(value(code), rel=1e-5)
    written = np.zeros_like(code)
    for place in np.ndindex(*code.shape):
        nudge = np.zeros_like(code)
        nudge[place] = 1e-6
        written[place] = (value(code + nudge) - value(code - nudge)) / 2e-6
    assert units.grad is not None and units.grad.numpy() == pytest.approx(written, rel=1e-3, abs=1e-4)


def test_scale_and_offset_do_not_change_the_rate_of_an_unbounded_unit() -> None:
    code, variant = torch.randn(50, 3, generator=generator()), SparseKL()
    first, moved = (variant.penalty(step(units))["kl"].item() for units in (code, 0.01 * code - 7))
    assert first == pytest.approx(moved, rel=1e-3)


def test_a_constant_unit_or_a_batch_of_one_has_a_finite_penalty() -> None:
    for code in (torch.zeros(1, 3), torch.full((5, 3), 2.0)):
        units = code.clone().requires_grad_()
        term = SparseKL(weight=1.0).penalty(step(units))["kl"]
        term.backward()
        assert term.item() == pytest.approx(3 * kl(0.05, np.asarray([1e-6]))[0], rel=1e-4)
        assert units.grad is not None and not units.grad.any()


def test_kl_over_a_running_average() -> None:
    data = make_samples()
    variant = SparseKL(target=0.1, weight=1.0, average_over="running", momentum=0.8, activation_range="sigmoid")
    objective = make_autoencoder(data, SIGMOID)
    variant.start(objective.encoder, objective.decoder, data)
    average: np.ndarray | None = None
    for seed in range(4):
        batch = torch.rand(5, 9, generator=generator(seed), requires_grad=True)
        mean = batch.detach().numpy().mean(0)
        average = mean if average is None else 0.8 * average + 0.2 * mean
        for _ in range(2):  # a second look at a step changes nothing
            batch.grad = None
            term = variant.penalty(step(batch))["kl"]
            term.backward()
            assert term.item() == pytest.approx(kl(0.1, average).sum(), rel=1e-5)
            expected = np.broadcast_to(slope(0.1, average) / 5, (5, 9))
            assert batch.grad is not None and batch.grad.numpy() == pytest.approx(expected, rel=1e-4)
        variant.after_step()


@pytest.mark.parametrize("bounds", ["sigmoid", "any"])
def test_kl_over_all_training_samples_is_exact(bounds: str) -> None:
    data = make_samples(count=1500)  # in two chunks
    objective = make_autoencoder(
        data,
        SIGMOID,
        sparse_kl={
            "average_over": "all",
            "activation_range": bounds,
            "weight": 1.0,
            "update_interval": 2,
            "target": 0.1,
        },
    )
    objective.train()
    values = []
    for number in range(5):
        logged = objective.loss(Batch(all_samples(data)[:10]), generator())
        codes = objective.encoder(all_samples(data)).detach().double().numpy()
        exact = kl(0.1, rates(codes, bounds)).sum()
        values.append(logged["sparse-kl/kl"].item())
        assert (values[-1] == pytest.approx(exact, rel=1e-4)) == (number % 2 == 0), "anew at every second step"
        assert number % 2 == 0 or values[-1] == values[-2]
        with torch.no_grad():
            for parameter in objective.encoder.parameters():
                parameter.mul_(0.5)
        objective.after_step()
        assert objective.encoder.training


def test_the_gradient_over_all_samples_is_the_slope_there_times_that_of_the_batch() -> None:
    data = make_samples()
    objective = make_autoencoder(
        data, SIGMOID, sparse_kl={"average_over": "all", "activation_range": "sigmoid", "weight": 1.0, "target": 0.1}
    )
    code = torch.rand(4, 9, requires_grad=True)
    objective.variants["sparse-kl"].penalty(step(code))["kl"].backward()
    mean = objective.encoder(all_samples(data)).detach().double().numpy().mean(0)
    expected = np.broadcast_to(slope(0.1, mean) / 4, (4, 9))
    assert code.grad is not None and code.grad.numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("bounds", "within"), [("sigmoid", "0..1"), ("tanh", "-1..1")])
def test_activations_outside_the_range_are_refused(bounds: str, within: str) -> None:
    encoder = {"backbone": "mlp", "dim": 40, "mlp": {"hidden": []}}
    with pytest.raises(
        RecipeError, match=rf"^sparse-kl\.activation_range = '{bounds}': expected code in {within}, found -\d"
    ):
        make_autoencoder(make_samples(), encoder, sparse_kl={"activation_range": bounds})


def trained(objective: Autoencoder, data: Samples, settings: Settings = SETTINGS) -> list[dict[str, float]]:
    state = State.start(objective, settings)
    return list(train(state, Batches(data, settings.batch_size, 0), settings))


def test_training_brings_units_near_the_target() -> None:
    data, target = make_samples(), 0.1
    objective = make_autoencoder(
        data, SIGMOID, sparse_kl={"activation_range": "sigmoid", "weight": 30.0, "target": target}
    )
    trained(objective, data, SETTINGS.model_copy(update={"epochs": 60, "lr": 0.1}))
    with torch.no_grad():
        assert objective.encoder(all_samples(data)).mean(0).numpy() == pytest.approx(np.full(9, target), abs=0.02)


@pytest.mark.parametrize("averaging", ["running", "all"])
def test_a_resumed_run_is_the_uninterrupted_one(averaging: str, tmp_path: Path) -> None:
    data = make_samples()

    def fresh() -> Autoencoder:
        return make_autoencoder(
            data,
            SIGMOID,
            sparse_kl={"average_over": averaging, "update_interval": 2, "activation_range": "sigmoid", "weight": 1.0},
        )

    whole = fresh()
    records = trained(whole, data)
    half = State.start(fresh(), SETTINGS)
    for record in train(half, Batches(data, 16, 0), SETTINGS):
        if record["step"] == 5:  # between two passes over all samples
            break
    half.save(tmp_path)
    tensors = half.objective.state_dict()
    assert sum(v.numel() for name, v in tensors.items() if name.startswith("variants.")) == 10, "no samples are saved"
    resumed = State.start(fresh(), SETTINGS)
    resumed.restore(tmp_path)
    remaining = list(train(resumed, Batches(data, 16, 0), SETTINGS))
    assert remaining == records[5:]
    assert resumed.objective.encoder.digest == whole.encoder.digest


def test_denoising_and_sparse_kl_compose() -> None:
    data = make_samples()
    sparse = {"activation_range": "sigmoid", "weight": 0.5}
    objective = make_autoencoder(
        data, SIGMOID, denoising={"noise": "gaussian", "level": 0.3}, sparse_kl=sparse, sparse_l1={}
    )
    records = trained(objective, data, SETTINGS.model_copy(update={"epochs": 15, "lr": 0.02}))
    for record in records:
        terms = [record[name] for name in ("reconstruction", "sparse-kl/kl", "sparse-l1/l1")]
        assert record["loss"] == pytest.approx(sum(terms), rel=1e-5)
    for name in ("loss", "reconstruction", "sparse-kl/kl"):
        first, last = (np.mean([record[name] for record in part]) for part in (records[:3], records[-3:]))
        assert last < first, name


# k-sparse


def keep_largest(values: np.ndarray, count: int) -> np.ndarray:
    """(N, D) with the `count` largest entries of each row, the rest zero."""
    result = np.zeros_like(values)
    for row, places in enumerate(np.argsort(-values, axis=1)[:, :count]):
        result[row, places] = values[row, places]
    return result


def linear_part(objective: Autoencoder, features: Tensor) -> np.ndarray:
    head = objective.encoder.head
    assert isinstance(head, nn.Linear)
    return nn.functional.linear(features, head.weight, head.bias).detach().numpy()


def test_k_sparse_keeps_the_largest_and_more_of_them_in_embeddings() -> None:
    data = make_samples()
    objective = make_autoencoder(data, {"backbone": "linear", "dim": 20}, k_sparse={"k": 4, "alpha": 2.5})
    x = objective.encoder.preprocess(all_samples(data))
    codes = linear_part(objective, x)
    assert objective.encoder(all_samples(data)).detach().numpy() == pytest.approx(keep_largest(codes, 10), abs=1e-6)
    for progress, count in ((0.0, 20), (0.25, 12), (0.5, 4), (0.9, 4)):
        objective.set_progress(progress)
        code, extras = objective.encoder.head.draw(x, generator())
        assert code.detach().numpy() == pytest.approx(keep_largest(codes, count), abs=1e-6)
        assert not extras
    assert (keep_largest(codes, 12) < 0).any(), "by value, so that with many units negative ones are kept too"


def test_only_units_that_are_kept_learn() -> None:
    data = make_samples()
    objective = make_autoencoder(data, {"backbone": "linear", "dim": 20}, k_sparse={"k": 3, "anneal": False})
    features = all_samples(data)[:1].requires_grad_()
    code, _ = objective.encoder.head.draw(features, generator())
    code.sum().backward()
    grad = objective.encoder.head.weight.grad
    assert torch.equal(grad.abs().sum(1) > 0, code[0] != 0)


def test_a_k_sparse_decoder_is_tied_where_the_backbone_asks_for_it() -> None:
    encoder = {"backbone": "linear", "dim": 20, "linear": {"tied": True}}
    objective = make_autoencoder(make_samples(), encoder, k_sparse={"k": 3})
    assert isinstance(objective.decoder.expand[0], TiedLayer)
    code = torch.randn(2, 20)
    expected = code @ objective.encoder.head.weight + objective.decoder.expand[0].bias
    assert torch.allclose(objective.decoder(code), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["k_sparse", "winner_take_all"])
def test_with_dim_0_the_features_are_the_units(name: str) -> None:
    data = make_samples()
    encoder = {"backbone": "mlp", "dim": 0, "mlp": {"hidden": [12], "activation": "none"}}
    objective = make_autoencoder(data, encoder, **{name: {}})
    features = objective.encoder.backbone(objective.encoder.preprocess(all_samples(data))).detach().numpy()
    expected = keep_largest(features, 3) if name == "k_sparse" else features.clip(min=0)
    assert objective.encoder(all_samples(data)).detach().numpy() == pytest.approx(expected, abs=1e-6)
    assert not list(objective.encoder.head.parameters())
    assert isinstance(objective.decoder.expand, nn.Unflatten)


def test_k_above_the_number_of_units_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"variant 'k-sparse': k = 9: expected at most 8, the number of units$"):
        make_autoencoder(make_samples(), {"backbone": "linear", "dim": 8}, k_sparse={"k": 9})


# Winner-take-all


def winners(values: np.ndarray, count: int) -> np.ndarray:
    """(N, D) with the `count` largest entries of each column, the rest zero."""
    return keep_largest(values.T.copy(), count).T


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 1), (7, 1), (40, 6)])
def test_each_unit_keeps_its_winners_in_the_batch(size: int, count: int) -> None:
    data = make_samples()
    objective = make_autoencoder(data, {"backbone": "linear", "dim": 20}, winner_take_all={"sparsity": 0.15})
    x = objective.encoder.preprocess(all_samples(data)[:size])
    relu = linear_part(objective, x).clip(min=0)
    code, extras = objective.encoder.head.draw(x, generator())
    assert code.detach().numpy() == pytest.approx(winners(relu, count), abs=1e-6)
    assert not extras
    objective.eval()
    assert objective.encoder(all_samples(data)[:size]).detach().numpy() == pytest.approx(relu, abs=1e-6), (
        "no competition"
    )
    code.sum().backward()
    untouched = ~(code > 0).any(0)
    assert not objective.encoder.head.weight.grad[untouched].any()


def test_maps_keep_one_entry_each_and_compete_by_it() -> None:
    data = make_samples((1, 16, 16), 30)
    encoder = {"backbone": "conv", "dim": 0, "conv": {"channels": [3, 5], "activation": "relu", "norm": "none"}}
    objective = make_autoencoder(data, encoder, winner_take_all={"sparsity": 0.1})
    features = objective.encoder.backbone(objective.encoder.preprocess(all_samples(data)))
    code, _ = objective.encoder.head.draw(features, generator())
    maps = features.detach().numpy().reshape(30, 5, 16)
    expected = np.zeros_like(maps)
    for channel in range(5):
        for sample in np.argsort(-maps[:, channel].max(1))[:3]:
            place = maps[sample, channel].argmax()
            expected[sample, channel, place] = maps[sample, channel, place]
    assert (expected > 0).sum() == 15
    assert code.detach().numpy().reshape(30, 5, 16) == pytest.approx(expected, abs=1e-6)
    assert torch.equal(objective.encoder(all_samples(data)), features.relu())
    unlimited = make_autoencoder(data, encoder, winner_take_all={"sparsity": 1.0, "spatial": False})
    assert torch.equal(unlimited.encoder.head.draw(features, generator())[0], features.relu())


@pytest.mark.parametrize("name", ["k_sparse", "winner_take_all"])
def test_sparse_heads_learn(name: str) -> None:
    data = make_samples((1, 8, 8))
    encoder = {"backbone": "conv", "dim": 0, "conv": {"channels": [4, 8]}}
    if name == "k_sparse":
        encoder = {"backbone": "mlp", "dim": 20}
    records = trained(
        make_autoencoder(data, encoder, **{name: {}}), data, SETTINGS.model_copy(update={"epochs": 15, "lr": 0.01})
    )
    assert records[-1]["loss"] < 0.97 * records[0]["loss"]
