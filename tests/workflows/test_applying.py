"""Test applying a trained run: reconstruction, denoising, sampling and interpolation, with their metrics."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from commands import Command
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import apply_any_size
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import DataError
from aekit.evaluation.metrics.image import MAX_PSNR, psnr_from_mse, squared_errors
from aekit.nn.pca import fit_pca
from aekit.objectives.autoencoder import load_autoencoder
from aekit.workflows.applying._compression import Uint8Quantizer, measure_file_sizes
from aekit.workflows.applying._full_size import FullSizeNetwork, full_size_network
from aekit.workflows.applying._generation import interpolate_codes
from aekit.workflows.applying._outputs import SampleWriter

FAST = {"train.precision": "fp32", "encoder.conv.channels": [8, 16]}


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("apply") / "run"
    aekit.fit("sklearn:digits", dim=6, epochs=3, out=run, overrides=FAST)
    return run


def text_image(seed: int, height: int, width: int) -> np.ndarray:
    """Draw dark strokes on white."""
    rng = np.random.default_rng(seed)
    page = np.full((height, width), 240, np.uint8)
    for _ in range(height * width // 60):
        y, x = rng.integers(0, height - 4), rng.integers(0, width - 4)
        page[y : y + (4 if rng.random() < 0.5 else 1), x : x + 4] = 30
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ``dirty/`` and ``clean/`` pages of two sizes, and a list with a column for each."""
    folder = tmp_path_factory.mktemp("pages")
    rows = []
    for number, (height, width) in enumerate([(37, 60), (50, 41), (50, 41)]):
        clean = text_image(number, height, width)
        noise = np.random.default_rng(99 + number).normal(0, 40, clean.shape)
        dirty = (clean + noise).clip(0, 255).astype(np.uint8)
        for kind, page in {"clean": clean, "dirty": dirty}.items():
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(page).save(folder / kind / f"{number}.png")
        rows.append(f"p{number},dirty/{number}.png,clean/{number}.png")
    (folder / "list.csv").write_text("\n".join(["id,path,truth", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a denoiser without dense layers on 16 x 16 pixels."""
    patches = np.stack([text_image(seed, 16, 16) for seed in range(400)])[:, None]
    run = tmp_path_factory.mktemp("pages-run") / "run"
    settings = FAST | {"encoder.dim": 0, "objective.denoising.noise": "gaussian", "objective.denoising.level": 40.0}
    aekit.fit(patches, variants=["denoising"], epochs=25, out=run, overrides=settings | {"train.lr": 5e-3})
    return run


def as_samples(rows: np.ndarray) -> tuple[Samples, Preprocess]:
    held = load_samples(ArraySource(rows), np.arange(len(rows)), torch.device("cpu"))
    ones, zeros = torch.ones(rows.shape[1]), torch.zeros(rows.shape[1])
    return held, Preprocess("none", False, ones, zeros, zeros, ones)


def sized(run: Path) -> FullSizeNetwork | str:
    """Return the network of a run for images of any size, or the reason why there is none."""
    autoencoder = load_autoencoder(run)
    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    return full_size_network(
        encoder, decoder, lambda x: autoencoder.likelihood.activate(apply_any_size(encoder.backbone, decoder, x))
    )


# Mathematics


def test_pca_equals_that_of_scikit_learn() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 40)) @ np.random.default_rng(1).normal(size=(40, 40)) + 7
    found = fit_pca(*as_samples(rows), 5)
    pca = PCA(5, svd_solver="full").fit(rows)
    x = torch.from_numpy(rows).float()
    assert np.allclose(found.reconstruct(x).numpy(), pca.inverse_transform(pca.transform(rows)), atol=1e-3)
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-6)
    assert np.allclose(np.abs(found.encode(x).numpy()), np.abs(pca.transform(rows)), atol=1e-3)
    assert fit_pca(*as_samples(rows[:4]), 99).dim == 4


def test_pca_of_wide_samples_is_iterative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aekit.nn.pca.MAX_EXACT_SIZE", 20)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 60)) * 0.8 ** np.arange(60) + 3
    found, pca = fit_pca(*as_samples(rows), 6), PCA(6, svd_solver="full").fit(rows)
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.sum(), rel=1e-4)
    assert torch.allclose(found.directions.T @ found.directions, torch.eye(6), atol=1e-5)


def test_psnr() -> None:
    true = torch.zeros(2, 1, 4, 4)
    given = true.clone()
    given[0] += 25.5
    assert psnr_from_mse(squared_errors(given, true), 255.0).tolist() == pytest.approx([20.0, MAX_PSNR])


def test_spherical_interpolation() -> None:
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    quarter = interpolate_codes(a, b, 5, spherical=True)
    angles = torch.linspace(0, torch.pi / 2, 5)
    assert torch.allclose(quarter, 2 * torch.stack([angles.cos(), angles.sin(), 0 * angles], 1), atol=1e-6)
    assert torch.allclose(interpolate_codes(a, b, 3)[1], torch.tensor([1.0, 1, 0]))
    # Codes on one line through the origin have no arc between them.
    assert torch.allclose(interpolate_codes(a, 3 * a, 3, spherical=True)[1], 2 * a)
    assert torch.allclose(interpolate_codes(a, -a, 3, spherical=True)[1], 0 * a)
    # Codes of different lengths: the length is interpolated, and the ends are exact.
    c = torch.randn(20, generator=torch.Generator().manual_seed(0))
    d = 3 * torch.randn(20, generator=torch.Generator().manual_seed(1))
    way = interpolate_codes(c, d, 7, spherical=True)
    assert torch.allclose(way[0], c) and torch.allclose(way[-1], d, atol=1e-5)


def test_codes_of_one_byte_per_entry() -> None:
    code = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 8)
    eight = Uint8Quantizer.fit(code.split(100))
    packed = eight.pack(code)
    assert packed.dtype == torch.uint8 and packed.amin(0).tolist() == [0] * 7 and packed.amax(0).tolist() == [255] * 7
    step = (code.amax(0) - code.amin(0)) / 255
    assert ((eight.unpack(packed) - code).abs() <= step / 2 * 1.001).all()
    assert torch.allclose(eight.unpack(eight.pack(code * 9)).amax(0), code.amax(0)), "what lies outside is cut"


def test_the_smallest_jpeg_of_a_psnr() -> None:
    images = np.stack([text_image(seed, 32, 32) for seed in range(4)])[:, None]

    def reached(quality: int) -> float:
        ratios = []
        for image in images[:, 0].astype(float):
            stored = io.BytesIO()
            Image.fromarray(image.astype(np.uint8)).save(stored, "JPEG", quality=quality, optimize=True)
            error = np.square(np.asarray(Image.open(stored)) - image).mean()
            ratios.append(10 * np.log10(255**2 / error))
        return float(np.mean(ratios))

    found = measure_file_sizes(images, 24.0)
    assert found.quality is not None and reached(found.quality) >= 24.0 > reached(found.quality - 1)
    assert found.psnr == pytest.approx(reached(found.quality)) and found.header < found.jpeg
    assert measure_file_sizes(images, 90.0).quality is None


# Reconstruction


def test_reconstructions_of_an_array(command: Command, digits_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = command.ok("apply", digits_run, "sklearn:digits", "-o", out, "-q")
    assert "1797 samples in" in told and "pca-6" in told and "no JPEG or PNG" in told
    results = json.loads((out / "results.json").read_text())
    assert results["digest"] == aekit.load(digits_run).digest and results["samples_path"] == "samples.npy"
    rows = {row["method"]: row for row in results["rows"]}
    assert [row["bytes"] for row in rows.values()] == [24, 12, 6, 24, 256]

    digits = (load_digits().images / 16).astype(np.float32)[:, None]
    back = aekit.open_data(out / "samples.npy", {"arrays": {"kind": "image"}}, like=aekit.load(digits_run).spec)
    made, _ = back.read(np.arange(1797))
    autoencoder = load_autoencoder(digits_run)
    expected = autoencoder.encoder.preprocess.inverse(autoencoder.reconstruct(torch.from_numpy(digits)))
    assert made.dtype == np.float32 and np.allclose(made, expected.numpy(), atol=1e-6)
    errors = np.square(made.astype(float) - digits).mean((1, 2, 3))
    assert rows["code, float32"]["mse"] == pytest.approx(errors.mean(), rel=1e-5)
    with (out / "samples.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["id"] for row in listed] == [str(number) for number in range(1797)]
    assert [float(row["mse"]) for row in listed] == pytest.approx(errors.tolist(), rel=1e-4)
    assert float(listed[5]["psnr"]) == pytest.approx(-10 * np.log10(errors[5]), rel=1e-4)
    flat = digits.reshape(1797, -1)
    pca = PCA(6, svd_solver="full").fit(flat)
    lost = np.square(pca.inverse_transform(pca.transform(flat)) - flat).mean()
    assert rows["pca-6"]["mse"] == pytest.approx(lost, rel=1e-3)
    with Image.open(out / "image.png") as image:
        assert min(image.size) > 200 and len(image.getcolors(1 << 20) or []) > 20


def test_outputs_of_images_keep_their_names(command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    for number in range(20):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / "a" / f"{number}.jpg")
    Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / "a" / "0.bmp")
    (folder / "a" / "words.jpg").write_text("words")
    fast = ("--set", "train.precision=fp32", "--set", "encoder.conv.channels=[4,8]")
    command.ok("fit", folder, "-o", tmp_path / "run", "--dim", 4, "--epochs", 1, "-q", *fast)
    told = command.ok("apply", tmp_path / "run", folder, "-o", tmp_path / "out", "-q")
    assert "1 sample skipped, e.g. a/words.jpg" in told and "jpeg, quality" in told and "png" in told
    names = {path.name for path in (tmp_path / "out" / "samples" / "a").iterdir()}
    assert names == {"0-jpg.png", "0-bmp.png", *(f"{number}.png" for number in range(1, 20))}
    again = aekit.open_data(tmp_path / "out" / "samples")
    assert str(again.spec) == "image 3x12x12 uint8" and len(again) == 21
    assert "words.jpg" in (tmp_path / "out" / "skipped.csv").read_text()
    files = {row["method"]: row for row in json.loads((tmp_path / "out" / "results.json").read_text())["rows"]}
    assert files["png"]["bytes"] > files["raw"]["bytes"] * 0.8, "noise does not compress"


def test_sixteen_bit_images_stay_sixteen_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "x").mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 60_000, (9, 9)).astype(np.uint16)).save(tmp_path / "x" / f"{number}.png")
    aekit.fit(tmp_path / "x", dim=3, epochs=1, out=tmp_path / "run", overrides=FAST)
    made = aekit.apply(tmp_path / "run", tmp_path / "x", out=tmp_path / "out")
    assert made.values is None and made.samples_path == "samples"
    again = aekit.open_data(tmp_path / "out" / "samples")
    assert again.spec.dtype == "uint16" and again.read(np.arange(12))[0].max() > 255


def test_vectors_in_memory(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(80, 6)) * [1, 10, 100, 1, 1, 1]
    np.save(tmp_path / "rows.npy", rows)
    aekit.fit(tmp_path / "rows.npy", dim=2, epochs=1, out=tmp_path / "run")
    made = aekit.apply(tmp_path / "run", rows)
    assert isinstance(made.values, np.ndarray) and made.values.shape == (80, 6) and made.values.dtype == np.float64
    assert made.folder is None and set(made.rows[0]) == {"method", "bytes", "mse"}
    scaled, deviation = (made.values - rows) / rows.std(0), made.rows[0]["mse"]
    assert np.square(scaled).mean() == pytest.approx(deviation, rel=1e-4)


def test_reconstruction_without_the_training_data(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    aekit.fit(rows, dim=2, epochs=1, out=tmp_path / "run")
    made = aekit.apply(tmp_path / "run", rows)
    assert [row["method"] for row in made.rows] == ["code, float32", "code, float16", "code, 8 bit", "raw"]
    assert any("no PCA" in note and "data in memory" in note for note in made.notes)


# Denoising


def test_pages_are_restored_at_their_original_size(
    command: Command, page_run: Path, pages: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("apply", page_run, pages / "dirty", "-o", out, "--task", "denoise", "--clean", pages / "clean")
    told = command.ok(*arguments, "-q")
    rows = {row["method"]: row for row in json.loads((out / "results.json").read_text())["rows"]}
    assert list(rows) == ["network", "input", "median filter", "non-local means", "background division"]
    assert "median filter: 3, the best of 3, 5, 7" in told
    errors, before = [], []
    for number in range(3):
        clean, dirty, restored = (
            np.asarray(Image.open(folder / f"{number}.png")).astype(float) / 255
            for folder in (pages / "clean", pages / "dirty", out / "samples")
        )
        assert restored.shape == clean.shape
        errors.append(np.sqrt(np.square(restored - clean).mean()))
        before.append(np.sqrt(np.square(dirty - clean).mean()))
    assert rows["network"]["rmse"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert rows["input"]["rmse"] == pytest.approx(np.mean(before), abs=1e-6)
    assert rows["network"]["rmse"] < 0.8 * rows["input"]["rmse"], "it was trained to restore them"


def test_background_division_removes_stains_and_keeps_ink(page_run: Path, tmp_path: Path) -> None:
    """Ink is a quarter as bright as its paper, and paper is 1, or .6 under the stain."""
    ink = np.ones((40, 60))
    ink[8:32:8, 6:54] = 0.25
    stained = ink * np.where(np.arange(60) < 30, 1, 0.6)
    for name, page in (("clean", ink), ("dirty", stained)):
        (tmp_path / name).mkdir()
        Image.fromarray((255 * page).round().astype(np.uint8)).save(tmp_path / name / "0.png")
    made = aekit.apply(page_run, tmp_path / "dirty", task="denoise", clean=str(tmp_path / "clean"))
    rmse = {row["method"]: row["rmse"] for row in made.rows}
    assert rmse["input"] > 0.2 and rmse["background division"] < 0.02
    assert any(note.startswith("background division: 15, the best of 15, 23, 31") for note in made.notes)


def test_clean_pages_in_a_column(page_run: Path, pages: Path) -> None:
    by_folder = aekit.apply(page_run, pages / "dirty", task="denoise", clean=str(pages / "clean"), baselines=False)
    by_column = aekit.apply(page_run, pages / "list.csv", task="denoise", clean="truth", baselines=False)
    assert by_column.rows == by_folder.rows and [row["id"] for row in by_column.samples] == ["p0", "p1", "p2"]
    assert isinstance(by_column.values, list) and [v.shape for v in by_column.values] == [
        (1, 37, 60),
        (1, 50, 41),
        (1, 50, 41),
    ]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "ids", [["a", "b", "c"], ["p.1", "p.2", "p.10"], ["x", "x.a", "X"], ["é/..", "", "../q\\?.PNG"]]
)
def test_restored_pages_of_different_sizes_are_files_of_their_own(
    page_run: Path, pages: Path, tmp_path: Path, ids: list[str], ending: str
) -> None:
    table = pa.table({"id": ids, "path": [str(pages / "dirty" / f"{number}.png") for number in range(3)]})
    if ending == ".csv":
        pa.csv.write_csv(table, tmp_path / "list.csv")
    else:
        pa.parquet.write_table(table, tmp_path / "list.parquet")
    arguments = (page_run, tmp_path / f"list{ending}")
    in_memory = aekit.apply(*arguments, task="denoise").values
    result = aekit.apply(*arguments, task="denoise", out=tmp_path / "out")
    assert isinstance(in_memory, list) and result.samples_path == "samples"
    names = {
        "a": ["a.png", "b.png", "c.png"],
        "p.1": ["p.1.png", "p.2.png", "p.10.png"],
        "x": ["x.png", "x.a.png", "X-2.png"],
        "é/..": ["é.png", "sample.png", "q__.png"],
    }[ids[0]]
    files = {path.relative_to(tmp_path / "out" / "samples").as_posix() for path in tmp_path.glob("out/samples/**/*.*")}
    assert files == set(names)
    for name, values, height in zip(names, in_memory, (37, 50, 50)):
        with Image.open(tmp_path / "out" / "samples" / name) as image:
            assert image.format == "PNG" and image.height == height and np.array_equal(np.asarray(image), values[0])


def test_restored_images_of_16_bits_and_of_floats_are_png_and_tiff(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for dtype, suffix, top in ((np.uint16, "png", 60_000), (np.float32, "tif", 1.0)):
        folder = tmp_path / suffix
        folder.mkdir()
        for number, size in enumerate([(16, 16)] * 8 + [(20, 28)]):
            Image.fromarray((rng.random(size) * top).astype(dtype)).save(folder / f"page.{number}.{suffix}")
        settings = FAST | {"encoder.dim": 0, "data.images.size": 16}
        aekit.fit(folder, variants=["denoising"], epochs=1, out=tmp_path / f"run-{suffix}", overrides=settings)
        rows = "".join(f"{number}.x,{suffix}/page.{number}.{suffix}\n" for number in (7, 8))
        (tmp_path / "list.csv").write_text("id,path\n" + rows)
        arguments = (tmp_path / f"run-{suffix}", tmp_path / "list.csv")
        in_memory = aekit.apply(*arguments, task="denoise").values
        aekit.apply(*arguments, task="denoise", out=tmp_path / f"out-{suffix}")
        for name, values, size in zip(("7.x", "8.x"), in_memory or [], ((16, 16), (20, 28))):
            written = np.asarray(Image.open(tmp_path / f"out-{suffix}" / "samples" / f"{name}.{suffix}"))
            assert written.shape == size and written.dtype == dtype and np.array_equal(written, values[0])


def test_images_that_no_image_file_holds_are_resized_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "x").mkdir()
    for number, size in enumerate([(16, 16)] * 8 + [(20, 28)]):
        Image.fromarray(rng.integers(0, 60_000, size).astype(np.uint16)).save(tmp_path / "x" / f"{number}.png")
    settings = FAST | {"encoder.dim": 0, "data.images.size": 16, "data.images.channels": 3}
    aekit.fit(tmp_path / "x", variants=["denoising"], epochs=1, out=tmp_path / "run", overrides=settings)
    result = aekit.apply(tmp_path / "run", tmp_path / "x", task="denoise", out=tmp_path / "out")
    assert "resized to the 16x16 pixels of the network: image files cannot hold image 3x16x16 uint16" in result.text()
    assert np.load(tmp_path / "out" / "samples.npy").shape == (9, 3, 16, 16)

    (tmp_path / "array").mkdir()
    writer = SampleWriter(tmp_path / "array", SampleSpec("image", (3, 16, 16), "uint16"), ["a", "b"], image_files=True)
    writer.add(["a"], np.zeros((1, 3, 16, 16), np.uint16))
    with pytest.raises(
        DataError, match=r"b: the output is 3x20x28, that of the first sample 3x16x16; outputs of .*uint16$"
    ):
        writer.add(["b"], np.zeros((1, 3, 20, 28), np.uint16))


def test_without_clean_pages_there_are_no_metrics(page_run: Path, pages: Path) -> None:
    made = aekit.apply(page_run, pages / "dirty", task="denoise")
    assert made.rows == [] and set(made.samples[0]) == {"id", "rmse to input"}


def test_tiles_equal_the_whole_image(page_run: Path) -> None:
    full = sized(page_run)
    assert not isinstance(full, str) and full.multiple == 4
    x = torch.rand(1, 203, 150, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = full.restore(x)
        assert whole.shape == x.shape
        for tile in (32, 50, 150):
            assert torch.allclose(full.restore(x, tile), whole, atol=1e-5)
        small = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(0))
        assert full.restore(small).shape == small.shape
        patch = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
        autoencoder = load_autoencoder(page_run)
        own = autoencoder.reconstruct((patch * 255).to(torch.uint8))
        raw = autoencoder.encoder.preprocess((patch * 255).to(torch.uint8))
        assert torch.allclose(torch.stack([full.restore(one) for one in raw]), own, atol=1e-5)


def test_networks_that_support_only_one_size(digits_run: Path, page_run: Path, pages: Path, tmp_path: Path) -> None:
    assert sized(digits_run) == ("its code is a dense layer of 6 units; train with encoder.dim = 0")
    # The k-sparse head is not a dense layer, but depends on the size of the image.
    small = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), dtype=np.uint8)
    sparse = {"variants": ["k-sparse"], "overrides": FAST | {"encoder.dim": 0}}
    aekit.fit(small, epochs=1, out=tmp_path / "sparse", **sparse)
    assert "because of the head of 'k-sparse'" in str(sized(tmp_path / "sparse"))
    odd = np.random.default_rng(0).integers(0, 256, (20, 1, 14, 14), dtype=np.uint8)
    aekit.fit(odd, epochs=1, out=tmp_path / "odd", overrides=FAST | {"encoder.dim": 0})
    assert "do not divide the 14x14 pixels" in str(sized(tmp_path / "odd"))
    made = aekit.apply(tmp_path / "odd", pages / "dirty", task="denoise", clean=str(pages / "clean"))
    assert any("resized to the 14x14 pixels of the network" in note for note in made.notes)
    assert isinstance(made.values, np.ndarray) and made.values.shape == (3, 1, 14, 14)
    # An array of images larger than those of training.
    large = np.stack([text_image(seed, 20, 24) for seed in range(4)])[:, None]
    made = aekit.apply(page_run, large, task="denoise", clean=large)
    assert isinstance(made.values, np.ndarray) and made.values.shape == (4, 1, 20, 24)
    assert made.rows[1]["rmse"] == 0 and made.rows[1]["psnr"] == MAX_PSNR and made.rows[1]["ssim"] == pytest.approx(1)


def test_metrics_and_filters_do_not_depend_on_where_black_is(tmp_path: Path) -> None:
    clean = np.stack([text_image(seed, 16, 16) for seed in range(24)])[:, None]
    dirty = (clean * np.linspace(0.4, 1, 16)).astype(np.uint8)  # a shadow
    tables = []
    for name, shift in {"bytes": None, "signed": -128}.items():
        pair = [values if shift is None else (values.astype(np.float32) + shift) / 100 for values in (dirty, clean)]
        pair[0][0, 0, 0, :2] = [0, 255] if shift is None else [-1.28, 1.27]  # the whole range
        aekit.fit(pair[0], epochs=1, out=tmp_path / name, overrides=FAST | {"encoder.dim": 0}, variants=["denoising"])
        made = aekit.apply(tmp_path / name, pair[0], task="denoise", clean=pair[1])
        tables.append({row["method"]: row for row in made.rows if row["method"] != "network"})
    for method, row in tables[0].items():
        for metric in ("rmse", "ssim"):
            assert tables[1][method][metric] == pytest.approx(row[metric], abs=5e-3), (method, metric)
    assert tables[1]["background division"]["rmse"] < tables[1]["input"]["rmse"] / 2


def test_without_scikit_image_a_baseline_is_skipped(
    page_run: Path, pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.restoration", None)
    made = aekit.apply(page_run, pages / "dirty", task="denoise", clean=str(pages / "clean"))
    assert [row["method"] for row in made.rows] == ["network", "input", "median filter"]
    assert any("pip install 'aekit[images]'" in note for note in made.notes)


def test_vectors_are_denoised(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 12)) * np.arange(1, 13)
    dirty = clean + rng.normal(size=clean.shape) * 0.5 * clean.std(0)
    settings = {"encoder.mlp.hidden": [], "objective.loss": "mse", "train.lr": 1e-2, "train.precision": "fp32"}
    aekit.fit(clean, variants=["denoising"], dim=2, epochs=80, out=tmp_path / "run", overrides=settings)
    made = aekit.apply(tmp_path / "run", dirty, task="denoise", clean=clean)
    network, before = made.rows
    encoder = aekit.load(tmp_path / "run")
    scaled = [encoder.preprocess(torch.from_numpy(rows)).numpy() for rows in (dirty, clean)]
    assert before["rmse"] == pytest.approx(np.sqrt(np.square(scaled[0] - scaled[1]).mean(1)).mean(), rel=1e-5)
    assert network["rmse"] < 0.8 * before["rmse"] and "psnr" not in network


# Generation


def test_samples_from_a_prior(command: Command, tmp_path: Path) -> None:
    aekit.fit("sklearn:digits", variants=["vae"], dim=4, epochs=1, out=tmp_path / "run", overrides=FAST)
    command.ok("apply", tmp_path / "run", "-o", tmp_path / "a", "--task", "sample", "--count", 12, "--seed", 3, "-q")
    made = np.load(tmp_path / "a" / "samples.npy")
    assert made.shape == (12, 1, 8, 8) and made.dtype == np.float32 and (made >= 0).all() and (made <= 1).all()
    again, other = (aekit.apply(tmp_path / "run", task="sample", count=12, seed=seed).values for seed in (3, 4))
    assert np.array_equal(made, again) and not np.allclose(made, other)
    assert made.std(0).max() > 1e-4, "they differ from one another"


def test_interpolation_between_two_samples(command: Command, digits_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pairs = ("--pair", "0", "1", "--pair", "5", "9")
    command.ok(
        "apply", digits_run, "sklearn:digits", "-o", out, "--task", "interpolate", *pairs, "--steps", 4, "-q",
        "--method", "spherical",
    )  # fmt: skip
    made = np.load(out / "samples.npy").reshape(2, 4, 1, 8, 8)
    digits = torch.from_numpy((load_digits().images / 16).astype(np.float32)[:, None])
    ends = load_autoencoder(digits_run).reconstruct(digits[[0, 1, 5, 9]]).numpy()
    assert np.allclose(made[:, [0, -1]].reshape(4, 1, 8, 8), ends, atol=1e-5)
    with (out / "samples.csv").open() as file:
        assert [(row["from"], row["to"], row["fraction"]) for row in csv.DictReader(file)][4] == ("5", "9", "0")
    drawn = aekit.apply(digits_run, "sklearn:digits", task="interpolate", count=3, steps=2, seed=1)
    assert drawn.count == 6 and drawn.samples[0]["from"] != drawn.samples[0]["to"]


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sklearn:digits", "--task", "denois"), "task 'denois': no such task; did you mean 'denoise'?"),
        (("sklearn:digits", "--count", "3"), "reconstruct.count: no such option"),
        (("--task", "interpolate"), "interpolate needs data"),
        (("--task", "sample"), "the autoencoder has no prior to sample from; train with"),
        (("sklearn:iris",), "samples are vector 4 float64, the encoder takes image 1x8x8 float32"),
        (("sklearn:digits", "--task", "interpolate", "--pair", "0", "zero"), "no sample 'zero' in sklearn:digits"),
        (("sklearn:digits", "--task", "interpolate", "--steps", "1"), "interpolate.steps = 1: expected greater than"),
        (
            ("sklearn:digits", "--task", "interpolate", "--method", "up"),
            "interpolate.method = 'up': expected 'linear' or",
        ),
        (("sklearn:digits", "--task", "denoise", "--clean", "nowhere"), "nowhere: no such file or folder"),
        (("sklearn:digits", "--task", "denoise", "--clean", "sklearn:iris"), "the encoder takes image 1x8x8 float32"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], message: str, command: Command, digits_run: Path, tmp_path: Path) -> None:
    assert message in command("apply", digits_run, *arguments, "-o", tmp_path / "out", "-q").error
    assert not (tmp_path / "out").exists()


def test_mistakes_with_paths(command: Command, digits_run: Path, page_run: Path, pages: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert "exists already" in command("apply", digits_run, "sklearn:digits", "-o", tmp_path / "full", "-q").error
    assert "has no decoder" in command("apply", digits_run / "encoder", "sklearn:digits", "-o", tmp_path / "o").error
    denoise = ("apply", page_run, "-o", tmp_path / "o", "-q", "--task", "denoise")
    (tmp_path / "some").mkdir()
    Image.open(pages / "clean" / "0.png").save(tmp_path / "some" / "0.png")
    error = command(*denoise, pages / "dirty", "--clean", tmp_path / "some").error
    assert "no clean sample for 1.png" in error
    assert "nor a column of" in command(*denoise, pages / "list.csv", "--clean", "trut").error
    for number in (1, 2):
        Image.open(pages / "clean" / "0.png").save(tmp_path / "some" / f"{number}.png")
    assert "have shapes 1x50x41 and 1x37x60" in command(*denoise, pages / "dirty", "--clean", tmp_path / "some").error
