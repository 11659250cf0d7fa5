"""Several worker processes make the folder that a single process makes, whatever happens to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, Said
from embedded_folders import check_same, write_images
from PIL import Image
from worker_pools import Here, Killing

import aekit
from aekit.encoder import _embedding_worker, embedding, parquet_store as store
from aekit.encoder.engines import units as units_of_work
from aekit.encoder.engines._processes import Processes, ProcessPool
from aekit.encoder.engines.units import (
    MessageError,
    Result,
    array_from_bytes,
    array_to_bytes,
    arrays_from_bytes,
    arrays_to_bytes,
    decode_positions,
    encode_positions,
    split_units,
)
from aekit.encoder.inference import Inference
from aekit.errors import AekitError, DataError, IdentityError, OutOfMemoryError, RecipeError
from aekit.io.threads import limited_threads, usable_cores
from aekit.progress import SILENT
from aekit.workflows.finetuning.classifier import Classifier


def test_worker_processes_make_the_parts_of_a_single_process(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pools: list[ProcessPool]
) -> None:
    """Also where samples cannot be read and workers are killed."""
    monkeypatch.setattr(store, "PART_BYTES", 20 * 6 * 4)
    data, single, several = write_images(tmp_path / "images", 110), tmp_path / "single", tmp_path / "several"
    (data / "odd" / "007.png").write_bytes(b"no image")
    killing = Killing(pools, [7, 30])
    aekit.embed(run, data, out=single, batch_size=7)
    aekit.embed(run, data, out=several, batch_size=7, engine="processes", workers=2, progress=killing)
    check_same(several, single)
    assert len(list(several.glob("part-*.parquet"))) == 6
    assert "odd/007.png" in (several / "skipped.csv").read_text()
    (pool,) = pools
    assert (pool.count, killing.at, pool.workers) == (2, [], [])
    assert 1 <= pool.ended <= 2  # the second one may be killed when it has sent its last batch
    assert "a worker process ended and is started again: it was ended by signal 9 (Killed)" in killing


def test_only_new_and_changed_samples_are_embedded(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None
) -> None:
    monkeypatch.setattr(store, "PART_BYTES", 20 * 6 * 4)
    data, single, several = write_images(tmp_path / "images", 110), tmp_path / "single", tmp_path / "several"
    options: dict[str, Any] = {"batch_size": 7}
    said = Said()
    for step in ("new", "grown", "same"):
        aekit.embed(run, data, out=single, **options)
        aekit.embed(run, data, out=several, engine="processes", workers=3, progress=said, **options)
        check_same(several, single)
        if step == "new":
            write_images(data, 60, first=110)
            Image.fromarray(np.full((8, 8), 200, np.uint8)).save(data / "even" / "006.png")
    assert [line for line in said.lines if "already" in line] == [
        "109 of 170 samples are embedded already",
        "170 of 170 samples are embedded already",
    ]


def test_embeddings_in_memory_and_of_a_split(run: Path, tmp_path: Path, here: None) -> None:
    images = np.random.default_rng(1).integers(0, 256, (90, 1, 8, 8), dtype=np.uint8)
    np.savez(
        tmp_path / "data.npz",
        x_train=images[:60],
        y_train=np.arange(60) % 3,
        x_test=images[60:],
        y_test=np.arange(30) % 3,
    )
    expected = aekit.embed(run, tmp_path / "data.npz", split="test")
    rows = aekit.embed(run, tmp_path / "data.npz", split="test", engine="processes", workers=2)
    assert list(rows.ids) == list(expected.ids) and len(rows) == 30
    assert np.array_equal(rows.labels, expected.labels) and np.array_equal(rows.splits, expected.splits)
    assert np.allclose(rows.vectors, expected.vectors, atol=1e-5)


def test_the_precision_is_chosen_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None) -> None:
    """And it is that of a single process, though each worker could measure another."""
    np.save(tmp_path / "data.npy", np.random.default_rng(1).integers(0, 256, (2000, 1, 8, 8), dtype=np.uint8))
    monkeypatch.setattr(Inference, "_choose_precision", lambda self, raw: "bf16")
    embeddings = aekit.embed(run, tmp_path / "data.npy", engine="processes", workers=2, batch_size=16)
    assert embeddings.precision == "bf16"
    monkeypatch.undo()
    exact = aekit.embed(run, tmp_path / "data.npy", precision="fp32").vectors
    assert 1e-4 < np.abs(embeddings.vectors - exact).max() < 1


def test_an_error_of_a_worker_is_that_of_a_single_process(
    run: Path, tmp_path: Path, command: Command, here: None
) -> None:
    data = write_images(tmp_path / "images", 30)
    (data / "odd" / "007.png").write_bytes(b"no image")
    (data / "odd" / "021.png").write_bytes(b"no image")
    options = ("--strict", "--batch-size", 2)
    single = command("embed", run, data, "-o", tmp_path / "a", *options)
    several = command("embed", run, data, "-o", tmp_path / "b", *options, "--engine", "processes", "-n", 2)
    assert several.error == single.error and "odd/007.png" in single.error


def test_an_encoder_that_a_worker_cannot_load_is_one_line(
    run: Path, tmp_path: Path, command: Command, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*arguments: Any, **options: Any) -> None:
        raise IdentityError("weights.safetensors: is damaged")

    monkeypatch.setattr(_embedding_worker, "load", damaged)
    np.save(tmp_path / "data.npy", np.zeros((20, 1, 8, 8), np.uint8))
    outcome = command("embed", run, tmp_path / "data.npy", "-o", tmp_path / "out", "--engine", "processes")
    assert outcome.error == "weights.safetensors: is damaged"


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_the_workers_end_with_the_main_process(number: int, run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros((200_000, 1, 8, 8), np.uint8))
    line = [sys.executable, "-m", "aekit", "embed", run, tmp_path / "data.npy", "-o", tmp_path / "out", "-q"]
    line += ["--engine", "processes", "-n", "2", "--batch-size", "1"]
    main = subprocess.Popen([str(part) for part in line], stderr=subprocess.PIPE, text=True)
    children: list[int] = []
    until = time.monotonic() + 60
    while len(children) < 2 and time.monotonic() < until:
        time.sleep(0.05)
        children = [int(child) for child in Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split()]
    assert len(children) == 2
    main.send_signal(number)
    _, said = main.communicate(timeout=60)
    assert main.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert said.strip() == ("stopped" if number == signal.SIGINT else "")
    while any(map(_runs, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(_runs, children))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_that_always_end_are_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pools: list[ProcessPool]
) -> None:
    np.save(tmp_path / "data.npy", np.zeros((20, 1, 8, 8), np.uint8))
    monkeypatch.setattr(embedding, "WORKER", "platform")  # a module that prints a line and ends
    with pytest.raises(AekitError, match=r"^worker processes do not start: it exited with code 0: Linux"):
        aekit.embed(run, tmp_path / "data.npy", out=tmp_path / "out", engine="processes", workers=1)
    assert pools[0].ended == 4

    pool = ProcessPool(embedding.WORKER, 1, SILENT)
    pool._waiting, pool._units = [], [encode_positions(np.arange(4, 9))]
    with pytest.raises(
        AekitError, match=r"^the samples at positions 4 to 8 have ended 3 worker processes: it was ended"
    ):
        for _ in range(3):
            worker = pool.workers[0]
            worker.ready = True
            worker.units.append(0)
            worker.child.process.kill()
            pool._replace(worker)
    pool.stop()


def test_what_engines_cannot_do_is_refused(run: Path, tmp_path: Path, command: Command) -> None:
    array = np.zeros((9, 1, 8, 8), np.uint8)
    with pytest.raises(DataError, match="data in memory: the workers of engine 'processes' open data by its path"):
        aekit.embed(run, array, engine="processes")
    with pytest.raises(RecipeError, match=r"engine = 'proceses': expected .*; did you mean 'processes'\?"):
        aekit.embed(run, array, engine="proceses")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="workers = 3: expected engine 'processes' or 'ray'"):
        aekit.embed(run, array, workers=3)
    with pytest.raises(RecipeError, match="workers = 0: expected at least 1"):
        aekit.embed(run, array, engine="processes", workers=0)
    with pytest.raises(RecipeError, match="address = 'auto': expected engine 'ray'"):
        aekit.embed(run, array, engine="processes", address="auto")
    assert "expected engine 'processes'" in command("embed", run, "x.npy", "-o", tmp_path / "e", "-n", 2).error


def test_data_that_has_changed_since_it_was_opened_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_images(tmp_path / "images", 12)

    @contextmanager
    def change(self: Processes, module: str, *arguments: Any) -> Iterator[Here]:
        (data / "even" / "000.png").rename(data / "even" / "001.png")
        yield Here(module)

    monkeypatch.setattr(Processes, "start", change)
    with pytest.raises(DataError, match="images: has changed since it was opened"):
        aekit.embed(run, data, out=tmp_path / "out", engine="processes", workers=1)
    (data / "even" / "001.png").rename(data / "even" / "000.png")
    monkeypatch.setattr(Processes, "start", lambda self, module, *arguments: contextlib.nullcontext(Here(module)))
    monkeypatch.setattr(
        _embedding_worker, "reopen", lambda origin, like: aekit.open_data(np.zeros((3, 1, 8, 8), np.uint8))
    )
    with pytest.raises(DataError, match="images: has changed since it was opened"):
        aekit.embed(run, data, out=tmp_path / "out", engine="processes", workers=1)


def test_units_are_whole_batches_and_travel_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.r_[np.arange(5, 300), [7, 3, 900], np.arange(400, 900)]
    for batch, workers in ((7, 2), (256, 3), (1, 1), (10_000, 4)):
        units = split_units(rows, batch, workers)
        assert np.array_equal(np.concatenate(units), rows)
        assert all(len(unit) % batch == 0 and len(unit) <= batch * units_of_work.UNIT_BATCHES for unit in units[:-1])
        for unit in units:
            assert np.array_equal(decode_positions(encode_positions(unit)), unit)
    assert len(encode_positions(np.arange(10**6))) < 20
    arrays = [np.arange(6, dtype=np.uint16).reshape(2, 3), np.zeros((1, 4, 5))]
    columns = {
        "vector": np.eye(2, 3, dtype=np.float32),
        "image": np.arange(24, dtype=np.uint16).reshape(2, 3, 2, 2),
        "score": np.asarray([0.5, np.nan]),
        "hash": ["a", "b"],
        "sample": [array_to_bytes(array) for array in arrays],
    }
    result = Result(np.asarray([4, 9]), columns, "c", {"n\udcff": "why"}, ["w"])
    back = Result.from_bytes(result.to_bytes(), np.asarray([4, 5, 9]))
    for name in ("ids", "skipped", "warnings", "error"):
        assert getattr(back, name) == getattr(result, name)
    assert np.array_equal(back.positions, result.positions) and list(back.columns) == list(columns)
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            assert back.columns[name].dtype == column.dtype
            assert np.array_equal(back.columns[name], column, equal_nan=column.dtype.kind == "f")
        else:
            assert back.columns[name] == column
    for array, content in zip(arrays, back.columns["sample"]):
        assert np.array_equal(array_from_bytes(content), array)
    assert Result.from_bytes(Result().to_bytes(), rows).columns == {}


def test_what_is_no_array_is_an_error_of_the_message() -> None:
    arrays = {"a": np.eye(2), "b": np.arange(3)}
    back = arrays_from_bytes(arrays_to_bytes(arrays))
    assert back.keys() == arrays.keys() and all(np.array_equal(back[name], arrays[name]) for name in arrays)
    whole = array_to_bytes(np.eye(2))
    for content in (b"", b"x", b"PK\x03\x04", b"\x93NUMPY", whole[:-1], array_to_bytes(np.asarray(["x"])), "x", None):
        with pytest.raises(MessageError, match="a worker sent an invalid array: "):
            array_from_bytes(content)
    for content in (b"", b"x", b'["a"]\nPK', b"null\n" + whole, b"3\n" + arrays_to_bytes({}), "x", None):
        with pytest.raises(MessageError, match="a worker sent an invalid set of arrays: "):
            arrays_from_bytes(content)


@pytest.mark.parametrize(
    "error, text",
    [
        (DataError("a"), "a"),
        (RecipeError(["a", "b"]), "a\nb"),
        (FileNotFoundError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (OutOfMemoryError("short"), "short"),
        (type("Other", (DataError,), {})("a"), "a"),
        (ZeroDivisionError("a"), "a worker failed: ZeroDivisionError: a"),
    ],
)
def test_errors_travel(error: Exception, text: str) -> None:
    back = units_of_work.rebuild_error(json.loads(json.dumps(units_of_work.describe_error(error))))
    assert str(back) == text
    assert isinstance(back, (AekitError, OSError)) == isinstance(error, (AekitError, OSError))


def test_threads_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    for name, value in limited_threads(3).items():
        monkeypatch.setenv(name, value)
    assert usable_cores() == 3 and os.environ["OMP_NUM_THREADS"] == "3"


@pytest.fixture(scope="module")
def finetuned(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images in a file, and a classifier of their brightness."""
    folder = tmp_path_factory.mktemp("classify")
    images = np.random.default_rng(1).integers(0, 256, (90, 1, 8, 8), dtype=np.uint8)
    images[::2] //= 2
    np.save(folder / "images.npy", images)
    labels, settings = np.array(["dark", "bright"] * 45), {"epochs": 1, "precision": "fp32", "baselines": False}
    aekit.finetune(run, images, labels=labels, out=folder / "tuned", **settings)
    return folder / "images.npy", folder / "tuned"


def test_worker_processes_classify_as_a_single_process_does(
    finetuned: tuple[Path, Path], pools: list[ProcessPool], command: Command, tmp_path: Path
) -> None:
    """Also where workers are killed."""
    data, folder = finetuned
    classifier = aekit.load_classifier(folder)
    killing = Killing(pools, [4])
    shared = list(classifier.classify(data, batch_size=2, engine="processes", workers=2, progress=killing))
    assert (pools[0].ended, killing.at, pools[0].workers) == (1, [], [])
    alone = list(classifier.classify(data, batch_size=2))
    assert [batch.ids for batch in shared] == [batch.ids for batch in alone]
    assert [batch.labels.tolist() for batch in shared] == [batch.labels.tolist() for batch in alone]
    for ours, theirs in zip(shared, alone):
        assert np.allclose(ours.probabilities, theirs.probabilities, atol=1e-6)

    command.ok("classify", folder, data, "-o", tmp_path / "alone.csv", "-q")
    command.ok("classify", folder, data, "-o", tmp_path / "shared.csv", "-q", "--engine", "processes", "-n", 2)
    assert (tmp_path / "shared.csv").read_text() == (tmp_path / "alone.csv").read_text()


def test_workers_classify_by_codes_before_their_normalization(finetuned: tuple[Path, Path], here: None) -> None:
    data, folder = finetuned
    classifier = aekit.load_classifier(folder)
    encoder = classifier.encoder
    shape = encoder.architecture | {"normalize": True}
    unit = aekit.Encoder(encoder.spec, encoder.preprocess, encoder.backbone, encoder.head, shape, encoder.plugins)
    scaled = Classifier(unit, classifier.linear, classifier.classes)
    expected = classifier.probabilities(data)
    assert np.allclose(scaled.probabilities(data, engine="processes", workers=1), expected, atol=1e-6)
    with pytest.raises(DataError, match="workers of engine 'processes' open data by its path"):
        classifier.predict(np.load(data), engine="processes")
    with pytest.raises(RecipeError, match="workers = 2: expected engine 'processes' or 'ray'"):
        classifier.predict(data, workers=2)
