"""Test bad input: one clear line and exit code 2, or samples skipped and counted, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from PIL import Image

from aekit.cli import _option_hints
from aekit.errors import closest_name
from aekit.registry.discovery import registry
from aekit.registry.options import model_of_plugin
from aekit.training.recipe import SECTIONS

FAST = ("--dim", "4", "--epochs", "1", "--set", "train.precision=fp32", "-q")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write twelve valid images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, 5)))
    return path


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_empty_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error = command("fit", tmp_path / "empty", "-o", tmp_path / "run", *FAST).error
    assert "an empty folder; looked for" in error and ".jpg" in error
    assert not (tmp_path / "run").exists()


def test_a_path_that_does_not_exist(command: Command, photos: Path, tmp_path: Path) -> None:
    error = command("fit", tmp_path / "fotos", "-o", tmp_path / "run", *FAST).error
    assert "no such file or folder; did you mean 'photos'?" in error


def huge_png() -> bytes:
    """Create a PNG whose header claims 100000 x 100000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_bad_images_are_skipped_listed_and_counted(command: Command, photos: Path, tmp_path: Path) -> None:
    whole = (photos / "0.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "words.jpg").write_text("these are words")
    (photos / "nothing.jpg").write_bytes(b"")
    (photos / "bomb.png").write_bytes(huge_png())
    run, found = tmp_path / "run", tmp_path / "found"
    outcome = command("fit", photos, "-o", run, *FAST[:-1])
    assert outcome.code == 0 and "data: 12 samples" in outcome.err and "data: 4 samples skipped, e.g." in outcome.err
    assert "12 embeddings of 4 dimensions" in command.ok("embed", run, photos, "-o", found, "-q")
    for listed in (run / "skipped.csv", found / "skipped.csv"):
        names = {line.split(",")[0] for line in listed.read_text().splitlines()[1:]}
        assert names == {"truncated.jpg", "words.jpg", "nothing.jpg", "bomb.png"}
    assert "100000" in (run / "skipped.csv").read_text()
    strict = command("fit", photos, "-o", tmp_path / "strict", *FAST, "--set", "data.strict=true").error
    assert strict.split(":")[0] in ("truncated.jpg", "words.jpg", "nothing.jpg", "bomb.png")


def test_only_bad_images(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no")
    assert "a.jpg" in command("fit", tmp_path / "bad", "-o", tmp_path / "run", *FAST).error


def test_nan_in_an_array(command: Command, table: Path, tmp_path: Path) -> None:
    rows = np.load(table)
    rows[3, 2], rows[7, 0] = np.nan, np.inf
    np.save(table, rows)
    outcome = command("fit", table, "-o", tmp_path / "run", *FAST[:-1])
    assert (
        outcome.code == 0
        and "data: 38 samples" in outcome.err
        and "2 samples skipped, e.g. 3: nan at (2,)" in outcome.err
    )


def test_ragged_arrays(command: Command, tmp_path: Path) -> None:
    import aekit
    from aekit.errors import DataError

    with pytest.raises(DataError, match=r"differ|shape"):
        aekit.fit([np.zeros((3, 4)), np.zeros((3, 5))])
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros(3), np.zeros(4)]
    np.save(tmp_path / "ragged.npy", ragged, allow_pickle=True)
    assert "ragged.npy" in command("fit", tmp_path / "ragged.npy", "-o", tmp_path / "run", *FAST).error


def test_labels_that_do_not_match(command: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X=np.zeros((10, 4)), y=np.zeros(9))
    error = command("fit", tmp_path / "data.npz", "-o", tmp_path / "run", *FAST).error
    assert "y has 9 labels for the 10 samples of X" in error


def test_a_recipe_with_three_mistakes(command: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[data]\nsource = "sklearn:digits"\n[encoder]\ndim = -3\n[train]\nepohcs = 3\nlr = "high"\n')
    outcome = command("fit", recipe, "-o", tmp_path / "run", "-q")
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert outcome.code == 2 and len(errors) == 3
    assert any("recipe.toml: encoder.dim = -3: expected greater than or equal to 0" in line for line in errors)
    assert any("train.epohcs: no such option; did you mean 'epochs'?" in line for line in errors)
    assert any("train.lr = 'high'" in line for line in errors)
    assert not (tmp_path / "run").exists()


def test_a_variant_that_does_not_exist(command: Command, table: Path, tmp_path: Path) -> None:
    error = command("fit", table, "-o", tmp_path / "run", "--variant", "denoisng", *FAST).error
    assert "no variant 'denoisng'; did you mean 'denoising'?" in error
    assert "no command 'serach'; did you mean 'search'?" in command("serach").error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("evaluat", "; did you mean 'evaluate'?"),
        ("EVALUATE", "; did you mean 'evaluate'?"),
        ("eval", "; did you mean 'evaluate'?"),
        ("console", "; available: anomalies, embed, evaluate, explore"),
        ("e", "; available: anomalies, embed, evaluate, explore"),
    ],
)
def test_a_name_is_suggested_only_if_it_is_near(name: str, hint: str) -> None:
    assert closest_name(name, ["evaluate", "embed", "explore", "anomalies"]) == hint
    assert closest_name("xyz", map(str, range(100))) == "", "too many to list"


def test_a_second_fit_into_a_finished_run(command: Command, table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command.ok("fit", table, "-o", run, *FAST)
    before = everything_below(run)
    assert (
        "holds a finished run; resume=True (--resume) keeps it, or choose another folder"
        in command("fit", table, "-o", run, *FAST).error
    )
    assert "nothing to resume" in command("fit", table, "-o", run, *FAST[:-1], "--resume").err
    assert everything_below(run) == before


def test_a_folder_that_is_not_empty(command: Command, table: Path, photos: Path, tmp_path: Path) -> None:
    before = everything_below(photos)
    assert "is not empty" in command("fit", table, "-o", photos, *FAST).error
    assert "no run to resume" in command("fit", table, "-o", photos, *FAST, "--resume").error
    assert everything_below(photos) == before
    assert "it is a file; expected a folder" in command("fit", table, "-o", table, *FAST).error


def test_two_runs_into_one_folder(command: Command, table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["fit", str(table), "-o", str(run), "--dim", "2", "--epochs", "100000", "-q"]
    first = subprocess.Popen(
        [sys.executable, "-c", "from aekit.cli import main; main()", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (run / "recipe.toml").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "another aekit is writing into it" in command(*arguments, "--resume").error
        assert first.poll() is None, "the first run was disturbed"
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()


def test_an_index_of_another_encoder_and_a_damaged_one(command: Command, photos: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        command.ok("fit", photos, "-o", tmp_path / name, *FAST, "--seed", seed)
        command.ok("embed", tmp_path / name, photos, "-o", tmp_path / f"{name}-emb", "-q")
    index = tmp_path / "index"
    command.ok("index", tmp_path / "a-emb", "-o", index, "-q")
    before = everything_below(index)
    error = command("index", tmp_path / "b-emb", "-o", index, "-q").error
    assert "encoder" in error
    assert everything_below(index) == before
    error = command("embed", tmp_path / "b", photos, "-o", tmp_path / "a-emb", "-q").error
    assert "from encoder" in error

    stored = index / "index.faiss"
    stored.write_bytes(stored.read_bytes()[:-40] + b"\xff" * 40)
    assert "index.faiss" in command("search", index, "id:0.jpg", "-q").error


def test_searching_for_missing_samples(command: Command, photos: Path, tmp_path: Path) -> None:
    command.ok("fit", photos, "-o", tmp_path / "run", *FAST)
    command.ok("embed", tmp_path / "run", photos, "-o", tmp_path / "emb", "-q")
    command.ok("index", tmp_path / "emb", "-o", tmp_path / "index", "-q")
    assert "did you mean" in command("search", tmp_path / "index", "id:1.jpeg", "-q").error
    assert "no such file" in command("search", tmp_path / "index", photos / "99.jpg", "-q").error
    assert command("search", tmp_path / "nowhere", "id:1.jpg", "-q").error
    (photos / "words.jpg").write_text("these are words")
    assert "words.jpg" in command("search", tmp_path / "index", photos / "words.jpg", "-q").error
    found = json.loads(command.ok("search", tmp_path / "index", "id:1.jpg", "-k", "99", "--json", "-q"))
    assert found


def test_missing_artifacts(command: Command, photos: Path, tmp_path: Path) -> None:
    assert "no encoder here" in command("embed", photos, photos, "-o", tmp_path / "e", "-q").error
    assert "no embeddings here" in command("evaluate", photos, "-q").error
    assert "no embeddings here" in command("index", photos, "-o", tmp_path / "i", "-q").error
    assert "no encoder here" in command("export", photos, "-o", tmp_path / "m.onnx", "-q").error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(command: Command, photos: Path, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "precious.txt").write_text("still here")
    error = command("fit", photos, "-o", small_disk / "run", *FAST, "--set", "encoder.conv.channels=[256,256]").error
    assert "the disk is full" in error
    assert not (small_disk / "run" / "encoder").exists()
    command.ok("fit", photos, "-o", tmp_path / "run", *FAST)

    (small_disk / "filler").write_bytes(
        b"\0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 8192)
    )
    assert "the disk is full" in command("embed", tmp_path / "run", photos, "-o", small_disk / "emb", "-q").error
    assert "the disk is full" in command("export", tmp_path / "run", "-o", small_disk / "m.onnx", "-q").error
    assert not (small_disk / "m.onnx").exists() and not list(small_disk.glob("*.part"))
    (small_disk / "filler").unlink()
    command.ok("embed", tmp_path / "run", photos, "-o", small_disk / "emb", "-q")
    assert (small_disk / "precious.txt").read_text() == "still here"


def test_a_read_only_folder(command: Command, photos: Path, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "it is read-only" in command("fit", photos, "-o", small_disk / "run", *FAST).error
    command.ok("fit", photos, "-o", tmp_path / "run", *FAST)
    for arguments in (("embed", tmp_path / "run", photos), ("export", tmp_path / "run")):
        target = small_disk / ("emb" if arguments[0] == "embed" else "m.onnx")
        assert "it is read-only" in command(*arguments, "-o", target, "-q").error


@pytest.mark.parametrize(
    "command_name, option, setting",
    [
        ("fit", "--lr", "train.lr"),
        ("fit", "--learning_rate", "train.lr"),
        ("tune", "--batch-size", "train.batch_size"),
        ("fit", "--image-size", "data.images.size"),
        ("data", "--label", "data.arrays.y"),
        ("embed", "--sep", "data.arrays.delimiter"),
    ],
)
def test_an_option_that_is_a_setting_is_named(command: Command, command_name: str, option: str, setting: str) -> None:
    error = command(command_name, "x.npy", option, "1").error
    assert f"no option {option}, but a setting: --set {setting}=VALUE" in error


def test_other_unknown_options_are_refused_as_ever(command: Command) -> None:
    assert "No such option '--lr'" in command("data", "x.npy", "--lr", "1").error
    assert "'--seed'" in command("fit", "x.npy", "--sed", "1").error


def test_the_settings_that_are_named_exist() -> None:
    for setting in [*_option_hints._TRAINING, *_option_hints._DATA]:
        section, *names = setting.split(".")
        if section == "data" and len(names) == 2:
            assert names[1] in model_of_plugin(registry().get("source", names[0])).model_fields, setting
        else:
            assert names[0] in SECTIONS[section].model_fields, setting
