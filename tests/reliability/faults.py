"""Run commands while something fails: full disks, unreadable files, memory limits, signals, clocks, caches, two writers.

``python tests/reliability/faults.py COMMANDS FOLDER FAULTS`` runs commands, ``all`` or ``fit,embed``, with faults, ``all`` or
``full,signals``; ``--most N`` limits the trials of each fault in each command. It prints a line of JSON for each command and
fault. The figures of a command are kept for docs/reliability.md once it had all faults.

A command must succeed, or end with exit code 2 and one line, or with 130 after a signal: no traceback, and no half-written file
under a final name. Once the fault is gone, the same command, or the one that resumes, must give the undisturbed result.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crashes
import numpy as np
from crashes import COPIES, FAST, STOPS, WRITES, begin, contents, end, start, summary
from figures import Figure, record
from scipy import linalg
from sklearn.cluster import KMeans

import aekit
from aekit.io.atomic import _CANNOT_WRITE

BAD_INPUT, INTERRUPTED = 2, 130
LARGE = "size=64m"


def commands(place: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return those of crashes.py, and others that write or read a lot."""
    out = str(place / "out" / "it")
    more = {
        "search": ["search", str(place / "index"), "id:5", "--html", f"{out}.html", "-q"],
        "plugins-new": ["plugins", "new", "own", "-o", out],
        "demo": ["demo", "-o", out, "-q"],
        "fit-images": ["fit", str(place / "images"), "-o", out, "--dim", "2", "--variant", "plain", *FAST],
        "data": ["data", str(place / "images"), "-q"],
    }
    once = {name: (command, command) for name, command in more.items()}
    once["fit-images"] = more["fit-images"], [*more["fit-images"], "--resume"]
    return crashes.commands(place) | once


def prepare(place: Path) -> None:
    """Write what the commands start from."""
    from PIL import Image

    crashes.prepare(place)
    (place / "images").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "images" / f"{number}.png")
    crashes.artifacts(place)


def failing(place: Path, events: set[str], number: int, code: int, lasting: bool) -> None:
    """Make the n-th of these operations below a place fail, and if lasting the later ones too."""
    count = 0

    def fail(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in events or (event == "open" and not details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        if isinstance(details[0], (str, os.PathLike)) and str(place) in os.fspath(details[0]):
            count += 1
            if count == number or (lasting and count > number):
                raise OSError(code, os.strerror(code), os.fspath(details[0]))

    sys.addaudithook(fail)


def obey_permissions() -> None:
    """Give up the right of root to overrule permissions, which it keeps as another user's name would cost reading the code."""
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for number in range(3):
        sets[number] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, sets)


def limit_memory(megabytes: int) -> None:
    """Limit the address space to what is in use and so much more."""
    # OpenBLAS takes 32 MB at the first product of a process, and waits for them for ever where memory is limited.
    square = np.ones((256, 256))
    linalg.blas.dgemm(1.0, square @ square, square)
    linalg.blas.sgemm(1.0, square.astype(np.float32), square.astype(np.float32))
    KMeans(2, n_init=1).fit(square)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)


def set_clock_back() -> None:
    """Make each look at the clock show an earlier time."""
    now, looks = time.time(), iter(range(10**9))
    time.time = lambda: now - 3600.0 * next(looks)  # type: ignore[assignment]


def environment(**values: str | None) -> None:
    """Set environment variables, and unset those that are None."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    tempfile.tempdir = None


def leave_on_signal() -> None:
    """Let a signal that arrives before the command handles it count as one that stopped it."""
    for number in STOPS:
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory; only root may."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@functools.cache
def may_mount() -> bool:
    """Return whether file systems can be mounted here."""
    try:
        with tempfile.TemporaryDirectory() as folder, mounted(Path(folder), LARGE):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


class Trials(crashes.Trials):
    """The trials of one command: a method for each fault, then `wrong` says what went wrong.

    Args:
        most: number of trials of a fault.
    """

    table = staticmethod(commands)

    def __init__(self, name: str, place: Path, most: int) -> None:
        start(name, place)
        self.before, self.most = contents(place / "out"), most
        super().__init__(name, place)
        self.bytes = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())

    def _run(self, before: Callable[[], object] | None = None) -> tuple[int, int]:
        return end(*begin(self.plain, self.log, self.out, before=before))

    def try_with(self, what: str, before: Callable[[], object], codes: tuple[int, ...] = (0, BAD_INPUT)) -> None:
        """Run the command with a fault that `before` makes in its process, then again without."""
        start(self.name, self.place)
        code, _ = self._run(before)
        self.judge(what, code, codes)
        if code == 0 and self._streams():
            return  # there was no room for the samples: their order, and so the result, is another one, as the recipe says
        self.go_on(what)

    def _streams(self) -> bool:
        """Return whether the command read its samples as a stream."""
        return any("streaming = true" in path.read_text() for path in self.out.rglob("recipe.toml"))

    def judge(self, what: str, code: int, codes: tuple[int, ...] = (0, BAD_INPUT)) -> None:
        """Judge how the command ended, and what it left."""
        self.tried += 1
        said = self.log.read_text("utf-8", "replace")
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if code not in codes or "Traceback" in said or "Exception ignored" in said:
            self.wrong.append(f"{what}: exit {code}: {said[-600:]}")
        elif code == BAD_INPUT and len(errors) != 1:
            self.wrong.append(f"{what}: {len(errors)} lines of errors: {said[-300:]}")
        elif self._half_written():
            self.wrong.append(f"{what}: half-written {self._half_written()}: {said[-300:]}")

    def _half_written(self) -> list[str]:
        """Return the files under a final name that hold less than they should."""
        half = []
        for path in sorted(path for path in self.out.rglob("*") if path.is_file()):
            name = str(path.relative_to(self.out))
            if path.suffix in (".part", ".lock", ".jsonl") or ".part/" in name:
                continue
            try:
                equal = summary(path)
            except Exception:
                half.append(name)
                continue
            if path.suffix in (".html", ".csv", ".png") and equal not in (self.whole.get(name), self.before.get(name)):
                half.append(name)
        return half

    def go_on(self, what: str) -> None:
        """Run the command again, and compare."""
        for command in (self.plain, self.resuming):
            code, _ = end(*begin(command, self.log, self.out))
            said = self.log.read_text("utf-8", "replace")
            if code == 0 or "holds a finished run" in said or "exists already" in said:
                code = 0  # or the command with the fault succeeded
                break
        if code:
            self.wrong.append(f"{what}: does not go on: {self.log.read_text()[-300:]}")
        elif differing := self.differing():
            self.wrong.append(f"{what}: differs afterwards in {differing}")

    def spread(self, count: int) -> list[int]:
        """Return numbers from 1 to `count`, at most `most` of them."""
        return sorted({*np.linspace(1, count, min(count, self.most)).round().astype(int).tolist()}) if count else []

    # The faults

    def full(self) -> None:
        """The disk is full, from the n-th new file on, or after so many bytes."""
        for number in self.spread(self.operations):
            fault = functools.partial(failing, self.out, {"open", "os.mkdir"}, number, errno.ENOSPC, True)
            self.try_with(f"no file after the {number}th", fault)
        if not may_mount():
            return
        for number in self.spread(6):
            size = max(4096, self.bytes * number // 6)
            shutil.rmtree(self.out)
            with mounted(self.out, LARGE):
                if self.name in COPIES:
                    shutil.copytree(self.place / COPIES[self.name], self.out / "it")
                used = sum(path.stat().st_blocks * 512 for path in self.out.rglob("*") if path.is_file())
                size += used
                subprocess.run(["mount", "-o", f"remount,size={size}", str(self.out)], check=True)
                code, _ = self._run()
                self.judge(f"{size} bytes free", code)
                if code and not any(reason in self.log.read_text() for reason in _CANNOT_WRITE.values()):
                    self.wrong.append(f"{size} bytes free: does not say so: {self.log.read_text()[-300:]}")
                subprocess.run(["mount", "-o", f"remount,{LARGE}", str(self.out)], check=True)
                self.go_on(f"{size} bytes free")

    def read_only(self) -> None:
        """The folder is read-only, for this user or altogether."""
        self.try_with(
            "read-only file system", functools.partial(failing, self.out, WRITES | {"open"}, 1, errno.EROFS, True)
        )
        start(self.name, self.place)
        folders = [self.out, *(path for path in self.out.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        code, _ = self._run(obey_permissions)
        for folder in folders:
            folder.chmod(0o755)
        self.judge("no permission to write", code)
        self.go_on("no permission to write")

    def input_files(self) -> list[Path]:
        """Return the files that the command is given."""
        inputs = [Path(word) for word in self.plain if str(self.place) in word and str(self.out) not in word]
        return [
            file
            for path in inputs
            for file in ([path] if path.is_file() else sorted(path.rglob("*")))
            if file.is_file()
        ]

    def unreadable(self) -> None:
        """An input file must not be read."""
        files = self.input_files()
        for number in self.spread(len(files)):
            file = files[number - 1]
            file.chmod(0)
            try:
                start(self.name, self.place)
                code, _ = self._run(obey_permissions)
            finally:
                file.chmod(0o644)
            if code == 0 and file.name in "".join(path.read_text() for path in self.out.rglob("skipped.csv")):
                self.tried += 1  # a sample of a folder is left out, with a line: another result is right
                continue
            self.judge(f"unreadable {file.relative_to(self.place)}", code)
            self.go_on(f"unreadable {file.relative_to(self.place)}")

    def shrunk(self) -> None:
        """An input file is cut to half, or replaced by nothing, when it is opened."""
        files = self.input_files()
        for number in self.spread(len(files)):
            file = files[number - 1]
            content = file.read_bytes()

            def cut(file: Path = file, content: bytes = content) -> None:
                seen = []

                def shrink(event: str, details: tuple[Any, ...]) -> None:
                    if event == "open" and str(details[0]) == str(file) and not seen:
                        seen.append(1)
                        os.truncate(file, len(content) // 2)

                sys.addaudithook(shrink)

            start(self.name, self.place)
            code, _ = self._run(cut)
            file.write_bytes(content)
            # A text that is cut may be a shorter text, from which another result is right.
            self.tried += 1
            said = self.log.read_text("utf-8", "replace")
            if code not in (0, BAD_INPUT) or "Traceback" in said:
                self.wrong.append(f"cut {file.relative_to(self.place)}: exit {code}: {said[-600:]}")

    def memory(self) -> None:
        """The address space is limited to so many megabytes more than the code needs."""
        for number in self.spread(6):
            megabytes = (256, 2, 16, 64, 1, 8)[number - 1]
            self.try_with(f"{megabytes} MB", functools.partial(limit_memory, megabytes))

    def signals(self) -> None:
        """A signal at a random time, or Ctrl-C twice."""
        rng = random.Random(f"{self.name} {aekit.__version__}")
        kinds = [[signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]] * 3
        for number in self.spread(len(kinds)):
            kind = kinds[number - 1]
            seconds = rng.random() * self.seconds
            start(self.name, self.place)
            child, pipe = begin(self.plain, self.log, self.out, before=leave_on_signal)
            time.sleep(seconds)
            for each in kind:
                os.kill(child, each)  # a child that has ended is still there until it is waited for
                time.sleep(rng.random() * 0.05)
            code, _ = end(child, pipe)
            what = f"{'+'.join(each.name for each in kind)} after {seconds:.3f} s"
            early = (
                INTERRUPTED,
                -signal.SIGINT,
                -signal.SIGTERM,
                -signal.SIGHUP,
            )  # before the child has set its handlers
            self.judge(what, code, (0, *early))
            self.go_on(what)

    def clock(self) -> None:
        """The clock is set back while the command runs."""
        self.try_with("clock set back", set_clock_back, (0,))

    def places(self) -> None:
        """The cache, the temporary folder or the home folder is missing, a file, or unwritable."""
        file = str(self.place / "data.npz")
        missing = str(self.place / "missing" / "folder")
        chosen: list[tuple[str, dict[str, str | None]]] = [
            ("HOME unset", {"HOME": None, "AEKIT_CACHE": None}),
            ("HOME is a file", {"HOME": file, "AEKIT_CACHE": None, "AEKIT_MEMORY": "1000"}),
            ("AEKIT_CACHE is a file", {"AEKIT_CACHE": file, "AEKIT_MEMORY": "1000"}),
            ("AEKIT_CACHE in /proc", {"AEKIT_CACHE": "/proc/none", "AEKIT_MEMORY": "1000"}),
            ("TMPDIR missing", {"TMPDIR": missing}),
            ("TMPDIR is a file", {"TMPDIR": file}),
        ]
        for number in self.spread(len(chosen)):
            what, values = chosen[number - 1]
            self.try_with(what, functools.partial(environment, **values))
        if may_mount():
            with mounted(self.place / "full", "size=4k"):
                (self.place / "full" / "filler").write_bytes(b"\0" * 4096)
                cache = {"AEKIT_CACHE": str(self.place / "full"), "AEKIT_MEMORY": "1000"}
                self.try_with("AEKIT_CACHE full", functools.partial(environment, **cache))
                self.try_with("TMPDIR full", functools.partial(environment, TMPDIR=str(self.place / "full")))

    def renames(self) -> None:
        """The n-th renaming fails once, as on a network file system."""
        for number in self.spread(4):
            code = (errno.ESTALE, errno.ENOTEMPTY, errno.EIO, errno.EBUSY)[number - 1]
            for which in range(1, 4):
                fault = functools.partial(failing, self.out, {"os.rename"}, which, code, False)
                self.try_with(f"renaming {which}: {errno.errorcode[code]}", fault)

    def two_writers(self) -> None:
        """Another process runs the same command at the same time."""
        rng = random.Random(f"two {self.name} {aekit.__version__}")
        other = self.place / "other.txt"
        for _ in self.spread(6):
            seconds = rng.random() * self.seconds
            start(self.name, self.place)
            first = begin(self.plain, self.log, self.out)
            time.sleep(seconds)
            second = begin(self.plain, other, self.out)
            codes = end(*first)[0], end(*second)[0]
            what = f"a second writer after {seconds:.3f} s"
            for code, log in zip(codes, (self.log, other)):
                said = log.read_text()
                if code not in (0, BAD_INPUT) or "Traceback" in said:
                    self.wrong.append(f"{what}: exit {code}: {said[-600:]}")
            self.tried += 1
            if 0 in codes and self.differing():
                self.wrong.append(f"{what}: exit codes {codes}, but the result is not whole")
            if 0 not in codes:
                self.go_on(what)


FAULTS: dict[str, Callable[[Trials], None]] = {
    "full": Trials.full,
    "read-only": Trials.read_only,
    "unreadable": Trials.unreadable,
    "shrunk": Trials.shrunk,
    "memory": Trials.memory,
    "signals": Trials.signals,
    "clock": Trials.clock,
    "places": Trials.places,
    "renames": Trials.renames,
    "two-writers": Trials.two_writers,
}


def main_of_faults(names: list[str], place: Path, faults: list[str], most: int) -> None:
    """Run the trials of commands, print a line for each command and fault, and keep the figures of all faults."""
    for name in names:
        rows = []
        for fault in faults:
            trials = Trials(name, place, most)
            FAULTS[fault](trials)
            print(
                json.dumps({"command": name, "fault": fault, "tried": trials.tried, "wrong": trials.wrong}), flush=True
            )
            what = (FAULTS[fault].__doc__ or "").strip().rstrip(".")
            rows.append(Figure(name, what[0].lower() + what[1:], trials.tried, len(trials.wrong)))
        if faults == list(FAULTS):
            record("faults", rows, order=list(commands(place)))


if __name__ == "__main__":
    crashes.torch.set_num_threads(1)
    os.environ["AEKIT_CACHE"] = str(Path(sys.argv[2]).absolute() / "cache")
    command, folder = sys.argv[1], Path(sys.argv[2]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "study").exists():
        child = os.fork()  # so that this process starts no threads
        if not child:
            prepare(folder)
            os._exit(0)
        os.waitpid(child, 0)
    crashes.import_all()
    all_commands = list(commands(folder))
    chosen = list(FAULTS) if sys.argv[3] == "all" else sys.argv[3].split(",")
    limit = int(sys.argv[5]) if sys.argv[4:5] == ["--most"] else 10**9
    main_of_faults(all_commands if command == "all" else command.split(","), folder, chosen, limit)
