"""Pretext tasks that classify: rotation, jigsaw, relative position, temporal order, against written-out references."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.pretexts.jigsaw import Jigsaw
from aekit_plugins.pretexts.relative_position import NAMES, RelativePosition
from aekit_plugins.pretexts.rotation import rotate_in_circle
from aekit_plugins.pretexts.temporal_order import TemporalOrder, resample_steps
from commands import Command
from scipy.ndimage import rotate
from torch import Tensor, nn

import aekit
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.nn.classification import classification_head, classification_loss, format_predictions
from aekit.nn.permutations import distant_permutations
from aekit.nn.tiles import (
    TileCells,
    cut_segments,
    cut_tiles,
    match_image_statistics,
    paste_tiles,
    random_grayscale,
    resize_tiles,
)
from aekit.objectives.base import Batch, Objective, PretextObjective
from aekit.objectives.weighted_sum import WeightedSum
from aekit.testing import conformance
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

# With default options, the kit's own tests look at each.
test_eight_ways_conform = conformance("pretext", "rotation", {"angles": 8, "copies": "one"})
test_more_tiles_conform = conformance("pretext", "jigsaw", {"permutations": 5, "gap": 0.0, "grayscale": 1.0})
test_whether_conforms = conformance("pretext", "temporal-order", {"question": "whether", "segments": 2})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed))


def objective_for(
    array: np.ndarray | Tensor, pretexts: list[str], backbone: str = "linear", objective: Any = None, **options: Any
) -> Objective:
    """Trains tasks, with options for each, on the samples of an array."""
    array = np.asarray(array)
    held = load_samples(ArraySource(array), np.arange(len(array)), torch.device("cpu"))
    values = {
        "data": {"source": "memory"},
        "encoder": {"backbone": backbone, "dim": 16} | ({"conv": {"channels": [16, 32]}} if backbone == "conv" else {}),
        "objective": {"pretexts": pretexts} | (objective or {}) | {k.replace("_", "-"): v for k, v in options.items()},
    }
    made = make_objective(make_recipe(values), held.spec, fit_preprocess(held)[0])
    made.start(held)
    return made


def task(array: np.ndarray | Tensor, name: str, **options: Any) -> Any:
    made = objective_for(array, [name], **{name: options})
    assert isinstance(made, PretextObjective)
    return made.pretext


# Rotation


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 7, 7), (2, 3, 5, 5)], ids=["even", "odd", "clip"])
def test_quarter_turns_are_exact(shape: tuple[int, ...]) -> None:
    x, turns = random(8, *shape), torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    seen = task(x, "rotation").rotate(x, turns, generator())
    expected = [np.rot90(sample, int(turn), (-2, -1)) for sample, turn in zip(x.numpy(), turns)]
    assert np.array_equal(seen.numpy(), np.stack(expected))


def test_half_turns_are_exact_whatever_the_shape() -> None:
    x = random(2, 1, 5, 8)
    seen = task(x, "rotation", angles=2).rotate(x, torch.tensor([0, 1]), generator())
    assert torch.equal(seen[0], x[0]) and torch.equal(seen[1], x[1].flip(1, 2))


def test_of_a_image_that_is_not_square_the_central_square_is_turned() -> None:
    x = random(4, 2, 6, 9)
    seen = task(x, "rotation").rotate(x, torch.arange(4), generator())
    for number in range(4):
        expected = np.zeros((2, 6, 9), np.float32)
        expected[:, :, 1:7] = np.rot90(x[number, :, :, 1:7], number, (1, 2))
        assert np.array_equal(seen[number].numpy(), expected)


def circle(side: int) -> np.ndarray:
    ticks = np.arange(side) - (side - 1) / 2
    return np.hypot(ticks[:, None], ticks) <= side / 2 - 1 + 1e-4


@pytest.mark.parametrize("side", [9, 16, 28])
def test_eighths_of_a_turn_are_those_of_scipy_within_the_circle(side: int) -> None:
    x = random(8, 2, side, side)
    seen = rotate_in_circle(x, torch.arange(8) * math.pi / 4, torch.zeros(2, 8)).numpy()
    inside = circle(side)
    for number in range(8):
        expected = rotate(x[number].numpy(), 45 * number, axes=(2, 1), reshape=False, order=1)
        assert seen[number][:, inside] == pytest.approx(expected[:, inside], abs=1e-4)
        assert not seen[number][:, ~inside].any(), "corners would tell the angle"


def test_the_whole_circle_comes_from_inside_the_image() -> None:
    """Wherever it is moved and turned: of an image of ones, the circle is all ones."""
    ones = torch.ones(500, 1, 12, 12)
    moved = torch.rand(2, 500, generator=generator()) - 0.5
    seen = rotate_in_circle(ones, 2 * math.pi * random(500), moved)
    assert seen.numpy() == pytest.approx(np.broadcast_to(circle(12).astype(np.float32), seen.shape), abs=1e-5)


def sharpness(x: Tensor) -> np.ndarray:
    return (x.diff(dim=-1).square().mean((1, 2, 3)) + x.diff(dim=-2).square().mean((1, 2, 3))).numpy()


def share_above(a: np.ndarray, b: np.ndarray) -> float:
    """How often one of `a` is above one of `b`: 0.5 if they are alike."""
    return float((a[:, None] > b).mean())


def test_sharpness_does_not_tell_eighths_from_quarters() -> None:
    """Noise has no up and down. Interpolation alone would tell its turns apart without fail."""
    x = torch.randn(400, 1, 28, 28, generator=generator())
    still = torch.zeros(2, 400)
    plain = [sharpness(rotate_in_circle(x, torch.full((400,), angle), still)) for angle in (0.0, math.pi / 4)]
    assert share_above(*plain) == 1
    rotation = task(x, "rotation", angles=8)
    seen = [sharpness(rotation.rotate(x, torch.full((400,), turn), generator(turn))) for turn in range(8)]
    assert np.mean(seen[0::2]) == pytest.approx(np.mean(seen[1::2]), rel=0.05)
    assert 0.4 < share_above(np.concatenate(seen[0::2]), np.concatenate(seen[1::2])) < 0.6


def test_the_loss_is_that_of_all_turns_of_all_samples() -> None:
    x = random(5, 1, 6, 6)
    rotation = task(x, "rotation")
    terms = rotation.loss(x, generator())
    losses, right = [], []
    for sample in x:
        for turn in range(4):
            logits = rotation.head(rotation.encoder.encode(sample.rot90(turn, (1, 2))[None]))[0]
            losses.append(-logits.log_softmax(0)[turn].item())
            right.append(logits.argmax().item() == turn)
    assert terms["loss"].item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert terms["accuracy"].item() == pytest.approx(np.mean(right)) and not terms["accuracy"].requires_grad


def test_one_view_draws_every_turn_equally_often() -> None:
    x = random(4000, 1, 4, 4)
    rotation = task(x, "rotation", copies="one")
    rotation.encoder.encode = lambda seen: seen  # type: ignore[method-assign]
    asked: list[Tensor] = []

    class Head(nn.Module):
        def forward(self, seen: Tensor) -> Tensor:
            asked.append(torch.stack([(seen == x.rot90(turn, (2, 3))).flatten(1).all(1) for turn in range(4)], 1))
            return asked[-1].float() * 50

    rotation.head = Head()
    assert rotation.loss(x, generator())["accuracy"] == 1
    assert asked[0].shape == (4000, 4) and asked[0].float().mean(0).numpy() == pytest.approx(0.25, abs=0.03)


# Permutations, tiles


def hamming(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum(one != other for one, other in zip(a, b))


@pytest.mark.parametrize(("length", "count"), [(3, 6), (4, 12), (5, 30)])
def test_permutations_are_picked_greedily_by_hamming_distance(length: int, count: int) -> None:
    found = [tuple(row) for row in distant_permutations(length, count).tolist()]
    assert found[0] == tuple(range(length)) and len(set(found)) == count
    left = set(itertools.permutations(range(length))) - {found[0]}
    for number in range(1, count):
        mean = {p: sum(hamming(p, q) for q in found[:number]) for p in left}
        nearest = {p: min(hamming(p, q) for q in found[:number]) for p in left}
        best = min(left, key=lambda p: (-mean[p], -nearest[p], p))
        assert found[number] == best
        left.remove(best)


def test_small_sets_are_as_far_apart_as_any() -> None:
    """Of all sets of four orders of four tiles, none has a larger smallest distance."""
    every = list(itertools.permutations(range(4)))
    best = max(
        min(hamming(a, b) for a, b in itertools.combinations((every[0], *others), 2))
        for others in itertools.combinations(every[1:], 3)
    )
    found = [tuple(row) for row in distant_permutations(4, 4).tolist()]
    assert min(hamming(a, b) for a, b in itertools.combinations(found, 2)) == best == 4


def test_a_hundred_orders_of_nine_tiles() -> None:
    found = distant_permutations(9, 100)
    distances = (found[:, None] != found).sum(2)[~torch.eye(100, dtype=torch.bool)].float()
    assert torch.equal(found.sort(1).values, torch.arange(9).expand(100, 9))
    assert distances.mean() > 8, "random orders differ in 8 places on average"
    assert distances.min() >= 4
    assert torch.equal(found[:9].sort(0).values, torch.arange(9)[:, None].expand(9, 9)), "nine that differ everywhere"


@pytest.mark.parametrize(
    ("length", "count", "gap", "jitter"), [(28, 2, 0.1, 0.1), (28, 3, 0.1, 0.1), (225, 3, 0.1, 0.2)]
)
def test_pieces_lie_apart_and_move_in_their_cells(length: int, count: int, gap: float, jitter: float) -> None:
    cells = TileCells.partition(length, count, gap, jitter)
    starts = cells.starts(torch.arange(count).expand(4000, -1), generator())
    apart = starts[:, 1:] - (starts[:, :-1] + cells.piece)
    assert apart.min() == max(1, round(gap * length / count))
    assert cells.jitter == max(1, round(jitter * length / count))
    assert starts.min() >= 0 and (starts + cells.piece).max() <= length
    assert ((starts.amax(0) - starts.amin(0)) == cells.jitter).all()
    for place in range(cells.jitter + 1):
        share = (starts == starts.amin(0) + place).float().mean()
        assert share.item() == pytest.approx(1 / (cells.jitter + 1), abs=0.03)


def test_what_has_no_room_is_refused() -> None:
    assert TileCells.partition(8, 3, 0.1, 0.1) == TileCells(first=0, step=3, piece=2, jitter=0)
    assert TileCells.partition(6, 3, 0, 0.1) == TileCells(first=0, step=2, piece=2, jitter=0)
    with pytest.raises(ValueError, match="expected at least 8 entries along each side that is cut into 3, found 7"):
        TileCells.partition(7, 3, 0.1, 0.1)


def test_tiles_are_slices_and_go_back_to_their_places() -> None:
    x, tops, lefts = random(3, 2, 9, 11), torch.tensor([[0, 5], [1, 4], [2, 6]]), torch.tensor([[0, 7], [3, 1], [6, 0]])
    tiles = cut_tiles(x, tops, lefts, 3, 4)
    for sample, tile in itertools.product(range(3), range(2)):
        top, left = tops[sample, tile], lefts[sample, tile]
        assert torch.equal(tiles[sample, tile], x[sample, :, top : top + 3, left : left + 4])
    back = paste_tiles(tiles, tops, lefts, torch.full_like(x, -1))
    assert torch.equal(torch.where(back < 0, x, back), x) and int((back >= 0).sum()) == tiles.numel()


def test_segments_are_slices() -> None:
    for x in (random(2, 3, 12), random(2, 3, 12, 4, 5)):
        starts = torch.tensor([[8, 0, 5], [1, 9, 4]])
        expected = [torch.cat([row[:, s : s + 3] for s in order], 1) for row, order in zip(x, starts.tolist())]
        assert torch.equal(cut_segments(x, starts, 3), torch.stack(expected))


def test_tiles_are_enlarged_as_pillow_and_numpy_would_in_one_dimension() -> None:
    x = random(2, 1, 6)
    ticks = (np.arange(9) + 0.5) * 6 / 9 - 0.5
    expected = np.stack([np.interp(ticks, np.arange(6), row) for row in x[:, 0].numpy()])
    assert resample_steps(x, 9)[:, 0].numpy() == pytest.approx(expected, abs=1e-6)
    clip = random(2, 3, 6, 4, 5)
    assert resample_steps(clip, 9)[:, 1, :, 2, 3].numpy() == pytest.approx(
        resample_steps(clip[:, 1:2, :, 2, 3], 9)[:, 0].numpy()
    )
    assert resize_tiles(random(2, 4, 3, 5, 5), (14, 9)).shape == (8, 3, 14, 9)


# Nothing but the content tells


def test_brightness_contrast_and_tint_tell_nothing() -> None:
    """Each tile gets mean and deviation of its image, channel by channel, and keeps its pattern."""
    x = random(4, 3, 20, 20) * torch.linspace(0.1, 1, 20) + torch.linspace(0, 2, 20)[:, None]
    tiles = cut_tiles(x, torch.tensor([[0, 0, 11, 11]] * 4), torch.tensor([[0, 11, 0, 11]] * 4), 8, 8)
    assert (tiles.mean((3, 4))[:, 0] - tiles.mean((3, 4))[:, 3]).abs().min() > 0.5
    seen = match_image_statistics(tiles, x)
    for sample, tile, channel in itertools.product(range(4), range(4), range(3)):
        given, shown, whole = tiles[sample, tile, channel], seen[sample, tile, channel], x[sample, channel]
        assert shown.mean().item() == pytest.approx(whole.mean().item(), abs=1e-5)
        assert shown.std(correction=0).item() == pytest.approx(whole.std(correction=0).item(), rel=1e-4)
        assert np.corrcoef(given.flatten(), shown.flatten())[0, 1] == pytest.approx(1, abs=1e-5)


def test_flat_tiles_stay_flat() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[..., :4] = random(4)
    x[..., 4:] = 0.5 + 1e-4 * random(8, 4)
    seen = match_image_statistics(cut_tiles(x, torch.tensor([[0, 0]]), torch.tensor([[0, 4]]), 8, 4), x)
    assert seen[0, 1].std() < 0.01 * seen[0, 0].std()
    assert torch.isfinite(match_image_statistics(torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 4, 4))).all()


def borders_told(gap: float) -> float:
    """How often the right edge of a tile is most alike to the left edge of its right neighbor, of 4 tiles; by chance 1/4.

    The images are noise in which each entry is alike to the next, and to no other.
    """
    noise = torch.randn(400, 1, 28, 29, generator=generator())
    x = noise[..., 1:] + noise[..., :-1]
    cells = TileCells.partition(28, 4, gap, 0)
    numbers = torch.arange(4).expand(400, -1)
    tiles = cut_tiles(x, torch.zeros_like(numbers), cells.starts(numbers, generator()), 28, cells.piece)
    right, left = tiles[:, 0, 0, :, -1], tiles[:, 1:, 0, :, 0]
    alike = torch.einsum("bh,bnh->bn", right, left)
    return (alike.argmax(1) == 0).float().mean().item()


def test_borders_tell_neighbors_only_where_there_is_no_gap() -> None:
    assert borders_told(gap=0) > 0.95
    assert borders_told(gap=0.1) == pytest.approx(1 / 3, abs=0.08)


def test_gray_is_the_mean_of_the_colors_for_a_share_of_the_images() -> None:
    x = random(2000, 3, 2, 2)
    seen = random_grayscale(x, 0.3, generator())
    gray = torch.isclose(seen, x.mean(1, keepdim=True)).flatten(1).all(1)
    assert gray.float().mean().item() == pytest.approx(0.3, abs=0.03) and torch.equal(seen[~gray], x[~gray])
    assert random_grayscale(x[:, :1], 1.0, generator()) is not None and torch.equal(
        random_grayscale(x[:, :1], 1.0, generator()), x[:, :1]
    )


# Jigsaw, relative position, temporal order


class Oracle(nn.Module):
    """A head that gives the answers it is told to give, and says so without doubt."""

    def __init__(self, answers: Tensor, count: int) -> None:
        super().__init__()
        self.answers, self.count = answers, count

    def forward(self, codes: Tensor) -> Tensor:
        return 30 * nn.functional.one_hot(self.answers, self.count).float()


def test_a_jigsaw_shows_the_tiles_in_the_drawn_order() -> None:
    x = random(6, 3, 60, 60)
    jigsaw: Jigsaw = task(x, "jigsaw", permutations=30, jitter=0.0, grayscale=0.0)
    assert jigsaw.grid == 3 and jigsaw.permutations.shape == (30, 9)
    seen, drawn = jigsaw.shuffle(x, generator())
    starts = jigsaw.rows.starts(torch.arange(3)).tolist()
    side = jigsaw.rows.piece
    for sample, order in enumerate(jigsaw.permutations[drawn].tolist()):
        for place, tile in enumerate(order):
            top, left = starts[tile // 3], starts[tile % 3]
            given = x[sample : sample + 1, :, top : top + side, left : left + side]
            assert torch.allclose(
                seen[sample, place], match_image_statistics(given[:, None], x[sample : sample + 1])[0, 0], atol=1e-5
            )


def test_the_right_answer_puts_the_jigsaw_together() -> None:
    x = random(5, 1, 24, 24)
    jigsaw: Jigsaw = task(x, "jigsaw", jitter=0.0)
    assert jigsaw.grid == 2 and len(jigsaw.permutations) == 24
    tiles, drawn = jigsaw.shuffle(x, generator(3))
    jigsaw.head = Oracle(drawn, 24)  # type: ignore[assignment]
    rows = jigsaw.visualize(x, generator(3))
    cells = torch.arange(4).expand(5, -1)
    corners = jigsaw.rows.starts(cells // 2), jigsaw.columns.starts(cells % 2)
    whole = paste_tiles(
        match_image_statistics(cut_tiles(x, *corners, jigsaw.rows.piece, jigsaw.columns.piece), x),
        *corners,
        torch.zeros_like(x),
    )
    assert torch.equal(rows["order the network predicts"], whole)  # type: ignore[arg-type]
    assert torch.equal(rows["shuffled"], paste_tiles(tiles, *corners, torch.zeros_like(x)))  # type: ignore[arg-type]
    assert rows["network predicts"] == [f"{order} (100%)" for order in rows["order"]]


def test_each_tile_is_encoded_without_its_context() -> None:
    x = random(4, 1, 24, 24)
    jigsaw: Jigsaw = task(x, "jigsaw").eval()
    codes: list[Tensor] = []
    jigsaw.head.register_forward_pre_hook(lambda module, given: codes.append(given[0]))
    tiles, _ = jigsaw.shuffle(x, generator())
    jigsaw.logits(tiles)
    tiles[:, 2] += 1
    jigsaw.logits(tiles)
    changed = (codes[0] != codes[1]).view(4, 4, -1).any(2)
    assert changed[:, 2].all() and not changed[:, [0, 1, 3]].any()


def test_the_second_patch_lies_where_the_answer_says() -> None:
    x = random(4000, 1, 28, 28)
    relative: RelativePosition = task(x, "relative-position")
    patches, (tops, lefts), neighbors = relative.pairs(x, generator())
    side = relative.rows.piece
    down, across = tops[:, 1] - tops[:, 0], lefts[:, 1] - lefts[:, 0]
    for number, name in enumerate(NAMES):
        mine = neighbors == number
        assert mine.float().mean().item() == pytest.approx(1 / 8, abs=0.02)
        for distance, before, after in ((down, "up", "down"), (across, "left", "right")):
            if before in name.split():
                assert (distance[mine] < -side).all(), "with a gap between them"
            elif after in name.split():
                assert (distance[mine] > side).all()
            else:
                assert (distance[mine].abs() <= relative.rows.jitter).all()
        # The middle patch lies in the same places whichever neighbor is asked for.
        assert set(tops[mine, 0].tolist()) == set(tops[:, 0].tolist())
        assert set(lefts[mine, 0].tolist()) == set(lefts[:, 0].tolist())
    places = cut_tiles(x, tops, lefts, side, side)
    assert torch.equal(patches, match_image_statistics(places, x))


@pytest.mark.parametrize("shape", [(3, 29), (2, 16, 5, 5)], ids=["series", "clip"])
def test_segments_are_shown_in_the_drawn_order(shape: tuple[int, ...]) -> None:
    x = random(200, *shape)
    ordered: TemporalOrder = task(x, "temporal-order", jitter=0.0)
    seen, drawn = ordered.shuffle(x, generator())
    assert seen.shape == x.shape and ordered.orders[0].tolist() == [0, 1, 2]
    starts, length = ordered.cells.starts(torch.arange(3)).tolist(), ordered.cells.piece
    for sample in range(200):
        parts = [x[sample, :, starts[part] : starts[part] + length] for part in ordered.orders[drawn[sample]].tolist()]
        assert torch.allclose(seen[sample], resample_steps(torch.cat(parts, 1)[None], shape[1])[0])
    assert (drawn.bincount() > 15).all() and len(drawn.bincount()) == 6
    assert all(later - earlier > length for earlier, later in itertools.pairwise(starts)), "time is left out at a joint"


def test_asked_whether_half_are_in_order_and_the_others_in_any_other() -> None:
    x = random(3000, 1, 12)
    ordered: TemporalOrder = task(x, "temporal-order", question="whether")
    _, drawn = ordered.shuffle(x, generator())
    shares = drawn.bincount() / 3000
    assert shares[0].item() == pytest.approx(0.5, abs=0.03)
    assert shares[1:].tolist() == pytest.approx([0.1] * 5, abs=0.02)
    ordered.head = Oracle((drawn > 0).long(), 2)  # type: ignore[assignment]
    assert ordered.loss(x, generator())["accuracy"] == 1


def test_answers_in_words_and_numbers() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    terms = classification_loss(logits, torch.tensor([0, 1, 1]))
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1)), math.log(1 + math.exp(3))]
    assert terms["loss"].item() == pytest.approx(np.mean(expected)) and terms["accuracy"].item() == pytest.approx(2 / 3)
    assert format_predictions(logits, ["a", "b"]) == ["a (88%)", "b (73%)", "a (95%)"]
    assert [len(classification_head(4, width, 3)) for width in (0, 5)] == [1, 3]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("rotation", random(9, 1, 12), "expected images (C, H, W) or clips (C, T, H, W), found series 1x12"),
        ("jigsaw", random(9, 1, 4, 4, 4), "expected images (C, H, W), found clip 1x4x4x4"),
        ("jigsaw", random(9, 1, 4, 8), "expected at least 5 entries along each side that is cut into 2, found 4"),
        ("relative-position", random(9, 5), "expected images (C, H, W), found vector 5"),
        ("temporal-order", random(9, 1, 6, 6), "expected series (C, T) or clips (C, T, H, W), found image 1x6x6"),
        ("temporal-order", random(9, 1, 2), "expected at least 3 entries along each side that is cut into 2, found 2"),
    ],
)
def test_what_a_task_cannot_take_is_said(name: str, array: Tensor, message: str) -> None:
    with pytest.raises(aekit.errors.RecipeError) as refused:
        task(array, name)
    assert message in str(refused.value) and f"pretext '{name}' cannot take" in str(refused.value)


# They learn


def garments(data_dir: Path, count: int) -> np.ndarray:
    """(count, 1, 28, 28) uint8 of Fashion-MNIST."""
    source = aekit.open_data("torchvision:FashionMNIST", {"torchvision": {"root": str(data_dir), "download": False}})
    return source.read(np.arange(count))[0]


def accuracy_after(array: np.ndarray, name: str, epochs: int, **options: Any) -> float:
    """Of answers about samples that were not trained on."""
    seen, unseen = array[:-300], array[-300:]
    objective = objective_for(seen, [name], "conv", **{name: options})
    held = load_samples(ArraySource(seen), np.arange(len(seen)), torch.device("cpu"))
    settings = Settings(epochs=epochs, batch_size=64, lr=4e-3, precision="fp32")
    for _ in train(State.start(objective, settings), Batches(held, 64, 0), settings):
        pass
    objective.eval()
    with torch.no_grad():
        return objective.loss(Batch(torch.from_numpy(unseen)), generator())["accuracy"].item()


@pytest.mark.parametrize(
    ("name", "options", "chance", "least"),
    [
        ("rotation", {"copies": "one"}, 1 / 4, 0.75),
        ("rotation", {"angles": 8, "copies": "one"}, 1 / 8, 0.4),
        ("jigsaw", {}, 1 / 24, 0.3),
        ("relative-position", {}, 1 / 8, 0.3),
    ],
    ids=["rotation", "rotation-8", "jigsaw", "relative-position"],
)
def test_on_garments_it_learns(data_dir: Path, name: str, options: dict[str, Any], chance: float, least: float) -> None:
    found = accuracy_after(garments(data_dir, 1580), name, 4, **options)
    assert found > least > 2 * chance, found


@pytest.mark.parametrize(("question", "least"), [("which", 0.5), ("whether", 0.75)])
def test_on_series_it_learns(question: str, least: float) -> None:
    """Waves that grow: what comes later is larger."""
    source = np.random.default_rng(0)
    time, phase, pace = np.linspace(0, 1, 24), source.random((1500, 2, 1)), source.uniform(2, 6, (1500, 2, 1))
    waves = ((0.2 + time) * np.sin(2 * np.pi * (pace * time + phase))).astype(np.float32)
    assert accuracy_after(waves, "temporal-order", 6, question=question) > least


# Several at once, and from end to end


def test_gradients_of_one_task_never_touch_the_head_of_another() -> None:
    x = (255 * random(12, 1, 8, 8)).byte()
    whole = objective_for(x, ["rotation", "jigsaw"], objective={"variants": ["denoising"]})
    assert isinstance(whole, WeightedSum) and set(whole.parts) == {"autoencoder", "rotation", "jigsaw"}
    own = {
        "autoencoder": list(whole.parts["autoencoder"].decoder.parameters()),  # type: ignore[union-attr]
        "rotation": list(whole.parts["rotation"].pretext.parameters()),  # type: ignore[union-attr]
        "jigsaw": list(whole.parts["jigsaw"].pretext.parameters()),  # type: ignore[union-attr]
    }
    shared = list(whole.encoder.parameters())
    assert {*map(id, whole.trained())} == {id(p) for group in [shared, *own.values()] for p in group}
    for name in own:
        whole.zero_grad(set_to_none=True)
        whole.parts[name].loss(Batch(x), generator())["loss"].backward()
        assert all(p.grad is not None for p in [*own[name], *shared])
        assert all(p.grad is None for other in own if other != name for p in own[other])


def test_the_sum_is_weighted_and_each_loss_is_logged_by_name() -> None:
    x, weights = (255 * random(12, 1, 8, 8)).byte(), {"rotation": 0.25, "autoencoder": 3.0}
    whole = objective_for(x, ["rotation"], objective={"variants": ["denoising"], "weights": weights})
    assert isinstance(whole, WeightedSum)
    logged = whole.loss(Batch(x), generator())
    assert set(logged) == {"loss", "autoencoder", "autoencoder/reconstruction", "rotation", "rotation/accuracy"}
    assert logged["loss"].item() == pytest.approx(0.25 * logged["rotation"].item() + 3 * logged["autoencoder"].item())
    logged["loss"].backward()
    found = [p.grad.clone() for p in whole.encoder.parameters() if p.grad is not None]
    whole.zero_grad(set_to_none=True)
    draws = generator()
    for name, part in whole.parts.items():
        (weights[name] * part.loss(Batch(x), draws)["loss"]).backward()  # type: ignore[operator]
    expected = [p.grad for p in whole.encoder.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))


def logged_by(run: Path) -> dict[str, float]:
    """The last line of a run's log."""
    return json.loads((run / "log.jsonl").read_text("utf-8").splitlines()[-1])


def test_the_command_line_fits_by_a_task_and_the_encoder_embeds(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command.ok("fit", "sklearn:digits", "-o", run, "--pretext", "rotation", "--epochs", 6, "--dim", 8)
    assert logged_by(run)["accuracy"] > 0.7
    assert not (run / "decoder").exists()
    assert aekit.load(run).embed("sklearn:digits").vectors.shape == (1797, 8)
    assert "rotation" in (run / "encoder" / "README.md").read_text("utf-8")


def test_the_command_line_fits_by_a_task_and_a_variant_with_weights(command: Command, tmp_path: Path) -> None:
    both = ("--pretext", "rotation", "--variant", "denoising", "--set", "objective.weights.rotation=5")
    command.ok("fit", "sklearn:digits", "-o", tmp_path / "run", *both, "--epochs", 1, "--dim", 8)
    last = logged_by(tmp_path / "run")
    assert last["loss"] == pytest.approx(5 * last["rotation"] + last["autoencoder"], rel=1e-5)
    assert (tmp_path / "run" / "decoder").exists()
    wrong = command("fit", "sklearn:digits", "-o", tmp_path / "w", *both[:4], "--set", "objective.weights.rotaton=5")
    assert wrong.error.endswith("objective.weights.rotaton: no such part; did you mean 'rotation'?")


def test_fashion_mnist_by_name(data_dir: Path, command: Command, tmp_path: Path) -> None:
    few = ("--set", "data.only_labels=['Sneaker']", "--set", "encoder.conv.channels=[4,8]", "--epochs", 1, "-q")
    command.ok("fit", "torchvision:FashionMNIST", "--pretext", "rotation", "-o", tmp_path / "run", *few)
    assert logged_by(tmp_path / "run")["accuracy"] > 0.8
    assert "network predicts" in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["objective.rotation.angles=3"], "objective.rotation.angles = 3: expected 2, 4 or 8"),
        (["objective.rotation.jitter=45"], "objective.rotation.jitter = 45: expected less than or equal to 20"),
        (["objective.jigsaw.grid=2"], "objective.jigsaw: neither an option nor a plugin that this recipe uses"),
    ],
)
def test_mistakes_are_one_line(command: Command, tmp_path: Path, settings: list[str], message: str) -> None:
    changed = [word for setting in settings for word in ("--set", setting)]
    assert message in command("fit", "sklearn:digits", "-o", tmp_path / "r", "--pretext", "rotation", *changed).error


def test_data_that_a_task_cannot_take_is_one_line(command: Command, tmp_path: Path) -> None:
    found = command("fit", "sklearn:wine", "-o", tmp_path / "run", "--pretext", "rotation").error
    assert found.startswith("pretext 'rotation' cannot take vector 13") and "expected images (C, H, W)" in found


def test_python_fits_by_tasks_with_options(data_dir: Path) -> None:
    array = garments(data_dir, 200)
    encoder = aekit.fit(
        array,
        pretexts=["relative-position", "jigsaw"],
        dim=8,
        epochs=1,
        overrides={"objective.jigsaw.grid": 3, "objective.jigsaw.permutations": 12, "encoder.conv.channels": [4, 8]},
    )
    assert encoder.dim == 8 and encoder.record["objective"]["jigsaw"]["permutations"] == 12
