"""Frozen layers: what stands still, what is computed once, what is trained on it, and how fast each layer learns."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command, Said
from interrupting import StopsAfter
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import aekit
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder import freezing as parts
from aekit.encoder.encoder import build_encoder
from aekit.encoder.freezing import EncoderPart, PrecomputedFeatures, freeze, trained_part
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError, TrainingError
from aekit.io.manifests import SEAL, sealed
from aekit.objectives.autoencoder import Autoencoder, load_autoencoder
from aekit.objectives.base import Batch, Objective, Pretext, PretextObjective
from aekit.progress import SILENT
from aekit.training import frozen_features as features
from aekit.training._compiling import compile_networks
from aekit.training.batches import Batches
from aekit.training.build import make_layers, make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import make_optimizer
from aekit.training.phases import Interrupted
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings
from aekit.workflows.finetuning import _steps as finetuning

CPU = torch.device("cpu")
CONV: dict[str, Any] = {"encoder.backbone": "conv", "encoder.conv.channels": [4, 6], "encoder.dim": 5}
MLP: dict[str, Any] = {"encoder.backbone": "mlp", "encoder.mlp.hidden": [12, 9], "encoder.dim": 5}
ALL: dict[str, Any] = {"encoder.frozen": "all", "encoder.hidden": [7]}
FAST: dict[str, Any] = {"train.batch_size": 32, "train.epochs": 3, "train.precision": "fp32"}


def images(count: int = 96) -> np.ndarray:
    """(count, 1, 8, 8) uint8 of four factors."""
    rng = np.random.default_rng(0)
    mixed = rng.random((count, 4)) @ rng.random((4, 64))
    return (255 * (mixed - mixed.min()) / np.ptp(mixed)).astype(np.uint8).reshape(count, 1, 8, 8)


def held() -> Samples:
    return load_samples(ArraySource(images()), np.arange(96), CPU)


def built(**overrides: Any) -> tuple[Autoencoder, Samples]:
    """An autoencoder of a recipe, and samples."""
    samples = held()
    recipe = make_recipe({"data": {"source": "memory"}}, overrides)
    objective = make_objective(recipe, samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder)
    return objective, samples


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Same(Pretext):
    """The encoder's code of a sample turned round has to be that of the sample; draws which are turned."""

    def __init__(self, encoder: aekit.Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(encoder.dim, 3)

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        turned = torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(3), x)
        return {"loss": (self.head(self.encoder.encode(turned)) - 1).square().mean()}


# What stands still


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_the_lowest_layers_stand_still_their_norms_included(frozen: int) -> None:
    autoencoder, _ = built(**CONV)
    encoder = autoencoder.encoder
    freeze(encoder, frozen)
    encoder.train()
    for number, layer in enumerate(encoder.layers):
        assert all(p.requires_grad == (number >= frozen) for p in layer.parameters())
        assert all(module.training == (number >= frozen) for module in layer.modules())
    freeze(encoder, 0)
    assert all(p.requires_grad for p in encoder.parameters()) and all(m.training for m in encoder.modules())


def test_what_a_plugin_holds_fixed_stays_fixed() -> None:
    encoder = built(**CONV)[0].encoder
    fixed = next(encoder.backbone.stages[0].parameters()).requires_grad_(False)
    freeze(encoder, 1)
    freeze(encoder, 0)
    assert [p for p in encoder.parameters() if not p.requires_grad] == [fixed]


@pytest.mark.parametrize("network", [CONV, MLP], ids=["conv", "mlp"])
@pytest.mark.parametrize("frozen", [1, "all"])
def test_frozen_weights_are_bit_equal_after_a_run_and_the_others_are_not(
    tmp_path: Path, network: dict[str, Any], frozen: Any
) -> None:
    settings = network | FAST | {"encoder.frozen": frozen, "encoder.hidden": [7]}
    encoder = aekit.fit(images(), overrides=settings, out=tmp_path / "run")
    first = build_encoder(encoder.spec, encoder.preprocess, encoder.architecture, seed=0)
    count = 1 if frozen == 1 else 2
    for number, (before, after) in enumerate(zip(first.layers, encoder.layers, strict=True)):
        same = [torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values())]
        assert (
            all(same)
            if number < count
            else not any(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters()))
        )
    assert all(p.requires_grad for p in encoder.parameters()) and encoder.frozen == 0
    again = aekit.load(tmp_path / "run")
    assert again.digest == encoder.digest and "frozen" not in json.dumps(again.architecture)
    raw = torch.from_numpy(images())
    assert torch.equal(again(raw), encoder.eval()(raw))


def test_a_new_head_is_trained_on_the_frozen_backbone_of_an_earlier_run(tmp_path: Path) -> None:
    first = aekit.fit(images(), overrides=CONV | FAST, out=tmp_path / "first")
    given = CONV | FAST | ALL | {"encoder.dim": 3, "encoder.weights": str(tmp_path / "first"), "train.seed": 4}
    said = Said()
    above = aekit.fit(images(), overrides=given | {"objective.variants": ["vae"]}, progress=said)
    assert f"frozen: the lowest 2 of 3 stages, with weights of {tmp_path / 'first'}" in said
    theirs = first.backbone.state_dict()
    assert theirs and all(torch.equal(above.backbone.state_dict()[name], tensor) for name, tensor in theirs.items())
    assert (above.dim, above.record["weights"]["digest"]) == (3, first.digest)
    with pytest.raises(RecipeError, match=r"has another architecture: dim was 5, now 3; hidden was None"):
        aekit.fit(images(), overrides=given | {"encoder.frozen": 0})
    with pytest.raises(RecipeError, match=r"has another architecture: backbone\.options\.norm was 'batch', now 'none'"):
        aekit.fit(images(), overrides=given | {"encoder.conv.norm": "none"})


def test_freezing_changes_neither_the_digest_nor_the_embedding() -> None:
    encoder = built(**CONV)[0].encoder.eval()
    raw = torch.from_numpy(images())
    digest, code = encoder.digest, encoder(raw)
    freeze(encoder, 2)
    assert encoder.digest == digest and torch.equal(encoder(raw), code)


def test_the_optimizer_holds_nothing_of_what_is_frozen() -> None:
    objective, samples = built(**CONV, **ALL)
    settings = Settings(epochs=1, batch_size=32)
    state = State.start(objective, settings)
    list(train(state, Batches(samples, 32, 0), settings))
    own = {id(p) for p in objective.encoder.frozen_params}
    assert own and not own & {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert len(state.optimizer.state) == len(list(objective.trained()))
    assert all(p.grad is None for p in objective.encoder.frozen_params)


def test_a_pretext_task_trains_what_is_not_frozen() -> None:
    encoder, samples = built(**CONV)[0].encoder, held()
    freeze(encoder, 1)
    before = weights(encoder)
    objective, settings = PretextObjective(encoder, Same(encoder)), Settings(epochs=2, batch_size=32)
    list(train(State.start(objective, settings), Batches(samples, 32, 0), settings))
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and not any(name.startswith("backbone.stages.0.") for name in changed)
    said, batches = Said(), Batches(samples, 32, 0)
    assert features.precompute_features(objective, batches, settings, "fit", said) is batches
    assert (
        "fit: the output of the lowest layer is computed at every step, because the objective changes its input" in said
    )


# An autoencoder of features


@pytest.mark.parametrize("network", [CONV, MLP], ids=["conv", "mlp"])
def test_what_frozen_stages_give_is_restored_by_squared_error(network: dict[str, Any]) -> None:
    objective, samples = built(**network, **{"encoder.frozen": 1})
    objective.train()
    raw = samples.batch(torch.arange(16))
    found = objective.loss(Batch(raw), torch.Generator())["loss"].item()
    encoder, decoder = objective.encoder, objective.decoder
    first, second = encoder.backbone.stages
    with torch.no_grad():
        given = first(encoder.preprocess(raw))
        code = encoder.head(second(given).flatten(1))
        back = decoder.mirrors[0](decoder.mirror_activation[0](decoder.expand(code)))
    assert back.shape == given.shape == (16, *objective.trained_part.spec.shape)
    assert found == pytest.approx((back - given).square().sum().item() / 16, rel=1e-5)
    assert objective.errors(raw).shape == (16,) and objective.reconstruct(raw).shape == given.shape


def test_sigmoid_units_are_restored_by_cross_entropy() -> None:
    objective, _ = built(**MLP, **{"encoder.mlp.activation": "sigmoid", "encoder.frozen": 1})
    assert objective.loss_name == "bce" and objective.trained_part.preprocess.unit


def test_noise_is_put_on_the_features() -> None:
    settings = {
        "objective.variants": ["denoising"],
        "objective.denoising.noise": "masking",
        "objective.denoising.level": 0.5,
    }
    objective, samples = built(**MLP, **settings, **{"encoder.frozen": "all"})
    raw = samples.batch(torch.arange(16))
    found = objective.loss(Batch(raw), torch.Generator().manual_seed(3))["loss"].item()
    encoder, decoder = objective.encoder, objective.decoder
    with torch.no_grad():
        given = encoder.backbone(encoder.preprocess(raw))
        shown = given.masked_fill(torch.rand(given.shape, generator=torch.Generator().manual_seed(3)) < 0.5, 0.0)
        expected = (decoder(encoder.head(shown)) - given).square().sum().item() / 16
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", ["vae", "vq", "k-sparse", "sparse-kl", "contractive", "random-affine"])
def test_variants_work_on_features(variant: str) -> None:
    settings = {"encoder.frozen": 1, "encoder.dim": 8, "objective.variants": [variant], "objective.loss": "gaussian"}
    encoder = aekit.fit(images(), overrides=CONV | FAST | settings)
    assert encoder.embed(images()).vectors.shape == (96, 8)
    assert encoder.record["metrics"].keys() >= {"features_explained", "features_mse"}
    assert "psnr" not in encoder.record["metrics"]


def test_pairs_are_restored_as_features() -> None:
    objective, samples = built(**CONV, **ALL)
    clean = load_samples(ArraySource(255 - images()), np.arange(96), CPU)
    batches = Batches(samples, 32, 0, None, clean)
    settings = Settings(precision="fp32")
    once = features.precompute_features(objective, batches, settings, "fit", SILENT)
    for one, other in zip(batches.epoch(0), once.epoch(0)):
        assert other.is_features and not one.is_features and other.target is not None and one.target is not None
        terms = [objective.loss(batch, torch.Generator())["loss"].item() for batch in (one, other)]
        assert terms[0] == pytest.approx(terms[1], rel=1e-5)
        torch.testing.assert_close(other.target, objective.trained_part.preprocess(one.target))


# Dense layers on top


@pytest.mark.parametrize("tied", [False, True])
def test_hidden_layers_are_stages_above_the_backbones_own(tied: bool) -> None:
    plain = built(**CONV)[0].encoder
    objective, samples = built(**CONV, **{"encoder.hidden": [11, 7], "encoder.conv.tied": tied})
    encoder = objective.encoder
    assert "hidden" not in plain.architecture and encoder.architecture["hidden"] == [11, 7]
    assert len(encoder.backbone.stages) == 4 and encoder.features_dim == 7
    own = {name: tensor for name, tensor in plain.state_dict().items() if name.startswith("backbone.stages")}
    assert all(torch.equal(encoder.state_dict()[name], tensor) for name, tensor in own.items())
    raw = samples.batch(torch.arange(8))
    stages = encoder.eval().backbone.stages
    x = stages[1](stages[0](encoder.preprocess(raw))).flatten(1)
    for stage, width in zip(stages[2:], (11, 7)):
        linear = next(m for m in stage.modules() if isinstance(m, nn.Linear))
        x = F.gelu(F.layer_norm(x @ linear.weight.T + linear.bias, (width,)))
    torch.testing.assert_close(encoder(raw), encoder.head(x))
    assert objective.reconstruct(raw).shape == (8, 1, 8, 8)
    linear = next(m for m in stages[3].modules() if isinstance(m, nn.Linear))
    own_weights = {id(p) for p in objective.decoder.parameters()}
    assert (len(own_weights & {id(linear.weight)}) == 0) and linear.weight.shape == (7, 11)
    if tied:
        assert all(p.ndim <= 1 for p in objective.decoder.parameters()), "a tied decoder has biases and norms alone"


def test_an_encoder_with_hidden_layers_is_saved_drawn_anew_and_exported(tmp_path: Path) -> None:
    encoder = aekit.fit(images(), overrides=CONV | FAST | {"encoder.hidden": [11]}, out=tmp_path / "run")
    raw = torch.from_numpy(images())
    assert torch.equal(aekit.load(tmp_path / "run")(raw), encoder(raw))
    assert encoder.with_random_weights(3).state_dict().keys() == encoder.state_dict().keys()
    record = aekit.export_encoder(encoder, tmp_path / "encoder.pt2", data=images())
    assert record["digest"] == encoder.digest
    assert load_autoencoder(tmp_path / "run").reconstruct(raw).shape == raw.shape


# Computed once


def losses(objective: Objective, batches: Batches, settings: Settings) -> list[dict[str, float]]:
    return list(train(State.start(objective, settings), batches, settings))


@pytest.mark.parametrize("variants", [[], ["denoising"], ["vae"]])
@pytest.mark.parametrize("network", [CONV, MLP], ids=["conv", "mlp"])
def test_what_is_computed_once_trains_the_same(network: dict[str, Any], variants: list[str]) -> None:
    settings = Settings(epochs=3, batch_size=32, precision="fp32")
    logs, ends = [], []
    for once in (False, True):
        objective, samples = built(**network, **ALL, **{"objective.variants": variants})
        batches = Batches(samples, 32, 0)
        if once:
            said = Said()
            batches = features.precompute_features(objective, batches, settings, "fit", said)
            assert isinstance(batches.samples, PrecomputedFeatures) and batches.per_epoch == 3
            size = objective.trained_part.spec.size
            assert f"fit: the output of the 2 lowest layers is computed once: 96 x {size} " in said
        logs.append(losses(objective, batches, settings))
        ends.append(objective.state_dict())
    for one, other in zip(*logs, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-2, atol=1e-3, msg=name)


def test_the_frozen_layers_run_once_a_sample_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = parts.FrozenTrunk.forward

    def counted(self: parts.FrozenTrunk, raw: Tensor) -> Tensor:
        seen.append(len(raw))
        return forward(self, raw)

    monkeypatch.setattr(parts.FrozenTrunk, "forward", counted)
    monkeypatch.setattr("aekit.workflows.saved_run.training_metrics", lambda *given: {})
    aekit.fit(images(), overrides=CONV | ALL | FAST)
    assert sum(seen) == 96


def test_computing_them_in_bfloat16_is_what_every_step_would_do() -> None:
    objective, samples = built(**CONV, **ALL)
    settings = Settings(epochs=1, batch_size=96, precision="bf16")
    once = features.precompute_features(objective, Batches(samples, 96, 0), settings, "fit", SILENT)
    with torch.autocast("cpu", torch.bfloat16):
        expected = objective.trained_part.preprocess(samples.batch(torch.arange(96)))
    assert once.samples.batch(torch.arange(96)).dtype == torch.float32
    torch.testing.assert_close(once.samples.batch(torch.arange(96)), expected)


def test_what_does_not_fit_into_memory_is_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(epochs=1, batch_size=32, precision="fp32")
    objective, samples = built(**CONV, **ALL)
    whole = features.precompute_features(objective, Batches(samples, 32, 0), settings, "fit", SILENT)
    monkeypatch.setenv("AEKIT_MEMORY", "0")
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path))
    for _ in range(2):  # the second time it is there already
        said = Said()
        mapped = features.precompute_features(objective, Batches(samples, 32, 0), settings, "fit", said)
        assert isinstance(mapped.samples.data, np.memmap) and "in a file" in said
        assert torch.equal(mapped.samples.batch(torch.arange(96)), whole.samples.batch(torch.arange(96)))
    assert "decoding once" not in said
    (path,) = (tmp_path / "decoded").glob("*.raw")
    with torch.no_grad():
        next(objective.encoder.backbone.stages[0].parameters()).add_(1.0)
    other = features.precompute_features(objective, Batches(samples, 32, 0), settings, "fit", SILENT)
    assert len(list(path.parent.glob("*.raw"))) == 2, "other weights give other features"
    assert not torch.equal(other.samples.batch(torch.arange(96)), whole.samples.batch(torch.arange(96)))


def test_what_is_too_much_to_hold_is_computed_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, samples = built(**MLP | {"encoder.mlp.hidden": [100, 9], "encoder.frozen": 1})
    monkeypatch.setenv("AEKIT_MEMORY", "0")
    said, batches = Said(), Batches(samples, 32, 0)
    assert features.precompute_features(objective, batches, Settings(), "fit", said) is batches
    assert "computed at every step, because 96 x 100 values do not fit in memory" in said


def test_features_that_are_not_finite_are_said() -> None:
    objective, samples = built(**CONV, **ALL)
    with torch.no_grad():
        next(objective.encoder.backbone.stages[0].parameters()).fill_(torch.inf)
    with pytest.raises(TrainingError, match="the output of the 2 lowest layers is not finite"):
        features.precompute_features(objective, Batches(samples, 32, 0), Settings(), "fit", SILENT)


@pytest.mark.parametrize("greedy", [0, 2], ids=["whole", "layer by layer"])
def test_an_interrupted_run_resumes_to_the_very_same_weights(tmp_path: Path, greedy: int) -> None:
    settings = CONV | FAST | ALL | {"objective.variants": ["denoising"], "layerwise.epochs": greedy}
    whole = aekit.fit(images(), overrides=settings, out=tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped at step 8 of"):
        aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", progress=StopsAfter(8))
    resumed = aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", resume=True)
    assert resumed.digest == whole.digest
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_layers_are_trained_one_by_one_above_the_frozen_ones() -> None:
    samples, settings = held(), Settings(epochs=1, batch_size=32, precision="fp32")
    recipe = make_recipe(
        {"data": {"source": "memory"}}, MLP | {"encoder.frozen": 1, "encoder.hidden": [7], "layerwise.epochs": 1}
    )
    whole = make_objective(recipe, samples.spec, fit_preprocess(samples)[0])
    layers = [layer for layer, _ in make_layers(recipe, whole)]
    expected = ["backbone.stages.1", "backbone.stages.2", "head"]
    assert len(layers) == len(expected)
    for number, (layer, name) in enumerate(zip(layers, expected)):
        before = weights(whole.encoder)
        batches = features.precompute_features(layer, Batches(samples, 32, 0), settings, "layer", SILENT)
        assert isinstance(batches.samples, PrecomputedFeatures) and batches.samples.spec.size == [12, 9, 7][number]
        drawn = [next(given.epoch(0)) for given in (Batches(samples, 32, 0), batches)]
        slow, fast = (layer.loss(batch, torch.Generator())["loss"].item() for batch in drawn)
        assert slow == pytest.approx(fast, rel=1e-5)
        losses(layer, batches, settings)
        changed = {n for n, tensor in whole.encoder.state_dict().items() if not torch.equal(tensor, before[n])}
        assert changed and all(n.startswith(f"{name}.") for n in changed)


# Fine-tuning


@pytest.fixture(scope="module")
def encoder() -> aekit.Encoder:
    return aekit.fit(images(150), overrides=CONV | FAST)


CLASSES = np.array(["dark", "light"])[
    (images(150).mean((1, 2, 3)) > np.median(images(150).mean((1, 2, 3)))).astype(int)
]
TUNE: dict[str, Any] = {"epochs": 4, "lr": 0.01, "batch_size": 16, "precision": "fp32", "labels": CLASSES}


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_fine_tuning_on_frozen_layers_computes_them_once(
    encoder: aekit.Encoder, layers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, found = Said(), []
    found.append(aekit.finetune(encoder, images(150), layers=layers, out=tmp_path / "once", progress=said, **TUNE))
    lines = [line for line in said.lines if "is computed once" in line]
    assert len(lines) == 2 and lines[0].startswith("fine-tuned: the output of the ")
    monkeypatch.setattr(features, "frozen_features", lambda *given, **options: None)
    monkeypatch.setattr(finetuning, "frozen_features", lambda *given, **options: None)
    found.append(aekit.finetune(encoder, images(150), layers=layers, out=tmp_path / "always", **TUNE))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("once", "always")]
    for one, other in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert one.pop("training") == other.pop("training")
        assert one == pytest.approx(other, rel=1e-4)
    assert found[0].accuracy == found[1].accuracy
    assert all(p.requires_grad for p in found[0].encoder.parameters()) and found[0].encoder.frozen == 0


def test_an_encoder_that_was_trained_on_frozen_layers_is_fine_tuned_as_a_whole() -> None:
    start = aekit.fit(images(150), overrides=CONV | FAST | ALL)
    # Two labels per class leave none for validation, so that the last epoch is chosen.
    found = aekit.finetune(start, images(150), baselines=False, per_class=2, **TUNE)
    assert not any(torch.equal(a, b) for a, b in zip(start.parameters(), found.encoder.parameters()))


def test_seconds_count_what_was_done_before_the_interruption(encoder: aekit.Encoder, tmp_path: Path) -> None:
    given = TUNE | {"out": tmp_path / "out", "layers": 1, "baselines": False}
    with pytest.raises(Interrupted):
        aekit.finetune(encoder, images(150), progress=StopsAfter(5), **given)
    path = tmp_path / "out" / "checkpoint" / "finetuned" / "state.safetensors"
    with safe_open(path, "pt") as file:
        counters = json.loads(file.metadata()["counters"])
    assert 0 < counters["seconds"] < 60
    changed = {name: value for name, value in counters.items() if name != SEAL} | {"seconds": 1000.0}
    save_file(load_file(path), path, {"counters": json.dumps(sealed(changed))})
    found = aekit.finetune(encoder, images(150), resume=True, **given)
    assert 1000 <= found.results["seconds"]["finetuned"] < 1060


# The learning rate of each layer


def test_every_layer_learns_by_a_share_of_the_rate_above_it() -> None:
    objective, samples = built(**CONV, **{"encoder.hidden": [7], "objective.variants": ["adversarial"]})
    objective.start(samples)
    optimizer = make_optimizer(objective, Settings(layer_decay=0.5, weight_decay=0.3))
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    encoder = objective.encoder
    expected = [(encoder.head, 0.5), *zip(encoder.backbone.stages, (0.0625, 0.125, 0.25)), (objective.decoder, 1.0)]
    expected.append((objective.variants, 1.0))
    assert sum(len(list(module.parameters())) for module, _ in expected) == len(scale)
    for module, share in expected:
        assert all(scale[id(p)] == share for p in module.parameters())
    for group in optimizer.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.3) for p in group["params"])
    plain = make_optimizer(objective, Settings())
    assert [group["lr_scale"] for group in plain.param_groups] == [1.0, 1.0]


def test_the_rates_follow_the_schedule_in_a_fit() -> None:
    settings = Settings(epochs=2, batch_size=32, lr=0.1, layer_decay=0.5, warmup=0, precision="fp32")
    objective, samples = built(**CONV)
    state = State.start(objective, settings)
    for record in train(state, Batches(samples, 32, 0), settings):
        expected = [0.1 * 0.5 * (1 + np.cos(np.pi * (record["step"] - 1) / 6)) * 0.5**depth for depth in range(4)]
        assert record["lr"] == pytest.approx(expected[0])
        rates = sorted({group["lr"] for group in state.optimizer.param_groups}, reverse=True)
        assert rates == pytest.approx(expected)


def test_a_run_with_layer_decay_resumes_to_the_very_same_weights(tmp_path: Path) -> None:
    settings = CONV | FAST | {"train.layer_decay": 0.6}
    whole = aekit.fit(images(), overrides=settings, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", progress=StopsAfter(4))
    assert aekit.fit(images(), overrides=settings, out=tmp_path / "stopped", resume=True).digest == whole.digest
    assert aekit.fit(images(), overrides=CONV | FAST).digest != whole.digest


# torch.compile


def test_compiling_changes_no_name_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without code generation, which takes long: what is tested is what aekit does around it.
    calls: list[str] = []

    def traced(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        calls.append("compiled")
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=traced))
    plain = aekit.fit(images(), overrides=MLP | FAST, out=tmp_path / "plain")
    with pytest.raises(Interrupted):
        compiling = MLP | FAST | {"train.compile": True}
        aekit.fit(images(), overrides=compiling, out=tmp_path / "run", progress=StopsAfter(4))
    encoder = aekit.fit(images(), overrides=compiling, out=tmp_path / "run", resume=True)
    assert len(calls) >= 2, "the backbone and the decoder"
    assert encoder.digest == plain.digest
    assert "forward" not in vars(encoder.backbone)
    assert (tmp_path / "run" / "log.jsonl").read_text() == (tmp_path / "plain" / "log.jsonl").read_text()


def test_what_cannot_be_compiled_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(TrainingError, match=r"train\.compile = true: .*No working C\+\+ compiler") as caught:
        aekit.fit(images(), overrides=MLP | FAST | {"train.compile": True})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_compiled_for_real_it_learns_the_same() -> None:
    settings = Settings(epochs=1, batch_size=32, precision="fp32")
    logs = []
    for compile in (False, True):
        objective, samples = built(**MLP)
        with compile_networks(objective.compilable_networks() if compile else []):
            logs.append(losses(objective, Batches(samples, 32, 0), settings))
    for one, other in zip(*logs, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


# What is logged and not minimized


def test_the_perplexity_of_a_codebook_is_logged_and_not_minimized() -> None:
    objective, samples = built(**MLP | {"encoder.dim": 8, "objective.variants": ["vq"], "objective.vq.entries": 6})
    objective.start(samples)
    objective.train()
    terms = objective.loss(Batch(samples.batch(torch.arange(32))), torch.Generator())
    minimized = terms["reconstruction"] + terms["vq/commitment"]
    assert terms["loss"].item() == pytest.approx(minimized.item())
    chosen = objective.encoder.head.quantize(
        objective.encoder.head.linear(
            objective.encoder.backbone(objective.encoder.preprocess(samples.batch(torch.arange(32))))
        )
    )[1]
    perplexities = []
    for numbers in chosen.tolist():
        shares = np.bincount(numbers, minlength=6) / 32
        perplexities.append(np.exp(-sum(p * np.log(p) for p in shares if p)))
    assert terms["vq/perplexity"].item() == pytest.approx(np.mean(perplexities), rel=1e-5)
    assert 1 <= terms["vq/perplexity"] <= 6 and not terms["vq/perplexity"].requires_grad


# The folder of a run, and what is refused


def test_the_decoder_of_a_run_on_features_comes_back_and_finds_anomalies(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=images())
    aekit.fit(tmp_path / "data.npz", overrides=CONV | FAST | ALL, out=tmp_path / "run")
    autoencoder = load_autoencoder(tmp_path / "run")
    assert not autoencoder.reconstructs_samples and isinstance(trained_part(autoencoder.encoder), EncoderPart)
    raw = torch.from_numpy(images())
    error = (autoencoder.reconstruct(raw) - autoencoder.trained_part.preprocess(raw)).square().flatten(1).mean(1)
    odd = aekit.find_anomalies(tmp_path / "run", tmp_path / "data.npz", baselines=False)
    order = np.array([int(name) for name in odd.ids])
    assert odd.scores["reconstruction"] == pytest.approx(error.numpy()[order], rel=1e-3)


def test_from_end_to_end_by_command(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", X=images())
    sets = [part for name, value in (CONV | FAST | ALL).items() for part in ("--set", f"{name}={value}")]
    said = command("fit", "data.npz", "-o", "run", *sets)
    assert said.code == 0, said.err
    assert (
        "reconstruction: of the frozen features, image 6x2x2 float32, not of the samples; loss: mse"
        in said.err + said.out
    )
    assert "of the variance of the frozen features is explained by the reconstruction" in said.out
    recipe = Path("run/recipe.toml").read_text()
    assert 'frozen = "all"' in recipe and 'loss = "mse"' in recipe
    assert "restores" not in json.dumps(json.loads(Path("run/results.json").read_text()))
    error = command("apply", "run", "data.npz", "-o", "out").error
    assert "its decoder reconstructs the output of the frozen stages (encoder.frozen), not samples" in error
    assert not Path("out").exists()


def test_settings_of_fine_tuning_that_are_no_settings_of_training_are_refused(
    tmp_path: Path, command: Command, encoder: aekit.Encoder
) -> None:
    encoder.save(tmp_path / "encoder")
    np.savez(tmp_path / "data.npz", X=images(150), y=CLASSES)
    given = (tmp_path / "encoder", tmp_path / "data.npz", "-o", tmp_path / "out")
    assert "train.layers: no such option" in command("finetune", *given, "--set", "train.layers=1").error
    assert "--device = 'gpu': expected auto, cpu" in command("apply", *given, "--device", "gpu").error
    assert (
        "--device = 'cpu:3': this machine has 1 CPU device" in command("anomalies", *given, "--device", "cpu:3").error
    )
    said = command("finetune", *given, "--layers", 1, "--layer-decay", 0.5, "--epochs", 1, "--no-baselines")
    assert said.code == 0 and "the output of the 2 lowest layers is computed once" in said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["train"]["layer_decay"] == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder.frozen": 3}, r"encoder\.frozen = 3: expected 'all' or 0 to 2, the number of stages"),
        ({"encoder.frozen": "al"}, r"encoder\.frozen = 'al': expected 'all' or"),
        ({"encoder.frozen": -1}, r"encoder\.frozen = -1: expected 'all' or greater than or equal to 0"),
        ({"encoder.frozen": "all", "encoder.dim": 0}, r"leaves nothing to train; set encoder\.dim"),
        (
            {"encoder.frozen": 1, "objective.loss": "bce"},
            r"objective\.loss = 'bce': .*but the frozen features are not; set",
        ),
        ({"encoder.frozen": 1, "objective.loss": "logistic"}, r"objective\.loss = 'logistic': "),
        (
            {
                "encoder.frozen": "all",
                "encoder.hidden": [7],
                "objective.variants": ["random-affine"],
                "layerwise.epochs": 1,
            },
            r"'random-affine' cannot take vector 7 float32, the input of layer 2; expected image samples",
        ),
        (
            MLP | {"encoder.frozen": 1, "objective.variants": ["random-affine"]},
            r"'random-affine' cannot take vector 12 float32, the input of the autoencoder; expected image samples",
        ),
        ({"encoder.hidden": [0]}, r"encoder\.hidden\.0 = 0: expected greater than or equal to 1"),
        ({"train.layer_decay": 0}, r"train\.layer_decay = 0: expected greater than 0"),
        ({"train.layer_decay": 0.5, "train.optimizer": "lbfgs"}, r"0\.5: expected 1 with optimizer = 'lbfgs'"),
    ],
)
def test_mistakes_are_said_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        aekit.fit(images(), overrides=({} if "encoder.backbone" in settings else CONV) | settings)
    assert "\n" not in str(caught.value)
