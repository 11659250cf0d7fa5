"""Metadata on its way from the data through embeddings and the index to a search, and what happens when it changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from commands import Command, Said
from PIL import Image

import aekit
from aekit.errors import DataError
from aekit.serving.catalog import Catalog

CITIES = ["Rome", "Oslo", "Lima"]


@pytest.fixture(scope="module")
def encoder() -> aekit.Encoder:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    return aekit.fit(pixels, dim=4, epochs=1, backbone="mlp")


def shop(folder: Path, count: int = 40) -> Path:
    """A list of images with prices, cities, days of sale and codes; every tenth price is missing."""
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    table = pd.DataFrame(
        {
            "path": [f"{n:02d}.png" for n in range(count)],
            "label": [n % 2 for n in range(count)],
            "price": [None if n % 10 == 9 else n / 4 for n in range(count)],
            "city": [CITIES[n % 3] for n in range(count)],
            "day": [f"2026-01-{n % 28 + 1:02d}" for n in range(count)],
            "code": [f"{n:05d}" for n in range(count)],
        }
    )
    table.to_csv(folder / "list.csv", index=False)
    return folder / "list.csv"


def edited(listed: Path, **columns: list[object]) -> None:
    pd.read_csv(listed, dtype={"code": str}).assign(**columns).to_csv(listed, index=False)


def test_the_commands_carry_metadata_to_a_search(encoder: aekit.Encoder, tmp_path: Path, command: Command) -> None:
    listed = shop(tmp_path)
    encoder.save(tmp_path / "encoder")
    said = command("embed", tmp_path / "encoder", listed, "-o", tmp_path / "emb").err
    assert "metadata kept: price (number), city (text), day (date), code (text)" in said
    command.ok("index", tmp_path / "emb", "-o", tmp_path / "index", "-q")
    where = "price < 5 and city == 'Rome' and day >= \"2026-01-10\""
    hits = json.loads(command.ok("search", tmp_path / "index", "id:00.png", "--where", where, "--json"))
    assert sorted(hit["id"] for hit in hits) == ["12.png", "15.png", "18.png"]
    assert {"price": 3.0, "city": "Rome", "day": "2026-01-13", "code": "00012", "label": 0} in [
        {name: hit[name] for name in ("price", "city", "day", "code", "label")} for hit in hits
    ]
    shown = command.ok("search", tmp_path / "index", "id:00.png", "--where", "code = '00007'")
    assert shown.splitlines()[1].endswith("07.png  1  code = 00007")
    missing = command.ok("search", tmp_path / "index", "id:00.png", "--where", "price is null", "--json")
    assert sorted(hit["id"] for hit in json.loads(missing)) == ["09.png", "19.png", "29.png", "39.png"]
    refused = command("search", tmp_path / "index", "id:00.png", "--where", "day = 3").error
    assert refused.endswith('day holds times: expected one such as "2026-01-31", not 3')
    refused = command("search", tmp_path / "index", "id:00.png", "--set", "images.resize=pad").error
    assert "--set changes how queries and images are read, but id:NAME is in the index; leave it out" in refused


def test_columns_are_chosen_by_name_and_remembered(encoder: aekit.Encoder, tmp_path: Path, command: Command) -> None:
    listed, out = shop(tmp_path), tmp_path / "emb"
    encoder.save(tmp_path / "encoder")
    command.ok("embed", tmp_path / "encoder", listed, "-o", out, "--metadata", "city", "--metadata", "price", "-q")
    assert aekit.Embeddings.open(out).metadata().column_names == ["id", "label", "hash", "city", "price"]
    again = command("embed", tmp_path / "encoder", listed, "-o", out).err
    assert "40 of 40 samples are embedded already" in again and "updated" not in again
    assert aekit.Embeddings.open(out).metadata().column_names == ["id", "label", "hash", "city", "price"]
    command.ok("embed", tmp_path / "encoder", listed, "-o", out, "--metadata", "none", "-q")
    assert aekit.Embeddings.open(out).metadata().column_names == ["id", "label", "hash"]
    assert command("embed", tmp_path / "encoder", listed, "-o", out, "--metadata", "prize").error == (
        "metadata 'prize': no such column; did you mean 'price'?"
    )


def test_new_values_reach_stored_rows_without_embedding_again(encoder: aekit.Encoder, tmp_path: Path) -> None:
    listed, out = shop(tmp_path), tmp_path / "emb"
    before = aekit.embed(encoder, listed, out=out, metadata="none", progress=False)
    vectors = before.vectors.copy()
    aekit.build_index(before, tmp_path / "index", progress=False)
    said = Said()
    after = aekit.embed(encoder, listed, out=out, metadata="auto", progress=said)  # an older folder has no metadata
    assert "40 of 40 samples are embedded already" in said.lines
    assert "labels, splits or metadata of embedded samples have changed: they are updated" in said.lines
    assert after.vectors.tolist() == vectors.tolist()
    index = aekit.build_index(after, tmp_path / "index", progress=False)
    assert index.mask("price < 1").sum() == 4
    edited(listed, price=[100] * 40, label=["a"] * 40)
    index = aekit.build_index(aekit.embed(encoder, listed, out=out, progress=False), tmp_path / "index", progress=False)
    reopened = aekit.open_index(tmp_path / "index")
    assert index.mask("price = 100 and label = 'a'").all() and reopened.mask("price = 100 and label = 'a'").all()
    edited(listed, price=[f"about {n}" for n in range(40)])
    renewed = aekit.embed(encoder, listed, out=out, progress=False)
    assert renewed.metadata()["price"].to_pylist()[3] == "about 3"


def test_rows_whose_sample_is_gone_keep_their_metadata(encoder: aekit.Encoder, tmp_path: Path) -> None:
    listed, out = shop(tmp_path), tmp_path / "emb"
    aekit.embed(encoder, listed, out=out, progress=False)
    rows = pd.read_csv(listed, dtype={"code": str})[5:].assign(stock=range(35)).drop(columns="day")
    rows.to_csv(listed, index=False)
    table = aekit.embed(encoder, listed, out=out, progress=False).metadata()
    assert table.column_names == ["id", "label", "hash", "price", "city", "code", "stock"]
    by_id = {row["id"]: row for row in table.to_pylist()}
    assert (by_id["01.png"]["price"], by_id["01.png"]["city"], by_id["01.png"]["stock"]) == (0.25, "Oslo", None)
    assert by_id["39.png"]["stock"] == 34
    rows.assign(label="x").to_csv(listed, index=False)
    assert aekit.embed(encoder, listed, out=out, progress=False).metadata()["label"].to_pylist()[:6] == [*"01010", "x"]
    rows.assign(label=range(35)).to_csv(listed, index=False)
    with pytest.raises(DataError, match="labels are int64 now and were string"):
        aekit.embed(encoder, listed, out=out, progress=False)
    assert len(aekit.embed(encoder, listed, out=out, drop_missing=True, progress=False)) == 35


def test_workers_carry_metadata_as_one_process_does(encoder: aekit.Encoder, tmp_path: Path) -> None:
    listed = shop(tmp_path)
    alone = aekit.embed(encoder, listed, progress=False)
    shared = aekit.embed(encoder, listed, engine="processes", workers=2, batch_size=8, progress=False)
    assert alone.metadata().equals(shared.metadata()) and "price" in alone.metadata().column_names


def test_metadata_goes_along_with_rows_in_python(encoder: aekit.Encoder, tmp_path: Path) -> None:
    listed = shop(tmp_path)
    embeddings = aekit.embed(encoder, listed, progress=False)
    part = embeddings[[3, 1]]
    assert part.metadata()["city"].to_pylist() == ["Rome", "Oslo"]
    assert list(embeddings.to_pandas().columns[:5]) == ["label", "price", "city", "day", "code"]
    bare = embeddings.to_pandas(metadata=False)
    assert list(bare) == [str(place) for place in range(embeddings.dim)]
    assert len(embeddings.to_pandas()[["price", "city"]].join(bare, validate="1:1")) == len(embeddings)
    assert "Rome" in embeddings._repr_html_()
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    wrapped = aekit.Embeddings.from_array(vectors, metadata=pd.DataFrame({"price": [1, 2, 3, 4]}))
    index = aekit.build_index(wrapped, progress=False)
    hits = index.search(vectors[0], k=2, where="price in (2, 3)")
    assert sorted(hits.ids[0]) == ["1", "2"] and sorted(record["price"] for record in hits.records()) == [2, 3]
    with pytest.raises(DataError, match="metadata of 3 rows for 4 samples: expected one row each"):
        aekit.Embeddings.from_array(vectors, metadata=pd.DataFrame({"price": [1, 2, 3]}))


def test_vectors_of_a_file_keep_their_metadata(tmp_path: Path, command: Command) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    table = pd.DataFrame({"vector": list(rows), "price": range(20), "city": CITIES[:2] * 10})
    table.to_parquet(tmp_path / "vectors.parquet")
    said = command("index", tmp_path / "vectors.parquet", "-o", tmp_path / "index").err
    assert "metadata kept: price (number), city (text)" in said
    found = command.ok(
        "search", tmp_path / "index", "id:0", "-k", "20", "--where", "price < 5 and city = 'Oslo'", "--json"
    )
    assert sorted(hit["price"] for hit in json.loads(found)) == [1, 3]


def test_the_server_answers_with_metadata(encoder: aekit.Encoder, tmp_path: Path) -> None:
    listed = shop(tmp_path)
    aekit.build_index(aekit.embed(encoder, listed, out=tmp_path / "emb"), tmp_path / "index", progress=False)
    catalog = Catalog(aekit.open_index(tmp_path / "index"))
    assert catalog.about()["metadata"] == ["price", "city", "day", "code"]
    hits = catalog.neighbors_of_row(0, 3, where="city = 'Rome' and price < 2")
    assert sorted(hit["price"] for hit in hits) == [0.75, 1.5]
    assert json.loads(json.dumps(hits))[0]["day"].startswith("2026-01-")
    assert catalog.table([9]).splitlines() == [
        "id,label,price,city,day,code",
        "09.png,1,,Rome,2026-01-10,00009",
    ]


def test_an_interrupted_update_is_finished_by_the_next_run(
    encoder: aekit.Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, out = shop(tmp_path), tmp_path / "emb"
    monkeypatch.setattr("aekit.encoder.parquet_store.PART_BYTES", 1)  # a part for each batch
    first = aekit.embed(encoder, listed, out=out, batch_size=10, progress=False).vectors.tolist()
    edited(listed, price=list(range(40)))
    written, real = [], pq.write_table

    def killed(*arguments: object, **options: object) -> None:
        written.append(1)
        if len(written) == 3:
            raise KeyboardInterrupt
        real(*arguments, **options)

    monkeypatch.setattr("aekit.encoder.parquet_store.pq.write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        aekit.embed(encoder, listed, out=out, batch_size=10, progress=False)
    with pytest.raises(DataError, match="interrupted"):
        aekit.Embeddings.open(out)
    monkeypatch.setattr("aekit.encoder.parquet_store.pq.write_table", real)
    said = Said()
    finished = aekit.embed(encoder, listed, out=out, batch_size=10, progress=said)
    assert "40 of 40 samples are embedded already" in said.lines
    assert finished.vectors.tolist() == first and finished.metadata()["price"].to_pylist() == list(range(40))
