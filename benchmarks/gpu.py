"""Images per second of aekit's fit, against the bare model's forward and backward, for networks small and large, in one run.

    python benchmarks/gpu.py [--quick] [--device auto] [--precision auto] [--repeats 5] [--only resnet]

Made for a GPU; `--quick` takes small batches and few steps, so that a CPU gets through. It needs the folder of real data that
AEKIT_DATA names, and timm for the rows of its networks. An image is one that passes through the network: SimCLR shows it two
views of each sample.

- bare: the encoder's forward and backward and the optimizer's step, over and over on one batch that is there already
- aekit: `aekit.training.loop.train` with SimCLR and all that it does besides: batches gathered from raw bytes, scaled, two
  views of each sample drawn, projector and loss, schedule, checks of the loss, records
- views: milliseconds of a step that go into drawing the two views
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aekit.data.opening import open_data
from aekit.data.samples import Samples, load_samples
from aekit.encoder.preprocessing import fit_preprocess
from aekit.io.device import choose_device
from aekit.objectives.base import PretextObjective
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import make_optimizer
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings, uses_bf16


@dataclass(frozen=True)
class Case:
    """A network on data of a size.

    Attributes:
        data: ``fashion`` or ``caltech``.
        size: pixels of a side.
        batch, quick: samples a step, and those with --quick.
    """

    title: str
    data: str
    size: int
    backbone: Mapping[str, Any]
    batch: int
    quick: int


def timm(model: str, **options: Any) -> dict[str, Any]:
    return {"backbone": "timm", "timm": {"model": model, **options}}


CASES = [
    Case("conv", "fashion", 28, {"backbone": "conv", "conv": {"channels": [32, 64, 128]}}, 1024, 128),
    Case("resnet, small stem", "fashion", 28, {"backbone": "resnet", "resnet": {"stem": "small"}}, 512, 8),
    Case("timm resnet18", "caltech", 224, timm("resnet18", size=224), 128, 4),
    Case("timm efficientnet_lite0", "caltech", 224, timm("tf_efficientnet_lite0", size=224), 128, 4),
    Case("timm vit_small_patch16_224", "caltech", 224, timm("vit_small_patch16_224", size=224), 128, 2),
]


def samples_of(case: Case, count: int, root: Path, device: torch.device) -> Samples:
    if case.data == "fashion":
        source = open_data("torchvision:FashionMNIST")
    else:
        source = open_data(root / "caltech10", {"images": {"size": case.size, "channels": 3}})
    return load_samples(source, np.arange(min(len(source), count)), device)


def built(case: Case, held: Samples, settings: Settings) -> PretextObjective:
    values = {
        "data": {"source": "memory"},
        "encoder": {**case.backbone, "dim": 0},
        "objective": {"pretexts": ["simclr"]},
        "train": settings.model_dump(),
    }
    preprocess = fit_preprocess(held)[0].to(held.device)
    objective = make_objective(make_recipe(values), held.spec, preprocess).to(held.device)
    assert isinstance(objective, PretextObjective)
    objective.start(held)
    return objective.train()


def waited(device: torch.device) -> float:
    """The time when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(objective: PretextObjective, both: Tensor, settings: Settings, steps: int) -> Callable[[], None]:
    """Passes of one batch (2 B, *shape), scaled, through the encoder."""
    encoder, optimizer = objective.encoder, make_optimizer(objective, settings)
    autocast = torch.autocast(
        both.device.type, torch.bfloat16, enabled=uses_bf16(settings, encoder.spec.kind, both.device)
    )

    def run() -> None:
        for _ in range(steps):
            with autocast:
                loss = encoder.encode(both).float().square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def ours(objective: PretextObjective, batches: Batches, settings: Settings) -> Callable[[], None]:
    def run() -> None:
        for _ in train(State.start(objective, settings), batches, settings):
            pass

    return run


def drawing(objective: PretextObjective, x: Tensor) -> Callable[[], None]:
    views, generator = objective.pretext.views, torch.Generator(x.device)

    def run() -> None:
        for _ in range(2):
            views(x, generator)  # type: ignore[operator]

    return run


def row(case: Case, root: Path, arguments: argparse.Namespace, device: torch.device) -> str:
    batch = case.quick if arguments.quick else case.batch
    held = samples_of(case, batch * arguments.steps, root, device)
    epochs = max(1, arguments.steps * batch // len(held))
    settings = Settings(epochs=epochs, batch_size=batch, precision=arguments.precision, device=arguments.device)
    batches = Batches(held, batch, settings.seed)
    steps = epochs * batches.per_epoch
    x = fit_preprocess(held)[0].to(device)(held.batch(torch.arange(batch)))
    objective = built(case, held, settings)
    ways = {
        "bare": bare(built(case, held, settings), torch.cat([x, x]), settings, steps),
        "aekit": ours(objective, batches, settings),
        "views": drawing(objective, x),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.repeats + 1):
        for name, run in ways.items():  # in turns, so that a machine that slows down slows all of them
            started = waited(device)
            run()
            if turn:
                seconds[name].append(waited(device) - started)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    images = 2 * batch * steps
    share = statistics.median(a / b for a, b in zip(seconds["bare"], seconds["aekit"]))
    memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:8.2f}" if device.type == "cuda" else f"{'-':>8}"
    return (
        f"{case.title:28} {'x'.join(map(str, held.spec.shape)):>11} {batch:5} {images / median['bare']:10.4g}"
        f" {images / median['aekit']:10.4g} {share:11.2f} {1000 * median['views']:9.2f} {memory}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, few steps: to see that it runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="in each measurement, about; by default 40, and 3 with --quick")
    parser.add_argument("--only", help="rows whose title has this in it")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (3 if arguments.quick else 40)
    root = Path(os.environ.get("AEKIT_DATA", ""))
    if "AEKIT_DATA" not in os.environ or not root.is_dir():
        sys.exit("AEKIT_DATA names no folder: expected one with fashion-mnist/ and caltech10/")
    device = choose_device(arguments.device, "--device")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if uses_bf16(Settings(precision=arguments.precision), "image", device) else "fp32"
    print(f"torch {torch.__version__}, {name}, {precision}; medians of {arguments.repeats} after one to warm up\n")
    head = f"{'network':28} {'images':>11} {'batch':>5} {'bare /s':>10} {'aekit /s':>10}"
    print(f"{head} {'aekit/bare':>11} {'views ms':>9} {'GiB':>8}")
    for case in CASES:
        if arguments.only and arguments.only not in case.title:
            continue
        if case.backbone["backbone"] == "timm" and not find_spec("timm"):
            print(f"{case.title:28} left out: timm is not installed")
            continue
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        print(row(case, root, arguments, device), flush=True)


if __name__ == "__main__":
    main()
