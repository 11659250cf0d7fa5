"""Plant 12 transformations of photographs among others, and measure which of them `aekit.find_duplicates` finds.

    python benchmarks/duplicates.py                                # caltech10 in AEKIT_DATA, every second photograph
    python benchmarks/duplicates.py --photographs FOLDER --every 1
    python benchmarks/duplicates.py --run RUN                      # embeddings of this run are used too

Every photograph gets one transformed copy, drawn by the seed. Recall is the fraction of the copies in a group with their
photograph, precision the fraction of the pairs of files in one group that are a copy and its photograph. Pairs of two photographs
count as false, though some may be near duplicates of others.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

import aekit

Draw = np.random.Generator


def cropped(image: Image.Image, fraction: float, rng: Draw) -> Image.Image:
    """Cut a part of an image at a random place; `fraction` is its part of the width and of the height."""
    width, height = (round(fraction * side) for side in image.size)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


TRANSFORMATIONS: dict[str, Callable[[Image.Image, Draw], Image.Image]] = {
    "equal file": lambda image, rng: image,
    "JPEG of quality 30": lambda image, rng: image,
    "WebP of quality 50": lambda image, rng: image,
    "half the size": lambda image, rng: image.resize((image.width // 2, image.height // 2)),
    "1.5 times the size": lambda image, rng: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "1.3 times as wide": lambda image, rng: image.resize((round(image.width * 1.3), image.height)),
    "rotated by 90 degrees": lambda image, rng: image.rotate(90, expand=True),
    "rotated by 180 degrees": lambda image, rng: image.rotate(180),
    "mirrored": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "brighter by 30%": lambda image, rng: ImageEnhance.Brightness(image).enhance(1.3),
    "cropped to 90%": lambda image, rng: cropped(image, 0.9, rng),
    "cropped to 80%": lambda image, rng: cropped(image, 0.8, rng),
}

SOURCES = "(two photographs)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=Path(os.environ.get("AEKIT_DATA", ".")) / "caltech10")
    parser.add_argument("--every", type=int, default=2, help="use every n-th photograph")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--run", help="a run or an encoder to embed the photographs with")
    arguments = parser.parse_args()
    files = sorted(arguments.photographs.rglob("*.jpg"))[:: arguments.every]
    counts = {name: np.zeros(4, int) for name in (*TRANSFORMATIONS, SOURCES)}
    seconds = 0.0
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as place:
            kinds = plant(files, Path(place), seed)
            start = time.perf_counter()
            data = aekit.embed(arguments.run, place, progress=False) if arguments.run else place
            groups = aekit.find_duplicates(data, progress=False).groups
            seconds += time.perf_counter() - start
            count(groups, kinds, counts)
    print(
        f"{len(files)} photographs and as many copies, {arguments.seeds} seeds, {seconds / arguments.seeds:.0f} s each"
    )
    print(f"{'transformation':24} {'copies':>7} {'recall':>7} {'precision':>10}")
    total = np.sum(list(counts.values()), axis=0)
    for name, (copies, hits, true, pairs) in [*counts.items(), ("all", total)]:
        if copies or pairs:
            print(f"{name:24} {copies:7d} {hits / max(1, copies):7.3f} {true / max(1, pairs):10.3f}")


def plant(files: list[Path], place: Path, seed: int) -> dict[str, str]:
    """Write the photographs and a transformed copy of each; return the name of each copy -> its transformation."""
    rng = np.random.default_rng(seed)
    names = list(TRANSFORMATIONS)
    order = rng.permutation(len(files))
    kinds = {}
    for number, file in enumerate(files):
        shutil.copy(file, place / f"{number}-photograph.jpg")
        name = names[order[number] % len(names)]
        with Image.open(file) as image:
            changed = TRANSFORMATIONS[name](image.convert("RGB"), rng)
        ending, quality = ("webp", 50) if "WebP" in name else ("jpg", 30 if "JPEG" in name else 85)
        target = place / f"{number}-copy.{ending}"
        if name == "equal file":
            shutil.copy(file, target)
        else:
            changed.save(target, quality=quality)
        kinds[target.name] = name
    return kinds


def count(groups: list[list[str]], kinds: dict[str, str], counts: dict[str, np.ndarray]) -> None:
    """Add the copies, those found, the true pairs and all pairs of each transformation to the counts."""
    for kind in kinds.values():
        counts[kind][0] += 1
    for group in groups:
        for pair in combinations([Path(name).name for name in group], 2):
            copies = [name for name in pair if name in kinds]
            is_true = pair[0].partition("-")[0] == pair[1].partition("-")[0]
            for kind in [kinds[name] for name in copies] or [SOURCES]:
                counts[kind] += (0, is_true, is_true, 1)


if __name__ == "__main__":
    main()
