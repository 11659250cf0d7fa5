"""Read mutated files, and count those that were opened, refused in one line, or neither.

``python tests/reliability/fuzz.py READER|all --inputs 100000`` fuzzes; files that cost a traceback, a crash or a hang are kept in
``--keep FOLDER``. Each worker is a child that is forked before anything runs, with limits of memory and time; where it crashes,
the next one goes on. Readers in Python are fuzzed by coverage too, if atheris is installed.
"""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import importlib.util
import json
import mmap
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
SECONDS, PATIENCE, MEMORY = 10, 60, 3 << 30
"""Seconds of work that a file may take, seconds in all, as machines are busy, and memory that a worker may take in addition to what
it starts with."""
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
    """What became of the files that a reader was given.

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
    """Give a reader a file, and count the outcome."""
    from reliability.fuzz_readers import READERS

    from aekit.errors import AekitError

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        READERS[name].use(path)
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


def fuzz(name: str, inputs: int, seconds: float, folder: Path, first: int = 0) -> Outcomes:
    """Mutate the small files of a reader; number 0 is unchanged, and what once went wrong comes first."""
    from reliability.fuzz_readers import CORPUS, READERS, prepare

    reader, outcomes = READERS[name], Outcomes()
    past = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    seeds, end = reader.seeds(), time.monotonic() + seconds
    path = prepare(reader, folder / "fuzzed")
    shared = mmap.mmap(-1, 16)  # number of the file, for the case that a worker crashes

    def content(number: int) -> bytes:
        if number < len(past):
            return past[number]
        rng = random.Random(f"{name} {first + number}")
        chosen = rng.choice(seeds)
        return mutate(chosen, rng, reader.is_text) if number > len(past) else chosen

    result = folder / "result.json"
    done, total = 0, inputs + len(past)
    while done < total and time.monotonic() < end:
        result.unlink(missing_ok=True)
        worker = os.fork()
        if not worker:
            part = Outcomes()
            limit_this_process()
            while done < total and part.tried < 2000 and time.monotonic() < end:
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
    """Wait for a worker; end it where it makes no progress, for which Python's own signal cannot stop code in C."""
    last, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if shared[:8] != last:
            last, since = shared[:8], time.monotonic()
        if time.monotonic() - since > PATIENCE:  # it waits, or Python has no turn
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
            return "hang"
        time.sleep(0.02)


def guided(name: str, inputs: int, seconds: float, folder: Path) -> Outcomes:
    """Fuzz a reader in Python by the branches that a file reaches, in a process of its own."""
    result, corpus = folder / "guided.json", folder / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    result.unlink(missing_ok=True)
    arguments = [sys.executable, __file__, name, "--guided", str(folder), "--inputs", str(inputs)]
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


def run_guided(name: str, inputs: int, seconds: float, folder: Path) -> None:
    """Run atheris, which ends this process; called by `guided`."""
    import atheris

    with atheris.instrument_imports(
        include=["aekit.data.readers", "aekit.registry.overrides", "aekit.training.recipe"]
    ):
        from reliability.fuzz_readers import READERS, prepare
    reader, outcomes = READERS[name], Outcomes()
    for number, seed in enumerate(reader.seeds()):
        (folder / "corpus" / str(number)).write_bytes(seed)
    path, result, last = prepare(reader, folder / "fuzzed"), folder / "guided.json", folder / "last"
    limit_this_process()

    def one(content: bytes) -> None:
        last.write_bytes(content)
        try_one(name, path, content, outcomes)
        if outcomes.tried % 100 == 0:
            outcomes.write(result)

    limits = [f"-runs={inputs}", f"-max_total_time={int(seconds)}", "-max_len=4096", "-rss_limit_mb=0", "-timeout=60"]
    atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", *limits, str(folder / "corpus")], one)
    atexit.register(outcomes.write, result)
    atheris.Fuzz()


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
    parser.add_argument("reader", help="a reader, several with commas between, or all")
    parser.add_argument("--inputs", type=int, default=2000, help="files of each reader")
    parser.add_argument("--seconds", type=float, default=1e9, help="most seconds of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--keep", type=Path, help="folder for a file of each kind of failure")
    parser.add_argument("--plain", action="store_true", help="leave out what coverage guides")
    parser.add_argument("--no-record", action="store_true", help="leave the figures as they are")
    parser.add_argument("--guided", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
    if chosen.guided:
        run_guided(chosen.reader, chosen.inputs, chosen.seconds, chosen.guided)
    from reliability.figures import Figure, record
    from reliability.fuzz_readers import READERS

    names = list(READERS) if chosen.reader == "all" else chosen.reader.split(",")
    if unknown := set(names) - set(READERS):
        parser.error(f"no reader {', '.join(sorted(unknown))}; available: {', '.join(READERS)}")
    has_atheris = importlib.util.find_spec("atheris") is not None
    figures, totals = [], Counter[str]()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        for name in names:
            ways: list[tuple[str, Any]] = [("mutated", lambda *a: fuzz(*a, chosen.first))]
            if READERS[name].is_python and has_atheris and not chosen.plain:
                ways.append(("mutated, guided by coverage", guided))
            for how, run in ways:
                start = time.monotonic()
                outcomes = run(name, chosen.inputs, chosen.seconds, Path(folder))
                report(name if how == "mutated" else f"{name} (guided)", outcomes, time.monotonic() - start)
                if chosen.keep:
                    keep(name, outcomes, chosen.keep)
                note = f"{outcomes.opened:,} opened, {outcomes.refused:,} refused in one line"
                figures.append(Figure(f"{name} files", how, outcomes.tried, outcomes.failed, note))
                totals.update(tried=outcomes.tried, failed=outcomes.failed)
    print(f"{totals['tried']} files, {totals['failed']} wrong")
    if not chosen.no_record:
        record("fuzz", figures)
    sys.exit(bool(totals["failed"]))


if __name__ == "__main__":
    main()
