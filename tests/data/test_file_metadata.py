"""Metadata of what lies in other files: fields of tar shards, and a table beside recordings and videos, up to a search."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, Said
from PIL import Image
from scipy.io import wavfile

import aekit
from aekit.data.opening import open_data
from aekit.errors import DataError

FAST = {"train.precision": "fp32", "evaluate.evaluators": []}
RECORDS: list[Any] = [
    {"label": number % 2, "price": number / 2, "city": ["Rome", "Oslo"][number % 2], "boxes": [1, 2], "ok": number > 3}
    for number in range(8)
]
RECORDS[3] = {"label": 1, "price": "sold out"}  # of another type, and without the other fields
RECORDS[5] = None  # no such file


def write_shard(path: Path, records: list[Any], damaged: int | None = None) -> Path:
    """Write small images with the fields of their ``.json`` files."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for number, record in enumerate(records):
            image = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(image, "png")
            members = {"png": image.getvalue(), "cls": str(number % 2).encode()}
            if record is not None:
                members["json"] = b"{" if number == damaged else json.dumps(record).encode()
            for ending, content in members.items():
                info = tarfile.TarInfo(f"{number:03d}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["shard-0.tar", "shard-0.tar.gz"])
def test_fields_of_tar_shards_are_metadata(name: str, tmp_path: Path) -> None:
    source = open_data(write_shard(tmp_path / name, RECORDS))
    assert source.metadata is not None and source.labels is not None and source.labels.tolist() == [0, 1] * 4
    said = Said()
    table = source.metadata.choose("auto", said)
    assert table is not None
    assert table.to_pydict() == {
        "price": ["0.0", "0.5", "1.0", "sold out", "2.0", None, "3.0", "3.5"],  # text, as one of them is
        "city": ["Rome", "Oslo", "Rome", None, "Rome", None, "Rome", "Oslo"],
        "ok": [False, False, False, None, True, None, True, True],
    }
    assert "metadata kept: price (text), city (text), ok (true or false)" in said
    assert any(line.startswith("metadata left out: boxes (holds list") for line in said.lines)
    with pytest.raises(DataError, match="metadata 'label': embeddings use this name themselves"):
        source.metadata.choose(["label"])


def test_damaged_fields_are_said_and_nothing_is_read_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_shard(tmp_path / "shard-0.tar", [{"n": 1}, {"n": 2}, {"n": 3}], damaged=1)
    write_shard(tmp_path / "shard-1.tar", [{"n": 4}, None])
    source, said = open_data(tmp_path), Said()
    assert source.metadata is not None
    table = source.metadata.choose("auto", said)
    assert table is not None and table["n"].to_pylist() == [1, None, 3, 4, None]
    assert "metadata: 1 .json file is damaged, that of row 1 first: the fields are missing values" in said
    source = open_data(tmp_path)
    one.write_bytes(b"")
    assert source.metadata is not None and source.metadata.names == ["n"]  # of the other shard, read only now
    assert open_data(write_shard(tmp_path / "plain.tar", [None, None])).metadata is None


def test_fields_of_shards_come_to_a_search(tmp_path: Path, command: Command) -> None:
    records = [{"price": number, "city": ["Rome", "Oslo"][number % 2]} for number in range(12)]
    data = write_shard(tmp_path / "shard.tar", records)
    aekit.fit(data, dim=4, epochs=1, backbone="mlp", overrides=FAST).save(tmp_path / "encoder")
    command.ok("embed", tmp_path / "encoder", data, "-o", tmp_path / "emb", "-q")
    command.ok("index", tmp_path / "emb", "-o", tmp_path / "index", "-q")
    where = "price < 5 and city == 'Rome'"
    hits = json.loads(command.ok("search", tmp_path / "index", "id:000", "--where", where, "--json"))
    assert sorted((hit["id"], hit["price"]) for hit in hits) == [("002", 2), ("004", 4)]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Sound of two machines in two folders, and what is known of it, in one row too many and one too few."""
    folder = tmp_path / "sound"
    for name in ("a/one.wav", "a/two.wav", "b/one.wav", "b/three.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(folder / name, 8000, np.random.default_rng(len(name)).integers(-99, 99, 64).astype(np.int16))
    rows = ["file_name,machine,taken", "a/one.wav,pump,2026-01-01", "two,fan,2026-01-02", "b\\one.wav,pump,2026-01-03"]
    (folder / "metadata.csv").write_text("\n".join([*rows, "gone.wav,fan,2026-01-04"]) + "\n")
    return folder


def test_a_table_describes_recordings(sound: Path) -> None:
    source = open_data(f"recordings:{sound}", {"recordings": {"steps": 32, "test": 0.0}})
    assert len(source) == 8 and not any("metadata" in name for name in source.ids)
    assert source.metadata is not None
    table = source.metadata.choose("auto")
    assert table is not None and table.column_names == ["machine", "taken"]
    by_id = dict(zip(source.ids, table["machine"].to_pylist()))
    assert by_id["a/one.wav@0"] == by_id["a/one.wav@32"] == by_id["b/one.wav@32"] == "pump"
    assert by_id["a/two.wav@0"] == "fan" and by_id["b/three.wav@0"] is None
    assert str(table["taken"].type) == "date32[day]"
    assert "metadata.csv: 1 of 4 files are not in it, e.g. 'b/three.wav'" in source.losses
    assert "metadata.csv: 1 of its rows are about no file, e.g. 'gone.wav'" in source.losses
    assert any("the columns of metadata.csv are metadata of the files" in note for note in source.notes)


def test_tables_that_do_not_fit_are_one_line(sound: Path) -> None:
    def opened(**options: str) -> Any:
        return open_data(f"recordings:{sound}", {"recordings": {"steps": 32, **options}})

    assert opened(metadata="none").metadata is None
    shutil.move(sound / "metadata.csv", sound.parent / "about.csv")
    assert opened().metadata is None
    assert opened(metadata="../about.csv").metadata is not None
    with pytest.raises(DataError, match=r"metadata = 'gone.csv': no file .*; expected a table with a column of files"):
        opened(metadata="gone.csv")
    (sound.parent / "about.csv").write_text("machine,price\npump,1\n")
    with pytest.raises(DataError, match=r"no column of files such as file_name; available: machine, price"):
        opened(metadata="../about.csv")
    (sound.parent / "about.csv").write_text("file_name,price\nx.wav,1\n")
    with pytest.raises(DataError, match=r"none of its 1 rows is about a file of"):
        opened(metadata="../about.csv")
    (sound.parent / "about.csv").write_text("file_name,price\na/one.wav,1\na/one.wav,2\n")
    with pytest.raises(DataError, match=r"rows 0 and 1 are both about 'a/one.wav'; expected one"):
        opened(metadata="../about.csv")


def test_a_table_describes_videos_up_to_a_search(tmp_path: Path, command: Command) -> None:
    av = pytest.importorskip("av", reason="av, which writes videos, is not installed")
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(3):
        with av.open(str(folder / f"{number}.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "gray"
            for frame in np.random.default_rng(number).integers(0, 256, (8, 16, 16), dtype=np.uint8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
            container.mux(stream.encode())
    (folder / "metadata.csv").write_text("file_name,weather,degrees\n0.mkv,rain,4\n1.mkv,sun,21\n2.mkv,sun,25\n")
    data, options = f"clips:{folder}", ["--set", "data.clips.frames=4", "--set", "data.clips.test=0.0"]
    fast = {**FAST, "data.clips.frames": 4, "data.clips.test": 0.0}
    aekit.fit(data, dim=2, epochs=1, backbone="mlp", overrides=fast).save(tmp_path / "encoder")
    command.ok("embed", tmp_path / "encoder", data, "-o", tmp_path / "emb", "-q", *options)
    command.ok("index", tmp_path / "emb", "-o", tmp_path / "index", "-q")
    where = "weather == 'sun' and degrees < 22"
    hits = json.loads(command.ok("search", tmp_path / "index", "id:0.mkv@0", "--where", where, "--json"))
    assert sorted(hit["id"] for hit in hits) == ["1.mkv@0", "1.mkv@4"]
