"""Locks in file systems with and without them: one writer, none that a killed process could keep for ever."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aekit.errors import OutputError
from aekit.io import _file_locks as file_locks
from aekit.io._file_locks import is_running, lock, lock_file
from aekit.io.atomic import atomic_folder, folder_lock


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=["NFS", "Lustre", "FUSE"])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: object, how: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def _ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.usefixtures("without_locks")
def test_a_folder_is_written_and_nothing_is_left(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "run"), atomic_folder(tmp_path / "run" / "encoder") as part:
        (part / "weights").write_text("x")
        assert (tmp_path / "run" / ".lock").read_text().startswith(f"{os.getpid()} ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["encoder", "run", "weights"]


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("place", [folder_lock, atomic_folder])
def test_a_second_writer_is_told_who_writes(place: object, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with place(folder):  # type: ignore[operator]
        who = f"process {os.getpid()} of {os.uname().nodename} is writing into it; wait for it, choose another folder"
        with pytest.raises(OutputError, match=who), place(folder):  # type: ignore[operator]
            raise AssertionError("two wrote at a time")
        assert list(tmp_path.rglob("*.lock")), "the lock of the first is still there"
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.usefixtures("without_locks")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    here = file_locks._name().partition(" ")[2]
    path.write_text(f"{_ended_process()} {here}")
    with lock_file(path) as holder:
        assert not holder and path.read_text().startswith(f"{os.getpid()} ")
    assert not path.exists()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("machine", ["another-machine", "{node} pid:[1]"])
def test_the_lock_of_another_machine_or_container_stays_until_it_is_removed(machine: str, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text(f"{_ended_process()} {machine.format(node=os.uname().nodename)}")
    with lock_file(path) as holder:
        assert holder.endswith(f"or remove {path} if no aekit runs there")
    assert path.exists()


@pytest.mark.usefixtures("without_locks")
def test_a_lock_without_a_name_is_one_that_is_just_made_or_was_left_long_ago(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    with lock_file(path) as holder:
        assert holder.startswith("another aekit is writing into it")
    os.utime(path, (time.time() - 2 * file_locks.UNNAMED_SECONDS,) * 2)
    with lock_file(path) as holder:
        assert not holder
    assert not path.exists()


def test_a_lock_file_of_an_ended_process_does_not_count_where_locks_work(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("1 another-machine pid:[1]")
    with lock_file(path) as holder:
        assert not holder
        with lock_file(path) as second:
            assert second == "another aekit is writing into it; wait for it or choose another folder"
        assert path.exists()
    assert not path.exists()


def test_other_failures_of_a_lock_are_told_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: object, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OutputError, match="run: cannot be written: the disk, or the connection to it, fails"):
        folder_lock(tmp_path / "run").__enter__()
    assert not list(tmp_path.rglob("*.lock"))


def test_a_shared_lock_keeps_others_out(tmp_path: Path) -> None:
    with open(tmp_path / "mark", "w") as one, open(tmp_path / "mark") as two, open(tmp_path / "mark") as three:
        assert lock(one.fileno(), shared=True) and lock(two.fileno(), shared=True)
        assert lock(three.fileno()) is False


def test_processes_are_looked_up_by_their_number() -> None:
    assert is_running(os.getpid()) and is_running(1)
    assert not is_running(_ended_process()) and not is_running(2**64)
