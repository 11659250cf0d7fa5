"""Read mutated files, and count those that were opened, refused in one line, or neither.

``python tests/reliability/fuzz.py FORMAT|all --inputs 100000`` fuzzes; files that cost a traceback, a crash or a hang are kept in
``--keep FOLDER``. Readers take turns of ``--turn`` seconds, in ``--jobs`` processes, until the formats of each have had its
inputs, or ``--minutes`` are over; of its formats, the one with the fewest has the turn. A later run goes on where this one
stopped, and its figures add up, whatever was changed meanwhile; how many files the present code read is counted too, and what
once went wrong is read again by each run. Each worker is a child that is forked before anything runs, with limits of memory and
time; where it crashes, the next one goes on. Formats read by Python are fuzzed by coverage too, if atheris is installed.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import contextlib
import faulthandler
import functools
import gc
import hashlib
import importlib
import importlib.util
import json
import mmap
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
ROOT = Path(__file__).parents[2]
LATE = (
    *(
        "PIL.Image",
        "av",
        "h5py",
        "pyarrow.compute",
        "pyarrow.csv",
        "pyarrow.json",
        "pyarrow.parquet",
        "scipy.io",
        "scipy.sparse",
    ),
    *("soundfile", "tifffile", "zarr"),
)
"""Modules that readers import late: a worker that need not has more time for files."""
BATCH = 5000
"""Files that a worker is given; then a new one begins, so that what they leave in memory does not add up."""
SECONDS, PATIENCE, POLL, MEMORY = 10, 60, 0.02, 3 << 30
"""Seconds of work that a file may take, seconds in all, as machines are busy, seconds between two looks at a worker, and memory
that it may take in addition to what it starts with."""
WORDS = [
    *(b"nan", b"inf", b"-inf", b"1e400", b"9" * 400, b"-0", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\r"),
    *(b",", b";", b"\t", b'"', b"'", b":", b"?", b"@data\n", b"@classLabel true\n", b"#", b"=", b"[", b"]", b"{", b"}"),
    *(b"[[", b"true", b"null", b"''", b'"""', b"\\", b"\\ud800", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"1_0", b"0x1F"),
    *(b"1979-05-27T07:32:00Z", b"../..", b"/etc/passwd", b"/dev/zero", b"", b" ", b"id", b"label", b"split", b"path"),
    *(
        b"y",
        b"a" * 3000,
        b"-1",
        b"18446744073709551616",
        b"1" + b"0" * 12,
        b"\xd9\xa3",
        b"None",
        b"(",
        b")",
        b"L",
        b"O",
    ),
    *(b"'|O'", b"<f8", b"<U9", b"<M8", b"|V8", b"0,", b".", b"a.b.c.d", b"e", b"\x1b[31m", b"(a+)+$", b"[" * 2000),
]


@dataclass
class Outcomes:
    """What became of files of a format.

    Attributes:
        opened, refused: numbers of files.
        wrong: kind of failure -> number of files, and an example.
    """

    opened: int = 0
    refused: int = 0
    wrong: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return self.opened + self.refused + self.failed

    @property
    def failed(self) -> int:
        return sum(count for count, _, _ in self.wrong.values())

    def fail(self, kind: str, content: bytes, said: str) -> None:
        count = self.wrong.get(kind, (0, b"", ""))[0]
        self.wrong[kind] = (count + 1, content if not count else self.wrong[kind][1], said)

    def add(self, other: Outcomes) -> None:
        self.opened, self.refused = self.opened + other.opened, self.refused + other.refused
        for kind, (count, content, said) in other.wrong.items():
            before = self.wrong.get(kind, (0, content, said))
            self.wrong[kind] = (before[0] + count, *before[1:])

    def to_json(self) -> str:
        wrong = {kind: (count, content.hex(), said) for kind, (count, content, said) in self.wrong.items()}
        return json.dumps({"opened": self.opened, "refused": self.refused, "wrong": wrong})

    def write(self, path: Path) -> None:
        """Write them so that a crash leaves the older or the newer ones."""
        path.with_suffix(".part").write_text(self.to_json())
        path.with_suffix(".part").replace(path)

    @classmethod
    def from_json(cls, text: str) -> Outcomes:
        values = json.loads(text)
        wrong = {
            kind: (count, bytes.fromhex(content), said) for kind, (count, content, said) in values["wrong"].items()
        }
        return cls(values["opened"], values["refused"], wrong)


def mutate(content: bytes, rng: random.Random, is_text: bool) -> bytes:
    """Change some bytes, numbers, words or lines of a file."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        kind, size = rng.randrange(10), len(data)
        place = rng.randrange(size + 1)
        if kind == 0 and size:
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            data[rng.randrange(size)] = rng.randrange(256)
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + rng.randrange(1, 40)]
        elif kind == 4:
            data[place:place] = data[place : place + rng.randrange(1, 60)]
        elif kind in (5, 6):
            data[place : place + rng.choice([0, 0, 1, 2, 5])] = rng.choice(WORDS)
        elif kind == 7 and size >= 8:
            form = rng.choice(["<I", ">I", "<H", ">H", "<Q", ">Q"])
            number = rng.choice([0, 1, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 10**9, 2**63, 2**64 - 1])
            packed = struct.pack(form, number % (1 << 8 * struct.calcsize(form)))
            place = rng.randrange(size - 7)
            data[place : place + len(packed)] = packed
        elif kind == 8 and size:
            data[rng.randrange(size)] = rng.choice(b"0123456789,.:;-+eE\"'[]{}()=#@? \n\t")
        elif kind == 9 and is_text:
            lines = bytes(data).split(b"\n")
            if rng.random() < 0.3:
                rng.shuffle(lines)
            else:
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def try_one(name: str, path: Path, content: bytes, outcomes: Outcomes) -> None:
    """Read a file of a format, and count the outcome."""
    from reliability.fuzz_formats import FORMATS

    from aekit.errors import AekitError

    try:
        path.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        FORMATS[name].use(path)
        outcomes.opened += 1
    except AekitError as error:
        if any("\n" in line for line in getattr(error, "problems", [str(error)])) or len(str(error)) > 5000:
            outcomes.fail("several lines, or a long one", content, str(error)[:200])
        else:
            outcomes.refused += 1
    except TimeoutError:
        outcomes.fail("hang", content, "")
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "aekit" in frame.filename and "site-packages" not in frame.filename]
        last = (ours or frames)[-1]
        kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        outcomes.fail(kind, content, str(error)[:200])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def import_readers() -> None:
    """Import the code of readers, without running it, as threads do not survive a fork."""
    from aekit.errors import PluginError
    from aekit.registry.discovery import registry

    for plugin in registry().by_kind("source"):
        with contextlib.suppress(PluginError):
            plugin.load()
    for module in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def limit_this_process() -> None:
    """Limit memory, be quiet, and stop a file that takes too long."""

    def stop(*_: object) -> None:
        raise TimeoutError

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    signal.signal(signal.SIGPROF, stop)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    faulthandler.disable()
    gc.freeze()  # what was imported is not looked through again and again


def past_findings(name: str) -> list[bytes]:
    """Return the files of a format that once went wrong."""
    from reliability.fuzz_formats import CORPUS

    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def fuzz(name: str, inputs: int, seconds: float, folder: Path, first: int = 0, past: Sequence[bytes] = ()) -> Outcomes:
    """Read files of a format: those that once went wrong, a valid one, then mutated ones.

    Args:
        name: the format.
        inputs: number of files, beside those that once went wrong.
        seconds: most seconds.
        folder: folder for the files.
        first: number of the first file, for those of another turn; 0 is valid.
        past: what once went wrong.
    """
    from reliability.fuzz_formats import FORMATS, prepare

    kind, outcomes = FORMATS[name], Outcomes()
    seeds, end = kind.seeds(), time.monotonic() + seconds
    path = prepare(kind, folder / "fuzzed")
    shared = mmap.mmap(-1, 16)  # number of the file, for the case that a worker crashes

    def content(number: int) -> bytes:
        if number < first:
            return past[number - first]
        rng = random.Random(f"{name} {number}")
        chosen = rng.choice(seeds)
        return mutate(chosen, rng, kind.is_text) if number else chosen

    result = folder / "result.json"
    done, stop = first - len(past), first + inputs
    while done < stop and (done < first or time.monotonic() < end):
        result.unlink(missing_ok=True)
        shared[:8] = struct.pack("<q", done)
        worker = os.fork()
        if not worker:
            part = Outcomes()
            limit_this_process()
            while done < stop and part.tried < BATCH and (done < first or time.monotonic() < end):
                shared[:8] = struct.pack("<q", done)
                try_one(name, path, content(done), part)
                done += 1
                if part.tried % 50 == 0:
                    part.write(result)
            part.write(result)
            os._exit(0)
        code = _wait(worker, shared)
        if result.exists():
            outcomes.add(Outcomes.from_json(result.read_text()))
        at = struct.unpack("<q", shared[:8])[0]
        done = at + 1
        if code:
            outcomes.fail(f"crash ({code})" if isinstance(code, int) else code, content(at), "")
    return outcomes


def _wait(worker: int, shared: mmap.mmap) -> int | str:
    """Wait for a worker; end it where it makes no progress, for which Python's own signal cannot stop code in C.

    Seconds are counted while this process runs, so that a machine that runs others makes no hang.
    """
    last, waited = b"", 0.0
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if shared[:8] != last:
            last, waited = shared[:8], 0.0
        if waited > PATIENCE:  # it waits, or Python has no turn
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
            return "hang"
        time.sleep(POLL)
        waited += POLL


def guided(name: str, inputs: int, seconds: float, folder: Path, first: int, past: Sequence[bytes]) -> Outcomes:
    """Fuzz a format that Python reads by the branches that a file reaches, in a process of its own, as `fuzz` does.

    Later turns go on with the files that reached further; `past` is left to `fuzz`.
    """
    result, corpus = folder / "guided.json", folder / "corpus" / name
    if not first:
        shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    arguments = [
        sys.executable,
        __file__,
        name,
        "--guided",
        str(folder),
        "--inputs",
        str(inputs),
        "--first",
        str(first),
    ]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*arguments, "--seconds", str(seconds)], capture_output=True, text=True, errors="replace", env=environment
    )
    outcomes = Outcomes.from_json(result.read_text()) if result.exists() else Outcomes()
    if done.returncode or not result.exists():
        last = folder / "last"
        crashed = last.read_bytes() if last.exists() else b""
        outcomes.fail(f"crash under atheris ({done.returncode})", crashed, done.stderr[-300:])
    return outcomes


def run_guided(name: str, inputs: int, seconds: float, folder: Path, first: int) -> None:
    """Run atheris, which ends this process; called by `guided`."""
    import atheris

    with atheris.instrument_imports(
        include=["aekit.data.readers", "aekit.registry.overrides", "aekit.training.recipe"]
    ):
        from reliability.fuzz_formats import FORMATS, prepare
    kind, outcomes, corpus = FORMATS[name], Outcomes(), folder / "corpus" / name
    for number, seed in enumerate(kind.seeds()):
        (corpus / str(number)).write_bytes(seed)
    path, result, last = prepare(kind, folder / "fuzzed"), folder / "guided.json", folder / "last"
    limit_this_process()

    def one(content: bytes) -> None:
        last.write_bytes(content)
        try_one(name, path, content, outcomes)
        if (
            outcomes.tried < 100 or outcomes.tried % 100 == 0
        ):  # few files may be all, and atheris may end without exit handlers
            outcomes.write(result)

    limits = [f"-runs={inputs}", f"-max_total_time={max(1, int(seconds))}", "-max_len=4096", "-rss_limit_mb=0"]
    limits += ["-timeout=60", f"-seed={first + 1}"]
    atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", *limits, str(corpus)], one)
    atexit.register(outcomes.write, result)
    atheris.Fuzz()


WAYS = {"mutated": fuzz, "mutated, guided by coverage": guided}


@dataclass
class Turns:
    """What a format has had in one way of fuzzing, over the history of the code.

    Attributes:
        next: number of the next file.
        outcomes: what became of the files; wrong are those of the last code.
        code: digest of the code that read the last ones.
        by_code: number of files that this code read.
        earlier: number of files that code before it got wrong.
        now: digest of the present code.
        past: files that the present code has to read again: what once went wrong.
    """

    next: int = 0
    outcomes: Outcomes = field(default_factory=Outcomes)
    code: str = ""
    by_code: int = 0
    earlier: int = 0
    now: str = ""
    past: list[bytes] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.outcomes.tried + self.earlier

    def add(self, outcomes: Outcomes) -> None:
        """Add what became of the files of a turn."""
        if self.code != self.now:
            self.earlier += self.outcomes.failed
            self.outcomes.wrong, self.code, self.by_code = {}, self.now, 0
        self.next += max(0, outcomes.tried - len(self.past))
        self.by_code += outcomes.tried
        self.outcomes.add(outcomes)
        self.past = []


@functools.cache
def code_digest(of_recipes: bool) -> str:
    """Return a digest of the code that reads data, or recipes, whatever its comments and layout."""
    digest = hashlib.sha256()
    folders = ["aekit/data", "aekit/io", "aekit/registry", "plugins/aekit_plugins/sources"]
    folders += ["aekit/training"] if of_recipes else []
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + ast.dump(ast.parse(path.read_bytes())).encode())
    return digest.hexdigest()[:12]


Key = tuple[str, str]
"""A format and a way of fuzzing."""


def next_turn(kept: dict[Key, Turns], inputs: int, waiting: list[str], running: set[Key]) -> tuple[Key, int] | None:
    """Return what has the next turn, with the number of its files; None if nothing may have one.

    Args:
        kept: what formats have had.
        inputs: number of files of each reader.
        waiting: readers, in the order of their turns; the one that has the turn goes to the end.
        running: what has a turn now.
    """
    from reliability.fuzz_formats import FORMATS

    for key, turns in kept.items():
        if turns.past and key not in running:
            return key, 0
    for reader in list(waiting):
        keys = [key for key in kept if FORMATS[key[0]].reader == reader]
        lacking, free = inputs - sum(kept[key].tried for key in keys), set(keys) - running
        if lacking > 0 and free:
            waiting.remove(reader)
            waiting.append(reader)
            return min(sorted(free), key=lambda key: kept[key].tried), -(-lacking // len(keys))
    return None


def take_turns(jobs: int, inputs: int, turn: float, end: float, kept: dict[Key, Turns], told: Any) -> None:
    """Let readers take turns in several processes, until each has had its inputs or the time is over.

    Args:
        jobs: number of processes.
        inputs: files of each reader, of all its formats.
        turn: seconds of a turn.
        end: when the time is over, of `time.monotonic`.
        kept: what formats have had; grows.
        told: called with the format, the way, the outcomes and the seconds of each turn.
    """
    from reliability.fuzz_formats import FORMATS

    context = multiprocessing.get_context("fork")
    asked, answered = context.SimpleQueue(), context.SimpleQueue()

    def work(folder: Path) -> None:
        folder.mkdir()
        while (task := asked.get()) is not None:
            (name, how), files, first, past = task
            start = time.monotonic()
            outcomes = WAYS[how](name, files, max(0.0, min(turn, end - start)), folder, first, past)
            answered.put((name, how, outcomes.to_json(), time.monotonic() - start))

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        workers = [context.Process(target=work, args=(Path(folder) / str(number),)) for number in range(jobs)]
        for worker in workers:
            worker.start()
        waiting, running = list(dict.fromkeys(FORMATS[name].reader for name, _ in kept)), set[Key]()
        while True:
            while len(running) < jobs and time.monotonic() < end:
                if (chosen := next_turn(kept, inputs, waiting, running)) is None:
                    break
                key, files = chosen
                asked.put((key, files, kept[key].next, kept[key].past))
                running.add(key)
            if not running:
                break
            name, how, text, seconds = answered.get()
            running.remove((name, how))
            outcomes = Outcomes.from_json(text)
            kept[name, how].add(outcomes)
            told(name, how, outcomes, seconds)
        for _ in workers:
            asked.put(None)
        for worker in workers:
            worker.join()


def report(name: str, outcomes: Outcomes, seconds: float) -> None:
    counts = f"{outcomes.tried} files: {outcomes.opened} opened, {outcomes.refused} refused, {outcomes.failed} wrong"
    print(f"{name:18} {counts}, {seconds:.0f} s", flush=True)
    for kind, (count, _, said) in sorted(outcomes.wrong.items(), key=lambda item: -item[1][0]):
        print(f"{'':20}{count} x {kind}: {said}", flush=True)


def keep(name: str, outcomes: Outcomes, folder: Path) -> None:
    """Write an example of each kind of failure."""
    for kind, (_, content, _) in outcomes.wrong.items():
        path = folder / name / "".join(letter if letter.isalnum() else "-" for letter in kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", help="a format, several with commas between, or all")
    parser.add_argument("--inputs", type=int, default=2000, help="files of each reader, of all its formats")
    parser.add_argument("--minutes", type=float, default=1e6, help="most minutes")
    parser.add_argument("--turn", type=float, default=1e6, help="seconds of a reader's turn")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--keep", type=Path, help="folder for a file of each kind of failure")
    parser.add_argument("--plain", action="store_true", help="leave out what coverage guides")
    parser.add_argument("--no-record", action="store_true", help="leave the figures as they are")
    for hidden in ("--guided", "--seconds", "--first"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1", "AEKIT_THREADS": "1"}
    if chosen.guided:
        run_guided(chosen.format, chosen.inputs, float(chosen.seconds), Path(chosen.guided), int(chosen.first))
    from reliability.fuzz_formats import FORMATS

    names = list(FORMATS) if chosen.format == "all" else chosen.format.split(",")
    if unknown := set(names) - set(FORMATS):
        parser.error(f"no format {', '.join(sorted(unknown))}; available: {', '.join(FORMATS)}")
    has_atheris = importlib.util.find_spec("atheris") is not None and not chosen.plain
    before = {} if chosen.no_record else read_kept()
    kept = {
        (name, how): before.get((name, how), Turns()) for name in names for how in ways_of(FORMATS[name], has_atheris)
    }
    for (name, how), turns in kept.items():
        turns.now = code_digest(FORMATS[name].reader == "recipes")
        if how == "mutated":
            past = [
                one.outcomes.wrong.values() for (of, _), one in kept.items() if of == name and one.code != turns.now
            ]
            turns.past = past_findings(name) + [content for wrong in past for _, content, _ in wrong]
    import_readers()
    totals = Counter[str]()

    def told(name: str, how: str, outcomes: Outcomes, seconds: float) -> None:
        report(name if how == "mutated" else f"{name} (guided)", outcomes, seconds)
        totals.update(tried=outcomes.tried, failed=outcomes.failed)
        if chosen.keep:
            keep(name, outcomes, chosen.keep)
        if not chosen.no_record:
            record_all(read_kept() | kept)

    take_turns(chosen.jobs, chosen.inputs, chosen.turn, time.monotonic() + 60 * chosen.minutes, kept, told)
    print(f"{totals['tried']} files, {totals['failed']} wrong")
    sys.exit(bool(totals["failed"]))


def ways_of(kind: Any, has_atheris: bool) -> list[str]:
    """Return the ways in which a format is fuzzed."""
    return list(WAYS) if kind.is_python and has_atheris else list(WAYS)[:1]


def read_kept() -> dict[Key, Turns]:
    """Return what formats have had, from the figures that are kept."""
    from reliability.figures import FOLDER

    path = FOLDER / "fuzz.json"
    states = json.loads(path.read_text("utf-8")).get("states", []) if path.exists() else []
    return {
        (state["format"], state["how"]): Turns(
            state["next"],
            Outcomes.from_json(json.dumps(state["outcomes"])),
            state["code"],
            state["by_code"],
            state["earlier"],
        )
        for state in states
    }


def record_all(kept: dict[Key, Turns]) -> None:
    """Keep the figures of all formats, and where they go on."""
    from reliability.figures import Figure, record
    from reliability.fuzz_formats import FORMATS

    figures, states = [], []
    readers, names = list(dict.fromkeys(kind.reader for kind in FORMATS.values())), list(FORMATS)
    order = sorted(kept, key=lambda key: (readers.index(FORMATS[key[0]].reader), names.index(key[0]), key[1]))
    for name, how in order:
        turns = kept[name, how]
        outcomes = turns.outcomes
        by_code = turns.by_code if turns.code == code_digest(FORMATS[name].reader == "recipes") else 0
        note = f"{outcomes.opened:,} opened, {outcomes.refused:,} refused in one line; {by_code:,} by the present code"
        note += f"; {turns.earlier:,} wrong with earlier code" if turns.earlier else ""
        figures.append(Figure(f"{name} files", how, turns.tried, outcomes.failed, note, FORMATS[name].reader))
        state = {"format": name, "how": how, "next": turns.next, "code": turns.code, "by_code": turns.by_code}
        states.append(state | {"earlier": turns.earlier, "outcomes": json.loads(outcomes.to_json())})
    record("fuzz", figures, states=states)


if __name__ == "__main__":
    main()
