"""Folders of images, and of the embeddings that engines have made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import aekit


def write_images(folder: Path, count: int, first: int = 0) -> Path:
    for number in range(first, first + count):
        path = folder / ("even" if number % 2 == 0 else "odd") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return folder


def contents(folder: Path) -> dict[str, Any]:
    """Return the rows of each part, without their vectors, and the names of all files."""
    tables = {path.name: pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))}
    kept = {name: table.drop_columns("vector").to_pydict() for name, table in tables.items()}
    kept |= {f"{name} schema": table.schema for name, table in tables.items()}
    return kept | {"files": sorted(path.name for path in folder.iterdir())}


def check_same(folder: Path, expected: Path) -> None:
    """Check that two folders of embeddings have the same parts, rows and vectors."""
    assert contents(folder) == contents(expected)
    ours, theirs = aekit.Embeddings.open(folder), aekit.Embeddings.open(expected)
    assert np.allclose(ours.vectors, theirs.vectors, atol=1e-5)
    assert (folder / "skipped.csv").read_text() == (expected / "skipped.csv").read_text()
    left_out = {"parts", "seal"}  # digests of files that hold the last digits of vectors
    assert {k: v for k, v in ours.manifest.items() if k not in left_out} == {
        k: v for k, v in theirs.manifest.items() if k not in left_out
    }
