"""What studies of defaults on labeled data share: the split of a set, the metrics of an embedding, and the tables of the rows."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from kept_rows import Rows, add_options, read_rows

import aekit
from aekit.evaluation.results import Split
from aekit.evaluation.splits import make_split

Measure = Callable[[str, int, argparse.Namespace, Rows], None]
"""Function of the name of a set, a seed, the arguments and the rows, which adds those that are not known."""
METRICS = {"probe": "accuracy", "knn": "accuracy", "retrieval": "map@100"}
MIN_PER_CLASS = 5


def run_study(
    description: str | None,
    noun: str,
    candidates: Iterable[str],
    choosing: Iterable[str],
    confirming: Iterable[str],
    measure: Measure,
) -> None:
    """Read the arguments of a study, measure its candidates on each set with each seed, and print the means.

    Args:
        description: what ``--help`` says of the study.
        noun: what a set is called in options and rows: ``set`` or ``table``.
        candidates: names of the candidates.
        choosing: names of the sets to choose by.
        confirming: names of the sets that are kept back.
        measure: measures the candidates on one set.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", nargs="+", choices=candidates, default=list(candidates))
    parser.add_argument(f"--{noun}s", dest="sets", nargs="+", choices=[*choosing, *confirming])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", action="store_true", help=f"evaluate test samples of the {noun}s that were kept back")
    add_options(parser)
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    if not arguments.summary:
        for seed in range(arguments.seeds):
            for name in arguments.sets or (confirming if arguments.test else choosing):
                measure(name, seed, arguments, rows)
    summarize(rows, noun)


def split_set(
    x: np.ndarray,
    y: np.ndarray,
    *,
    seed: int,
    test: bool,
    most: int,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, Split, np.ndarray]:
    """Return samples (N, ...), classes (N,), the split to evaluate on, and the rows to train on.

    The split reports the last fifth of the samples if `test`, else the fourth one; classes of fewer than five are left out.

    Args:
        x: samples.
        y: their classes.
        seed: draws the samples and the parts.
        test: report the last fifth.
        most: most samples that are kept.
        groups: group of each sample; a group stays in one part.
    """
    names, classes, counts = np.unique(np.asarray(y).astype(str), return_inverse=True, return_counts=True)
    kept = np.random.default_rng(seed).permutation(np.flatnonzero(counts[classes] >= MIN_PER_CLASS))[:most]
    x, y = np.asarray(x)[kept].astype(np.float32), names[classes[kept]]
    groups = None if groups is None else groups[kept]
    parts = make_split(y, seed=seed, groups=groups)
    if test:
        return x, y, parts, parts.train
    roles = np.full(len(y), "train", dtype="U10")
    roles[parts.validation] = "test"
    rows = np.setdiff1d(np.arange(len(y)), parts.test)
    inner = make_split(y[rows], roles[rows], seed=seed, groups=None if groups is None else groups[rows])
    return x, y, Split(rows[inner.train], rows[inner.validation], rows[inner.test], inner.origin), parts.train


def score(vectors: np.ndarray, y: np.ndarray, split: Split, seed: int) -> dict[str, str]:
    """Return the value of each of the `METRICS` of vectors (N, F), on the test rows of the split."""
    evaluation = aekit.evaluate(
        vectors, y, evaluators=list(METRICS), split=split, checks=False, seed=seed, progress=False
    )
    results = evaluation.results["encoder"]
    return {name: f"{results[name].metrics[metric].value:.4f}" for name, metric in METRICS.items()}


def summarize(rows: Rows, of: str) -> None:
    """Print the mean difference of each candidate from raw samples, then the metrics by set of what has most seeds.

    Args:
        rows: with the columns ``seed``, ``candidate``, ``width``, ``cpu_seconds``, the `METRICS`, and `of`.
        of: column that names the set, such as ``"table"``.
    """
    known = {(row[of], row["seed"], row["candidate"]): row for row in rows}
    sets, candidates = (list(dict.fromkeys(row[name] for row in rows)) for name in (of, "candidate"))
    print(f"| candidate | width | CPU seconds | {of}s | seeds | {' | '.join(f'{m} - raw' for m in METRICS)} |")
    print(f"|{'---|' * (5 + len(METRICS))}")
    seeds = {}
    for candidate in candidates:
        own = [row for row in rows if row["candidate"] == candidate]
        seeds[candidate] = len({row["seed"] for row in own})
        cells = [*_costs(own), str(len({row[of] for row in own})), str(seeds[candidate])]
        for metric in METRICS:
            by_set: dict[str, list[float]] = {}
            for row in own:
                raw = known[row[of], row["seed"], "raw"]
                by_set.setdefault(row[of], []).append(float(row[metric]) - float(raw[metric]))
            cells.append(f"{np.mean([np.mean(differences) for differences in by_set.values()]):+.4f}")
        print(f"| {candidate} | {' | '.join(cells)} |")
    for metric in METRICS:
        print(f"\n| {metric} | {' | '.join(sets)} |\n|{'---|' * (len(sets) + 1)}")
        for candidate in (name for name in candidates if seeds[name] == max(seeds.values())):
            cells = []
            for name in sets:
                values = [float(row[metric]) for key, row in known.items() if key[::2] == (name, candidate)]
                spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}" if values else "")
            print(f"| {candidate} | {' | '.join(cells)} |")


def _costs(rows: list[dict[str, Any]]) -> list[str]:
    """Return the widths of the embeddings of some rows, and the mean CPU time of training them."""
    widths = sorted({int(row["width"]) for row in rows})
    seconds = [float(row["cpu_seconds"]) for row in rows if row["cpu_seconds"]]
    width = f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else f"{widths[0]}"
    return [width, f"{np.mean(seconds):.1f}" if seconds else ""]
