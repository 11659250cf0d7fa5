"""Compare the speed of aekit's training with the same network in a bare loop and with torch's DataLoader.

    python benchmarks/fit.py [--repeats 5] [--samples 12800] [--precision bf16] [--backbones mlp] [--batch-sizes 128]

All train the same network from the same weights with the same optimizer on the same images; only the input pipeline differs:

- bare: a loop over a uint8 tensor in memory, indexed by a permutation, scaled by one multiplication
- aekit: `aekit.training.loop.train`, with everything it does: schedule, checks of the loss, records (no corruption)
- DataLoader: torch's DataLoader over a Dataset of single images, two workers
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
from aekit.training.recipe import make_recipe
from aekit.training.settings import Settings

CPU = torch.device("cpu")


class SingleImages(Dataset):
    """Images one by one, with a Python call and a conversion per sample, as most training code loads them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index]).float() / 255


def build(backbone: str, samples: Samples, settings: Settings) -> Autoencoder:
    values = {"data": {"source": "memory"}, "encoder": {"backbone": backbone}, "train": settings.model_dump()}
    objective = make_objective(make_recipe(values), samples.spec, fit_preprocess(samples)[0])
    assert isinstance(objective, Autoencoder)
    return objective


def adamw(objective: Autoencoder, settings: Settings) -> torch.optim.Optimizer:
    """Build torch's fastest AdamW, whose weight decay is that of aekit's: on matrices alone."""
    parameters = list(objective.trained())
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay}
    others = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, others], settings.lr, (settings.momentum, 0.999), fused=True)


def step(objective: Autoencoder, optimizer: torch.optim.Optimizer, x: torch.Tensor, settings: Settings) -> None:
    """Train on a scaled batch, the same for all three."""
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
        output = objective.decoder(objective.encoder.encode(x)).float()
        loss = F.binary_cross_entropy_with_logits(output, x, reduction="sum") / len(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def bare(objective: Autoencoder, samples: Samples, settings: Settings) -> Callable[[], None]:
    assert isinstance(samples.data, torch.Tensor)
    data, optimizer = samples.data, adamw(objective, settings)

    def epoch() -> None:
        order = torch.randperm(len(data))
        for start in range(0, len(data) - settings.batch_size + 1, settings.batch_size):
            x = data[order[start : start + settings.batch_size]].float() * (1 / 255)
            step(objective, optimizer, x, settings)

    return epoch


def with_aekit(objective: Autoencoder, samples: Samples, settings: Settings) -> Callable[[], None]:
    batches = Batches(samples, settings.batch_size, settings.seed)

    def epoch() -> None:
        state = State.start(objective, settings)
        for _ in train(state, batches, settings):
            pass

    return epoch


def with_loader(objective: Autoencoder, samples: Samples, settings: Settings) -> Callable[[], None]:
    assert isinstance(samples.data, torch.Tensor)
    images = SingleImages(samples.data.numpy())
    feed = DataLoader(images, settings.batch_size, shuffle=True, drop_last=True, num_workers=2)
    optimizer = adamw(objective, settings)

    def epoch() -> None:
        for x in feed:
            step(objective, optimizer, x, settings)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=12800)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--backbones", nargs="+", default=["mlp", "conv"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[128, 512])
    arguments = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (arguments.samples, 1, 28, 28), dtype=np.uint8)
    samples = load_samples(ArraySource(images), np.arange(len(images)), CPU)
    methods = {"bare": bare, "aekit": with_aekit, "DataLoader": with_loader}

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.precision}, 28x28 images,")
    print(f"median of {arguments.repeats} epochs of {len(images)} samples after a warm-up; samples per second\n")
    print(
        f"{'network':8} {'batch':>5}  {'bare':>8} {'aekit':>8} {'DataLoader':>10}  {'aekit/bare':>10} {'aekit/DataLoader':>16}"
    )
    for backbone in arguments.backbones:
        for size in arguments.batch_sizes:
            settings = Settings(epochs=1, batch_size=size, precision=arguments.precision, schedule="constant", warmup=0)
            epochs = {
                name: method(build(backbone, samples, settings), samples, settings) for name, method in methods.items()
            }
            seconds: dict[str, list[float]] = {name: [] for name in methods}
            for turn in range(arguments.repeats + 1):
                # Interleaved, so that a slow moment of the machine affects all of them.
                for name, epoch in epochs.items():
                    started = time.perf_counter()
                    epoch()
                    if turn:
                        seconds[name].append(time.perf_counter() - started)
            count = len(images) // size * size
            rate = {name: count / statistics.median(times) for name, times in seconds.items()}
            ratio = statistics.median(a / b for a, b in zip(seconds["bare"], seconds["aekit"]))
            loader_ratio = statistics.median(a / b for a, b in zip(seconds["DataLoader"], seconds["aekit"]))
            print(
                f"{backbone:8} {size:5}  {rate['bare']:8.0f} {rate['aekit']:8.0f} {rate['DataLoader']:10.0f}"
                f"  {ratio:10.2f} {loader_ratio:16.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
