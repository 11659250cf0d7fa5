"""Variants that shape the distribution of codes: codebooks and priors, compared with direct implementations."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.variants.adversarial import Reversed
from aekit_plugins.variants.wae_mmd import discrepancy
from torch import Tensor, nn

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.nn.priors import NormalHead
from aekit.nn.quantizer import VectorQuantizer
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch
from aekit.testing import conformance
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

test_vq = conformance("variant", "vq")
test_wae_mmd = conformance("variant", "wae-mmd")
test_adversarial = conformance("variant", "adversarial")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def started(name: str, dim: int, **options: Any) -> tuple[Autoencoder, Tensor]:
    data = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    samples = load_samples(ArraySource(data), np.arange(64), torch.device("cpu"))
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "mlp", "dim": dim},
        "objective": {"variants": [name], name: options},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder)
    objective.start(samples)
    return objective.train(), samples.batch(torch.arange(64))


def quantizer(features: int = 7, dim: int = 6, groups: int = 3, entries: int = 10) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(features, dim, groups, entries)


def test_each_part_becomes_its_nearest_entry() -> None:
    head, features = quantizer(), torch.randn(50, 7)
    whole = head.linear(features).detach().numpy()
    book, expected = head.codebook.numpy(), np.zeros((50, 6), np.float32)
    for row in range(50):
        for part in range(3):
            group = whole[row, 2 * part : 2 * part + 2]
            nearest = min(range(10), key=lambda k: float(np.sum((book[part, k] - group) ** 2)))
            expected[row, 2 * part : 2 * part + 2] = book[part, nearest]
    assert np.array_equal(head(features).detach().numpy(), expected)
    code, extras = head.draw(features, generator())
    assert torch.equal(code, head(features)) and np.allclose(extras["unquantized"].detach(), whole)
    with torch.autocast("cpu", torch.bfloat16):
        _, halved = head.draw(features, generator())
    again, _ = head.quantize(halved["unquantized"])
    assert torch.equal(head._lookup(halved["indices"]), again), "the search itself is not in half precision"


def test_autocast_rounds_no_code_to_another_entry() -> None:
    head = quantizer()
    head.codebook.copy_(1 + 0.05 * torch.randn_like(head.codebook))  # products of which bfloat16 cannot tell apart
    whole = 1 + 0.05 * torch.randn(50, 6)
    exact = torch.cat(
        [torch.cdist(x, entries).argmin(1)[None] for x, entries in zip(head._split(whole), head.codebook)]
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.quantize(whole)[1], exact)


def test_the_gradient_passes_straight_through_the_codebook() -> None:
    head = quantizer()
    whole, pull = torch.randn(5, 6, requires_grad=True), torch.randn(5, 6)
    code, _ = head.quantize(whole)
    (code * pull).sum().backward()
    assert torch.equal(whole.grad, pull)
    assert not torch.equal(code, whole)


def test_the_codebook_follows_the_smoothed_means_of_its_codes() -> None:
    """N <- decay N + (1 - decay) n, m <- decay m + (1 - decay) sum of codes, entry = m / N, as the paper has it."""
    head, source = quantizer(entries=4), np.random.default_rng(0)
    head.use.fill_(2.0)
    counts = np.full((3, 4), 2.0)
    means = head.codebook.numpy().astype(float) * counts[..., None]
    for _ in range(5):
        whole = torch.from_numpy(source.normal(size=(30, 6)).astype(np.float32))
        _, chosen = head.quantize(whole)
        for part in range(3):
            for entry in range(4):
                group = whole.numpy()[chosen[part].numpy() == entry, 2 * part : 2 * part + 2]
                counts[part, entry] = 0.9 * counts[part, entry] + 0.1 * len(group)
                means[part, entry] = 0.9 * means[part, entry] + 0.1 * group.sum(0)
        head.ema_update(whole, chosen, torch.arange(30), decay=0.9, revive=0.0)
        assert head.use.numpy() == pytest.approx(counts, rel=1e-5)
        assert head.codebook.numpy() == pytest.approx(means / counts[..., None], rel=1e-4, abs=1e-5)


def test_unused_entries_go_to_codes_of_the_batch_in_the_given_order() -> None:
    head = quantizer(groups=1, dim=2, entries=5)
    head.codebook.copy_(torch.tensor([[0.0, 0], [90, 90], [1, 1], [91, 91], [92, 92]])[None])
    head.use.copy_(torch.tensor([[10.0, 0.1, 10, 0.1, 0.1]]))
    whole = torch.tensor([[0.1, 0.0], [1.0, 1.2]])
    _, chosen = head.quantize(whole)
    head.ema_update(whole, chosen, torch.tensor([1, 0]), decay=0.99, revive=0.05)
    assert torch.equal(head.codebook[0, 1], whole[1]) and torch.equal(head.codebook[0, 3], whole[0])
    assert head.codebook[0, 4].tolist() == pytest.approx([92, 92]), "no more entries move than there are codes"
    assert head.use[0, 1].item() == pytest.approx((0.99 * 20.3 + 0.01 * 2) / 5), (
        "those that move count as used as usual"
    )
    head.use.copy_(torch.tensor([[10.0, 1, 10, 1, 1]]))
    before = head.codebook.clone()
    head.ema_update(whole, torch.tensor([[0, 2]]), torch.tensor([1, 0]), decay=0.99, revive=0.05)
    assert head.codebook[0, [1, 3, 4]].numpy() == pytest.approx(before[0, [1, 3, 4]].numpy()), "used enough to stay"


def test_the_first_step_puts_the_codebook_onto_the_codes() -> None:
    objective, raw = started("vq", 4, entries=8)
    head = objective.encoder.head
    assert isinstance(head, VectorQuantizer)
    objective.loss(Batch(raw), generator())
    before = head.codebook.clone()
    objective.after_step()
    assert not torch.equal(before, head.codebook)
    whole = head.linear(objective.encoder.backbone(objective.encoder.preprocess(raw))).detach()
    reach = torch.cdist(head.codebook[0], whole).min(1).values
    assert reach.median() < 1e-5, "entries that were not used lie on codes"
    after = head.codebook.clone()
    objective.after_step()
    assert torch.equal(after, head.codebook), "a batch counts once"


def test_commitment_is_the_distance_of_code_and_entries() -> None:
    objective, raw = started("vq", 4, commitment=0.5)
    encoder = objective.encoder
    logged = objective.loss(Batch(raw), generator())
    features = encoder.backbone(encoder.preprocess(raw))
    expected = 0.5 * (encoder.head.linear(features) - encoder.head(features)).square().sum(1).mean()
    assert logged["vq/commitment"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_commitment_pulls_the_code_to_its_entries_and_the_reconstruction_pulls_as_through_them() -> None:
    objective, raw = started("vq", 4, commitment=0.5)
    encoder = objective.encoder
    head = encoder.head
    assert isinstance(head, VectorQuantizer)
    objective.loss(Batch(raw), generator())["loss"].backward()
    x = encoder.preprocess(raw)
    whole = head.linear(encoder.backbone(x)).detach().requires_grad_()
    entries = head(encoder.backbone(x)).detach().requires_grad_()
    (pull,) = torch.autograd.grad(objective.likelihood(objective.decoder(entries), x).mean(), entries)
    expected = pull + 0.5 * 2 * (whole - entries) / 64
    assert torch.allclose(head.linear.bias.grad, expected.sum(0), rtol=1e-4, atol=1e-6)
    assert (0.5 * 2 * (whole - entries) / 64).sum(0).abs().max() > 1e-3, "commitment has a part in it"


def test_codes_are_drawn_as_often_as_they_are_used() -> None:
    head = quantizer(groups=2, dim=2, entries=3)
    head.use.copy_(torch.tensor([[1.0, 3, 0], [0, 0, 5]]))
    drawn = head.sample(4000, generator())
    assert drawn.shape == (4000, 2)
    shares = [(drawn[:, 0] == value).float().mean().item() for value in head.codebook[0, :, 0]]
    assert shares == pytest.approx([0.25, 0.75, 0], abs=0.03)
    assert (drawn[:, 1] == head.codebook[1, 2, 0]).all()


@pytest.mark.parametrize(("dim", "groups"), [(16, 4), (64, 16), (10, 2), (7, 1), (2, 1), (9, 1), (25, 5)])
def test_groups_have_at_least_four_dimensions(dim: int, groups: int) -> None:
    head = started("vq", dim)[0].encoder.head
    assert isinstance(head, VectorQuantizer) and len(head.codebook) == groups


def test_groups_that_do_not_divide_the_code_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"vq\.groups = 3: expected a divisor of encoder\.dim = 10"):
        started("vq", 10, groups=3)


def test_a_codebook_is_used_throughout_and_comes_back_with_the_encoder(tmp_path) -> None:
    table = np.random.default_rng(0).normal(size=(400, 3)) @ np.random.default_rng(1).normal(size=(3, 12))
    settings = {"objective.vq.entries": 32, "train.precision": "fp32", "train.batch_size": 40}
    encoder = aekit.fit(
        table, variants=["vq"], backbone="mlp", dim=8, epochs=30, overrides=settings, out=tmp_path / "run"
    )
    head = encoder.head
    assert isinstance(head, VectorQuantizer)
    share = head.use / head.use.sum(1, keepdim=True)
    perplexity = (-(share * share.clamp(min=1e-12).log()).sum(1)).exp()
    assert perplexity.min() > 10, f"of 32 entries, about so many are used: {perplexity.tolist()}"
    assert encoder.record["metrics"]["explained"] > 0.8
    again = load(tmp_path / "run").head
    assert isinstance(again, VectorQuantizer) and torch.equal(again.use, head.use)


def written_out_discrepancy(x: np.ndarray, y: np.ndarray, scale: float) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return sum(c * scale / (c * scale + float(((a - b) ** 2).sum())) for c in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    n, m = len(x), len(y)
    total = 0.0
    for i in range(n):
        for j in range(n):
            total += kernel(x[i], x[j]) / (n * (n - 1)) if i != j else 0
    for i in range(m):
        for j in range(m):
            total += kernel(y[i], y[j]) / (m * (m - 1)) if i != j else 0
    for i in range(n):
        for j in range(m):
            total -= 2 * kernel(x[i], y[j]) / (n * m)
    return total


def test_the_discrepancy_is_the_double_loop() -> None:
    source = np.random.default_rng(0)
    x, y = source.normal(size=(9, 3)), 1 + 2 * source.normal(size=(7, 3))
    estimate = discrepancy(torch.from_numpy(x), torch.from_numpy(y), 5.0).item()
    assert estimate == pytest.approx(written_out_discrepancy(x, y, 5.0))


def test_the_penalty_compares_the_codes_with_draws_of_the_prior() -> None:
    objective, raw = started("wae-mmd", 3, weight=2.0, sigma=1.5)
    logged = objective.loss(Batch(raw), generator(4))
    codes = objective.encoder.encode(objective.encoder.preprocess(raw)).detach().numpy()
    drawn = 1.5 * torch.randn(64, 3, generator=generator(4)).numpy()
    expected = 2 * written_out_discrepancy(codes.astype(float), drawn.astype(float), 2 * 3 * 1.5**2)
    assert logged["wae-mmd/mmd"].item() == pytest.approx(expected, rel=1e-4)


def test_the_discrepancy_is_not_biased() -> None:
    """Zero on average for two sets of draws from one distribution; with the diagonal it would not be."""
    estimates = np.array(
        [discrepancy(*torch.randn(2, 8, 2, generator=generator(seed)), 4.0).item() for seed in range(400)]
    )
    assert estimates.mean() == pytest.approx(0, abs=4 * estimates.std() / 20)
    assert estimates.std() < 0.5 < 2 * 7 / 8, "the bias that the diagonals would add"


def test_draws_of_the_prior_have_its_deviation() -> None:
    drawn = NormalHead(5, 3, sigma=2.0).sample(4000, generator())
    assert drawn.std(0).tolist() == pytest.approx([2, 2, 2], rel=0.05)
    assert torch.equal(drawn, NormalHead(9, 3, sigma=2.0).sample(4000, generator()))


def test_the_reversed_gradient() -> None:
    x = torch.randn(4, 2, requires_grad=True)
    y = Reversed.apply(x, 3.0)
    (y * torch.arange(2)).sum().backward()
    assert torch.equal(y, x)
    assert torch.equal(x.grad, torch.tensor([0.0, -3.0]).expand(4, 2))


def test_the_discriminator_is_trained_one_way_and_the_encoder_the_other() -> None:
    """Compared with the two losses, each differentiated separately."""
    objective, raw = started("adversarial", 3, weight=2.0, gradient_penalty=0.4)
    variant, encoder = objective.variants["adversarial"], objective.encoder
    net = variant.discriminator
    assert isinstance(net, nn.Module)
    terms = objective.loss(Batch(raw), generator(4))
    terms["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in [*net.named_parameters(), *encoder.named_parameters()]}

    code = encoder.encode(encoder.preprocess(raw))
    drawn = torch.randn(64, 3, generator=generator(4))

    def cross_entropy(code: Tensor) -> Tensor:
        return (-net(code).sigmoid().log().mean() - (1 - net(drawn).sigmoid()).log().mean()) / 2

    def squared_slope(row: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(net(row[None]).sum(), row, create_graph=True)
        return slope.square().sum()

    rows = torch.cat([code.detach(), drawn]).requires_grad_()
    smoothness = 0.4 * torch.stack([squared_slope(row) for row in rows]).mean()
    assert terms["adversarial/discrimination"].item() == pytest.approx(cross_entropy(code).item(), rel=1e-5)
    assert terms["adversarial/smoothness"].item() == pytest.approx(smoothness.item(), rel=1e-5)
    discriminator_loss = cross_entropy(code.detach()) + smoothness
    for (name, _), expected in zip(
        net.named_parameters(), torch.autograd.grad(discriminator_loss, [*net.parameters()], allow_unused=True)
    ):
        assert torch.allclose(gradients[name], expected, atol=1e-6), name
    restored = objective.likelihood(objective.decoder(code), encoder.preprocess(raw)).mean()
    opposed = restored - 2 * cross_entropy(code)
    for (name, _), expected in zip(encoder.named_parameters(), torch.autograd.grad(opposed, [*encoder.parameters()])):
        assert torch.allclose(gradients[name], expected, rtol=1e-4, atol=1e-5), name


@cache
def planted() -> np.ndarray:
    """(400, 12) float32 from two clusters in a plane: codes of a plain autoencoder form two clusters, too."""
    source = np.random.default_rng(0)
    plane = np.where(source.random((400, 1)) < 0.5, -1, 1) * np.array([[3.0, 0]]) + 0.3 * source.normal(size=(400, 2))
    mixed = np.tanh(0.5 * plane @ source.normal(size=(2, 12)))
    return (mixed + 0.05 * source.normal(size=(400, 12))).astype(np.float32)


@cache
def fitted(name: str, seed: int) -> Encoder:
    settings = {"train.precision": "fp32", "train.batch_size": 100}
    return aekit.fit(planted(), variants=[name], backbone="mlp", dim=2, epochs=60, seed=seed, overrides=settings)


def distance_to_prior(encoder: Encoder) -> float:
    with torch.no_grad():
        codes = encoder(torch.from_numpy(planted()))
    return discrepancy(codes, torch.randn(400, 2, generator=generator(9)), 4.0).item()


@pytest.mark.parametrize(("name", "at_most"), [("wae-mmd", 0.3), ("adversarial", 0.5)])
def test_codes_come_closer_to_the_prior_and_the_reconstruction_stays(name: str, at_most: float) -> None:
    for seed in (0, 1):
        plain, shaped = fitted("plain", seed), fitted(name, seed)
        assert distance_to_prior(shaped) < at_most * distance_to_prior(plain)
        lost = plain.record["metrics"]["explained"] - shaped.record["metrics"]["explained"]
        assert lost < 0.03 and math.isfinite(lost)
