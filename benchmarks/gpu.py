"""Compare the speed of aekit's training with the bare forward and backward pass, for small and large networks.

    python benchmarks/gpu.py [--quick] [--device auto] [--precision auto] [--repeats 5] [--only resnet]

Made for a GPU; `--quick` uses small batches and few steps for a CPU. It needs the data in AEKIT_DATA, and timm for its networks.
Images are counted as they pass through the network: SimCLR uses two augmented views of each sample.

- bare: forward and backward pass of the encoder and the optimizer's step, repeated on one batch in memory
- aekit: `aekit.training.loop.train` with SimCLR and everything it does: gathering and scaling of batches, augmentation, projector
  and loss, schedule, checks of the loss, records
- views: milliseconds of a step spent on the two augmented views
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
from aekit.data.spec import SampleSpec
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
    """A network and its data.

    Attributes:
        title: title of its row.
        data: ``fashion`` or ``caltech``.
        size: side of the images in pixels.
        backbone: the [encoder] section.
        batch: samples per step.
        quick: samples per step with --quick.
    """

    title: str
    data: str
    size: int
    backbone: Mapping[str, Any]
    batch: int
    quick: int


def timm(model: str, **options: Any) -> dict[str, Any]:
    return {"backbone": "timm", "timm": {"model": model, **options}}


IMAGES = SampleSpec("image", (3, 224, 224), "uint8")

CASES = [
    Case("conv", "fashion", 28, {"backbone": "conv", "conv": {"channels": [32, 64, 128]}}, 1024, 128),
    Case("resnet, small stem", "fashion", 28, {"backbone": "resnet", "resnet": {"stem": "small"}}, 512, 8),
    Case("timm resnet18", "caltech", 224, timm("resnet18", size=224), 128, 4),
    Case("timm efficientnet_lite0", "caltech", 224, timm("tf_efficientnet_lite0", size=224), 128, 4),
    Case("timm vit_small_patch16_224", "caltech", 224, timm("vit_small_patch16_224", size=224), 128, 2),
]


def load_case(case: Case, count: int, root: Path, device: torch.device) -> Samples:
    if case.data == "fashion":
        source = open_data("torchvision:FashionMNIST")
    else:
        source = open_data(root / "caltech10", {"images": {"size": case.size, "channels": 3}})
    return load_samples(source, np.arange(min(len(source), count)), device)


def build(case: Case, samples: Samples, settings: Settings) -> PretextObjective:
    values = {
        "data": {"source": "memory"},
        "encoder": {**case.backbone, "dim": 0},
        "objective": {"pretexts": ["simclr"]},
        "train": settings.model_dump(),
    }
    preprocess = fit_preprocess(samples)[0].to(samples.device)
    objective = make_objective(make_recipe(values), samples.spec, preprocess).to(samples.device)
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
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def with_aekit(objective: PretextObjective, batches: Batches, settings: Settings) -> Callable[[], None]:
    def run() -> None:
        for _ in train(State.start(objective, settings), batches, settings):
            pass

    return run


def augmentation(objective: PretextObjective, x: Tensor) -> Callable[[], None]:
    augmentation, generator = objective.pretext.augmentation, torch.Generator(x.device)

    def run() -> None:
        for _ in range(2):
            augmentation(x, generator)  # type: ignore[operator]

    return run


def row(case: Case, root: Path, arguments: argparse.Namespace, device: torch.device) -> str:
    batch = case.quick if arguments.quick else case.batch
    samples = load_case(case, batch * arguments.steps, root, device)
    epochs = max(1, arguments.steps * batch // len(samples))
    settings = Settings(epochs=epochs, batch_size=batch, precision=arguments.precision, device=arguments.device)
    batches = Batches(samples, batch, settings.seed)
    steps = epochs * batches.per_epoch
    x = fit_preprocess(samples)[0].to(device)(samples.batch(torch.arange(batch)))
    objective = build(case, samples, settings)
    methods = {
        "bare": bare(build(case, samples, settings), torch.cat([x, x]), settings, steps),
        "aekit": with_aekit(objective, batches, settings),
        "views": augmentation(objective, x),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(arguments.repeats + 1):
        for name, run in methods.items():  # interleaved, so that a slow moment of the machine affects all of them
            started = synchronized_time(device)
            run()
            if turn:
                seconds[name].append(synchronized_time(device) - started)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    images = 2 * batch * steps
    ratio = statistics.median(a / b for a, b in zip(seconds["bare"], seconds["aekit"]))
    memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:8.2f}" if device.type == "cuda" else f"{'-':>8}"
    return (
        f"{case.title:28} {'x'.join(map(str, samples.spec.shape)):>11} {batch:5} {images / median['bare']:10.4g}"
        f" {images / median['aekit']:10.4g} {ratio:11.2f} {1000 * median['views']:9.2f} {memory}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches and few steps")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, help="approximate steps per measurement; default 40, or 3 with --quick")
    parser.add_argument("--only", help="rows whose title contains this")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (3 if arguments.quick else 40)
    root = Path(os.environ.get("AEKIT_DATA", ""))
    if "AEKIT_DATA" not in os.environ or not root.is_dir():
        sys.exit("AEKIT_DATA is no folder; expected one with fashion-mnist/ and caltech10/")
    device = choose_device(arguments.device, "--device")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    precision = "bf16" if uses_bf16(Settings(precision=arguments.precision), IMAGES, device) else "fp32"
    print(f"torch {torch.__version__}, {name}, {precision}; medians of {arguments.repeats} after a warm-up\n")
    head = f"{'network':28} {'images':>11} {'batch':>5} {'bare /s':>10} {'aekit /s':>10}"
    print(f"{head} {'aekit/bare':>11} {'views ms':>9} {'GiB':>8}")
    for case in CASES:
        if arguments.only and arguments.only not in case.title:
            continue
        if case.backbone["backbone"] == "timm" and not find_spec("timm"):
            print(f"{case.title:28} skipped: timm is not installed")
            continue
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        print(row(case, root, arguments, device), flush=True)


if __name__ == "__main__":
    main()
