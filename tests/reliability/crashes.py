"""Kill a command at its n-th file operation, run it again, and compare the result with the undisturbed one.

``python tests/reliability/crashes.py COMMAND FOLDER OPERATIONS`` prints a line of JSON; OPERATIONS is ``all`` or ``1,2,3``.
A process of its own, as it forks before torch starts threads: each trial runs in a child that ends without any cleaning up,
as a killed one does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aekit
from aekit.cli import main

KILLED, PATIENCE = 99, 400
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}


def run(arguments: list[str], log: Path, place: Path, kill_at: int = 0) -> tuple[int, int]:
    """Run a command in a child; return its exit code, and the number of file operations that it made below `place`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading) as pipe:
            counted = pipe.read()
        return os.waitstatus_to_exitcode(status), int(counted or 0)
    os.close(reading)
    count = 0

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        changes = event in WRITES or (event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if changes and isinstance(details[0], (str, os.PathLike)) and str(place) in os.fspath(details[0]):
            count += 1
            if count == kill_at:
                os._exit(KILLED)

    code = 1
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["aekit", *arguments]
        sys.addaudithook(watch)
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    os.write(writing, str(count).encode())
    sys.stdout.flush()
    os._exit(code)


FAST = ["--set", "train.epochs=2", "--set", "train.precision=fp32", "-q"]


def prepare(place: Path) -> None:
    """Write data with a sample that is skipped, and the artifacts that commands start from."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 6)).astype(np.float32)
    rows[3, 1] = np.nan
    np.savez(place / "data.npz", x=rows, y=np.repeat([0, 1], 30))
    np.savez(place / "more.npz", x=np.concatenate([rows, rows[:7] + 1]), y=np.repeat([0, 1], [30, 37]))
    recipe = f'[data]\nsource = "{place}/data.npz"\n[encoder]\ndim = 2\n[evaluate]\nevaluators = ["knn"]\n'
    (place / "recipe.toml").write_text(recipe)


def artifacts(place: Path) -> None:
    """Write a run, embeddings and an index."""
    aekit.fit(place / "data.npz", dim=2, out=place / "run", overrides={"train.epochs": 2, "train.precision": "fp32"})
    aekit.embed(place / "run", place / "data.npz", out=place / "embeddings")
    aekit.embed(place / "run", place / "more.npz", out=place / "grown")


def commands(place: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return name -> the command, and the command that resumes it."""
    out, resume = ["-o", str(place / "out" / "it")], ["--resume"]
    data, run_folder = str(place / "data.npz"), str(place / "run")
    fit = ["fit", data, *out, "--dim", "2", *FAST]
    finetune = ["finetune", run_folder, data, *out, *FAST, "--per-class", "10"]
    bench = ["bench", str(place / "recipe.toml"), *out, "--seeds", "1", *FAST]
    layers = ["--set", "layerwise.layers=[{dim=4},{dim=2}]", "--set", "layerwise.epochs=1"]
    layerwise = ["fit", data, *out, *layers, *FAST]
    embed = ["embed", run_folder, data, *out, "-q"]
    index = ["index", str(place / "embeddings"), *out, "-q"]
    cluster = ["cluster", str(place / "embeddings"), *out, "-q"]
    anomalies = ["anomalies", run_folder, data, *out, "-q"]
    apply = ["apply", run_folder, data, *out, "--task", "reconstruct", "-q"]
    return {
        "fit": (fit, fit + resume),
        "layerwise": (layerwise, layerwise + resume),
        "finetune": (finetune, finetune + resume),
        "bench": (bench, bench),
        "embed": (embed, embed),
        "index": (index, index),
        "cluster": (cluster, cluster),
        "anomalies": (anomalies, anomalies),
        "apply": (apply, apply),
    }


def contents(folder: Path) -> dict[str, str]:
    """Return name -> what must be equal in two results: names of files, and digests of weights, vectors and scores."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.endswith(".lock"):
            continue  # empty, and removed by the next command that takes it
        if path.is_file() and path.suffix in (".safetensors", ".faiss", ".csv", ".parquet", ".npz"):
            found[name] = hash_of(path)
        elif path.is_file():
            found[name] = ""
    return found


def hash_of(path: Path) -> str:
    """Hash a file; of weights, their values."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return str([(name, tensor.double().sum().item()) for name, tensor in sorted(load_file(path).items())])
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def trials(name: str, folder: Path, operations: Callable[[int], bool]) -> dict[str, Any]:
    """Kill a command at each chosen operation; return how many were tried, and what went wrong."""
    plain, resuming = commands(folder)[name]
    log, out = folder / "log.txt", folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    code, total = run(plain, log, out)
    if code:
        return {"command": name, "error": log.read_text()[-500:]}
    whole = contents(out)
    wrong, tried = [], 0
    for number in range(1, total + 1):
        if not operations(number):
            continue
        shutil.rmtree(out)
        out.mkdir()
        code, _ = run(plain, log, out, kill_at=number)
        if code != KILLED:
            wrong.append(f"{number}: not killed, exit {code}")
            continue
        tried += 1
        left = sorted(contents(out))
        # A kill may leave a folder that only one of the two takes; a line of the other says which.
        if run(plain, log, out)[0] and run(resuming, log, out)[0]:
            wrong.append(f"{number}: neither command goes on from {left}: {log.read_text()[-300:]}")
        elif (after := contents(out)) != whole:
            differing = sorted(key for key in whole.keys() | after.keys() if whole.get(key) != after.get(key))
            wrong.append(f"{number}: differs in {differing}, was left with {left}")
    return {"command": name, "operations": total, "tried": tried, "wrong": wrong}


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, place = sys.argv[1], Path(sys.argv[2])
    chosen = None if sys.argv[3] == "all" else {int(number) for number in sys.argv[3].split(",")}
    if not (place / "data.npz").exists():
        prepare(place)
        child = os.fork()  # so that this process starts no threads
        if not child:
            artifacts(place)
            os._exit(0)
        os.waitpid(child, 0)
    print(json.dumps(trials(command, place, lambda number: chosen is None or number in chosen)))
