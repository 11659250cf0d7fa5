"""Building an index from embeddings, measuring its recall, and bringing it up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import aekit
from aekit.artifacts import copy_encoder, new_file, only_writer, sha256_of, write_json, writing
from aekit.embeddings import Embeddings
from aekit.encoder import check_same
from aekit.errors import DataError, OutputError
from aekit.index import FORMAT, Index, Metric, VectorIndex, open_index, scaled
from aekit.options import validated
from aekit.progress import SILENT, Progress
from aekit.registry import Plugin, registry

RECALL_AT = 10
RECALL_QUERIES = 200

_OWN = {".lock", "encoder", "index.faiss", "index.bin", "ids.parquet", "manifest.json"}


def build_index(
    embeddings: Any,
    out: str | Path | None = None,
    *,
    engine: str = "faiss",
    metric: Metric = "cosine",
    options: dict[str, Any] | None = None,
    progress: Progress = SILENT,
) -> VectorIndex:
    """Builds an index, or brings the one in `out` up to date: new samples are added; changed ones make it anew.

    Args:
        embeddings: `aekit.Embeddings`, their folder, or an (N, D) array.
        out: folder; without it the index lives in memory.
        engine: an index plugin.
        metric: ``cosine``, ``l2`` or ``ip`` (inner product).
        options: of the engine, such as ``{"kind": "IVF256,Flat"}``.
        progress: receives what was chosen and why, and a bar.

    Raises:
        IdentityError: `out` holds an index of another encoder.
        OutputError: `out` holds something else.
    """
    embeddings = _as_embeddings(embeddings)
    if not len(embeddings):
        raise DataError("no embeddings to index")
    plugin = registry().get("index", engine)
    settings = validated(plugin, options or {}, f"index {engine}")
    if out is None:
        return _built(embeddings, plugin, settings, metric, progress)
    folder = Path(out)
    known = folder.exists() and any(path.name != ".lock" for path in folder.iterdir())
    if known and not ((folder / "manifest.json").exists() and (folder / "ids.parquet").exists()):
        if any(path.name not in _OWN for path in folder.iterdir()):
            raise OutputError(f"{folder}: holds other things than an index; choose another folder with -o")
        known = False  # what an interrupted build left
    with only_writer(folder):
        index = None
        if known:
            index = _extended(open_index(folder), embeddings, plugin, settings, metric, progress)
        if index is None:
            index = _built(embeddings, plugin, settings, metric, progress)
        with writing(folder):
            _save(index, folder, embeddings)
    return index


def _as_embeddings(given: Any) -> Embeddings:
    if isinstance(given, Embeddings):
        return given
    if isinstance(given, (str, Path)):
        return Embeddings.open(given)
    return Embeddings.from_array(np.asarray(given, np.float32))


def _built(
    embeddings: Embeddings, plugin: Plugin, settings: dict[str, Any], metric: Metric, progress: Progress
) -> VectorIndex:
    engine: Index = plugin.load()(**settings)
    with progress.task("index", len(embeddings), "vectors") as task:

        def batches() -> Iterator[np.ndarray]:
            for rows in embeddings.batches():
                yield scaled(rows.vectors, metric)

        why = engine.build(batches, len(embeddings), embeddings.dim, metric)
        task.advance(len(embeddings))
    manifest = {
        "format": FORMAT,
        "aekit": aekit.__version__,
        "digest": embeddings.digest,
        "engine": plugin.record(),
        "metric": metric,
        "count": len(embeddings),
        "dim": embeddings.dim,
        "why": why,
        "origin": embeddings.manifest.get("origin"),
    }
    index = VectorIndex(engine, manifest, embeddings.names(), None)
    _measure(index, embeddings, progress)
    return index


def _extended(
    index: VectorIndex,
    embeddings: Embeddings,
    plugin: Plugin,
    settings: dict[str, Any],
    metric: Metric,
    progress: Progress,
) -> VectorIndex | None:
    """The index with the new rows added, or None where it has to be built again."""
    check_same(index.digest, embeddings.digest, what=f"the index in {index.folder}", maker="these embeddings are")
    names = embeddings.names()
    before = dict(zip(index.ids, index.names["hash"].to_pylist()))
    now = dict(zip(names["id"].to_pylist(), names["hash"].to_pylist()))
    asked = {name: value for name, value in settings.items() if name in index.manifest["settings"]}
    same_kind = all(value in ("auto", None, index.manifest["settings"][name]) for name, value in asked.items())
    if any(now.get(name) != stamp for name, stamp in before.items()):
        progress.say("some indexed samples have changed or are gone: building the index again")
        return None
    if metric != index.manifest["metric"] or not same_kind or index.manifest["engine"]["name"] != plugin.name:
        progress.say("another kind or metric is asked for: building the index again")
        return None
    fresh = np.asarray([name not in before for name in now], bool)
    if not fresh.any():
        progress.say("nothing new to index")
        return index
    progress.say(f"adding {int(fresh.sum())} new vectors to the {len(index)} indexed ones")
    added = names.filter(pa.array(fresh))
    for rows in embeddings.batches():
        new = np.asarray([name not in before for name in rows.ids], bool)
        if new.any():
            index.engine.add(scaled(rows.vectors[new], metric))
    grown = VectorIndex(
        index.engine, index.manifest | {"count": len(now)}, pa.concat_tables([index.names, added]), index.folder
    )
    _measure(grown, embeddings, progress)
    return grown


def _measure(index: VectorIndex, embeddings: Embeddings, progress: Progress) -> None:
    """Compares the ten nearest neighbours of some samples with those of exact search; the engine may tune itself by it."""
    metric = index.manifest["metric"]
    rows = np.unique(np.linspace(0, len(index) - 1, RECALL_QUERIES).astype(np.int64))
    k = min(RECALL_AT, len(index) - 1)
    if k < 1:
        index.manifest |= {"recall": 1.0, "settings": {}}
        return
    queries, truth = _exact(embeddings, rows, k, metric)

    def recall() -> float:
        _, found = index.engine.search(queries, k + 1)
        kept = [[row for row in near if row != own][:k] for near, own in zip(found.tolist(), rows.tolist())]
        return sum(len(set(near) & set(true)) for near, true in zip(kept, truth)) / (k * len(rows))

    index.engine.tune(recall)
    index.manifest |= {"recall": round(recall(), 4), "recall_queries": len(rows)}
    progress.say(f"recall@{k} is {index.manifest['recall']:.3f} against exact search, on {len(rows)} samples")


def _exact(embeddings: Embeddings, rows: np.ndarray, k: int, metric: Metric) -> tuple[np.ndarray, list[list[int]]]:
    """The vectors (Q, D) at these rows and their k nearest others, found by comparing with everything, part by part."""
    queries = np.concatenate(list(_picked(embeddings, rows, metric)))
    best_scores = np.full((len(rows), k + 1), -np.inf, np.float32)
    best_rows = np.full((len(rows), k + 1), -1, np.int64)
    start = 0
    for part in embeddings.batches():
        for offset in range(0, len(part.ids), 8192):
            vectors = scaled(part.vectors[offset : offset + 8192], metric)
            scores = queries @ vectors.T
            if metric == "l2":
                scores = 2 * scores - np.square(vectors).sum(1)  # the order of minus the squared distance
            scores = np.concatenate([best_scores, scores], axis=1)
            here = np.broadcast_to(np.arange(start, start + len(vectors)), (len(rows), len(vectors)))
            candidates = np.concatenate([best_rows, here], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, : k + 1]
            best_scores, best_rows = np.take_along_axis(scores, order, 1), np.take_along_axis(candidates, order, 1)
            start += len(vectors)
    return queries, [[r for r in near if r != own][:k] for near, own in zip(best_rows.tolist(), rows.tolist())]


def _picked(embeddings: Embeddings, rows: np.ndarray, metric: Metric) -> Iterator[np.ndarray]:
    start = 0
    for part in embeddings.batches():
        inside = rows[(rows >= start) & (rows < start + len(part.ids))] - start
        yield scaled(part.vectors[inside], metric)
        start += len(part.ids)


def _save(index: VectorIndex, folder: Path, embeddings: Embeddings) -> None:
    """Writes all files under temporary names first; the manifest, which makes them an index, comes last."""
    if embeddings.folder is not None:
        copy_encoder(embeddings.folder / "encoder", folder / "encoder")
    elif (encoder := embeddings.encoder()) is not None and not (folder / "encoder").exists():
        encoder.save(folder / "encoder")
    name = f"index.{index.manifest['engine']['name']}"
    with new_file(folder / name) as part:
        index.manifest["settings"] = index.engine.save(part)
    with new_file(folder / "ids.parquet") as part:
        pq.write_table(index.names, part, compression="none")
    sums = {file: sha256_of(folder / file) for file in (name, "ids.parquet")}
    index.manifest |= {"file": name, "sha256": sums}
    write_json(folder / "manifest.json", index.manifest)
    index.folder, index._encoder = folder, None
