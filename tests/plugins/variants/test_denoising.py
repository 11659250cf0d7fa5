"""Denoising: kinds of noise, random and annealed levels, and loss weights, compared with direct implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.variants.denoising import Denoising
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch import Tensor

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import Preprocess, fit_preprocess
from aekit.errors import RecipeError
from aekit.nn.blur import gaussian_blur
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch
from aekit.testing import conformance
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe

# With default options, the kit's own tests look at it.
test_blur_conforms = conformance("variant", "denoising", {"noise": "blur", "levels": [0.0, 2.0]})
test_emphasis_conforms = conformance(
    "variant", "denoising", {"noise": "salt-and-pepper", "alpha": 1.0, "beta": 0.5, "level": 0.4, "anneal": True}
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def prepared(scale: float = 1.0, shift: float = 0.0, axes: int = 1, channels: int = 1, **options: Any) -> Denoising:
    shape = (channels,) + (1,) * (axes - 1)
    buffers = [torch.full(shape, value) for value in (scale, shift, 0.0, 1.0)]
    variant = Denoising(**options)
    variant.prepare(Preprocess("unit", True, *buffers))
    return variant


def autoencoder(array: np.ndarray, backbone: str = "mlp", **options: Any) -> tuple[Autoencoder, Tensor]:
    """A denoising autoencoder, and all samples."""
    samples = load_samples(ArraySource(array), np.arange(len(array)), torch.device("cpu"))
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": backbone, "dim": 3},
        "objective": {"variants": ["denoising"], "denoising": options, "loss": "mse"},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder)
    objective.start(samples)
    return objective, samples.batch(torch.arange(len(array)))


def test_speckle_multiplies_the_sample_in_its_own_units() -> None:
    """Whatever the scaling, an entry of 200 becomes 200 (1 + 0.1 n), and one of 0 stays."""
    scale, shift = 1 / 50, -3.0
    raw = torch.tensor([0.0, 10.0, 200.0]).repeat(20000, 1)
    corrupted = prepared(scale, shift, noise="speckle", level=0.1).corrupt(raw * scale + shift, generator())
    restored = (corrupted - shift) / scale
    assert restored.mean(0).tolist() == pytest.approx([0, 10, 200], rel=0.01, abs=1e-4)
    assert restored.std(0).tolist() == pytest.approx([0, 1, 20], rel=0.02, abs=1e-4)


@pytest.mark.parametrize("shape", [(30,), (9, 14), (4, 7, 9)], ids=["series", "image", "clip"])
def test_blur_is_a_gaussian_filter_along_every_axis_but_the_channels(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((3, 2, *shape)).astype(np.float32)
    expected = gaussian_filter(x, (0, 0) + (1.2,) * len(shape), mode="nearest", radius=4)
    corrupted = prepared(axes=x.ndim - 1, noise="blur", level=1.2).corrupt(torch.from_numpy(x), generator())
    assert corrupted.numpy() == pytest.approx(expected, abs=1e-5)


def test_each_sample_is_blurred_by_its_own_width() -> None:
    x, widths = np.random.default_rng(0).random((4, 3, 20)), [0.0, 0.5, 1.0, 2.5]
    expected = [
        row if width == 0 else gaussian_filter1d(row, width, mode="nearest", radius=8) for row, width in zip(x, widths)
    ]
    assert gaussian_blur(torch.from_numpy(x), torch.tensor(widths).double(), 8).numpy() == pytest.approx(
        np.stack(expected)
    )
    variant = prepared(axes=2, noise="blur", levels=[0.5, 2.5])
    drawn = 0.5 + 2 * torch.rand(4, generator=generator())
    expected = [gaussian_filter1d(row, width, mode="nearest", radius=8) for row, width in zip(x, drawn.tolist())]
    corrupted = variant.corrupt(torch.from_numpy(x).float(), generator())
    assert corrupted.numpy() == pytest.approx(np.stack(expected), abs=1e-5)


def test_blur_refuses_vectors_and_takes_series() -> None:
    with pytest.raises(RecipeError, match=r"^denoising.noise = 'blur': needs series, images or clips, found vectors"):
        autoencoder(np.random.default_rng(0).random((20, 6)), noise="blur")
    objective, raw = autoencoder(np.random.default_rng(0).random((20, 2, 9)), noise="blur")
    assert objective.loss(Batch(raw), generator())["loss"].isfinite()


def zero_fractions(corrupted: Tensor) -> np.ndarray:
    return (corrupted == 0).float().flatten(1).mean(1).numpy()


def test_each_sample_draws_its_level_uniformly_from_the_range() -> None:
    x = torch.ones(800, 1, 2000)
    fractions = np.sort(zero_fractions(prepared(axes=2, noise="masking", levels=[0.1, 0.5]).corrupt(x, generator())))
    uniform = np.linspace(0.1, 0.5, 800)
    assert np.abs(fractions - uniform).max() < 0.05
    fixed = zero_fractions(prepared(axes=2, noise="masking", level=0.3).corrupt(x, generator()))
    assert fixed.std() < 0.02


def test_drawn_levels_of_gaussian_noise_are_in_the_units_of_the_data() -> None:
    corrupted = prepared(scale=1 / 255, axes=2, noise="gaussian", levels=[10, 50]).corrupt(
        torch.zeros(500, 1, 3000), generator()
    )
    deviations = 255 * corrupted.flatten(1).std(1)
    assert deviations.min().item() == pytest.approx(10, rel=0.1) and deviations.max().item() == pytest.approx(
        50, rel=0.1
    )


@pytest.mark.parametrize(
    ("options", "fractions"), [({"levels": [0.1, 0.6]}, [0.6, 0.35, 0.1]), ({"level": 0.4}, [0.4, 0.2, 0.0])]
)
def test_an_annealed_level_falls_in_a_straight_line(options: dict[str, Any], fractions: list[float]) -> None:
    variant = prepared(axes=1, channels=3000, noise="masking", anneal=True, **options)
    for variant.progress, fraction in zip((0.0, 0.5, 1.0), fractions):
        drawn_fractions = zero_fractions(variant.corrupt(torch.ones(40, 3000), generator()))
        assert drawn_fractions.mean() == pytest.approx(fraction, abs=0.01)
        assert drawn_fractions.std() < 0.02, "one level for all samples"


def test_the_loop_anneals() -> None:
    objective, _ = autoencoder(
        np.random.default_rng(0).random((20, 6)), noise="masking", levels=[0.1, 0.5], anneal=True
    )
    objective.set_progress(0.25)
    corrupted = objective.variants["denoising"].corrupt(torch.ones(2000, 6), generator())
    assert zero_fractions(corrupted).mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("noise", ["masking", "salt-and-pepper"])
def test_loss_weights_differ_for_corrupted_entries_and_the_others(noise: str) -> None:
    """Drawn entries count as corrupted even if their value stays the same: half of the entries are 0, and some at an extreme."""
    array = np.random.default_rng(0).integers(0, 2, (30, 1, 6, 6)).astype(np.float32)
    objective, raw = autoencoder(array, noise=noise, level=0.4, alpha=3.0, beta=0.5)
    logged = objective.loss(Batch(raw), generator(7))["loss"]
    chance = torch.rand(raw.shape, generator=generator(7))
    is_corrupted = chance < 0.4 if noise == "masking" else (chance < 0.2) | (chance > 0.8)
    corrupted = objective.variants["denoising"].corrupt(raw, generator(7))
    assert torch.equal(corrupted[~is_corrupted], raw[~is_corrupted])
    assert (corrupted[is_corrupted] == raw[is_corrupted]).any()
    squares = (objective.decoder(objective.encoder.encode(corrupted)) - raw).square()
    expected = (3.0 * squares[is_corrupted].sum() + 0.5 * squares[~is_corrupted].sum()) / 30
    assert logged.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("shape", "side"), [((1, 40), 5), ((3, 20, 32), 2), ((2, 3, 16, 24), 2)])
def test_blocks_hide_whole_squares_in_all_channels(shape: tuple[int, ...], side: int) -> None:
    x = torch.rand(400, *shape, generator=generator()) + 0.5
    variant = prepared(axes=len(shape), noise="blocks", level=0.3)
    corrupted = variant.corrupt(x, generator(1))
    hidden = corrupted == 0
    assert torch.equal(corrupted[~hidden], x[~hidden])
    assert (hidden == hidden[:, :1]).all(), "a channel shows what another hides"
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.02)
    for axis in range(2, x.ndim):
        count = -(-x.shape[axis] // side)
        whole = hidden.movedim(axis, -1)
        blocks = whole.unflatten(-1, (count, side)) if whole.shape[-1] == count * side else whole[..., None]
        assert (blocks == blocks[..., :1]).all(), f"a block is hidden in part along axis {axis}"
    assert not torch.equal(hidden[0], hidden[1])


@pytest.mark.parametrize("shape", [(6,), (2, 24), (3, 8, 8)])
@pytest.mark.parametrize("unit", [True, False], ids=["unit", "standard"])
def test_the_default_is_gaussian_noise_in_proportion_to_the_values(shape: tuple[int, ...], unit: bool) -> None:
    random = np.random.default_rng(0)
    array = (random.random((60, *shape)) if unit else 50 * random.normal(size=(60, *shape))).astype(np.float32)
    chosen, raw = autoencoder(array, "mlp" if len(shape) == 1 else "conv")
    scale = "0.1 on values in [0, 1]" if unit else "0.5 on scaled values"
    assert chosen.notes() == [f"denoising: gaussian noise of standard deviation {scale}"]
    x = chosen.encoder.preprocess(raw)
    change = chosen.variants["denoising"].corrupt(x, generator(3)) - x
    assert change.std().item() == pytest.approx(0.1 if unit else 0.5, rel=0.1)
    assert change.mean().item() == pytest.approx(0, abs=0.1)


def test_there_are_no_loss_weights_by_default() -> None:
    variant = prepared()
    assert variant.loss_weights(torch.ones(2, 1), torch.ones(2, 1)) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"level": 0.2, "levels": [0.1, 0.3]},
            r"denoising\.levels = \[0\.1, 0\.3\]: cannot be combined with denoising\.level",
        ),
        ({"levels": [0.5, 0.1]}, r"denoising\.levels = \[0\.5, 0\.1\]: expected the lower level first"),
        (
            {"noise": "masking", "levels": [0.5, 1.5]},
            r"denoising\.levels = \[0\.5, 1\.5\]: expected at most 1, a fraction of the entries with masking noise",
        ),
        ({"level": 0.2}, r"denoising\.level = 0\.2: set denoising\.noise too, as the unit of a level depends on it"),
        ({"levels": [0.1, 0.2]}, r"denoising\.levels = \[0\.1, 0\.2\]: set denoising\.noise too"),
        (
            {"beta": 0.5},
            r"denoising\.alpha, beta = 1\.0, 0\.5: set denoising\.noise too, to one that corrupts some entries",
        ),
        (
            {"noise": "gaussian", "beta": 0.5},
            r"denoising\.alpha, beta = 1\.0, 0\.5: expected 1, as gaussian noise corrupts every entry",
        ),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Denoising(**options)
