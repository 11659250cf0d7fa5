"""Start modules and functions of aekit in processes of their own, which end with the one that started them."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import IO, Any, NoReturn, Protocol

from aekit._lazy import QuickImports
from aekit.errors import AekitError, printable
from aekit.io.threads import limited_threads

STALL = "AEKIT_MESSAGE_SECONDS"
"""Environment variable with the seconds within which the next byte of a message has to come from a child, or be taken by it."""
STALL_SECONDS = 60.0
_POLL_SECONDS = 0.01
"""Time between two looks at whether a forked process has ended."""


class Process(Protocol):
    """A process as `subprocess.Popen` describes it."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended. Raise `subprocess.TimeoutExpired` after so many seconds."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class Child:
    """A process.

    Attributes:
        process: the process.
        connection: to it. It breaks when either process ends, however it ends; the child then has to end too.
        log: what the child has printed; None: it prints on the standard error of this process.
    """

    process: Process
    connection: Connection
    log: IO[bytes] | None

    def __post_init__(self) -> None:
        seconds = _stall_seconds()
        with socket.socket(fileno=os.dup(self.connection.fileno())) as end:
            timeout = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                end.setsockopt(socket.SOL_SOCKET, option, timeout)

    def send(self, message: Any) -> None:
        """Send an object, which the child reads by `Connection.recv`; see `send_bytes`."""
        self.send_bytes(ForkingPickler.dumps(message))

    def send_bytes(self, content: bytes | memoryview) -> None:
        """Send a message: a short one waits in the system until the child reads it, a long one only while the child reads.

        Raises:
            ConnectionError: the process has ended.
            TimeoutError: the child takes no further byte for `STALL_SECONDS`; the rest of the message is not sent.
        """
        try:
            self.connection.send_bytes(content)
        except BlockingIOError:
            raise TimeoutError(
                f"it stopped reading in the middle of a message for {_stall_seconds():g} s ({STALL})"
            ) from None

    def receive(self, limit: int) -> bytes:
        """Wait for a message, which may take any time to begin, and return it.

        Args:
            limit: most bytes of the message.

        Raises:
            EOFError, ConnectionError: the process has ended.
            OSError: what comes is not a message, or more than the limit; or it stops in the middle, for `STALL_SECONDS`.
        """
        self.connection.poll(None)
        try:
            return self.connection.recv_bytes(limit)
        except BlockingIOError:
            raise TimeoutError(f"it stopped in the middle of a message for {_stall_seconds():g} s ({STALL})") from None

    def end(self) -> str:
        """End the process at once, unless it ends by itself just now, and say in a line why it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)
        self.process.kill()
        code, last = self.process.wait(), ""
        self.connection.close()
        if self.log is not None:
            self.log.seek(0)
            printed = self.log.read().decode(errors="replace").strip().splitlines()
            last = f": {printable(printed[-1].strip())}" if printed else ""
            self.log.close()
        short = ", as the system does when memory is short; fewer workers need less" if code == -signal.SIGKILL else ""
        return f"{describe_end(code)}{short}{last}"


def _stall_seconds() -> float:
    stated = os.environ.get(STALL, "")
    try:
        seconds = float(stated or STALL_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 1e-3 <= seconds <= 1e6:
        raise AekitError(f"{STALL} = {stated!r}: expected seconds, from 0.001 to 1e6")
    return seconds


def describe_end(code: int) -> str:
    """Say how a process ended: with an exit code, or by a signal, which is negative."""
    return f"it exited with code {code}" if code >= 0 else f"it was ended by signal {-code} ({signal.strsignal(-code)})"


def start_child(module: str, threads: int, *, logged: bool = True, descriptors: Sequence[int] = ()) -> Child:
    """Start ``python -m MODULE DESCRIPTOR``, where the descriptor is its end of the connection.

    A new interpreter is started rather than forked, as threads and FAISS do not survive a fork; `fork_child` is for where none
    computes yet. It imports what this process would, and nothing that lies in the working folder by chance. Ctrl-C on a terminal
    does not reach it.

    Args:
        module: name of the module.
        threads: threads that it and the libraries may use.
        logged: whether what it prints is kept rather than shown.
        descriptors: further file descriptors that it inherits.
    """
    _stall_seconds()  # raises before there is a process
    here, there = Pipe()
    log = tempfile.TemporaryFile() if logged else None  # noqa: SIM115  (stays open as long as the process)
    with there:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(there.fileno())],
            env=os.environ | limited_threads(threads) | same_imports(),
            pass_fds=[there.fileno(), *descriptors],
            stdin=subprocess.DEVNULL,
            stdout=log or sys.stderr.fileno(),
            stderr=log,
            start_new_session=True,
        )
    return Child(process, here, log)


def can_fork() -> bool:
    """Return whether a copy of this process would work: on Linux, in a command of aekit that runs no other Python thread.

    Other threads do not exist in the copy. Those of libraries are idle then; what a session of Python has loaded is not known.
    """
    return sys.platform == "linux" and QuickImports.freezes and threading.active_count() == 1


def fork_child(work: Callable[[Connection], None], threads: int) -> Child:
    """Run a function in a copy of this process, which has imported what it needs already; see `can_fork`.

    The copy has no other open files of this process, nor its handlers of signals. The function has to set torch's own number
    of threads.

    Args:
        work: the function; it gets its end of the connection.
        threads: threads that libraries may use in the copy.
    """
    _stall_seconds()  # raises before there is a process
    here, there = Pipe()
    log = tempfile.TemporaryFile()  # noqa: SIM115  (stays open as long as the process)
    with there:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none is handled twice
        try:
            if not (pid := os.fork()):
                _run_copy(work, there, log, threads, blocked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return Child(_ForkedProcess(pid), here, log)


def _run_copy(
    work: Callable[[Connection], None], connection: Connection, log: IO[bytes], threads: int, mask: set[int]
) -> NoReturn:
    """Run a function in the process that was just forked, and end it without the exit handlers of the other process."""
    code = 1
    try:
        for target in (1, 2):  # first, so that an error of what follows is kept too
            os.dup2(log.fileno(), target)
        # Closed before others are opened, as no more may be allowed.
        if log.fileno() > 2:
            os.close(log.fileno())
        with suppress(OSError):  # closed already
            os.close(0)
        os.open(os.devnull, os.O_RDONLY)  # gets the lowest number
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2 and descriptor != connection.fileno():
                with suppress(OSError):  # that of the listing
                    os.close(descriptor)
        os.environ.update(limited_threads(threads))
        from threadpoolctl import threadpool_limits  # here, as an error outside would let the copy go on as the process

        # OpenMP would wait for the threads of the other process, which are not here, wherever it uses several.
        threadpool_limits(threads)
        work(connection)
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


class _ForkedProcess:
    """A process that was forked, with the methods of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid, self._lock = pid, threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        with self._lock:
            if self._code is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if ended else None
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            time.sleep(_POLL_SECONDS)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def run_python(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -P ARGUMENTS`` without input, which imports what this process would, and return what it printed."""
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=os.environ | same_imports())


def same_imports() -> dict[str, str]:
    """Return the environment in which ``python -P`` imports what this process would."""
    return {"PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path)}


def end_children(children: Sequence[Child]) -> None:
    """End processes at once."""
    for child in children:
        child.process.kill()
    for child in children:
        child.end()
