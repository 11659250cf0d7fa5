"""Labeled sets of small images: files of packages and of `$AEKIT_DATA`, and drawn shapes."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

DATA = Path(os.environ["AEKIT_DATA"])
SKIMAGE = Path(skimage.__file__).parent / "data"
TEXTURES = ("brick", "grass", "gravel", "ihc", "hubble_deep_field", "moon", "coins", "page", "chelsea", "coffee")
SIDE = 32
"""Height and width of the crops and drawings."""
Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Images (N, C, H, W) uint8 and classes (N,) for training, then for the test."""


def digits() -> Parts:
    """Return scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(images, y, test_size=0.25, random_state=0, stratify=y)
    return x_train, y_train, x_test, y_test


def faces() -> Parts:
    """Return 100 faces and 100 other cutouts of 25 x 25 pixels (Labeled Faces in the Wild), which ship with scikit-image."""
    images = (np.load(SKIMAGE / "lfw_subset.npy") * 255).clip(0, 255).astype(np.uint8)[:, None]
    order, labels = np.random.default_rng(0).permutation(200), np.repeat([0, 1], 100)
    images, labels = images[order], labels[order]
    return images[:120], labels[:120], images[120:], labels[120:]


def mnist(name: str) -> Parts:
    """Return the first 10,000 training images of MNIST or Fashion-MNIST, the last 2,000 of them for the test."""
    images, labels = (
        np.frombuffer(gzip.decompress((DATA / name / f"train-{part}-ubyte.gz").read_bytes()), np.uint8, offset=start)
        for part, start in (("images-idx3", 16), ("labels-idx1", 8))
    )
    images = images.reshape(-1, 1, 28, 28)
    return images[:8000], labels[:8000], images[8000:10_000], labels[8000:10_000]


def cifar10() -> Parts:
    """Return the first 10,000 training images of CIFAR-10 (its binary version), the last 2,000 of them for the test."""
    rows = np.fromfile(DATA / "cifar-10-batches-bin" / "data_batch_1.bin", np.uint8).reshape(10_000, -1)
    images, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    return images[:8000], labels[:8000], images[8000:], labels[8000:]


def emoji() -> Parts:
    """Return 1,903 emoji of 64 x 64 pixels by category, on white (the npm package emoji-datasource-apple)."""
    folder = DATA / "emoji-datasource-apple"
    listed = [one for one in json.loads((folder / "emoji.json").read_text()) if one["category"] != "Component"]
    files = [folder / "img" / "apple" / "64" / one["image"] for one in listed]
    images = np.stack([_on_white(file) for file in files if file.exists()])
    categories = np.array([one["category"] for one, file in zip(listed, files) if file.exists()])
    x_train, x_test, y_train, y_test = train_test_split(
        images, categories, test_size=0.25, random_state=0, stratify=categories
    )
    return x_train, y_train, x_test, y_test


def _on_white(file: Path) -> np.ndarray:
    image = Image.open(file).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB")).transpose(2, 0, 1)


def textures(train: int = 200, test: int = 100) -> Parts:
    """Cut ten images of scikit-image into crops of random contrast: the left 60% for training, the right 35% for the test."""
    generator = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    for count, left, right in ((train, 0.0, 0.6), (test, 0.65, 1.0)):
        crops = []
        for name in TEXTURES:
            image = np.asarray(Image.open(next(SKIMAGE.glob(f"{name}.*"))).convert("L"), np.float64)
            part = image[:, int(left * image.shape[1]) : int(right * image.shape[1])]
            for crop in _crops(part, count, generator):
                changed = (crop - crop.mean()) * generator.uniform(0.6, 1.2) + generator.uniform(90, 160)
                crops.append(changed.clip(0, 255).astype(np.uint8))
        parts += [np.stack(crops)[:, None], np.repeat(np.arange(len(TEXTURES)), count)]
    return parts[0], parts[1], parts[2], parts[3]


def documents(count: int = 20) -> Parts:
    """Cut scanned pages into crops, labeled by the kind of damage; every fourth page is for the test."""
    generator, kinds = np.random.default_rng(0), dict[str, int]()
    crops, labels, pages = list[np.ndarray](), list[int](), list[int]()
    for row in csv.DictReader((DATA / "dirty-documents" / "index.csv").open()):
        kind = kinds.get(row["clean_page"], 0)
        kinds[row["clean_page"]] = kind + 1
        page = np.asarray(Image.open(DATA / "dirty-documents" / "dirty" / row["file"]).convert("L"))
        crops += _crops(page, count, generator)
        labels += [kind] * count
        pages += [int(row["clean_page"])] * count
    images, classes, test = np.stack(crops)[:, None], np.array(labels), np.array(pages) % 4 == 0
    return images[~test], classes[~test], images[test], classes[test]


def _crops(image: np.ndarray, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    corners = generator.integers([side - SIDE for side in image.shape], size=(count, 2))
    return [image[top : top + SIDE, left : left + SIDE] for top, left in corners]


def shapes(count: int = 3000) -> Parts:
    """Draw one of eight shapes of any color, size, angle and place on a colored background, with noise."""
    generator = np.random.default_rng(1)
    labels = generator.integers(8, size=count)
    images = np.stack([_shape(int(label), generator) for label in labels])
    train = count * 3 // 4
    return images[:train], labels[:train], images[train:], labels[train:]


def _shape(label: int, generator: np.random.Generator) -> np.ndarray:
    size = 2 * SIDE  # drawn twice as large, for smooth edges
    colors = Image.fromarray(generator.integers(0, 256, (4, 4, 3)).astype(np.uint8))
    image = colors.resize((size, size), Image.Resampling.BILINEAR)
    draw, color = ImageDraw.Draw(image), tuple(int(value) for value in generator.integers(0, 256, 3))
    radius, angle = generator.uniform(12, 24), generator.uniform(0, 2 * np.pi)
    x, y = generator.uniform(radius, size - radius, 2)

    def corners(number: int, inner: float = 1.0) -> list[tuple[float, float]]:
        around = angle + 2 * np.pi * np.arange(number) / number
        far = radius * np.where(np.arange(number) % 2, 1, inner)
        return list(zip(x + far * np.cos(around), y + far * np.sin(around)))

    box, square = (x - radius, y - radius, x + radius, y + radius), corners(4)
    drawing: list[Callable[[], None]] = [
        lambda: draw.ellipse(box, fill=color),
        lambda: draw.ellipse(box, outline=color, width=5),
        lambda: draw.polygon(corners(3), fill=color),
        lambda: draw.polygon(square, fill=color),
        lambda: draw.polygon(corners(10, inner=0.45), fill=color),
        lambda: [draw.line(square[start::2], fill=color, width=5) for start in (0, 1)] and None,
        lambda: draw.line(corners(2), fill=color, width=7),
        lambda: draw.line([*corners(3), corners(3)[0]], fill=color, width=5),
    ]
    drawing[label]()
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    return (pixels + generator.normal(0, 15, pixels.shape)).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


SETS: dict[str, Callable[[], Parts]] = {
    "digits": digits,
    "faces": faces,
    "textures": textures,
    "shapes": shapes,
    "documents": documents,
    "MNIST": lambda: mnist("mnist"),
    "Fashion-MNIST": lambda: mnist("fashion-mnist"),
    "CIFAR-10": cifar10,
    "emoji": emoji,
}
PHOTOGRAPHS = "caltech10"


def write_set(name: str, folder: Path) -> str:
    """Write a set with its split, and return what aekit opens."""
    if name == PHOTOGRAPHS:
        return str(DATA / PHOTOGRAPHS / "index.csv")
    path = folder / f"{name}.npz"
    if not path.exists():
        np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), SETS[name]())))
    return str(path)
