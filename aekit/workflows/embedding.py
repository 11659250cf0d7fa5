"""Embed data with an encoder, given as an object or a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aekit._arguments import checked_arguments
from aekit.data.metadata import MetadataChoice
from aekit.encoder.embedding import embed_samples
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.engines.choice import EngineName
from aekit.encoder.inference import Precision
from aekit.encoder.loading import open_encoder
from aekit.progress_display import ProgressOption


@checked_arguments
def embed(
    encoder: Encoder | str | Path,
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
    """Embed data in bounded memory, into a folder or (without `out`) into memory.

    Args:
        encoder: a trained encoder, which runs on its own device, or the path of a run or an encoder.
        data: as in `aekit.open_data`.
        out: folder; if it holds embeddings of the same encoder, only new and changed samples are embedded.
        split: split to embed, of data that has splits; None: all.
        options: options of the source, by its name.
        batch_size: samples per forward pass; by default as many as suit memory and caches.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 where the hardware multiplies in it, a first batch agrees with fp32 (mean
            cosine similarity of at least 0.9999) and it is faster, else fp32. It is recorded; a folder goes on in its own.
        strict: stop at the first sample that cannot be read.
        drop_missing: remove rows whose sample is no longer in the data.
        engine: ``single``: this process; ``processes``: several processes of this machine, which share its cores and its GPUs;
            ``ray``: actors of Ray, on this machine or a cluster. The result is the same; the data must be a path or
            ``SOURCE:NAME``, which each worker opens.
        workers: number of workers; default: as many as there are GPUs for an encoder on one, or cores.
        address: of a running Ray cluster, such as ``auto``; by default one is started on this machine.
        metadata: further columns of a table, a list of images or records to keep, such as ``["price", "city"]``, for conditions
            on neighbors; ``auto``: all small ones that are not part of the samples; ``none``. By default as the folder was
            written before, else ``auto``. Stored rows get their new values, too.
        progress: shows a bar, as in `aekit.fit`.

    Returns:
        N embeddings with ids, and labels and splits where the data has any.

    Raises:
        DataError: the data cannot be read, its shape or dtype does not fit the encoder, or it has no such column.
        IdentityError: `out` holds embeddings of another encoder, or of another precision than the one asked for.
        RecipeError: there is no such engine, it does not take these options, or `batch_size` is less than 1.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp")
        >>> embeddings = aekit.embed(encoder, "sklearn:digits", out="embeddings")
        >>> embeddings.vectors.shape, embeddings.labels.shape
        ((1797, 2), (1797,))
    """
    return embed_samples(
        open_encoder(encoder),
        data,
        out=out,
        split=split,
        options=options,
        batch_size=batch_size,
        precision=precision,
        strict=strict,
        drop_missing=drop_missing,
        engine=engine,
        workers=workers,
        address=address,
        metadata=metadata,
        progress=progress,
    )
