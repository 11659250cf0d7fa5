"""Prints errors without a network: of pages divided by their background, and then through a curve fitted on training pages.

    python recipes/documents/baselines.py pairs.csv validation

pairs.csv is what pairs.py writes. Settings are the best on the training pages.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import grey_closing, median_filter

SIDES = {"closing": (5, 7, 9, 11, 15), "median": (15, 23, 31)}
LEVELS = 256


def read(path: Path) -> np.ndarray:
    """Return the (H, W) gray levels in 0..1."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float64) / 255


def divided(page: np.ndarray, method: str, side: int) -> np.ndarray:
    """Divide a page (H, W) by its background, the median or the gray closing of the neighborhood of each pixel."""
    background = median_filter(page, side) if method == "median" else grey_closing(page, (side, side))
    return np.clip(page / np.maximum(background, 1 / 255), 0, 1)


def levels(page: np.ndarray) -> np.ndarray:
    return (page * (LEVELS - 1)).round().astype(int)


def fit_curve(pages: list[np.ndarray], clean: list[np.ndarray]) -> np.ndarray:
    """Return the mean clean value at each level of the pages, of which there are LEVELS."""
    at = np.concatenate([levels(page).ravel() for page in pages])
    counts = np.bincount(at, minlength=LEVELS)
    sums = np.bincount(at, np.concatenate([page.ravel() for page in clean]), minlength=LEVELS)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.linspace(0, 1, LEVELS))


def rmse(pages: list[np.ndarray], clean: list[np.ndarray]) -> float:
    """Return the root mean squared error, averaged over pages."""
    return float(np.mean([np.sqrt(np.square(page - true).mean()) for page, true in zip(pages, clean)]))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("expected pairs.csv and a split, such as validation")
    with open(sys.argv[1], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    dirty, clean = {}, {}
    for split in ("train", sys.argv[2]):
        part = [row for row in rows if row["split"] == split]
        dirty[split], clean[split] = ([read(Path(row[column])) for row in part] for column in ("path", "clean"))
    for method, sides in SIDES.items():
        training = {side: [divided(page, method, side) for page in dirty["train"]] for side in sides}
        best = min(sides, key=lambda side: rmse(training[side], clean["train"]))
        curve = fit_curve(training[best], clean["train"])
        pages = [divided(page, method, best) for page in dirty[sys.argv[2]]]
        through = [curve[levels(page)] for page in pages]
        for title, restored in {
            f"divided by the {method} of {best} x {best}": pages,
            "  and through a curve": through,
        }.items():
            print(f"{title:34} {rmse(restored, clean[sys.argv[2]]):.4f}")


if __name__ == "__main__":
    main()
