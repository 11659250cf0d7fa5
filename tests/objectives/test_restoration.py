"""Tasks that damage samples and restore them: their mathematics, the contract, what is saved of them, and their use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from PIL import Image, ImageFont
from resealing import reseal, reseal_files
from skimage import color
from torch import Tensor
from torch.nn import functional as F

import aekit
from aekit.data.resampling import resample
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import apply_any_size
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import AekitError, DataError, IdentityError, PluginError, RecipeError
from aekit.nn.color import SIGMA, ab_bins, lab_to_rgb, lightness_to_rgb, rebalancing_weights, rgb_to_lab, soft_encode_ab
from aekit.nn.masks import biharmonic_fill, block_masks, dilate_mask, nearest_fill, random_shape_masks, smooth_fill
from aekit.objectives.base import Pretext, PretextObjective
from aekit.objectives.losses import LOSSES
from aekit.objectives.restoration import RestorationTask
from aekit.objectives.saved_pretexts import load_pretexts, save_pretexts
from aekit.objectives.watermarks import PROPORTION, draw_watermark_bank, find_fonts, place_watermarks
from aekit.registry.discovery import registry
from aekit.testing import check
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

TASKS = ("inpainting", "colorization", "super-resolution", "watermark-removal")
FAST = {"train.precision": "fp32", "encoder.conv.channels": [8, 16], "train.device": "cpu"}


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 48, side: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(N, C, S, S) uint8: two patches of color, each on a slope of gray, with a line between them."""
    rng = np.random.default_rng(seed)
    across = np.linspace(0, 1, side)
    made = np.empty((count, channels, side, side))
    for image in made:
        colors, edge = rng.random((2, channels, 1, 1)), rng.integers(side // 4, 3 * side // 4)
        slope = (across * rng.uniform(-1, 1))[None, None, :] * 60
        image[:] = 60 + 130 * np.where(across * side < edge, colors[0], colors[1]) + slope
    return made.clip(0, 255).astype(np.uint8)


def task(
    name: str, data: np.ndarray, options: dict[str, Any] | None = None, dim: int = 8, tied: bool = False
) -> RestorationTask:
    """A pretext task at its first weights, started on data."""
    samples = load_samples(ArraySource(data), np.arange(len(data)), torch.device("cpu"))
    backbone = {"mlp": {"hidden": [16]}} if data.ndim == 2 else {"conv": {"channels": [8, 16], "tied": tied}}
    own = {"backbone": next(iter(backbone)), "dim": dim, **backbone}
    values = {"data": {"source": "x"}, "encoder": own, "objective": {"pretexts": [name], name: options or {}}}
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    objective.start(samples)
    assert isinstance(objective, PretextObjective) and isinstance(objective.pretext, RestorationTask)
    return objective.pretext


def seen(made: RestorationTask, data: np.ndarray) -> Tensor:
    return made.encoder.preprocess(torch.from_numpy(data))


# Mathematics


def test_lab_is_that_of_scikit_image() -> None:
    rgb = np.random.default_rng(0).random((4, 3, 9, 7))
    rgb[0, :, 0, :3] = [[0, 1, 0.01], [0, 1, 0.01], [0, 1, 0.02]]  # black, white, and near black
    lab = rgb_to_lab(torch.from_numpy(rgb))
    assert np.allclose(lab.numpy(), color.rgb2lab(rgb, channel_axis=1), atol=2e-3)
    assert np.allclose(lab_to_rgb(lab).numpy(), color.lab2rgb(lab.numpy(), channel_axis=1), atol=1e-4)
    assert np.allclose(lab_to_rgb(lab).numpy(), rgb, atol=1e-9)
    grays = lightness_to_rgb(lab[:, :1])
    assert torch.allclose(grays, grays[:, :1].expand_as(grays), atol=1e-3), "a gray has three equal channels"
    assert torch.allclose(rgb_to_lab(grays)[:, :1], lab[:, :1], atol=1e-2), "of the same lightness"


def test_lab_has_finite_gradients_at_black() -> None:
    rgb = torch.zeros(1, 3, 2, 2, requires_grad=True)
    lab_to_rgb(rgb_to_lab(rgb)).sum().backward()
    assert rgb.grad is not None and torch.isfinite(rgb.grad).all()


def test_colors_are_spread_over_their_nearest_bins() -> None:
    bins = ab_bins(10.0)
    assert 230 < len(bins) < 330, "the paper has 313, by another way of counting"
    assert (bins.abs() % 10 == 0).all() and any((one == torch.zeros(2)).all() for one in bins)
    ab = torch.tensor([3.0, -12.0]).view(1, 2, 1, 1)
    places, shares = soft_encode_ab(ab, bins)
    far = np.square(bins.numpy() - [3, -12]).sum(1)
    nearest = np.argsort(far, kind="stable")[:5]
    weights = np.exp(-far[nearest] / (2 * SIGMA**2))
    assert set(places.flatten().tolist()) == set(nearest.tolist()) and places.flatten()[0] == nearest[0]
    assert np.allclose(np.sort(shares.flatten().numpy()), np.sort(weights / weights.sum()), atol=1e-6)


def test_rare_colors_count_more() -> None:
    counts = torch.tensor([90.0, 9.0, 1.0, 0.0], dtype=torch.float64)
    weights = rebalancing_weights(counts).double()
    chances = counts / 100
    assert (chances * weights).sum() == pytest.approx(1.0)
    by_hand = 1 / (0.5 * chances + 0.5 / 4)
    assert torch.allclose(weights / weights[0], by_hand / by_hand[0], atol=1e-6)


@pytest.mark.parametrize("size", [(10, 62), (7, 13), (40, 31), (33, 90)])
def test_resampling_is_that_of_pillow(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((20, 31)).astype(np.float32)
    wanted = np.asarray(Image.fromarray(x).resize(size[::-1], Image.Resampling.BICUBIC))
    assert np.allclose(resample(torch.from_numpy(x)[None, None], size)[0, 0].numpy(), wanted, atol=1e-5)


def test_resampling_takes_any_number_of_axes() -> None:
    x = torch.rand(2, 3, 8, 9, 10, generator=drawn())
    out = resample(x, (4, 18, 10))
    plane = resample(x[:, :, :, 0, 0], (4,))
    assert out.shape == (2, 3, 4, 18, 10) and plane.shape == (2, 3, 4)
    assert torch.allclose(resample(x[:, :, :, :1, :1], (4, 1, 1))[..., 0, 0], plane)


@pytest.mark.parametrize("size", [(40,), (24, 32), (8, 12, 10)])
def test_blocks_have_the_volume_that_was_asked_for(size: tuple[int, ...]) -> None:
    inside = block_masks(size, size, 0.25, 200, drawn(), central=False)
    assert inside.shape == (200, 1, *size) and inside.dtype == torch.bool
    assert inside.float().mean() == pytest.approx(0.25, rel=0.1)
    for axis in range(2, inside.ndim):  # a block: what is inside along an axis is one run of the same length
        lines = inside.movedim(axis, -1).flatten(1, -2)
        runs = lines.sum(2)
        assert all(len(set(row[row > 0].tolist())) == 1 for row in runs)
        assert (lines.int().diff(dim=2).abs().sum(2) <= 2).all()
    central = block_masks(size, size, 0.25, 3, drawn(), central=True)
    assert torch.equal(central, central.flip(tuple(range(2, central.ndim)))), "in the middle"
    assert len({tuple(row.flatten().tolist()) for row in inside}) > 20, "anywhere"


def test_random_shapes_cover_the_same_share_of_every_sample() -> None:
    inside = random_shape_masks((20, 30), (4, 4), 0.3, 50, drawn())
    assert inside.flatten(1).sum(1).tolist() == [180] * 50
    edges = (inside.int().diff(dim=3).abs().sum() + inside.int().diff(dim=2).abs().sum()) / 50
    assert edges < 180, "they hang together"
    assert random_shape_masks((50,), (4,), 0.2, 3, drawn()).sum((1, 2)).tolist() == [10] * 3


def test_a_hole_widened() -> None:
    hole = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    hole[0, 0, 4, 4] = True
    assert dilate_mask(hole, 2)[0, 0].nonzero().tolist() == [[y, x] for y in range(2, 7) for x in range(2, 7)]
    assert torch.equal(dilate_mask(hole, 0), hole)


def test_simple_ways_to_fill_a_hole() -> None:
    x = torch.arange(10.0).repeat(10, 1)[None, None]
    hole = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    hole[..., 3:6, 4:6] = True
    visible = torch.where(hole, -1.0, x)
    assert nearest_fill(visible, hole)[0, 0, 4].tolist() == [0, 1, 2, 3, 3, 6, 6, 7, 8, 9]
    assert torch.allclose(biharmonic_fill(visible, hole), x, atol=1e-4), "a slope is as smooth as can be"
    series = torch.tensor([1.0, 2, 0, 0, 5])[None, None]
    gap = torch.tensor([False, False, True, True, False])[None, None]
    assert nearest_fill(series, gap).tolist() == [[[1, 2, 2, 5, 5]]]


@pytest.mark.parametrize("size", [(33,), (17, 20), (5, 9, 12)])
def test_a_blend_of_what_surrounds_a_hole(size: tuple[int, ...]) -> None:
    x = torch.rand(2, 3, *size, generator=drawn())
    hole = torch.zeros(2, 1, *size, dtype=torch.bool)
    hole[(..., *(slice(side // 3, 2 * side // 3) for side in size))] = True
    filled = smooth_fill(x, hole)
    assert torch.equal(torch.where(hole, 0.0, filled), torch.where(hole, 0.0, x)), "what is visible stays"
    assert torch.equal(filled, smooth_fill(torch.where(hole, 99.0, x), hole)), "and what is hidden does not matter"
    inside = filled[hole.expand_as(x)]
    assert (inside > 0.1).all() and (inside < 0.9).all() and inside.std() < 0.5 * x.std(), "a blend"
    even = torch.full_like(x, 0.3)
    assert torch.allclose(smooth_fill(torch.where(hole, 9.0, even), hole), even, atol=1e-6)


def test_a_bank_of_marks() -> None:
    fonts = find_fonts()
    bank = draw_watermark_bank(40, 20, 0.25, fonts)
    assert bank.shape == (40, 20, 60) and bank.dtype == torch.uint8
    assert ((bank > 128).flatten(1).any(1)).all(), "each shows something"
    assert len({tuple(mask.flatten().tolist()) for mask in bank}) == 40
    assert torch.equal(bank, draw_watermark_bank(40, 20, 0.25, fonts)), "the same from the same seed"
    assert not torch.equal(bank, draw_watermark_bank(40, 20, 0.25, fonts, seed=1))
    without = draw_watermark_bank(8, 20, 0.0, [])
    assert ((without > 128).flatten(1).any(1)).all(), "Pillow's own font does where there is no other"


def test_fonts_that_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no font found; expected a file ending in \.otf, \.ttc, \.ttf, or a folder"):
        find_fonts([str(tmp_path)])
    own = ImageFont.load_default(20)
    assert isinstance(own, ImageFont.FreeTypeFont)
    (tmp_path / "own.ttf").write_bytes(own.font_bytes if hasattr(own, "font_bytes") else own.path.getvalue())  # type: ignore[union-attr]
    assert find_fonts([str(tmp_path)]) == [tmp_path / "own.ttf"] == find_fonts([str(tmp_path / "own.ttf")])
    (tmp_path / "not.ttf").write_text("not a font")
    broken = draw_watermark_bank(4, 20, 0.0, [tmp_path / "not.ttf"])
    assert ((broken > 128).flatten(1).any(1)).all(), "a broken font is stood in for"


def mark(**changes: Any) -> Tensor:
    """(41, 61) a white mask of 10 x 30 laid into an image."""
    given = {"across": 0.0, "down": 0.0, "width": 30.0, "angle": 0.0, "tiled": False} | changes
    one = {name: torch.tensor([value]) for name, value in given.items()}
    return place_watermarks(torch.ones(1, 10, 10 * PROPORTION), size=(41, 61), **one)[0, 0]


def test_marks_lie_where_they_are_put() -> None:
    def middle(mask: Tensor) -> tuple[float, float]:
        y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(61.0) - 30, indexing="ij")
        return float((x * mask).sum() / mask.sum()), float((y * mask).sum() / mask.sum())

    plain = mark()
    assert plain.sum() == pytest.approx(300, rel=0.02) and middle(plain) == pytest.approx((0, 0), abs=1e-4)
    assert plain[20, 20] == 1 and plain[20, 13] == 0 and plain[13, 30] == 0
    assert middle(mark(across=7.0, down=-4.0)) == pytest.approx((7, -4), abs=0.05)
    assert mark(width=15.0).sum() == pytest.approx(75, rel=0.04)
    upright = mark(angle=torch.pi / 2)
    assert upright.sum() == pytest.approx(300, rel=0.02) and upright[8, 30] == 1 and upright[20, 20] == 0
    slanted = mark(angle=0.5)  # clockwise, as rows count downwards
    assert slanted[20 + 5, 30 + 10] > 0.9 and slanted[20 - 5, 30 + 10] < 0.1
    assert mark(width=12.0, tiled=True).sum() == pytest.approx(41 * 61 / 1.3**2, rel=0.1), "all over the image"


# The tasks


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inpainting", {"mask": "block"}),
        ("inpainting", {"mask": "center", "residual": True}),
        ("super-resolution", {"residual": True, "loss": "huber"}),
        ("watermark-removal", {"loss": "bce", "bank_size": 16}),
        ("colorization", {"target": "regression"}),
    ],
)
def test_other_options_keep_the_contract(name: str, options: dict[str, Any]) -> None:
    report = check("pretext", f"aekit/{name}", options)
    assert report.ok, str(report)


def test_the_loss_counts_in_the_hole_and_in_the_band_around_it() -> None:
    data = images()
    made = task("inpainting", data, {"mask": "center", "overlap": 2, "overlap_weight": 10.0, "residual": False})
    x = seen(made, data)
    hole = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    hole[..., 4:12, 4:12] = True  # a quarter of 16 x 16
    near = torch.zeros_like(hole)
    near[..., 2:14, 2:14] = True
    weights = (hole + 10.0 * (near & ~hole)).expand_as(x)
    mean = x.mean((0, 2, 3)).view(1, 3, 1, 1)
    visible = torch.where(hole, mean, x)
    loss = made.eval().loss(x, drawn())
    assert torch.allclose(made.filling.value, mean[0], atol=1e-6)
    errors = (made.decoder(made.encoder.encode(visible)) - x).square().detach()
    assert loss["loss"].item() == pytest.approx(((weights * errors).sum() / weights.sum()).item(), rel=1e-5)
    left, before = (errors * hole).sum(), ((visible - x).square()).sum()
    assert loss["error_reduction"].item() == pytest.approx(float(1 - left / before), rel=1e-3)


@pytest.mark.parametrize("fill", ["mean", "surroundings"])
def test_what_was_never_hidden_stays_as_it_was(fill: str) -> None:
    data = images()
    made = task("inpainting", data, {"fill": fill}).eval()
    x = seen(made, data)
    rows = made.visualize(x, drawn())
    visible, hidden = made.mask_input(x, drawn())
    assert torch.equal(rows["network input"], visible) and not torch.equal(rows["network output"], visible)  # type: ignore[arg-type]
    assert torch.equal(torch.where(hidden, 0.0, rows["network output"]), torch.where(hidden, 0.0, x))  # type: ignore[arg-type]
    taken = made.prepare_damaged(x, hidden)
    assert torch.equal(taken.visible, visible) and taken.mask is hidden


@pytest.mark.parametrize("shape", [(2, 24), (1, 6, 10, 12)])
def test_gaps_in_series_and_holes_in_clips(shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).random((20, *shape)).astype(np.float32)
    made = task("inpainting", data, {"mask": "block"})
    _, hidden = made.mask_input(seen(made, data), drawn())
    assert hidden.shape == (20, 1, *shape[1:]) and 0.1 < hidden.float().mean() < 0.4
    smaller = task("super-resolution", data)
    assert smaller.damage(seen(smaller, data), drawn()).visible.shape == data.shape
    in_time = task("super-resolution", data, {"axes": "time"})
    x = seen(in_time, data)
    coarse = resample(x, (shape[1] // 2, *shape[2:]))
    assert torch.allclose(in_time.damage(x, drawn()).visible, resample(coarse, shape[1:]).clamp(0, 1))


def test_a_network_that_adds_to_what_it_sees_begins_by_leaving_it() -> None:
    data = images()
    for loss in ("mse", "bce", "huber", "logistic", "gaussian", "ssim"):
        made = task("super-resolution", data, {"loss": loss}, dim=0).eval()
        assert made.residual and not task("super-resolution", data, dim=8).residual
        visible = made.damage(seen(made, data), drawn()).visible
        assert torch.allclose(made.transform(visible), visible, atol=2e-3), loss
        assert torch.isfinite(made.loss(seen(made, data), drawn())["loss"])


@pytest.mark.parametrize("name", list(LOSSES))
def test_what_comes_before_an_activation(name: str) -> None:
    likelihood = LOSSES[name](SampleSpec("image", (1, 4, 4), "uint8"))
    x = torch.linspace(0.01, 0.99, 16).view(1, 1, 4, 4)
    assert torch.allclose(likelihood.activate(likelihood.inverse_activation(x)), x, atol=1e-5)


def test_convolutions_run_at_other_sizes_as_at_their_own() -> None:
    data = images()
    made = task("watermark-removal", data, {"residual": False}, dim=0).eval()
    x = seen(made, data)
    again = apply_any_size(made.encoder.backbone, made.decoder, x)
    assert torch.allclose(again, made.decoder(made.encoder.encode(x)), atol=1e-5)
    large = torch.rand(1, 3, 24, 40, generator=drawn())
    assert made.transform(large).shape == large.shape and made.damage(large, drawn()).visible.shape == large.shape


def test_marks_are_blended_into_the_image() -> None:
    data = np.full((64, 3, 32, 32), 128, np.uint8)
    data[0], data[1] = 0, 255  # so that colors reach from black to white
    made = task(
        "watermark-removal", data, {"min_opacity": 0.5, "max_opacity": 0.5, "max_watermarks": 1, "tiled_ratio": 0.0}
    )
    x = seen(made, data)[2:]
    visible = made.damage(x, drawn()).visible
    assert visible.shape == x.shape and (visible != x).flatten(1).any(1).all(), "there is a mark in each"
    assert visible.min() >= 0.5 * 128 / 255 - 1e-3 and visible.max() <= 0.5 * 128 / 255 + 0.5 + 1e-3
    assert 0.02 < (visible - x).abs().gt(0.01).float().mean() < 0.5, "most of the image is left alone"
    assert not torch.equal(visible, made.damage(x, drawn(1)).visible)
    assert "fonts" in made.note and "64 watermarks" in task("watermark-removal", data, {"bank_size": 64}).note


def test_colors_come_from_the_lightness_alone() -> None:
    data = images()
    made = task("colorization", data).eval()
    x = seen(made, data)
    gray = made.damage(x, drawn()).visible
    lab = color.rgb2lab(data / 255, channel_axis=1)
    assert torch.allclose(gray, gray[:, :1].expand_as(gray), atol=1e-3)
    assert np.allclose(color.rgb2lab(gray.numpy(), channel_axis=1)[:, 0], lab[:, 0], atol=0.05)
    for shown in (made.transform(gray), task("colorization", data, {"target": "regression"}).eval().transform(gray)):
        # Colors that a screen does not show at this lightness are cut, which may change it a little.
        assert np.abs(color.rgb2lab(shown.detach().numpy(), channel_axis=1)[:, 0] - lab[:, 0]).mean() < 1


def test_the_color_loss_by_hand() -> None:
    data = images(count=6)
    made = task("colorization", data, {"square": 2}).eval()
    x = seen(made, data)
    ab = F.avg_pool2d(rgb_to_lab(x)[:, 1:], 2)
    features = made.decoder(made.encoder.encode(made.prepare_damaged(x).visible))
    logits = made.classifier(F.avg_pool2d(features, 2)).detach()  # type: ignore[operator]
    places, shares = soft_encode_ab(ab, made.bins)  # type: ignore[arg-type]
    total = weight = 0.0
    for image in range(6):
        for row in range(8):
            for column in range(8):
                chances = logits[image, :, row, column].log_softmax(0)
                bins, own = places[image, row, column], shares[image, row, column]
                rarity = float(made.rarity[bins[own.argmax()]])  # type: ignore[index]
                total -= rarity * float((own * chances[bins]).sum())
                weight += rarity
    assert made.loss(x, drawn())["loss"].item() == pytest.approx(total / weight, rel=1e-4)
    sharp = (logits / 0.38).softmax(1)
    mean = torch.einsum("bqhw,qc->bchw", sharp, made.bins)
    wide = F.interpolate(mean, (16, 16), mode="bilinear", align_corners=False)
    lab = torch.cat([rgb_to_lab(made.prepare_damaged(x).visible)[:, :1], wide], 1)
    assert torch.allclose(made.transform(made.prepare_damaged(x).visible), lab_to_rgb(lab), atol=1e-4)


def test_targets_keep_all_digits_under_autocast() -> None:
    data = images()
    for name in ("super-resolution", "watermark-removal"):
        made, kept = task(name, data), list[Tensor]()
        made.encoder.backbone.register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0].clone()))
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                made.loss(seen(made, data), drawn())
        assert torch.equal(*kept), name


@pytest.mark.parametrize(
    ("name", "data", "options", "said"),
    [
        ("inpainting", np.ones((8, 5), np.float32), {}, "expected series (C, T), images (C, H, W) or clips"),
        ("colorization", images(8, channels=1), {}, "expected RGB images"),
        ("watermark-removal", np.ones((8, 2, 16), np.float32), {}, "expected images (C, H, W), found series"),
        (
            "watermark-removal",
            images(8),
            {"min_width": 0.9, "max_width": 0.5},
            "min_width = 0.9: expected at most max_width = 0.5",
        ),
        ("super-resolution", images(8), {"axes": "time"}, "axes = 'time' leaves nothing to downsample"),
        ("super-resolution", images(8), {"factor": 16}, "factor = 16 leaves fewer than two entries of 16"),
        ("inpainting", np.arange(400, dtype=np.float32).reshape(8, 2, 25), {"loss": "bce"}, "needs data in [0, 1]"),
    ],
)
def test_samples_and_options_that_do_not_fit(name: str, data: np.ndarray, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        task(name, data, options)
    assert said in str(caught.value)


def test_decoders_of_other_channels() -> None:
    data = images()
    encoder = task("super-resolution", data).encoder
    code = encoder.encode(encoder.preprocess(torch.from_numpy(data)))
    assert encoder.decoder(5)(code).shape == (48, 5, 16, 16)
    with pytest.raises(NotImplementedError, match="a tied decoder has as many channels as the sample"):
        task("inpainting", data, tied=True).encoder.decoder(5)
    with pytest.raises(RecipeError, match="the task restores samples, but a tied decoder"):
        task("colorization", data, tied=True)


# What is kept of a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four tasks and an autoencoder around one encoder without a dense layer."""
    folder = tmp_path_factory.mktemp("restoring") / "run"
    tasks = {"pretexts": list(TASKS), "variants": ["plain"], "watermark-removal": {"bank_size": 32}}
    overrides = {f"objective.{name}": value for name, value in tasks.items()}
    aekit.fit(images(96), dim=0, epochs=1, out=folder, overrides=FAST | overrides | {"train.batch_size": 24})
    return folder


def test_tasks_come_back_as_they_were(run: Path, tmp_path: Path) -> None:
    encoder = aekit.load(run)
    loaded = load_pretexts(run, encoder)
    assert sorted(loaded) == ["clean", "colorize", "enlarge", "inpaint"]
    assert sorted(path.name for path in (run / "pretexts").iterdir()) == sorted(TASKS)
    x = encoder.preprocess(torch.from_numpy(images(4, seed=7)))
    for name, one in loaded.items():
        assert isinstance(one, RestorationTask) and not one.training
        described = json.loads((run / "pretexts" / plugin_of(name) / "pretext.json").read_text())
        assert described["encoder"] == encoder.digest and described["plugin"]["distribution"] == "aekit"
    # Saved again from memory, they are the same byte for byte.
    for name, one in loaded.items():
        objective = PretextObjective(encoder, one, registered(plugin_of(name)), options_of(run, plugin_of(name)))
        (folder,) = save_pretexts(objective, tmp_path / name)
        assert (folder / "weights.safetensors").read_bytes() == (
            run / "pretexts" / folder.name / "weights.safetensors"
        ).read_bytes()
        (again,) = load_pretexts(tmp_path / name, encoder).values()
        with torch.inference_mode():
            assert torch.equal(again.transform(x), one.transform(x))  # type: ignore[operator]


def plugin_of(name: str) -> str:
    return {
        "inpaint": "inpainting",
        "colorize": "colorization",
        "enlarge": "super-resolution",
        "clean": "watermark-removal",
    }[name]


def registered(name: str) -> Any:
    return registry().get("pretext", f"aekit/{name}")


def options_of(run: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((run / "pretexts" / name / "pretext.json").read_text())["options"])


def test_tasks_that_cannot_be_trusted_are_refused(run: Path, tmp_path: Path) -> None:
    encoder = aekit.load(run)

    def copied(change: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / "pretexts" / "inpainting"
        folder.mkdir(parents=True, exist_ok=True)
        own = run / "pretexts" / "inpainting"
        described = json.loads((own / "pretext.json").read_text())
        change(described)
        (folder / "pretext.json").write_text(json.dumps(described))
        reseal(folder / "pretext.json")
        (folder / "weights.safetensors").write_bytes((own / "weights.safetensors").read_bytes())
        return tmp_path

    def load(change: Callable[[dict[str, Any]], None]) -> dict[str, Pretext]:
        return load_pretexts(copied(change), encoder)

    assert list(load(lambda described: None)) == ["inpaint"]
    with pytest.raises(IdentityError, match="comes from encoder 000000000000"):
        load(lambda described: described.update(encoder="0" * 64))
    with pytest.raises(IdentityError, match="pretext format 9, this aekit reads 2"):
        load(lambda described: described.update(format=9))
    with pytest.raises(
        PluginError, match=r"pretext 'inpainting' of other 1\.0 is not installed: pip install 'other==1\.0'"
    ):
        load(lambda described: described["plugin"].update(distribution="other", version="1.0"))
    with pytest.raises(RecipeError, match=r"inpainting.mask_rati: no such option; did you mean 'mask_ratio'"):
        load(lambda described: described["options"].update(mask_rati=0.5))
    (copied(lambda described: None) / "pretexts" / "inpainting" / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        IdentityError, match=r"weights\.safetensors: is damaged \(its sha256 differs from the pretext\.json\)"
    ):
        load_pretexts(tmp_path, encoder)
    record = tmp_path / "pretexts" / "inpainting" / "pretext.json"
    described = json.loads(record.read_text())
    reseal_files(record)
    reseal(record, plugin=described["plugin"] | {"version": "9.9"})
    with pytest.raises(PluginError, match=r"saved with aekit==9\.9"):
        load_pretexts(tmp_path, encoder)


def test_tasks_without_an_application_are_not_kept(tmp_path: Path) -> None:
    aekit.fit(images(32), pretexts=["rotation"], epochs=1, out=tmp_path / "run", overrides=FAST)
    assert not (tmp_path / "run" / "pretexts").exists()


# In use


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images in ``whole/``: three of 16 x 16, two larger."""
    where = tmp_path_factory.mktemp("images")
    (where / "whole").mkdir()
    for number, side in enumerate([16, 16, 16, 24, 40]):
        one = images(1, side, seed=100 + number)[0].transpose(1, 2, 0)[:, : side - 4 * (number == 4)]
        Image.fromarray(one).save(where / "whole" / f"{number}.png")
    return where


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in rows}


@pytest.mark.parametrize("name", ["inpaint", "colorize", "enlarge", "clean"])
def test_a_demonstration_is_judged(name: str, run: Path, folder: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = command.ok("apply", run, folder / "whole", "-o", out, "--task", name, "--demonstrate", "-q")
    results = json.loads((out / "results.json").read_text())
    rows = by_name(results["rows"])
    left = {"inpaint": "surroundings", "colorize": "grayscale", "enlarge": "bicubic", "clean": "watermarked"}[name]
    assert (
        list(rows)[:2] == ["network", left] and left in told and results["original_size"] and results["demonstration"]
    )
    errors = []
    for number in range(5):
        before, after = read(folder / "whole" / f"{number}.png"), read(out / "samples" / f"{number}.png")
        assert before.shape == after.shape
        errors.append(10 * np.log10(255**2 / np.square(before.astype(float) - after).mean()))
    assert rows["network"]["psnr"] == pytest.approx(np.mean(errors), abs=1e-3)
    again = aekit.apply(run, str(folder / "whole"), task=name, demonstrate=True, baselines=False)
    assert [row["method"] for row in again.rows] == ["network", left]
    assert again.rows[0] == results["rows"][0], "the same from the same seed"
    if name == "inpaint":
        assert {"mean", "nearest neighbor", "biharmonic"} <= set(rows) and rows["network"]["psnr in mask"] < rows[
            "network"
        ]["psnr"]


def test_holes_that_masks_name(run: Path, folder: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "pierced").mkdir()
    for path in (folder / "whole").iterdir():
        whole = read(path)
        mask = np.zeros(whole.shape[:2], np.uint8)
        mask[4:9, 3:8] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / path.name)
        pierced = np.where(mask[..., None] > 0, np.uint8([255, 0, 255]), whole)
        Image.fromarray(np.dstack([pierced, 255 - mask])).save(tmp_path / "pierced" / path.name)
    arguments = (
        "apply",
        run,
        tmp_path / "pierced",
        "--task",
        "inpaint",
        "-q",
        "--clean",
        folder / "whole",
        "--no-baselines",
    )
    command.ok(*arguments, "-o", tmp_path / "by-mask", "--mask", tmp_path / "masks")
    command.ok(*arguments, "-o", tmp_path / "by-alpha", "--mask-value", "transparent")
    rows = by_name(json.loads((tmp_path / "by-mask" / "results.json").read_text())["rows"])
    assert set(rows) == {"network", "surroundings"} and "psnr in mask" in rows["network"]
    for number in range(5):
        whole, filled = (
            read(folder / "whole" / f"{number}.png"),
            read(tmp_path / "by-mask" / "samples" / f"{number}.png"),
        )
        hole = read(tmp_path / "masks" / f"{number}.png") > 0
        assert np.array_equal(filled[~hole], whole[~hole]), "what is not in the hole is left alone"
        assert not (filled[hole] == [255, 0, 255]).all(1).any()
        assert np.array_equal(filled, read(tmp_path / "by-alpha" / "samples" / f"{number}.png"))
    # A color that stands for a hole, and one mask for images of one size.
    flat = np.stack([read(tmp_path / "pierced" / f"{number}.png")[..., :3].transpose(2, 0, 1) for number in range(3)])
    flat[:, :, 4:9, 3:8] = np.uint8([255, 0, 255])[:, None, None]
    by_color = aekit.apply(run, flat, task="inpaint", mask_value="255,0,255").values
    one = np.zeros((1, 16, 16), bool)
    one[0, 4:9, 3:8] = True
    by_array = aekit.apply(run, flat, task="inpaint", mask=one).values
    assert isinstance(by_color, np.ndarray) and np.array_equal(by_color, by_array)
    none = aekit.apply(run, flat, task="inpaint", mask_value="7")
    assert "3 of 3 samples have an empty mask" in none.notes and np.array_equal(none.values, flat)
    assert none.rows == [] and set(none.samples[0]) == {"id", "rmse to input"}


def test_without_holes_it_is_a_demonstration(run: Path) -> None:
    made = aekit.apply(run, images(4), task="inpaint", baselines=False)
    assert any("no masks were given" in note for note in made.notes) and made.details["demonstration"]


def test_gray_images_are_colored(run: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gray").mkdir()
    for path in (folder / "whole").iterdir():
        Image.open(path).convert("L").save(tmp_path / "gray" / path.name)
    made = aekit.apply(run, str(tmp_path / "gray"), task="colorize", clean=str(folder / "whole"))
    assert [row["method"] for row in made.rows] == ["network", "grayscale"] and isinstance(made.values, list)
    assert any((value.max(0).astype(int) - value.min(0)).max() > 10 for value in made.values), "there is color"


def test_marked_images_are_cleaned_as_they_are(run: Path, folder: Path) -> None:
    made = aekit.apply(run, str(folder / "whole"), task="clean")
    assert made.rows == [] and not made.details["demonstration"] and made.count == 5


def test_images_are_enlarged(run: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    for path in (folder / "whole").iterdir():
        image = Image.open(path)
        image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC).save(
            tmp_path / "small" / path.name
        )
    made = aekit.apply(run, str(tmp_path / "small"), task="enlarge", clean=str(folder / "whole"), out=tmp_path / "out")
    assert [row["method"] for row in made.rows] == ["network", "bicubic"]
    for path in (folder / "whole").iterdir():
        assert read(tmp_path / "out" / "samples" / path.name).shape == read(path).shape
    # From whole images that it makes small itself, the same.
    own = aekit.apply(run, str(folder / "whole"), task="enlarge", demonstrate=True)
    assert own.rows[1]["psnr"] == pytest.approx(made.rows[1]["psnr"], abs=0.5), "but for rounding to 8 bits in between"


@pytest.fixture(scope="module")
def dense_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Super-resolution through a code of 16 numbers, for gray images of 16 x 16."""
    where = tmp_path_factory.mktemp("dense") / "run"
    aekit.fit(images(64, channels=1), pretexts=["super-resolution"], dim=16, epochs=1, out=where, overrides=FAST)
    return where


def test_networks_of_one_size(dense_run: Path, tmp_path: Path) -> None:
    made = aekit.apply(dense_run, images(6, 8, channels=1), task="enlarge")
    assert isinstance(made.values, np.ndarray) and made.values.shape == (6, 1, 16, 16)
    with pytest.raises(
        DataError, match="0: upscaled it is 1x40x40, the network takes 1x16x16: its code is a dense layer"
    ):
        aekit.apply(dense_run, images(6, 20, channels=1), task="enlarge")
    with pytest.raises(DataError, match="samples are image 3x8x8 uint8, the task upscales image samples of 1 channels"):
        aekit.apply(dense_run, images(6, 8), task="enlarge")
    whole = aekit.apply(dense_run, images(6, channels=1), task="enlarge", demonstrate=True)
    assert "resized to the 16x16 pixels of the network" in whole.notes[0] and not whole.details["original_size"]


def test_gaps_in_series_are_filled(tmp_path: Path) -> None:
    time = np.linspace(0, 6 * np.pi, 48)
    phases = np.random.default_rng(0).uniform(0, 6, (200, 1))
    waves = np.stack([np.sin(time + phases), np.cos(time + phases)], 1).astype(np.float32)
    overrides = FAST | {"train.lr": 5e-3, "objective.inpainting.mask": "block", "train.batch_size": 20}
    aekit.fit(waves[:150], pretexts=["inpainting"], dim=8, epochs=40, out=tmp_path / "run", overrides=overrides)
    gap = np.zeros((1, 48), bool)
    gap[0, 20:32] = True
    made = aekit.apply(tmp_path / "run", waves[150:], task="inpaint", mask=gap, clean=waves[150:])
    rows = by_name(made.rows)
    assert list(rows) == ["network", "mean", "nearest neighbor"] and isinstance(made.values, np.ndarray)
    assert rows["network"]["rmse in mask"] < 0.5 * rows["mean"]["rmse in mask"]
    assert rows["network"]["rmse in mask"] < rows["nearest neighbor"]["rmse in mask"]
    assert np.allclose(made.values[:, :, ~gap[0]], waves[150:][:, :, ~gap[0]], atol=1e-5)


def test_a_task_with_nothing_but_a_transform(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mirrored(Pretext):
        def transform(self, x: Tensor) -> Tensor:
            return x.flip(-1)

    monkeypatch.setattr(
        "aekit.workflows.applying._context.load_pretexts", lambda run, encoder: {"mirror": Mirrored(encoder)}
    )
    data = images(3)
    made = aekit.apply(run, data, task="mirror", clean=data)
    assert np.array_equal(made.values, data[..., ::-1]) and [r["method"] for r in made.rows] == ["network", "input"]
    with pytest.raises(RecipeError, match="the task cannot damage samples"):
        aekit.apply(run, data, task="mirror", demonstrate=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "inpain"}, "task 'inpain': no such task; did you mean 'inpaint'?"),
        ({"task": "clean", "mask": "x.png"}, "clean.mask: the task takes no masks"),
        ({"task": "inpaint", "mask": "x.png", "mask_value": "0"}, "inpaint.mask, mask_value: expected only one"),
        ({"task": "inpaint", "mask": "nowhere.png"}, "nowhere.png: no such file or folder"),
        (
            {"task": "inpaint", "mask_value": "pink"},
            "mask_value = 'pink': expected 'transparent', a number, or 3 separated by commas",
        ),
        (
            {"task": "inpaint", "mask_value": "1,2"},
            "mask_value = '1,2': expected 'transparent', a number, or 3 separated by commas",
        ),
        ({"task": "inpaint", "mask_value": "transparent"}, "only image files have transparency"),
        ({"task": "inpaint", "mask": np.ones((1, 5, 5), bool)}, "0: mask of size 1x5x5 for a sample of size 3x16x16"),
        (
            {"task": "inpaint", "mask": np.ones((3, 16, 16), bool)},
            "3 samples for 4 damaged ones; expected one mask for each",
        ),
        ({"task": "inpaint", "demonstrate": False}, "inpaint: expected mask or mask_value"),
        ({"task": "inpaint", "clean": "x"}, "inpaint: expected mask or mask_value"),
        ({"task": "clean", "demonstrate": True, "clean": "x"}, "the task damages clean DATA itself"),
        ({"task": "clean", "tiles": 3}, "clean.tiles: no such option; did you mean 'tile'?"),
    ],
)
def test_mistakes(settings: dict[str, Any], said: str, run: Path) -> None:
    with pytest.raises(AekitError) as caught:
        aekit.apply(run, images(4), **settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_runs_that_were_not_trained_for_it(dense_run: Path, tmp_path: Path, command: Command) -> None:
    data = tmp_path / "data.npy"
    np.save(data, images(4, channels=1)[:, 0])
    error = command("apply", dense_run, data, "-o", tmp_path / "out", "-q").error
    assert "has no decoder; an autoencoder has one" in error and "trained for the task enlarge" in error
    error = command("apply", dense_run, data, "-o", tmp_path / "out", "-q", "--task", "inpaint").error
    assert error.endswith("was not trained for it; train with pretext task 'inpainting'")
    assert not (tmp_path / "out").exists()
