"""Kill commands, run them again, and compare what they wrote with what an undisturbed run writes.

``python tests/reliability/crashes.py COMMANDS FOLDER OPERATIONS`` kills each command at its n-th file operation; COMMANDS is
``all`` or ``fit,embed``, OPERATIONS ``all`` or ``1,2,3``; ``all --most N`` kills it at N of them, evenly spread. With
``--random COUNT`` instead it kills it at random times. It prints a line of JSON for each command, whose figures are kept for
docs/reliability.md unless operations are chosen.

Every trial runs in a child of one process that has imported everything and runs no threads, so that a trial costs what the
command costs. The child ends without any cleaning up. Then the same command, or the one that resumes, runs undisturbed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from figures import Figure, record
from safetensors.torch import load_file

import aekit
from aekit.cli import demo, main
from aekit.encoder import parquet_store
from aekit.workflows.tuning import _budget

KILLED, PATIENCE = 99, 120
"""The exit code of a child that killed itself, and the seconds after which a child counts as stuck."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command in order."""
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}
PART_BYTES = 100
"""Size of a part of embeddings: a few samples, so that a kill falls between parts."""


def clock_of_this_process() -> Callable[[], float]:
    """Return a clock that stands still while other processes have the machine, so that a search has its time."""
    begun = time.monotonic()
    return lambda: begun + time.process_time()


def begin(
    arguments: list[str], log: Path, place: Path, kill_at: int = 0, before: Callable[[], object] | None = None
) -> tuple[int, int]:
    """Start a command in a child, which first calls `before`; return its id, and a pipe with the number of file operations."""
    reading, writing = os.pipe()
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until the child handles them
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        os.close(writing)
        return child, reading
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
        signal.alarm(PATIENCE)
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        parquet_store.PART_BYTES, demo.EPOCHS = PART_BYTES, 1
        _budget.now = clock_of_this_process()
        sys.argv = ["aekit", *arguments]
        sys.addaudithook(watch)
        if before:
            before()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    os.write(writing, str(count).encode())
    sys.stdout.flush()
    os._exit(code)


def end(child: int, reading: int) -> tuple[int, int]:
    """Wait for a child; return its exit code and the number of its file operations."""
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return os.waitstatus_to_exitcode(status), int(pipe.read() or 0)


def run(arguments: list[str], log: Path, place: Path, kill_at: int = 0) -> tuple[int, int]:
    """Run a command in a child; return its exit code, and the number of file operations that it made below `place`."""
    return end(*begin(arguments, log, place, kill_at))


def run_and_kill(arguments: list[str], log: Path, place: Path, seconds: float) -> int:
    """Run a command in a child that is killed after some seconds; return its exit code."""
    child, reading = begin(arguments, log, place)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)  # a child that has ended is still there until it is waited for
    return end(child, reading)[0]


FAST_SEARCH = ["--set", "train.precision=fp32", "--set", "train.batch_size=64", "--set", "encoder.dim=4"]
FAST = ["--set", "train.epochs=2", "--set", "train.precision=fp32", "--set", "train.checkpoint_seconds=0", "-q"]


def prepare(place: Path) -> None:
    """Write data with a sample that is skipped, and the recipe of a study."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 6)).astype(np.float32)
    rows[3, 1] = np.nan
    np.savez(place / "data.npz", x=rows, y=np.repeat([0, 1], 30))
    np.savez(place / "more.npz", x=np.concatenate([rows, rows[:7] + 1]), y=np.repeat([0, 1], [30, 37]))
    changed = np.where(np.arange(60)[:, None] % 10 == 5, rows + 1, rows)
    np.savez(place / "changed.npz", x=np.concatenate([changed, rows[:7] + 1]), y=np.repeat([0, 1], [30, 37]))
    np.savez(place / "fewer.npz", x=changed[:45], y=np.repeat([0, 1], [30, 15]))
    blobs = rng.normal(size=(120, 6)).astype(np.float32)
    blobs[60:] += 3
    np.savez(place / "blobs.npz", x=blobs, y=np.repeat([0, 1], 60))
    recipe = f'[data]\nsource = "{place}/data.npz"\n[encoder]\ndim = 2\n[evaluate]\nevaluators = ["knn"]\n'
    (place / "recipe.toml").write_text(recipe)


def artifacts(place: Path) -> None:
    """Write a run, embeddings, an index, a classifier and a study, which other commands start from."""
    fast = {"train.epochs": 2, "train.precision": "fp32"}
    aekit.fit(place / "data.npz", dim=2, out=place / "run", overrides=fast)
    aekit.embed(place / "run", place / "data.npz", out=place / "embeddings")
    aekit.embed(place / "run", place / "more.npz", out=place / "grown")
    aekit.build_index(place / "embeddings", place / "index")
    aekit.finetune(place / "run", place / "data.npz", out=place / "finetuned", epochs=2, baselines=False)
    aekit.bench([place / "recipe.toml"], out=place / "study", seeds=2, overrides=fast)


def commands(place: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return name -> the command, and the command that resumes it. Both need `start` before them."""
    out, resume = ["-o", str(place / "out" / "it")], ["--resume"]
    data, run_folder, embeddings = str(place / "data.npz"), str(place / "run"), str(place / "embeddings")
    fit = ["fit", data, *out, "--dim", "2", *FAST]
    finetune = ["finetune", run_folder, data, *out, *FAST, "--per-class", "10"]
    layers = ["--dim", "2", "--set", "encoder.hidden=[4]", "--set", "layerwise.epochs=1"]
    layerwise = ["fit", data, *out, *layers, *FAST]
    grow = ["--batch-size", "8", *out, "-q"]
    pages = [part for kind in ("csv", "markdown", "html") for part in (f"--{kind}", str(place / "out" / f"it.{kind}"))]
    once = {
        "bench": ["bench", str(place / "recipe.toml"), *out, "--seeds", "1", *FAST],
        "embed": ["embed", run_folder, data, *grow],
        "embed-growing": ["embed", run_folder, str(place / "changed.npz"), *grow],
        "embed-shrinking": ["embed", run_folder, str(place / "fewer.npz"), "--drop-missing", *grow],
        "index": ["index", embeddings, *out, "-q"],
        "index-growing": ["index", str(place / "grown"), *out, "-q"],
        "cluster": ["cluster", embeddings, *out, "-q"],
        "map": ["map", embeddings, "-o", f"{out[1]}.png", "--html", f"{out[1]}.html", "--method", "pca", "-q"],
        "explore": ["explore", embeddings, *out, "--method", "pca", "-q"],
        "anomalies": ["anomalies", run_folder, data, *out, "-q"],
        "apply": ["apply", run_folder, data, *out, "--task", "reconstruct", "-q"],
        "export": ["export", run_folder, "-o", f"{out[1]}.pt2", "-q"],
        "export-onnx": ["export", run_folder, "-o", f"{out[1]}.onnx", "-q"],
        "classify": ["classify", str(place / "finetuned"), data, "-o", f"{out[1]}.csv", "-q"],
        "evaluate": ["evaluate", out[1], "--evaluator", "knn", "-q"],
        "compare": ["compare", str(place / "study"), *pages],
        "report": ["report", out[1], "-q"],
        "curate": ["curate", embeddings, *out, "-n", "5", "-q"],
        "duplicates": ["duplicates", embeddings, *out, "-q"],
        "drift": ["drift", embeddings, str(place / "grown"), *out, "--permutations", "20", "-q"],
        "label-errors": ["label-errors", embeddings, *out, "-q"],
        "propagate": ["propagate", embeddings, "--per-class", "2", *out, "-q"],
        "copy": ["copy", run_folder, out[1], "-q"],
        "tune": ["tune", str(place / "blobs.npz"), *out, "--minutes", "0.05", *FAST_SEARCH, "-q"],
    }
    return {
        "fit": (fit, fit + resume),
        "layerwise": (layerwise, layerwise + resume),
        "finetune": (finetune, finetune + resume),
    } | {name: (command, command) for name, command in once.items()}


COPIES = {
    "embed-growing": "embeddings",
    "embed-shrinking": "embeddings",
    "index-growing": "index",
    "evaluate": "embeddings",
    "report": "run",
}
"""Command -> the artifact of which it changes a copy."""


def start(name: str, place: Path) -> None:
    """Empty the folder of results, and put there what the command changes."""
    shutil.rmtree(place / "out", ignore_errors=True)
    (place / "out").mkdir()
    if name in COPIES:
        shutil.copytree(place / COPIES[name], place / "out" / "it")


PASSING = {"seconds", "cost", "parts", "sha256", "seal", "peak_memory", "built_with", "reason"}
"""What may differ: times, how rows are spread over parts, digests of files that hold a time, and whether an index that was killed
between two renames was built again, with more vectors than the first time."""


TIMED = {"tune"}
"""Commands that do as much as time allows: some runs of them have fewer file operations."""


class Vectors:
    """Vectors that equal others but for the last digit, which the other samples of a batch may change."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.values = np.array(rows)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vectors)
            and self.values.shape == other.values.shape
            and np.allclose(self.values, other.values, atol=1e-5)
        )


def whole_search(folder: Path) -> dict[str, Any]:
    """Return what must be equal in two searches for a recipe, whose candidates depend on the time."""
    state = json.loads((folder / "tune.json").read_bytes())
    numbers = [candidate["number"] for candidate in state["result"].get("candidates", [])]
    if not numbers:
        return {"finished": False}
    winner = folder / "best"
    winner = winner if winner.exists() else folder / "default"
    return {
        "files": {"tune.json", "journal.log", "best.toml", "default"} - {path.name for path in folder.iterdir()},
        "finished": True,
        "candidates": numbers == list(range(len(numbers))),
        "encoder": aekit.load(winner).spec.to_dict(),  # all weights have the digests of the manifest
        "evaluation": (winner / "results.json").exists(),
        "temporary": sorted(path.name for path in folder.rglob("*.part")),
    }


def contents(folder: Path) -> dict[str, Any]:
    """Return name -> what must be equal in two results: values of weights, rows, and digests of other files."""
    if (folder / "it" / "tune.json").exists():
        return whole_search(folder / "it")
    kept, parts = dict[str, Any](), []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name.startswith("part-") and path.suffix == ".parquet":
            parts.append(path)  # how rows are spread over parts depends on where the command was stopped
        elif not path.name.endswith(".lock"):  # empty, and removed by the next command that takes it
            kept[str(path.relative_to(folder))] = summary(path)
    for parent in {path.parent for path in parts}:
        rows = [row for path in parts if path.parent == parent for row in pq.read_table(path).to_pylist()]
        rows.sort(key=lambda row: (row["id"], row["hash"]))
        kept[f"{parent.relative_to(folder)}: vectors"] = Vectors([row.pop("vector") for row in rows])
        kept[f"{parent.relative_to(folder)}: rows"] = str(rows)
    return kept


def summary(path: Path) -> str:
    """Return what must be equal in two files of a name."""
    if path.suffix == ".safetensors":
        return str([(name, tensor.double().sum().item()) for name, tensor in sorted(load_file(path).items())])
    if path.suffix == ".json":
        return json.dumps(_lasting(json.loads(path.read_bytes())))
    if path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return str([(entry.get("step"), entry.get("loss")) for entry in records])
    if path.suffix == ".html":  # holds times at many places
        return path.read_text().rstrip()[-7:]
    if path.suffix == ".md":
        return "".join(line for line in path.read_text().splitlines() if "training took" not in line)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(part) for name, part in value.items() if name not in PASSING}
    return [_lasting(part) for part in value] if isinstance(value, list) else value


class Trials:
    """The trials of one command: `at_operations` or `at_random_times`, then `wrong` says what went wrong."""

    table = staticmethod(commands)

    def __init__(self, name: str, place: Path) -> None:
        """Run the command undisturbed.

        Raises:
            RuntimeError: it fails.
        """
        self.name, self.place, self.out, self.log = name, place, place / "out", place / "log.txt"
        self.plain, self.resuming = self.table(place)[name]
        self.tried, self.wrong = 0, list[str]()
        start(name, place)
        begun = time.monotonic()
        code, self.operations = run(self.plain, self.log, self.out)
        self.seconds = time.monotonic() - begun
        if code:
            raise RuntimeError(self.log.read_text()[-500:])
        self.whole = contents(self.out)

    def at_operations(self, chosen: Callable[[int], bool]) -> None:
        """Kill it at each chosen file operation."""
        for number in filter(chosen, range(1, self.operations + 1)):
            start(self.name, self.place)
            code, _ = run(self.plain, self.log, self.out, kill_at=number)
            if code == KILLED:
                self._go_on(f"operation {number}")
            elif code or self.name not in TIMED:
                self.wrong.append(f"operation {number}: not killed, exit {code}: {self.log.read_text()[-300:]}")

    def at_random_times(self, count: int) -> None:
        """Kill it at random times until it was killed `count` times before it had ended."""
        rng = random.Random(f"{self.name} {aekit.__version__}")
        for _ in range(3 * count):
            if self.tried == count:
                break
            seconds = rng.random() * self.seconds
            start(self.name, self.place)
            if run_and_kill(self.plain, self.log, self.out, seconds) == -signal.SIGKILL:
                self._go_on(f"after {seconds:.3f} of {self.seconds:.3f} s")

    def _go_on(self, when: str) -> None:
        """Run the command again, and compare."""
        self.tried += 1
        left = sorted(str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file())
        for leftover in self.out.rglob("*.part"):
            os.utime(leftover, (0, 0))  # as if the command were run again later
        complete = not self.differing()
        # A kill may leave a folder that only one of the two takes; a line of the other says which.
        for command in (self.plain, self.resuming):
            code, _ = run(command, self.log, self.out)
            if code != 2:
                break
        if code and not (code == 2 and complete):  # what was complete already need not be made again
            said = self.log.read_text()[-300:]
            self.wrong.append(f"{when}: exit {code} instead of going on from {left}: {said}")
        elif differing := self.differing():
            self.wrong.append(f"{when}: differs in {differing}, was left with {left}")

    def differing(self) -> list[str]:
        """Return the names of what differs from the undisturbed result."""
        after = contents(self.out)
        return sorted(name for name in self.whole.keys() | after.keys() if self.whole.get(name) != after.get(name))


LATE = ("faiss", "sklearn.cluster", "sklearn.ensemble", "sklearn.manifold", "torch._dynamo")
EXPORTERS = (
    "networkx",
    "onnxruntime",
    "onnxscript",
    "torch._inductor.compile_fx",
    "torch.onnx._internal.exporter._core",
)
"""Modules that commands import late, beside those of aekit."""


def import_all(exporters: bool = True) -> None:
    """Import the code of commands, so that children need not; that of exporters takes long."""
    import aekit_plugins

    modules = [
        module.name
        for package in (aekit, aekit_plugins)
        for module in walk_packages(package.__path__, f"{package.__name__}.")
    ]
    for module in (*modules, *LATE, *(EXPORTERS if exporters else ())):
        with contextlib.suppress(ImportError):
            import_module(module)


def main_of_trials(names: list[str], place: Path, how: list[str]) -> None:
    """Run the trials of commands, print a line for each, and keep the figures."""
    for name in names:
        trials = Trials(name, place)
        if how[0] == "--random":
            trials.at_random_times(int(how[1]))
        else:
            most = int(how[2]) if how[1:2] == ["--most"] else trials.operations
            spread = np.linspace(1, trials.operations, min(most, trials.operations)).round().astype(int)
            chosen = set(spread.tolist()) if how[0] == "all" else {int(number) for number in how[0].split(",")}
            trials.at_operations(lambda number, chosen=chosen: number in chosen)
        facts = {"command": name, "operations": trials.operations, "tried": trials.tried, "wrong": trials.wrong}
        print(json.dumps(facts | {"seconds": round(trials.seconds, 3)}), flush=True)
        said = "killed at random times" if how[0] == "--random" else "killed at file operations"
        if how[0] in ("all", "--random"):
            suite = "kills-at-random-times" if how[0] == "--random" else "kills-at-file-operations"
            note = f"of {trials.operations} file operations" if how[0] == "all" else ""
            row = Figure(name, said, trials.tried, len(trials.wrong), note)
            record(suite, [row], order=list(commands(place)))


def prepare_all(names: Iterable[str], place: Path) -> None:
    """Write what commands start from, unless it is there, and import their code."""
    torch.set_num_threads(1)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "study").exists():
        prepare(place)
        child = os.fork()  # so that this process starts no threads
        if not child:
            artifacts(place)
            os._exit(0)
        os.waitpid(child, 0)
    import_all(exporters=any(name.startswith("export") for name in names))


if __name__ == "__main__":
    folder = Path(sys.argv[2]).absolute()
    chosen = list(commands(folder)) if sys.argv[1] == "all" else sys.argv[1].split(",")
    prepare_all(chosen, folder)
    main_of_trials(chosen, folder, sys.argv[3:])
