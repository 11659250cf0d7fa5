"""Measure how well label-free scores of encoders agree with a linear probe: Spearman's rank correlation over many runs.

    python benchmarks/label_free.py                       # 6 sets, 12 recipes each
    python benchmarks/label_free.py --sets sklearn:digits --steps 300
    python benchmarks/label_free.py --out runs.csv --summary

Each recipe is trained for a few steps, and each encoder is scored by a probe on the test part and by every label-free score.
With ``--out`` the rows are appended to a file, finished ones are skipped, and ``--summary`` makes the table of what it holds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import Rows, add_options, add_row, has_row, read_rows
from scipy.stats import spearmanr

import aekit
from aekit.data.source import ArraySource
from aekit.evaluation.label_free import LABEL_FREE, label_free_scores, selection_score

SETS = ("sklearn:digits", "torchvision:FashionMNIST", "mnist", "caltech10", "sklearn:breast_cancer", "aeon:GunPoint")
COMBINATIONS = {
    "neighbors-kept x rankme": lambda s: s["neighbors-kept"] * np.log(np.maximum(s["rankme"], 1)),
    "retrieved x rankme": lambda s: s["retrieved"] * np.log(np.maximum(s["rankme"], 1)),
    "retrieved x lidar": lambda s: np.array([selection_score(dict(zip(s, row))) for row in zip(*s.values())]),
    "neighbors-kept x lidar": lambda s: s["neighbors-kept"] * np.log(np.maximum(s["lidar"], 1)),
    "mean rank of rankme and neighbors-kept": lambda s: ranks(s["rankme"]) + ranks(s["neighbors-kept"]),
    "mean rank of lidar and neighbors-kept": lambda s: ranks(s["lidar"]) + ranks(s["neighbors-kept"]),
    "mean rank of alpha-req and neighbors-kept": lambda s: ranks(s["alpha-req"]) + ranks(s["neighbors-kept"]),
}


def recipes(kind: str) -> dict[str, dict[str, Any]]:
    """Return name -> arguments of `aekit.fit` for samples of a kind."""
    made: dict[str, dict[str, Any]] = {
        "plain": {"variants": ["plain"]},
        "plain, 8 dimensions": {"variants": ["plain"], "dim": 8},
        "denoising": {"variants": ["denoising"]},
        "k-sparse": {"variants": ["k-sparse"]},
        "vae": {"variants": ["vae"]},
        "simclr": {"pretexts": ["simclr"]},
        "simclr, features": {"pretexts": ["simclr"], "dim": 0},
        "simclr, strong": {"pretexts": ["simclr"], "overrides": {"objective.simclr.strength": "strong"}},
        "barlow-twins": {"pretexts": ["barlow-twins"]},
        "vicreg": {"pretexts": ["vicreg"]},
        "byol": {"pretexts": ["byol"]},
        "simclr, high rate": {"pretexts": ["simclr"], "lr": 0.02},
    }
    if kind != "vector":
        made["masked"] = {"pretexts": ["masked"]}
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--samples", type=int, default=2000, help="samples of each set")
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser)
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    if not arguments.summary:
        for name in arguments.sets:
            measure(name, rows, arguments)
    summarize(rows)


def measure(name: str, rows: Rows, arguments: argparse.Namespace) -> None:
    """Train and score every recipe on a data set, but for those that are known, and add their rows."""
    source = opened(name, arguments.samples)
    for recipe, settings in recipes(source.spec.kind).items():
        key = {"data": name, "recipe": recipe, "steps": str(arguments.steps), "seed": str(arguments.seed)}
        if has_row(rows, key):
            continue
        batch = max(16, min(128, len(source) // 10))
        epochs = max(1, round(arguments.steps * batch / len(source)))
        encoder = aekit.fit(
            source, **settings, epochs=epochs, batch_size=batch, seed=arguments.seed, device="cpu", progress=False
        )
        evaluation = aekit.evaluate(
            encoder.embed(source), evaluators=["probe", "knn"], baselines=False, checks=False, progress=False
        )
        raw = torch.from_numpy(source.read(np.random.default_rng(0).permutation(len(source))[:1000])[0])
        results = evaluation.results["encoder"]
        row = key | {title: result.metrics["accuracy"].value for title, result in results.items()}
        row |= label_free_scores(encoder, raw, seed=arguments.seed)
        add_row(row, rows, arguments.out)


def summarize(rows: Rows) -> None:
    """Print the rank correlation of each score with the probe on each data set."""
    sets = list(dict.fromkeys(row["data"] for row in rows))
    print(f"\n{len(rows)} runs")
    print("| score | " + " | ".join(sets) + " | mean | lowest |")
    print("|---" * (len(sets) + 3) + "|")
    for score in [*LABEL_FREE, *COMBINATIONS, "knn"]:
        correlations = []
        for name in sets:
            part = [row for row in rows if row["data"] == name]
            columns = {title: np.array([float(row[title]) for row in part]) for title in (*LABEL_FREE, "probe", "knn")}
            values = COMBINATIONS[score](columns) if score in COMBINATIONS else columns[score]
            constant = np.ptp(values) == 0 or np.ptp(columns["probe"]) == 0
            correlations.append(0.0 if constant else float(spearmanr(values, columns["probe"]).statistic))
        cells = [*correlations, float(np.mean(correlations)), min(correlations)]
        print(f"| {score} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


def opened(name: str, samples: int) -> Any:
    """Open a data set, or some samples drawn from it."""
    shared = Path(os.environ.get("AEKIT_DATA", "data"))
    options: dict[str, Any] = {}
    place: Any = name
    if name == "caltech10":
        place, options = str(shared / "caltech10"), {"images": {"size": 64}}
    elif name == "mnist":
        place = str(shared / "mnist")
    elif name == "torchvision:FashionMNIST" and (shared / "fashion-mnist").is_dir():
        place = str(shared / "fashion-mnist")
    source = aekit.open_data(place, options)
    rows = np.sort(np.random.default_rng(0).permutation(len(source))[:samples])
    return ArraySource(source.read(rows)[0], kind=source.spec.kind, labels=np.asarray(source.labels)[rows])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the (K,) ranks of K numbers, from 0."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")


if __name__ == "__main__":
    main()
