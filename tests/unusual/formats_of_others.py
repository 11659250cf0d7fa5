"""Formats that are not read, whose line names the way, and nested columns of formats that are."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from unusual.exports import NAMES, NOISE, rows, values
from unusual.harness import Area, Listener

import aekit
from aekit.errors import DataError

AREA = Area(__name__)
FRAME = pd.DataFrame(NOISE, columns=NAMES)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        aekit.open_data(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@AREA.refused("ORC, whose line of Python opens it", "or pass pyarrow.orc.read_table(path) in Python")
def _(folder: Path, listener: Listener) -> None:
    path = folder / "a.orc"
    pyarrow.orc.write_table(pa.table(FRAME), path)
    assert np.array_equal(values(aekit.open_data(pyarrow.orc.read_table(path))), NOISE)
    aekit.open_data(path)


@AREA.refused(
    "a database of SQLite, whose line of Python opens it", "pandas.read_sql('SELECT * FROM name', sqlite3.connect"
)
def _(folder: Path, listener: Listener) -> None:
    path = folder / "a.sqlite"
    with sqlite3.connect(path) as database:
        FRAME.to_sql("name", database, index=False)
        assert np.array_equal(values(aekit.open_data(pd.read_sql("SELECT * FROM name", database))), NOISE)
    database.close()
    aekit.open_data(path)


@AREA.refused("a folder of parts of one table, whose line of Python opens it", "if they are parts of one")
def _(folder: Path, listener: Listener) -> None:
    for name in ("csv", "parquet"):
        (folder / name).mkdir()
    FRAME[:20].to_csv(folder / "csv" / "part-0.csv", index=False)
    FRAME[20:].to_csv(folder / "csv" / "part-1.csv", index=False)
    pq.write_to_dataset(
        pa.table(FRAME).append_column("year", pa.array(["2023", "2024"] * 20)), folder / "parquet", ["year"]
    )
    for name in ("csv", "parquet"):
        call = f"dataset('{folder / name}', format='{name}', partitioning='hive').to_table()"
        assert f"pass pyarrow.dataset.{call} in Python" in refusal(folder / name)
        parts = pyarrow.dataset.dataset(str(folder / name), format=name, partitioning="hive")
        opened = aekit.open_data(parts.to_table())
        assert sorted(values(opened)[:, 0].tolist()) == sorted(NOISE[:, 0].tolist()), name
    aekit.open_data(folder / "csv")


@AREA.refused("formats of R, geography, networks, robots and others", "give it a name that ends in .parquet")
def _(folder: Path, listener: Listener) -> None:
    for name, said in {
        "a.rds": "in R by write.csv(readRDS(path), 'table.csv', row.names = FALSE)",
        "a.avro": "pandas.DataFrame(fastavro.reader(open(path, 'rb')))",
        "a.duckdb": "duckdb.connect(path).table('name').df()",
        "a.geojson": "geopandas.read_file(path).drop(columns='geometry')",
        "a.nc": "xarray.open_dataset(path)['variable']",
        "a.root": "uproot.open(path)['tree'].arrays(library='pd')",
        "a.safetensors": "safetensors.numpy.load_file(path)",
        "a.onnx": "it holds a network, not samples",
        "a.mcap": "save the messages as CSV or .npy",
        "a.bson": "save its records as JSON lines",
        "a.ipc": "give it a name that ends in .arrow",
        "a.xltx": "save it as .xlsx",
    }.items():
        (folder / name).write_bytes(b"\x01\x02")
        assert said in refusal(folder / name), name
    (folder / "a.pq").write_bytes(b"PAR1")
    aekit.open_data(folder / "a.pq")


@AREA.refused("a tar file of tables", "no images or arrays, but .csv; unpack it first, and open the tables")
def _(folder: Path, listener: Listener) -> None:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        content = rows(NOISE, ",".join(NAMES)).encode()
        about = tarfile.TarInfo("data/a.csv")
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
    aekit.open_data(folder / "a.tar.gz")


@AREA.right("structs of Parquet, Feather and tables in memory, whose numbers are columns, as in nested JSON")
def _(folder: Path, listener: Listener) -> None:
    nested = [{"x": h, "in": {"y": w}} for h, w, _ in NOISE.tolist()]
    table = pa.table({"d": NOISE[:, 2], "at": nested, "label": ["u", "v"] * 20})
    pq.write_table(table, folder / "a.parquet")
    pyarrow.feather.write_feather(table, folder / "a.feather")
    pd.DataFrame({"d": NOISE[:, 2], "at": nested, "label": ["u", "v"] * 20}).to_json(
        folder / "a.jsonl", orient="records", lines=True
    )
    for data in (folder / "a.parquet", folder / "a.feather", folder / "a.jsonl", table):
        source = aekit.open_data(data)
        assert source.spec.names == ["d", "at.x", "at.in.y"] and source.labels is not None, data
        assert np.array_equal(values(source), NOISE[:, [2, 0, 1]])
    chosen = aekit.open_data(table, {"arrays": {"x": ["at.in.y"]}})
    assert chosen.spec.names == ["at.in.y"]


@AREA.right("a DataFrame that was shuffled, in the shapes in which pandas writes JSON, whose index has the ids")
def _(folder: Path, listener: Listener) -> None:
    shuffled = FRAME.sample(frac=0.7, random_state=0)
    dated = FRAME.set_index(pd.date_range("2024-01-01", periods=40).astype(str))
    for frame in (shuffled, dated):
        for orient in ("columns", "index", "split"):
            frame.to_json(folder / "a.json", orient=orient)
            source = aekit.open_data(folder / "a.json")
            assert list(source.ids) == [str(name) for name in frame.index] and source.spec.names == NAMES, orient
            assert np.allclose(values(source), frame.to_numpy())
    for orient in ("columns", "index", "split"):
        FRAME.to_json(folder / "a.json", orient=orient)
        assert aekit.open_data(folder / "a.json").ids[:2] == ["0", "1"], orient
        FRAME.assign(id=[f"r{row}" for row in range(40)])[::-1].to_json(folder / "a.json", orient=orient)
        assert aekit.open_data(folder / "a.json").ids[0] == "r39", orient


@AREA.changed("a struct whose field has the name of another column", "columns without numbers ignored: 'at'")
def _(folder: Path, listener: Listener) -> None:
    table = pa.table({"at": [{"x": 1.0}] * 40, "at.x": NOISE[:, 0]})
    assert np.array_equal(values(aekit.open_data(table)), NOISE[:, :1])
