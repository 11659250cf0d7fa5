"""A folder is read once while it is opened, and again the next time."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aekit.data.opening import open_data
from aekit.data.readers import _folder_walk
from aekit.data.readers._folder_walk import HIDDEN, walk, walks_kept
from aekit.data.readers.folders import contains_files, holds_no_other, list_files, natural_key, relative_files


def _images(folder: Path, count: int = 4) -> Path:
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return the counter of how often each folder is walked through."""
    counts: Counter[str] = Counter()
    scan = os.scandir

    def counted(folder: str):
        counts[Path(folder).name] += 1
        return scan(folder)

    monkeypatch.setattr(_folder_walk.os, "scandir", counted)
    return counts


def test_opening_walks_through_each_folder_once(tmp_path: Path, scanned: Counter[str]) -> None:
    data = _images(tmp_path / "data")
    (data / "cats" / "tabby").mkdir()
    (data / "cats" / "tabby" / "9.png").write_bytes((data / "cats" / "1.png").read_bytes())
    assert len(open_data(data)) == 9
    # In the folder itself, sources look for files of certain names, too.
    assert (scanned["cats"], scanned["dogs"], scanned["tabby"]) == (1, 1, 1)


def test_a_folder_that_changes_is_seen_again(tmp_path: Path) -> None:
    data = _images(tmp_path / "data")
    assert len(open_data(data)) == 8
    (data / "cats" / "10.png").write_bytes((data / "cats" / "1.png").read_bytes())
    (data / "dogs" / "0.png").unlink()
    assert open_data(data).ids[-4:] == ["cats/10.png", "dogs/1.png", "dogs/2.png", "dogs/3.png"]


def test_an_opening_within_another_reads_for_itself(tmp_path: Path) -> None:
    data = _images(tmp_path / "data")
    with walks_kept():
        before = len(list(walk(data)))
        (data / "cats" / "10.png").write_bytes(b"")
        assert len(list(walk(data))) == before, "the walk is kept"
        with walks_kept():
            assert len(list(walk(data))) == before + 1
    assert len(list(walk(data))) == before + 1


def test_a_kept_walk_goes_only_as_far_as_it_is_asked(tmp_path: Path, scanned: Counter[str]) -> None:
    data = _images(tmp_path / "data")
    (data / "notes.mp4").write_bytes(b"")
    with walks_kept():
        assert not holds_no_other(data, (".png",), lambda reason: reason == ".mp4")
        assert scanned == {"data": 1}
        assert contains_files(data, (".png",)) and scanned.total() == 2
        assert sorted(Counter(reason for _, reason in list_files(data, (".png",))).items()) == [("", 8), (".mp4", 1)]
        assert scanned == {"data": 1, "cats": 1, "dogs": 1}


def test_a_kept_walk_that_fails_fails_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, scan = _images(tmp_path / "data"), os.scandir

    def refused(folder: str):
        if Path(folder).name == "dogs":
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(_folder_walk.os, "scandir", refused)
    with walks_kept():
        for _ in range(2):
            with pytest.raises(PermissionError, match="dogs"):
                list(walk(data))


def test_links_pipes_and_endings(tmp_path: Path) -> None:
    data = _images(tmp_path / "data", 1)
    os.mkfifo(data / "pipe.png")
    (data / "gone.png").symlink_to(tmp_path / "nothing")
    (data / "linked.png").symlink_to(data / "cats" / "0.png")
    (data / "again").symlink_to(data)
    (data / "scan.NII.gz").write_bytes(b"")
    (data / "README").write_bytes(b"")
    (data / ".hidden.png").write_bytes(b"")
    found = {path.removeprefix(f"{data}/"): reason for path, reason in list_files(data, (".png",))}
    assert found == {
        "cats/0.png": "",
        "dogs/0.png": "",
        "gone.png": "",
        "linked.png": "",
        "pipe.png": ".png",
        "scan.NII.gz": ".nii.gz",
        "README": "without an ending",
        ".hidden.png": HIDDEN,
    }


def test_relative_files_in_natural_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b10/2.png", "b2/10.png", "b2/9.png", "a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"")
    expected = ["a.png", "b2/9.png", "b2/10.png", "b10/2.png"]
    for root in (Path(), tmp_path, Path("../" + tmp_path.name)):
        paths = [path for path, _ in list_files(root, (".png",))]
        assert [path.as_posix() for path in relative_files(root, paths)] == expected, root
    assert natural_key(Path()) == []
