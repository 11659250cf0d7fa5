"""The contractive variant: three methods for its penalty, compared with the full Jacobian of each sample from autograd."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.nn.jacobian import random_probes, single_layer, squared_norms, unit_probes, vector_jacobian_products
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch
from aekit.testing import conformance
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

test_conformance = conformance("variant", "contractive")
test_conformance_second_order = conformance("variant", "contractive", {"second_order_weight": 0.1})

ONE_LAYER: dict[str, dict[str, Any]] = {
    "sigmoid": {"dim": 0, "mlp": {"hidden": [6], "activation": "sigmoid"}},
    "tanh": {"dim": 0, "mlp": {"hidden": [6], "activation": "none"}},
    "relu": {"dim": 0, "mlp": {"hidden": [6], "activation": "relu"}},
    "linear": {"dim": 4, "mlp": {"hidden": []}},
}
DEEP: dict[str, Any] = {"dim": 4, "mlp": {"hidden": [9, 7], "activation": "sigmoid"}}


def make_samples(shape: tuple[int, ...] = (5,), count: int = 40) -> Samples:
    data = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    return load_samples(ArraySource(data), np.arange(count), torch.device("cpu"))


def started(encoder: dict[str, Any], data: Samples | None = None, variants: Any = (), **options: Any) -> Autoencoder:
    data = data or make_samples()
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "mlp"} | encoder,
        "objective": {"variants": [*variants, "contractive"], "contractive": {"weight": 1.0} | options},
    }
    objective = make_objective(make_recipe(values), data.spec, fit_preprocess(data)[0])
    assert isinstance(objective, Autoencoder)
    # Far enough from zero for activations to bend.
    with torch.no_grad():
        for parameter in objective.encoder.parameters():
            parameter.mul_(3)
    objective.start(data)
    return objective.train()


def resolved_method(objective: Autoencoder) -> str:
    return objective.variants["contractive"].resolved_method  # type: ignore[return-value]


def term(objective: Autoencoder, raw: Tensor, name: str = "jacobian", seed: int = 0) -> float:
    return objective.loss(Batch(raw), torch.Generator().manual_seed(seed))[f"contractive/{name}"].item()


def written_out(objective: Autoencoder, x: Tensor) -> Tensor:
    """(B, D, N) Jacobians, a sample at a time."""

    def encode(flat: Tensor) -> Tensor:
        return objective.encoder.encode(flat.view(1, *x.shape[1:]))[0]

    return torch.stack([torch.autograd.functional.jacobian(encode, one.flatten()) for one in x])


@pytest.mark.parametrize("name", ONE_LAYER)
@pytest.mark.parametrize("variants", [(), ("denoising",)])
def test_the_closed_form_is_the_norm_of_the_written_out_jacobian(name: str, variants: Any) -> None:
    objective, raw = started(ONE_LAYER[name], variants=variants), make_samples().batch(torch.arange(9))
    if name == "tanh":  # a layer that aekit's own backbones do not offer
        objective.encoder.backbone.stages[0][-1] = nn.Tanh()
        objective.start(make_samples())
    assert resolved_method(objective) == "closed-form"
    expected = written_out(objective, objective.encoder.preprocess(raw)).square().sum((1, 2)).mean().item()
    assert term(objective, raw) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("encoder", [DEEP, ONE_LAYER["sigmoid"]])
def test_exact_is_the_norm_of_the_written_out_jacobian(encoder: dict[str, Any]) -> None:
    objective, raw = started(encoder, method="exact", batch_fraction=1.0), make_samples().batch(torch.arange(9))
    expected = written_out(objective, objective.encoder.preprocess(raw)).square().sum((1, 2)).mean().item()
    assert term(objective, raw) == pytest.approx(expected, rel=1e-5)
    half = started(encoder, method="exact", batch_fraction=0.5)
    half_norm = written_out(half, half.encoder.preprocess(raw[:5])).square().sum((1, 2)).mean().item()
    assert term(half, raw) == pytest.approx(half_norm, rel=1e-5)


@pytest.mark.parametrize("probes", [1, 3])
def test_hutchinson_is_right_on_average_and_varies_as_its_variance_says(probes: int) -> None:
    objective = started(DEEP)
    x = objective.encoder.preprocess(make_samples().batch(torch.arange(1)))
    jacobian = written_out(objective, x)[0].double()
    product = jacobian @ jacobian.T
    # Variance of v'Av for signs v: twice the squares off the diagonal.
    variance = 2 * (product.square().sum() - product.diagonal().square().sum()).item() / probes
    many = x.expand(4000, -1)
    drawn = random_probes(many, 4, probes, torch.Generator().manual_seed(0))
    norms = squared_norms(vector_jacobian_products(objective.encoder.encode, many, drawn)).double()
    assert norms.mean().item() == pytest.approx(product.trace().item(), abs=4 * (variance / 4000) ** 0.5)
    assert norms.var().item() == pytest.approx(variance, rel=0.15)
    assert variance > 0.05 * product.trace().item() ** 2 / probes, "without variation this would test nothing"


def test_the_penalty_by_hutchinson_averages_to_the_exact_one() -> None:
    raw = make_samples().batch(torch.arange(16))
    exact = term(started(DEEP, method="exact"), raw)
    objective = started(DEEP)
    assert resolved_method(objective) == "hutchinson"
    terms = np.array([term(objective, raw, seed=seed) for seed in range(300)])
    assert terms.mean() == pytest.approx(exact, abs=4 * terms.std() / 300**0.5)
    assert terms.std() > 0.02 * exact


@pytest.mark.parametrize(("encoder", "method"), [(ONE_LAYER["sigmoid"], "closed-form"), (DEEP, "exact")])
def test_gradients_are_those_of_the_written_out_norm(encoder: dict[str, Any], method: str) -> None:
    """Central differences in float64, for the weights of the first layer."""
    objective = started(encoder, method=method, batch_fraction=1.0).double()
    x = make_samples().batch(torch.arange(6)).double()
    layer = single_layer(objective.encoder)
    weight = next(p for p in objective.encoder.backbone.parameters() if p.ndim == 2)

    image = (
        layer.image(x) if layer else vector_jacobian_products(objective.encoder.encode, x, unit_probes(x, 4).double())
    )
    squared_norms(image).mean().backward()
    assert weight.grad is not None
    for at in [(0, 0), (2, 3), (5, 4)]:
        values = []
        with torch.no_grad():
            kept = weight[at].item()
            for change in (1e-4, -1e-4):
                weight[at] = kept + change
                values.append(written_out(objective, x).square().sum((1, 2)).mean().item())
            weight[at] = kept
        assert weight.grad[at].item() == pytest.approx((values[0] - values[1]) / 2e-4, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(("encoder", "method"), [(ONE_LAYER["sigmoid"], "closed-form"), (DEEP, "exact")])
def test_second_order_is_the_written_out_change_of_the_jacobian(encoder: dict[str, Any], method: str) -> None:
    objective = started(encoder, method=method, batch_fraction=1.0, second_order_weight=2.0, sigma=0.5, neighbors=3)
    raw = make_samples().batch(torch.arange(9))
    x, generator = objective.encoder.preprocess(raw), torch.Generator().manual_seed(0)
    here, changes = written_out(objective, x), []
    for _ in range(3):
        noisy = x + 0.5 * torch.randn(x.shape, generator=generator)
        changes.append((here - written_out(objective, noisy)).square().sum((1, 2)).mean().item())
    assert term(objective, raw, "change") == pytest.approx(2 * np.mean(changes), rel=1e-4)
    assert np.mean(changes) > 0.01


def test_second_order_by_hutchinson_takes_the_same_directions_at_both_places() -> None:
    raw = make_samples().batch(torch.arange(16))
    changes = {
        method: np.array(
            [term(started(DEEP, method=method, second_order_weight=1.0), raw, "change", seed) for seed in range(60)]
        )
        for method in ("exact", "hutchinson")
    }
    spread = (changes["exact"].var() / 60 + changes["hutchinson"].var() / 60) ** 0.5
    assert changes["hutchinson"].mean() == pytest.approx(changes["exact"].mean(), abs=4 * spread)
    norm = term(started(DEEP, method="exact"), raw)
    assert changes["exact"].mean() < norm, "with other directions, it would be about twice the norm"


def test_with_batch_norm_it_estimates_the_jacobian_of_the_whole_batch_and_leaves_statistics_alone() -> None:
    data = load_samples(
        ArraySource(np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)),
        np.arange(20),
        torch.device("cpu"),
    )
    encoder = {"backbone": "conv", "dim": 3, "conv": {"channels": [4, 4]}}
    objective, raw = started(encoder, data, batch_fraction=1.0), data.batch(torch.arange(6))
    assert resolved_method(objective) == "hutchinson", (
        "not exact, which would take the sum of a batch's derivatives for their squares"
    )
    plain = copy.deepcopy(objective.encoder).train()
    x = plain.preprocess(raw)
    expected = torch.autograd.functional.jacobian(plain.encode, x).square().sum().item() / 6
    terms = np.array([term(objective, raw, seed=seed) for seed in range(300)])
    assert terms.mean() == pytest.approx(expected, abs=4 * terms.std() / 300**0.5)
    once = started(encoder, data, batch_fraction=1.0)
    term(once, raw)
    fresh = started(encoder, data, batch_fraction=1.0).encoder.train()
    fresh.encode(fresh.preprocess(raw))
    for (name, ours), expected_buffer in zip(once.encoder.named_buffers(), fresh.buffers()):
        assert torch.equal(ours, expected_buffer), f"{name}: one pass counts, that of the reconstruction"


def test_half_precision_gives_about_the_same() -> None:
    raw = make_samples((64,)).batch(torch.arange(32))
    for encoder in ({"dim": 0, "mlp": {"hidden": [50], "activation": "sigmoid"}}, {"dim": 8}):
        objective = started(encoder, make_samples((64,)))
        exactly = term(objective, raw)
        with torch.autocast("cpu", torch.bfloat16):
            assert term(objective, raw) == pytest.approx(exactly, rel=0.02)


def test_the_method_follows_from_the_encoder_and_is_noted() -> None:
    notes = {name: started(encoder).variants["contractive"] for name, encoder in {**ONE_LAYER, "deep": DEEP}.items()}
    assert notes["sigmoid"].note == "Jacobian: closed-form, for a single layer"
    assert notes["deep"].note == "Jacobian: hutchinson, for several layers and a code of 4 dimensions"
    narrow = started({**DEEP, "dim": 2}).variants["contractive"]
    assert narrow.note == "Jacobian: exact, for several layers and a code of 2 dimensions"
    gelu = started({"dim": 0, "mlp": {"hidden": [6], "activation": "gelu"}})
    assert resolved_method(gelu) == "hutchinson", "gelu's slope does not follow from its value"
    assert notes["sigmoid"].deterministic and narrow.deterministic and not notes["deep"].deterministic
    assert not started(ONE_LAYER["sigmoid"], second_order_weight=0.1).variants["contractive"].deterministic
    assert started(ONE_LAYER["sigmoid"]).randomness() == []


def test_a_network_with_its_own_forward_is_not_taken_for_its_layers() -> None:
    class Residual(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return x + super().forward(x)

    objective = started({"dim": 0, "mlp": {"hidden": [5], "activation": "sigmoid"}})
    encoder = objective.encoder
    assert single_layer(encoder) is not None
    encoder.backbone.stages[0] = Residual(*encoder.backbone.stages[0].children())
    assert single_layer(encoder) is None


def test_methods_that_do_not_apply_give_one_line_errors() -> None:
    with pytest.raises(RecipeError, match=r"contractive\.method = 'closed-form': needs an encoder of one linear layer"):
        started(DEEP, method="closed-form")
    images = make_samples((1, 8, 8))
    for options in ({"method": "exact"}, {"second_order_weight": 0.5}):
        with pytest.raises(
            RecipeError,
            match=r"contractive\.(method = 'exact'|second_order_weight = 0\.5): needs an encoder without batch norm",
        ):
            started({"backbone": "conv", "dim": 3}, images, **options)


def test_it_contracts() -> None:
    """After the same training, the Jacobian is smaller than without it, and the reconstruction is still good."""
    import aekit

    table = np.random.default_rng(0).normal(size=(200, 3)) @ np.random.default_rng(1).normal(size=(3, 10))
    norms, explained = {}, {}
    for name in ("plain", "contractive"):
        encoder = aekit.fit(
            table, variants=[name], backbone="mlp", dim=6, epochs=20, overrides={"train.precision": "fp32"}
        )
        x = encoder.preprocess(torch.from_numpy(table).double())
        norms[name] = squared_norms(vector_jacobian_products(encoder.encode, x, unit_probes(x, 6))).mean().item()
        explained[name] = encoder.record["metrics"]["explained"]
    assert norms["contractive"] < 0.6 * norms["plain"]
    assert explained["contractive"] > 0.8
