"""Every source of files of other programs is fitted, embedded, indexed and searched from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Command

import aekit
from aekit.registry.discovery import registry

OF_FILES = ("vectors", "parquet-images", "saved-dataset", "webdataset", "hdf5", "zarr", "matlab", "json-lines", "lance")


@pytest.mark.parametrize("name", [*OF_FILES, "huggingface"])
def test_a_source_is_fitted_embedded_indexed_and_searched(name: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    code = registry().get("source", name).load()
    example = sys.modules[code.__module__].example(tmp_path / "data")
    where, options = example if isinstance(example, tuple) else (example, {})
    # Files are recognized without the name of their source.
    data = where if name in OF_FILES else f"{name}:{where}"
    settings = [f"--set=data.{name}.{key}={json.dumps(value)}" for key, value in options.items()]
    count = len(aekit.open_data(data, {name: options} if options else None))
    assert f"{count} samples" in command.ok("data", data, *settings)
    command.ok("fit", data, "-o", tmp_path / "run", "--epochs", "1", "--dim", "2", *settings)
    command.ok("embed", tmp_path / "run", data, "-o", tmp_path / "embeddings", *settings)
    embeddings = aekit.Embeddings.open(tmp_path / "embeddings")
    assert len(embeddings) == count and embeddings.manifest["origin"]["source"] == name
    assert embeddings.source() is not None, "the data is found again"
    command.ok("index", tmp_path / "embeddings", "-o", tmp_path / "index", "-q")
    hits = json.loads(command.ok("search", tmp_path / "index", data, "-k", "1", "--json", *settings))
    assert [hit["query"] for hit in hits] == list(embeddings.ids)
    assert np.mean([hit["query"] == hit["id"] for hit in hits]) > 0.9, "a sample is its own neighbor"
    html = tmp_path / "page.html"
    command.ok("search", tmp_path / "index", f"id:{embeddings.ids[0]}", "-k", "2", "--html", html)
    assert "not available here" not in html.read_text("utf-8")


@pytest.mark.parametrize("name", ["vectors", "hdf5", "zarr", "matlab", "json-lines"])
def test_vectors_in_any_format_are_indexed_without_an_encoder(name: str, command: Command, tmp_path: Path) -> None:
    code = registry().get("source", name).load()
    where = sys.modules[code.__module__].example(tmp_path)
    command.ok("index", where, "-o", tmp_path / "index", "-q")
    hits = json.loads(command.ok("search", tmp_path / "index", where, "-k", "1", "--json"))
    assert len(hits) == 12 and all(hit["score"] > 0.999 for hit in hits)
    assert "clusters" in command.ok("cluster", where, "-o", tmp_path / "clusters", "-k", "2", "-q")
