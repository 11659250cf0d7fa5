"""Layer-wise training: what each layer sees, what it changes, and that a stop between or within layers loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupting import StopsAfter
from torch.nn import functional as F

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.objectives.autoencoder import Autoencoder
from aekit.objectives.base import Batch
from aekit.objectives.layerwise import LayerwiseObjective
from aekit.progress import Progress, Task
from aekit.training.batches import Batches
from aekit.training.build import make_layers, make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.phases import Interrupted
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

MLP = {"encoder.backbone": "mlp", "encoder.mlp.hidden": [9, 7], "encoder.mlp.activation": "sigmoid", "encoder.dim": 5}
CONV = {"encoder.backbone": "conv", "encoder.conv.channels": [4, 6], "encoder.dim": 0}


def images(count: int = 96) -> np.ndarray:
    """(count, 1, 8, 8) uint8 of four factors."""
    rng = np.random.default_rng(0)
    mixed = rng.random((count, 4)) @ rng.random((4, 64))
    return (255 * (mixed - mixed.min()) / np.ptp(mixed)).astype(np.uint8).reshape(count, 1, 8, 8)


def stack(**overrides: object) -> tuple[Autoencoder, list[LayerwiseObjective], Samples]:
    held = load_samples(ArraySource(images()), np.arange(96), torch.device("cpu"))
    recipe = make_recipe({"data": {"source": "memory"}}, {"layerwise.epochs": 2, **overrides})
    whole = make_objective(recipe, held.spec, fit_preprocess(held)[0])
    assert isinstance(whole, Autoencoder)
    return whole, [layer for layer, _ in make_layers(recipe, whole)], held


@pytest.mark.parametrize("network", [MLP, CONV, MLP | {"encoder.mlp.tied": True}], ids=["mlp", "conv", "tied"])
def test_a_layer_changes_its_own_weights_and_nothing_else(network: dict[str, object]) -> None:
    whole, layers, held = stack(**network)
    stages = whole.encoder.backbone.stages
    assert len(layers) == len(whole.encoder.layers) == len(stages) + (network["encoder.dim"] != 0)
    settings = Settings(epochs=2, batch_size=32, precision="fp32", weight_decay=0.1)
    for number, layer in enumerate(layers):
        before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
        list(train(State.start(layer, settings), Batches(held, 32, 0), settings))
        changed = {name for name, tensor in whole.state_dict().items() if not torch.equal(tensor, before[name])}
        own = {
            f"encoder.backbone.stages.{number}",
            f"decoder.mirrors.{number}",
            f"decoder.mirror_activation.{number - 1}",
        }
        if number == len(stages):
            own |= {"encoder.head", "decoder.expand"}
        assert changed and all(any(name.startswith(f"{part}.") for part in own) for name in changed), changed
        assert any(name.startswith("encoder.") for name in changed)


def test_a_layer_restores_the_code_of_the_clean_sample_by_cross_entropy() -> None:
    # The variants of the layer corrupt its input; those of other layers have no say in it.
    noisy = {"variants": ["denoising"], "denoising": {"noise": "masking", "level": 0.5}}
    whole, layers, held = stack(**MLP, **{"layerwise.layers": [noisy, noisy]})
    raw = held.batch(torch.arange(16))
    logged = layers[1].loss(Batch(raw), torch.Generator().manual_seed(3))
    first, second = whole.encoder.backbone.stages
    with torch.no_grad():
        code = first(whole.encoder.preprocess(raw))
        shown = code.masked_fill(torch.rand(code.shape, generator=torch.Generator().manual_seed(3)) < 0.5, 0.0)
        back = whole.decoder.mirrors[1](second(shown))
        expected = F.binary_cross_entropy_with_logits(back, code, reduction="sum") / 16
    assert logged["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(logged) == {"loss", "layer-2/reconstruction"}


def test_layers_without_sigmoid_restore_codes_by_squared_error_through_the_decoders_own_activation() -> None:
    whole, layers, held = stack(**CONV)
    layers[1].train()
    raw = held.batch(torch.arange(16))
    logged = layers[1].loss(Batch(raw), torch.Generator())
    first, second = whole.encoder.backbone.stages
    with torch.no_grad():
        code = first.eval()(whole.encoder.preprocess(raw))
        back = whole.decoder.mirror_activation[0](whole.decoder.mirrors[1](second(code)))
    expected = (back - code).square().sum() / 16
    assert logged["loss"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_layers_own_epochs_rates_and_noise_are_used(tmp_path: Path) -> None:
    layers = [{"epochs": 3, "lr": 0.01}, {"epochs": 1, "variants": ["denoising"]}]
    settings = MLP | {"layerwise.epochs": 2, "layerwise.layers": layers, "train.batch_size": 32}
    aekit.fit(images(), epochs=4, out=tmp_path / "run", overrides=settings)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 3 * (3 + 1 + 2 + 4) + 1))
    counts = [sum(f"layer-{n}/reconstruction" in record for record in records) for n in (1, 2, 3)]
    assert counts == [9, 3, 6] and sum("reconstruction" in record for record in records) == 12
    assert max(r["lr"] for r in records[:9]) == pytest.approx(0.01, rel=0.1)
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f"layer-{n}/reconstruction" in page for n in (1, 2, 3)), "each layer has its curve in the report"
    saved = (tmp_path / "run" / "recipe.toml").read_text()
    assert "[layerwise.layers.denoising]" in saved and 'noise = "auto"' in saved


def test_pretraining_makes_the_unrolled_stack_start_low() -> None:
    def first_loss(epochs: int) -> float:
        whole, layers, held = stack(**MLP, **{"layerwise.epochs": max(1, epochs)})
        settings = Settings(epochs=epochs, batch_size=16, precision="fp32", lr=0.02)
        for layer in layers if epochs else []:
            list(train(State.start(layer, settings), Batches(held, 16, 0), settings))
        whole.eval()
        return whole.loss(Batch(held.batch(torch.arange(96))), torch.Generator())["loss"].item()

    assert first_loss(60) < first_loss(0) - 1.0


@pytest.mark.parametrize("steps", [4, 6, 9, 20], ids=["first layer", "end of it", "second layer", "whole"])
@pytest.mark.parametrize("network", [MLP, CONV], ids=["mlp", "conv"])
def test_a_stop_anywhere_resumes_to_the_very_same_weights(
    tmp_path: Path, network: dict[str, object], steps: int
) -> None:
    settings = network | {"layerwise.epochs": 2, "train.batch_size": 32, "train.precision": "fp32"}
    settings |= {"objective.variants": ["denoising"], "train.epochs": 4}
    whole = aekit.fit(images(), overrides=settings, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"stopped at step {steps} of"):
        aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", progress=StopsAfter(steps))
    resumed = aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", resume=True)
    assert resumed.digest == whole.digest
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_what_cannot_be_trained_by_layers_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match=r"layerwise\.layers: has 4 tables, but the encoder has 3 layers to train"):
        stack(**MLP, **{"layerwise.layers": [{}, {}, {}, {}]})
    with pytest.raises(RecipeError, match=r"layerwise\.layers\.0\.epoch: no such option; did you mean 'epochs'"):
        stack(**MLP, **{"layerwise.layers": [{"epoch": 3}]})
    with pytest.raises(RecipeError, match=r"layerwise\.layers\.0\.denoising\.level = 0"):
        stack(**MLP, **{"layerwise.layers": [{"variants": ["denoising"], "denoising": {"level": 0}}]})
    with pytest.raises(RecipeError, match=r"layerwise\.layers\.0\.denoising: not among the variants"):
        stack(**MLP, **{"layerwise.layers": [{"denoising": {"level": 0.1}}]})
    with pytest.raises(RecipeError, match=r"train\.epochs = 0: nothing to train"):
        aekit.fit(images(), epochs=0)


def linear_recipe(**more: object) -> dict[str, object]:
    recipe = {"encoder.backbone": "mlp", "encoder.mlp.hidden": [], "encoder.dim": 2, "objective.loss": "mse"}
    return recipe | {"train.optimizer": "lbfgs", "train.weight_decay": 0.0} | more


def test_lbfgs_brings_a_linear_autoencoder_to_the_error_of_pca(tmp_path: Path) -> None:
    x = images().reshape(96, 64)
    aekit.fit(x, epochs=15, overrides=linear_recipe(), out=tmp_path / "run")
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    scaled = fit_preprocess(load_samples(ArraySource(x), np.arange(96), torch.device("cpu")))[0](
        torch.from_numpy(x)
    ).numpy()
    values = np.linalg.svd(scaled - scaled.mean(0), compute_uv=False)
    assert last["loss"] == pytest.approx((values[2:] ** 2).sum() / 96, rel=1e-3)
    assert last["step"] == 15


def test_lbfgs_resumes_to_the_very_same_weights(tmp_path: Path) -> None:
    x, settings = images().reshape(96, 64), linear_recipe(**{"train.epochs": 4})
    whole = aekit.fit(x, overrides=settings, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped at step 2 of 4"):
        aekit.fit(x, overrides=settings, out=tmp_path / "stopped", progress=StopsAfter(2))
    assert aekit.fit(x, overrides=settings, out=tmp_path / "stopped", resume=True).digest == whole.digest


def test_lbfgs_refuses_a_loss_that_is_random() -> None:
    with pytest.raises(
        RecipeError, match=r"'lbfgs': needs a deterministic loss, but variant 'denoising' draws random numbers"
    ):
        aekit.fit(images(), variants=["denoising"], overrides={"train.optimizer": "lbfgs"})


def test_pairs_are_restored_and_labels_select(tmp_path: Path) -> None:
    clean = images()
    dirty = np.clip(clean.astype(int) + np.random.default_rng(1).integers(0, 90, clean.shape), 0, 255).astype(np.uint8)
    names = np.where(np.arange(96) % 3, "b", "a")
    np.savez(tmp_path / "dirty.npz", x=dirty, y=names)
    np.savez(tmp_path / "clean.npz", x=clean)
    settings = CONV | {"data.target": str(tmp_path / "clean.npz"), "data.only_labels": ["b"], "train.batch_size": 16}
    encoder = aekit.fit(tmp_path / "dirty.npz", epochs=40, overrides=settings, out=tmp_path / "run")
    assert encoder.record["trained"]["samples"] == 64
    from aekit.objectives.autoencoder import load_autoencoder

    back = load_autoencoder(tmp_path / "run").reconstruct(torch.from_numpy(dirty))
    error = (back - torch.from_numpy(clean) / 255).square().mean()
    assert error < 0.5 * (torch.from_numpy(dirty) / 255 - torch.from_numpy(clean) / 255).square().mean()
    with pytest.raises(aekit.errors.DataError, match=r"data\.only_labels: no sample with label 'c'; available: a, b"):
        aekit.fit(tmp_path / "dirty.npz", overrides={"data.only_labels": ["c"]})
    np.savez(tmp_path / "few.npz", x=clean[:50])
    with pytest.raises(
        aekit.errors.DataError, match=r"data\.target = .*few\.npz'?: 46 samples have no target, e\.g\. '50'"
    ):
        aekit.fit(tmp_path / "dirty.npz", overrides={"data.target": str(tmp_path / "few.npz")})


def test_layers_below_the_last_leave_out_variants_that_give_a_head() -> None:
    _, layers, _ = stack(**MLP, **{"objective.variants": ["denoising", "k-sparse"]})
    assert [list(layer.variants) for layer in layers] == [["denoising"], ["denoising"], ["denoising", "k-sparse"]]
    with pytest.raises(RecipeError, match=r"variant 'k-sparse' gives a head; name it in objective\.variants"):
        stack(**MLP, **{"layerwise.layers": [{"variants": ["k-sparse"]}]})


def test_a_run_whose_variant_refuses_the_network_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = {"encoder.backbone": "mlp", "objective.variants": ["linear"]}
    with pytest.raises(RecipeError, match="the network is not linear"):
        aekit.fit(images(), epochs=1, overrides=settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    encoder = aekit.fit(images(), epochs=1, variants=["linear"], dim=3, out=tmp_path / "run")
    assert encoder.architecture["backbone"]["name"] == "linear"
    assert 'loss = "mse"' in (tmp_path / "run" / "recipe.toml").read_text()


class StopsBeforeTheEnd(Progress):
    """Presses Ctrl-C when what follows training begins."""

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        if title == "embed":
            raise KeyboardInterrupt
        yield Task()


def test_an_interrupted_evaluation_does_not_train_again(tmp_path: Path) -> None:
    settings = MLP | {"train.batch_size": 32, "train.epochs": 2, "evaluate.evaluators": ["kmeans"]}
    with pytest.raises(KeyboardInterrupt):
        aekit.fit(images(), overrides=settings, out=tmp_path / "run", progress=StopsBeforeTheEnd())
    log = (tmp_path / "run" / "log.jsonl").read_text()
    before = (tmp_path / "run" / "encoder" / "encoder.json").read_bytes()
    said: list[str] = []

    class Listens(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    encoder = aekit.fit(images(), overrides=settings, out=tmp_path / "run", resume=True, progress=Listens())
    assert f"{tmp_path / 'run'} is already trained; creating its evaluation and report" in said
    assert (tmp_path / "run" / "encoder" / "encoder.json").read_bytes() == before
    assert "kmeans" in json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]["results"]["encoder"]
    assert (tmp_path / "run" / "log.jsonl").read_text() == log
    assert encoder.record["metrics"]["loss"] == json.loads(log.splitlines()[-1])["loss"]
