"""Compare the speed of aekit's inference with loops written by hand over the same network.

    python benchmarks/embed.py [--images 192] [--rows 200000] [--repeats 3] [--cpu-time]

Photographs of Caltech-101 in $AEKIT_DATA by EfficientNet-Lite0, without start-up:

- aekit: `aekit.embed`, with decoding, hashes, ids and labels
- fp32, bf16: timm's network on decoded batches of 64, channels last, by hand; the better of this and batches of 8 counts
- decode: decoding the photographs alone, as aekit does

and bytes by a small dense encoder:

- aekit: `aekit.embed`
- fp32: the same layers on slices of 256 rows, by hand

The methods alternate, so that other load on the machine affects all; rates are medians of samples per second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aekit.data.opening import open_data
from aekit.data.source import ArraySource, Source
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.inference import agreement
from aekit.encoder.preprocessing import Preprocess

FRAMING = {"size": 224, "resize": "torchvision", "crop_pct": 0.875, "interpolation": "bicubic", "channels": 3}
BATCHES = (8, 64)
Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=192, help="number of photographs, at most 800")
    parser.add_argument("--rows", type=int, default=200_000, help="number of rows of 784 bytes; 1000000 needs 3 GB")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor time on one thread: steadier beside other work"
    )
    arguments = parser.parse_args()
    if arguments.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    seconds = "processor" if arguments.cpu_time else "wall-clock"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {seconds} time,")
    print(f"median of {arguments.repeats} rounds after a warm-up")
    photographs(arguments.images, arguments.repeats, clock)
    rows_of_bytes(arguments.rows, arguments.repeats, clock)


def photographs(count: int, repeats: int, clock: Clock) -> None:
    data = Path(os.environ["AEKIT_DATA"])
    source = open_data(str(data / "caltech10" / "index.csv"), {"images": FRAMING})
    positions = np.linspace(0, len(source) - 1, count).astype(int)
    encoder = lite0(source, data / "weights" / "efficientnet_lite0_in1k.safetensors")
    raw, _ = source.read(positions)
    chosen = Subset(source, positions)
    by_hand = nn.Sequential(encoder.preprocess, encoder.backbone)
    methods: dict[str, Callable[[], object]] = {"aekit": lambda: encoder.embed(chosen, progress=False)}
    for precision in ("fp32", "bf16"):
        for batch in BATCHES:
            methods[f"{precision}, {batch}"] = loop(by_hand, raw, batch, precision)
    methods["decode"] = lambda: source.read(positions)
    rate = rates(methods, count, repeats, clock)
    best = {name: max(rate[f"{name}, {batch}"] for batch in BATCHES) for name in ("fp32", "bf16")}
    print(f"\n{count} photographs of 224 x 224 by EfficientNet-Lite0: photographs per second")
    print(f"{'aekit':>8} {'fp32':>8} {'bf16':>8} {'decode':>8}  {'aekit/fp32':>10} {'aekit/bf16':>10}")
    columns = (rate["aekit"], best["fp32"], best["bf16"], rate["decode"])
    print(" ".join(f"{value:8.1f}" for value in columns), end="  ")
    print(f"{rate['aekit'] / best['fp32']:10.2f} {rate['aekit'] / best['bf16']:10.2f}")
    embeddings = encoder.embed(chosen, progress=False)
    plain, coarse = (torch.from_numpy(loop(by_hand, raw, 8, precision)()) for precision in ("fp32", "bf16"))
    error = float((torch.from_numpy(embeddings.vectors) - plain).norm() / plain.norm())
    cosine, centered = agreement(coarse, plain)
    print(
        f"aekit computed in {embeddings.precision}; its vectors differ from those by hand in fp32 by {error:.1e} of their length"
    )
    print(f"bf16 by hand: mean cosine similarity to fp32 {cosine:.5f}, {centered:.5f} around their mean")


def rows_of_bytes(count: int, repeats: int, clock: Clock) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    source = ArraySource(images)
    encoder = build(source, "mlp", {"hidden": [512]}, 16)
    network = nn.Sequential(encoder.preprocess, encoder.backbone, encoder.head)
    methods = {
        "aekit": lambda: encoder.embed(source, progress=False),
        "fp32": loop(network, images, 256, "fp32"),
    }
    rate = rates(methods, count, repeats, clock)
    print(f"\n{count} x 784 bytes by a dense network of 784-512-16: rows per second")
    print(f"{'aekit':>8} {'fp32':>8}  {'aekit/fp32':>10}")
    print(f"{rate['aekit']:8.0f} {rate['fp32']:8.0f}  {rate['aekit'] / rate['fp32']:10.2f}")


class Subset(Source):
    """Some samples of a source."""

    def __init__(self, source: Source, positions: np.ndarray) -> None:
        self.source, self.positions, self.spec, self.skipped = source, positions, source.spec, {}
        self.ids = [source.ids[position] for position in positions]
        self.read = lambda indices: source.read(positions[indices])  # type: ignore[method-assign]
        self.fingerprints = lambda indices: source.fingerprints(positions[indices])  # type: ignore[method-assign]


def build(source: Source, backbone: str, options: dict[str, object], dim: int) -> Encoder:
    """Build an encoder with random weights for images of bytes."""
    ones = torch.ones(source.spec.shape[0], 1, 1)
    preprocess = Preprocess("unit", True, ones / 255, 0 * ones, 0 * ones, ones)
    architecture = {"backbone": {"name": backbone, "options": options}, "head": None, "dim": dim, "normalize": False}
    return build_encoder(source.spec, preprocess, architecture, seed=0).eval()


def lite0(source: Source, weights: Path) -> Encoder:
    encoder = build(source, "timm", {"model": "tf_efficientnet_lite0"}, 0)
    encoder.backbone.load_pretrained(str(weights), encoder.preprocess)
    return encoder


def loop(network: nn.Module, raw: np.ndarray, size: int, precision: str) -> Callable[[], np.ndarray]:
    """Return a plain loop over decoded samples."""
    samples = torch.from_numpy(raw)

    @torch.inference_mode()
    def run() -> np.ndarray:
        vectors = []
        for batch in samples.split(size):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                vectors.append(network(batch).float().numpy())
        return np.concatenate(vectors)

    return run


def rates(methods: dict[str, Callable[[], object]], count: int, repeats: int, clock: Clock) -> dict[str, float]:
    """Return name -> median of samples per second."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(repeats + 1):
        for name, method in methods.items():
            started = clock()
            method()
            if turn:
                seconds[name].append(clock() - started)
    return {name: count / statistics.median(times) for name, times in seconds.items()}


if __name__ == "__main__":
    main()
