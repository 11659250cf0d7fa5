"""Streaming: every sample once an epoch, in one order for any number of processes, resumed anywhere, in bounded memory."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aekit
from aekit.data import reading
from aekit.data._block_shuffle import BlockShuffle, cut_blocks
from aekit.data.samples import load_samples
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import ArraySource, RowIds, Source
from aekit.data.spec import SampleSpec
from aekit.data.streamed_samples import StreamedSamples, must_stream
from aekit.errors import DataError
from aekit.io.processes import Ranks
from aekit.testing.ranks import run_ranks
from aekit.training.batches import Batches

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from streams import SyntheticShards

CPU = torch.device("cpu")


class Counted(Source):
    """Samples that hold their own number, made when they are read; counts what is read, and by which thread."""

    slow = True

    def __init__(self, count: int, bad: tuple[int, ...] = (), width: int = 1) -> None:
        self.spec, self.ids, self.skipped = SampleSpec("vector", (width,), "int64"), RowIds(None, count), {}
        self.bad, self.reads, self.threads = bad, np.zeros(count, int), set[int]()

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        np.add.at(self.reads, indices, 1)
        self.threads.add(threading.get_ident())
        ok = ~np.isin(indices, self.bad)
        self.skipped.update({self.ids[int(row)]: "damaged" for row in indices[~ok]})
        return np.repeat(np.where(ok, indices, 0)[:, None], self.spec.shape[0], axis=1), ok


def numbers(batch: Any) -> list[int]:
    return batch.raw[:, 0].tolist()


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


@pytest.mark.parametrize("buffer", [1, 7, 64, 1000, 5000])
@pytest.mark.parametrize("block", [1, 10, 333, 1000])
def test_each_sample_has_one_place_in_the_order(buffer: int, block: int) -> None:
    starts = cut_blocks(np.arange(1000), None, block)
    order = BlockShuffle(starts, buffer, seed=5)
    arriving, places = order.arriving(0, 1000), order.places(0, 1000)
    assert sorted(arriving) == sorted(places) == list(range(1000))
    # Any part alone has the places that it has in the whole.
    for first, last in [(0, 1), (13, 29), (500, 999), (999, 1000)]:
        assert order.arriving(first, last).tolist() == arriving[first:last].tolist()
        assert order.places(first, last).tolist() == places[first:last].tolist()
    waiting = [
        int((places[:arrived] >= left).sum()) for left, arrived in enumerate(np.maximum.accumulate(_needed(places)))
    ]
    assert max(waiting) <= buffer + 1


def _needed(places: np.ndarray) -> np.ndarray:
    """Return how many samples must have arrived before each place of the order is filled."""
    needed = np.empty(len(places), int)
    needed[places] = np.arange(1, len(places) + 1)
    return needed


def test_the_order_mixes_as_well_as_its_buffer_allows() -> None:
    order = BlockShuffle(cut_blocks(np.arange(20_000), None, 64), 1024, seed=1)
    shuffled = np.empty(20_000, int)
    shuffled[order.places(0, 20_000)] = order.arriving(0, 20_000)
    # Neighbors in the order are of blocks from all over the data: as far apart as in a uniform order, a third of its length.
    assert 0.3 < np.abs(np.diff(shuffled)).mean() / 20_000 < 0.37
    assert np.mean(np.abs(np.diff(shuffled)) == 1) < 0.01
    assert abs(np.corrcoef(shuffled, np.arange(20_000))[0, 1]) < 0.2


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    def epochs(seed: int) -> list[list[int]]:
        batches = Batches(StreamedSamples(Counted(200), np.arange(200), CPU, buffer=50), 10, seed)
        return [flat(map(numbers, batches.epoch(epoch))) for epoch in (0, 1)]

    first = epochs(3)
    assert first == epochs(3)
    assert first[0] != first[1] and epochs(4)[0] != first[0]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("whole", [False, True])
def test_processes_read_each_sample_once_and_share_the_batches_of_one(size: int, whole: bool) -> None:
    count, batch = 1003, 25
    alone = Batches(StreamedSamples(_cut(Counted(count), whole), np.arange(count), CPU, buffer=100), batch, 7)
    expected = [numbers(one) for one in alone.epoch(2)]
    assert len(expected) == count // batch

    def share(ranks: Ranks) -> tuple[list[list[int]], np.ndarray]:
        source = _cut(Counted(count), whole)
        samples = load_shared_samples(source, np.arange(count), CPU, ranks, streaming=True, buffer=100)
        batches = Batches(samples, batch, 7)
        shares = []
        for one in batches.epoch(2):
            assert one.total == batch and one.positions.tolist() == numbers(one)
            shares.append(numbers(one))
        return shares, source.reads

    if size == 1:
        return
    parts = run_ranks(share, size)
    for number, whole_batch in enumerate(expected):
        for rank in range(size):
            assert parts[rank][0][number] == whole_batch[rank::size]
    reads = sum(reads for _, reads in parts)
    assert reads.max() == 1 and reads.sum() == count // batch * batch


def _cut(source: Counted, whole: bool) -> Counted:
    source.blocks = np.arange(0, len(source), 170) if whole else None
    return source


def test_an_epoch_goes_on_anywhere_with_the_same_batches_and_reads_only_what_is_left() -> None:
    batches = Batches(StreamedSamples(Counted(1000), np.arange(1000), CPU, buffer=80), 30, 1)
    expected = [numbers(batch) for batch in batches.epoch(4)]
    for start in (1, 2, 17, 32):
        source = Counted(1000)
        later = Batches(StreamedSamples(source, np.arange(1000), CPU, buffer=80), 30, 1)
        assert [numbers(batch) for batch in later.epoch(4, start)] == expected[start:]
        assert source.reads.sum() == 30 * (33 - start)


def test_a_subset_is_streamed_alone() -> None:
    source, rows = Counted(100), np.arange(0, 100, 3)
    source.blocks = np.array([0, 10, 11, 60, 100])
    samples = StreamedSamples(source, rows, CPU, buffer=8)
    seen = flat(map(numbers, Batches(samples, 2, 0).epoch(0)))
    assert sorted(seen) == rows.tolist()
    assert samples.starts.tolist() == [0, 4, 20, 34]


def test_few_samples_are_in_memory() -> None:
    """At most those of the buffer, of two batches and of what is read ahead, however many there are."""
    source = Counted(60_000, width=1000)
    samples = StreamedSamples(source, np.arange(60_000), CPU, buffer=2000)
    most_allowed = 2000 + 2 * 100 + 3 * samples._step
    assert f"at most {most_allowed * 8000 / 2**20:.1f} MiB of samples in memory" in samples.describe(100)
    delivered, most = 0, 0
    for batch in Batches(samples, 100, 0).epoch(0):
        delivered += len(batch.raw)
        most = max(most, int(source.reads.sum()) - delivered)
    assert delivered == 60_000
    assert most <= most_allowed


def test_a_bad_sample_is_replaced_and_listed() -> None:
    source = Counted(100, bad=(3, 50))
    samples = StreamedSamples(source, np.arange(100), CPU, buffer=20)
    batches = [numbers(batch) for batch in Batches(samples, 10, 0).epoch(0)]
    assert [len(batch) for batch in batches] == [10] * 10
    seen = flat(batches)
    assert set(seen) == set(range(100)) - {3, 50} and len(seen) == 100
    assert all(len(set(batch)) >= 8 for batch in batches)
    assert source.skipped == {"3": "damaged", "50": "damaged"}
    assert samples.batch(torch.tensor([2, 3, 4]))[:, 0].tolist() == [2, 2, 4]
    with pytest.raises(DataError, match=r"3: damaged \(strict\)|50: damaged \(strict\)"):
        list(Batches(StreamedSamples(source, np.arange(100), CPU, buffer=20, strict=True), 10, 0).epoch(0))


def test_a_batch_without_a_usable_sample_is_one_line() -> None:
    samples = StreamedSamples(Counted(20, bad=tuple(range(20))), np.arange(20), CPU)
    with pytest.raises(DataError, match=r"none of the 10 samples of a batch can be used: .*: damaged"):
        list(Batches(samples, 10, 0).epoch(0))


def test_what_fits_neither_in_memory_nor_on_the_disk_is_streamed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = np.arange(1000)
    assert not must_stream(Counted(1000), rows, CPU)
    monkeypatch.setenv("AEKIT_MEMORY", "1000")
    assert not must_stream(Counted(1000), rows, CPU)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    assert must_stream(Counted(1000), rows, CPU)
    assert not must_stream(ArraySource(np.zeros((1000, 8), np.uint8)), rows, CPU), "is mapped where it is"
    assert isinstance(load_shared_samples(Counted(1000), rows, CPU), StreamedSamples)
    assert not isinstance(load_samples(Counted(10), np.arange(10), CPU), StreamedSamples)


SETTINGS = {"data.streaming": True, "data.shuffle_buffer": 300, "train.batch_size": 50, "train.precision": "fp32"}
FIT: dict[str, Any] = {"variants": ["denoising"], "backbone": "mlp", "dim": 4, "epochs": 2, "report": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(1000, 12)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A streamed run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    aekit.fit(data, overrides=SETTINGS, out=folder, **FIT)
    return folder


def test_a_streamed_run_says_so_and_equals_itself(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = aekit.fit(data, overrides=SETTINGS, progress=True, **FIT)
    line = (
        "streamed: read again in each epoch, in 56 blocks in random order and through a buffer of 300 samples, "
        "so not in the order that samples in memory have; at most"
    )
    assert line in capsys.readouterr().err
    assert encoder.digest == aekit.load(whole).digest
    assert aekit.fit(data, overrides={**SETTINGS, "data.streaming": False}, **FIT).digest != encoder.digest
    recipe = (whole / "recipe.toml").read_text()
    assert "streaming = true" in recipe and "shuffle_buffer = 300" in recipe
    assert aekit.make_report(whole).is_file()


def test_a_run_that_began_to_stream_goes_on_so(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With auto, where the disk has room by the time of resuming."""
    auto = {name: value for name, value in SETTINGS.items() if name != "data.streaming"}
    auto["train.checkpoint_seconds"] = 0
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as small:
        small.setenv("AEKIT_MEMORY", "1000")
        small.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
        _stop_after(small, 27)
        with pytest.raises(KeyboardInterrupt):
            aekit.fit(data, overrides=auto, out=tmp_path / "run", **FIT)
    resumed = aekit.fit(data, overrides=auto, out=tmp_path / "run", resume=True, **FIT)
    assert resumed.digest == aekit.load(whole).digest


def _stop_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Interrupt training in the middle of its second epoch, after the state of a step was saved."""
    from aekit.training.checkpoint import State

    save = State.save

    def stopping(state: State, folder: Path) -> None:
        save(state, folder)
        if state.step == steps:
            raise KeyboardInterrupt

    patch.setattr(State, "save", stopping)


def test_synthetic_shards_are_fitted_embedded_indexed_and_evaluated(tmp_path: Path) -> None:
    """Each shard is made once for each passage: what is read lies together."""
    source = SyntheticShards(400, per_shard=50, side=16)
    settings = {"data.streaming": True, "data.shuffle_buffer": 100, "train.batch_size": 40, "train.precision": "fp32"}
    aekit.fit(
        source,
        variants=["plain"],
        backbone="mlp",
        dim=4,
        epochs=2,
        out=tmp_path / "run",
        report=False,
        overrides=settings,
    )
    samples = StreamedSamples(source, np.arange(400), CPU, buffer=100)
    source.made = 0
    for epoch in range(2):
        assert sum(len(batch.raw) for batch in Batches(samples, 40, 0).epoch(epoch)) == 400
    assert source.made <= 2 * 8
    source.made = 0
    embeddings = aekit.embed(tmp_path / "run", source, out=tmp_path / "embeddings")
    assert len(embeddings) == 400 and source.made <= 9
    assert len(aekit.build_index(tmp_path / "embeddings", out=tmp_path / "index")) == 400
    evaluation = aekit.evaluate(tmp_path / "embeddings", evaluators=["knn"], baselines=False, checks=False)
    assert evaluation.results["encoder"]["knn"].metrics["accuracy"].value > 0.5


def test_memory_of_a_mapped_file_is_given_back_and_changes_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "RELEASED_FROM", 2**20)
    np.save(tmp_path / "x.npy", np.arange(2**22, dtype=np.uint8).reshape(-1, 64) % 251)
    whole = np.load(tmp_path / "x.npy")
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = np.arange(len(whole))
    assert (ArraySource(mapped).read(rows)[0] == whole).all() and (ArraySource(mapped).read(rows)[0] == whole).all()
    resident = [line for line in _mapping_of(tmp_path / "x.npy") if line.startswith("Rss:")]
    assert not resident or int(resident[0].split()[1]) == 0
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed[5] = 255
    source = ArraySource(changed)
    assert (source.read(rows)[0][5] == 255).all() and (source.read(rows)[0][5] == 255).all()


def _mapping_of(path: Path) -> list[str]:
    """Return what the system says of a file that is mapped into memory; [] where it says nothing."""
    smaps = Path("/proc/self/smaps")
    lines = smaps.read_text().splitlines() if smaps.exists() else []
    begins = [number for number, line in enumerate(lines) if line.endswith(str(path))]
    return lines[begins[0] : begins[0] + 6] if begins else []
