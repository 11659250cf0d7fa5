"""Start modules of aekit in processes of their own, which end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO

from aekit.errors import printable
from aekit.io.threads import limited_threads


@dataclass(frozen=True)
class Child:
    """A process.

    Attributes:
        process: the process.
        connection: to it. It breaks when either process ends, however it ends; the child then has to end too.
        log: what the child has printed; None: it prints on the standard error of this process.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    log: IO[bytes] | None

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


def describe_end(code: int) -> str:
    """Say how a process ended: with an exit code, or by a signal, which is negative."""
    return f"it exited with code {code}" if code >= 0 else f"it was ended by signal {-code} ({signal.strsignal(-code)})"


def start_child(module: str, threads: int, *, logged: bool = True, descriptors: Sequence[int] = ()) -> Child:
    """Start ``python -m MODULE DESCRIPTOR``, where the descriptor is its end of the connection.

    A new interpreter is started rather than forked, as threads and FAISS do not survive a fork. It imports what this process
    would, and nothing that lies in the working folder by chance. Ctrl-C on a terminal does not reach it.

    Args:
        module: name of the module.
        threads: threads that it and the libraries may use.
        logged: whether what it prints is kept rather than shown.
        descriptors: further file descriptors that it inherits.
    """
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


def same_imports() -> dict[str, str]:
    """Return the environment in which ``python -P`` imports what this process would."""
    return {"PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path)}


def end_children(children: Sequence[Child]) -> None:
    """End processes at once."""
    for child in children:
        child.process.kill()
    for child in children:
        child.end()
