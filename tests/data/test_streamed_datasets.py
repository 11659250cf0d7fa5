"""Data sets of Hugging Face's `datasets` in streaming, from a local folder: forward, once an epoch, and with their labels."""

from __future__ import annotations

import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import aekit
from aekit.data.readers import streamed_datasets
from aekit.data.readers.streamed_datasets import StreamedRecords, UnreadableStreamError
from aekit.data.streamed_samples import StreamedSamples
from aekit.errors import DataError
from aekit.training.batches import Batches

pytest.importorskip("datasets")
SHARDS, EACH = 4, 150


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value % 256, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, values: range) -> None:
    table = {"image": [{"bytes": png(v), "path": f"{v}.png"} for v in values], "label": ["ab"[v % 2] for v in values]}
    pq.write_table(pa.table(table), path, row_group_size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    for number in range(SHARDS):
        write(root / f"train-{number:05d}-of-{SHARDS:05d}.parquet", range(EACH * number, EACH * (number + 1)))
    write(root / "test-00000-of-00001.parquet", range(600, 640))
    return root


@pytest.fixture(autouse=True)
def few_rows_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for data larger than what is kept of it."""
    monkeypatch.setattr(streamed_datasets, "KEPT_ROWS", 0)


OPTIONS: dict[str, dict[str, Any]] = {"huggingface": {"streaming": True, "download": False}}


def first_pixels(source: aekit.plugin.Source, rows: np.ndarray) -> list[int]:
    images, ok = source.read(rows)
    assert ok.all()
    return images[:, 0, 0, 0].tolist()


def test_a_streamed_data_set_is_the_one_that_is_read_whole(folder: Path) -> None:
    source = aekit.open_data(f"huggingface:{folder}", OPTIONS)
    whole = aekit.open_data(folder)
    assert len(source) == SHARDS * EACH + 40 == len(whole)
    assert source.blocks is not None and source.blocks.tolist() == [0, 150, 300, 450, 600, 640]
    assert source.labels is not None and source.splits is not None
    assert source.labels.tolist() == ["a", "b"] * 320
    assert source.splits.tolist() == ["train"] * 600 + ["test"] * 40
    rows = np.random.default_rng(0).permutation(640)[:50]
    assert first_pixels(source, rows) == [row % 256 for row in rows]
    assert source.ids[3] == "train-3"


def test_only_labels_are_read_when_it_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    load, columns = datasets.load_dataset, []

    def recording(*args: Any, **options: Any) -> Any:
        columns.append(options.get("columns"))
        return load(*args, **options)

    monkeypatch.setattr(datasets, "load_dataset", recording)
    aekit.open_data(f"huggingface:{folder}", OPTIONS)
    assert columns == [None, ["label"]]


def test_an_epoch_reads_each_shard_once_and_forward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, begun = aekit.open_data(f"huggingface:{folder}", OPTIONS), 0
    tables = streamed_datasets._tables

    def counted(*args: Any) -> Any:
        nonlocal begun
        begun += 1
        return tables(*args)

    monkeypatch.setattr(streamed_datasets, "_tables", counted)
    samples = StreamedSamples(source, source.rows_of("train"), torch.device("cpu"), buffer=100)
    batches = Batches(samples, 20, 0)
    seen = [value for batch in batches.epoch(0) for value in batch.raw[:, 0, 0, 0].tolist()]
    assert sorted(seen) == sorted(row % 256 for row in range(600))
    assert begun == SHARDS
    later = [value for batch in batches.epoch(0, 11) for value in batch.raw[:, 0, 0, 0].tolist()]
    assert later == seen[11 * 20 :]


def test_a_streamed_data_set_is_fitted_and_embedded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"data.huggingface.streaming": True, "data.huggingface.download": False, "data.streaming": True}
    settings |= {"data.shuffle_buffer": 64, "train.precision": "fp32"}
    data = f"huggingface:{folder}"
    encoder = aekit.fit(
        data,
        variants=["plain"],
        backbone="mlp",
        dim=2,
        epochs=1,
        out=tmp_path / "run",
        report=False,
        overrides=settings,
    )
    again = aekit.fit(data, variants=["plain"], backbone="mlp", dim=2, epochs=1, report=False, overrides=settings)
    assert encoder.digest == again.digest
    monkeypatch.setattr(streamed_datasets, "KEPT_ROWS", 320)  # a batch of embedding, and a part of the next
    source, begun = aekit.open_data(data, OPTIONS, like=encoder.spec), []
    tables = streamed_datasets._tables
    with monkeypatch.context() as patch:
        patch.setattr(streamed_datasets, "_tables", lambda *args: begun.append(1) or tables(*args))
        embeddings = aekit.embed(tmp_path / "run", source)
    assert len(begun) == SHARDS + 1, "a shard was read twice"
    assert len(embeddings) == 640 and embeddings.rows.labels is not None
    whole = aekit.embed(tmp_path / "run", folder)
    order = np.argsort([int(name.removesuffix(".png")) for name in whole.ids])
    np.testing.assert_allclose(embeddings.vectors, whole.vectors[order], atol=1e-5)


def test_tar_shards_are_streamed_from_a_server(tmp_path: Path) -> None:
    """Nothing of them is on the disk afterwards."""
    (tmp_path / "served").mkdir()
    for number in range(3):
        members = [(f"{8 * number + row:03d}", row) for row in range(8)]
        with tarfile.open(tmp_path / "served" / f"train-{number:03d}.tar", "w") as archive:
            for key, row in members:
                for ending, content in (("png", png(8 * number + row)), ("cls", str(row % 2).encode())):
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        files = f"http://127.0.0.1:{server.server_port}/train-{{000..002}}.tar"
        source = aekit.open_data("huggingface:webdataset", {"huggingface": {"streaming": True, "files": files}})
        assert list(source.ids) == [f"{row:03d}" for row in range(24)]
        assert source.labels is not None and source.labels.tolist() == [0, 1] * 12
        assert first_pixels(source, np.array([23, 0, 9])) == [23, 0, 9]
        server.shutdown()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Broken:
    """Stands for a stream that fails after some rows, as where a network does."""

    num_shards, features = 1, None

    def shard(self, **_: int) -> Broken:
        return self

    def with_format(self, _: str) -> Broken:
        return self

    def select_columns(self, _: list[str]) -> Broken:
        return self

    def __init__(self, fails_at: int) -> None:
        self.fails_at = fails_at

    def iter(self, batch_size: int) -> Any:
        for row in range(10):
            if row == self.fails_at:
                raise TimeoutError("no answer")
            yield pa.table({"image": [{"bytes": png(row), "path": None}], "label": [row % 2]})


def test_a_stream_that_fails_stops_instead_of_losing_samples() -> None:
    stream = Broken(100)
    records = StreamedRecords({"train": stream}, lambda names: None, "huggingface:x")
    cells = records.cells("image")
    assert len(cells) == 10 and cells[9]["bytes"] == png(9)
    stream.fails_at = 5
    with pytest.raises(UnreadableStreamError, match=r"huggingface:x: cannot be read on \(no answer\)"):
        _ = cells[7]
    with pytest.raises(UnreadableStreamError, match="no answer"):
        StreamedRecords({"train": stream}, lambda names: None, "huggingface:x")


def test_what_cannot_be_streamed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="huggingface:nobody/nothing: cannot be streamed"):
        aekit.open_data("huggingface:nobody/nothing", OPTIONS)
