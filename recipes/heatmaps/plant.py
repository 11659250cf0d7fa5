"""Write images with planted defects and their masks, in the folders of MVTec AD: train/good, test/KIND and ground_truth/KIND.

    python recipes/heatmaps/plant.py textures OUT --seed 0
    python recipes/heatmaps/plant.py photographs OUT --seed 0       # of $AEKIT_DATA/caltech10

Textures are drawn: a woven one, whose threads shift and vary in brightness. Photographs are real. Defects are spots,
scratches, missing parts and, in photographs, pieces of others.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

SIDE = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["textures", "photographs"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--test", type=int, default=20, help="test images of each kind of defect, and without one")
    arguments = parser.parse_args()
    write_data_set(arguments.kind, arguments.out, arguments.seed, arguments.side, arguments.train, arguments.test)


def write_data_set(kind: str, out: Path, seed: int, side: int, train: int, test: int) -> None:
    """Write ``textures`` or ``photographs`` with planted defects into a new folder; see `plant`."""
    generator = np.random.default_rng(seed)
    images = (textures if kind == "textures" else photographs)(generator, side)
    plant(out, images, generator, train, test, pieces=kind == "photographs")


def plant(
    out: Path, images: Iterator[np.ndarray], generator: np.random.Generator, train: int, test: int, pieces: bool = False
) -> None:
    """Write `train` images without defects, and `test` of each kind of defect and without one, into a new folder.

    Args:
        out: the folder.
        images: (side, side, 3) uint8 images.
        generator: source of the random numbers.
        train: number of images to train on.
        test: number of test images of each kind.
        pieces: whether pieces of other images are a kind of defect.
    """
    for number in range(train):
        write(out / "train" / "good" / f"{number:03}.png", next(images))
    for number in range(test):
        write(out / "test" / "good" / f"{number:03}.png", next(images))
    for kind, defect in (DEFECTS | ({"piece": None} if pieces else {})).items():
        for number in range(test):
            image = next(images)
            if defect is None:
                changed, mask = piece(image, next(images), generator)
            else:
                changed, mask = defect(image, generator)
            write(out / "test" / kind / f"{number:03}.png", changed)
            write(out / "ground_truth" / kind / f"{number:03}_mask.png", np.where(mask, 255, 0).astype(np.uint8))


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def textures(generator: np.random.Generator, side: int = SIDE) -> Iterator[np.ndarray]:
    """Yield woven textures (side, side, 3) uint8: two sets of threads, one over the other in turn."""
    tint = np.array([0.82, 0.70, 0.52])
    while True:
        y, x = np.mgrid[:side, :side].astype(float)
        y, x = (axis + gaussian_filter(generator.normal(size=(side, side)), 10) * 25 for axis in (y, x))
        y, x = y + generator.uniform(0, 16), x + generator.uniform(0, 16)
        across, down = np.sin(np.pi * x / 8), np.sin(np.pi * y / 8)
        over = across * down > 0
        light = np.where(over, np.abs(across), np.abs(down)) ** 0.6
        light = 0.45 + 0.4 * light * np.where(over, 1.0, 0.8)
        light = light * (1 + 0.10 * gaussian_filter(generator.normal(size=(side, side)), 12) * 12)
        pixels = light[:, :, None] * tint + generator.normal(size=(side, side, 1)) * 0.03
        yield (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)


def photographs(generator: np.random.Generator, side: int = SIDE) -> Iterator[np.ndarray]:
    """Yield the middle of each photograph of caltech10, in random order, as (side, side, 3) uint8."""
    root = Path(os.environ["AEKIT_DATA"]) / "caltech10"
    with (root / "index.csv").open() as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    for row in generator.permutation(len(paths)):
        with Image.open(root / paths[row]) as image:
            scale = side / min(image.size)
            size = [max(side, round(length * scale)) for length in image.size]
            image = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)
        left, top = ((length - side) // 2 for length in size)
        yield np.asarray(image.crop((left, top, left + side, top + side)))


def spot(image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Darken or lighten an irregular spot, with a soft edge."""
    side = len(image)
    y, x = np.mgrid[:side, :side]
    center = generator.uniform(0.15, 0.85, 2) * side
    angle = np.arctan2(y - center[0], x - center[1])
    waves = sum(generator.normal() * 0.12 * np.cos(n * angle + generator.uniform(0, 6.3)) for n in (2, 3, 4))
    radius = side * generator.uniform(0.04, 0.09) * (1 + waves)
    inside = np.hypot(y - center[0], x - center[1]) < radius
    return blend(image, inside, contrasting(image, inside, 0.45, generator), 1.0), inside


def scratch(image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a thin bent line, lighter or darker than the image."""
    side = len(image)
    canvas = Image.new("L", (4 * side, 4 * side))
    place, angle = generator.uniform(0.2, 0.8, 2) * side, generator.uniform(0, 6.3)
    points = [place]
    for _ in range(12):
        angle += generator.normal() * 0.15
        points.append(points[-1] + side * 0.035 * np.array([np.cos(angle), np.sin(angle)]))
    width = round(4 * side * generator.uniform(0.012, 0.02))
    ImageDraw.Draw(canvas).line([tuple(4 * point) for point in points], 255, width, "curve")
    inside = np.asarray(canvas.resize((side, side), Image.Resampling.BOX)) > 127
    return blend(image, inside, contrasting(image, inside, 0.5, generator), 0.5), inside


def missing(image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Replace a rectangle by its own blurred content, so that its mean color says nothing."""
    side = len(image)
    high, wide = (generator.uniform(0.10, 0.22, 2) * side).astype(int)
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(side / 16)), float)
    places = (generator.uniform(0.05, 0.7, (4, 2)) * side).astype(int).tolist()
    # Of four places the one with most to miss: a plain part of a photograph would stay as it is.
    top, left = max(places, key=lambda p: np.abs(image - blurred)[p[0] : p[0] + high, p[1] : p[1] + wide].mean())
    inside = np.zeros((side, side), bool)
    inside[top : top + high, left : left + wide] = True
    return blend(image, inside, blurred, 0.7), inside


def piece(image: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste a round piece of another image."""
    side = len(image)
    y, x = np.mgrid[:side, :side]
    center, radius = generator.uniform(0.2, 0.8, 2) * side, side * generator.uniform(0.08, 0.14)
    inside = np.hypot(y - center[0], x - center[1]) < radius
    return blend(image, inside, np.roll(other, side // 2, axis=(0, 1)).astype(float), 0.7), inside


def contrasting(image: np.ndarray, inside: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Darken or lighten an image by chance, or so that it shows where the part inside is dark or light itself."""
    brightness = image[inside].mean()
    darker = generator.random() < 0.5 if 85 < brightness < 170 else brightness >= 170
    return image * (1 - strength) + (0 if darker else 255 * strength)


def blend(image: np.ndarray, inside: np.ndarray, content: np.ndarray, softness: float) -> np.ndarray:
    """Put content (side, side, 3) into an image where `inside`, with an edge of this softness in pixels."""
    weight = gaussian_filter(inside.astype(float), softness)[:, :, None]
    return np.clip(image * (1 - weight) + content * weight, 0, 255).round().astype(np.uint8)


Defect = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
DEFECTS: dict[str, Defect | None] = {"spot": spot, "scratch": scratch, "missing": missing}

if __name__ == "__main__":
    main()
