"""The dilated backbone: the local median, the first output, how far it sees, and pages that it restores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aekit_plugins.backbones.dilated import Dilated, local_median
from commands import Command
from PIL import Image
from scipy.ndimage import median_filter
from torch import Tensor

import aekit
from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import apply_any_size
from aekit.encoder.encoder import temporary_seed
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import load_autoencoder
from aekit.registry.discovery import registry
from aekit.workflows.applying._full_size import FullSizeNetwork, full_size_network
from aekit.workflows.tuning._space import Space

SHADING = {"encoder.dilated.background": 9, "encoder.dim": 0, "objective.loss": "mse", "train.precision": "fp32"}


def network(shape: tuple[int, int, int], **options: Any) -> tuple[Dilated, torch.nn.Module]:
    with temporary_seed(0):
        backbone = Dilated(SampleSpec("image", shape, "uint8"), **options)
        return backbone.eval(), backbone.decoder(0, torch.nn.Unflatten(1, backbone.features_shape)).eval()


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# Mathematics


def test_a_small_neighborhood_has_the_median_of_all_its_pixels() -> None:
    x = uniform(2, 3, 20, 31)
    expected = median_filter(x.numpy(), (1, 1, 5, 5), mode="nearest")
    assert np.array_equal(local_median(x, 5, 1).numpy(), expected)


def test_a_large_neighborhood_is_sampled_and_interpolated() -> None:
    x = uniform(1, 1, 40, 60)
    medians = local_median(x, 23, 2)[0, 0].numpy()
    padded = np.pad(x[0, 0].numpy(), 9, mode="edge")  # 7 pixels per side, 3 apart
    at = {
        (row, column): np.median(padded[row : row + 19 : 3, column : column + 19 : 3])
        for row in (8, 10)
        for column in (20, 22)
    }
    for place, expected in at.items():
        assert medians[place] == pytest.approx(expected)
    assert medians[9, 21] == pytest.approx(np.mean(list(at.values())), abs=1e-6)


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 16, 24), (3, 13, 10)])
def test_at_first_the_image_or_its_quotient_is_returned(fold: int, shape: tuple[int, int, int]) -> None:
    x = uniform(2, *shape)
    backbone, decoder = network(shape, fold=fold)
    assert torch.allclose(decoder(backbone(x)), x, atol=0.02)
    shade = torch.linspace(0.4, 0.9, shape[2])
    flat, decoder = network(shape, fold=fold, background=5)
    restored = decoder(flat(shade.expand(2, *shape)))
    assert torch.allclose(restored[..., 4:-4], torch.ones(()), atol=0.05)


@pytest.mark.parametrize("options", [{}, {"fold": 4, "dilations": [3]}, {"fold": 1, "background": 15}])
def test_nothing_beyond_its_reach_changes_the_output(options: dict[str, Any]) -> None:
    side = 120
    backbone, decoder = network((1, side, side), **options)
    x = uniform(1, 1, side, side)
    before = decoder(backbone(x))[0, 0, 60, 60]
    for distance, differs in ((backbone.reach + 1, False), (3, True)):
        changed = x.clone()
        changed[..., : 61 - distance] = 0
        changed[..., 60 + distance :] = 0
        assert bool((decoder(backbone(changed))[0, 0, 60, 60] != before).item()) is differs, distance


# Refusals


def test_it_refuses_samples_that_it_cannot_divide() -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 1, 16, 16), dtype=np.uint8)
    for further in ({}, {"encoder.hidden": [4]}):
        overrides = {"encoder.scaling": "standard", **SHADING, **further}
        with pytest.raises(
            RecipeError, match=r"background = 9 needs samples in \[0, 1\]: set encoder.scaling = 'unit'"
        ):
            aekit.fit(images, backbone="dilated", epochs=1, overrides=overrides)
    with pytest.raises(ValueError, match="image"):
        Dilated(SampleSpec("series", (2, 100), "float32"))


def test_a_search_for_embeddings_leaves_it_out() -> None:
    assert "dilated" in [plugin.name for plugin in registry().by_kind("backbone")]
    backbones = Space(SampleSpec("image", (1, 16, 16), "uint8"), {}, {}).backbones
    assert "conv" in backbones and "dilated" not in backbones


# End to end


@pytest.fixture(scope="module")
def shaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pages of strokes, some of them faint, under stains with an edge; and a list with a column for each."""
    folder, rng, rows = tmp_path_factory.mktemp("shaded"), np.random.default_rng(0), ["path,clean,split"]
    for kind in ("dirty", "clean"):
        (folder / kind).mkdir()
    for number in range(10):
        clean, down, across = np.ones((63, 90)), *np.mgrid[:63, :90]
        for _ in range(60):
            y, x = rng.integers(0, 59), rng.integers(0, 82)
            clean[y : y + 2, x : x + 8] = 0.2
        stain = np.hypot(down - rng.integers(10, 50), across - rng.integers(10, 80)) < 25
        dirty = (1 - 0.5 * (1 - clean)) * np.where(stain, 0.6, 0.9) + rng.normal(0, 0.02, clean.shape)
        for kind, page in {"dirty": dirty, "clean": clean}.items():
            Image.fromarray((255 * page.clip(0, 1)).astype(np.uint8)).save(folder / kind / f"{number}.png")
        rows.append(f"{folder}/dirty/{number}.png,{folder}/clean/{number}.png,{'train' if number < 8 else 'test'}")
    (folder / "pages.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def restorer(shaded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, pages = tmp_path_factory.mktemp("restorer") / "run", f"patches:{shaded}/pages.csv"
    overrides = SHADING | {
        "data.target": pages,
        "data.targets.patches.column": "clean",
        "data.patches.size": 32,
        "data.patches.stride": 16,
        "train.batch_size": 8,
        "train.lr": 5e-3,
    }
    aekit.fit(pages, backbone="dilated", variants=["plain"], epochs=4, out=run, overrides=overrides, report=False)
    return run


def test_stains_are_removed_and_faint_ink_is_darkened(
    restorer: Path, shaded: Path, command: Command, tmp_path: Path
) -> None:
    pages, out = shaded / "pages.csv", tmp_path / "restored"
    done = command("apply", restorer, pages, "--split", "test", "-o", out, "--task", "denoise", "--clean", "clean")
    assert done.code == 0, done.err
    results = json.loads((out / "results.json").read_text())
    rmse = {row["method"]: row["rmse"] for row in results["rows"]}
    assert results["original_size"] and results["samples"] == 2
    assert rmse["network"] < 0.6 * rmse["background division"] < rmse["input"]


def test_a_dense_code_is_for_one_size(shaded: Path, command: Command, tmp_path: Path) -> None:
    dense = ["--set", "encoder.dilated.channels=2", "--set", "data.patches.size=32", "--no-report"]
    fit = [
        "fit",
        f"patches:{shaded}/pages.csv",
        "--backbone",
        "dilated",
        "--dim",
        4,
        "--epochs",
        1,
        "-o",
        tmp_path / "run",
    ]
    fitted = command(*fit, *dense)
    assert fitted.code == 0, fitted.err
    assert (
        "its features hold the image, to restore it with encoder.dim = 0; embeddings need another backbone"
        in fitted.err
    )
    restored = aekit.apply(tmp_path / "run", shaded / "dirty", task="denoise")
    assert "its code is a dense layer of 4 units; train with encoder.dim = 0" in " ".join(restored.notes)


def test_tiles_equal_the_whole_page(restorer: Path) -> None:
    autoencoder = load_autoencoder(restorer)
    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    full = full_size_network(encoder, decoder, lambda x: apply_any_size(encoder.backbone, decoder, x))
    assert isinstance(full, FullSizeNetwork) and full.multiple == 2
    x = uniform(1, 203, 150)
    with torch.inference_mode():
        whole = full.restore(x)
        for tile in (30, 64):
            assert torch.allclose(full.restore(x, tile), whole, atol=1e-5)


def test_a_network_that_sees_far_gets_as_much_context() -> None:
    images = np.random.default_rng(0).integers(0, 255, (16, 1, 16, 16), dtype=np.uint8)
    far = {"encoder.dim": 0, "encoder.dilated.dilations": [30, 30], "encoder.dilated.channels": 4}
    encoder = aekit.fit(images, backbone="dilated", epochs=1, overrides=far | {"train.precision": "fp32"})
    decoder = encoder.decoder().eval()
    torch.nn.init.ones_(decoder.mirrors[0].convolution.weight)  # type: ignore[index, union-attr]
    full = full_size_network(encoder, decoder, lambda x: apply_any_size(encoder.backbone, decoder, x))
    assert isinstance(full, FullSizeNetwork) and full.overlap == 2 * (2 + 31 + 31) + 1
    x = uniform(1, 40, 400)
    with torch.inference_mode():
        whole = full.restore(x)
        assert torch.allclose(full.restore(x, 100), whole, atol=1e-4)
        near = FullSizeNetwork(full.run, full.multiple)
        assert not torch.allclose(near.restore(x, 100), whole, atol=1e-4)
