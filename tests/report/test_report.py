"""The pages: what they draw is what there is, and what they say follows from it."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from commands import Command, Said
from numpy.testing import assert_allclose
from PIL import Image
from sklearn.calibration import calibration_curve
from torch import Tensor

import aekit
from aekit.analysis.layouts import project
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource, Source
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder
from aekit.encoder.model_card import describe_objective
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import AekitError, DataError, RecipeError
from aekit.evaluation.neighbors import nearest_other_neighbors
from aekit.evaluation.splits import evenly_spaced
from aekit.objectives.base import Batch, Objective, Pretext, PretextObjective
from aekit.objectives.weighted_sum import WeightedSum
from aekit.registry.discovery import registry
from aekit.report._effort import NEIGHBOR_EVALUATORS, Effort, page_effort
from aekit.report._evaluation_cards import calibration_error, interval_charts
from aekit.report._findings import Finding, findings
from aekit.report._snapshot import Snapshot, snapshot_map, take_snapshot
from aekit.report._task_examples import first_layer_weights, task_example_cards
from aekit.report.run_page import _last_losses, _terms
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe
from aekit.visualization import charts
from aekit.visualization.map_data import category_colors, color_options, map_data, scale_values
from aekit.visualization.page import Page, card, table
from aekit.visualization.sprite_cells import POINTS, SpriteSheetBuilder
from aekit.visualization.sprite_sheets import cell_side, image_sprite_sheet

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def made(array: np.ndarray, **options: Any) -> tuple[Objective, ArraySource, Samples]:
    """An untrained objective for an array, its source, and all its samples. Options as recipes have them."""
    source = ArraySource(array, **{name: options.pop(name) for name in ("labels", "splits", "kind") if name in options})
    samples = load_samples(source, np.arange(len(source)), CPU)
    settings: dict[str, Any] = {"encoder.dim": 4, "objective.loss": "mse"}
    backbone = options.setdefault("encoder.backbone", "mlp" if source.spec.kind == "vector" else "conv")
    settings |= {"encoder.conv.channels": [4, 8]} if backbone == "conv" else {}
    recipe = make_recipe({"data": {"source": "x"}}, settings | options)
    preprocess, _ = fit_preprocess(samples)
    return make_objective(recipe, source.spec, preprocess), source, samples


def held_in(page: str) -> dict[str, Any]:
    """The sheets and maps inside a page."""
    return json.loads(re.search(r'id="held">(.*?)</script>', page, re.S).group(1))


def cut(described_sheet: dict[str, Any], number: int) -> np.ndarray:
    """(h, w, 3) thumbnail of a sheet of images, as ``page.js`` cuts it out."""
    whole = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(described_sheet["uri"].partition(",")[2]))).convert("RGB")
    )
    wide, high = described_sheet["width"], described_sheet["height"]
    x, y = number % described_sheet["columns"] * wide, number // described_sheet["columns"] * high
    return whole[y : y + high, x : x + wide]


def test_a_page_says_what_an_encoder_was_trained_by() -> None:
    assert describe_objective({"variants": ["plain"], "pretexts": ["simclr"]}) == ["plain autoencoder", "simclr"]
    assert describe_objective({"variants": [], "pretexts": []}) == ["plain autoencoder"]


# Thumbnails


@pytest.mark.parametrize(("count", "size"), [(1, (8, 8)), (7, (5, 12)), (30, (12, 3))])
def test_a_sheet_gives_every_image_back(count: int, size: tuple[int, int]) -> None:
    cells = RNG.integers(0, 256, (count, *size, 3), np.uint8)
    sheet = image_sprite_sheet(cells)
    assert all(np.array_equal(cut(sheet.described, n), cells[n]) for n in range(count))
    assert sheet.aspect == size[1] / size[0]


def test_images_are_drawn_in_the_data_s_own_units() -> None:
    array = RNG.integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
    objective, _, samples = made(array)
    sprites = SpriteSheetBuilder(objective.encoder)
    raw = samples.batch(torch.arange(6))
    assert np.array_equal(sprites.raw_to_cells(raw), array.transpose(0, 2, 3, 1))
    assert np.array_equal(sprites.to_cells(objective.encoder.preprocess(raw)), array.transpose(0, 2, 3, 1))
    # Deeper ones from the least to the largest value that there is; two channels show the first.
    deep = RNG.integers(1000, 9000, (6, 2, 8, 8)).astype(np.uint16)
    drawn = SpriteSheetBuilder(made(deep)[0].encoder).raw_to_cells(deep)
    share = (deep[:, 0] - float(deep.min())) / float(deep.max() - deep.min())
    assert_allclose(drawn[..., 1], 255 * share, atol=1)


def test_large_images_are_reduced_and_clips_become_strips() -> None:
    wide = np.zeros((2, 1, 60, 300), np.uint8)
    wide[:, :, :, :150] = 255
    drawn = SpriteSheetBuilder(made(wide)[0].encoder).raw_to_cells(wide, 100)
    assert drawn.shape == (2, 20, 100, 3) and drawn[0, 10, 20, 0] == 255 and drawn[0, 10, 80, 0] == 0
    clip = np.zeros((3, 1, 9, 8, 10), np.uint8)
    clip[:, :, 0], clip[:, :, 4], clip[:, :, 8] = 80, 160, 240
    sprites = SpriteSheetBuilder(made(clip)[0].encoder)
    cells = sprites.raw_to_cells(clip)
    assert cells.shape == (3, 8, 30, 3) and cells[0, 0, [0, 10, 20], 0].tolist() == [80, 160, 240]
    assert sprites.sprite_sheet(cells).aspect == 30 / 8


def test_errors_are_brightest_where_they_are_largest() -> None:
    sprites = SpriteSheetBuilder(made(RNG.integers(0, 256, (4, 3, 8, 8)).astype(np.uint8))[0].encoder)
    errors = torch.zeros(2, 3, 8, 8)
    errors[0, :, 1, 2], errors[1, 0, 5, 5] = 0.5, 0.75
    drawn = sprites.errors_to_cells(errors)
    assert drawn[0, 1, 2].tolist() == [170] * 3 and drawn[1, 5, 5].tolist() == [85] * 3, "the mean over the channels"
    assert drawn.astype(int).sum() == 3 * (170 + 85)


def test_lines_keep_their_peaks_and_share_one_scale() -> None:
    series = RNG.normal(size=(5, 2, 3000)).astype(np.float32) * np.array([[1.0], [50.0]])
    series[0, 0, 1234], series[3, 1, 7] = 3.9, -195.0
    sprites = SpriteSheetBuilder(made(series.astype(np.float32))[0].encoder)
    cells = sprites.raw_to_cells(series.astype(np.float32))
    assert cells.shape == (5, 2, POINTS) and cells[0, 0].max() > 240 and cells[3, 1].min() < 15
    assert 100 < cells[0, 0].mean() < 155 and 100 < cells[0, 1].mean() < 155, "each channel around the middle"
    sheet = sprites.sprite_sheet([cells[:2], cells[2:]])
    described_sheet = sheet.described
    values = np.frombuffer(base64.b64decode(described_sheet["values"]), np.uint8)
    assert np.array_equal(values.reshape(5, 2, POINTS), cells) and described_sheet["kind"] == "lines"


def test_short_vectors_are_bars_from_zero() -> None:
    rows = RNG.normal(size=(50, 7)) * [1, 10, 100, 1, 1, 1, 1] + 5
    objective, _, _ = made(rows)
    sprites = SpriteSheetBuilder(objective.encoder)
    sheet = sprites.sprite_sheet(sprites.raw_to_cells(rows)).described
    low, high = sprites.value_range
    assert (sheet["kind"], sheet["points"]) == ("bars", 7) and sheet["zero"] == pytest.approx(
        -low / (high - low), abs=1e-4
    )
    scaled = (rows - rows.mean(0)) / rows.std(0)
    values = np.frombuffer(base64.b64decode(sheet["values"]), np.uint8).reshape(50, 7)
    assert_allclose(values / 255 * (high - low) + low, np.clip(scaled, low, high), atol=0.02)
    wide = made(RNG.normal(size=(20, 100)))[0].encoder
    assert (
        SpriteSheetBuilder(wide)
        .sprite_sheet(SpriteSheetBuilder(wide).raw_to_cells(RNG.normal(size=(20, 100))))
        .described["kind"]
        == "lines"
    )


def test_cells_shrink_as_they_become_many() -> None:
    assert cell_side(10) == 112 and cell_side(2000) == 54 and cell_side(10**6) == 24


# Charts


def path_of(drawn: str, kind: str = "curve") -> np.ndarray:
    """(N, 2) points of a drawn curve."""
    path = re.search(rf'class="{kind}" d="M([^"]+)"', drawn).group(1)
    return np.array([[float(v) for v in point.split()] for point in path.split("L")])


def test_a_curve_goes_through_its_points() -> None:
    drawn = charts.curve("loss", [0, 10, 20, 40], [4.0, 3.0, 1.0, 0.0], "step")
    left, top, wide, high = charts._BOX
    expected = [(left + wide * x / 40, top + high * (1 - y / 4)) for x, y in [(0, 4), (10, 3), (20, 1), (40, 0)]]
    assert_allclose(path_of(drawn), expected, atol=0.06)
    assert "0 at the end" in drawn and "step 40" in drawn
    data = json.loads(re.search(r'data-curve="([^"]*)"', drawn).group(1).replace("&quot;", '"'))
    assert data["xs"] == [0, 10, 20, 40] and data["span"] == [0, 40, 0, 4] and not data["log"]
    assert charts.curve("one", [1], [1.0], "step") == ""


def test_a_noisy_curve_has_its_running_mean_and_a_wide_one_a_logarithmic_axis() -> None:
    xs, ys = np.arange(200), np.geomspace(1000, 1, 200)
    drawn = charts.curve("loss", xs, ys, "step", smooth=True)
    assert "(log)" in drawn and 'class="raw"' in drawn
    faint = path_of(drawn, "raw")
    assert_allclose(np.diff(faint[2:, 1]), np.diff(faint[2:, 1]).mean(), atol=0.11), "straight on a logarithmic axis"
    assert_allclose(charts._running(np.arange(100.0))[10:90], np.arange(10, 90))
    assert_allclose(charts._running(np.ones(7)), 1)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.93, 0.98), (-5, 17), (1e-7, 3e-7), (2.0, 2.0), (0.0, 0.0)])
def test_ticks_are_round_and_enclose(low: float, high: float) -> None:
    left, right = charts._enclosing(low, high)
    assert left <= low and high <= right and right > left
    steps = np.diff(charts._ticks(low, high))
    assert_allclose(steps, steps[0]) and 2 <= len(steps) <= 7
    assert re.fullmatch(r"(1|2|2\.5|5|10)0*", f"{steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9):g}")


def test_intervals_stand_where_they_are() -> None:
    drawn = charts.intervals({"encoder": (0.5, 0.4, 0.6, False), "raw": (0.2, None, None, True)}, "probe")
    assert charts._enclosing(0.2, 0.6) == (0.2, 0.6)
    assert 'left:50.00%;width:50.00%"></i><b style="left:75.00%"' in drawn and "0.500 [0.400, 0.600]" in drawn
    assert '<b style="left:0.00%"></b></span><span class="said">0.200</span>' in drawn


def test_a_confusion_matrix_says_each_cell() -> None:
    drawn = charts.confusion_table(np.array([[8, 2], [0, 5]]), ["<a>", "b"])
    assert "&lt;a&gt; predicted as b: 2 (20.0%)" in drawn and "--share:0.800;--shade:var(--mark)" in drawn
    assert "--share:0.500;--shade:var(--bad)" in drawn, "mistakes on a finer scale"


def test_calibration_is_that_of_scikit_learn() -> None:
    confidence = RNG.uniform(0.2, 1, 5000)
    right = RNG.uniform(size=5000) < confidence**2
    counts, accuracy, mean = charts.bin_by_confidence(confidence, right, 10)
    theirs, predicted = calibration_curve(right, confidence, n_bins=10)
    filled = counts > 0
    assert_allclose(accuracy[filled], theirs)
    assert_allclose(mean[filled], predicted)
    assert calibration_error(confidence, right, 10) == pytest.approx(
        float((counts[filled] * abs(theirs - predicted)).sum() / 5000)
    )
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0


# Maps


def test_categories_have_the_order_that_people_expect() -> None:
    found = category_colors(np.array(["10", "9", "", "10", "-1"]))
    assert found == {"names": ["-1", "9", "10"], "codes": [2, 1, -1, 2, 0]}
    many = np.array([f"c{n}" for n in range(25)] + ["c24", "c24", "c7"])
    assert category_colors(many)["names"][:2] == ["c24", "c7"]


def test_numbers_are_placed_between_their_outer_hundredths() -> None:
    values = np.concatenate([np.arange(101.0), [1e9, np.nan]])
    found = scale_values(values)
    assert found["low"] == pytest.approx(np.nanquantile(values, 0.01)) and found["values"][101:] == [1.0, 0.0]
    assert found["values"][50] == pytest.approx((50 - found["low"]) / (found["high"] - found["low"]), abs=1e-4)


def test_both_axes_of_a_map_have_one_scale() -> None:
    places = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 4.0]])
    drawn = map_data(["a", "b", "c"], {"plane": places}, {}, np.array([[1], [2], [1]]))
    assert drawn["layouts"]["plane"] == {"x": [0, 1, 1], "y": [0.3, 0.3, 0.7]} and drawn["neighbors"] == [[1], [2], [1]]


def test_colors_by_what_there_is() -> None:
    assert color_options(None, None, None) == {}
    assert "values" in color_options(np.array([0.5, np.nan, 2.5]), None, None)["label"]
    found = color_options(np.array(["a", None, "b"], object), np.array(["train", "test", "test"]), np.array([0, -1, 1]))
    assert found["label"]["codes"] == [0, -1, 1] and found["cluster"]["codes"] == [0, -1, 1]
    assert found["split"]["names"] == ["test", "train"]
    assert "split" not in color_options(None, np.array(["train", "train"]), None)


def two_groups() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(size=(30, 6)), rng.normal(size=(30, 6)) + 8])


def seeded_and_apart(method: str, title: str) -> None:
    rows = two_groups()
    places, found = project(rows, method, seed=1)
    assert (
        places.shape == (60, 2) and np.array_equal(places, project(rows, method, seed=1)[0]) and found.startswith(title)
    )
    assert np.linalg.norm(places[:30].mean(0) - places[30:].mean(0)) > 2 * places[:30].std(), "two groups stay apart"


def test_layouts_are_seeded_and_named() -> None:
    rows = two_groups()
    for method, title in {"pca": "principal components", "tsne": "t-SNE", "auto": "t-SNE"}.items():
        seeded_and_apart(method, title)
    assert project(rows[:, :2])[1] == "embeddings" and np.array_equal(project(rows[:, :2])[0], rows[:, :2])
    with pytest.raises(RecipeError, match="expected auto, pca, tsne, umap"):
        project(rows, "mds")
    with pytest.raises(DataError, match="a map needs at least 3 samples and 2 dimensions"):
        project(rows[:2])


@pytest.mark.slow
def test_umap_is_seeded_too() -> None:
    seeded_and_apart("umap", "UMAP")  # half a minute, in which numba compiles it


def test_umap_is_asked_for_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Stub:
        def __init__(self, **settings: Any) -> None:
            asked.update(settings)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Stub))
    rows = two_groups()[:9]
    places, title = project(rows, "umap", seed=4)
    assert title == "UMAP" and places.dtype == np.float64 and asked["n_neighbors"] == 8 and asked["random_state"] == 4
    assert asked["init"].shape == (9, 2) and np.abs(asked["init"]).max() == 10, "from the principal components"
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(AekitError, match=r"pip install 'aekit\[maps\]'"):
        project(rows, "umap")


def test_a_sample_is_not_its_own_neighbor() -> None:
    rows = RNG.normal(size=(40, 5)).astype(np.float32)
    rows[7] = rows[3] = rows[20]
    scores, found = nearest_other_neighbors(rows, 4)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    assert (found != np.arange(40)[:, None]).all() and set(found[7, :2]) == {3, 20}
    assert_allclose(scores, -np.sort(-cosines, 1)[:, :4], atol=1e-6)
    assert nearest_other_neighbors(rows[:3], 9)[1].shape == (3, 2)


# A look


class Counting(ArraySource):
    """Counts what is read of it, and cannot read some."""

    def __init__(self, *given: Any, bad: tuple[int, ...] = (), slow: bool = False, **options: Any) -> None:
        super().__init__(*given, **options)
        self.was_read, self.bad, self.slow = 0, bad, slow

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, ok = super().read(indices)
        self.was_read += len(indices)
        for place in np.flatnonzero(np.isin(indices, self.bad)):
            ok[place], rows[place] = False, 0
            self.skipped[self.ids[int(indices[place])]] = "torn"
        return rows, ok


def looked(source: Source, trained: np.ndarray, most: int) -> Snapshot:
    samples = load_samples(source, trained, CPU)
    objective = made(source.array)[0]  # type: ignore[attr-defined]
    if isinstance(source, Counting):
        source.was_read = 0
    return take_snapshot(objective.encoder, source, samples, autoencoder=objective, max_samples=most)  # type: ignore[arg-type]


def test_every_split_is_looked_at_and_what_was_trained_on_is_not_read_again() -> None:
    array = RNG.normal(size=(1000, 6)).astype(np.float32)
    splits = np.array(["train"] * 900 + ["validation"] * 20 + ["test"] * 80)
    source = Counting(array, splits=splits, bad=(950, 951))
    snapshot = looked(source, np.arange(0, 900), most=120)
    counts = dict(zip(*np.unique(snapshot.splits, return_counts=True)))
    assert counts["validation"] == 20 and counts["train"] == 50 and 45 < counts["test"] <= 50
    assert source.was_read == 70, "validation and test alone"
    assert np.array_equal(snapshot.trained, snapshot.splits == "train") and np.all(np.diff(snapshot.rows) > 0)
    encoder = snapshot.encoder
    assert_allclose(
        snapshot.vectors, encoder(torch.from_numpy(array[snapshot.rows])).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert not np.isin([950, 951], snapshot.rows).any()


def test_what_has_to_be_decoded_is_looked_at_sparingly() -> None:
    array = RNG.normal(size=(3000, 3)).astype(np.float32)
    source = Counting(array, slow=True)
    snapshot = looked(source, np.arange(100), most=2000)
    assert source.was_read == 600 and 600 < len(snapshot) < 700


def test_a_look_of_sixteen_bits_in_another_order() -> None:
    array = RNG.integers(0, 60000, (40, 1, 8, 8)).astype(np.uint16)
    snapshot = looked(ArraySource(array), np.array([30, 2, 17]), most=40)
    assert snapshot.trained.sum() == 3 and np.array_equal(snapshot.rows, np.arange(40))
    assert np.array_equal(snapshot.cells, snapshot.sprites.raw_to_cells(array))
    assert snapshot.errors is not None and snapshot.errors.shape == (40,)


def test_a_map_of_a_run_says_what_was_trained_on() -> None:
    array = RNG.normal(size=(50, 6)).astype(np.float32)
    snapshot = looked(ArraySource(array, labels=np.arange(50) % 3), np.arange(20), most=50)
    snapshot.project("pca")
    drawn = snapshot_map(snapshot)
    assert list(drawn["colors"]) == ["label", "cluster", "trained on", "error"]
    assert drawn["colors"]["trained on"]["codes"].count(1) == 20 and len(drawn["neighbors"][0]) == 8
    few = looked(ArraySource(array[:2]), np.arange(2), most=9)
    few.project("pca")
    assert few.layouts == {} and few.clusters is None


# Findings


def sentences(losses: Any = (), metrics: Any = None, skipped: int = 0, **of_look: Any) -> dict[str, str]:
    """Text -> grade."""
    vectors = of_look.pop("vectors", RNG.normal(size=(60, 8)).astype(np.float32))
    near = nearest_other_neighbors(vectors, 8)
    snapshot = SimpleNamespace(vectors=vectors, neighbors=near, seed=0, classes=None, ids=[], __len__=None)
    snapshot = type("Fake", (SimpleNamespace,), {"__len__": lambda self: len(vectors)})(**{**vars(snapshot), **of_look})
    results = {"metrics": metrics or {}, "trained": {"samples": 100, "skipped": skipped}}
    return {text: grade for grade, text in findings(results, losses, snapshot)}  # type: ignore[arg-type]


def graded_as(found: dict[str, str], start: str) -> str:
    (grade,) = {grade for text, grade in found.items() if text.startswith(start)}
    return grade


def agreement(vectors: np.ndarray, classes: np.ndarray) -> float:
    """Percentage of the nearest neighbors that share a label."""
    _, neighbors = nearest_other_neighbors(vectors, 8)
    return 100 * float((classes[neighbors] == classes[:, None]).mean())


def test_the_loss_is_read() -> None:
    falling, flat = np.linspace(10, 1, 200), np.concatenate([np.geomspace(10, 1, 100), np.ones(200)])
    assert graded_as(sentences(falling), "The loss was still decreasing") == "notice"
    assert graded_as(sentences(flat), "The loss decreased from") == "good"
    assert graded_as(sentences(flat[::-1]), "The loss did not decrease") == "bad"
    risen = np.concatenate([flat, np.full(40, 3.0)])
    assert graded_as(sentences(risen), "The loss increased at the end, from 1.353 to 3") == "notice"
    assert not [text for text in sentences([5, 4, 3]) if "loss" in text], "too few steps to say anything"


def test_a_collapse_duplicates_and_a_narrow_cone_are_told() -> None:
    flat = np.outer(RNG.normal(size=60), RNG.normal(size=8)).astype(np.float32)
    assert graded_as(sentences(vectors=flat), "the embeddings use about 1.0 of their 8 directions") == "bad"
    twice = RNG.normal(size=(60, 8)).astype(np.float32)
    twice[5] = twice[40]
    assert graded_as(sentences(vectors=twice), "2 of 60 samples have the same embedding as another") == "notice"
    cone = (RNG.normal(size=(60, 8)) + 40).astype(np.float32)
    told = next(
        text for text in sentences(vectors=cone) if text.startswith("All embeddings point in nearly the same direction")
    )
    unit = cone / np.linalg.norm(cone, axis=1, keepdims=True)
    mean = (unit @ unit.T)[~np.eye(60, dtype=bool)].mean()
    assert f"the mean cosine of two is {mean:.3f}" in told


def test_labels_dead_numbers_skipped_samples_and_reconstructions_are_told() -> None:
    apart = np.repeat(np.eye(8, dtype=np.float32)[:2] * 9, 30, 0) + RNG.normal(size=(60, 8)).astype(np.float32)
    names = np.repeat(["a", "b"], 30)
    assert graded_as(sentences(vectors=apart, classes=names), "100% of the 8 nearest neighbors") == "good"
    mixed = RNG.permutation(names)
    assert (
        graded_as(sentences(vectors=apart, classes=mixed), f"{agreement(apart, mixed):.0f}% of the 8 nearest neighbors")
        == "notice"
    )
    found = sentences(metrics={"explained": -0.1, "dead_units": 2.0, "effective_rank": 6.5}, skipped=5)
    assert (
        graded_as(found, "The reconstruction is no closer") == "bad" == graded_as(found, "5 samples could not be read")
    )
    assert graded_as(found, "2 of the 8 dimensions of the embedding are constant") == "notice"
    assert graded_as(found, "The embedding uses about 6.5 of its 8 dimensions") == "good"
    assert list(found.values()) == sorted(found.values(), key=["bad", "notice", "good"].index), "the worst first"


def test_curves_are_by_term_and_phase() -> None:
    one = [{"step": n, "epoch": 0, "lr": 0.1, "loss": 2.0 - n, "reconstruction": 2.0 - n} for n in range(3)]
    assert list(_terms(one)) == ["reconstruction", "learning rate"], "a loss of one term is that term"
    pretext = [{"step": n, "epoch": 0, "lr": 0.1, "loss": 2.0 - n, "accuracy": 0.5} for n in range(3)]
    assert list(_terms(pretext)) == ["loss", "accuracy", "learning rate"]
    assert _terms(pretext)["loss"] == [(0, 2.0), (1, 1.0), (2, 0.0)]
    layers = [{"step": n, "epoch": 0, "lr": 0.1, "loss": 9.0, "layer-1/reconstruction": 9.0} for n in range(4)]
    assert list(_terms([*layers, *one])) == ["layer-1/reconstruction", "reconstruction", "learning rate"]
    assert _last_losses([*layers, *one]) == [2.0, 1.0, 0.0]


# Task examples


class Talks(Pretext):
    """Shows and says things."""

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        noise = torch.randn(x.shape, generator=generator)
        return {"sees": x + noise, "says": [f"<{n}>" for n in range(len(x))]}


class Fails(Pretext):
    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        raise ValueError("no <image>")


def shown(objective: Objective, samples: Samples) -> str:
    page = Page("seen")
    page.add("", *task_example_cards(page, objective, samples, None, SpriteSheetBuilder(objective.encoder), 0))
    return page.html()


def test_what_a_pretext_task_shows_is_drawn() -> None:
    objective, _, samples = made(RNG.integers(0, 256, (12, 1, 8, 8)).astype(np.uint8))
    encoder = objective.encoder
    text = shown(
        WeightedSum({"autoencoder": objective, "talks": PretextObjective(encoder, Talks(encoder))}, {}), samples
    )
    assert "Reconstruction" in text and "Task: talks" in text and "&lt;7&gt;" in text
    sheets = held_in(text)["sheets"]
    assert len(sheets) == 4, "sample, reconstruction, error and encoder input"
    first = cut(sheets[0], 3)[..., 0]
    assert np.array_equal(first, samples.batch(torch.tensor([4]))[0, 0].numpy()), "evenly spaced: 0, 1, 3, 4 ..."
    assert encoder.training, "the network is left as it was"


def test_a_plugin_that_cannot_show_costs_no_report() -> None:
    objective, _, samples = made(RNG.normal(size=(12, 6)))
    text = shown(PretextObjective(objective.encoder, Fails(objective.encoder)), samples)
    assert "These could not be drawn" in text and "no &lt;image&gt;" in text


def test_a_denoiser_shows_what_it_was_shown() -> None:
    array = RNG.integers(1, 256, (12, 1, 8, 8)).astype(np.uint8)
    settings = {
        "objective.variants": ["denoising"],
        "objective.denoising.noise": "masking",
        "objective.denoising.level": 0.5,
    }
    objective, _, samples = made(array, **settings)
    rows = objective.eval().visualize(Batch(samples.batch(torch.arange(12))), torch.Generator().manual_seed(0))[
        "autoencoder"
    ]
    assert list(rows) == ["sample", "encoder input", "reconstruction", "error"]
    clean, corrupted, back, error = rows.values()
    masked = corrupted == 0
    assert 0.4 < masked.float().mean() < 0.6 and torch.equal(corrupted[~masked], clean[~masked])
    assert torch.equal(error, (back - clean).abs())
    paired = objective.visualize(
        Batch(samples.batch(torch.arange(3)), target=samples.batch(torch.arange(3, 6))), torch.Generator()
    )
    assert next(iter(paired["autoencoder"])) == "target"


def test_first_filters_have_the_shape_of_what_they_look_at() -> None:
    conv = made(RNG.integers(0, 256, (9, 3, 8, 8)).astype(np.uint8))[0].encoder
    weights, total = first_layer_weights(conv)  # type: ignore[misc]
    assert weights.shape == (4, 3, 3, 3) and total == 4
    assert np.all(np.diff(np.linalg.norm(weights.reshape(4, -1), axis=1)) <= 1e-6), "the largest first"
    whole = made(RNG.integers(0, 256, (9, 1, 8, 6)).astype(np.uint8), **{"encoder.backbone": "mlp"})[0].encoder
    assert first_layer_weights(whole)[0].shape[1:] == (1, 8, 6)  # type: ignore[index]
    vector = made(RNG.normal(size=(9, 5)))[0].encoder
    assert first_layer_weights(vector)[0].shape[1:] == (1, 5)  # type: ignore[index]
    strange = Encoder.__new__(Encoder)
    torch.nn.Module.__init__(strange)
    strange.backbone = torch.nn.Identity()  # type: ignore[assignment]
    assert first_layer_weights(strange) is None


# Pages


def test_a_page_cannot_be_broken_out_of() -> None:
    page = Page("<script>", "</p>")
    name = "</script><script>alert(1)</script>"
    page.add("Map & <b>", card("<h1>", "<i>", page.map(map_data([name, "b"], {"t": np.eye(2)}, {}, None), None)))
    page.add("Other", table([{"<td>": "<x>", "n": 0.12345}]), "")
    text = page.html()
    assert text.count("<script") == 3 and "<script>alert" not in text and held_in(text)["maps"][0]["ids"][0] == name
    assert "&lt;td&gt;" in text and "0.123" in text and 'aria-controls="map-b-"' in text
    assert "://" not in text and "default-src 'none'" in text
    with pytest.raises(ValueError, match="JSON"):
        page.map({"x": float("nan")}, None)
        page.html()


def test_a_page_without_tabs_has_no_bar() -> None:
    page = Page("t")
    page.add("", "<p>only</p>")
    text = page.html()
    assert 'role="tablist"' not in text.split("<script")[0].split("</style>")[1] and "drawMap(" in text


# Whole reports


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits with splits, and its embeddings; its page is made as that of a long run."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("labeled")
    digits = load_digits()
    split = {"X_train": slice(0, 400), "X_test": slice(400, 600)}
    arrays = {name: (digits.images[part] * 15).astype(np.uint8) for name, part in split.items()}
    arrays |= {name.replace("X", "y"): digits.target[part] for name, part in split.items()}
    np.savez(folder / "digits.npz", **arrays)
    settings = {"train.precision": "fp32", "encoder.conv.channels": [8, 16], "evaluate.evaluators": ["probe", "knn"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aekit.report._effort.estimate_training_seconds", lambda *_: np.inf)
        encoder = aekit.fit(
            str(folder / "digits.npz"), variants=["denoising"], dim=8, epochs=8, out=folder / "run", overrides=settings
        )
    encoder.embed(str(folder / "digits.npz"), out=folder / "embeddings")
    return folder


def test_the_report_of_a_run_tells_what_results_say(labeled: Path) -> None:
    text = (labeled / "run" / "report.html").read_text("utf-8")
    results = json.loads((labeled / "run" / "results.json").read_text("utf-8"))
    told = results["evaluation"]["results"]
    for subject in ("encoder", "raw", "random"):
        figure = told[subject]["probe"]["metrics"]["accuracy"]
        assert f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]" in text, subject
    confusion = np.array(told["encoder"]["probe"]["plot_data"]["confusion"])
    assert f"{int(confusion.sum() - np.trace(confusion))} of 200 test samples are misclassified" in text
    assert f"accuracy {np.trace(confusion) / 200:.3f}; expected calibration error" in text
    for part in (
        "Reconstruction",
        "Compared with baselines",
        "t-SNE",
        "Neighbors of random samples",
        "First layer",
    ):
        assert part in text, part
    assert results["digest"] in text and "epochs = 8" in text and "All 600 samples" in text
    held = held_in(text)
    assert held["maps"][0]["colors"]["split"]["codes"].count(0) == 200 and len(held["maps"][0]["layouts"]) == 2
    assert len(text) < 5e6 and "NaN" not in text


def test_the_hardest_mistakes_are_the_surest_wrong_answers(labeled: Path) -> None:
    text = (labeled / "run" / "report.html").read_text("utf-8")
    mistakes = re.findall(r">(\d), not (\d)</b><span title=\"[^\"]*\">(\d+)% · test-(\d+)", text)
    evaluation = aekit.evaluate(aekit.Embeddings.open(labeled / "embeddings"), evaluators=["probe"], baselines=False)
    probe = evaluation.results["encoder"]["probe"]
    truth = aekit.Embeddings.open(labeled / "embeddings").labels[evaluation.evaluated_rows].astype(str)
    wrong = np.flatnonzero(probe.predictions.astype(str) != truth)
    worst = wrong[np.argsort(-probe.confidence[wrong], kind="stable")][:24]
    expected = [(str(probe.predictions[n]), truth[n], f"{100 * probe.confidence[n]:.0f}", str(n)) for n in worst]
    assert mistakes == expected


def test_the_card_has_the_same_figures(labeled: Path) -> None:
    text = (labeled / "run" / "encoder" / "README.md").read_text("utf-8")
    results = json.loads((labeled / "run" / "results.json").read_text("utf-8"))
    figure = results["evaluation"]["results"]["pca-8"]["probe"]["metrics"]["accuracy"]
    row = next(line for line in text.splitlines() if line.startswith("| pca-8"))
    assert f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]" in row
    assert text.startswith("---\nlibrary_name: aekit\n") and results["evaluation"]["summary"][0] in text
    assert re.search(r"^- [✓!✕] The loss ", text, re.M) and "probe" not in text.partition("## Findings")[2]
    assert [Finding(*found).severity for found in results["findings"]]
    assert (labeled / "embeddings" / "encoder" / "README.md").read_text("utf-8") == text, (
        "it goes where the encoder goes"
    )


def test_what_was_not_judged_gets_a_quick_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"train.precision": "fp32", "evaluate.baselines": False}
    monkeypatch.setattr("aekit.report._effort.estimate_training_seconds", lambda *_: 0.01)
    aekit.fit("sklearn:iris", dim=3, epochs=2, out=tmp_path / "short", overrides=settings)
    short = (tmp_path / "short" / "report.html").read_text("utf-8")
    assert "Not evaluated: the run is short, and its page with it; aekit report RUN --thorough" in short
    assert "only principal components" in short
    assert aekit.make_report(tmp_path / "short", thorough=True) == tmp_path / "short" / "report.html"
    thorough = (tmp_path / "short" / "report.html").read_text("utf-8")
    assert "A quick evaluation of 150 samples" in thorough and "Not evaluated" not in thorough
    monkeypatch.setattr("aekit.report._effort.estimate_training_seconds", lambda *_: np.inf)
    aekit.fit("sklearn:iris", dim=3, epochs=2, out=tmp_path / "long", overrides=settings)
    long = (tmp_path / "long" / "report.html").read_text("utf-8")
    assert "A quick evaluation of 150 samples" in long and "Confusion (probe)" in long and "Calibration" in long
    assert "run is short" not in long
    assert "evaluation" not in json.loads((tmp_path / "long" / "results.json").read_text("utf-8"))
    aekit.fit(RNG.normal(size=(40, 5)), dim=3, epochs=2, out=tmp_path / "bare", overrides=settings)
    assert "The data has no labels to evaluate with" in (tmp_path / "bare" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("shape", [(3, 4), (2, 1, 8), (2, 6), (4, 1, 8, 8), (3, 1, 4, 8, 8)])
def test_few_samples_of_any_kind_have_a_report(
    tmp_path: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aekit.report._effort.estimate_training_seconds", lambda *_: np.inf)
    array = RNG.normal(size=shape).astype(np.float32)
    aekit.fit(array, dim=2, epochs=1, out=tmp_path / "run")
    assert "Reproduce this run" in (tmp_path / "run" / "report.html").read_text("utf-8")


# Maps and exports


def test_a_map_to_look_through(command: Command, labeled: Path, tmp_path: Path) -> None:
    told = command.ok(
        "map", labeled / "embeddings", "--html", tmp_path / "m.html", "--method", "pca", "--max-samples", 300, "-q"
    )
    assert told.startswith("300 samples in") and not (tmp_path / "m.parquet").exists()
    text = (tmp_path / "m.html").read_text("utf-8")
    (drawn,) = held_in(text)["maps"]
    assert (
        "300 of 600 samples" in text and drawn["sheet"] == 0 and list(drawn["colors"]) == ["label", "cluster", "split"]
    )
    opened = aekit.Embeddings.open(labeled / "embeddings")
    shown = evenly_spaced(np.arange(600), 300)
    assert drawn["ids"] == [opened.ids[row] for row in shown]
    assert drawn["neighbors"] == nearest_other_neighbors(opened.vectors[shown], 8)[1].tolist()
    assert "expected -o IMAGE.png" in command("map", labeled / "embeddings").error
    aekit.draw_map(opened.vectors, html=tmp_path / "bare.html", method="pca")
    bare = held_in((tmp_path / "bare.html").read_text("utf-8"))["maps"][0]
    assert bare["sheet"] is None and list(bare["colors"]) == ["cluster"]


def test_embeddings_for_embedding_atlas(command: Command, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "atlas"
    told = command.ok("explore", labeled / "embeddings", "-o", out, "--method", "pca")
    assert f"embedding-atlas {out}/embeddings.parquet --x x --y y --neighbors neighbors --image image" in told
    rows = pq.read_table(out / "embeddings.parquet")
    opened = aekit.Embeddings.open(labeled / "embeddings")
    assert rows["id"].to_pylist() == list(opened.ids) and rows["label"].to_pylist() == opened.labels.tolist()
    assert rows.column_names == ["id", "label", "split", "cluster", "x", "y", "neighbors", "image"]
    places, _ = project(opened.vectors, "pca")
    assert_allclose(np.column_stack([rows["x"], rows["y"]]), places)
    scores, near = nearest_other_neighbors(opened.vectors, 10)
    first = rows["neighbors"][5].as_py()
    assert first["ids"] == near[5].tolist() and np.allclose(first["distances"], 1 - scores[5], atol=1e-6)
    image = rows["image"][5].as_py()
    with Image.open(io.BytesIO(image["bytes"])) as drawn:
        source, at = opened.source()  # type: ignore[misc]
        side = drawn.width // 8
        assert np.array_equal(np.asarray(drawn)[side // 2 :: side, side // 2 :: side, 0], source.read(at[5:6])[0][0, 0])
    assert image["path"] == f"{opened.ids[5]}.png"


def test_embeddings_for_tensorboard(command: Command, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "projector"
    said = Said()
    made_for = aekit.explore(labeled / "embeddings", out, format="projector", max_samples=200, progress=said)
    assert made_for.count == 200 and "200 of 600 samples" in said and f"tensorboard --logdir {out}" == made_for.command
    opened = aekit.Embeddings.open(labeled / "embeddings")
    shown = evenly_spaced(np.arange(600), 200)
    assert_allclose(np.loadtxt(out / "tensors.tsv", delimiter="\t"), opened.vectors[shown], rtol=1e-4, atol=1e-5)
    lines = (out / "metadata.tsv").read_text("utf-8").splitlines()
    assert lines[0] == "id\tlabel\tsplit\tcluster" and len(lines) == 201
    assert lines[4].split("\t")[:2] == [opened.ids[shown[3]], str(opened.labels[shown[3]])]
    told = (out / "projector_config.pbtxt").read_text("utf-8")
    assert "tensor_shape: 200\n  tensor_shape: 8" in told and "single_image_dim: 64 single_image_dim: 64" in told
    with Image.open(out / "sprite.png") as sprite:
        assert sprite.size == (15 * 64, 15 * 64)


def test_mistakes_with_explorers(command: Command, labeled: Path, tmp_path: Path) -> None:
    assert "no embeddings here" in command("explore", tmp_path, "-o", tmp_path / "out").error
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert (
        "exists already"
        in command("explore", labeled / "embeddings", "-o", tmp_path / "taken", "--method", "pca").error
    )
    with pytest.raises(RecipeError, match="expected atlas or projector"):
        aekit.explore(labeled / "embeddings", tmp_path / "out", format="gephi")  # type: ignore[arg-type]
    bare = aekit.explore(aekit.Embeddings.from_array(RNG.normal(size=(12, 3)).astype(np.float32)), tmp_path / "bare")
    assert (
        "--image" not in bare.command
        and "image" not in pq.read_table(tmp_path / "bare" / "embeddings.parquet").column_names
    )


def test_the_effort_of_a_page_follows_from_recipe_and_data() -> None:
    digits = SampleSpec("image", (1, 8, 8), "float32")

    def effort(epochs: int, samples: int = 1797, spec: SampleSpec = digits, **more: Any) -> Effort:
        train = {"epochs": epochs, "batch_size": 128}
        results = {
            "recipe": {"train": train, "layerwise": {"epochs": 0, "layers": []}},
            "trained": {"samples": samples},
        }
        return page_effort(results, spec, more.pop("dim", 64), **more)

    quick = tuple(plugin.qualified for plugin in registry().by_kind("evaluator") if "quick" in plugin.entry.tags)
    neighbors = tuple(name for name in quick if name.rpartition("/")[2] in NEIGHBOR_EVALUATORS)
    assert len(neighbors) == 2 < len(quick)
    assert effort(2) == (600, False, ()) and effort(2, thorough=True) == (2000, True, quick)
    assert effort(0) == (600, False, neighbors), "nothing is trained"
    assert effort(20) == (600, False, neighbors)
    assert effort(60) == (600, True, neighbors)
    assert effort(200) == (1088, True, neighbors) and effort(200, device="cuda") == (600, False, neighbors)
    assert effort(20, 60_000, SampleSpec("image", (3, 64, 64), "uint8")) == (2000, True, quick)
    assert effort(20, 60_000, SampleSpec("image", (3, 64, 64), "uint8"), dim=5000) == (2000, False, ())
    assert effort(20, 60_000, SampleSpec("vector", (10,), "float32")) == (600, True, neighbors)


def test_primary_metrics_are_drawn_also_where_all_are_perfect() -> None:
    labels = np.repeat(["left", "right"], 30)
    vectors = np.where(labels == "left", -1.0, 1.0)[:, None] + 0.01 * np.random.default_rng(0).normal(size=(60, 4))
    evaluation = aekit.evaluate(
        vectors, labels, evaluators=["knn"], compare_with={"doubled": 2 * vectors}, baselines=False, checks=False
    )
    (chart,), _ = interval_charts(evaluation)
    assert chart.count("1.000 [1.000, 1.000]") == 2 and "doubled" in chart


def test_long_names_keep_both_ends_and_their_direction() -> None:
    names = [f"{'x' * 80} {number}" for number in (1, 2)]
    drawn = charts.confusion_table(np.eye(2, dtype=int), names)
    assert f'title="{names[0]}" dir="auto"' in drawn
    assert "xxxxxxxx…xxxxx 1<" in drawn and "xxxxxxxx…xxxxx 2<" in drawn
