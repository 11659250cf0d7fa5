"""Collecting samples: what is held, what is left out, and the decode-once cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource, Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError, OutputError

CPU = torch.device("cpu")


class Files(Source):
    """Stands for a slow source: values with a state, of which some are bad; counts what is read."""

    slow = True

    def __init__(self, values: Sequence[float], bad: tuple[int, ...] = (), dtype: str = "uint8") -> None:
        self.values, self.bad, self.skipped, self.reads = values, bad, {}, 0
        self.spec, self.ids = SampleSpec("vector", (50,), dtype), [f"file-{n}" for n in range(len(values))]

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.reads += len(indices)
        ok = np.array([int(i) not in self.bad for i in indices])
        rows = np.repeat(np.array(self.values, self.spec.dtype)[indices, None], 50, axis=1)
        self.skipped.update({self.ids[i]: "damaged" for i in indices[~ok]})
        return np.where(ok[:, None], rows, 0).astype(self.spec.dtype), ok

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return [f"{self.values[i]}{int(i) in self.bad}" for i in indices]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_MEMORY", "1000")


def test_what_fits_is_held_on_the_device_without_what_is_bad() -> None:
    samples = load_samples(Files([10, 20, 30, 40], bad=(1,)), np.array([3, 1, 0]), CPU)
    assert isinstance(samples.data, torch.Tensor)
    assert samples.rows.tolist() == [3, 0]
    assert samples.batch(torch.tensor([1, 0]))[:, 0].tolist() == [10, 40]


def test_what_does_not_fit_is_mapped_and_equal(little_memory: None, tmp_path: Path) -> None:
    values = list(range(100))
    samples = load_samples(Files(values, bad=(7, 99)), np.arange(100), CPU, cache=tmp_path)
    assert isinstance(samples.data, np.memmap)
    assert samples.rows.tolist() == [v for v in values if v not in (7, 99)]
    assert samples.batch(torch.arange(98))[:, 3].tolist() == samples.rows.tolist()
    assert not list(tmp_path.rglob("*.part"))


def test_the_cache_is_in_the_folder_that_the_environment_names(
    little_memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_CACHE", str(tmp_path / "here"))
    load_samples(Files(list(range(100))), np.arange(100), CPU)
    assert [path.suffix for path in sorted((tmp_path / "here" / "decoded").iterdir())] == [".json", ".raw"]


def test_a_second_use_of_the_cache_reads_nothing_and_still_knows_what_was_bad(
    little_memory: None, tmp_path: Path
) -> None:
    first, again = Files(list(range(100)), bad=(7,)), Files(list(range(100)), bad=(7,))
    load_samples(first, np.arange(100), CPU, cache=tmp_path)
    samples = load_samples(again, np.arange(100), CPU, cache=tmp_path)
    assert (first.reads, again.reads) == (100, 0)
    assert again.skipped == {"file-7": "damaged"}
    assert 7 not in samples.rows
    with pytest.raises(DataError, match="file-7: damaged"):
        load_samples(again, np.arange(100), CPU, cache=tmp_path, strict=True)


def test_a_changed_file_is_decoded_again(little_memory: None, tmp_path: Path) -> None:
    load_samples(Files(list(range(100))), np.arange(100), CPU, cache=tmp_path)
    changed = Files([200, *range(1, 100)])
    samples = load_samples(changed, np.arange(100), CPU, cache=tmp_path)
    assert changed.reads == 100
    assert samples.batch(torch.tensor([0]))[0, 0] == 200


def test_the_cache_holds_when_the_samples_move_within_a_grown_source(little_memory: None, tmp_path: Path) -> None:
    load_samples(Files(list(range(100)), bad=(7,)), np.arange(100), CPU, cache=tmp_path)
    grown = Files([255, *range(100)], bad=(8,))
    samples = load_samples(grown, np.arange(1, 101), CPU, cache=tmp_path)
    assert grown.reads == 0
    assert grown.skipped == {"file-8": "damaged"}
    assert samples.rows.tolist() == [row for row in range(1, 101) if row != 8]


def test_an_unwritable_cache_is_one_line(little_memory: None, tmp_path: Path) -> None:
    (tmp_path / "decoded").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"decoded: .*AEKIT_CACHE"):
        load_samples(Files(list(range(100))), np.arange(100), CPU, cache=tmp_path)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    little_memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="the disk is full; set AEKIT_CACHE to use another"):
        load_samples(Files(list(range(100))), np.arange(100), CPU, cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_array_is_mapped_as_it_is(little_memory: None, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6000, dtype=np.uint8).reshape(-1, 20))
    source = ArraySource(np.load(tmp_path / "x.npy", mmap_mode="r"))
    samples = load_samples(source, np.arange(100, 300), CPU, cache=tmp_path / "cache")
    assert torch.equal(samples.batch(torch.tensor([5])), torch.from_numpy(source.array[[105]].copy()))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("room", ["1000", "1000000"])
def test_uint16_comes_back_bit_for_bit(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_MEMORY", room)
    values = [0, 1, 32767, 32768, 65535] * 20
    for source in (
        Files(values, dtype="uint16"),
        ArraySource(np.repeat(np.array(values, np.uint16)[:, None], 50, axis=1)),
    ):
        batch = load_samples(source, np.arange(100), CPU, cache=tmp_path).batch(torch.tensor([4, 3, 2]))
        assert batch.dtype == torch.uint16
        assert batch[:, 0].tolist() == [65535, 32768, 32767]


def test_strict_stops_at_the_first_bad_sample() -> None:
    with pytest.raises(DataError, match=r"^file-1: damaged \(strict\)$"):
        load_samples(Files([1, 2, 3], bad=(1, 2)), np.arange(3), CPU, strict=True)


@pytest.mark.parametrize("room", ["100", "1000000"])
def test_all_bad_is_an_error_that_names_some(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_MEMORY", room)
    with pytest.raises(DataError, match=r"none of 3 samples can be used: file-0: damaged; file-1"):
        load_samples(Files([1, 2, 3], bad=(0, 1, 2)), np.arange(3), CPU, cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_values_that_are_not_finite_are_left_out_with_their_place() -> None:
    array = np.zeros((4, 2, 3), np.float32)
    array[1, 0, 2], array[3, 1, 1] = np.nan, -np.inf
    source = ArraySource(array)
    assert load_samples(source, np.arange(4), CPU).rows.tolist() == [0, 2]
    assert source.skipped == {"1": "nan at (0, 2)", "3": "-inf at (1, 1)"}


@pytest.mark.parametrize("dtype", ["bool", "uint32", ">f4", ">i2"])
def test_dtypes_that_torch_lacks_keep_their_values(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    batch = load_samples(ArraySource(array), np.arange(2), CPU).batch(torch.arange(2))
    assert batch.tolist() == array.astype(float).tolist()


def test_chunks_go_over_all_or_evenly_over_some() -> None:
    samples = load_samples(ArraySource(np.arange(10)[:, None]), np.arange(10), CPU)
    assert torch.cat(list(samples.chunks(3))).flatten().tolist() == list(range(10))
    assert torch.cat(list(samples.chunks(max_samples=4))).flatten().tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.arange(3), "3 labels for 4 samples"), (np.zeros((4, 2)), r"labels of shape \(4, 2\)")],
)
def test_labels_that_do_not_match_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArraySource(np.zeros((4, 2)), labels=labels)


def test_rows_of_a_split_and_their_names() -> None:
    splits = np.array(["train", "test", "train"])
    source = ArraySource(np.zeros((3, 2)), splits=splits)
    assert source.rows_of("train").tolist() == [0, 2]
    assert list(source.ids) == ["train-0", "test-0", "train-1"]
    with pytest.raises(DataError, match="'validation'; available: test, train"):
        source.rows_of("validation")


@pytest.mark.parametrize(
    ("expected", "dtype", "takes"),
    [
        ("float32", "float64", True),
        ("float64", "bfloat16", True),
        ("uint8", "uint8", True),
        ("uint8", "uint16", False),
        ("float32", "uint8", False),
        ("uint8", "float32", False),
    ],
)
def test_floats_of_every_width_are_on_one_scale(expected: str, dtype: str, takes: bool) -> None:
    assert SampleSpec("image", (1, 8, 8), expected).takes_dtype(dtype) is takes
