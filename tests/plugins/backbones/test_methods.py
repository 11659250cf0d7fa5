"""Backbones and variants: shapes of any size, and values compared with direct implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from aekit_plugins.backbones.conv import Conv
from aekit_plugins.backbones.mlp import MLP
from aekit_plugins.variants.denoising import Denoising
from aekit_plugins.variants.random_affine import RandomAffine
from torch import nn

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import TiedLayer
from aekit.encoder.encoder import temporary_seed
from aekit.encoder.preprocessing import Preprocess, fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.objectives.base import Batch
from aekit.objectives.losses import LOSSES
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

SIZES = [(8, 8), (9, 13), (28, 28), (31, 64), (50, 17), (100, 96)]


@pytest.mark.parametrize(
    ("size", "channels"),
    [*((size, channels) for size in SIZES for channels in (1, 3, 5)), ((512, 512), 3), ((8, 512), 3)],
)
def test_conv_takes_any_image_and_its_mirror_gives_it_back(size: tuple[int, int], channels: int) -> None:
    with temporary_seed(0):
        backbone = Conv(SampleSpec("image", (channels, *size), "uint8"))
        decoder = backbone.decoder(7)
    features = backbone.eval()(torch.rand(2, channels, *size))
    assert features.shape == (2, backbone.features_dim)
    assert min(backbone.sizes[-1]) <= 4
    assert decoder.eval()(torch.rand(2, 7)).shape == (2, channels, *size)


def test_each_mirror_undoes_the_shape_of_its_stage() -> None:
    for backbone in (Conv(SampleSpec("image", (2, 21, 34), "uint8")), MLP(SampleSpec("vector", (9,), "float32"))):
        x = torch.rand(3, *((2, 21, 34) if isinstance(backbone, Conv) else (9,)))
        for number, stage in enumerate(backbone.stages):
            y = stage(x)
            assert backbone.mirror(number)(y).shape == x.shape
            x = y


def test_widths_and_channels_come_from_the_options() -> None:
    conv = Conv(SampleSpec("image", (1, 28, 28), "uint8"), channels=[5, 7], norm="group", activation="gelu")
    assert conv.features_shape == (7, 7, 7)
    linear = MLP(SampleSpec("image", (1, 4, 5), "uint8"), hidden=[])
    assert linear.features_dim == 20 and not linear.stages
    assert linear.decoder(3)(torch.rand(2, 3)).shape == (2, 1, 4, 5)
    assert not [m for m in linear.decoder(3).modules() if isinstance(m, nn.ReLU)], "a linear decoder has no activation"
    with pytest.raises(ValueError, match="expected series"):
        Conv(SampleSpec("vector", (9,), "float32"))


def scaling(scale: list[float], unit: bool) -> Preprocess:
    tensor = torch.tensor(scale)
    return Preprocess("unit", unit, tensor, torch.zeros_like(tensor), torch.zeros_like(tensor), torch.ones_like(tensor))


def corrupted(x: torch.Tensor, seed: int = 0, **options) -> torch.Tensor:
    variant = Denoising(**options)
    variant.prepare(scaling([0.5] * x.shape[1], unit=True))
    return variant.corrupt(x, torch.Generator().manual_seed(seed))


def test_gaussian_noise_has_its_level_in_the_units_of_the_data() -> None:
    x = torch.zeros(20000, 2)
    variant = Denoising(noise="gaussian", level=30.0)
    variant.prepare(scaling([1 / 255, 1 / 10], unit=True))
    noisy = variant.corrupt(x, torch.Generator().manual_seed(0))
    assert noisy.std(0).tolist() == pytest.approx([30 / 255, 3.0], rel=0.02)
    assert noisy.mean(0).tolist() == pytest.approx([0, 0], abs=0.07)
    assert corrupted(x, noise="gaussian").std().item() == pytest.approx(0.1, rel=0.02), "a tenth of the range"


def test_masking_sets_a_fraction_of_the_entries_to_zero() -> None:
    x = torch.rand(500, 40) + 0.5
    noisy = corrupted(x, noise="masking", level=0.3)
    assert (noisy == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(noisy[noisy != 0], x[noisy != 0])


def test_salt_and_pepper_go_to_both_extremes_equally_often() -> None:
    x = torch.full((500, 40), 0.4)
    noisy = corrupted(x, noise="salt-and-pepper", level=0.2)
    assert noisy.unique().tolist() == pytest.approx([0.0, 0.4, 1.0])
    assert (noisy == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_noise_is_drawn_anew_and_follows_the_generator() -> None:
    x = torch.rand(8, 10)
    assert not torch.equal(corrupted(x, seed=0), corrupted(x, seed=1))
    assert torch.equal(corrupted(x, seed=5), corrupted(x, seed=5))


def test_a_fraction_cannot_exceed_one() -> None:
    message = r"denoising\.level = 20: expected at most 1, a fraction of the entries with masking noise"
    with pytest.raises(RecipeError, match=message):
        Denoising(noise="masking", level=20)


def test_losses_against_written_out_sums() -> None:
    output, clean = torch.randn(3, 2, 4, dtype=torch.float64), torch.rand(3, 2, 4, dtype=torch.float64)
    p = 1 / (1 + np.exp(-output.numpy()))
    t = clean.numpy()
    spec = SampleSpec("series", (2, 4), "float64")
    bce, mse = LOSSES["bce"](spec), LOSSES["mse"](spec)
    weights = torch.rand(3, 2, 4, dtype=torch.float64)
    written = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    assert bce(output, clean).numpy() == pytest.approx(written.sum((1, 2)))
    assert bce(output, clean, weights).numpy() == pytest.approx((weights.numpy() * written).sum((1, 2)))
    assert mse(output, clean).numpy() == pytest.approx(((output.numpy() - t) ** 2).sum((1, 2)))
    assert bce.activate(output).numpy() == pytest.approx(p) and mse.activate(output) is output


def test_the_clean_sample_is_the_target_and_the_corrupted_one_the_input() -> None:
    table = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    samples = load_samples(ArraySource(table), np.arange(50), torch.device("cpu"))
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "mlp", "dim": 3, "mlp": {"hidden": [5]}},
        "objective": {"variants": ["denoising"], "denoising": {"noise": "gaussian", "level": 2.0}},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder)
    raw = samples.batch(torch.arange(50))
    logged = objective.loss(Batch(raw), torch.Generator().manual_seed(3))
    clean = objective.encoder.preprocess(raw)
    noisy = objective.variants["denoising"].corrupt(clean, torch.Generator().manual_seed(3))
    expected = (objective.decoder(objective.encoder.encode(noisy)) - clean).square().sum() / 50
    assert logged["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(logged) == {"loss", "reconstruction"}


def test_a_linear_autoencoder_comes_close_to_pca() -> None:
    """Its error cannot be below that of as many principal components, and approaches it."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(600, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(600, 12))
    settings = {"encoder.mlp.hidden": [], "train.lr": 0.02, "train.precision": "fp32", "train.weight_decay": 0.0}
    encoder = aekit.fit(table, backbone="mlp", dim=3, epochs=150, overrides=settings)
    scaled = (table - table.mean(0)) / table.std(0)
    values = np.linalg.svd(scaled, compute_uv=False) ** 2
    best = values[:3].sum() / values.sum()
    assert best - 0.01 < encoder.record["metrics"]["explained"] <= best + 1e-4


def test_a_run_keeps_its_decoder(tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    encoder = aekit.fit(images, dim=4, epochs=1, out=tmp_path / "run")
    again = load_autoencoder(tmp_path / "run")
    assert again.encoder.digest == encoder.digest
    reconstructed = again.reconstruct(torch.from_numpy(images))
    assert reconstructed.shape == (40, 1, 8, 8) and reconstructed.min() >= 0 and reconstructed.max() <= 1


def displaced(x: torch.Tensor, **options: float) -> torch.Tensor:
    return RandomAffine(**options).corrupt(x, torch.Generator().manual_seed(0))


def test_without_displacement_the_image_stays_as_it_is() -> None:
    x = torch.rand(4, 3, 10, 14)
    assert torch.allclose(displaced(x, translate=0, degrees=0, scale=0), x, atol=1e-5)


def test_each_image_is_moved_by_its_own_distance_within_the_largest() -> None:
    x = torch.zeros(200, 1, 41, 41)
    x[:, :, 19:22, 19:22] = 1
    moved_images = displaced(x, translate=0.2, degrees=0, scale=0)
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    mass = moved_images.sum((1, 2, 3))
    assert mass.numpy() == pytest.approx(np.full(200, 9), rel=1e-3), "shifting preserves the mass"
    for axis in (rows, columns):
        moved = (moved_images[:, 0] * axis).sum((1, 2)) / mass - 20
        assert moved.abs().max() <= 0.2 * 41 + 1e-3
        assert moved.std().item() == pytest.approx(0.2 * 41 / 3**0.5, rel=0.15), "uniform over the range"


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    """The largest angle is reached by a drawn number of 1: written out with the map that it must then apply."""
    variant = RandomAffine(translate=0, degrees=180, scale=0)
    x = torch.rand(64, 1, 9, 9)
    rotated = variant.corrupt(x, torch.Generator().manual_seed(1))
    drawn = 2 * torch.rand(4, 64, generator=torch.Generator().manual_seed(1)) - 1
    nearest = int((drawn[2].abs() - 0.5).abs().argmin())
    turned = torch.rot90(x[nearest], 1 if drawn[2, nearest] > 0 else -1, (1, 2))
    assert (rotated[nearest] - turned).abs().mean() < (rotated[nearest] - x[nearest]).abs().mean() / 3


def test_turning_keeps_shapes_in_an_image_that_is_not_square() -> None:
    x = torch.zeros(100, 1, 30, 90)
    x[:, :, 10:21, 40:51] = 1  # a square stays one: as tall as it is wide, whatever its angle
    rotated = displaced(x, translate=0, degrees=180, scale=0)[:, 0]
    tall, wide = (rotated.amax(axis) > 0.5 for axis in (2, 1))
    assert (tall.sum(1) - wide.sum(1)).abs().max() <= 2


def test_resizing_about_the_center_keeps_it_there() -> None:
    x = torch.zeros(100, 1, 41, 41)
    x[:, :, 15:26, 15:26] = 1
    mass = displaced(x, translate=0, degrees=0, scale=0.3).sum((1, 2, 3)) / 121
    assert mass.min() >= 0.7**2 - 0.05 and mass.max() <= 1.3**2 + 0.05 and mass.std() > 0.2


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_small_weights_of_an_mlp_are_those_of_pytorch(activation: str) -> None:
    spec, options = SampleSpec("vector", (50,), "float32"), {"hidden": [40, 30], "activation": activation}
    torch.manual_seed(0)
    stages = MLP(spec, initial_weights="small", **options).stages
    torch.manual_seed(0)
    expected = [nn.Linear(50, 40), nn.Linear(40, 30)]
    layers = [layer for layer in stages.modules() if isinstance(layer, nn.Linear)]
    assert all(
        torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(layers, expected, strict=True)
    )
    scaled = [layer for layer in MLP(spec, **options).stages.modules() if isinstance(layer, nn.Linear)]
    assert all(a.weight.std() > 1.3 * b.weight.std() for a, b in zip(scaled, layers))


@pytest.mark.parametrize(
    "activation, least", [("relu", 0.2), ("gelu", 0.2), ("tanh", 0.05), ("sigmoid", 1e-5), ("none", 0.9)]
)
def test_signals_keep_their_variance_in_a_deep_mlp(activation: str, least: float) -> None:
    """Variance over samples: with PyTorch's own weights, less than 0.0002 of it is left after four layers and back."""
    torch.manual_seed(0)
    network = MLP(SampleSpec("vector", (200,), "float32"), hidden=[200] * 4, activation=activation)
    decoder = network.decoder(200, nn.Identity())
    x = torch.randn(500, 200)
    assert least < decoder(network(x)).var(0).mean() < 1.2
    dense = [layer for layer in [*network.modules(), *decoder.modules()] if isinstance(layer, nn.Linear)]
    assert len(dense) == 8 and not any(layer.bias.any() for layer in dense)
    for layer in dense:
        layer.reset_parameters()
    assert decoder(network(x)).var(0).mean() < least / 500


def test_a_moved_copy_is_the_target_until_the_images_stay_as_they_are() -> None:
    x = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    variant = RandomAffine(target="copy", until=0.9)
    moved = variant.augment(x, torch.Generator().manual_seed(0))
    assert torch.equal(moved, RandomAffine().corrupt(x, torch.Generator().manual_seed(0)))
    assert not torch.equal(moved, x) and variant.corrupt(moved, torch.Generator()) is moved
    assert RandomAffine().augment(x, torch.Generator()) is x
    variant.progress = 0.9
    assert variant.augment(x, torch.Generator()) is x
    always = RandomAffine(target="copy")
    always.progress = 1.0
    assert not torch.equal(always.augment(x, torch.Generator().manual_seed(0)), x)


def test_binarized_samples_are_drawn_anew_and_are_the_targets() -> None:
    pixels = np.full((64, 1, 8, 8), 51, np.uint8)
    pixels[0, 0, 0, 0] = 255  # so that the whole range is used
    samples = load_samples(ArraySource(pixels), np.arange(64), torch.device("cpu"))
    values = {"data": {"source": "memory"}, "objective": {"variants": ["binarize"]}, "encoder": {"backbone": "mlp"}}
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder) and objective.randomness() == ["variant 'binarize'"]
    x = objective.encoder.preprocess(samples.batch(torch.arange(64)))
    drawn = objective.variants["binarize"].augment(x, torch.Generator().manual_seed(3))
    assert drawn.unique().tolist() == [0, 1] and drawn.mean().item() == pytest.approx(51 / 255, abs=0.02)
    assert not torch.equal(drawn, objective.variants["binarize"].augment(x, torch.Generator().manual_seed(4)))
    logged = objective.loss(Batch(samples.batch(torch.arange(64))), torch.Generator().manual_seed(3))
    expected = objective.likelihood(objective.decoder(objective.encoder.encode(drawn)), drawn).mean()
    assert logged["reconstruction"].item() == pytest.approx(expected.item(), rel=1e-5)


TIED = {
    "mlp": ({"hidden": [7], "tied": True}, (9,)),
    "conv over series": ({"channels": [4, 6], "tied": True}, (2, 13)),
    "conv over images": ({"channels": [4, 6], "tied": True}, (3, 9, 14)),
    "conv over clips": ({"channels": [4, 6], "tied": True}, (1, 5, 8, 9)),
}


@pytest.mark.parametrize("name", TIED)
def test_a_tied_decoder_uses_the_encoders_weights_transposed(name: str, tmp_path: Path) -> None:
    options, shape = TIED[name]
    backbone = name.split()[0]
    data = np.random.default_rng(0).random((40, *shape), np.float32)
    settings = {"encoder.backbone": backbone, f"encoder.{backbone}": options, "encoder.dim": 5, "objective.loss": "mse"}
    encoder = aekit.fit(data, epochs=1, overrides=settings, out=tmp_path / "run")
    autoencoder = load_autoencoder(tmp_path / "run")
    matrices = [p for p in autoencoder.decoder.parameters() if p.ndim > 1]
    assert not matrices, "all weights of a tied decoder but its biases are the encoder's"
    assert autoencoder.encoder.digest == encoder.digest
    size = shape
    # The way back is the adjoint of the way there: <W x, y> = <x, W' y>, without biases.
    for stage, mirror in zip(autoencoder.encoder.backbone.stages, autoencoder.decoder.mirrors):
        layer = next(m for m in stage.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd)))
        tied_layer = next(m for m in mirror.modules() if isinstance(m, TiedLayer))
        with torch.no_grad():
            tied_layer.bias.zero_()
            if layer.bias is not None:
                layer.bias.zero_()
            x = torch.randn(2, *size)
            output = layer(x)
            y = torch.randn_like(output)
            assert (output * y).sum().item() == pytest.approx((x * tied_layer(y)).sum().item(), rel=1e-4, abs=1e-4)
        size = tuple(output.shape[1:])


def test_features_can_be_the_code() -> None:
    encoder = aekit.fit(
        np.zeros((20, 1, 12, 12), np.uint8), dim=0, epochs=1, overrides={"encoder.conv.channels": [3, 5]}
    )
    assert encoder.dim == encoder.features_dim == 5 * 3 * 3 and isinstance(encoder.head, nn.Identity)
    x = torch.randint(0, 255, (4, 1, 12, 12), dtype=torch.uint8)
    assert torch.equal(encoder(x), encoder.backbone(encoder.preprocess(x)))


@pytest.mark.parametrize(("kind", "shape"), [("series", (3, 50)), ("clip", (3, 6, 20, 30))])
def test_series_and_clips_get_a_convolutional_backbone(kind: str, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).random((24, *shape), np.float32)
    encoder = aekit.fit(ArraySource(data, kind=kind), epochs=1, dim=6)
    assert encoder.architecture["backbone"]["name"] == "conv"
    assert encoder.embed(ArraySource(data, kind=kind)).vectors.shape == (24, 6)


def test_samples_are_corrupted_with_all_digits_where_networks_compute_in_bfloat16() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 64, 64), np.uint8)
    samples = load_samples(ArraySource(images), np.arange(8), torch.device("cpu"))
    recipe = make_recipe({"data": {"source": "memory"}, "objective": {"variants": ["random-affine"]}})
    recipe = recipe.with_encoder(backbone="conv").with_objective(loss="bce")
    objective = make_objective(recipe, samples.spec, fit_preprocess(samples)[0])
    inputs = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), torch.no_grad():
            shown = objective.visualize(Batch(samples.batch(torch.arange(8))), torch.Generator().manual_seed(0))
        inputs.append(shown["autoencoder"]["encoder input"])
    assert torch.equal(*inputs)
