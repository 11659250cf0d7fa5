"""Build an index from embeddings, measure its recall, and update it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aekit._arguments import checked_arguments
from aekit.data.locations import portable_record
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.identity import PRECOMPUTED, check_same_encoder, read_description
from aekit.encoder.makers import encoder_of
from aekit.encoder.opening import open_embeddings
from aekit.errors import DataError, IdentityError, OutputError, RecipeError, closest_name
from aekit.index._found import check_found, check_saved
from aekit.index._index_manifest import FORMAT, IDS, MANIFEST, IndexManifest, Similarity
from aekit.index._queries import scale_for_metric
from aekit.index._recall import ExactSearch
from aekit.index.engine import Index
from aekit.index.vector_index import VectorIndex, open_index
from aekit.io.arrow import arrow_numbers, arrow_values
from aekit.io.atomic import (
    atomic_file,
    copy_encoder,
    explain_write_errors,
    file_sha256,
    folder_lock,
)
from aekit.io.manifests import read_entries, read_manifest, write_manifest
from aekit.io.remote import local_path, output_folder, refuse_remote
from aekit.progress import Progress
from aekit.progress_display import ProgressOption, open_progress
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options
from aekit.registry.session import plugin_name
from aekit.version import __version__

RECALL_AT = 10
RECALL_QUERIES = 200
"""Samples whose recall is measured."""
TUNING_QUERIES = 1000
"""Most samples by which an engine tunes itself. By 200, a recall of 0.99 is estimated to within 0.004, so that anything from half
to twice the effort that it takes is chosen; by 1,000 to within 0.0015."""
TUNING_COMPARISONS = 2**35
"""Products of two numbers that this may take; of large indexes fewer samples are compared, but at least `RECALL_QUERIES`."""

CHUNK = 16384
"""Number of vectors to compare at a time."""
GROWTH = 2
"""Growth factor above which an index is rebuilt: its kind was chosen, and its parts trained, for fewer vectors."""

_FILES = {".lock", "encoder", IDS, "manifest.json"}


@checked_arguments
def build_index(
    embeddings: Any,
    out: str | Path | None = None,
    *,
    engine: Any = "faiss",
    metric: Similarity = "cosine",
    options: dict[str, Any] | None = None,
    progress: ProgressOption = None,
) -> VectorIndex:
    """Build an index, or update the one in `out`: new samples are added to it; if samples changed, it is rebuilt.

    Args:
        embeddings: `aekit.Embeddings`, their folder, a file of precomputed vectors, or an array (N, D).
        out: folder; without it the index stays in memory.
        engine: name of an index plugin, or a class derived from `aekit.plugin.Index`.
        metric: ``cosine``, ``l2`` or ``ip`` (inner product).
        options: options of the engine, such as ``{"kind": "IVF256,Flat"}``.
        progress: shows the choice of index, the reason for it, and a bar, as in `aekit.fit`.

    Returns:
        the index, with its measured recall in ``manifest["recall"]``.

    Raises:
        DataError: there are no embeddings, or they cannot be read.
        RecipeError: unknown metric or options.
        IdentityError: `out` holds an index of another encoder, or of vectors computed in another precision.
        OutputError: `out` holds something else.

    Examples:
        >>> vectors = np.random.default_rng(0).normal(size=(100, 8))
        >>> index = aekit.build_index(vectors)
        >>> scores, rows = index.search(vectors[:2], k=3)
        >>> rows.shape, rows[:, 0].tolist()
        ((2, 3), [0, 1])
    """
    progress = open_progress(progress)
    embeddings = open_embeddings(embeddings, progress)
    if not len(embeddings):
        raise DataError("no embeddings to index")
    if metric not in get_args(Similarity):
        raise RecipeError([f"index metric {metric!r}: no such metric{closest_name(metric, get_args(Similarity))}"])
    engine = plugin_name("index", engine, "engine")
    plugin = registry().get("index", engine)
    settings = validate_options(plugin, options or {}, f"index {engine}")
    if out is None and plugin.load().external:
        raise RecipeError([f"index engine {engine!r} keeps vectors outside of this process: expected `out`, a folder"])
    if out is None:
        in_memory = _build(embeddings, plugin, settings, metric, progress)
        in_memory._encoder = encoder_of(embeddings)
        return in_memory
    if plugin.load().external:  # its old vectors are dropped before a new folder is uploaded
        refuse_remote(out, f"an index of engine {engine!r}")
    with output_folder(out) as folder:
        _refuse_other_content(folder)
        with folder_lock(folder):
            _refuse_other_encoder(folder, embeddings)
            index = _extend(folder, embeddings, plugin, settings, metric, progress)
            if index is None:
                index = _build(embeddings, plugin, settings, metric, progress, folder)
            with explain_write_errors(folder):
                _save(index, folder, embeddings)
    index.folder = local_path(out).absolute()
    return index


def _refuse_other_content(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        if name not in _FILES and not name.startswith("index.") and not name.endswith((".part", ".lock")):
            raise OutputError(
                f"{folder}: holds {name!r}, which is not part of an index; choose another folder as out (-o)"
            )
    if "manifest.json" in names and "engine" not in read_entries(folder / MANIFEST):
        raise OutputError(f"{folder}: its manifest.json is not that of an index; choose another folder as out (-o)")


def _refuse_other_encoder(folder: Path, embeddings: Embeddings) -> None:
    try:
        manifest = read_manifest(folder / MANIFEST, IndexManifest, kind="index", version=FORMAT)
    except IdentityError:  # none, or a damaged one: `_extend` says so, and rebuilds it
        manifest = {}
    either_precomputed = manifest.get("kind") == PRECOMPUTED or embeddings.is_precomputed
    if manifest and either_precomputed and manifest["digest"] != embeddings.digest:
        before, now = (
            "precomputed vectors" if kind == PRECOMPUTED else f"vectors of encoder {digest[:12]}"
            for kind, digest in (
                (manifest.get("kind"), manifest["digest"]),
                (embeddings.manifest.get("kind"), embeddings.digest),
            )
        )
        raise IdentityError(
            f"the index in {folder} holds {before}, these are other {now}; choose another folder as out (-o)"
        )
    digests = [manifest["digest"]] if manifest else []
    digests += [read_description(folder / "encoder")["digest"]] if (folder / "encoder").exists() else []
    for digest in digests:
        check_same_encoder(digest, embeddings.digest, what=f"the index in {folder}", maker="these embeddings are")
    precision = manifest.get("precision", "fp32")
    if manifest and not either_precomputed and precision != embeddings.precision:
        raise IdentityError(
            f"the index in {folder} holds vectors computed in {precision}, these were in {embeddings.precision}; "
            f"embed with precision {precision}, or choose another folder as out (-o)"
        )


def _build(
    embeddings: Embeddings,
    plugin: Plugin,
    settings: dict[str, Any],
    metric: Similarity,
    progress: Progress,
    folder: Path | None = None,
) -> VectorIndex:
    engine: Index = plugin.made(**settings)
    with progress.task("index", len(embeddings), "vectors") as task:

        def batches() -> Iterator[np.ndarray]:
            for rows in embeddings.batches():
                yield scale_for_metric(rows.vectors, metric)

        engine.keep_digest(embeddings.digest)
        if folder:
            engine.begin(folder)
        reason = engine.build(batches, len(embeddings), embeddings.dim, metric)
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
        "reason": reason,
        "origin": embeddings.manifest.get("origin"),
    }
    manifest |= {"kind": PRECOMPUTED} if embeddings.is_precomputed else {"precision": embeddings.precision}
    index = VectorIndex(engine, manifest, embeddings.metadata(), None)
    _measure(index, embeddings, progress)
    return index


def _extend(
    folder: Path,
    embeddings: Embeddings,
    plugin: Plugin,
    settings: dict[str, Any],
    metric: Similarity,
    progress: Progress,
) -> VectorIndex | None:
    """Add new rows to the index in the folder; return None, and report why, if it has to be built instead."""
    if not (folder / "manifest.json").exists():
        return None
    try:
        index = open_index(folder)
    except IdentityError as error:
        progress.say(f"rebuilding the index: {error}")
        return None
    manifest, metadata = index.manifest, embeddings.metadata()
    same_engine = all(manifest["engine"][key] == plugin.to_dict()[key] for key in ("name", "distribution"))
    if not same_engine or manifest["metric"] != metric or manifest["options"] != settings:
        progress.say("rebuilding the index: its engine, metric or options differ from those asked for")
        return None
    positions = pc.index_in(index.metadata["id"], value_set=metadata["id"])
    changed = pc.sum(pc.not_equal(metadata["hash"].take(positions), index.metadata["hash"])).as_py() or 0
    if changed or positions.null_count:
        progress.say(f"rebuilding the index: {changed} samples changed and {positions.null_count} were removed")
        return None
    if len(metadata) > GROWTH * manifest["built_with"]:
        counts = f"it was built for {manifest['built_with']} vectors, now there are {len(metadata)}"
        progress.say(f"rebuilding the index: {counts}")
        return None
    old = arrow_values(positions)
    fresh = np.setdiff1d(np.arange(len(metadata)), old)
    # All metadata comes from the embeddings, the place of the data too: labels may have been corrected since, files moved.
    manifest = manifest | {"origin": embeddings.manifest.get("origin")}
    grown = VectorIndex(index.engine, manifest, metadata.take(arrow_numbers(np.concatenate([old, fresh]))), folder)
    if not len(fresh):
        progress.say("nothing new to index")
        return grown
    progress.say(f"adding {len(fresh)} new vectors to the {len(index)} indexed ones")
    for start, vectors in _chunks(index, embeddings):
        new = fresh[(fresh >= start) & (fresh < start + len(vectors))] - start
        if len(new):
            index.engine.add(vectors[new])
    grown.manifest = manifest | {"count": len(metadata)}
    _measure(grown, embeddings, progress)
    return grown


def _measure(index: VectorIndex, embeddings: Embeddings, progress: Progress) -> None:
    """Let the engine tune itself by its recall on some samples, and measure its recall on as many others."""
    row_of = arrow_values(pc.index_in(embeddings.metadata()["id"], value_set=index.metadata["id"]))
    drawn = np.random.default_rng(0).permutation(len(index))
    first = np.sort(drawn[: 2 * RECALL_QUERIES])
    tuning, measuring = (first[0::2], first[1::2]) if len(first) > 2 else (first, first)
    more = min(TUNING_QUERIES, TUNING_COMPARISONS // (len(index) * index.dim)) - RECALL_QUERIES
    tuning = np.concatenate([tuning, drawn[len(first) :][: max(0, more)]])
    k = min(RECALL_AT, len(index) - 1)
    if k < 1:
        index.manifest |= {"recall": 1.0, "recall_queries": 0}
        return
    positions = np.concatenate([measuring, tuning])
    queries = np.empty((len(positions), index.dim), np.float32)
    for start, vectors in _chunks(index, embeddings):
        inside = (positions >= start) & (positions < start + len(vectors))
        queries[inside] = vectors[positions[inside] - start]

    def searched_exactly(which: slice) -> ExactSearch:
        exact = ExactSearch(queries[which], row_of[positions[which]], k, index.manifest["metric"])
        for start, vectors in _chunks(index, embeddings):
            exact.update(vectors, row_of[start : start + len(vectors)])
        return exact

    def recall(exact: ExactSearch) -> float:
        answer = index.engine.search(exact.vectors, k + 1)
        return exact.recall(check_found(answer, len(exact.vectors), k + 1, index.manifest)[1])

    for_tuning = cache(lambda: searched_exactly(slice(len(measuring), None)))  # many engines do not ask
    index.engine.tune(lambda: recall(for_tuning()))
    measured = recall(searched_exactly(slice(len(measuring))))
    index.manifest |= {"recall": round(measured, 4), "recall_queries": len(measuring)}
    recall_text = f"recall@{k} is {index.manifest['recall']:.3f} compared with exact search"
    progress.say(f"{recall_text}, on {index.manifest['recall_queries']} samples not used for tuning")


def _chunks(index: VectorIndex, embeddings: Embeddings) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the position of the first vector, and (B, D) vectors as scaled for the engine, in the order of the embeddings."""
    start = 0
    for part in embeddings.batches():
        for offset in range(0, len(part.ids), CHUNK):
            vectors = scale_for_metric(part.vectors[offset : offset + CHUNK], index.manifest["metric"])
            yield start, vectors
            start += len(vectors)


def _save(index: VectorIndex, folder: Path, embeddings: Embeddings) -> None:
    """Write all files under temporary names first; the manifest, which makes them an index, comes last."""
    if embeddings.folder is not None:
        copy_encoder(embeddings.folder / "encoder", folder / "encoder")
    elif (encoder := encoder_of(embeddings)) is not None:
        encoder.copy_to(folder / "encoder")
    name = f"index.{index.manifest['engine']['name']}"
    ids = folder / IDS
    with atomic_file(folder / name) as new_index, atomic_file(ids) as new_ids:
        index.manifest["settings"] = check_saved(index.engine.save(new_index), new_index, index.manifest)
        pq.write_table(index.metadata, new_ids, compression="none")
        sums = {name: file_sha256(new_index), ids.name: file_sha256(new_ids)}
    # If killed before the next line, the checksums of the old manifest do not match, and the next run rebuilds.
    index.manifest |= {"file": name, "sha256": sums}
    origin = index.manifest["origin"]
    written = index.manifest | {"origin": origin and portable_record(origin, folder)}
    write_manifest(folder / MANIFEST, written)
    index.engine.finish(folder)
    index.folder, index._encoder = folder, None
