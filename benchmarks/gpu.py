"""Check a GPU that aekit has not seen before, in one script of under 8 minutes, and measure what it gives.

    python benchmarks/gpu.py [--quick] [--device auto] [--precision auto] [--only train,embed] [--minutes 8]

It needs no data and no network, but aekit installed with its plugins: `pip install -e .` in this folder, or, where nothing can be
downloaded, `pip install --no-index --no-deps --find-links wheels -e .` after `pip download -d wheels` of what is missing there
elsewhere. timm's networks are left out where timm is not installed. `--quick --device cpu` runs every part with small numbers,
to know that the script works. A part that fails is named in the table at the end, and the next one runs; what the minutes do not
suffice for is named and left out. In order:

- correct: every variant and pretext task on every kind of sample: embedding, loss and gradients on the device against the CPU, in
  fp32, with the same random numbers; the largest relative difference
- resume: a run restored in the middle against an uninterrupted one
- share: steps whose weights several processes share (FSDP2) against steps with whole weights: in a process of its own on one
  device, and by NCCL on all GPUs of the machine where it has several; the peaks of the device's memory
- evaluate: neighbors, linear probes and their like on the device against the CPU
- peak: products of large matrices, which is what the shares of the peak refer to
- train: images per second of `aekit.training.loop.train` with SimCLR against forward, backward and the optimizer alone on one
  batch in memory; two views of a sample are two images
- embed, probe, kNN: embedding of raw samples against the bare forward pass; a linear probe; neighbors
- compile: steps per second of small networks, whose time is launches of kernels, with and without train.compile, which needs a
  C compiler
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gpu_cases import CASES, WRONG, Case, available, build, in_time, load_case, seconds_of
from gpu_correctness import CPU, correct, resume, share
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from aekit.data.spec import SampleSpec
from aekit.encoder.inference import Precision
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import first_line
from aekit.evaluation.linear.draws import fit_draws
from aekit.evaluation.linear.probe import fit_logistic
from aekit.evaluation.linear.ridge import fit_ridge
from aekit.evaluation.neighbors import nearest_neighbors, rank_neighbors
from aekit.io.device import choose_device, multiplies_bf16
from aekit.objectives.base import PretextObjective
from aekit.registry.discovery import registry
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import make_optimizer
from aekit.training.settings import Settings, uses_bf16
from aekit.version import __version__

IMAGES = SampleSpec("image", (3, 224, 224), "uint8")
EVALUATION_TOLERANCE = 0.01
"""Difference of coefficients and similarities, which are of size 1."""
MOST = {"correct": 0.45}
"""Fraction of the minutes that a part may take; others may take all that is left."""
GRACE = 45.0
"""Seconds after the minutes are over in which the part that runs may end; then it is named, and the script ends."""


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


def evaluated(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare neighbors and linear models on the device with those on the CPU."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2000, 24)).astype(np.float32)
    classes = (rows[:, :3] + 0.5 * rng.standard_normal((2000, 3))).argmax(axis=1)
    draws, of_draws = rows[:600].reshape(20, 30, 24), np.tile(np.arange(3), 200).reshape(20, 30)
    strengths = [0.01, 0.1, 1.0]
    computed: dict[str, Callable[[torch.device], np.ndarray]] = {
        "neighbors, cosine": lambda place: nearest_neighbors(rows[:500], rows, 20, device=place)[0],
        "neighbors, l2": lambda place: nearest_neighbors(rows[:500], rows, 20, metric="l2", device=place)[0],
        "probe": lambda place: fit_logistic(rows, classes, strengths, device=place).coef,
        "probe of wide features": lambda place: (
            fit_logistic(rows.reshape(100, -1), classes[:100], [0.01], device=place).coef
        ),
        "probe of several labels": lambda place: fit_logistic(rows, rows[:, :4] > 0, [0.1], device=place).coef,
        "probe of draws": lambda place: fit_draws(draws, of_draws, strengths, tolerance=1e-6, device=place),
        "ridge": lambda place: fit_ridge(rows, rows[:, 0] ** 2, strengths, device=place).coef,
    }
    for name, compute in computed.items():
        difference = float(np.abs(compute(device) - compute(CPU)).max())
        yield f"{'' if difference < EVALUATION_TOLERANCE else WRONG}{name}: within {difference:.1g}"
    orders = [np.concatenate([p for _, p in rank_neighbors(rows[:200], rows, device=place)]) for place in (device, CPU)]
    equal = float((orders[0] == orders[1]).mean())
    yield f"{'' if equal > 0.99 else WRONG}rankings: {equal:.2%} of the positions are equal"


def peak(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Measure products of large matrices."""
    side, products = (512, 2) if arguments.quick else (8192, 10)
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side, device=device).to(dtype)
        run = {"products": lambda a=a: [torch.mm(a, a) for _ in range(products)][-1]}
        arguments.peaks[dtype] = products * 2 * side**3 / seconds_of(run, device, arguments.repeats)["products"]
        yield f"{str(dtype).removeprefix('torch.')}: {arguments.peaks[dtype] / 1e12:.3g} TFLOP/s"


def training(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare training with its network alone."""
    head = f"{'network':28} {'images':>11} {'batch':>5} {'bare /s':>9} {'aekit /s':>9}"
    yield f"{head} {'aekit/bare':>10} {'of peak':>7} {'GiB':>6}"
    for case in in_time(arguments, [case for case in CASES if available(case)]):
        batch = case.quick if arguments.quick else case.batch
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        samples = load_case(case, batch * arguments.steps, device)
        epochs = max(1, arguments.steps * batch // len(samples))
        settings = Settings(epochs=epochs, batch_size=batch, precision=arguments.precision, device=str(device))
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
        share = images * counter.get_total_flops() / median["aekit"] / arguments.peaks.get(used, math.nan)
        memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:6.2f}" if device.type == "cuda" else f"{'-':>6}"
        yield (
            f"{case.title:28} {'x'.join(map(str, samples.spec.shape)):>11} {batch:5} {images / median['bare']:9.4g}"
            f" {images / median['aekit']:9.4g} {median['bare'] / median['aekit']:10.2f} {share:7.1%} {memory}"
        )


def compiled(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare steps of small networks with and without the compiler."""
    for backbone in in_time(arguments, ("mlp", "conv")):
        case = Case(backbone, 1, 28, {"backbone": backbone}, 128, 32)
        batch = case.quick if arguments.quick else case.batch
        samples = load_case(case, batch * arguments.steps, device)
        runs: dict[str, Callable[[], object]] = {}
        for name, compile in (("plain", False), ("compiled", True)):
            settings = Settings(
                batch_size=batch, precision=arguments.precision, epochs=2, compile=compile, device=str(device)
            )
            batches = Batches(samples, batch, 0)
            runs[name] = with_aekit(build(case, samples, settings), batches, settings)
        median = seconds_of(runs, device, arguments.repeats)
        plain, fast = (2 * batches.per_epoch / median[name] for name in ("plain", "compiled"))
        yield f"{backbone}, batch {batch}: {plain:.4g} steps/s, {fast:.4g} compiled ({fast / plain:.2f} times)"


def embedding(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Compare the embedding of raw samples with the bare forward pass in the same precision."""
    precisions: list[Precision] = ["fp32", "bf16"] if multiplies_bf16(device) else ["fp32"]
    for case in in_time(arguments, [case for case in CASES if available(case)]):
        count = case.quick * 4 if arguments.quick else case.batch * 16
        samples = load_case(case, count, device)
        encoder = build(case, samples, Settings(device=str(device))).encoder.eval()
        raw = samples.batch(torch.arange(len(samples)))
        data = raw.cpu().numpy()
        for precision in precisions:

            def forward(encoder: Any = encoder, raw: Tensor = raw, precision: str = precision) -> None:
                low = torch.autocast(raw.device.type, torch.bfloat16, enabled=precision == "bf16")
                with torch.inference_mode(), low:
                    for part in raw.split(256):
                        encoder(part).float().cpu()

            def embed(encoder: Any = encoder, data: np.ndarray = data, precision: str = precision) -> None:
                encoder.embed(data, precision=precision, progress=False)

            median = seconds_of({"bare": forward, "aekit": embed}, device, arguments.repeats)
            bare_rate, rate = (len(data) / median[name] for name in ("bare", "aekit"))
            rates = f"bare {bare_rate:8.4g}/s, aekit {rate:8.4g}/s, {rate / bare_rate:.2f} of it"
            yield f"{case.title:28} {precision}: {rates}"


def linear_probe(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Time a linear probe over a path of strengths."""
    count, width = (500, 32) if arguments.quick else (50_000, 512)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    x = (rng.standard_normal((count, width)) + 2 * rng.standard_normal((10, width))[labels] / width**0.5).astype(
        np.float32
    )
    run = {"probe": lambda: fit_logistic(x, labels, [0.01, 0.1, 1.0], device=device)}
    seconds = seconds_of(run, device, 1)["probe"]
    yield f"{count:,} x {width}, 10 classes, 3 strengths: {seconds:.3g} s"


def neighbors(arguments: argparse.Namespace, device: torch.device) -> Iterator[str]:
    """Time exact neighbors, whose cost is a product of matrices."""
    count, width = (2000, 32) if arguments.quick else (100_000, 128)
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    run = {"kNN": lambda: nearest_neighbors(rows[: count // 4], rows, 10, device=device)}
    seconds = seconds_of(run, device, arguments.repeats)["kNN"]
    share = 2 * (count // 4) * count * width / seconds / arguments.peaks.get(torch.float32, math.nan)
    yield f"{count // 4:,} queries of {count:,} x {width}: {seconds:.3g} s, {share:.1%} of the peak in fp32"


PARTS: dict[str, Callable[[argparse.Namespace, torch.device], Iterator[str]]] = {
    "correct": correct,
    "resume": resume,
    "share": share,
    "evaluate": evaluated,
    "peak": peak,
    "train": training,
    "embed": embedding,
    "probe": linear_probe,
    "kNN": neighbors,
    "compile": compiled,
}


def run_part(part: str, arguments: argparse.Namespace, device: torch.device) -> str:
    """Run a part, print its lines as they come, and return its outcome: ``ok``, or what is wrong."""
    print(f"\n{part}: {(PARTS[part].__doc__ or '').splitlines()[0]}", flush=True)
    wrong = 0
    try:
        for line in PARTS[part](arguments, device):
            wrong += line.startswith(WRONG)
            print(f"  {line}", flush=True)
    except Exception as error:  # the other parts are worth knowing
        traceback.print_exc()
        return f"failed: {type(error).__name__}: {first_line(error)}"
    return f"{wrong} wrong" if wrong else "ok"


def print_table(outcomes: dict[str, tuple[float, str]]) -> None:
    print(f"\n{'part':10} {'seconds':>8}  outcome")
    for part, (seconds, outcome) in outcomes.items():
        print(f"{part:10} {seconds:8.1f}  {outcome}", flush=True)


def arguments_of_command() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small numbers, to know that the script works")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--repeats", type=int, help="default 3, or 1 with --quick")
    parser.add_argument("--steps", type=int, help="approximate steps per measurement; default 40, or 2 with --quick")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which nothing further begins; default 7")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (2 if arguments.quick else 40)
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 3)
    arguments.end, arguments.peaks = time.monotonic() + 60 * arguments.minutes, {}
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        sys.exit(f"--only {','.join(sorted(unknown))}: no such part; expected {', '.join(PARTS)}")
    return arguments


def main() -> None:
    arguments = arguments_of_command()
    if not any(plugin.distribution == "aekit" for plugin in registry().by_kind("variant")):
        sys.exit("aekit's plugins are not found, as it is not installed here: pip install --no-deps --no-index -e .")
    device = choose_device(arguments.device, "--device")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if uses_bf16(Settings(precision=arguments.precision), IMAGES, device) else "fp32"
    print(
        f"aekit {__version__}, torch {torch.__version__}, {name}, {precision}; medians of {arguments.repeats} after a warm-up"
    )
    if absent := [case.title for case in CASES if not available(case)]:
        print(f"left out, as timm is not installed: {', '.join(absent)}")
    outcomes: dict[str, tuple[float, str]] = {}
    started, part = time.monotonic(), ""

    def stop() -> None:
        outcomes[part] = time.monotonic() - started, f"stopped, as {arguments.minutes:g} minutes are over"
        print_table(outcomes)
        os._exit(1)

    watch = threading.Timer(60 * arguments.minutes + GRACE, stop)
    watch.daemon = True
    watch.start()
    for part in arguments.only.split(","):
        started = time.monotonic()
        if started > arguments.end:
            outcomes[part] = 0.0, f"left out, as {arguments.minutes:g} minutes are over"
        else:
            arguments.part_end = min(arguments.end, started + 60 * arguments.minutes * MOST.get(part, 1))
            outcome = run_part(part, arguments, device)
            outcomes[part] = time.monotonic() - started, outcome
    watch.cancel()
    print_table(outcomes)
    sys.exit(int(any(outcome != "ok" for _, outcome in outcomes.values())))


if __name__ == "__main__":
    main()
