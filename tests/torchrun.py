"""Start commands of aekit in several processes, find these, and wait for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SECONDS = 120


def started(*command: object, **variables: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen([*map(str, command)], env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload]


def rank(number: int, run: Path, process: subprocess.Popen[str], phase: str = "") -> int:
    """Return the process of a rank that trains into a folder, once it has saved a few checkpoints.

    Args:
        number: the rank.
        run: the folder.
        process: what has started it.
        phase: folder of the checkpoint in ``checkpoint/``.
    """
    until, saved = time.monotonic() + SECONDS, set[float]()
    while time.monotonic() < until and process.poll() is None:
        state = run / "checkpoint" / phase / "state.safetensors"
        saved |= {state.stat().st_mtime} if state.exists() else set()
        for place in Path("/proc").glob("[0-9]*") if len(saved) > 3 else ():
            try:
                environment = (place / "environ").read_bytes().split(b"\0")
                command = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if f"RANK={number}".encode() in environment and str(run).encode() in command:
                return int(place.name)
        time.sleep(0.02)
    raise AssertionError(f"the run ended before it was disturbed: {process.communicate()}")


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said
