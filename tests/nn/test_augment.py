"""Views of samples: what changes in them and by how much, against kornia and against written-out references."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.preprocessing import Preprocess
from aekit.nn.augment.base import Augmentation
from aekit.nn.augment.images import ImageAugmentation, color_jitter, color_jitter_matrices, crop_and_resize
from aekit.nn.augment.presets import augmentation_for
from aekit.nn.augment.series import SeriesAugmentation, interpolate_knots
from aekit.nn.augment.vectors import VectorAugmentation
from aekit.testing.kit import global_state

SHAPES: dict[Kind, tuple[int, ...]] = {"vector": (12,), "series": (2, 40), "image": (3, 20, 14), "clip": (1, 6, 16, 12)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scaling(spec: SampleSpec, unit: bool = True, low: float = 0.0, high: float = 1.0) -> Preprocess:
    shape = spec.shape if spec.kind == "vector" else (spec.shape[0],) + (1,) * (len(spec.shape) - 1)
    values = [torch.full(shape, value) for value in (1.0, 0.0, low, high)]
    return Preprocess("unit" if unit else "standard", unit, *values)


def made(kind: Kind, shape: tuple[int, ...] | None = None, unit: bool = True, **options: Any) -> Any:
    spec = SampleSpec(kind, shape or SHAPES[kind], "float32")
    return augmentation_for(spec, scaling(spec, unit, *(() if unit else (-3.0, 3.0))), **options)


def plain(shape: tuple[int, ...] = (1, 16, 16), **changes: Any) -> ImageAugmentation:
    """Views that show the whole as it is, but for what is asked for."""
    nothing = {
        "crop_scale": (1.0, 1.0),
        "jitter": 0.0,
        "hue": 0.0,
        "grayscale": 0.0,
        "blur": 0.0,
        "solarize": 0.0,
        "pace": 1.0,
    }
    return replace(made("clip" if len(shape) == 4 else "image", shape, flip=False), **nothing | changes)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("strength", ["weak", "default", "strong"])
@pytest.mark.parametrize("unit", [True, False])
def test_views_keep_shape_and_range_and_draw_from_the_generator_alone(kind: Kind, strength: Any, unit: bool) -> None:
    views: Augmentation = made(kind, unit=unit, strength=strength)
    x = torch.rand(9, *SHAPES[kind], generator=generator(1)) * (1 if unit else 4) - (0 if unit else 2)
    kept, before = x.clone(), global_state()
    first, again, other = views(x, generator(2)), views(x, generator(2)), views(x, generator(3))
    assert torch.equal(x, kept) and global_state() == before
    assert first.shape == x.shape and first.dtype == torch.float32 and torch.isfinite(first).all()
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not unit or (first.min() >= 0 and first.max() <= 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(views(x, generator(2)), first), "views are drawn in full precision"
    same = views(x[:1].expand_as(x), generator(2))
    assert not any(torch.equal(same[0], row) for row in same[1:]), "each sample's view is its own"
    assert views.description


def test_single_steps_and_single_pixels_have_views() -> None:
    for kind, shape in (("vector", (1,)), ("series", (1, 1)), ("image", (1, 1, 1)), ("clip", (1, 1, 2, 2))):
        view = made(kind, shape)(torch.rand(3, *shape), generator())
        assert view.shape == (3, *shape) and torch.isfinite(view).all()


@pytest.mark.parametrize("shape", [(3, 16, 12), (2, 9, 9), (3, 4, 8, 10)], ids=["color", "gray", "clip"])
def test_a_view_of_all_with_nothing_changed_is_the_sample(shape: tuple[int, ...]) -> None:
    x = torch.rand(5, *shape)
    assert torch.allclose(plain(shape)(x, generator()), x, atol=1e-5)
    mirrored = plain(shape, flip=True)(x, generator())
    for row, straight in zip(mirrored, x):
        assert any(torch.allclose(row, way, atol=1e-5) for way in (straight, straight.flip(-1)))
    ways = {torch.allclose(row, straight, atol=1e-5) for row, straight in zip(mirrored, x)}
    assert ways == {True, False}


def test_a_box_is_enlarged_as_torch_enlarges_it() -> None:
    x = torch.rand(1, 3, 28, 20)
    sides, places = torch.tensor([[0.5], [0.25]]), torch.tensor([[1.0], [1 / 3]])  # 10 wide at the right, 7 high from 7
    found = crop_and_resize(x, sides, places, torch.tensor([False]))
    expected = F.interpolate(x[:, :, 7:14, 10:20], (28, 20), mode="bilinear", align_corners=False)
    assert torch.allclose(found[..., 2:-2, 1:], expected[..., 2:-2, 1:], atol=1e-5)
    mirrored = crop_and_resize(x, sides, places, torch.tensor([True]))
    assert torch.allclose(mirrored, found.flip(-1), atol=1e-5)


def boxes(
    views: ImageAugmentation, shape: tuple[int, ...], count: int = 4000
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left, right, upper and lower edges of what views show, in parts of the whole, read off images of coordinates."""
    across = torch.linspace(0.5 / shape[1], 1 - 0.5 / shape[1], shape[1]).expand(shape)
    down = torch.linspace(0.5 / shape[0], 1 - 0.5 / shape[0], shape[0])[:, None].expand(shape)
    seen = views(torch.stack([across, down]).expand(count, 2, *shape), generator()).double()
    found: list[np.ndarray] = []
    for axis, plane in ((1, seen[:, 0, shape[0] // 2]), (0, seen[:, 1, :, shape[1] // 2])):
        step = (plane[:, -3] - plane[:, 2]) / (shape[axis] - 5)  # away from the edge, where values are held
        found += [(plane[:, 2] - 2.5 * step).numpy(), (plane[:, -3] + 2.5 * step).numpy()]
    return found


@pytest.mark.parametrize("shape", [(40, 40), (60, 30)])
def test_boxes_have_the_area_and_the_ratio_that_they_should_and_lie_within(shape: tuple[int, int]) -> None:
    views = plain((2, *shape), crop_scale=(0.3, 0.5))
    left, right, top, bottom = boxes(views, shape)
    assert min(left.min(), top.min()) > -0.01 and max(right.max(), bottom.max()) < 1.01
    area = (right - left) * (bottom - top)
    assert area.min() > 0.29 and area.max() < 0.51 and area.mean() == pytest.approx(0.4, abs=0.01)
    ratio = (right - left) * shape[1] / ((bottom - top) * shape[0])
    fits = ((right - left) < 0.99) & ((bottom - top) < 0.99)
    assert ratio[fits].min() > 0.74 and ratio[fits].max() < 1.35
    # Evenly placed: the free space is parted evenly.
    place = left / (1 - (right - left))
    assert place[fits].mean() == pytest.approx(0.5, abs=0.03) and np.std(place[fits]) == pytest.approx(
        12**-0.5, abs=0.02
    )


def test_a_box_that_would_not_fit_keeps_its_area() -> None:
    left, right, top, bottom = boxes(plain((2, 40, 40), crop_scale=(0.9, 0.9)), (40, 40))
    assert (right - left) * (bottom - top) == pytest.approx(0.9, abs=0.01)
    assert max(right.max(), bottom.max()) < 1.01


def test_light_and_color_agree_with_kornia() -> None:
    kornia = pytest.importorskip("kornia", reason="kornia is not installed: it is what these are compared with")
    x, count = torch.rand(6, 3, 9, 7, generator=generator()) * 0.5 + 0.25, 6
    factors = torch.linspace(0.8, 1.2, count)
    ones, still = torch.ones(count), torch.zeros(count)
    enhance = kornia.enhance
    assert torch.allclose(
        color_jitter(x, factors, ones, ones, still), enhance.adjust_brightness_accumulative(x, factors), atol=1e-5
    )
    assert torch.allclose(
        color_jitter(x, ones, factors, ones, still),
        enhance.adjust_contrast_with_mean_subtraction(x, factors),
        atol=1e-5,
    )
    assert torch.allclose(
        color_jitter(x, ones, ones, factors, still),
        enhance.adjust_saturation_with_gray_subtraction(x, factors),
        atol=1e-5,
    )
    gray = kornia.color.rgb_to_grayscale(x).expand_as(x)
    assert torch.allclose(color_jitter(x, ones, ones, still, still), gray, atol=1e-5)
    both = enhance.adjust_contrast_with_mean_subtraction(enhance.adjust_brightness_accumulative(x, factors), factors)
    assert torch.allclose(color_jitter(x, factors, factors, ones, still), both, atol=1e-5)
    solarized = plain((3, 9, 7), solarize=1.0)(x, generator())
    assert torch.allclose(solarized, enhance.solarize(x, 0.5), atol=1e-5)


def test_hue_turns_in_the_plane_of_color_differences_and_keeps_brightness() -> None:
    """As an angle of I + iQ, and red, a third of a turn on, is nearer to green or blue than to red."""
    rgb = torch.rand(50, 3, generator=generator()).double()
    turns = torch.linspace(-0.5, 0.5, 50)
    turned = torch.einsum("bij,bj->bi", color_jitter_matrices(torch.ones(50), turns).double(), rgb)
    rows = torch.tensor(
        [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]
    ).double()
    before, after = rgb @ rows.T, turned @ rows.T
    assert torch.allclose(after[:, 0], before[:, 0], atol=1e-5)
    angle = torch.complex(after[:, 1], after[:, 2]) / torch.complex(before[:, 1], before[:, 2])
    assert torch.allclose(angle, torch.polar(torch.ones(50).double(), 2 * torch.pi * turns.double()), atol=1e-4)
    third = color_jitter_matrices(torch.ones(2), torch.tensor([1 / 3, -1 / 3])) @ torch.tensor([1.0, 0.0, 0.0])
    assert (third.argmax(1) != 0).all()


def test_images_without_color_keep_their_channels_apart_from_color_changes() -> None:
    x = torch.rand(200, 5, 6, 6, generator=generator())
    seen = plain((5, 6, 6), jitter=0.3, hue=0.2, grayscale=0.5)(x, generator())
    inside = ((seen > 0.01) & (seen < 0.99)).all(1)
    # One gain and one offset for all channels: differences of channels change by the gain alone.
    gains = ((seen[:, :1] - seen[:, 1:]) / (x[:, :1] - x[:, 1:])).movedim(1, -1)[inside]
    assert (gains.std(1) / gains.mean(1)).median() < 1e-3


def test_light_changes_most_samples_and_gray_some() -> None:
    x = torch.rand(3000, 3, 4, 4, generator=generator()) * 0.2 + 0.4
    lit = plain((3, 4, 4), jitter=0.2)(x, generator())
    assert (lit - x).abs().amax((1, 2, 3)).gt(1e-3).float().mean().item() == pytest.approx(0.8, abs=0.03)
    gray = plain((3, 4, 4), grayscale=0.2)(x, generator())
    colorless = (gray.amax(1) - gray.amin(1)).amax((1, 2)) < 1e-5
    assert colorless.float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_scaled_images_change_between_their_own_black_and_white() -> None:
    """As images in 0..1 do: views of x in -3..3 are those of (x + 3) / 6, scaled back."""
    x = torch.rand(8, 3, 12, 12)
    inside = replace(made("image", (3, 12, 12), unit=False), unit=False)
    expected = replace(made("image", (3, 12, 12)), unit=True)(x, generator())
    assert torch.allclose((inside(6 * x - 3, generator()) + 3) / 6, expected, atol=1e-5)


def test_all_frames_of_a_clip_are_treated_alike() -> None:
    frame = torch.rand(4, 3, 1, 14, 14)
    seen = made("clip", (3, 6, 14, 14), strength="strong")(frame.expand(-1, -1, 6, -1, -1), generator())
    assert torch.allclose(seen, seen[:, :, :1].expand_as(seen), atol=1e-4)


def test_a_part_of_a_clips_time_is_stretched_to_the_whole() -> None:
    time = torch.linspace(0, 1, 21)[None, None, :, None, None].expand(500, 1, 21, 4, 4)
    seen = plain((1, 21, 4, 4), pace=0.5)(time, generator())[:, 0, :, 0, 0]
    lasts = (seen[:, 14] - seen[:, 6]) / (time[0, 0, 14, 0, 0] - time[0, 0, 6, 0, 0])
    assert lasts.min() > 0.49 and lasts.max() < 1.01 and lasts.mean().item() == pytest.approx(0.75, abs=0.02)


def test_small_images_are_not_blurred_and_large_ones_are_softer() -> None:
    assert not made("image", (3, 32, 32)).blurs and "blur" not in made("image", (3, 32, 32)).description
    x = torch.rand(40, 1, 96, 96, generator=generator())
    views = made("image", (1, 96, 96))
    assert views.blurs and views.sigma == pytest.approx((0.1 * 96 / 224, 2 * 96 / 224))
    seen = plain((1, 96, 96), blur=0.5, sigma=(0.8, 0.8))(x, generator())
    softness = seen.diff(dim=-1).abs().mean((1, 2, 3)) / x.diff(dim=-1).abs().mean((1, 2, 3))
    assert set(softness.lt(0.9).tolist()) == {True, False} and softness.max() < 1.01


def test_color_images_are_mirrored_unless_asked_not_to_and_gray_ones_only_if() -> None:
    assert made("image", (3, 8, 8)).flip and not made("image", (1, 8, 8)).flip
    assert made("image", (1, 8, 8), flip=True).flip and not made("image", (3, 8, 8), flip=False).flip


def test_the_share_of_a_sample_that_is_shown_can_be_set() -> None:
    for kind in SHAPES:
        assert made(kind, crop_scale=0.7).crop_scale[0] == 0.7
    assert made("vector", crop_scale=0.9).crop_scale == (0.9, 0.9)


def still(**changes: float) -> SeriesAugmentation:
    nothing: dict[str, Any] = {
        "crop_scale": (1.0, 1.0),
        "pace": 0.0,
        "gain": 0.0,
        "drift": 0.0,
        "noise": 0.0,
        "gap": 0.0,
    }
    return replace(made("series", (2, 41), unit=False), **nothing | changes)


def test_a_part_of_a_series_is_read_off_forwards_at_an_uneven_pace() -> None:
    line = torch.linspace(0, 1, 41).expand(800, 2, 41)
    assert torch.allclose(still()(line, generator()), line, atol=1e-5)
    part = still(crop_scale=(0.5, 0.8))(line, generator())
    length = part[:, 0, -1] - part[:, 0, 0]
    assert length.min() > 0.49 and length.max() < 0.81 and length.mean().item() == pytest.approx(0.65, abs=0.02)
    assert torch.allclose(part.diff(dim=2).std(2), torch.zeros(800, 2), atol=1e-4), "at an even pace"
    warped = still(pace=0.5)(line, generator())
    assert (warped.diff(dim=2) > 0).all() and torch.allclose(warped[..., [0, -1]], line[..., [0, -1]], atol=1e-5)
    speed = warped[:, 0].diff(dim=1).log()
    assert (speed - speed.mean(1, keepdim=True)).abs().mean() > 0.1
    assert torch.equal(warped[:, 0], warped[:, 1]), "all channels have one time"


def test_a_series_between_two_steps_lies_on_the_line_between_them() -> None:
    series = torch.randn(5, 2, 41, generator=generator())
    position = torch.linspace(0, 40, 41).expand(5, 2, 41)
    views = still(crop_scale=(0.4, 0.9), pace=0.3)
    at = views(position, generator())[:, 0].double().numpy()
    seen = views(series, generator()).numpy()
    for sample in range(5):
        for channel in range(2):
            expected = np.interp(at[sample], np.arange(41), series[sample, channel])
            assert seen[sample, channel] == pytest.approx(expected, abs=1e-3)


def test_gain_drift_noise_and_gap_of_a_series() -> None:
    ones = torch.ones(3000, 2, 41)
    gained = still(gain=0.2)(ones, generator())
    assert torch.allclose(gained.std(2), torch.zeros(3000, 2), atol=1e-5)
    assert gained[:, 0, 0].std().item() == pytest.approx(0.2, rel=0.05) and not torch.equal(gained[:, 0], gained[:, 1])
    drifted = still(drift=0.2)(ones, generator())
    assert drifted[..., 0].std().item() == pytest.approx(0.2, rel=0.05) and drifted.std(2).mean() > 0.05
    assert drifted.diff(n=2, dim=2).abs().gt(1e-4).float().sum(2).max() <= 4, "lines between knots"
    assert still(noise=0.3)(ones, generator()).std().item() == pytest.approx(0.3, rel=0.05)
    hidden = still(gap=0.5)(ones, generator()) == 0
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert hidden.float().mean(2).max() <= 0.52 and hidden.float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert hidden[:, 0].float().diff(dim=1).abs().sum(1).max() <= 2, "one stretch"


def test_smooth_curves_pass_their_knots() -> None:
    knots = torch.randn(2, 3, 4)
    assert torch.allclose(interpolate_knots(knots, 10)[..., ::3], knots, atol=1e-6)


def test_entries_of_a_vector_come_from_other_samples_of_the_same_column() -> None:
    """SCARF: an entry is left alone or is a draw from the column, in the share asked for."""
    x = torch.arange(300.0)[:, None] + 1000 * torch.arange(12)
    views = VectorAugmentation(crop_scale=(0.4, 0.4), unit=False, noise=0.0)
    seen = views(x, generator())
    assert torch.equal((seen / 1000).floor(), (x / 1000).floor()), "columns stay columns"
    assert (seen == x).float().mean().item() == pytest.approx(0.4 + 0.6 / 300, abs=0.02)
    drawn = (seen % 1000)[seen != x]
    assert drawn.mean().item() == pytest.approx(149.5, rel=0.03) and drawn.min() < 5 and drawn.max() > 294
    noisy = VectorAugmentation(crop_scale=(1.0, 1.0), unit=False, noise=0.2)(x, generator())
    assert (noisy - x).std().item() == pytest.approx(0.2, rel=0.05)


def test_noise_follows_the_scale_of_the_data() -> None:
    assert made("vector", unit=True).noise == made("vector", unit=False).noise / 4
    assert made("series", unit=True).noise == made("series", unit=False).noise / 4


def gap_between(views: Augmentation, x: Tensor) -> float:
    return (views(x, generator()) - x).square().mean().item()


@pytest.mark.parametrize("kind", SHAPES)
def test_stronger_views_are_further_from_the_sample(kind: Kind) -> None:
    x = torch.rand(200, *SHAPES[kind], generator=generator())
    weak, default, strong = (gap_between(made(kind, strength=name), x) for name in ("weak", "default", "strong"))
    assert weak < default < strong
