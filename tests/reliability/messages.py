"""Let worker processes say what they should not, and see that no result is wrong and no command ends in a traceback.

``python tests/reliability/messages.py FOLDER [COUNT]`` plays COUNT trials of each kind of message; it prints a line of JSON for
each receiver, and keeps the figures. The workers are threads at the other end of the connection that a process would have, which
costs nothing to start; `worker_kills.py` kills processes. A worker that hangs between messages is waited for, as a batch may take
any time; one that hangs in the middle of a message is not.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from figures import Figure, record_trials, start

import aekit
from aekit.analysis import _anomaly_scoring
from aekit.encoder._embedding_worker import Worker as EmbeddingWorker
from aekit.encoder.engines import _processes as computing
from aekit.encoder.engines.units import Result, decode_positions, encode_positions
from aekit.encoder.engines.worker import WorkerBase
from aekit.errors import AekitError
from aekit.evaluation import _processes as evaluating
from aekit.evaluation.results import Metric, Result as Outcome, Split
from aekit.io.child_processes import STALL, Child
from aekit.registry.discovery import Plugin
from aekit.registry.hookspecs import API_VERSION, Entry
from aekit.workflows.applying import _reconstruction
from aekit.workflows.applying._worker import Worker as ApplyingWorker

SAMPLES, BATCH = 60, 4


STALL_SECONDS = "0.1"
"""After which a worker that is silent in the middle of a message is ended."""


class Gone(Exception):
    """The worker ends."""


class Harmful:
    """What writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.path, "unpickled")


@dataclass
class Tongue:
    """How a worker says something wrong.

    Attributes:
        connection: to the process that has started it.
        random: draws.
        trap: file that must not come into being.
        unit: positions of the samples of its answer.
    """

    connection: Connection
    random: random.Random
    trap: Path
    unit: np.ndarray

    def raw(self, content: bytes) -> None:
        """Write bytes that need not be a message."""
        os.write(self.connection.fileno(), content)

    def some(self, count: int = 200) -> bytes:
        return self.random.randbytes(self.random.randrange(1, count))


def half(tongue: Tongue, answer: bytes) -> None:
    tongue.raw(struct.pack("!i", len(answer)) + answer[: tongue.random.randrange(len(answer) or 1)])
    raise Gone


def stalled(tongue: Tongue, answer: bytes) -> None:
    tongue.raw(struct.pack("!i", len(answer)) + answer[: tongue.random.randrange(len(answer) or 1)])
    while True:
        tongue.connection.recv_bytes()  # until it is closed


def stray(tongue: Tongue, answer: bytes) -> None:
    tongue.raw(tongue.some())
    raise Gone


def size(*numbers: int) -> Callable[[Tongue, bytes], None]:
    """Return what says that a message has one of these sizes, more than `int` holds where they are larger."""

    def say(tongue: Tongue, answer: bytes) -> None:
        number = tongue.random.choice(numbers)
        small = -(2**31) <= number < 2**31
        tongue.raw(struct.pack("!i", number) if small else struct.pack("!iQ", -1, number))

    return say


def end(tongue: Tongue, answer: bytes) -> None:
    raise Gone


def twice(tongue: Tongue, answer: bytes) -> None:
    tongue.connection.send_bytes(answer)
    tongue.connection.send_bytes(answer)


def flipped(tongue: Tongue, answer: bytes) -> None:
    changed = bytearray(answer)
    changed[tongue.random.randrange(min(len(changed), 400))] ^= 1 << tongue.random.randrange(8)
    tongue.connection.send_bytes(bytes(changed))


def cut(tongue: Tongue, answer: bytes) -> None:
    tongue.connection.send_bytes(answer[: tongue.random.randrange(len(answer))])


ANY: dict[str, Callable[[Tongue, bytes], None]] = {
    "rubbish": lambda tongue, answer: tongue.connection.send_bytes(tongue.some()),
    "rubbish without a length": stray,
    "nothing": lambda tongue, answer: tongue.connection.send_bytes(b""),
    "half a message": half,
    "half a message, and silence": stalled,
    "a huge length": size(2**62, 2**63, 2**64 - 1, 2**45),
    "a negative length": size(-2, -7, -(2**31)),
    "a cut answer": cut,
    "the answer twice": twice,
    "its end": end,
    "something pickled": lambda tongue, answer: tongue.connection.send_bytes(pickle.dumps(Harmful(tongue.trap))),
}
"""Kind of message -> what says it, to any receiver."""


def changed(change: Callable[[Result, Tongue], Result]) -> Callable[[Tongue, bytes], None]:
    """Return what sends another result than it was to send."""

    def say(tongue: Tongue, answer: bytes) -> None:
        result = Result.from_bytes(answer, tongue.unit)
        tongue.connection.send_bytes(change(result, tongue).to_bytes())

    return say


def without_rows(result: Result, tongue: Tongue) -> Result:
    kept = np.sort(tongue.random.sample(range(len(result.positions)), len(result.positions) - 1)).astype(int)
    columns = {"vector": result.columns["vector"][kept], "hash": [result.columns["hash"][place] for place in kept]}
    return replace(result, positions=result.positions[kept], columns=columns)


def with_column(name: str, change: Callable[[Any], Any]) -> Callable[[Tongue, bytes], None]:
    """Return what sends another column in place of one."""
    return changed(lambda result, _: replace(result, columns={**result.columns, name: change(result.columns[name])}))


RESULTS = {
    "a flipped bit of its head": flipped,
    "an answer without a row": changed(without_rows),
    "rows in another order": changed(lambda result, _: replace(result, positions=result.positions[::-1].copy())),
    "rows of another unit": changed(lambda result, _: replace(result, positions=result.positions + BATCH)),
    "vectors of another width": with_column("vector", lambda vectors: vectors[:, :1].copy()),
    "vectors of another type": with_column("vector", lambda vectors: vectors.astype(np.float64)),
    "texts in place of vectors": with_column("vector", lambda vectors: ["x"] * len(vectors)),
    "hashes that are missing": with_column("hash", lambda hashes: [None] * len(hashes)),
    "other ids": changed(lambda result, _: replace(result, ids="0" * 32)),
    "ids that are no text": changed(lambda result, _: replace(result, ids=None)),
    "reasons that are no text": changed(lambda result, _: replace(result, skipped={"0": [1]})),
    "an error without a line": changed(lambda result, _: replace(result, error={"type": "DataError"})),
    "an error of no type": changed(lambda result, _: replace(result, error={"type": 3, "line": "x"})),
    "an error that is none": changed(lambda result, _: replace(result, error=[])),
}
"""Kind of message -> what says it, to the process that embeds."""


def with_bytes(name: str, *contents: bytes) -> Callable[[Tongue, bytes], None]:
    """Return what sends other bytes than those of an array in a column, which need not be there."""
    return changed(
        lambda result, tongue: replace(
            result, columns={**result.columns, name: [tongue.random.choice(contents)] * len(result.positions)}
        )
    )


def without_column(name: str) -> Callable[[Tongue, bytes], None]:
    return changed(lambda result, _: replace(result, columns={n: c for n, c in result.columns.items() if n != name}))


def _saved(values: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, values, **options)
    return content.getvalue()


NO_ARRAYS = (
    b"x",
    b"PK\x03\x04 no archive",
    b"\x93NUMPY",
    _saved(np.eye(3))[:-5],
    _saved(np.asarray([{}], object), allow_pickle=True),
    _saved(np.asarray(["text"])),
    b'["a", 3]\nPK\x03\x04',
    b"null\n" + _saved(np.eye(3)),
    b"\xff\xfe\n",
)
"""Bytes that are no array of numbers, and no set of them."""
OUTPUTS = {
    "an output that is no array": with_bytes("output", *NO_ARRAYS),
    "shown samples that are no arrays": with_bytes("shown", *NO_ARRAYS),
    "no output": without_column("output"),
    "texts in place of outputs": with_column("output", lambda outputs: ["x"] * len(outputs)),
    "a metric without a name": with_bytes("metric {", b"x"),
}
"""Kind of message -> what says it, to the process that applies a run."""
SCORES = {
    "counts of pixels that are no arrays": with_bytes("pixels patches", *NO_ARRAYS, _saved(np.eye(3))),
    "no scores": without_column("score combined"),
    "scores of another type": with_column("score combined", lambda scores: scores.astype(np.float32)),
    "texts in place of scores": with_column("score combined", lambda scores: ["x"] * len(scores)),
}
"""Kind of message -> what says it, to the process that scores."""


class Process:
    """A thread in the place of a process."""

    pid = 0

    def __init__(self, connection: Connection, work: Callable[[Connection], None]) -> None:
        self.connection, self._work = connection, work
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(Gone, EOFError, OSError), self.connection:
            self._work(self.connection)

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def kill(self) -> None:
        pass


def child_of(work: Callable[[Connection], None]) -> Callable[..., Child]:
    """Return what starts a worker in place of `start_child`."""

    def start(*arguments: Any, **settings: Any) -> Child:
        here, there = Pipe()
        return Child(Process(there, work), here, None)  # type: ignore[arg-type]

    return start


def hostile_worker(
    kind: type[WorkerBase], say: Callable[[Tongue, bytes], None], draws: random.Random, trap: Path, often: float
) -> Any:
    """Return a worker that computes, and says something else now and then; a share of them before they are ready."""

    def work(connection: Connection) -> None:
        tongue = Tongue(connection, draws, trap, np.arange(BATCH))
        worker = kind(connection.recv_bytes())
        if draws.random() < often / 4:
            say(tongue, worker.work(encode_positions(tongue.unit)))
        connection.send_bytes(b"ready")
        while True:
            unit = connection.recv_bytes()
            answer, tongue.unit = worker.work(unit), decode_positions(unit)
            if draws.random() < often:
                say(tongue, answer)
            else:
                connection.send_bytes(answer)

    return work


@dataclass(frozen=True)
class Receiver:
    """A command that computes with workers.

    Attributes:
        kind: of the workers.
        kinds: kind of message -> what says it.
        run: computes, with further arguments; returns rows to compare, or raises.
    """

    kind: type[WorkerBase]
    kinds: Mapping[str, Callable[[Tongue, bytes], None]]
    run: Callable[..., tuple[Sequence[str], np.ndarray]]

    def trial(self, place: Path, kind: str, seed: int, expected: tuple[Sequence[str], np.ndarray]) -> str:
        """Compute with hostile workers; return what is wrong, or ""."""
        draws, trap = random.Random(f"{kind} {seed}"), place / "trap"
        often = draws.choice([0.1, 0.3, 1.0])
        try:
            worker = hostile_worker(self.kind, self.kinds[kind], draws, trap, often)
            with patch.object(computing, "start_child", child_of(worker)):
                ids, values = self.run(place, engine="processes", workers=2)
        except AekitError as error:
            if "\n" in str(error):
                return f"{kind} {seed}: several lines: {error}"
            ids, values = self.run(place, goes_on=True)
        except Exception as error:
            return f"{kind} {seed}: {type(error).__name__}: {error}"
        if trap.exists():
            return f"{kind} {seed}: a message was unpickled"
        same = list(ids) == list(expected[0]) and np.allclose(values, expected[1], atol=1e-5)
        return "" if same else f"{kind} {seed}: {len(ids)} rows, which differ"


def embedded(place: Path, goes_on: bool = False, **engine: Any) -> tuple[Sequence[str], np.ndarray]:
    out = place / "out"
    if not goes_on:
        shutil.rmtree(out, ignore_errors=True)
    aekit.embed(place / "run", place / "data.npy", out=out, batch_size=BATCH, **engine)
    embeddings = aekit.Embeddings.open(out)
    return list(embeddings.ids), embeddings.vectors


def applied(place: Path, goes_on: bool = False, **engine: Any) -> tuple[Sequence[str], np.ndarray]:
    with patch.object(_reconstruction, "BATCH", BATCH):
        result = aekit.apply(place / "run", place / "data.npy", baselines=False, **engine)
    assert result.values is not None
    return [str(row) for row in range(result.count)], np.stack([np.asarray(value) for value in result.values])


def scored(place: Path, goes_on: bool = False, **engine: Any) -> tuple[Sequence[str], np.ndarray]:
    with patch.object(_anomaly_scoring, "BATCH", BATCH):
        result = aekit.find_anomalies(place / "run", place / "data.npy", baselines=False, **engine)
    order = np.argsort(result.ids)
    return sorted(result.ids), np.asarray(result.scores["combined"])[order]


COMPUTING = {
    "embed --engine processes": Receiver(EmbeddingWorker, ANY | RESULTS, embedded),
    "apply --engine processes": Receiver(ApplyingWorker, ANY | OUTPUTS, applied),
    "anomalies --engine processes": Receiver(_anomaly_scoring.Worker, ANY | SCORES, scored),
}


PICKLED = {
    "a pickled number": lambda tongue, answer: tongue.connection.send_bytes(pickle.dumps(3)),
    "a pickled pair of others": lambda tongue, answer: tongue.connection.send_bytes(pickle.dumps(("x", "y"))),
    "warnings that are none": lambda tongue, answer: tongue.connection.send_bytes(
        pickle.dumps((Outcome({"a": Metric(1.0)}), [("x", int)]))
    ),
    "a class that is not there": lambda tongue, answer: tongue.connection.send_bytes(b"cnowhere\nNothing\n."),
}
"""Kind of message -> what says it, to the process that evaluates."""


def evaluate_trial(place: Path, kind: str, seed: int) -> str:
    """Run an evaluator in a hostile process; return what is wrong, or ""."""
    draws, lines = random.Random(f"{kind} {seed}"), list[str]()
    say = ({name: said for name, said in ANY.items() if "pickled" not in name and "twice" not in name} | PICKLED)[kind]

    def work(connection: Connection) -> None:
        connection.recv_bytes()
        say(
            Tongue(connection, draws, place / "trap", np.arange(BATCH)),
            pickle.dumps((Outcome({"there": Metric(1.0)}), [])),
        )
        connection.recv_bytes()

    processes = evaluating.EvaluatorProcesses([child_of(work)()], lines.append)
    here = Outcome({"here": Metric(1.0)})
    plugin = Plugin("evaluator", Entry("x", "x:y", "x", API_VERSION), "x", "1")
    split = Split(np.arange(2), np.arange(2, 4), "x", "x")
    try:
        result = processes.run(lambda *_: here, plugin, np.zeros((4, 2), np.float32), None, split, {})
    except Exception as error:
        return f"{kind} {seed}: {type(error).__name__}: {error}"
    is_said = len(lines) == 1 and "\n" not in lines[0] and not processes.children
    return "" if result is here and is_said else f"{kind} {seed}: {result}, {lines}"


def serve_trial(place: Path, kind: str, seed: int) -> str:
    """Serve with hostile workers, none of which is ever ready; return what is wrong, or ""."""
    from aekit.serving import workers
    from aekit.serving.catalog import Catalog
    from aekit.serving.server import bind_socket

    draws, lines = random.Random(f"{kind} {seed}"), list[str]()

    def work(connection: Connection) -> None:
        connection.recv_bytes()
        ANY[kind](Tongue(connection, draws, place / "trap", np.arange(BATCH)), b"an error of two\nlines \x1b[31m")
        connection.recv_bytes()

    catalog = Catalog(aekit.open_index(place / "index"))
    with bind_socket("127.0.0.1", 0) as listening, patch.object(workers, "start_child", child_of(work)):
        supervisor = workers._Supervisor(catalog, listening, "127.0.0.1", 1, lines.append, place / "serving", None)
        try:
            supervisor.run()
        except AekitError as error:
            bad = [line for line in (*lines, str(error)) if "\n" in line or "\x1b" in line]
            return f"{kind} {seed}: {bad}" if bad else ""
        except Exception as error:
            return f"{kind} {seed}: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(place / "serving" / "metrics")
    return f"{kind} {seed}: it serves with {lines}"


def prepare(place: Path) -> None:
    """Write a run, data with a sample that is skipped, and an index."""
    rows = np.random.default_rng(0).normal(size=(SAMPLES, 5)).astype(np.float32)
    rows[7] = np.nan
    np.save(place / "data.npy", rows)
    (place / "serving").mkdir(exist_ok=True)
    fast = {"train.epochs": 1, "train.precision": "fp32"}
    np.save(place / "readable.npy", np.delete(rows, 7, 0))
    aekit.fit(place / "readable.npy", dim=3, out=place / "run", overrides=fast, report=False)
    aekit.embed(place / "run", place / "data.npy", out=place / "single", batch_size=BATCH)
    if not (place / "index").exists():
        aekit.build_index(place / "single", place / "index")


RECEIVERS: dict[str, list[str]] = {
    **{name: list(receiver.kinds) for name, receiver in COMPUTING.items()},
    "evaluate": [kind for kind in ANY if "pickled" not in kind and "twice" not in kind] + [*PICKLED],
    "serve --workers": list(ANY),
}
"""Receiver -> the kinds of messages that it gets."""


def trials(place: Path, count: int, every: int = 1) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each receiver, the number of its trials, with `every` n-th of its kinds of messages, and what went wrong."""
    prepare(place)
    play: dict[str, Callable[[str, int], str]] = {
        "evaluate": lambda kind, seed: evaluate_trial(place, kind, seed),
        "serve --workers": lambda kind, seed: serve_trial(place, kind, seed),
    }
    with patch.dict(os.environ, {STALL: STALL_SECONDS}):
        for receiver, kinds in RECEIVERS.items():
            trial = play.get(receiver)
            if trial is None:
                computes = COMPUTING[receiver]
                trial = partial(_trial, computes, place, computes.run(place))
            wrong = [trial(kind, seed) for kind in kinds[::every] for seed in range(count)]
            yield receiver, len(wrong), [problem for problem in wrong if problem]


def _trial(computes: Receiver, place: Path, expected: tuple[Sequence[str], np.ndarray], kind: str, seed: int) -> str:
    return computes.trial(place, kind, seed, expected)


def main() -> None:
    rows = trials(*start(20))
    record_trials(
        "messages",
        (
            (Figure(receiver, f"{len(RECEIVERS[receiver])} kinds of messages", tried, len(wrong)), wrong)
            for receiver, tried, wrong in rows
        ),
    )


if __name__ == "__main__":
    main()
