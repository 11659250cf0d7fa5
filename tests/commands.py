"""Runs the command line inside the test process, and listens to what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aekit.cli import main
from aekit.progress import Progress

FAST = {"train.epochs": 1, "train.precision": "fp32"}
"""Settings of a short training that is equal on every processor."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong; asserts that there is one, with exit code 2 and no traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.code == 2, (self.code, self.out, self.err)
        assert len(lines) == 1 and "Traceback" not in self.err, self.err
        return lines[0].removeprefix("error: ")


class Command:
    """``aekit("fit", data, "-o", run)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *arguments: object) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["aekit", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = int(done.code or 0)
        captured = self.capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    def ok(self, *arguments: object) -> str:
        """Standard output of a command that has to succeed."""
        outcome = self(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out


class Said(Progress):
    """Remembers what was said: ``"built again" in said``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def __contains__(self, part: str) -> bool:
        return any(part in line for line in self.lines)


def run_trials(script: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run a script of tests/reliability in a process of its own, and return the lines of JSON that it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    line = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(printed) for printed in done.stdout.splitlines()]
