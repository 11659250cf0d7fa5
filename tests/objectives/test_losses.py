"""Losses and measures of reconstructions, against scipy, torch.distributions and written-out loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import load_autoencoder
from aekit.objectives.losses import LOSSES, Gaussian, Huber, Logistic, LogScale, psnr, ssim
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

IMAGE = SampleSpec("image", (2, 13, 14), "uint8")
VECTOR = SampleSpec("vector", (3,), "uint8")


def doubles(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_free(loss: Any, values: list[float]) -> Any:
    """The logarithms of its learned scales, before their lower limit, set."""
    with torch.no_grad():
        (parameter,) = loss.parameters()
        parameter.copy_(torch.tensor(values) / LogScale.LR_SCALE)
    return loss


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_factors_on_the_errors_of_entries(name: str) -> None:
    loss = LOSSES[name](IMAGE)
    output, clean, weights = 2 * doubles(3, 2, 13, 14) - 1, doubles(3, 2, 13, 14, seed=1), doubles(3, 2, 13, 14, seed=2)
    errors = loss.elementwise(output, clean)
    assert errors.shape == clean.shape
    assert loss(output, clean).tolist() == pytest.approx(errors.sum((1, 2, 3)).tolist())
    assert loss(output, clean, weights).tolist() == pytest.approx((weights * errors).sum((1, 2, 3)).tolist())
    assert loss(output, clean, 0 * weights).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_pulls_its_reconstruction_towards_the_sample(name: str) -> None:
    loss, clean = LOSSES[name](IMAGE), doubles(1, 2, 13, 14)
    output = torch.full_like(clean, 0.3, requires_grad=True)
    before = (loss.activate(output) - clean).square().mean()
    for _ in range(400):
        (slope,) = torch.autograd.grad(loss(output, clean).sum(), output)
        output = (output - 0.02 * slope / slope.abs().max()).detach().requires_grad_()
    assert (loss.activate(output) - clean).square().mean() < before / 4
    assert loss.activate(output).min() >= 0 or not loss.unit


@pytest.mark.parametrize(("spec", "channels"), [(IMAGE, 2), (VECTOR, 3)])
def test_gaussian_is_the_log_density_with_a_deviation_for_each_channel(spec: SampleSpec, channels: int) -> None:
    loss = with_free(Gaussian(spec), [-1.0, 0.4, 1.3][:channels])
    output, clean = doubles(4, *spec.shape), doubles(4, *spec.shape, seed=1)
    deviations = loss.log_deviation().exp().detach().double()
    assert deviations.shape == (channels, *[1] * (len(spec.shape) - 1))
    assert deviations.flatten().tolist() == pytest.approx(np.exp([-1.0, 0.4, 1.3][:channels]), rel=0.01)
    density = torch.distributions.Normal(output, deviations).log_prob(clean)
    assert loss.elementwise(output, clean).detach().numpy() == pytest.approx(-density.numpy(), abs=1e-6)


def test_gaussian_settles_at_the_error_of_each_column() -> None:
    """Its optimum is in closed form: the root of the mean squared error."""
    loss, output, clean = Gaussian(VECTOR), doubles(50, 3), doubles(50, 3, seed=1)
    error = (output - clean).square().mean(0).sqrt()
    lowest = loss.log_deviation.lowest
    with_free(loss, [lowest + math.log(math.expm1(math.log(e) - lowest)) for e in error.tolist()])
    loss(output, clean).mean().backward()
    assert loss.log_deviation.free.grad is not None
    assert loss.log_deviation.free.grad.tolist() == pytest.approx([0, 0, 0], abs=1e-4)


def test_gaussian_stays_finite_for_what_is_reproduced_exactly() -> None:
    loss = with_free(Gaussian(VECTOR), [-1000.0, -20.0, 0.0])
    errors = loss.elementwise(doubles(1, 3), doubles(1, 3))
    assert errors[0, :2].tolist() == pytest.approx([math.log(2 * math.pi) / 2 - 6] * 2, abs=1e-4)


@pytest.mark.parametrize("output", [-0.3, 0.0, 0.2, 0.5001, 1.0, 1.7])
@pytest.mark.parametrize(("dtype", "levels"), [("uint8", 256), ("uint16", 65536)])
def test_probabilities_of_all_levels_sum_to_one(output: float, dtype: str, levels: int) -> None:
    loss = with_free(Logistic(SampleSpec("vector", (3,), dtype)), [-30.0, -4.0, 1.0])
    clean = torch.linspace(0, 1, levels, dtype=torch.float64).unsqueeze(1).expand(-1, 3)
    probabilities = torch.exp(-loss.elementwise(torch.full_like(clean, output), clean))
    assert probabilities.sum(0).tolist() == pytest.approx([1, 1, 1], abs=1e-4)
    single = torch.exp(-loss.elementwise(torch.full_like(clean, output).float(), clean.float()))
    assert single.sum(0).tolist() == pytest.approx([1, 1, 1], abs=2e-3), "in the precision of training"


def test_logistic_is_the_difference_of_the_distribution_at_the_edges_of_a_level() -> None:
    loss = with_free(Logistic(IMAGE), [-2.0, -0.5])
    output = 1.4 * doubles(5, *IMAGE.shape) - 0.2
    clean = (255 * doubles(5, *IMAGE.shape, seed=1)).round() / 255
    clean[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    scale = loss.log_scale().exp().detach().double().expand_as(clean).numpy()
    upper = np.where(clean == 1, 1.0, stats.logistic.cdf(clean + 0.5 / 255, output, scale))
    lower = np.where(clean == 0, 0.0, stats.logistic.cdf(clean - 0.5 / 255, output, scale))
    assert loss.elementwise(output, clean).detach().numpy() == pytest.approx(-np.log(upper - lower), rel=1e-4)


def test_logistic_is_at_most_so_sure_of_a_level() -> None:
    """Half a level from its mean in units of the smallest scale, on either side: tanh(1)."""
    loss, level = with_free(Logistic(VECTOR), [-30.0, -20.0, -15.0]), torch.full((1, 3), 100 / 255)
    assert torch.exp(-loss.elementwise(level, level))[0].tolist() == pytest.approx([math.tanh(1)] * 3, abs=2e-3)


def test_logistic_has_a_gradient_however_far_off_the_reconstruction_is() -> None:
    loss = with_free(Logistic(VECTOR), [-30.0, -30.0, -30.0])
    output = torch.tensor([[-9.0, 30.0, 0.5]], requires_grad=True)
    clean = torch.tensor([[1.0, 100 / 255, 0.0]])
    loss(output, clean).sum().backward()
    assert output.grad is not None and loss.log_scale.free.grad is not None
    assert output.grad.isfinite().all() and output.grad.sign().tolist() == [[-1, 1, 1]]
    assert loss.log_scale.free.grad.isfinite().all()
    assert loss.activate(output).tolist() == [[0, 1, 0.5]]


def test_huber_is_a_parabola_that_goes_on_as_lines() -> None:
    loss = Huber(VECTOR, delta=0.5)
    errors = loss.elementwise(torch.tensor([[0.3, -0.5, 2.0]]), torch.zeros(1, 3))
    assert errors[0].tolist() == pytest.approx([0.3**2 / 2, 0.5**2 / 2, 0.5 * (2.0 - 0.25)])


def test_where_huber_turns_is_an_option_that_is_kept_with_the_decoder(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 1, 6, 6)).astype(np.uint8)
    settings = {"objective.loss": "huber", "objective.huber.delta": 0.3}
    aekit.fit(images, epochs=1, overrides=settings, out=tmp_path / "run")
    assert "[objective.huber]\ndelta = 0.3" in (tmp_path / "run" / "recipe.toml").read_text()
    loss = aekit.load_autoencoder(tmp_path / "run").likelihood
    assert isinstance(loss, Huber) and loss.delta == 0.3
    for name, value in {"objective.huber.delta": 0, "objective.huber.detla": 1, "objective.mse": {"delta": 1}}.items():
        with pytest.raises(RecipeError, match=name.replace(".", r"\.")):
            aekit.fit(images, epochs=1, overrides=settings | {name: value})


def written_out_ssim(a: np.ndarray, b: np.ndarray, size: int = 11) -> np.ndarray:
    """(H, W) in [0, 1] -> the index of Wang et al. for every window inside, one after the other."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    rows, columns = a.shape[0] - size + 1, a.shape[1] - size + 1
    found = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            x, y = a[row : row + size, column : column + size], b[row : row + size, column : column + size]
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
            covariance = (window * (x - mean_x) * (y - mean_y)).sum()
            found[row, column] = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
            found[row, column] /= (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    return found


def similar(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and the same with noise."""
    a = doubles(*shape)
    return a, (a + 0.3 * (doubles(*shape, seed=1) - 0.5)).clamp(0, 1)


@pytest.mark.parametrize(("height", "width", "size"), [(13, 14, 11), (11, 30, 11), (8, 9, 7), (5, 20, 5), (1, 4, 1)])
def test_ssim_against_a_written_out_loop(height: int, width: int, size: int) -> None:
    a, b = similar((3, 2, height, width))
    expected = [
        np.mean([written_out_ssim(x, y, size) for x, y in zip(one, other)])
        for one, other in zip(a.numpy(), b.numpy(), strict=True)
    ]
    assert ssim(a, b).tolist() == pytest.approx(expected)
    assert ssim(255 * a, 255 * b, data_range=255).tolist() == pytest.approx(expected)
    assert ssim(a, a).tolist() == pytest.approx([1, 1, 1])


def test_ssim_and_psnr_agree_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = similar((2, 3, 24, 31))
    for one, other, ours, decibels in zip(a.numpy(), b.numpy(), ssim(a, b), psnr(a, b)):
        theirs = metrics.structural_similarity(
            one, other, data_range=1.0, channel_axis=0, gaussian_weights=True, use_sample_covariance=False
        )
        assert ours.item() == pytest.approx(theirs)
        assert decibels.item() == pytest.approx(metrics.peak_signal_noise_ratio(one, other, data_range=1.0))


def test_ssim_names_shapes_that_it_cannot_compare() -> None:
    with pytest.raises(ValueError, match=r"of one shape, found \(2, 3, 4, 5\) and \(2, 3, 4, 6\)"):
        ssim(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 6))
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(2, 3\)"):
        ssim(torch.zeros(2, 3), torch.zeros(2, 3))


def test_ssim_as_a_loss_covers_every_pixel_and_mirrors_the_border() -> None:
    output, clean = torch.logit(doubles(1, 2, 13, 14)), doubles(1, 2, 13, 14, seed=1)
    padding = ((0, 0), (5, 5), (5, 5))
    a, b = (np.pad(x[0].numpy(), padding, "reflect") for x in (torch.sigmoid(output), clean))
    expected = np.stack([1 - written_out_ssim(x, y) for x, y in zip(a, b)])
    assert LOSSES["ssim"](IMAGE).elementwise(output, clean)[0].numpy() == pytest.approx(expected)


def test_ssim_is_not_rounded_to_bfloat16() -> None:
    output, clean = torch.logit(doubles(1, 2, 13, 14).float()), doubles(1, 2, 13, 14, seed=1).float()
    loss = LOSSES["ssim"](IMAGE)
    exact = loss(output, clean)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(output, clean), exact)


def test_psnr_is_in_decibels_of_the_range() -> None:
    a = torch.zeros(3, 4)
    b = torch.stack([torch.full((4,), 0.1), torch.tensor([1.0, 0, 0, 0]), torch.zeros(4)])
    assert psnr(a, b).tolist() == pytest.approx([20, 10 * math.log10(4), math.inf])
    assert psnr(255 * a, 255 * b, data_range=255).tolist() == pytest.approx([20, 10 * math.log10(4), math.inf])


@pytest.mark.parametrize(
    ("array", "loss", "message"),
    [
        (
            np.random.default_rng(0).random((9, 6), np.float32),
            "logistic",
            "expected uint8 or uint16 data",
        ),
        (np.random.default_rng(0).random((9, 6), np.float32), "ssim", "expected images .C, H, W., found vector"),
        (np.random.default_rng(0).normal(size=(9, 6)), "logistic", r"needs data in \[0, 1\]"),
    ],
)
def test_data_that_a_loss_cannot_take_is_refused(array: np.ndarray, loss: str, message: str) -> None:
    held = load_samples(ArraySource(array), np.arange(9), torch.device("cpu"))
    values = {"data": {"source": "memory"}, "encoder": {"backbone": "mlp"}, "objective": {"loss": loss}}
    with pytest.raises(RecipeError, match=rf"objective\.loss = '{loss}': {message}"):
        make_objective(make_recipe(values), held.spec, fit_preprocess(held)[0])


@pytest.mark.parametrize("loss", ["gaussian", "logistic"])
def test_what_a_loss_learns_is_trained_and_kept_with_the_decoder(tmp_path, loss: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 2, 8, 8), dtype=np.uint8)
    aekit.fit(images, dim=4, epochs=2, out=tmp_path / "run", overrides={"objective.loss": loss})
    again = load_autoencoder(tmp_path / "run")
    first = LOSSES[loss](SampleSpec("image", (2, 8, 8), "uint8"))
    (learned,), (untrained,) = again.likelihood.parameters(), first.parameters()
    assert learned.shape == untrained.shape == (2,)
    assert (learned - untrained).abs().min() > 1e-4
