"""Start commands of aekit in several processes, hold them in the middle of training, find these, and wait for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULE = [sys.executable, "-m", "torch.distributed.run"]
TORCHRUN = [*MODULE, "--standalone", "--nproc-per-node", "2"]
SECONDS = 120

WAIT = """
import os
import sys

writes = 0


def wait(event, arguments):
    global writes
    if event == "os.rename" and os.fsdecode(arguments[1]).endswith(os.environ["GATE_FILE"]):
        writes += 1
        if writes == 4 and os.path.exists(os.environ["GATE"]):
            with open(os.environ["GATE"]) as gate:
                gate.read()


sys.addaudithook(wait)
"""
"""What a Python that is started with the variables of a gate runs first, as its `sitecustomize`."""


class Gate:
    """A named pipe at which a run waits, once, just before its fourth checkpoint replaces the third.

    So a run is disturbed in the middle of training, however short it is and however slow the machine.

    Args:
        folder: an empty folder for the pipe.
        phase: folder of the checkpoint in ``checkpoint/``.

    Attributes:
        variables: environment of the processes that wait here.
    """

    def __init__(self, folder: Path, phase: str = "") -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WAIT)
        self._pipe = folder / "gate"
        os.mkfifo(self._pipe)
        imports = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.variables = {
            "PYTHONPATH": os.pathsep.join(imports),
            "GATE": str(self._pipe),
            "GATE_FILE": str(Path("checkpoint", phase, "state.safetensors")),
        }

    @contextmanager
    def closed(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """Enter the context when the run waits, and let it go on afterwards.

        Args:
            process: what has started the run.
        """
        until = time.monotonic() + SECONDS
        while True:
            try:
                pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # nobody waits yet
                assert process.poll() is None, f"the run ended before it was disturbed: {process.communicate()}"
                assert time.monotonic() < until, "the run has saved no checkpoints"
                time.sleep(0.02)
        self._pipe.unlink()
        try:
            yield
        finally:
            os.close(pipe)


def started(*command: object, **variables: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen([*map(str, command)], env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload]


def rank(number: int, run: Path) -> int:
    """Return the process of a rank that trains into a folder."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes().split(b"\0")
            command = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if f"RANK={number}".encode() in environment and str(run).encode() in command:
            return int(place.name)
    raise AssertionError(f"no process of rank {number} writes {run}")


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said
