"""File systems that have room, but can hold no further files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from aekit.errors import OutputError
from aekit.io.atomic import explain_write_errors


@pytest.mark.parametrize(
    ("free", "blocks", "reason"),
    [(0, 5, r"can hold no further files \(df -i\)"), (3, 0, "the disk is full"), (0, 0, "the disk is full")],
)
def test_used_up_files_are_told_apart_from_used_up_bytes(
    free: int, blocks: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=16, f_favail=free, f_bavail=blocks))
    place = tmp_path / "missing" / "run"
    with pytest.raises(OutputError, match=f"run: cannot be written: .*{reason}"), explain_write_errors(place):
        raise OSError(errno.ENOSPC, "No space left on device", str(place / "part"))


def test_a_failure_without_a_file_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"), explain_write_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
