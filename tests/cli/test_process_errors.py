"""Errors of processes that `aekit fit --processes` has started: its own process prints them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from aekit.cli._main import BAD_INPUT, _report
from aekit.cli._signals import Stop
from aekit.errors import DataError
from aekit.io.torchrun import STARTED_HERE


@pytest.fixture
def error_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this process one of two that were started, and return the file by which it tells its errors."""
    file = tmp_path / "error.json"
    variables = {"TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_ERROR_FILE": str(file), "WORLD_SIZE": "2", "RANK": "1"}
    for name, value in (variables | {STARTED_HERE: "1"}).items():
        monkeypatch.setenv(name, value)
    return file


@pytest.mark.parametrize(
    "error", [DataError("no data"), RuntimeError("can't start new thread"), OSError(errno.EIO, "broken", "x.npy")]
)
def test_errors_of_aekit_and_of_the_machine_are_told_to_the_starter_alone(
    error: Exception, error_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _report(error, Stop()) == BAD_INPUT
    message = json.loads(error_file.read_text())["message"]
    assert any(words in message for words in ("no data", "no further thread", "x.npy: broken"))
    assert capfd.readouterr() == ("", "")


def test_a_process_whose_starter_has_ended_says_nothing(
    error_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(error_file.parent / "removed" / "error.json"))
    assert _report(DataError("no data"), Stop()) == BAD_INPUT
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_message_that_cannot_be_passed_on_is_printed(
    error_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/dev/full")
    assert _report(DataError("no data"), Stop()) == BAD_INPUT
    assert capfd.readouterr() == ("", "error: no data\n")
