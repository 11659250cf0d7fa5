"""Compare kinds of noise for denoising autoencoders with the plain autoencoder, on parts of training data.

    python benchmarks/denoising.py                                   # 8 sets, 2 seeds
    python benchmarks/denoising.py --sets caltech10 aeon:GunPoint --steps 400
    python benchmarks/denoising.py --out runs.csv --summary

An encoder is trained on three fifths of the training samples of a set with each noise, and the neighbors and a linear
classifier of the others are evaluated: test samples are not read. With ``--out`` the rows are appended to a file, finished
ones are skipped, and ``--summary`` prints the table of what it holds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from kept_rows import Rows, add_options, add_row, has_row, read_rows
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aekit
from aekit.data.source import ArraySource

IMAGES, TABLES, SERIES = (
    ("caltech10", "fashion-mnist", "mnist"),
    ("sklearn:breast_cancer", "sklearn:wine", "digits-table"),
    ("aeon:GunPoint", "aeon:OSULeaf"),
)
PLAIN = "plain"
NOISES: dict[str, dict[str, Any]] = {
    "masking .25": {"noise": "masking", "level": 0.25},
    "gaussian .1": {"noise": "gaussian", "fraction": 0.1},
    "gaussian .25": {"noise": "gaussian", "fraction": 0.25},
    "gaussian .5": {"noise": "gaussian", "fraction": 0.5},
    "blocks .25": {"noise": "blocks", "level": 0.25},
    "blocks .5": {"noise": "blocks", "level": 0.5},
}
"""Name -> options of the variant; `fraction` is the level in parts of the range of images and of the deviation of others."""
METRICS = ("knn", "linear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=[*IMAGES, *TABLES, *SERIES])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--samples", type=int, default=3000, help="most samples of a set")
    parser.add_argument("--seeds", type=int, default=2)
    add_options(parser)
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    if not arguments.summary:
        for name in arguments.sets:
            for seed in range(arguments.seeds):
                measure(name, seed, rows, arguments)
    summarize(rows)


def measure(name: str, seed: int, rows: Rows, arguments: argparse.Namespace) -> None:
    """Train with every noise on one set, but for those that are known, and add their rows."""
    x, y, kind = training_part(name, arguments.samples)
    order = np.random.default_rng(seed).permutation(len(x))
    held_out, trained = order[: 2 * len(x) // 5], order[2 * len(x) // 5 :]
    source = ArraySource(x[trained], kind=kind)
    batch = max(16, min(64, len(trained) // 10))
    epochs = max(1, round(arguments.steps * batch / len(trained)))
    for noise, options in {PLAIN: {}, **NOISES}.items():
        key = {"data": name, "noise": noise, "seed": str(seed), "steps": str(arguments.steps)}
        if has_row(rows, key):
            continue
        if kind == "vector" and noise.startswith("blocks"):
            continue
        settings = {f"objective.denoising.{option}": value for option, value in scale_level(options, x).items()}
        encoder = aekit.fit(
            source,
            variants=[PLAIN if noise == PLAIN else "denoising"],
            epochs=epochs,
            batch_size=batch,
            seed=seed,
            device="cpu",
            overrides=settings,
            progress=False,
        )
        vectors = encoder.embed(x).vectors
        row = key | {"batch": str(batch), "epochs": str(epochs)}
        for metric, classifier in classifiers().items():
            row[metric] = f"{classifier.fit(vectors[trained], y[trained]).score(vectors[held_out], y[held_out]):.4f}"
        add_row(row, rows, arguments.out)


def scale_level(options: dict[str, Any], x: np.ndarray) -> dict[str, Any]:
    """Return options whose `fraction` is replaced by a level in the units of the data."""
    if "fraction" not in options:
        return options
    unit = 255 if x.dtype == np.uint8 else float(x.std())
    return {"noise": options["noise"], "level": unit * options["fraction"]}


def classifiers() -> dict[str, Any]:
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    return {"knn": KNeighborsClassifier(5, metric="cosine"), "linear": linear}


def summarize(rows: Rows) -> None:
    """Print the mean difference to the plain autoencoder over seeds, and its accuracy, by set and noise."""
    sets = list(dict.fromkeys(row["data"] for row in rows))
    for metric in METRICS:
        print(f"\n| {metric} | {' | '.join(sets)} |\n|---{'|---' * len(sets)}|")
        for noise in (PLAIN, *NOISES):
            cells = []
            for name in sets:
                plain, noisy = (by_seed(rows, name, kind, metric) for kind in (PLAIN, noise))
                values = [noisy[seed] - (0 if noise == PLAIN else plain[seed]) for seed in noisy if seed in plain]
                cells.append(spread(values, signed=noise != PLAIN))
            print(f"| {noise} | {' | '.join(cells)} |")


def by_seed(rows: Rows, name: str, noise: str, metric: str) -> dict[str, float]:
    return {row["seed"]: float(row[metric]) for row in rows if (row["data"], row["noise"]) == (name, noise)}


def spread(values: list[float], *, signed: bool) -> str:
    if not values:
        return ""
    half = f" ± {np.ptp(values) / 2:.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):{'+' if signed else ''}.3f}{half}"


def training_part(name: str, samples: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return some training samples (N, *shape) of a set, their labels (N,) and their kind."""
    folder = Path(os.environ.get("AEKIT_DATA", "data"))
    options: dict[str, Any] = {}
    place = name
    if name == "caltech10":
        place, options = str(folder / name / "index.csv"), {"images": {"size": 32}}
    elif name in ("fashion-mnist", "mnist"):
        place = str(folder / name)
    elif name == "digits-table":
        place = "sklearn:digits"
    source = aekit.open_data(place, options)
    rows = np.arange(len(source)) if source.splits is None else np.flatnonzero(np.asarray(source.splits) == "train")
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:samples])
    x, kind = source.read(rows)[0], source.spec.kind
    if name == "digits-table":
        x, kind = x.reshape(len(x), -1), "vector"
    if kind == "vector":  # so that one level fits all columns
        x = StandardScaler().fit_transform(x).astype(np.float32)
    return x, np.asarray(source.labels)[rows].astype(str), kind


if __name__ == "__main__":
    main()
