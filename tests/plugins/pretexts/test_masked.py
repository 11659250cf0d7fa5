"""Masked modeling and predicting one part from another: what is hidden, what is asked for, and what is learned by it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.pretexts.masked import Masked
from commands import Command
from torch import Tensor, nn

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import Kind, SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.encoder import Encoder
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.base import Objective, Pretext, PretextObjective
from aekit.objectives.patch_tokens import PatchDecoder, PatchGrid, sincos_positions
from aekit.testing import conformance
from aekit.testing.samples import SPECS, low_rank
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

# With default options, the kit's own tests look at both.
test_masked_conforms = conformance(
    "pretext", "masked", {"patch": 3, "mask_ratio": 0.75, "normalize": True, "fill": "mean"}
)
test_predict_part_conforms = conformance(
    "pretext", "predict-part", {"part_size": 0.5, "context_size": 0.25, "fill": "token", "residual": True}
)

SEEN: list[Kind] = ["series", "image", "clip"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def held(array: np.ndarray, kind: Kind | None = None) -> Samples:
    return load_samples(ArraySource(array, kind=kind), np.arange(len(array)), torch.device("cpu"))


def objective_of(
    name: str,
    samples: Samples,
    dim: int = 8,
    backbone: str = "mlp",
    network: dict[str, Any] | None = None,
    **options: Any,
) -> Objective:
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": backbone, "dim": dim, **({backbone: network} if network else {})},
        "objective": {"pretexts": [name], name: options},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    objective.start(samples)
    return objective


def task_of(name: str, samples: Samples, **options: Any) -> tuple[Any, Tensor]:
    """The task, and all samples as it is given them."""
    objective = objective_of(name, samples, **options)
    assert isinstance(objective, PretextObjective)
    x = objective.encoder.preprocess(samples.batch(torch.arange(len(samples))))
    return objective.pretext.eval(), x


def trained(objective: Objective, samples: Samples, epochs: int, lr: float = 3e-3) -> Pretext:
    settings = Settings(epochs=epochs, batch_size=32, lr=lr, precision="fp32", device="cpu")
    for _ in train(State.start(objective, settings), Batches(samples, 32, 0), settings):
        pass
    assert isinstance(objective, PretextObjective)
    return objective.pretext.eval()


def small(kind: Kind, count: int = 16) -> Samples:
    return held(low_rank(SPECS[kind], count), kind)


def cells(grid: PatchGrid) -> list[tuple[slice, ...]]:
    """Where each patch lies, row by row, written out."""
    starts = [range(0, whole, side) for whole, side in zip(grid.size, grid.patch)]
    corners = torch.cartesian_prod(*(torch.tensor(list(axis)) for axis in starts)).view(-1, len(starts)).tolist()
    return [tuple(slice(at, at + side) for at, side in zip(corner, grid.patch)) for corner in corners]


# Patches


@pytest.mark.parametrize(
    ("shape", "patch", "expected"),
    [
        ((1, 28, 28), None, (4, 4)),
        ((3, 9, 20), 4, (4, 4)),
        ((3, 9, 20), [2, 7], (2, 7)),
        ((2, 150), None, (10,)),
        ((1, 5, 9, 8), [3, 4], (5, 3, 4)),
    ],
)
def test_patches_cover_the_sample_once(shape: tuple[int, ...], patch: Any, expected: tuple[int, ...]) -> None:
    kinds: dict[int, Kind] = {2: "series", 3: "image", 4: "clip"}
    grid = PatchGrid(SampleSpec(kinds[len(shape)], shape, "float32"), patch)
    assert grid.patch == expected
    numbers = torch.arange(grid.count)[None]
    spread = grid.unpool(numbers)[0, 0]
    found = torch.full(shape[1:], -1)
    for number, cell in enumerate(cells(grid)):
        assert (found[cell] == -1).all()
        found[cell] = number
    assert torch.equal(spread, found)
    x = torch.rand(2, *shape)
    means = torch.stack([torch.stack([row[(slice(None), *cell)].mean() for cell in cells(grid)]) for row in x])
    assert torch.allclose(grid.means(x), means, atol=1e-6)
    for row, ours in zip(x, grid.standardize(x)):
        for cell in cells(grid):
            own = row[(slice(None), *cell)]
            expected_patch = (own - own.mean()) / (own.var(correction=0) + 1e-6).sqrt()
            assert torch.allclose(ours[(slice(None), *cell)], expected_patch, atol=1e-4)


def test_joined_patches_lie_where_they_belong() -> None:
    grid = PatchGrid(SampleSpec("clip", (2, 3, 7, 8), "float32"), [4, 3])
    parts = torch.rand(2, grid.count, 2 * 3 * 4 * 3)
    joined = grid.unpatchify(parts, 2)
    assert joined.shape == (2, 2, 3, 7, 8)
    for number, cell in enumerate(cells(grid)):
        own = joined[(slice(None), slice(None), *cell)]
        whole = parts[:, number].view(2, 2, 3, 4, 3)
        assert torch.equal(own, whole[..., : own.shape[3], : own.shape[4]])


@pytest.mark.parametrize("kind", SEEN)
def test_the_same_share_of_patches_is_hidden_in_every_sample(kind: Kind) -> None:
    task, x = task_of("masked", small(kind), mask_ratio=0.6)
    visible, hidden = task.mask_input(x, generator())
    share = torch.stack([hidden[:, 0][(slice(None), *cell)].flatten(1).float().mean(1) for cell in cells(task.grid)], 1)
    assert ((share == 0) | (share == 1)).all(), "patches are hidden whole"
    assert (share.sum(1) == round(0.6 * task.grid.count)).all()
    assert len({tuple(row.tolist()) for row in share}) > 1, "others in every sample"
    assert torch.equal(visible, torch.where(hidden, task.filling.value, x))
    assert torch.equal(hidden, task.mask_input(x, generator())[1]) and not torch.equal(
        hidden, task.mask_input(x, generator(1))[1]
    )


def test_every_patch_is_hidden_as_often() -> None:
    task, x = task_of("masked", held(np.zeros((4000, 1, 8), np.float32), "series"), patch=2, mask_ratio=0.5)
    _, hidden = task.mask_input(x, generator())
    assert (hidden.float().mean(0) - 0.5).abs().max() < 0.04


def test_tubes_go_through_all_frames() -> None:
    task, x = task_of("masked", small("clip"))
    _, hidden = task.mask_input(x, generator())
    assert torch.equal(hidden, hidden[:, :, :1].expand_as(hidden))


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("normalize", [False, True])
def test_the_loss_is_the_mean_over_hidden_entries(kind: Kind, normalize: bool) -> None:
    task, x = task_of("masked", small(kind), normalize=normalize)
    visible, hidden = task.mask_input(x, generator(3))
    output = task.decoder(task.encoder.encode(visible))
    target, errors = x, (output - x).square()
    if normalize:
        target = task.grid.standardize(x)
        errors = (output - target).square()
    elif task.encoder.preprocess.unit:
        errors = nn.functional.binary_cross_entropy_with_logits(output, x, reduction="none")
    expected = errors[hidden.expand_as(errors)].mean()
    assert task.loss(x, generator(3))["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("fill", ["token", "mean", "zero"])
def test_what_stands_in_place(fill: str) -> None:
    samples = held(np.random.default_rng(0).normal([[[1.0], [5.0]]], 1, (40, 2, 12)).astype(np.float32), "series")
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": "mlp", "dim": 4, "scaling": "none"},
        "objective": {"pretexts": ["masked"], "masked": {"fill": fill}},
    }
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples, "none")[0])
    objective.start(samples)
    assert isinstance(objective, PretextObjective)
    mean = samples.batch(torch.arange(40)).mean((0, 2))[:, None]
    value = objective.pretext.filling.value  # type: ignore[union-attr]
    assert torch.allclose(value, torch.zeros(2, 1) if fill == "zero" else mean, atol=1e-5)
    assert isinstance(value, nn.Parameter) == (fill == "token")


def test_masked_modeling_learns_what_is_hidden() -> None:
    samples = small("series", 256)
    task = trained(objective_of("masked", samples, dim=8), samples, epochs=60)
    x = task.encoder.preprocess(samples.batch(torch.arange(64)))
    with torch.no_grad():
        rows = task.visualize(x, generator())
    hidden = rows["network input"] != x
    error = (rows["network output"] - x)[hidden].square().mean()  # type: ignore[operator]
    assert error < 0.35 * x[hidden].var(), "samples of rank 3 can be told from a part"
    assert torch.equal(rows["network output"][~hidden], x[~hidden])  # type: ignore[index]


# Networks made of patches


class Patches(Backbone):
    """Tokens of 4 x 4 pixels, each by itself, and their mean: nothing can pass from one to another."""

    patch, tokens_dim = (4, 4), 24

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(channels, 24, 4, 4), nn.GELU()])
        self.features_dim, self.features_shape = 24, (24,)

    def tokens(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), 24, -1).mT

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x).mean(1)

    def encode_visible(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        found = self.tokens(x).gather(1, places[..., None].expand(-1, -1, 24))
        return found, found.mean(1)


def made_of_patches(**options: Any) -> tuple[Masked, Tensor]:
    samples = held(low_rank(SampleSpec("image", (2, 12, 16), "float32"), 64), "image")
    architecture = {"backbone": {"name": "patches", "options": {}}, "head": None, "dim": 6, "normalize": False}
    torch.manual_seed(0)
    encoder = Encoder(samples.spec, fit_preprocess(samples)[0], Patches(2), nn.Linear(24, 6), architecture, [])
    task = Masked(encoder, mask_ratio=0.75, **options)
    task.start(samples)
    return task, encoder.preprocess(samples.batch(torch.arange(64)))


def test_only_visible_patches_are_encoded() -> None:
    task, x = made_of_patches()
    asked: list[Tensor] = []
    encode = task.encoder.backbone.encode_visible
    task.encoder.backbone.encode_visible = lambda x, places: (asked.append(places), encode(x, places))[1]  # type: ignore[method-assign]
    visible, hidden = task.mask_input(x, generator())
    output = task.predict(visible, hidden)
    assert output.shape == x.shape and asked[0].shape == (64, 3)
    for row, places in zip(hidden[:, 0], asked[0].tolist()):
        shown = [number for number, cell in enumerate(cells(task.grid)) if not row[cell].any()]
        assert places == shown
    other = torch.where(hidden, torch.randn_like(x), x)
    assert torch.equal(task.predict(other, hidden), output), "what is hidden reaches nothing"


def test_the_decoder_of_patches_uses_tokens_code_and_places() -> None:
    torch.manual_seed(0)
    decoder = PatchDecoder(24, 6, PatchGrid(SampleSpec("image", (2, 12, 16), "float32"), 4), 2).eval()
    tokens, code, places = torch.randn(3, 4, 24), torch.randn(3, 6), torch.tensor([[0, 2, 5, 11]] * 3)
    output = decoder(tokens, places, code)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(decoder(tokens[:, order], places[:, order], code), output, atol=1e-5), "a set, and no list"
    assert not torch.allclose(decoder(tokens, places, code + 1), output, atol=1e-2)
    assert not torch.allclose(decoder(tokens, places + torch.tensor([0, 1, 0, 0]), code), output, atol=1e-2)


def test_a_network_of_patches_learns_all_of_itself() -> None:
    task, x = made_of_patches()
    parameters = [*task.parameters(), *task.encoder.parameters()]
    optimizer, losses = torch.optim.AdamW(parameters, lr=3e-3), []
    for step in range(120):
        loss = task.loss(x, generator(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        assert step or all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:3])
    with pytest.raises(ValueError, match="patch = 3: expected the network's patch size, 4 x 4"):
        made_of_patches(patch=3)


@pytest.mark.parametrize(("model", "normalize", "dim"), [("test_vit", True, 8), ("vit_tiny_patch16_224", False, 0)])
def test_a_transformer_of_timm_is_not_shown_what_is_hidden(model: str, normalize: bool, dim: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 64, 48), np.uint8)
    network = {"model": model, "size": [64, 48]}
    objective = objective_of("masked", held(images), dim, "timm", network, normalize=normalize, mask_ratio=0.75)
    assert isinstance(objective, PretextObjective)
    task, backbone = objective.pretext, objective.encoder.backbone
    assert isinstance(task, Masked) and task.grid.patch == backbone.patch == (16, 16) and task.grid.grid == (4, 3)
    x = objective.encoder.preprocess(torch.from_numpy(images))
    backbone.eval()
    tokens, features = backbone.encode_visible(x, torch.arange(12).expand(6, -1))
    assert torch.allclose(features, backbone(x), atol=1e-5), "all patches visible is the network itself"
    assert tokens.shape == (6, 12, backbone.tokens_dim)
    visible, hidden = task.mask_input(x, generator())
    other = torch.where(hidden, 1 - x, x)
    assert torch.equal(task.predict(other, hidden), task.predict(visible, hidden))
    task.loss(x, generator())["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("network", [{"model": "test_vit", "size": 64}, {"model": "resnet10t", "size": 48}])
def test_other_networks_of_timm_are_shown_a_filling(network: dict[str, Any]) -> None:
    """One that sees the sample resized has patches of its own, which are none of the sample; the other has none."""
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 48, 48), np.uint8)
    task, x = task_of("masked", held(images), backbone="timm", network=network)
    assert task.encoder.backbone.patch is None and task.grid.patch == (6, 6)
    assert task.loss(x, generator())["loss"].isfinite()


def test_positions_are_waves_that_differ_from_place_to_place() -> None:
    found = sincos_positions((3, 5), 20)
    assert found.shape == (15, 20) and len({tuple(row) for row in found.round(decimals=4).tolist()}) == 15
    assert found[7, 0].item() == pytest.approx(math.sin(1)), "row 1 of the first axis at the highest frequency"
    assert found[7, 5].item() == pytest.approx(math.sin(2)), "column 2 of the second"
    assert torch.equal(sincos_positions((7,), 9)[:, 8], torch.zeros(7)), "what is left over is zero"


# One part from another

PARTS = [
    ("series", "future", {"part_size": 0.25}, 2, (12, 16)),
    ("series", "past", {"part_size": 0.75}, 2, (0, 12)),
    ("series", "time", {"between": [0.25, 0.5]}, 2, (4, 8)),
    ("image", "top", {"part_size": 0.5}, 2, (0, 4)),
    ("image", "bottom", {"part_size": 0.125}, 2, (7, 8)),
    ("image", "left", {"part_size": 0.9}, 3, (0, 7)),
    ("image", "right", {"part_size": 0.01}, 3, (7, 8)),
    ("clip", "future", {"part_size": 0.5}, 2, (2, 4)),
    ("clip", "width", {"between": [0.5, 1.0]}, 4, (4, 8)),
]


@pytest.mark.parametrize(("kind", "part", "options", "axis", "places"), PARTS, ids=lambda value: str(value))
def test_a_part_is_hidden_and_asked_for(
    kind: Kind, part: str, options: Any, axis: int, places: tuple[int, int]
) -> None:
    task, x = task_of("predict-part", small(kind), part=part, fill="zero", **options)
    visible, hidden = task.mask_input(x, generator())
    expected = torch.zeros(x.shape, dtype=torch.bool)
    expected.narrow(axis, places[0], places[1] - places[0]).fill_(True)
    assert torch.equal(hidden.expand_as(x), expected)
    assert torch.equal(visible, x.masked_fill(expected, 0.0))
    output = task.decoder(task.encoder.encode(visible))
    squares = (output - x).square()[expected].mean()
    assert task.loss(x, generator())["loss"].item() == pytest.approx(squares.item(), rel=1e-5)


@pytest.mark.parametrize(("kind", "part"), [("series", "future"), ("image", "bottom"), ("clip", "future")])
def test_what_is_predicted_unless_told(kind: Kind, part: str) -> None:
    (one, x), (other, _) = task_of("predict-part", small(kind)), task_of("predict-part", small(kind), part=part)
    assert torch.equal(one.mask_input(x, generator())[1], other.mask_input(x, generator())[1])


def test_the_future_from_the_recent_past() -> None:
    """The rest is neither shown nor asked for."""
    task, x = task_of("predict-part", small("series"), part="future", part_size=0.25, context_size=0.25, fill="zero")
    _, hidden = task.mask_input(x, generator())
    assert torch.equal(hidden[0, 0], torch.tensor([True] * 8 + [False] * 4 + [True] * 4))
    damaged = task.damage(x, generator())
    assert torch.equal(damaged.mask[0, 0], torch.tensor([False] * 12 + [True] * 4))
    between, _ = task_of("predict-part", small("series"), part="time", between=[0.5, 0.75], context_size=0.125)
    assert (
        between.mask_input(x, generator())[1][0, 0].tolist()
        == [True] * 6 + [False] * 2 + [True] * 4 + [False] * 2 + [True] * 2
    )


def test_the_nearest_that_is_shown_is_repeated() -> None:
    task, x = task_of("predict-part", small("series"), part="time", between=[0.25, 0.75])
    visible, _ = task.mask_input(x, generator())
    places = [0, 1, 2, 3, 3, 3, 3, 3, 12, 12, 12, 12, 12, 13, 14, 15]
    assert torch.equal(visible, x[:, :, places])
    (repeated,) = task.baselines([]).values()
    assert torch.equal(repeated(task.damage(x, generator())), visible)
    assert set(task_of("predict-part", small("series"), fill="mean")[0].baselines([])) == {"input", "nearest"}


def test_the_change_since_the_last_frame() -> None:
    samples = held(low_rank(SampleSpec("clip", (1, 4, 8, 8), "float32"), 8), "clip")
    task, x = task_of("predict-part", samples, part="future", part_size=0.5, residual=True)
    for parameter in task.decoder.parameters():
        nn.init.zeros_(parameter)
    last = x.clone()
    last[:, :, 2:] = x[:, :, 1:2]
    assert torch.allclose(task.transform(last), last), "no change, no difference"
    assert task.loss(x, generator())["loss"].item() == pytest.approx(
        (last - x)[:, :, 2:].square().mean().item(), rel=1e-5
    )


@pytest.mark.parametrize("backbone", ["mlp", "conv"])
@pytest.mark.parametrize("part", ["future", "past", "time"])
def test_untrained_networks_repeat_the_nearest_frame(part: str, backbone: str) -> None:
    samples = held(low_rank(SampleSpec("clip", (1, 4, 8, 8), "float32"), 8), "clip")
    common = {"part": part, "between": [0.25, 0.75], "backbone": backbone}
    task, x = task_of("predict-part", samples, **common)
    damaged = task.damage(x, generator())
    assert task.residual and not torch.equal(damaged.visible, x)
    assert torch.equal(damaged.composite(task.transform(damaged.visible)), task.repeat_nearest(x))
    for options in ({"residual": False}, {"fill": "zero"}, {"part": "top"}):
        assert not task_of("predict-part", samples, **common | options)[0].residual


def test_what_is_filled_in_does_not_depend_on_what_was_there() -> None:
    task, x = task_of("predict-part", small("series"), part_size=0.5)
    unknown = x.clone()
    unknown[:, :, 8:] = 77
    one, other = (task.prepare_damaged(rows) for rows in (x, unknown))
    assert torch.equal(one.visible, other.visible)
    finished = other.composite(task.transform(other.visible))
    assert torch.equal(finished[:, :, :8], x[:, :, :8]) and (finished[:, :, 8:] != x[:, :, 8:]).any()


def test_the_future_of_waves_is_learned() -> None:
    steps = np.arange(32)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (300, 1, 1))
    samples = held(np.sin(2 * np.pi * steps / 16 + phases).astype(np.float32), "series")
    task = trained(objective_of("predict-part", samples, dim=4), samples, epochs=20)
    x = task.encoder.preprocess(samples.batch(torch.arange(100)))
    with torch.no_grad():
        rows = task.visualize(x, generator())
    assert (rows["network output"] - x)[:, :, 24:].square().mean() < 0.05 * (rows["network input"] - x)[
        :, :, 24:
    ].square().mean()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "shape", "options", "problem"),
    [
        ("masked", (20,), {}, "pretext 'masked' cannot take vector 20 float32: expected series"),
        ("masked", (2, 16), {"patch": 17}, "patch = 17: expected 1 sides no larger than 16"),
        ("masked", (2, 16), {"patch": 16}, "patch = 16: expected at least two patches in series 2x16 float32"),
        ("predict-part", (20,), {}, "pretext 'predict-part' cannot take vector 20 float32: expected series"),
        ("predict-part", (1, 8, 8), {"part": "past"}, "part = 'past': expected samples with a time axis, found image"),
        ("predict-part", (2, 16), {"part": "time", "between": [0.0, 1.0]}, "expected it to leave a visible part"),
        ("predict-part", (2, 16), {"part": "time", "between": [0.5, 0.5]}, "a part to predict"),
    ],
)
def test_what_cannot_be_done_is_said(name: str, shape: tuple[int, ...], options: Any, problem: str) -> None:
    with pytest.raises(RecipeError) as raised:
        task_of(name, held(np.random.default_rng(0).random((20, *shape), np.float32)), **options)
    assert problem in str(raised.value)


def test_from_the_command_line(command: Command, tmp_path: Path) -> None:
    steps, phases = np.arange(40), np.random.default_rng(0).uniform(0, 6, (60, 1, 1))
    np.save(tmp_path / "waves.npy", np.sin(steps / 4 + phases).astype(np.float32))
    for name in ("masked", "predict-part"):
        run = tmp_path / name
        command.ok("fit", tmp_path / "waves.npy", "-o", run, "--pretext", name, "--epochs", "2", "--dim", "4")
        assert aekit.load(run).embed(str(tmp_path / "waves.npy")).vectors.shape == (60, 4)
    told = command(
        "fit",
        tmp_path / "waves.npy",
        "-o",
        tmp_path / "no",
        "--pretext",
        "masked",
        "--set",
        "objective.masked.patch=99",
    )
    assert (
        told.error == "pretext 'masked' cannot take series 1x40 float32: patch = 99: expected 1 sides no larger than 40"
    )


def test_prediction_as_an_application(command: Command, tmp_path: Path) -> None:
    steps, phases = np.arange(32), np.random.default_rng(0).uniform(0, 6, (200, 1, 1))
    waves_of = np.sin(steps * np.pi / 8 + phases).astype(np.float32)
    np.savez(tmp_path / "waves.npz", X_train=waves_of[:150], X_test=waves_of[150:])
    run, where = tmp_path / "run", tmp_path / "waves.npz"
    command.ok("fit", where, "-o", run, "--pretext", "predict-part", "--epochs", "40", "--dim", "4")
    told = command.ok("apply", run, where, "-o", tmp_path / "told", "--task", "predict", "--split", "test")
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.startswith(("network", "nearest"))}
    assert float(rows["network"][1]) < 0.3 * float(rows["nearest"][1])
    unknown = waves_of[150:].copy()
    unknown[:, :, 24:] = 0
    np.save(tmp_path / "unknown.npy", unknown)
    command.ok("apply", run, tmp_path / "unknown.npy", "-o", tmp_path / "new", "--task", "predict", "--no-demonstrate")
    found = np.load(tmp_path / "new" / "samples.npy")
    np.testing.assert_allclose(found[:, :, :24], unknown[:, :, :24], atol=1e-6)
    assert np.square(found - waves_of[150:])[:, :, 24:].mean() < 0.1 * np.square(waves_of[150:, :, 24:]).mean()
    wrong = command("apply", run, where, "-o", tmp_path / "no", "--task", "predict", "--mask", where)
    assert wrong.error == "predict.mask: the task takes no masks; leave it out"
