"""Encoders on the Hugging Face Hub: pushed to and loaded from a stand-in of its API on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, Said
from hub_server import TOKEN, Hub, Repository

import aekit
from aekit.errors import AekitError, DataError, OutputError
from aekit.io.hub import HubFolder, hub_folder

pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", seed=1, out=folder)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> aekit.Encoder:
    return aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp", seed=2)


def model(hub: Hub) -> Repository:
    return hub.repositories["models/user/model"]


def test_a_pushed_encoder_loads_with_equal_vectors(hub: Hub, run: Path) -> None:
    lines = Said()
    url = aekit.push_to_hub(run, "user/model", private=True, message="The first one", progress=lines)
    assert url == "hf://user/model" and model(hub).private
    assert model(hub).messages == ["initial commit", "The first one"], "all in one commit"
    assert "new private repository" in lines.lines[0] and "files in commit" in lines.lines[-1]
    files = model(hub).commits[model(hub).branches["main"]]
    assert {"encoder.json", "weights.safetensors", "README.md"} <= set(files)
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: aekit\ntags:\n") and 'aekit.load("hf://user/model")' in card
    assert "\npipeline_tag: image-feature-extraction\n---\n" in card
    samples = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    local, loaded = aekit.load(run), aekit.load(url)
    assert loaded.digest == local.digest
    np.testing.assert_array_equal(loaded.embed(samples).vectors, local.embed(samples).vectors)


def test_pushing_again_sends_nothing_and_a_new_encoder_replaces_the_old(
    hub: Hub, run: Path, other: aekit.Encoder
) -> None:
    aekit.push_to_hub(run, "user/model", progress=False)
    before = model(hub).branches["main"]
    lines = Said()
    aekit.push_to_hub(run, "hf://user/model", progress=lines)
    assert lines.lines == ["hf://user/model: is up to date"] and model(hub).branches["main"] == before
    aekit.push_to_hub(other, "user/model", progress=lines)
    assert "3 of them replace others, which stay in its history" in lines.lines[-1]
    assert aekit.load("hf://user/model").digest == other.digest
    assert aekit.load(f"hf://user/model@{before}").digest == aekit.load(run).digest


def test_a_branch_is_made_and_read(hub: Hub, run: Path, other: aekit.Encoder) -> None:
    aekit.push_to_hub(run, "user/model", progress=False)
    assert aekit.push_to_hub(other, "user/model", revision="wide", progress=False) == "hf://user/model@wide"
    assert aekit.load("hf://user/model@wide").digest == other.digest
    assert aekit.load("hf://user/model").digest == aekit.load(run).digest


def test_copy_pushes_a_run_with_the_card_of_its_encoder(hub: Hub, run: Path, command: Command) -> None:
    output = command.ok("copy", run, "hf://user/model", "--private", "--message", "A run")
    assert "files in hf://user/model" in output and TOKEN not in output
    files = model(hub).commits[model(hub).branches["main"]]
    assert model(hub).private and model(hub).messages[1:] == ["A run"]
    assert b'aekit.load("hf://user/model")' in files["README.md"] and "encoder/encoder.json" in files
    assert aekit.load("hf://user/model").digest == aekit.load(run).digest


@pytest.mark.parametrize("target", ["copy", "memory://bucket/links", "hf://user/links"])
def test_a_link_to_another_place_is_not_copied(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("of the user")
    for place in ("../secret/key", "../secret", "../missing"):
        (folder / "notes").symlink_to(place)
        with pytest.raises(DataError, match=rf"notes: is a link to {place}, and files are copied only"):
            aekit.copy(folder, target)
        (folder / "notes").unlink()
    assert not (tmp_path / "copy").exists() and "models/user/links" not in hub.repositories
    (folder / "README.md").write_text("café", "utf-8")
    (folder / "card.md").symlink_to("README.md")
    aekit.copy(folder, target)
    if target == "copy":
        assert (tmp_path / "copy" / "card.md").read_text("utf-8") == "café" and not (
            tmp_path / "copy/card.md"
        ).is_symlink()
    elif target.startswith("hf"):
        repository = hub.repositories["models/user/links"]
        assert repository.commits[repository.branches["main"]]["README.md"].decode() == "café"


def test_the_command_reads_the_endpoint_and_the_token_of_the_environment(hub: Hub, run: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "aekit", "copy", str(run / "encoder"), "hf://user/model"]
    result = subprocess.run(line, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("3 files in hf://user/model\n") and TOKEN not in result.stdout + result.stderr
    assert not any(TOKEN.encode() in content for content in model(hub).commits[model(hub).branches["main"]].values())


def refused(action: Any, error: type[AekitError] = OutputError) -> str:
    with pytest.raises(error) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text and TOKEN not in text
    return text


def test_repositories_of_something_else_and_of_another_visibility_are_refused(hub: Hub, run: Path) -> None:
    aekit.push_to_hub(run, "user/model", progress=False)
    text = refused(lambda: aekit.push_to_hub(run, "user/model", private=True, progress=False))
    assert text == (
        "hf://user/model: exists and is public, but private was asked for; change it on the Hub, or choose another"
    )
    model(hub).add("main", {"config.json": b"{}", "LICENSE": b"MIT"}, "another model")
    text = refused(lambda: aekit.push_to_hub(run, "user/model", progress=False))
    assert text.startswith("hf://user/model: holds 'config.json', which is not part of ")
    model(hub).add("main", {"LICENSE": b"MIT", ".gitignore": b"weights.safetensors"}, "ignores weights")
    text = refused(lambda: aekit.copy(run / "encoder", "hf://user/model", progress=False))
    assert "'.gitignore'" in text


def test_another_push_meanwhile_is_noticed(hub: Hub, run: Path) -> None:
    aekit.push_to_hub(run, "user/model", progress=False)
    model(hub).add("main", {}, "emptied")
    hub.before_commit = lambda: model(hub).add("main", {"LICENSE": b"MIT"}, "meanwhile")
    text = refused(lambda: aekit.push_to_hub(run, "user/model", progress=False))
    assert text == "hf://user/model: another program has pushed there meanwhile; run again"
    assert set(model(hub).commits[model(hub).branches["main"]]) == {"LICENSE"}


def test_errors_of_the_server_are_one_line(hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def push() -> object:
        return aekit.push_to_hub(run, "user/model", progress=False)

    text = refused(lambda: aekit.push_to_hub(run, "stranger/model", progress=False))
    assert text.startswith("hf://stranger/model: cannot be written: permission denied by the server; its token")
    text = refused(lambda: aekit.load("hf://user/model"), DataError)
    assert text.startswith("hf://user/model: no such repository, revision or folder, or a private one; its token is")
    hub.fault = lambda method, path: 500 if path.endswith("/create") else 0
    assert "hf://user/model: cannot be written: " in (text := refused(push)) and "500" in text, text
    hub.fault = lambda method, path: 500 if "/commit/" in path else 0
    assert "500" in refused(push)
    assert list(model(hub).commits[model(hub).branches["main"]]) == [".gitattributes"], "nothing new is seen"
    hub.fault = lambda method, path: 404 if "/commit/" in path else 0
    assert "cannot be written: no such repository" in refused(push)
    hub.fault = lambda method, path: 0
    push()
    model(hub).private = True
    monkeypatch.delenv("HF_TOKEN")
    assert "a private one; its token is that of hf auth login" in refused(
        lambda: aekit.load("hf://user/model"), DataError
    )
    monkeypatch.setenv("HF_TOKEN", "hf_Wrong")
    assert "cannot be read: permission denied" in refused(lambda: aekit.load("hf://user/model"), DataError)
    assert "cannot be written: permission denied" in refused(push)


def test_options_of_the_hub_are_refused_elsewhere(run: Path, tmp_path: Path, command: Command) -> None:
    outcome = command("copy", run, tmp_path / "copy", "--private")
    assert outcome.error.endswith("copy: private is for repositories on the Hub, such as hf://user/model")
    assert not (tmp_path / "copy").exists()
    assert "expected the name of a repository" in refused(lambda: aekit.push_to_hub(run, "model", progress=False))
    assert "expected a repository of models" in refused(lambda: aekit.push_to_hub(run, "memory://a/b", progress=False))


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("hf://user/model", HubFolder("model", "user/model", None, "")),
        ("hf://user/model@v1/", HubFolder("model", "user/model", "v1", "")),
        ("hf://datasets/user/data/runs/a", HubFolder("dataset", "user/data", None, "runs/a/")),
        ("hf://buckets/user/data", None),
        ("s3://bucket/run", None),
    ],
)
def test_urls_of_the_hub(url: str, folder: HubFolder | None) -> None:
    assert hub_folder(url) == folder
