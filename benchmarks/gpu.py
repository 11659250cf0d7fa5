"""Check a GPU that aekit has not seen before, in one script of under 8 minutes, and measure what it gives.

    python benchmarks/gpu.py [--quick] [--device auto] [--precision auto] [--only train,embed] [--minutes 8]

It needs no data. timm's networks are left out where timm is not installed. `--quick --device cpu` runs every part with small
numbers, to know that the script works. Parts that would begin after the minutes are named and left out. In order:

- correct: every variant and pretext task on every kind of sample: embedding, loss and gradients on the device against the CPU, in
  fp32, with the same random numbers; the largest relative difference
- resume: a run restored in the middle against an uninterrupted one
- share: steps whose weights several processes share (FSDP2) against steps with whole weights: in a process of its own on one
  device, and by NCCL on all GPUs of the machine where it has several; the peaks of the device's memory
- peak: products of large matrices, which is what the shares of the peak refer to
- train: images per second of `aekit.training.loop.train` with SimCLR against forward, backward and the optimizer alone on one
  batch in memory; two views of a sample are two images
- compile: steps per second of small networks, whose time is launches of kernels, with and without train.compile
- embed, probe, kNN: embedding of raw samples against the bare forward pass; a linear probe; neighbors
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from aekit import fit
from aekit.data.samples import Samples, load_samples
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.preprocessing import fit_preprocess
from aekit.evaluation.linear.probe import fit_logistic
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.io.device import choose_device
from aekit.io.processes import Ranks
from aekit.objectives.base import Batch, PretextObjective
from aekit.registry.discovery import registry
from aekit.testing.trials import Trial, trials
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import make_optimizer
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings, uses_bf16
from aekit.training.sharding import build_objective, training_precision
from aekit.version import __version__

CPU = torch.device("cpu")
TOLERANCE = 2e-3
"""Relative difference of sums in another order, after a step."""


@dataclass(frozen=True)
class Case:
    """A network and its data.

    Attributes:
        title: title of its row.
        channels: of the images.
        size: their side in pixels.
        backbone: the [encoder] section.
        batch: samples per step.
        quick: samples per step with --quick.
    """

    title: str
    channels: int
    size: int
    backbone: Mapping[str, Any]
    batch: int
    quick: int


def timm(model: str, **options: Any) -> dict[str, Any]:
    return {"backbone": "timm", "timm": {"model": model, **options}}


IMAGES = SampleSpec("image", (3, 224, 224), "uint8")

CASES = [
    Case("conv", 1, 28, {"backbone": "conv", "conv": {"channels": [32, 64, 128]}}, 1024, 128),
    Case("resnet, small stem", 1, 28, {"backbone": "resnet", "resnet": {"stem": "small"}}, 512, 8),
    Case("timm resnet18", 3, 224, timm("resnet18", size=224), 128, 4),
    Case("timm efficientnet_lite0", 3, 224, timm("tf_efficientnet_lite0", size=224), 128, 4),
    Case("timm vit_small_patch16_224", 3, 224, timm("vit_small_patch16_224", size=224), 128, 2),
]


def load_case(case: Case, count: int, device: torch.device) -> Samples:
    """Return random images, whose numbers do not matter to the time."""
    shape = (min(count, 2000), case.channels, case.size, case.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return load_samples(ArraySource(images), np.arange(len(images)), device)


def recipe_values(case: Case, settings: Settings) -> dict[str, Any]:
    return {
        "data": {"source": "memory"},
        "encoder": {**case.backbone, "dim": 0},
        "objective": {"pretexts": ["simclr"]},
        "train": settings.model_dump(),
    }


def build(case: Case, samples: Samples, settings: Settings) -> PretextObjective:
    preprocess = fit_preprocess(samples)[0].to(samples.device)
    recipe = make_recipe(recipe_values(case, settings))
    objective = make_objective(recipe, samples.spec, preprocess).to(samples.device)
    assert isinstance(objective, PretextObjective)
    objective.start(samples)
    return objective.train()


def synchronized_time(device: torch.device) -> float:
    """Return the time once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(objective: PretextObjective, batch: Tensor, settings: Settings, steps: int) -> Callable[[], None]:
    """Return a function that trains the encoder on one scaled batch (2 B, *shape)."""
    encoder, optimizer = objective.encoder, make_optimizer(objective, settings)
    autocast = torch.autocast(
        batch.device.type, torch.bfloat16, enabled=uses_bf16(settings, encoder.spec, batch.device)
    )

    def run() -> None:
        for _ in range(steps):
            with autocast:
                loss = encoder.encode(batch).float().square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def with_aekit(objective: PretextObjective, batches: Batches, settings: Settings) -> Callable[[], None]:
    def run() -> None:
        for _ in train(State.start(objective, settings), batches, settings):
            pass

    return run


def seconds_of(runs: Mapping[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """Return the median seconds of each function after a first call, interleaved, so that a slow moment affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = synchronized_time(device)
            run()
            if turn:
                seconds[name].append(synchronized_time(device) - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


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


def correct(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare steps on the device with those on the CPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    plugins = [p for kind in ("variant", "pretext") for p in registry().by_kind(kind) if p.distribution == "aekit"]
    differences: list[tuple[float, str]] = []
    for plugin in plugins[:: 8 if arguments.quick else 1]:
        with tempfile.TemporaryDirectory() as folder:
            for trial in trials(plugin, plugin.name, {}, Path(folder)):
                name = f"{plugin.name} on {trial.spec.kind}"
                try:
                    pairs = zip(one_step(trial, CPU), one_step(trial, device), strict=True)
                    largest = max(float((a - b).norm() / a.norm().clamp(min=1e-3)) for a, b in pairs)
                    differences.append((largest, name))
                except Exception as error:  # one fault must not hide the others
                    yield f"WRONG {name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    differences.sort(reverse=True)
    for largest, name in differences:
        if not largest <= TOLERANCE:
            yield f"WRONG {name}: a relative difference of {largest:.2g}"
    if differences:
        yield f"{len(differences)} compared; largest relative difference {differences[0][0]:.2g}, of {differences[0][1]}"


def resume(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare the losses of a restored run with those of an uninterrupted one."""
    for case in CASES[: 1 if arguments.quick else 3]:
        if not available(case):
            continue
        samples = load_case(case, 4 * case.quick, device)
        settings = Settings(epochs=2, batch_size=case.quick, precision="fp32", device=device.type)
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
        yield f"{'' if off < TOLERANCE else 'WRONG '}{case.title}: {'bit-equal' if not off else f'within {off:.1g}'}"


def share(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare training with shared and with whole weights."""
    import torch.distributed as dist

    case = CASES[0] if arguments.quick or not available(CASES[-1]) else CASES[-1]
    samples = load_case(case, 4 * case.quick, CPU)
    for precision in ("fp32", "bf16"):
        settings = Settings(epochs=2, batch_size=case.quick, precision=precision, device=device.type, clip=1.0)
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
            f"{'' if off < most else 'WRONG '}{case.title}, {precision}, one process: losses within {off:.1g}; "
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
    yield f"{'' if off < TOLERANCE else 'WRONG '}{case.title}, fp32, {count} GPUs by NCCL: losses within {off:.1g}"


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


def peak(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Measure the products of large matrices."""
    side = 512 if arguments.quick else 8192
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side, device=device).to(dtype)
        seconds = seconds_of({"product": lambda a=a: a @ a}, device, arguments.repeats)["product"]
        arguments.peaks[dtype] = 2 * side**3 / seconds
        yield f"{str(dtype).removeprefix('torch.')}: {arguments.peaks[dtype] / 1e12:.3g} TFLOP/s"


def training(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare training with its network alone."""
    head = f"{'network':28} {'images':>11} {'batch':>5} {'bare /s':>9} {'aekit /s':>9}"
    yield f"{head} {'aekit/bare':>10} {'of peak':>7} {'GiB':>6}"
    for case in CASES:
        if not available(case):
            yield f"{case.title}: left out, as timm is not installed"
            continue
        batch = case.quick if arguments.quick else case.batch
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        samples = load_case(case, batch * arguments.steps, device)
        epochs = max(1, arguments.steps * batch // len(samples))
        settings = Settings(epochs=epochs, batch_size=batch, precision=arguments.precision, device=device.type)
        batches = Batches(samples, batch, settings.seed)
        steps = epochs * batches.per_epoch
        x = fit_preprocess(samples)[0].to(device)(samples.batch(torch.arange(batch)))
        alone = bare(build(case, samples, settings), torch.cat([x, x]), settings, steps)
        objective = build(case, samples, settings)
        median = seconds_of(
            {"bare": alone, "aekit": with_aekit(objective, batches, settings)}, device, arguments.repeats
        )
        with FlopCounterMode(display=False) as counter:
            objective.encoder.encode(x[:1]).sum().backward()
        images = 2 * batch * steps
        used = torch.bfloat16 if uses_bf16(settings, samples.spec, device) else torch.float32
        share = images * counter.get_total_flops() / median["aekit"] / arguments.peaks.get(used, float("nan"))
        memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:6.2f}" if device.type == "cuda" else f"{'-':>6}"
        yield (
            f"{case.title:28} {'x'.join(map(str, samples.spec.shape)):>11} {batch:5} {images / median['bare']:9.4g}"
            f" {images / median['aekit']:9.4g} {median['bare'] / median['aekit']:10.2f} {share:7.1%} {memory}"
        )


def compiled(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare steps of small networks with and without the compiler."""
    for backbone in ("mlp", "conv"):
        case = Case(backbone, 1, 28, {"backbone": backbone}, 128, 32)
        batch = case.quick if arguments.quick else case.batch
        samples = load_case(case, batch * arguments.steps, device)
        runs: dict[str, Callable[[], object]] = {}
        for name, compile in (("plain", False), ("compiled", True)):
            settings = Settings(batch_size=batch, precision=arguments.precision, epochs=2, compile=compile)
            batches = Batches(samples, batch, 0)
            runs[name] = with_aekit(build(case, samples, settings), batches, settings)
        median = seconds_of(runs, device, arguments.repeats)
        plain, fast = (2 * batches.per_epoch / median[name] for name in ("plain", "compiled"))
        yield f"{backbone}, batch {batch}: {plain:.4g} steps/s, {fast:.4g} compiled ({fast / plain:.2f} times)"


def embedding(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare the embedding of raw samples with the bare forward pass."""
    for case in CASES:
        if not available(case):
            continue
        count = case.quick * 4 if arguments.quick else case.batch * 16
        images = load_case(case, count, CPU)
        samples = load_case(case, count, device)
        encoder = build(case, samples, Settings(device=device.type)).encoder.eval()
        raw = samples.batch(torch.arange(len(samples)))
        data = images.batch(torch.arange(len(images))).numpy()

        def forward(encoder: Any = encoder, raw: Tensor = raw) -> None:
            with torch.inference_mode():
                for part in raw.split(256):
                    encoder(part).cpu()

        runs = {"bare": forward, "aekit": lambda encoder=encoder, data=data: encoder.embed(data)}
        median = seconds_of(runs, device, arguments.repeats)
        bare_rate, rate = (len(data) / median[name] for name in ("bare", "aekit"))
        yield f"{case.title:28} bare {bare_rate:8.4g}/s, aekit {rate:8.4g}/s, {rate / bare_rate:.2f} of it"


def linear_probe(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Time a linear probe over a path of strengths."""
    count, width = (500, 32) if arguments.quick else (50_000, 512)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    x = (rng.standard_normal((count, width)) + 2 * rng.standard_normal((10, width))[labels] / width**0.5).astype(
        np.float32
    )
    seconds = seconds_of({"probe": lambda: fit_logistic(x, labels, [0.01, 0.1, 1.0])}, device, 1)["probe"]
    yield f"{count:,} x {width}, 10 classes, 3 strengths: {seconds:.3g} s"


def neighbors(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Time exact neighbors, whose cost is a product of matrices."""
    count, width = (2000, 32) if arguments.quick else (100_000, 128)
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    run = {"kNN": lambda: nearest_neighbors(rows[: count // 4], rows, 10, device=device)}
    seconds = seconds_of(run, device, arguments.repeats)["kNN"]
    share = 2 * (count // 4) * count * width / seconds / arguments.peaks.get(torch.float32, float("nan"))
    yield f"{count // 4:,} queries of {count:,} x {width}: {seconds:.3g} s, {share:.1%} of the peak in fp32"


PARTS: dict[str, Callable[[argparse.Namespace, torch.device], Iterator[str]]] = {
    "correct": correct,
    "resume": resume,
    "share": share,
    "peak": peak,
    "train": training,
    "compile": compiled,
    "embed": embedding,
    "probe": linear_probe,
    "kNN": neighbors,
}


def available(case: Case) -> bool:
    """Return whether the network's library is installed."""
    return case.backbone["backbone"] != "timm" or find_spec("timm") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, to know that the script works")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--repeats", type=int, help="default 3, or 1 with --quick")
    parser.add_argument("--steps", type=int, help="approximate steps per measurement; default 40, or 2 with --quick")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no part begins")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (2 if arguments.quick else 40)
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 3)
    arguments.peaks = {}
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        sys.exit(f"--only {','.join(sorted(unknown))}: no such part; expected {', '.join(PARTS)}")
    device = choose_device(arguments.device, "--device")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if uses_bf16(Settings(precision=arguments.precision), IMAGES, device) else "fp32"
    print(
        f"aekit {__version__}, torch {torch.__version__}, {name}, {precision}; medians of {arguments.repeats} after a warm-up"
    )
    began, wrong = time.monotonic(), False
    for part in arguments.only.split(","):
        if time.monotonic() - began > 60 * arguments.minutes:
            print(f"\n{part}: left out, as {arguments.minutes:g} minutes are over", flush=True)
            continue
        started = time.monotonic()
        print(f"\n{part}", flush=True)
        for line in PARTS[part](arguments, device):
            wrong |= line.startswith("WRONG")
            print(f"  {line}", flush=True)
        print(f"  ({time.monotonic() - started:.1f} s)", flush=True)
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
