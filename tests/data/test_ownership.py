"""The data that a stranger's artifact names is not opened unasked: neither its samples nor their names reach a page."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from commands import FAST, Command
from PIL import Image
from resealing import reseal

import aekit
from aekit.errors import DataError, DataWarning
from aekit.report.search_page import search_page


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, a run, its embeddings and their index."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / "images" / f"{number:02}.png")
    aekit.fit(folder / "images", dim=2, out=folder / "run", report=False, overrides=FAST)
    aekit.embed(folder / "run", folder / "images", out=folder / "embeddings")
    aekit.build_index(folder / "embeddings", folder / "index")
    return folder


@pytest.fixture
def stranger(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder for a user who did not make it."""
    shutil.copytree(project, tmp_path / "copy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "copy"


def thumbnails(index: Path) -> bool:
    """Whether a search page of the index shows samples."""
    opened = aekit.open_index(index)
    return "data:image" in search_page(opened, opened.search_ids([opened.ids[0]], 2).records())


def test_the_data_of_own_artifacts_is_opened(project: Path, tmp_path: Path) -> None:
    assert aekit.Embeddings.open(project / "embeddings").source() is not None
    assert thumbnails(project / "index")
    moved = shutil.copytree(project, tmp_path / "moved")  # a project may be moved as a whole
    assert aekit.Embeddings.open(moved / "embeddings").source() is not None


def test_the_data_of_foreign_artifacts_is_not(
    stranger: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    said = "images' is not opened, because the artifact that names it was made elsewhere; if you trust it, aekit --open-origins"
    with pytest.warns(DataWarning, match=said):
        assert aekit.Embeddings.open(stranger / "embeddings").source() is None
    with pytest.warns(DataWarning, match=said):
        assert not thumbnails(stranger / "index")
    with pytest.raises(DataError, match=said):
        aekit.make_report(stranger / "run")
    with pytest.raises(DataError, match=said):
        aekit.find_clusters(stranger / "run", clusters=2)
    html = stranger / "page.html"
    done = command("search", stranger / "index", "id:00.png", "--html", html)
    assert done.code == 0 and said in done.err and "data:image" not in html.read_text("utf-8")

    # Vectors and searches need no data.
    assert len(aekit.open_index(stranger / "index").search_ids(["00.png"], 2).ids) == 1
    monkeypatch.setenv("AEKIT_OPEN_ORIGINS", "1")
    assert aekit.Embeddings.open(stranger / "embeddings").source() is not None and thumbnails(stranger / "index")


def test_the_command_line_opens_it_on_request(
    stranger: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_OPEN_ORIGINS", "0")  # restored afterwards
    done = command("--open-origins", "search", stranger / "index", "id:00.png", "--html", stranger / "page.html")
    assert done.code == 0 and "data:image" in (stranger / "page.html").read_text("utf-8")


def test_what_is_made_of_foreign_artifacts_stays_foreign(stranger: Path) -> None:
    aekit.build_index(stranger / "embeddings", stranger / "other")
    with pytest.warns(DataWarning, match="was made elsewhere"):
        assert not thumbnails(stranger / "other")
    encoder = aekit.load(stranger / "run")
    encoder.save(stranger / "saved")
    with pytest.raises(DataError, match="was made elsewhere"):
        aekit.find_clusters(aekit.load(stranger / "saved"), clusters=2)


def test_a_mark_is_of_one_origin_alone(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    (tmp_path / "copy" / "secret").mkdir()
    shutil.copy(copy / "images" / "00.png", copy / "secret" / "00.png")
    origin = json.loads((copy / "index" / "manifest.json").read_text())["origin"]
    for changed in (
        origin | {"data": "secret"},
        {name: value for name, value in origin.items() if name != "made_by"},
        origin | {"made_by": "0" * 64},
        origin | {"made_by": "ä"},
    ):
        reseal(copy / "index" / "manifest.json", origin=changed)
        with pytest.warns(DataWarning, match="was made elsewhere"):
            assert not thumbnails(copy / "index")
    reseal(copy / "index" / "manifest.json", origin=origin)
    assert thumbnails(copy / "index")


def test_the_key_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    encoder = aekit.fit(tmp_path / "data.csv", dim=1, backbone="mlp", overrides=FAST)
    assert not (tmp_path / "aekit").exists()  # nothing was saved
    encoder.save(tmp_path / "encoder")
    assert stat.S_IMODE((tmp_path / "aekit" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "aekit").iterdir()] == ["key"]
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    encoder.save(
        tmp_path / "without"
    )  # neither a home nor a folder for temporary files can be written, which is no error
    assert "made_by" not in json.loads((tmp_path / "without" / "encoder.json").read_text())["data"]
