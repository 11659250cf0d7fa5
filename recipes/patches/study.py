"""Compare patches as a dictionary, which are not trained, with trained encoders on labeled sets of images.

    pip install 'aekit[images]'
    python recipes/patches/study.py -o study                    # resumes; prints a table at the end
    python recipes/patches/study.py -o study --sets digits --recipes "patch dictionary"
    python recipes/patches/study.py -o study --only-print

Each encoder is trained on the training part of a set without labels, and evaluated once on its test part.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from sets import PHOTOGRAPHS, SETS, write_set

import aekit
from aekit.training.defaults import AUTOENCODER_WEIGHT

RECIPES: dict[str, list[str]] = {
    "patch dictionary": ["--backbone", "patch-dictionary"],
    "autoencoder and simclr": ["--variant", "plain", "--pretext", "simclr"],
    "simclr, features": ["--pretext", "simclr", "--dim", "0"],
}
BASELINES = ("raw", "pca")
EVALUATORS = {
    "probe": "accuracy",
    "knn": "accuracy",
    "retrieval": "map@100",
    "kmeans": "clustering_accuracy",
    "anomaly": "auroc",
}
"""Name of an evaluator -> the metric of it that is printed."""
Results = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Name of an evaluator -> "metrics" -> name of a metric -> its value, and the low and high end of its interval."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="Folder of the data and of all runs.")
    names = [*SETS, PHOTOGRAPHS]
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only-print", action="store_true", help="Print what there is.")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    for seed in [] if arguments.only_print else arguments.seeds:
        for recipe in arguments.recipes:
            for name in arguments.sets:
                fit(name, recipe, seed, arguments.out)
    print_table(arguments.out, arguments.sets, arguments.recipes, arguments.seeds)
    if len(arguments.seeds) > 1:
        print_spread(arguments.out, arguments.sets, arguments.recipes, arguments.seeds)


def fit(name: str, recipe: str, seed: int, folder: Path) -> None:
    """Run `aekit fit`, unless it has been run, and note its CPU seconds beside its folder."""
    data, run = write_set(name, folder), run_folder(name, recipe, seed, folder)
    took = Path(f"{run}.seconds")
    if took.exists():
        return
    options = [*RECIPES[recipe], "--seed", str(seed), "--set", f"evaluate.evaluators={json.dumps(list(EVALUATORS))}"]
    options += ["--set", "evaluate.pretrained=none"]
    if "plain" in options:
        weight = AUTOENCODER_WEIGHT / aekit.open_data(data).spec.size
        options += ["--set", f"objective.weights.autoencoder={weight:.2g}"]
    command = [sys.executable, "-m", "aekit", "fit", data, "-o", str(run), "--no-report", "-q", *options]
    before = cpu_seconds()
    subprocess.run(command, check=True)
    took.write_text(f"{cpu_seconds() - before:.1f}")


def run_folder(name: str, recipe: str, seed: int, folder: Path) -> Path:
    return folder / f"{name}-{recipe.replace(',', '').replace(' ', '-')}-{seed}"


def cpu_seconds() -> float:
    """Return the CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_table(folder: Path, sets: list[str], recipes: list[str], seeds: list[int]) -> None:
    """Print a metric of each evaluator on the test part, and the CPU seconds of the whole command."""
    columns = ["data", "seed", "encoder", "dimensions", *EVALUATORS, "CPU seconds"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name in sets:
        for seed in seeds:
            for number, recipe in enumerate(recipes):
                run = run_folder(name, recipe, seed, folder)
                if not Path(f"{run}.seconds").exists():
                    continue
                subjects = subjects_of(run)
                if not number:
                    for subject in subjects:
                        if subject.startswith(BASELINES):
                            print(f"| {name} | {seed} | {subject} | | {cells(subjects[subject])} | |")
                seconds, dim = float(Path(f"{run}.seconds").read_text()), aekit.load(run).dim
                print(f"| {name} | {seed} | {recipe} | {dim:,} | {cells(subjects['encoder'])} | {seconds:,.0f} |")


def print_spread(folder: Path, sets: list[str], recipes: list[str], seeds: list[int]) -> None:
    """Print the mean and the standard deviation over seeds of a metric of each evaluator on the test part."""
    columns = ["data", "encoder", *EVALUATORS]
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name in sets:
        for number, recipe in enumerate(recipes):
            runs = [subjects_of(run_folder(name, recipe, seed, folder)) for seed in seeds]
            for subject in sorted(runs[0], key=lambda subject: subject == "encoder"):
                if subject == "encoder" or (not number and subject.startswith(BASELINES)):
                    values = np.array([metrics(run[subject]) for run in runs])
                    spread = " | ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(values.mean(0), values.std(0, ddof=1)))
                    print(f"| {name} | {recipe if subject == 'encoder' else subject} | {spread} |")


def subjects_of(run: Path) -> dict[str, Results]:
    """Return the results of the encoder and of each baseline."""
    subjects: dict[str, Results] = json.loads((run / "results.json").read_text())["evaluation"]["results"]
    return subjects


def metrics(results: Results) -> list[float]:
    return [results[evaluator]["metrics"][metric]["value"] for evaluator, metric in EVALUATORS.items()]


def cells(results: Results) -> str:
    values = (results[evaluator]["metrics"][metric] for evaluator, metric in EVALUATORS.items())
    return " | ".join(f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" for value in values)


if __name__ == "__main__":
    main()
