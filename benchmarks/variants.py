"""Compare the training step of every variant with the plain step of the same network.

    python benchmarks/variants.py [--repeats 15] [--batch 128] [--precision fp32] [--only contractive]

A step is the loss, its gradient, the optimizer and the variant's work after it, on one batch of 28x28 images in memory. Variant
and plain steps alternate, so that a slow moment of the machine affects both; each ratio is of two consecutive steps, and the
table shows their medians. Variants use their defaults and the settings that they require.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.encoder.preprocessing import fit_preprocess
from aekit.objectives.base import Batch
from aekit.registry.discovery import registry
from aekit.training.build import make_objective
from aekit.training.optimizer import make_optimizer
from aekit.training.recipe import make_recipe

Network = Mapping[str, Any]
ONE_LAYER: Network = {"backbone": "mlp", "dim": 0, "mlp": {"hidden": [1000], "activation": "sigmoid"}}
MLP: Network = {"backbone": "mlp", "dim": 32}
DEEP: Network = {"backbone": "mlp", "dim": 30, "mlp": {"hidden": [1000, 500, 250], "activation": "sigmoid"}}
CONV: Network = {"backbone": "conv", "dim": 32}
GROUP: Network = {"backbone": "conv", "dim": 32, "conv": {"norm": "group"}}
NETWORKS = {"784-1000": ONE_LAYER, "mlp": MLP, "784-1000-500-250-30": DEEP, "conv": CONV, "conv, group norm": GROUP}
CONTRACTIVE: list[tuple[str, dict[str, Any]]] = [
    ("784-1000", {"method": "closed-form"}),
    ("784-1000", {"method": "closed-form", "second_order_weight": 0.1}),
    ("784-1000", {"method": "hutchinson"}),
    ("mlp", {"method": "hutchinson"}),
    ("mlp", {"method": "hutchinson", "batch_fraction": 1.0}),
    ("784-1000-500-250-30", {"method": "hutchinson"}),
    ("conv", {"method": "hutchinson"}),
    ("conv, group norm", {"method": "hutchinson"}),
]
"""Networks and options of the contractive variant."""


def steppers(
    variant: str, network: Network, options: Mapping[str, Any], samples: Samples, settings: argparse.Namespace
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return functions that take a step of the variant and a plain step of the same network."""
    required = getattr(registry().get("variant", variant, required_by="the benchmark").load(), "requires", {})
    raw = samples.batch(torch.arange(settings.batch))

    def stepper(name: str, options: Mapping[str, Any]) -> Callable[[], None]:
        values = {
            "data": {"source": "memory"},
            "encoder": dict(network),
            "objective": {"variants": [name], name: dict(options)},
            "train": {"precision": settings.precision},
        }
        recipe = make_recipe(values, required)
        objective = make_objective(recipe, samples.spec, fit_preprocess(samples)[0])
        objective.start(samples)
        objective.train()
        optimizer, generator = make_optimizer(objective, recipe.train), torch.Generator()

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = objective.loss(Batch(raw), generator)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            objective.after_step()

        return step

    return stepper(variant, options), stepper("plain", {})


def seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", help="one variant")
    settings = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (settings.batch, 1, 28, 28), dtype=np.uint8)
    samples = load_samples(ArraySource(images), np.arange(settings.batch), torch.device("cpu"))
    cases = [("contractive", network, options) for network, options in CONTRACTIVE]
    names = [plugin.name for plugin in registry().by_kind("variant") if plugin.distribution == "aekit"]
    cases += [(name, "mlp", {}) for name in names if name not in ("plain", "contractive")]

    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {settings.precision}, batch {settings.batch},"
    )
    print(f"medians of {settings.repeats} steps after two warm-up steps; milliseconds per step\n")
    print(f"{'variant':16} {'network':20} {'options':36} {'plain':>7} {'variant':>8} {'ratio':>6}")
    for variant, network, options in cases:
        if settings.only not in (None, variant):
            continue
        step, plain = steppers(variant, NETWORKS[network], options, samples, settings)
        times = [(seconds(plain), seconds(step)) for _ in range(settings.repeats + 2)][2:]
        before, after = (1000 * statistics.median(side) for side in zip(*times))
        ratio = statistics.median(ours / theirs for theirs, ours in times)
        chosen = ", ".join(f"{name}={value}" for name, value in options.items())
        print(f"{variant:16} {network:20} {chosen:36} {before:7.1f} {after:8.1f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
