"""Compare what aekit computes on a GPU with what it computes on the CPU; `benchmarks/gpu.py` runs these parts."""

from __future__ import annotations

import argparse
import copy
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_cases import CASES, WRONG, Case, available, build, in_time, load_case, recipe_values
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aekit import fit
from aekit.data.samples import Samples
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import first_line
from aekit.io.processes import Ranks
from aekit.objectives.base import Batch
from aekit.registry.discovery import registry
from aekit.testing.trials import Trial, trials
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings
from aekit.training.sharding import build_objective, training_precision

CPU = torch.device("cpu")
TOLERANCE = 2e-3
"""Relative difference of sums in another order, after a step."""


class TwinGenerator(torch.Generator):
    """A generator of the CPU that passes for one of another device, so that both draw the same numbers."""

    def __new__(cls, device: torch.device) -> TwinGenerator:
        generator = super().__new__(cls)
        generator.place = device
        return generator

    @property
    def device(self) -> torch.device:
        return self.place


class TwinDraws(TorchFunctionMode):
    """Draw on the CPU what a `TwinGenerator` is to draw, and move it to the device."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        generator = kwargs.get("generator")
        if not isinstance(generator, TwinGenerator):
            return function(*args, **kwargs)
        kwargs |= {"device": "cpu"} if "device" in kwargs else {}
        drawn = function(*(a.cpu() if isinstance(a, Tensor) else a for a in args), **kwargs)
        if function.__name__.endswith("_") and isinstance(args[0], Tensor):  # in place
            return args[0].copy_(drawn)
        return drawn.to(generator.place)


def one_step(trial: Trial, device: torch.device) -> list[Tensor]:
    """Return embedding, loss and gradients of a step from the same weights and random numbers, on the CPU."""
    preprocess = copy.deepcopy(trial.preprocess)
    fresh = Trial(trial.plugin, trial.name, trial.options, trial.folder, trial.spec)
    fresh.preprocess = preprocess.to(device)
    fresh.samples.data, fresh.samples.device = fresh.samples.data.to(device), device
    objective = fresh.objective(1).to(device)
    raw = fresh.raw(16)
    embedding = objective.encoder.eval()(raw).detach()
    generator = TwinGenerator(device)
    generator.manual_seed(1)
    objective.train().set_progress(0.0)
    with TwinDraws():
        loss = objective.loss(Batch(raw), generator)["loss"]
        loss.backward()
    gradients = [p.grad for p in objective.trained() if p.grad is not None]
    return [tensor.detach().float().cpu() for tensor in (embedding, loss, *gradients)]


@contextmanager
def whole_float32() -> Iterator[None]:
    """Multiply float32 with all of its bits, where the GPU would drop some."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def loopback() -> Iterator[None]:
    """Let processes of this machine meet where it has no network."""
    name = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    added = {key: name for key in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]


def correct(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare steps on the device with those on the CPU."""
    plugins = [p for kind in ("variant", "pretext") for p in registry().by_kind(kind) if p.distribution == "aekit"]
    differences: list[tuple[float, str]] = []
    for plugin in in_time(arguments, plugins[:: 8 if arguments.quick else 1]):
        with tempfile.TemporaryDirectory() as folder, whole_float32():
            for trial in trials(plugin, plugin.name, {}, Path(folder)):
                name = f"{plugin.name} on {trial.spec.kind}"
                try:
                    pairs = zip(one_step(trial, CPU), one_step(trial, device), strict=True)
                    largest = max(float((a - b).norm() / a.norm().clamp(min=1e-3)) for a, b in pairs)
                    differences.append((largest, name))
                except Exception as error:  # one fault must not hide the others
                    yield f"{WRONG}{name}: {type(error).__name__}: {first_line(error)}"
    differences.sort(reverse=True)
    for largest, name in differences:
        if not largest <= TOLERANCE:
            yield f"{WRONG}{name}: a relative difference of {largest:.2g}"
    if differences:
        yield f"{len(differences)} compared; largest relative difference {differences[0][0]:.2g}, of {differences[0][1]}"


def resume(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare the losses of a restored run with those of an uninterrupted one."""
    for case in in_time(arguments, [c for c in CASES[: 1 if arguments.quick else 3] if available(c)]):
        samples = load_case(case, 4 * case.quick, device)
        settings = Settings(epochs=2, batch_size=case.quick, precision="fp32", device=str(device))
        batches = Batches(samples, case.quick, 0)
        with tempfile.TemporaryDirectory() as folder:
            whole, losses = State.start(build(case, samples, settings), settings), []
            for record in train(whole, batches, settings):
                losses.append(record["loss"])
                if whole.step == batches.per_epoch:
                    whole.save(Path(folder) / "checkpoint")
            again = State.start(build(case, samples, settings), settings)
            again.restore(Path(folder) / "checkpoint")
            resumed = [record["loss"] for record in train(again, batches, settings)]
        off = max(abs(a - b) / abs(a) for a, b in zip(losses[again.step - len(resumed) :], resumed))
        yield f"{'' if off < TOLERANCE else WRONG}{case.title}: {'bit-equal' if not off else f'within {off:.1g}'}"


def share(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare training with shared and with whole weights."""
    with loopback(), whole_float32():
        yield from _share(arguments, device)


def _share(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    import torch.distributed as dist

    case = CASES[0] if arguments.quick or not available(CASES[-1]) else CASES[-1]
    samples = load_case(case, 4 * case.quick, CPU)
    for precision in ("fp32", "bf16"):
        settings = Settings(epochs=2, batch_size=case.quick, precision=precision, device=str(device), clip=1.0)
        with tempfile.TemporaryDirectory() as folder:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                init_method=f"file://{folder}/meeting",
                rank=0,
                world_size=1,
            )
            try:
                whole = shared_steps(case, samples, settings, None, device)
                shared = shared_steps(case, samples, settings, Ranks(0, 1, dist.group.WORLD), device)
            finally:
                dist.destroy_process_group()
        off = max(abs(a - b) / abs(a) for a, b in zip(whole.losses, shared.losses))
        most = TOLERANCE if precision == "fp32" else 0.05
        yield (
            f"{'' if off < most else WRONG}{case.title}, {precision}, one process: losses within {off:.1g}; "
            f"peak {shared.peak / 2**20:.0f} MiB shared, {whole.peak / 2**20:.0f} MiB whole"
        )
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if count < 2:
        yield f"{count} GPUs: not tried on several by NCCL"
        return
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", samples.batch(torch.arange(len(samples))).numpy())
        overrides = {"train.epochs": 2, "train.batch_size": case.quick, "train.precision": "fp32", "encoder.dim": 16}
        overrides |= {"objective.pretexts": ["simclr"], "evaluate.evaluators": []}
        overrides |= {f"encoder.{name}": value for name, value in case.backbone.items()}
        losses = {}
        for sharding in ("none", "full"):
            settings_of = {"overrides": overrides | {"train.sharding": sharding}, "report": False, "processes": count}
            encoder = fit(Path(folder) / "images.npy", out=Path(folder) / sharding, **settings_of)
            losses[sharding] = encoder.record["metrics"]["loss"]
    off = abs(losses["full"] - losses["none"]) / abs(losses["none"])
    yield f"{'' if off < TOLERANCE else WRONG}{case.title}, fp32, {count} GPUs by NCCL: losses within {off:.1g}"


@dataclass(frozen=True)
class Steps:
    """Losses of some steps, and the peak of the device's memory in bytes; 0 on a CPU."""

    losses: list[float]
    peak: int


def shared_steps(case: Case, samples: Samples, settings: Settings, ranks: Ranks | None, device: torch.device) -> Steps:
    """Train a few steps, with weights that processes share if there are any."""
    settings = settings.model_copy(update={"sharding": "none" if ranks is None else "full"})
    images = ArraySource(samples.batch(torch.arange(len(samples))).numpy())
    on_device = load_shared_samples(images, np.arange(len(samples)), device, ranks)
    recipe = make_recipe(recipe_values(case, settings))
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    objective, _ = build_objective(recipe, samples.spec, fit_preprocess(samples)[0], ranks, device, print)
    with training_precision(objective, settings):
        objective.start(on_device)
    batches = Batches(on_device, case.quick, settings.seed)
    losses = [record["loss"] for record in train(State.start(objective.train(), settings), batches, settings)]
    return Steps(losses, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)
