"""Variational autoencoders: closed forms, numerical integrals and written-out bounds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.variants.beta_tc import BetaTC, log_densities, mixture
from aekit_plugins.variants.dip import DIP
from aekit_plugins.variants.vae import VAE
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import DataError, RecipeError
from aekit.nn.gaussian import MAX_LOGVAR, GaussianHead, kl_to_standard_normal, normal_log_density, reparameterize
from aekit.objectives import likelihood
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch, Step
from aekit.objectives.likelihood import log_likelihood
from aekit.objectives.losses import Gaussian
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

HEADS = ["vae", "iwae", "beta-tc", "dip"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_samples(table: np.ndarray) -> Samples:
    return load_samples(ArraySource(table), np.arange(len(table)), torch.device("cpu"))


def table(count: int = 12, width: int = 6) -> np.ndarray:
    """In [0, 1]."""
    return np.random.default_rng(0).random((count, width)).astype(np.float32)


def objective(variants: list[str], data: np.ndarray | None = None, *, dim: int = 3, **settings: Any) -> Autoencoder:
    """An autoencoder over a linear encoder; `settings` are of the section ``[objective]``."""
    samples = make_samples(table() if data is None else data)
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "mlp", "dim": dim, "mlp": {"hidden": []}, "scaling": "none"},
        "objective": {"variants": variants, **settings},
    }
    autoencoder = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples, "none")[0])
    autoencoder.start(samples)
    assert isinstance(autoencoder, Autoencoder)
    return autoencoder


def raw(count: int = 12) -> Tensor:
    return torch.from_numpy(table(count))


def posteriors(count: int = 5, dim: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    mean = 1.5 * torch.randn(count, dim, generator=seeded(seed), dtype=torch.float64)
    return mean, torch.randn(count, dim, generator=seeded(seed + 1), dtype=torch.float64) - 1


def step_of(mean: Tensor, logvar: Tensor, code: Tensor | None = None) -> Step:
    """A step of which only the code and its posterior matter."""
    none = mean.new_zeros(len(mean))
    code = mean if code is None else code
    return Step(none, none, none, code, none, none, lambda x: x, seeded(), {"mean": mean, "logvar": logvar})


def test_divergence_against_torch_and_against_an_integral() -> None:
    mean, logvar = posteriors(6, 4)
    written = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0))
    assert kl_to_standard_normal(mean, logvar).numpy() == pytest.approx(written.numpy())
    x = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    density = normal_log_density(x, mean[0, 0], logvar[0, 0])
    integral = torch.trapezoid(density.exp() * (density - normal_log_density(x)), x)
    assert kl_to_standard_normal(mean, logvar)[0, 0].item() == pytest.approx(integral.item(), rel=1e-6)
    assert normal_log_density(x, mean[0, 0], logvar[0, 0]).exp().mul(60 / 200_001).sum().item() == pytest.approx(
        1, abs=1e-4
    )


def test_the_head_draws_from_its_posterior_and_embeds_as_its_mean() -> None:
    head = GaussianHead(4, 2, draws=20_000)
    features = torch.randn(3, 4, generator=seeded())
    code, extras = head.draw(features, seeded(1))
    assert code.shape == (60_000, 2) and torch.equal(extras["mean"], head(features))
    drawn = code.view(20_000, 3, 2)
    assert drawn.mean(0).detach().numpy() == pytest.approx(head(features).detach().numpy(), abs=0.05)
    assert drawn.var(0).log().detach().numpy() == pytest.approx(extras["logvar"].detach().numpy(), abs=0.05)
    written = kl_divergence(Normal(extras["mean"], (extras["logvar"] / 2).exp()), Normal(0.0, 1.0)).sum(1)
    assert head.divergence(features).tolist() == pytest.approx(written.tolist(), rel=1e-5)


def test_the_prior_is_a_standard_normal_distribution() -> None:
    codes = GaussianHead(4, 3).sample(20_000, seeded())
    assert codes.shape == (20_000, 3)
    assert codes.mean(0).tolist() == pytest.approx([0, 0, 0], abs=0.03)
    assert codes.std(0).tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_a_posterior_that_runs_away_stays_finite_and_can_come_back() -> None:
    head = GaussianHead(1, 2)
    with torch.no_grad():
        head.logvar.weight.copy_(torch.tensor([[30.0], [-30.0]]))
    code, extras = head.draw(torch.ones(1, 1), seeded())
    assert extras["logvar"].abs().max() <= MAX_LOGVAR
    (code.square().sum() + kl_to_standard_normal(**extras).sum()).backward()
    assert head.logvar.weight.grad is not None
    assert head.logvar.weight.grad.isfinite().all() and head.logvar.weight.grad.abs().min() > 0


def test_posteriors_are_computed_in_single_precision_under_autocast() -> None:
    head, features = GaussianHead(4, 2), torch.randn(3, 4, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        code, extras = head.draw(features, seeded())
    assert {code.dtype, *(value.dtype for value in extras.values())} == {torch.float32}


def test_the_loss_of_a_vae_is_the_negative_evidence_bound() -> None:
    autoencoder = objective(["vae"], loss="bce", vae={"beta": 0.7})
    terms = autoencoder.loss(Batch(raw()), seeded(4))
    head, x = autoencoder.encoder.head, raw()
    assert isinstance(head, GaussianHead)
    mean, logvar = head.posterior(x)
    code = mean + (logvar / 2).exp() * torch.randn(1, 12, 3, generator=seeded(4))[0]
    p = torch.sigmoid(autoencoder.decoder(code))
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    divergence = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert set(terms) == {"loss", "reconstruction", "vae/kl"}
    assert terms["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-5)
    assert terms["vae/kl"].item() == pytest.approx(0.7 * divergence.item(), rel=1e-5)
    assert terms["loss"].item() == pytest.approx((reconstruction + 0.7 * divergence).item(), rel=1e-5)


def test_free_bits_are_a_floor_for_each_dimension_averaged_over_the_batch() -> None:
    mean = torch.tensor([[0.1, 2.0, 0.0], [0.0, -1.0, 1.4]], requires_grad=True)
    logvar = torch.tensor([[0.0, -1.0, 0.1], [0.1, 0.5, 0.0]], requires_grad=True)
    variant = VAE(free_bits=0.4, beta=2.0)
    penalty = variant.penalty(step_of(mean, logvar))["kl"]
    of_dimensions = kl_to_standard_normal(mean, logvar).detach().numpy().mean(0)
    assert (of_dimensions > 0.4).tolist() == [False, True, True]
    assert penalty.item() == pytest.approx(2 * (0.4 + of_dimensions[1] + of_dimensions[2]))
    penalty.backward()
    assert mean.grad is not None and logvar.grad is not None
    assert not mean.grad[:, 0].any() and not logvar.grad[:, 0].any() and mean.grad[:, 1:].any()


def test_beta_rises_over_its_fraction_of_the_training() -> None:
    autoencoder = objective(["vae"], vae={"beta": 3.0, "anneal": 0.4})
    plain = objective(["vae"], vae={"beta": 3.0})
    whole = plain.loss(Batch(raw()), seeded())["vae/kl"].item()
    weights = []
    for progress in (0.0, 0.1, 0.2, 0.4, 0.9):
        autoencoder.set_progress(progress)
        plain.set_progress(progress)
        weights.append(autoencoder.loss(Batch(raw()), seeded())["vae/kl"].item() / whole)
        assert plain.loss(Batch(raw()), seeded())["vae/kl"].item() == pytest.approx(whole)
    assert weights == pytest.approx([0, 0.25, 0.5, 1, 1])


def test_one_importance_sample_gives_the_bound_of_a_vae_with_its_divergence_from_one_draw() -> None:
    autoencoder = objective(["iwae"], loss="bce", iwae={"draws": 1})
    vae = objective(["vae"], loss="bce")
    vae.load_state_dict(autoencoder.state_dict())
    head = autoencoder.encoder.head
    assert isinstance(head, GaussianHead)
    mean, logvar = head.posterior(raw())
    code = reparameterize(mean, logvar, 1, seeded(2))
    divergence = Normal(mean, (logvar / 2).exp()).log_prob(code) - Normal(0.0, 1.0).log_prob(code)
    expected = vae.loss(Batch(raw()), seeded(2))["reconstruction"] + divergence.sum(1).mean()
    terms = autoencoder.loss(Batch(raw()), seeded(2))
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(terms) == {"loss", "reconstruction"}


def test_weights_of_several_draws_written_out() -> None:
    autoencoder = objective(["iwae"], loss="bce", iwae={"draws": 4})
    head, x = autoencoder.encoder.head, raw().double()
    assert isinstance(head, GaussianHead)
    mean, logvar = head.posterior(raw())
    noise = torch.randn(4, 12, 3, generator=seeded(2))
    bounds = np.empty(12)
    for row in range(12):
        weights = []
        for draw in range(4):
            posterior = Normal(mean[row].double(), (logvar[row] / 2).exp().double())
            z = posterior.mean + posterior.stddev * noise[draw, row]
            p = torch.sigmoid(autoencoder.decoder(z.float()[None])[0].double())
            likely = (x[row] * p.log() + (1 - x[row]) * (1 - p).log()).sum()
            weights.append((likely + Normal(0.0, 1.0).log_prob(z).sum() - posterior.log_prob(z).sum()).exp().item())
        bounds[row] = np.log(np.mean(weights))
    assert autoencoder.loss(Batch(raw()), seeded(2))["loss"].item() == pytest.approx(-bounds.mean(), rel=1e-5)


def test_more_draws_give_a_tighter_bound_below_the_likelihood() -> None:
    first = objective(["iwae"], loss="bce", iwae={"draws": 1})
    # A decoder that depends strongly on its code, so that there is something to gain.
    with torch.no_grad():
        next(first.decoder.parameters()).mul_(6)
    bounds = []
    for draws in (1, 5, 50):
        autoencoder = objective(["iwae"], loss="bce", iwae={"draws": draws})
        autoencoder.load_state_dict(first.state_dict())
        with torch.no_grad():
            bounds.append(-np.mean([autoencoder.loss(Batch(raw()), seeded(s))["loss"].item() for s in range(100)]))
    limit = log_likelihood(first, raw(), seeded(), draws=5000).mean().item()
    assert bounds[0] + 0.05 < bounds[1] and bounds[1] + 0.02 < bounds[2] < limit + 0.01
    assert limit - bounds[2] < 0.2 * (limit - bounds[0])


@pytest.mark.parametrize("estimate", ["weighted", "stratified"])
def test_the_parts_of_the_divergence_sum_to_it(estimate: Any) -> None:
    mean, logvar = posteriors()
    variant = BetaTC(alpha=1, beta=1, gamma=1, estimate=estimate)
    variant.count = 40
    sums = []
    for seed in range(2000):
        code = reparameterize(mean, logvar, 1, seeded(seed))
        sums.append(sum(variant.penalty(step_of(mean, logvar, code)).values()).item())  # type: ignore[union-attr]
        single = normal_log_density(code, mean, logvar) - normal_log_density(code)
        assert sums[-1] == pytest.approx(single.sum(1).mean().item(), abs=1e-6), (
            "whatever the estimate of the densities"
        )
    expected = kl_to_standard_normal(mean, logvar).sum(1).mean().item()
    assert np.mean(sums) == pytest.approx(expected, abs=4 * np.std(sums) / 2000**0.5)


def test_parts_of_a_whole_data_set_against_integrals() -> None:
    """With all samples in the batch, the densities are exact: their parts must agree with integrals over a grid."""
    mean, logvar = posteriors()
    x = torch.linspace(-9, 9, 601, dtype=torch.float64)
    cell = (x[1] - x[0]).item()
    first, second = (normal_log_density(x[:, None], mean[:, d], logvar[:, d]).exp() for d in (0, 1))  # (601, 5)
    joint = (first[:, None] * second[None]).mean(2)
    apart = first.mean(1)[:, None] * second.mean(1)[None]
    prior = normal_log_density(x).exp()
    correlation = (joint * (joint / apart).log()).sum().item() * cell**2
    dimensions = sum((q * (q / prior).log()).sum().item() * cell for q in (first.mean(1), second.mean(1)))
    divergence = kl_to_standard_normal(mean, logvar).sum(1).mean().item()

    weighted, stratified = BetaTC(alpha=2, beta=3, gamma=5), BetaTC(alpha=2, beta=3, gamma=5, estimate="stratified")
    stratified.count = 5
    estimates = []
    for seed in range(4000):
        step = step_of(mean, logvar, reparameterize(mean, logvar, 1, seeded(seed)))
        estimates.append([value.item() for value in weighted.penalty(step).values()])
        if seed < 20:
            assert [v.item() for v in stratified.penalty(step).values()] == pytest.approx(estimates[-1], rel=1e-5)
    errors = np.std(estimates, 0) / len(estimates) ** 0.5
    assert errors.max() < 0.1 and 3 * correlation > 20 * errors[1], "the test would not be able to fail"
    expected = [2 * (divergence - correlation - dimensions), 3 * correlation, 5 * dimensions]
    assert (np.abs(np.mean(estimates, 0) - expected) < 4 * errors).all(), (np.mean(estimates, 0), expected)


def test_stratified_densities_are_right_on_average_over_batches() -> None:
    mean, logvar = posteriors(6, 2)
    code = reparameterize(mean, logvar, 1, seeded())
    _, exact, of_dimensions = log_densities(code, mean, logvar, mixture(6, 6))
    assert exact.exp().tolist() == pytest.approx(
        normal_log_density(code[:, None], mean, logvar).sum(2).exp().mean(1).tolist()
    )
    joint, single = [], []
    for others in itertools.combinations(range(1, 6), 2):
        batch = torch.tensor([0, *others])
        _, all_of_it, dimensions = log_densities(code[batch], mean[batch], logvar[batch], mixture(3, 6).double())
        joint.append(all_of_it[0].exp().item())
        single.append(dimensions[0].exp())
    assert np.mean(joint) == pytest.approx(exact[0].exp().item(), rel=1e-5)
    assert torch.stack(single).mean(0).tolist() == pytest.approx(of_dimensions[0].exp().tolist(), rel=1e-5)


def test_the_number_of_all_samples_comes_from_the_data() -> None:
    autoencoder = objective(["beta-tc"], table(40), **{"beta-tc": {"estimate": "stratified"}})
    variant = autoencoder.variants["beta-tc"]
    assert isinstance(variant, BetaTC) and variant.count == 40
    assert mixture(4, 40).sum(1).tolist() == pytest.approx([1] * 4)
    assert mixture(4, 40).diagonal().tolist() == pytest.approx([1 / 40] * 4)


@pytest.mark.parametrize(("kind", "diagonal"), [("i", 30.0), ("ii", 3.0)])
def test_dip_penalizes_covariances_and_variances(kind: Any, diagonal: float) -> None:
    mean, logvar = posteriors(9, 3)
    covariance = np.cov(mean.numpy(), rowvar=False, bias=True)
    if kind == "ii":
        covariance += np.diag(np.exp(logvar.numpy()).mean(0))
    apart = covariance - np.diag(np.diag(covariance))
    terms = DIP(kind=kind, off_diagonal=3.0).penalty(step_of(mean, logvar))
    assert terms["covariance"].item() == pytest.approx(3 * (apart**2).sum())
    assert terms["variance"].item() == pytest.approx(diagonal * ((np.diag(covariance) - 1) ** 2).sum())
    assert terms["kl"].item() == pytest.approx(kl_to_standard_normal(mean, logvar).sum(1).mean().item())
    other = DIP(kind=kind, off_diagonal=3.0, diagonal=0.0).penalty(step_of(mean, logvar))
    assert other["variance"].item() == 0
    with torch.autocast("cpu", torch.bfloat16):
        single = DIP(kind=kind, off_diagonal=3.0).penalty(step_of(mean.float(), logvar.float()))
    assert single["covariance"].item() == pytest.approx(terms["covariance"].item(), rel=1e-4)


@pytest.mark.parametrize("other", HEADS[1:])
def test_two_heads_are_refused_with_the_reason(other: str) -> None:
    with pytest.raises(RecipeError, match=f"vae and {other} each define the encoder's head; at most one can"):
        objective(["vae", other])


@pytest.mark.parametrize("name", HEADS)
def test_each_composes_with_corruption_and_takes_features_as_codes(name: str) -> None:
    autoencoder = objective(["denoising", name], dim=0)
    assert autoencoder.encoder.dim == 6 and autoencoder.encoder(raw()).shape == (12, 6)
    assert autoencoder.randomness(), "a loss that draws is not for second-order optimizers"
    terms = autoencoder.loss(Batch(raw()), seeded())
    assert all(value.isfinite() for value in terms.values())
    again, other = (autoencoder.loss(Batch(raw()), seeded(s))["loss"] for s in (0, 1))
    assert again == terms["loss"] != other


def principal(count: int = 6) -> tuple[Autoencoder, Tensor, Tensor]:
    """A linear model with known p(x), with its exact posterior as the encoder: probabilistic PCA.

    The columns of its weights are orthogonal, so that the dimensions of the posterior are independent.
    """
    autoencoder = objective(["vae"], loss="gaussian", dim=2)
    directions = torch.linalg.qr(torch.randn(6, 2, generator=seeded(7)))[0]
    weights, offset, deviation = directions * torch.tensor([2.0, 0.9]), torch.randn(6, generator=seeded(8)), 0.5
    precision = weights.T @ weights + deviation**2 * torch.eye(2)
    posterior_map = torch.linalg.solve(precision, weights.T)
    linear = next(m for m in autoencoder.decoder.modules() if isinstance(m, nn.Linear))
    head, loss = autoencoder.encoder.head, autoencoder.likelihood
    assert isinstance(head, GaussianHead) and isinstance(loss, Gaussian)
    with torch.no_grad():
        linear.weight.copy_(weights)
        linear.bias.copy_(offset)
        head.mean.weight.copy_(posterior_map)
        head.mean.bias.copy_(-posterior_map @ offset)
        head.logvar.weight.zero_()
        head.logvar.bias.copy_(MAX_LOGVAR * torch.atanh((deviation**2 / precision.diagonal()).log() / MAX_LOGVAR))
        scale = loss.log_deviation
        scale.free.fill_((scale.lowest + math.log(math.expm1(math.log(deviation) - scale.lowest))) / scale.LR_SCALE)
    x = offset + torch.randn(count, 6, generator=seeded(9))
    known = MultivariateNormal(offset, weights @ weights.T + deviation**2 * torch.eye(6)).log_prob(x)
    return autoencoder, x, known


def test_likelihood_of_a_linear_model_is_exact_with_its_exact_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, x, known = principal()
    assert log_likelihood(autoencoder, x, seeded(), draws=1).tolist() == pytest.approx(known.tolist(), abs=1e-3)
    for entries in (6, 40, 1000):  # in pieces of samples, of draws, of both
        monkeypatch.setattr(likelihood, "MAX_ENTRIES", entries)
        assert log_likelihood(autoencoder, x, seeded(), draws=37).tolist() == pytest.approx(known.tolist(), abs=1e-3)


def test_likelihood_converges_from_below_with_a_posterior_that_is_off() -> None:
    autoencoder, x, known = principal(64)
    head = autoencoder.encoder.head
    assert isinstance(head, GaussianHead)
    with torch.no_grad():
        head.mean.bias += 0.3
        head.logvar.bias += 0.8
    gaps = [(known - log_likelihood(autoencoder, x, seeded(), draws=draws)).mean().item() for draws in (1, 10, 4000)]
    assert gaps[0] > 0.2 and gaps[0] > gaps[1] > 0
    assert (known - log_likelihood(autoencoder, x, seeded(1), draws=4000)).abs().max() < 0.1
    assert abs(gaps[2]) < 0.01


def test_likelihood_of_black_and_white_samples_against_an_integral() -> None:
    autoencoder = objective(["vae"], loss="bce", dim=1)
    head = autoencoder.encoder.head
    assert isinstance(head, GaussianHead)
    with torch.no_grad():
        next(autoencoder.decoder.parameters()).mul_(3)
        head.logvar.bias.fill_(1.0)  # wide, so that no sample's true posterior is out of its reach
    x = (raw() > 0.5).float()
    z = torch.linspace(-12, 12, 4001)
    likely = Bernoulli(logits=autoencoder.decoder(z[:, None])).log_prob(x[:, None]).sum(2)  # (12, 4001)
    known = torch.trapezoid((likely + normal_log_density(z)).exp(), z).log()
    assert log_likelihood(autoencoder, x, seeded(), draws=5000).tolist() == pytest.approx(known.tolist(), abs=0.05)
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    total = log_likelihood(autoencoder, patterns, seeded(), draws=3000).exp().sum()
    assert total.item() == pytest.approx(1, abs=0.01), "summed over all possible samples"


def test_likelihood_leaves_the_autoencoder_as_it_was() -> None:
    autoencoder = objective(["vae"], loss="bce").train()
    first = log_likelihood(autoencoder, raw(), seeded(), draws=3)
    assert autoencoder.training and not first.requires_grad
    assert torch.equal(first, log_likelihood(autoencoder, raw(), seeded(), draws=3))


@pytest.mark.parametrize(
    ("variants", "loss", "message"),
    [
        (["plain"], "bce", "head Linear has no likelihood; expected a Gaussian head, as from variant 'vae'"),
        (["vae"], "mse", "loss 'mse' is not a log-likelihood; expected one of bce, gaussian, logistic"),
    ],
)
def test_models_without_likelihood_are_refused(variants: list[str], loss: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        log_likelihood(objective(variants, loss=loss), raw(), seeded())
