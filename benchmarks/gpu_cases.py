"""Networks that the checks and the measurements of a GPU share, and how both measure time."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import torch

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.objectives.base import PretextObjective
from aekit.training.build import make_objective
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

WRONG = "WRONG "
"""How the line of a fault begins."""
Item = TypeVar("Item")


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


def available(case: Case) -> bool:
    """Return whether the network's library is installed."""
    return case.backbone["backbone"] != "timm" or find_spec("timm") is not None


def in_time(arguments: argparse.Namespace, items: Sequence[Item]) -> Iterator[Item]:
    """Yield items until the time of the part is over, then print how many are left out."""
    for number, item in enumerate(items):
        if time.monotonic() > arguments.part_end:
            print(f"  {len(items) - number} of {len(items)} left out, as the time of this part is over", flush=True)
            return
        yield item
