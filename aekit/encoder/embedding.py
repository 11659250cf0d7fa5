"""Embed data in bounded memory: read ahead, skip what cannot be read, store part by part."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from aekit._arguments import checked_arguments
from aekit.data.locations import portable_record
from aekit.data.metadata import Metadata, MetadataChoice
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.data.samples import NoneUsable, to_tensor
from aekit.data.source import Source, read_valid
from aekit.data.stream import AHEAD, read_ahead
from aekit.encoder._embedder import Embedder
from aekit.encoder._parquet_parts import FORMAT, recorded_metadata
from aekit.encoder.embedded_rows import Rows, concatenate_rows
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.engines.choice import EngineName, choose_engine
from aekit.encoder.engines.engine import Engine, Work
from aekit.encoder.engines.units import MessageError, Result
from aekit.encoder.inference import MAX_BATCH, READ_BYTES, Inference, Precision, check_batch_memory
from aekit.encoder.input_range import warn_of_other_scale
from aekit.encoder.parquet_store import Store, store_folder
from aekit.errors import DataError, RecipeError
from aekit.io.arrow import arrow_numbers
from aekit.io.atomic import explain_write_errors
from aekit.io.remote import beside, output_folder
from aekit.progress import SILENT, Progress, warn
from aekit.progress_display import ProgressOption, open_progress
from aekit.version import __version__

WORKER = "aekit.encoder._embedding_worker"
"""Module of the workers of an engine."""


@partial(checked_arguments, name="embed")
def embed_samples(
    encoder: Embedder,
    data: Any,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    strict: bool = False,
    drop_missing: bool = False,
    engine: EngineName = "single",
    workers: int | None = None,
    address: str | None = None,
    metadata: MetadataChoice = None,
    progress: ProgressOption = None,
) -> Embeddings:
    """Embed data with a loaded encoder, as `aekit.embed` does, which describes the arguments."""
    progress = open_progress(progress)
    chosen = choose_engine(engine, workers, address)
    digest = encoder.digest  # first, as it refuses an encoder that was converted to another width
    source = open_data(data, options, like=encoder.spec)
    if chosen is not None:
        chosen.check(source)
    warn_if_inside(out, data)
    if source is not data:
        _warn_of_unused_options(encoder, source)
        source.report_notes(progress)
    rows_to_embed = source.rows_of(split)
    warn_of_other_scale(encoder, source, rows_to_embed)
    encoder.eval()
    embedder = BatchEmbedder(
        encoder, source, batch_size=batch_size, precision=precision, strict=strict, progress=progress
    )
    manifest = {
        "format": FORMAT,
        "aekit": __version__,
        "digest": digest,
        "dim": encoder.dim,
        "origin": source.origin,
        "split": split,
    }
    if out is None:
        embeddings = _embed_in_memory(embedder, rows_to_embed, chosen, manifest, metadata)
    else:
        embeddings = _embed_into_folder(
            out, embedder, rows_to_embed, chosen, manifest, metadata, drop_missing=drop_missing
        )
    if not len(embeddings):
        raise NoneUsable(source.none_usable(len(rows_to_embed)))
    source.warn_of_skipped(None if out is None else beside(out, "skipped.csv"))
    embeddings.encoder, embeddings._source = encoder, source
    return embeddings


def _embed_in_memory(
    embedder: BatchEmbedder,
    rows: np.ndarray,
    engine: Engine | None,
    manifest: dict[str, Any],
    metadata: MetadataChoice,
) -> Embeddings:
    source, progress, batches = embedder.source, embedder.progress, []
    manifest["metadata"], embedder.metadata = _choose_metadata(source, metadata, None, progress)
    with (
        TemporaryDirectory() as temporary,
        progress.task("embed", len(rows)) as task,
        closing(embed_with(engine, embedder, rows, Path(temporary) / "encoder")) as embedded_batches,
    ):
        for batch in embedded_batches:
            batches.append(batch)
            task.advance(len(batch.ids))
    embedded = concatenate_rows(batches, embedder.encoder.dim)
    counts = {"precision": embedder.precision, "count": len(embedded.ids), "skipped": len(source.skipped)}
    return Embeddings(manifest | counts, rows=embedded)


def _embed_into_folder(
    out: str | Path,
    embedder: BatchEmbedder,
    rows: np.ndarray,
    engine: Engine | None,
    manifest: dict[str, Any],
    metadata: MetadataChoice,
    *,
    drop_missing: bool,
) -> Embeddings:
    """Embed what the folder does not hold yet; with `drop_missing`, remove rows whose sample the data no longer has."""
    source, progress = embedder.source, embedder.progress
    with output_folder(out) as folder, store_folder(folder):
        manifest["origin"] = None if source.origin is None else portable_record(source.origin, folder)
        manifest["metadata"], embedder.metadata = _choose_metadata(source, metadata, folder, progress)
        store = Store(folder, manifest, source, embedder.metadata)
        embedder.precision = store.precision_to_go_on_in(embedder.precision, progress)
        if not (folder / "encoder").exists():
            embedder.encoder.copy_to(folder / "encoder")
        with explain_write_errors(folder):
            plan = store.plan(rows, drop_missing, progress)
            with (
                progress.task("embed", len(rows), done=plan.done) as task,
                closing(embed_with(engine, embedder, plan.todo, folder / "encoder")) as embedded_batches,
            ):
                for batch in embedded_batches:
                    store.append(batch, embedder.precision)
                    task.advance(len(batch.ids))
            store.close()
    return Embeddings.open(out)


def _choose_metadata(
    source: Source, requested: MetadataChoice, folder: Path | None, progress: Progress
) -> tuple[Any, pa.Table | None]:
    """Return the columns to keep, as requested now or when the folder was first written, and a table of them or None.

    Raises:
        DataError: there is no such column, or it cannot be kept.
    """
    choice = [requested] if isinstance(requested, str) and requested not in ("auto", "none") else requested
    if choice is None and folder is not None:
        choice = recorded_metadata(folder)
    choice = "auto" if choice is None else choice if isinstance(choice, str) else list(choice)
    if choice == "none" or (source.metadata is None and choice == "auto"):
        return choice, None
    return choice, (source.metadata or Metadata({})).choose(choice, progress)


def embed_with(
    engine: Engine | None, embedder: BatchEmbedder, rows: np.ndarray, encoder_folder: Path
) -> Generator[Rows, None, None]:
    """Embed the samples at (N,) positions with an engine, which finds the encoder in a folder, or in this process."""
    if engine is None:
        yield from embedder.embed(rows)
        return
    embedder.encoder.copy_to(encoder_folder)

    def settings() -> dict[str, Any]:
        if embedder.precision == "auto":  # as a single process chooses it, while the workers start
            with closing(embedder.vectors(rows)) as batches:
                next(batches, None)
        names = ("batch_size", "precision", "strict")
        return {name: getattr(embedder, name) for name in names} | {"samples": len(rows)}

    device, batch = embedder.encoder.device, embedder.batch
    work = Work("embedding", WORKER, embedder.source, device, batch, encoder_folder, settings, embedder.progress)
    with closing(engine.run(work, rows)) as results:
        for unit, result in results:
            vectors, hashes = _vectors_of(result, embedder.encoder.dim)
            # In the batches of a single process, so that parts end at the same samples.
            for start in range(0, len(unit), batch):
                places = np.flatnonzero(np.isin(result.positions, unit[start : start + batch]))
                if len(places):
                    stamps = [hashes[place] for place in places.tolist()]
                    yield embedder.rows(result.positions[places], vectors[places], stamps)


def _vectors_of(result: Result, dim: int) -> tuple[np.ndarray, Sequence[str]]:
    """Return the vectors (M, D) and the content hashes that a worker has sent.

    Raises:
        MessageError: they are not those of samples and an encoder.
    """
    if not len(result.positions):
        return np.empty((0, dim), np.float32), []
    vectors, hashes = result.columns.get("vector"), result.columns.get("hash")
    are_vectors = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.ndim == 2
    if not are_vectors or not isinstance(hashes, list) or not all(isinstance(stamp, str) for stamp in hashes):
        raise MessageError("a worker sent invalid vectors or content hashes")
    assert isinstance(vectors, np.ndarray)
    stamps: Sequence[Any] = hashes
    if vectors.shape[1] != dim:
        raise MessageError(f"a worker sent vectors of {vectors.shape[1]} dimensions, not {dim}")
    return vectors, stamps


class BatchEmbedder:
    """Embed samples in batches, reading the next batches while the encoder works on the current one.

    Args:
        encoder: in eval mode.
        source: source of the samples.
        batch_size: samples that are read and computed at a time; None: as many as suit memory and caches.
        precision: as in `Inference`.
        strict: stop at the first sample that cannot be read.
        progress: receives the choice of the precision.
        samples: number of samples that it will embed, of which other processes may embed some; by default those of the first
            call.

    Raises:
        RecipeError: `batch_size` is less than 1.

    Attributes:
        metadata: further columns of all samples of the source, for `rows`; or None.
        precision: precision of the vectors, once the first ones are computed.
    """

    def __init__(
        self,
        encoder: Embedder,
        source: Source,
        *,
        batch_size: int | None = None,
        precision: Precision = "fp32",
        strict: bool = False,
        progress: Progress = SILENT,
        samples: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise RecipeError([f"batch_size = {batch_size}: expected at least 1"])
        self.encoder, self.source, self.batch_size, self.strict = encoder, source, batch_size, strict
        self.precision, self.progress, self.samples = precision, progress, samples
        self.metadata: pa.Table | None = None
        self._inference: Inference | None = None

    @property
    def batch(self) -> int:
        """Number of samples that are read at a time."""
        return self.batch_size or max(1, min(MAX_BATCH, READ_BYTES // self.source.spec.nbytes))

    def embed(self, rows: np.ndarray) -> Iterator[Rows]:
        """Embed the samples at (N,) positions batch by batch, leaving out those that cannot be read."""
        for indices, vectors, hashes in self.vectors(rows):
            yield self.rows(indices, vectors, hashes)

    def vectors(self, rows: np.ndarray) -> Generator[tuple[np.ndarray, np.ndarray, list[str]], None, None]:
        """Yield positions (B,) of the samples at (N,) positions that can be read, vectors (B, D) and content hashes.

        Raises:
            DataError: a vector is not finite.
            OutOfMemoryError: memory does not hold so many samples as `batch_size` says.
        """
        if self.batch_size is not None:
            check_batch_memory(min(self.batch, len(rows)), (AHEAD + 1) * self.source.spec.nbytes, "reading")
        if self._inference is None:
            self._inference = Inference(
                self.encoder,
                len(rows) if self.samples is None else self.samples,
                device=self.encoder.device,
                precision=self.precision,
                batch_size=self.batch_size,
                progress=self.progress,
            )
        slices = (rows[start : start + self.batch] for start in range(0, len(rows), self.batch))
        for indices, raw, hashes in read_ahead(self._read, slices):
            if len(indices):
                # Copied, as the memory of torch's small results lies between that of large ones, which it keeps from being freed.
                vectors = self._inference(to_tensor(raw)).cpu().numpy().copy()
                self.precision = self._inference.precision
                self._check_finite(indices, vectors)
                yield indices, vectors, hashes
        if self.precision == "auto":  # nothing was computed
            self.precision = "fp32"

    def _read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        raw, ok = read_valid(self.source, indices, self.strict)
        if not ok.all():
            indices, raw = indices[ok], raw[ok]
        return indices, raw, self.source.fingerprints(indices)

    def _check_finite(self, indices: np.ndarray, vectors: np.ndarray) -> None:
        if not np.isfinite(vectors).all():
            bad = self.source.ids[int(indices[np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]])]
            raise DataError(f"{bad}: its embedding is not finite; does this data resemble the training data?")

    def rows(self, indices: np.ndarray, vectors: np.ndarray, hashes: Sequence[str]) -> Rows:
        """Return vectors (B, D) with the ids, labels, splits and metadata of the samples at (B,) positions."""
        source = self.source
        labels = None if source.labels is None else source.labels[indices]
        splits = None if source.splits is None else source.splits[indices]
        metadata = None if self.metadata is None else self.metadata.take(arrow_numbers(indices))
        return Rows([source.ids[int(i)] for i in indices], vectors, labels, splits, hashes, metadata)


_KEPT_BY_ENCODER = {
    *("x", "categories", "missing"),  # of tables
    *("kind", "layout", "size", "resize", "crop_pct", "interpolation", "channels", "grayscale"),  # of images
    *("frames", "frame_step"),  # of clips
}
"""Options of sources that a trained encoder knows without them, as they are in its spec."""


def _warn_of_unused_options(encoder: Any, source: Source) -> None:
    """Warn of options that the training data was opened with, such as the column of the labels, and this data is not."""
    trained, origin = encoder.record.get("data"), source.origin
    if not isinstance(trained, dict) or origin is None or trained.get("source") != origin["source"]:
        return
    unused = [
        f"data.{origin['source']}.{name} = {value!r}"
        for name, value in (trained.get("options") or {}).items()
        if name not in _KEPT_BY_ENCODER and name not in origin["options"]
    ]
    if unused:
        warn(f"data: the encoder was trained with {', '.join(unused)}; set it here, too, to use it")
