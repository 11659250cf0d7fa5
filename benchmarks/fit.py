"""Samples per second of aekit's fit, against the same network in a bare loop and behind torch's DataLoader, in one run.

    python benchmarks/fit.py [--repeats 5] [--samples 12800]

Every way trains the same network from the same weights with the same optimizer on the same images; only what feeds it differs:

- bare: a loop over a uint8 tensor in memory, indexed by a permutation, scaled by one multiplication
- aekit: `aekit.training.loop.train`, with all that it does besides: corruption off, schedule, checks of the loss, records
- DataLoader: torch's DataLoader over a Dataset that hands out one image at a time, two workers
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.objectives.autoencoder import Autoencoder
from aekit.training.batches import Batches
from aekit.training.build import make_objective
from aekit.training.checkpoint import State
from aekit.training.loop import train
from aekit.training.optimizer import make_optimizer
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

CPU = torch.device("cpu")


class OneByOne(Dataset):
    """How most training code hands out images: a Python call and a conversion a sample."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index]).float() / 255


def build(backbone: str, held: Samples, settings: Settings) -> Autoencoder:
    values = {"data": {"source": "memory"}, "encoder": {"backbone": backbone}, "train": settings.model_dump()}
    objective = make_objective(make_recipe(values), held.spec, fit_preprocess(held)[0])
    assert isinstance(objective, Autoencoder)
    return objective


def step(objective: Autoencoder, optimizer: torch.optim.Optimizer, x: torch.Tensor, settings: Settings) -> None:
    """What any of the three does with a scaled batch."""
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
        output = objective.decoder(objective.encoder.encode(x)).float()
        loss = F.binary_cross_entropy_with_logits(output, x, reduction="sum") / len(x)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def bare(objective: Autoencoder, held: Samples, settings: Settings) -> Callable[[], None]:
    assert isinstance(held.data, torch.Tensor)
    data, optimizer = held.data, make_optimizer(objective, settings)

    def epoch() -> None:
        order = torch.randperm(len(data))
        for start in range(0, len(data) - settings.batch_size + 1, settings.batch_size):
            x = data[order[start : start + settings.batch_size]].float() * (1 / 255)
            step(objective, optimizer, x, settings)

    return epoch


def ours(objective: Autoencoder, held: Samples, settings: Settings) -> Callable[[], None]:
    batches = Batches(held, settings.batch_size, settings.seed)

    def epoch() -> None:
        state = State.start(objective, settings)
        for _ in train(state, batches, settings):
            pass

    return epoch


def loader(objective: Autoencoder, held: Samples, settings: Settings) -> Callable[[], None]:
    assert isinstance(held.data, torch.Tensor)
    images = OneByOne(held.data.numpy())
    feed = DataLoader(images, settings.batch_size, shuffle=True, drop_last=True, num_workers=2)
    optimizer = make_optimizer(objective, settings)

    def epoch() -> None:
        for x in feed:
            step(objective, optimizer, x, settings)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=12800)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (arguments.samples, 1, 28, 28), dtype=np.uint8)
    held = load_samples(ArraySource(images), np.arange(len(images)), CPU)
    ways = {"bare": bare, "aekit": ours, "DataLoader": loader}

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.precision}, 28x28 images,")
    print(f"median of {arguments.repeats} epochs of {len(images)} samples after one to warm up; samples a second\n")
    print(
        f"{'network':8} {'batch':>5}  {'bare':>8} {'aekit':>8} {'DataLoader':>10}  {'aekit/bare':>10} {'aekit/DataLoader':>16}"
    )
    for backbone in ("mlp", "conv"):
        for size in (128, 512):
            settings = Settings(epochs=1, batch_size=size, precision=arguments.precision, schedule="constant", warmup=0)
            epochs = {name: way(build(backbone, held, settings), held, settings) for name, way in ways.items()}
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(arguments.repeats + 1):
                # In turns, so that a machine that slows down slows all of them.
                for name, epoch in epochs.items():
                    started = time.perf_counter()
                    epoch()
                    if turn:
                        seconds[name].append(time.perf_counter() - started)
            count = len(images) // size * size
            rate = {name: count / statistics.median(times) for name, times in seconds.items()}
            ratio = statistics.median(a / b for a, b in zip(seconds["bare"], seconds["aekit"]))
            against = statistics.median(a / b for a, b in zip(seconds["DataLoader"], seconds["aekit"]))
            print(
                f"{backbone:8} {size:5}  {rate['bare']:8.0f} {rate['aekit']:8.0f} {rate['DataLoader']:10.0f}"
                f"  {ratio:10.2f} {against:16.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
