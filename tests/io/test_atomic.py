"""Several processes that write to one place: one wins, the others get a line, and nothing is half written."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command

from aekit.errors import OutputError
from aekit.io.atomic import atomic_file, atomic_folder, folder_lock, refuse_inputs, write_json, write_text


def _fill(folder: Path, number: int, start: float, results: multiprocessing.Queue) -> None:
    time.sleep(max(0.0, start + 0.002 * number - time.time()))
    try:
        with atomic_folder(folder) as part:
            for name in "abc":
                (part / name).write_text(str(number))
                time.sleep(0.002)
        results.put((number, ""))
    except OutputError as error:
        results.put((number, str(error)))


def test_of_several_writers_of_a_new_folder_one_wins_and_its_folder_is_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for attempt in range(15):
        folder = tmp_path / f"new-{attempt}"
        start = time.time() + 0.02
        writers = [context.Process(target=_fill, args=(folder, number, start, results)) for number in range(4)]
        for writer in writers:
            writer.start()
        outcomes = dict(results.get(timeout=30) for _ in writers)
        for writer in writers:
            writer.join()
        (winner,) = [number for number, problem in outcomes.items() if not problem]
        assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys("abc", str(winner))
        for problem in filter(None, outcomes.values()):
            assert "another aekit is writing into it" in problem or "exists already" in problem
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"new-{attempt}" for attempt in range(15))


def _hold(path: Path, text: str, started: object, go_on: object) -> None:
    with atomic_file(path) as part:
        part.write_text(text)
        started.set()  # type: ignore[attr-defined]
        go_on.wait(30)  # type: ignore[attr-defined]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    path, started, go_on = tmp_path / "file.txt", context.Event(), context.Event()
    other = context.Process(target=_hold, args=(path, "the other's" * 1000, started, go_on))
    other.start()
    assert started.wait(30)
    write_text(path, "mine")
    assert path.read_text() == "mine"
    go_on.set()
    other.join()
    assert path.read_text() == "the other's" * 1000 and list(tmp_path.iterdir()) == [path]


def test_a_lock_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "half.json.123.part").write_text("{")
    with folder_lock(tmp_path), pytest.raises(OutputError, match="another aekit is writing"), folder_lock(tmp_path):
        raise AssertionError("locked twice")
    assert not list(tmp_path.iterdir())


def test_writing_a_file_again_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"it.json.{ended.pid}.part", f"it.json.{ended.pid}.part.permissions.part", f"it.json.{os.getppid()}.part"]
    kept = [names[2], "it.json.old.part", f"other.json.{ended.pid}.part"]
    for name in {*names, *kept}:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f"it.json.{2**40}.part").touch()  # of another machine, and still being written
    write_json(tmp_path / "it.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"it.json", *kept, f"it.json.{2**40}.part"}


def test_a_lock_file_that_was_removed_meanwhile_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock, flock, removed = tmp_path / ".lock", fcntl.flock, []

    def remove_first(handle: object, how: int) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()  # by the process that held it, between opening and locking
        flock(handle, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with folder_lock(tmp_path):
        assert lock.exists() and removed


@pytest.mark.parametrize("make", [atomic_folder, folder_lock])
def test_a_name_that_is_too_long_is_one_line(make: object, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its name is too long"), make(tmp_path / ("x" * 300)):  # type: ignore[operator]
        raise AssertionError("it was made")


def test_other_people_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_the_lock_of_a_whole_folder_removes_what_a_killed_process_left_anywhere(tmp_path: Path) -> None:
    left = tmp_path / "tuned" / "trials" / "002" / "scores-1.npy.27792.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with folder_lock(tmp_path / "tuned"):
        assert left.exists(), "another process may be writing it"
    with folder_lock(tmp_path / "tuned", whole=True):
        assert not left.exists()


def test_the_lock_of_a_folder_removes_what_a_killed_process_left_in_its_artifacts(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "encoder").mkdir()
    for name in (f"README.md.{ended.pid}.part", f"README.md.{os.getppid()}.part", "README.md"):
        (tmp_path / "encoder" / name).touch()
        os.utime(tmp_path / "encoder" / name, (0, 0))
    with folder_lock(tmp_path):
        pass
    assert {path.name for path in (tmp_path / "encoder").iterdir()} == {f"README.md.{os.getppid()}.part", "README.md"}


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
def test_pipes_and_devices_are_not_replaced_by_files(linked: bool, tmp_path: Path) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    path.symlink_to(pipe if linked else os.devnull)
    for place in (path, *([] if linked else [pipe])):
        with pytest.raises(OutputError, match=r"cannot be written: it is a (pipe|device); expected the name of a file"):
            write_text(place, "text")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "pipe"] and path.is_symlink() and pipe.is_fifo()


def test_outputs_that_would_overwrite_inputs_are_refused(tmp_path: Path) -> None:
    data, link = tmp_path / "data.csv", tmp_path / "link.csv"
    data.write_text("a")
    link.symlink_to(data)
    for out, given in (
        (data, data),
        (link, str(data)),
        (data, link),
        (data, f"csv:{data}"),
        (str(data), "no"),
        (data, data),
    ):
        if given == "no":
            refuse_inputs(out, given, object(), None, tmp_path, tmp_path / "other.csv")
            continue
        with pytest.raises(OutputError, match="is read by this command, which would overwrite it; choose another name"):
            refuse_inputs(out, None, given)
    refuse_inputs(tmp_path / "new.csv", data)


def test_commands_do_not_write_over_what_they_read(tmp_path: Path, command: Command) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    table = pa.table({"id": list(map(str, range(30))), "vector": pa.array(vectors.tolist(), pa.list_(pa.float32(), 3))})
    pq.write_table(table, tmp_path / "vectors.parquet")
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (page := tmp_path / "page.png").symlink_to("vectors.npy")
    for arguments in (
        ("map", tmp_path / "vectors.parquet", "-o", tmp_path / "vectors.png"),
        ("map", tmp_path / "vectors.npy", "-o", page),
        ("map", tmp_path / "vectors.npy", "--html", tmp_path / "vectors.npy"),
        ("classify", tmp_path / "no-classifier", tmp_path / "data.csv", "-o", tmp_path / "data.csv"),
    ):
        assert "is read by this command, which would overwrite it" in command(*arguments).error
    twice = command("map", tmp_path / "vectors.npy", "-o", tmp_path / "x.png", "--html", tmp_path / "x.png")
    assert "is the name of two outputs" in twice.error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != page} == before


def test_a_folder_of_the_user_is_not_taken_for_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "clusters.part").mkdir()
    (tmp_path / "clusters.part" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r"clusters.part: exists already, and is needed for a moment; move it away"):
        atomic_folder(tmp_path / "clusters").__enter__()
    assert [path.name for path in tmp_path.rglob("*")] == ["clusters.part", "thesis.txt"]
    (tmp_path / ".clusters.lock").touch()  # left by a process that was killed, with its temporary folder
    with atomic_folder(tmp_path / "clusters") as part:
        assert not list(part.iterdir())
        (part / "page.html").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["clusters"]
    (tmp_path / ".clusters.lock").touch()  # left by one that was killed at the end
    with pytest.raises(OutputError, match="clusters: exists already"):
        atomic_folder(tmp_path / "clusters").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["clusters"]


def test_the_lock_of_a_folder_leaves_alone_what_another_process_makes_in_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "run" / "clusters") as part:
        (part / "page.html").write_text("x")
        with folder_lock(tmp_path / "run"):
            assert (part / "page.html").exists() and (tmp_path / "run" / ".clusters.lock").exists()
    (tmp_path / "run" / "encoder.part").mkdir()
    (tmp_path / "run" / ".encoder.lock").touch()  # left by a process that was killed
    with folder_lock(tmp_path / "run"):
        pass
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["clusters", "page.html"]
