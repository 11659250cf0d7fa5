"""Heat maps of anomalies: parts against written-out references, planted defects end to end, and masks that do not fit."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from commands import Command
from PIL import Image
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import roc_auc_score

import aekit
from aekit.analysis import _patch_memory
from aekit.analysis._anomaly_maps import HeatMapper
from aekit.analysis._anomaly_masks import find_masks
from aekit.analysis._patch_features import PatchFeatures, RawPatches
from aekit.analysis._patch_memory import PatchMemory, core_set
from aekit.data.opening import open_data
from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.encoder.encoder import build_encoder
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import DataError, IdentityError
from aekit.evaluation.metrics.localization import PixelCounts, count_pixels
from aekit.objectives.autoencoder import load_autoencoder

SIDE = 64
FAST = {"train.precision": "fp32"}


def planting() -> ModuleType:
    """Return the module of the recipe that plants defects."""
    path = Path(__file__).parents[2] / "recipes" / "heatmaps" / "plant.py"
    spec = importlib.util.spec_from_file_location("plant", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images in the folders of MVTec AD: train/good, test/KIND and ground_truth/KIND."""
    plant, out, generator = planting(), tmp_path_factory.mktemp("images") / "weave", np.random.default_rng(0)
    plant.plant(out, plant.textures(generator, SIDE), generator, train=24, test=3)
    return out


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    out = folder.parent / "run"
    settings = {"data.split": "train", "encoder.conv.channels": [8, 16, 32]}
    aekit.fit(folder, dim=4, epochs=2, out=out, overrides=FAST | settings)
    return out


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer normal patches, which takes less time."""
    monkeypatch.setattr(_patch_memory, "CANDIDATES", 4000)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the images whose masks a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "weave"))


def images(folder: Path, part: str) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.open(p)).transpose(2, 0, 1) for p in sorted((folder / part).rglob("*.png"))]
    ).copy()


# Metrics


def overlap_up_to(heats: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """Compute the per-region overlap as its definition says, threshold by threshold."""
    regions = [(heat, part == number) for heat, mask in zip(heats, masks)
               for part, count in [label(mask, np.ones((3, 3)))] for number in range(1, count + 1)]  # fmt: skip
    points = [(0.0, 0.0)]
    for threshold in np.unique(heats)[::-1]:
        false = (heats >= threshold)[~masks].mean()
        points.append((false, float(np.mean([(heat >= threshold)[region].mean() for heat, region in regions]))))
    rates, found = np.array(points).T
    grid = np.linspace(0, limit, 20_001)
    return float(np.trapezoid(np.interp(grid, rates, found), grid) / limit)


def test_metrics_of_pixels_equal_their_definitions() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((6, 20, 20), bool)
    masks[0, 2:6, 3:9] = masks[0, 12:15, 12:15] = masks[1, 5:15, 1:4] = masks[2, 19, 19] = True
    masks[3, 8, 8] = masks[3, 9, 9] = True  # touch at a corner: one region
    heats = gaussian_filter(masks + rng.exponential(0.4, masks.shape), (0, 1, 1)).astype(np.float32)
    counts = PixelCounts()
    for heat, mask in zip(heats, masks):
        counts.add(count_pixels(heat, mask))
    metrics = counts.metrics(resamples=300)
    assert metrics["pixel_auroc"].value == pytest.approx(roc_auc_score(masks.ravel(), heats.ravel()), abs=5e-4)
    assert metrics["pro"].value == pytest.approx(overlap_up_to(heats, masks), abs=2e-3)
    for metric in metrics.values():
        assert metric.low is not None and metric.high is not None and metric.low < metric.value < metric.high
    assert counts.metrics(resamples=300) == metrics


def test_the_interval_of_pixels_is_that_of_resampled_images() -> None:
    rng = np.random.default_rng(1)
    masks = np.zeros((20, 8, 8), bool)
    masks[:10, 2:6, 2:6] = True
    strength = rng.uniform(-0.5, 2.0, 20)[:, None, None]
    heats = np.abs(rng.normal(size=masks.shape) + masks * strength).astype(np.float32)
    counts = PixelCounts()
    for heat, mask in zip(heats, masks):
        counts.add(count_pixels(heat, mask))
    metric = counts.metrics(seed=3, resamples=400)["pixel_auroc"]
    values = []
    for _ in range(400):
        rows = np.concatenate([rng.integers(0, 10, 10), rng.integers(10, 20, 10)])
        values.append(roc_auc_score(masks[rows].ravel(), heats[rows].ravel()))
    low, high = np.quantile(values, [0.025, 0.975])
    assert metric.low == pytest.approx(low, abs=0.02) and metric.high == pytest.approx(high, abs=0.02)


def test_there_are_no_metrics_without_both_kinds_of_pixels() -> None:
    counts = PixelCounts()
    assert counts.metrics() == {}
    counts.add(count_pixels(np.ones((4, 4), np.float32), np.zeros((4, 4), bool)))
    assert counts.metrics() == {}


# Patches


def test_features_of_patches_are_averaged_feature_maps(run: Path, folder: Path) -> None:
    encoder = aekit.load(run)
    features = PatchFeatures(encoder)
    assert (features.stages, features.grid, features.dim) == ((0, 1), (32, 32), 8 + 16)
    raw = torch.from_numpy(images(folder, "test/spot"))
    with torch.no_grad():
        fine = encoder.backbone.stages[0](encoder.preprocess(raw))
        coarse = encoder.backbone.stages[1](fine)
    result = features(raw)
    row, column = 5, 0  # at the edge, where fewer positions are averaged
    assert torch.allclose(result[:, :8, row, column], fine[:, :, 4:7, 0:2].mean((2, 3)), atol=1e-5)
    # A position of the finer map lies a quarter of the way between two of the coarser one.
    average = [coarse[:, :, i - 1 : i + 2, j - 1 : j + 2].mean((2, 3)) for i in (4, 5) for j in (7, 8)]
    weights = torch.tensor([0.1875, 0.0625, 0.5625, 0.1875])
    expected = (torch.stack(average, 2) * weights).sum(2)
    assert torch.allclose(result[:, 8:, 10, 15], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "grid", "dim"),
    [
        ("tf_efficientnet_lite0", (28, 28), 40 + 112),
        ("swin_tiny_patch4_window7_224", (28, 28), 192 + 384),  # channels last
        ("vit_tiny_patch16_224", (14, 14), 192),  # tokens
    ],
)
def test_networks_of_timm_have_feature_maps(model: str, grid: tuple[int, int], dim: int) -> None:
    pytest.importorskip("timm")
    rows = np.random.default_rng(0).integers(0, 255, (4, 3, 40, 60), np.uint8)
    samples = load_samples(ArraySource(rows), np.arange(4), torch.device("cpu"))
    architecture = {
        "backbone": {"name": "timm", "options": {"model": model}},
        "head": None,
        "dim": 0,
        "normalize": False,
    }
    encoder = build_encoder(samples.spec, fit_preprocess(samples, "unit")[0], architecture, seed=0).eval()
    features = PatchFeatures(encoder)
    assert (features.grid, features.dim) == (grid, dim)
    # The whole image is seen, although the network crops its input.
    changed = rows.copy()
    changed[:, :, :, :2] = 255 - changed[:, :, :, :2]
    difference = (features(torch.from_numpy(changed)) - features(torch.from_numpy(rows))).abs().mean(1)
    assert (difference[:, :, 0] > 0).all()


def test_an_encoder_without_maps_has_no_patches() -> None:
    rows = np.random.default_rng(0).integers(0, 255, (20, 1, 8, 8), np.uint8)
    encoder = aekit.fit(rows, backbone="mlp", dim=2, epochs=1, overrides=FAST)
    with pytest.raises(NotImplementedError, match="the backbone mlp has no feature maps"):
        PatchFeatures(encoder)
    result = aekit.find_anomalies(encoder, rows, reference=rows, baselines=False)
    assert result.heatmaps is None and "no heat maps of patches: the backbone mlp has no feature maps" in result.notes


def test_raw_patches_are_windows_of_pixels(run: Path) -> None:
    encoder = aekit.load(run)
    features = RawPatches(encoder)
    raw = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, 3, SIDE, SIDE), np.uint8))
    windows = features(raw)
    assert windows.shape == (2, features.dim, *features.grid) and features.dim == 3 * 5 * 5
    x = encoder.preprocess(raw)  # windows of 5 pixels every 2, around an odd padding
    assert torch.equal(windows[:, :, 10, 7], x[:, :, 19:24, 13:18].flatten(1))


def test_distances_to_the_memory_equal_those_written_out(run: Path, folder: Path) -> None:
    features = PatchFeatures(aekit.load(run))
    train, test = (torch.from_numpy(images(folder, part)) for part in ("train/good", "test/scratch"))
    memory = PatchMemory.fit(features, train.split(10), len(train), seed=0)
    assert memory.patches.shape == (1000, 24)  # of 24 x 167 candidates
    lengths = np.linalg.norm(memory.patches[:, :8] - memory.patches[:, :8].mean(0), axis=1)
    assert 0.5 < lengths.mean() < 2  # both maps are scaled to 1 on the candidates
    rows = features(test).flatten(2).transpose(1, 2).flatten(0, 1).numpy() * memory.scale
    expected = np.array([np.sqrt(np.square(memory.patches - row).sum(1).min()) for row in rows])
    assert np.allclose(memory.distances(test).ravel(), expected, rtol=1e-4, atol=1e-4)
    again = PatchMemory.fit(features, train.split(7), len(train), seed=0)
    assert np.allclose(again.distances(test), memory.distances(test), rtol=1e-3)
    # A patch of the memory is not its own neighbor.
    own = PatchMemory(features, rows[:1024].copy(), memory.scale)
    assert (own.distances(test[:1]) > 1e-3).mean() > 0.99


def test_a_core_set_covers_better_than_chance() -> None:
    rng = np.random.default_rng(0)
    candidates = np.concatenate([rng.normal(size=(11_960, 40)), 20 + rng.normal(size=(40, 40))]).astype(np.float32)
    chosen = core_set(candidates, rng)
    assert len(chosen) == len(set(chosen.tolist())) == 1200
    assert (chosen >= 11_960).sum() >= 20  # at random, 4 of the 40 rare ones
    assert core_set(candidates[:900], rng).tolist() == list(range(900))


# Maps


def test_a_map_of_the_reconstruction_averages_to_its_score(run: Path, folder: Path) -> None:
    autoencoder = load_autoencoder(run)
    raw = torch.from_numpy(images(folder, "test/missing"))
    mapper = HeatMapper(autoencoder.encoder, autoencoder, {}, None, {})
    (name, maps), = mapper.maps(raw)[0].items()  # fmt: skip
    error = (autoencoder.reconstruct(raw) - autoencoder.encoder.preprocess(raw)).square().mean(1)
    assert name == "reconstruction" and maps.shape == (3, SIDE, SIDE)
    assert np.allclose(maps.mean((1, 2)), error.mean((1, 2)), rtol=1e-4)
    assert np.allclose(maps[1], gaussian_filter(error[1].numpy(), SIDE / 56, truncate=3), atol=1e-5)


def test_levels_and_baselines_of_normal_images(run: Path, folder: Path) -> None:
    autoencoder = load_autoencoder(run)
    rows = images(folder, "train/good")
    samples = load_samples(ArraySource(rows), np.arange(len(rows)), torch.device("cpu"))
    mapper = HeatMapper.fit(autoencoder.encoder, autoencoder, samples, 0, baselines=True)
    assert mapper.names == ["reconstruction", "patches", "mean image", "raw patches"]
    kept = np.arange(24) % 10 != 9
    x = autoencoder.encoder.preprocess(torch.from_numpy(rows))
    assert mapper.mean is not None and torch.allclose(mapper.mean, x[kept].mean(0), atol=1e-5)
    maps, farthest = mapper.maps(torch.from_numpy(rows[~kept]))
    for name, heat in maps.items():
        assert mapper.levels[name] == pytest.approx(float(np.quantile(heat, 0.999)))
    assert np.allclose(farthest, mapper.memories["patches"].distances(torch.from_numpy(rows[~kept])).max((1, 2)))


# End to end


def test_planted_defects_are_located(command: Command, run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = command.ok("anomalies", run, folder, "--split", "test", "-o", out, "-q", "--heatmaps", 5)
    assert "The heat map of " in output and "the best baseline is" in output and "pixel auroc" in output
    assert (
        "images with a mask are anomalies, the others normal" in output and f"5 heat maps in {out}/heatmaps" in output
    )
    results = json.loads((out / "results.json").read_text())
    assert (results["samples"], results["anomalies"]) == (12, 9) and "patches" in results["metrics"]
    pixels = results["heatmaps"]
    assert list(pixels) == ["reconstruction", "patches", "mean image", "raw patches"]
    assert pixels["patches"]["pixel_auroc"]["value"] > pixels["mean image"]["pixel_auroc"]["value"]
    with np.load(out / "heatmaps" / "maps.npz") as stored:
        assert stored["patches"].shape == stored["reconstruction"].shape == (5, SIDE, SIDE)
        names = stored["ids"].tolist()
    lines = (out / "scores.csv").read_text().splitlines()
    assert names == [line.partition(",")[0] for line in lines[1:6]] and "patches" in lines[0].split(",")
    files = sorted(path.name for path in (out / "heatmaps").glob("*.png"))
    assert len(files) == 5 and files[0] == f"001-{names[0][:-4].replace('/', '_')}.png"
    with Image.open(out / "heatmaps" / files[0]) as image:
        assert image.width > 3 * 192 and image.height > 192
    page = (out / "report.html").read_text()
    assert page.count("<canvas") == 5 and "one scale for all" in page and names[4] in page

    # Python gives the same as arrays; the stored memory gives the same maps again, without baselines.
    again = aekit.find_anomalies(run, folder, split="test", detector=out)
    assert again.heatmaps is not None and again.heatmaps.ids[:5] == names and len(again.heatmaps.ids) == 12
    spots = [rank for rank, name in enumerate(again.heatmaps.ids) if "spot" in name]
    for rank in spots:
        heat, mask = again.heatmaps.maps["patches"][rank], again.heatmaps.masks[rank]
        assert mask is not None and heat[mask].mean() > 1.3 * heat[~mask].mean()
    assert list(again.heatmaps.metrics) == ["reconstruction", "patches"]
    assert np.allclose(again.heatmaps.metrics["patches"]["pro"].value, pixels["patches"]["pro"]["value"], atol=1e-3)
    assert again.heatmaps.scales["patches"].level == pytest.approx(pixels["patches"]["level"])
    assert again.heatmaps.units["patches"] == "distance to the nearest normal patch"
    other = aekit.fit(images(folder, "train/good"), dim=2, epochs=1, overrides=FAST)
    PatchMemory.load(out, aekit.load(run))
    with pytest.raises(IdentityError, match="the patch memory was fitted"):
        PatchMemory.load(out, other)
    (out / "patches.safetensors").write_bytes(b"no")
    with pytest.raises(IdentityError, match=r"patches\.safetensors: is damaged"):
        PatchMemory.load(out, aekit.load(run))
    (out / "patches.json").unlink()
    with pytest.raises(IdentityError, match=r"patches\.json: is missing"):  # rather than scored without it
        aekit.find_anomalies(run, images(folder, "test/spot"), detector=out)


def test_maps_without_masks_and_without_a_decoder(run: Path, folder: Path, tmp_path: Path) -> None:
    rows = images(folder, "test/spot")
    reference = images(folder, "train/good")
    result = aekit.find_anomalies(aekit.load(run), rows, reference=reference, baselines=False)
    maps = result.heatmaps
    assert maps is not None and list(maps.maps) == ["patches"] and len(maps.ids) == 3 and maps.metrics == {}
    assert "patches" in result.scores and "The heat map of" not in result.text()
    # Masks as an array are in the order of the samples.
    masks = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / "ground_truth/spot").glob("*.png"))])
    result = aekit.find_anomalies(run, rows, reference=reference, masks=masks, patches=False, out=tmp_path / "out")
    assert result.heatmaps is not None and "patches" in result.heatmaps.metrics and "patches" not in result.scores
    assert result.heatmaps.masks[0] is not None
    assert np.array_equal(result.heatmaps.masks[0], masks[int(result.ids[0])] > 0)
    none = aekit.find_anomalies(run, rows, reference=reference, heatmaps=0, baselines=False)
    assert none.heatmaps is None and "patches" not in none.scores


def test_options_that_need_images(run: Path, folder: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    encoder = aekit.fit(rows, dim=2, epochs=1, overrides=FAST)
    with pytest.raises(DataError, match="heatmaps: needs images; the encoder takes vector 5 float32"):
        aekit.find_anomalies(encoder, rows, reference=rows, heatmaps=3)
    assert aekit.find_anomalies(encoder, rows, reference=rows, baselines=False).heatmaps is None
    with pytest.raises(DataError, match="heatmaps = -1: expected the number of images"):
        aekit.find_anomalies(run, folder, heatmaps=-1)
    with pytest.raises(DataError, match="heatmaps = 0 draws none"):
        aekit.find_anomalies(run, folder, heatmaps=0, masks=folder / "ground_truth")


# Masks


def test_masks_are_resized_as_their_images_are(folder: Path) -> None:
    source = open_data(folder, {"images": {"size": 32}})
    rows = source.rows_of("test")
    masks = find_masks(source, rows)
    assert masks is not None and len(masks.pixels) + len(masks.unknown) == 9
    assert all("scratch" in source.ids[row] for row in masks.unknown)  # at half the size some are too thin
    for row, mask in masks.pixels.items():
        kind, number = source.ids[row].split("/")[1:]
        path = folder / "ground_truth" / kind / number.replace(".png", "_mask.png")
        whole = np.asarray(Image.open(path)) > 0
        assert mask.shape == (32, 32) and np.abs(mask.mean() - whole.mean()) < 0.01
        assert (whole.reshape(32, 2, 32, 2).mean((1, 3))[mask] > 0.2).all()
    assert not masks.anomalous(np.array([row for row in rows.tolist() if "good" in source.ids[row]])).any()


def test_masks_without_images_and_images_without_masks_are_said(copy: Path, recwarn: pytest.WarningsRecorder) -> None:
    (copy / "ground_truth" / "spot" / "001_mask.png").unlink()
    shutil.copy(copy / "ground_truth" / "spot" / "000_mask.png", copy / "ground_truth" / "spot" / "777_mask.png")
    source = open_data(copy)
    masks = find_masks(source, source.rows_of("test"))
    said = " | ".join(str(one.message) for one in recwarn)
    assert "1 image is without a mask, and left out of the metrics of pixels, e.g. 'test/spot/001.png'" in said
    assert "1 mask belongs to no image that is scored, e.g. " in said and "777_mask.png" in said
    assert masks is not None and [source.ids[row] for row in masks.unknown] == ["test/spot/001.png"]
    assert masks.mask(next(iter(masks.unknown)), (SIDE, SIDE)) is None


def test_masks_that_belong_to_no_image_are_said(copy: Path, recwarn: pytest.WarningsRecorder) -> None:
    for path in (copy / "ground_truth").rglob("*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    source = open_data(copy)
    assert find_masks(source, source.rows_of("test")) is None
    assert any("none of 9 masks belongs to an image that is scored" in str(one.message) for one in recwarn)


def test_labels_and_masks_that_disagree_are_said(run: Path, copy: Path) -> None:
    (copy / "test" / "spot" / "000.png").rename(copy / "test" / "good" / "900.png")
    (copy / "ground_truth" / "good").mkdir()
    (copy / "ground_truth" / "spot" / "000_mask.png").rename(copy / "ground_truth" / "good" / "900_mask.png")
    shutil.rmtree(copy / "ground_truth" / "missing")
    result = aekit.find_anomalies(run, copy, split="test", normal=["good"], baselines=False, heatmaps=2)
    notes = " | ".join(result.notes)
    assert "3 images are labeled an anomaly without a marked pixel, and left out" in notes
    assert "1 image is labeled normal although a mask marks pixels, which count as anomalous" in notes
    assert result.heatmaps is not None and result.heatmaps.metrics


def test_masks_that_do_not_fit_are_refused_in_one_line(command: Command, run: Path, copy: Path, tmp_path: Path) -> None:
    spot = copy / "ground_truth" / "spot" / "000_mask.png"
    values = np.asarray(Image.open(spot)).copy()

    def refusal() -> str:
        error = command("anomalies", run, copy, "--split", "test", "-o", tmp_path / "out", "-q").error
        assert not (tmp_path / "out").exists() and "Traceback" not in error
        return error

    Image.fromarray(values[:40]).save(spot)
    assert f"000_mask.png: is 64x40, its image {copy / 'test/spot/000.png'} 64x64; expected the same size" in refusal()
    gray = values.copy()
    gray[:3] = np.arange(64)
    Image.fromarray(gray).save(spot)
    assert "000_mask.png: has 65 values; expected 0 for normal pixels and one other value" in refusal()
    spot.write_bytes(b"no image")
    assert "000_mask.png: cannot be read: " in refusal()
    Image.fromarray(values).save(spot)
    for path in (copy / "ground_truth").rglob("*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    masks = ("--masks", copy / "ground_truth")
    error = command("anomalies", run, copy, *masks, "--split", "test", "-o", tmp_path / "out", "-q").error
    assert "none belongs to any of the 12 images; expected names such as good/000_mask.png" in error
    error = command("anomalies", run, copy, "--masks", tmp_path / "none", "-o", tmp_path / "out", "-q").error
    assert f"masks = {tmp_path / 'none'}: no such folder" in error
    # One mask for two images: folders are missing.
    for path in list((copy / "ground_truth").rglob("*.png")):
        path.rename(copy / "ground_truth" / path.name.removeprefix("x"))
    assert "is the mask of 'test/" in refusal()


def test_arrays_of_masks_that_do_not_fit(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    source = ArraySource(images(folder, "test/spot"))
    rows = np.arange(3)
    with pytest.raises(DataError, match=r"masks of shape \(2, 64, 64\): expected \(3, 64, 64\)"):
        find_masks(source, rows, np.zeros((2, 64, 64)))
    with pytest.raises(DataError, match="masks of 3 values"):
        find_masks(source, rows, np.arange(3)[:, None, None] * np.ones((3, 64, 64)))
    with pytest.raises(DataError, match="the images are not files; pass masks as an array"):
        find_masks(source, rows, folder / "ground_truth")
    assert find_masks(source, rows) is None


def test_defects_too_small_for_the_encoder_are_said(copy: Path, recwarn: pytest.WarningsRecorder) -> None:
    dot = np.zeros((SIDE, SIDE), np.uint8)
    dot[30, 30] = 255
    Image.fromarray(dot).save(copy / "ground_truth" / "spot" / "002_mask.png")
    source = open_data(copy, {"images": {"size": 16}})
    masks = find_masks(source, source.rows_of("test"))
    assert masks is not None and "test/spot/002.png" in [source.ids[row] for row in masks.unknown]
    assert any("without an anomalous pixel at 16x16" in str(one.message) for one in recwarn)


def test_pretrained_features_locate_defects(data_dir: Path, folder: Path) -> None:
    weights = str(data_dir / "weights" / "efficientnet_lite0_in1k.safetensors")
    settings = {"encoder.timm.model": "tf_efficientnet_lite0", "encoder.weights": weights}
    encoder = aekit.fit(folder, backbone="timm", dim=0, epochs=0, overrides=settings)
    result = aekit.find_anomalies(encoder, folder, split="test", reference=folder / "train", heatmaps=1)
    assert result.heatmaps is not None
    auroc = {name: metrics["pixel_auroc"].value for name, metrics in result.heatmaps.metrics.items()}
    assert list(auroc) == ["patches", "mean image", "raw patches"]
    assert auroc["patches"] > 0.9 and auroc["patches"] > max(auroc["mean image"], auroc["raw patches"]) + 0.1
