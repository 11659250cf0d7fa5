"""The folder of what is kept between commands, for users with and without a home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from aekit.data import _ownership
from aekit.errors import FileError
from aekit.io.cache_folder import cache_folder, own_temporary_folder


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who is in no list of users, as in a container, without $HOME; the folder of temporary files."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for name in ("AEKIT_CACHE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_is_stated_counts_also_without_a_home(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere") and not list(homeless.iterdir())


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_CACHE", "")
    assert cache_folder() == Path.home() / ".cache" / "aekit"


def test_a_home_in_the_variable_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_CACHE", "~/kept")
    assert cache_folder() == Path.home() / "kept"


def test_without_a_home_there_is_a_private_folder_among_the_temporary_files(homeless: Path) -> None:
    folder = cache_folder()
    assert folder == cache_folder() == homeless / f"aekit-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open to all", "a link", "a file"])
def test_a_folder_that_somebody_else_may_have_made_is_refused(kind: str, homeless: Path, tmp_path: Path) -> None:
    folder = homeless / f"aekit-{os.getuid()}"
    if kind == "open to all":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch()
    with pytest.raises(FileError, match="others can write to it; set AEKIT_CACHE to a folder of your own"):
        cache_folder()


def test_a_user_without_a_home_knows_own_artifacts(homeless: Path) -> None:
    origin = {"data": "/data", "source": "images", "options": {}}
    assert _ownership.unmarked(origin | {_ownership.MARK: "0" * 64})[_ownership.FOREIGN]
    assert not list(homeless.iterdir()), "looking makes no folder"
    record = _ownership.marked(origin)
    assert _ownership.FOREIGN not in _ownership.unmarked(record)
    assert [path.name for path in own_temporary_folder().iterdir()] == ["key"]


def test_a_file_system_without_links_keeps_the_key(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*places: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    record = _ownership.marked({"data": "/data", "source": "images", "options": {}})
    assert _ownership.FOREIGN not in _ownership.unmarked(record)
    assert [path.name for path in own_temporary_folder().iterdir()] == ["key"]
