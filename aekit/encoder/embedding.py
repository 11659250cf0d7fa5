"""Embed data in bounded memory: read ahead, skip what cannot be read, store part by part."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aekit._arguments import checked_arguments
from aekit.data.locations import portable_record
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder._embedder import Embedder
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.parquet_parts import FORMAT
from aekit.encoder.parquet_store import Rows, Store, concatenate_rows
from aekit.errors import DataError
from aekit.io.atomic import explain_write_errors, folder_lock
from aekit.progress_display import ProgressOption, open_progress
from aekit.version import __version__


@partial(checked_arguments, name="embed")
def embed_samples(
    encoder: Embedder,
    data: Any,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    batch_size: int = 256,
    strict: bool = False,
    drop_missing: bool = False,
    progress: ProgressOption = None,
) -> Embeddings:
    """Embed data as `aekit.embed` does, which describes the arguments, with an encoder that is at hand."""
    progress = open_progress(progress)
    source = open_data(data, options, like=encoder.spec)
    warn_if_inside(out, data)
    if source is not data:
        source.report_notes(progress)
    rows_to_embed = source.rows_of(split)
    encoder.eval()
    embedder = BatchEmbedder(encoder, source, batch_size, strict)
    manifest = {
        "format": FORMAT,
        "aekit": __version__,
        "digest": encoder.digest,
        "dim": encoder.dim,
        "origin": source.origin,
        "split": split,
    }
    if out is None:
        with progress.task("embed", len(rows_to_embed)) as task:
            batches = []
            for rows in embedder.embed(rows_to_embed):
                batches.append(rows)
                task.advance(len(rows.ids))
        embedded = concatenate_rows(batches, encoder.dim)
        counts = {"count": len(embedded.ids), "skipped": len(source.skipped)}
        embeddings = Embeddings(manifest | counts, rows=embedded)
    else:
        folder = Path(out)
        origin = None if source.origin is None else portable_record(source.origin, folder)
        with folder_lock(folder):
            store = Store(folder, manifest | {"origin": origin}, source)
            if not (folder / "encoder").exists():
                encoder.copy_to(folder / "encoder")
            with explain_write_errors(folder):
                plan = store.plan(rows_to_embed, drop_missing, progress)
                with progress.task("embed", len(rows_to_embed), done=plan.done) as task:
                    for rows in embedder.embed(plan.todo):
                        store.append(rows)
                        task.advance(len(rows.ids))
                store.close()
        embeddings = Embeddings.open(folder)
    source.warn_of_skipped(None if out is None else Path(out) / "skipped.csv")
    embeddings.encoder, embeddings._source = encoder, source
    return embeddings


class BatchEmbedder:
    """Embed samples in batches, reading the next batch while the encoder works on the current one."""

    def __init__(self, encoder: Embedder, source: Source, batch_size: int, strict: bool) -> None:
        self.encoder, self.source, self.batch_size, self.strict = encoder, source, batch_size, strict

    def embed(self, rows: np.ndarray) -> Iterator[Rows]:
        """Embed the samples at (N,) positions batch by batch, leaving out those that cannot be read."""
        slices = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        with ThreadPoolExecutor(1) as ahead:
            upcoming = ahead.submit(self._read, slices[0]) if slices else None
            for number in range(len(slices)):
                assert upcoming is not None
                indices, raw, hashes = upcoming.result()
                upcoming = ahead.submit(self._read, slices[number + 1]) if number + 1 < len(slices) else None
                if len(indices):
                    yield self._embed(indices, raw, hashes)

    def _read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        raw, ok = read_valid(self.source, indices, self.strict)
        return indices[ok], raw[ok], self.source.fingerprints(indices[ok])

    @torch.inference_mode()
    def _embed(self, indices: np.ndarray, raw: np.ndarray, hashes: list[str]) -> Rows:
        vectors = self.encoder(to_tensor(raw).to(self.encoder.device)).float().cpu().numpy()
        if not np.isfinite(vectors).all():
            bad = self.source.ids[int(indices[np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]])]
            raise DataError(f"{bad}: its embedding is not finite; does this data resemble the training data?")
        source = self.source
        labels = None if source.labels is None else source.labels[indices]
        splits = None if source.splits is None else source.splits[indices]
        return Rows([source.ids[int(i)] for i in indices], vectors, labels, splits, hashes)
