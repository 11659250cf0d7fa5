"""Building an index from embeddings, measuring its recall, and bringing it up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aekit.encoder.embeddings import Embeddings, open_embeddings
from aekit.encoder.identity import check_same_encoder, read_description
from aekit.encoder.loading import encoder_of
from aekit.errors import DataError, IdentityError, OutputError, RecipeError, closest_name
from aekit.index.recall import ExactSearch
from aekit.index.vector_index import FORMAT, Index, Similarity, VectorIndex, open_index, scale_for_metric
from aekit.io.atomic import (
    atomic_file,
    copy_encoder,
    explain_write_errors,
    file_sha256,
    folder_lock,
    read_json,
    write_json,
)
from aekit.progress import SILENT, Progress
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options
from aekit.version import __version__

RECALL_AT = 10
RECALL_QUERIES = 200

CHUNK = 16384
"""Vectors compared at a time."""
GROWTH = 2
"""An index that has grown by more is built again: its kind was chosen for less, and its parts trained on less."""

_OWN = {".lock", "encoder", "ids.parquet", "manifest.json"}


def build_index(
    embeddings: Any,
    out: str | Path | None = None,
    *,
    engine: str = "faiss",
    metric: Similarity = "cosine",
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
    embeddings = open_embeddings(embeddings)
    if not len(embeddings):
        raise DataError("no embeddings to index")
    if metric not in get_args(Similarity):
        raise RecipeError(
            [f"index metric {metric!r}: there is no such metric{closest_name(metric, get_args(Similarity))}"]
        )
    plugin = registry().get("index", engine)
    settings = validate_options(plugin, options or {}, f"index {engine}")
    if out is None:
        in_memory = _built(embeddings, plugin, settings, metric, progress)
        in_memory._encoder = encoder_of(embeddings)
        return in_memory
    folder = Path(out)
    _refuse_other_content(folder)
    with folder_lock(folder):
        _refuse_other_encoder(folder, embeddings)
        index = _extended(folder, embeddings, plugin, settings, metric, progress)
        if index is None:
            index = _built(embeddings, plugin, settings, metric, progress)
        with explain_write_errors(folder):
            _save(index, folder, embeddings)
    return index


def _refuse_other_content(folder: Path) -> None:
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in found:
        if name not in _OWN and not name.startswith("index.") and not name.endswith(".part"):
            raise OutputError(f"{folder}: holds {name!r} and so is no index; choose another folder with -o")
    if "manifest.json" in found and "engine" not in read_json(folder / "manifest.json"):
        raise OutputError(f"{folder}: holds a manifest.json that is not an index's; choose another folder with -o")


def _refuse_other_encoder(folder: Path, embeddings: Embeddings) -> None:
    held = [read_json(folder / "manifest.json")["digest"]] if (folder / "manifest.json").exists() else []
    held += [read_description(folder / "encoder")["digest"]] if (folder / "encoder").exists() else []
    for digest in held:
        check_same_encoder(digest, embeddings.digest, what=f"the index in {folder}", maker="these embeddings are")


def _built(
    embeddings: Embeddings, plugin: Plugin, settings: dict[str, Any], metric: Similarity, progress: Progress
) -> VectorIndex:
    engine: Index = plugin.load()(**settings)
    with progress.task("index", len(embeddings), "vectors") as task:

        def batches() -> Iterator[np.ndarray]:
            for rows in embeddings.batches():
                yield scale_for_metric(rows.vectors, metric)

        why = engine.build(batches, len(embeddings), embeddings.dim, metric)
        task.advance(len(embeddings))
    manifest = {
        "format": FORMAT,
        "aekit": __version__,
        "digest": embeddings.digest,
        "engine": plugin.to_dict(),
        "options": settings,
        "metric": metric,
        "count": len(embeddings),
        "dim": embeddings.dim,
        "built_with": len(embeddings),
        "why": why,
        "origin": embeddings.manifest.get("origin"),
    }
    index = VectorIndex(engine, manifest, embeddings.metadata(), None)
    _measure(index, embeddings, progress)
    return index


def _extended(
    folder: Path,
    embeddings: Embeddings,
    plugin: Plugin,
    settings: dict[str, Any],
    metric: Similarity,
    progress: Progress,
) -> VectorIndex | None:
    """What the folder holds with the new rows added, or None where it has to be built, having said why."""
    if not (folder / "manifest.json").exists():
        return None
    try:
        index = open_index(folder)
    except IdentityError as error:
        progress.say(f"building the index again: {error}")
        return None
    held, names = index.manifest, embeddings.metadata()
    same_engine = all(held["engine"][key] == plugin.to_dict()[key] for key in ("name", "distribution"))
    if not same_engine or held["metric"] != metric or held["options"] != settings:
        progress.say("building the index again: another engine, metric or option is asked for")
        return None
    places = pc.index_in(index.metadata["id"], value_set=names["id"])
    changed = pc.sum(pc.not_equal(names["hash"].take(places), index.metadata["hash"])).as_py() or 0
    if changed or places.null_count:
        progress.say(f"building the index again: {changed} samples have changed and {places.null_count} are gone")
        return None
    if len(names) > GROWTH * held["built_with"]:
        progress.say(f"building the index again: it was built for {held['built_with']} vectors, there are {len(names)}")
        return None
    old = places.to_numpy()
    fresh = np.setdiff1d(np.arange(len(names)), old)
    # Taken from the embeddings whole: labels may have been mended since.
    grown = VectorIndex(index.engine, held, names.take(pa.array(np.concatenate([old, fresh]))), folder)
    if not len(fresh):
        progress.say("nothing new to index")
        return grown
    progress.say(f"adding {len(fresh)} new vectors to the {len(index)} indexed ones")
    for start, vectors in _chunks(index, embeddings):
        new = fresh[(fresh >= start) & (fresh < start + len(vectors))] - start
        if len(new):
            index.engine.add(vectors[new])
    grown.manifest = held | {"count": len(names)}
    _measure(grown, embeddings, progress)
    return grown


def _measure(index: VectorIndex, embeddings: Embeddings, progress: Progress) -> None:
    """Lets the engine tune itself by its recall on some samples, and measures it on as many others."""
    row_of = pc.index_in(embeddings.metadata()["id"], value_set=index.metadata["id"]).to_numpy()
    places = np.sort(np.random.default_rng(0).permutation(len(index))[: 2 * RECALL_QUERIES])
    k = min(RECALL_AT, len(index) - 1)
    if k < 1:
        index.manifest |= {"recall": 1.0, "recall_queries": 0}
        return
    queries = np.empty((len(places), index.dim), np.float32)
    for start, vectors in _chunks(index, embeddings):
        inside = (places >= start) & (places < start + len(vectors))
        queries[inside] = vectors[places[inside] - start]
    exact = ExactSearch(queries, row_of[places], k, index.manifest["metric"])
    for start, vectors in _chunks(index, embeddings):
        exact.update(vectors, row_of[start : start + len(vectors)])

    def recall(which: slice) -> float:
        return exact.recall(index.engine.search(queries[which], k + 1)[1], which)

    tuning, measuring = (slice(0, None, 2), slice(1, None, 2)) if len(queries) > 2 else (slice(None), slice(None))
    index.engine.tune(lambda: recall(tuning))
    index.manifest |= {"recall": round(recall(measuring), 4), "recall_queries": len(queries[measuring])}
    said = f"recall@{k} is {index.manifest['recall']:.3f} against exact search"
    progress.say(f"{said}, on {index.manifest['recall_queries']} samples that it was not tuned by")


def _chunks(index: VectorIndex, embeddings: Embeddings) -> Iterator[tuple[int, np.ndarray]]:
    """Position of the first, and (B, D) vectors as the engine has them, in the order of the embeddings."""
    start = 0
    for part in embeddings.batches():
        for offset in range(0, len(part.ids), CHUNK):
            vectors = scale_for_metric(part.vectors[offset : offset + CHUNK], index.manifest["metric"])
            yield start, vectors
            start += len(vectors)


def _save(index: VectorIndex, folder: Path, embeddings: Embeddings) -> None:
    """Writes all files under temporary names first; the manifest, which makes them an index, comes last."""
    if embeddings.folder is not None:
        copy_encoder(embeddings.folder / "encoder", folder / "encoder")
    elif (encoder := encoder_of(embeddings)) is not None and not (folder / "encoder").exists():
        encoder.save(folder / "encoder")
    name = f"index.{index.manifest['engine']['name']}"
    ids = folder / "ids.parquet"
    with atomic_file(folder / name) as new_index, atomic_file(ids) as new_ids:
        index.manifest["settings"] = index.engine.save(new_index)
        pq.write_table(index.metadata, new_ids, compression="none")
        sums = {name: file_sha256(new_index), ids.name: file_sha256(new_ids)}
    # Killed between here and the next line, the old manifest calls the new files damaged: the next run builds again.
    index.manifest |= {"file": name, "sha256": sums}
    write_json(folder / "manifest.json", index.manifest)
    index.folder, index._encoder = folder, None
