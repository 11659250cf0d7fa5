"""Decode samples that do not fit in memory once, into a memory-mapped file of raw bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aekit.errors import OutputError
from aekit.io.atomic import write_failure
from aekit.io.cache_folder import cache_folder
from aekit.progress import Progress

if TYPE_CHECKING:
    from aekit.data.source import Source

STEP = 1024


def decode_once(
    source: Source,
    rows: np.ndarray,
    fill: Callable[[np.ndarray], np.ndarray],
    folder: Path | None,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the usable samples as a memory-mapped array, and decode them first if no earlier run has.

    Args:
        source: source of the samples; its `skipped` receives the unreadable ones.
        rows: (N,) positions in the source.
        fill: writes the usable samples into the first rows of an (N, *shape) array and returns their offsets in `rows`.
        folder: folder of the cache; default: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.
        progress: receives a note on the size of the cache.

    Returns:
        a read-only array (M, *shape), and offsets (M,) in `rows`.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = (folder or cache_folder()) / "decoded" / f"{samples_key(source, rows)}.raw"
    ledger = path.with_suffix(".json")
    if not ledger.exists():
        size = len(rows) * source.spec.nbytes / 2**30
        progress.say(f"decoding once into {path} ({size:.1f} GiB), because it does not fit in memory")
        _write(path, ledger, source, rows, fill)
    # Offsets, because positions and ids change when samples are added to the source, while the key does not.
    skipped = {int(offset): reason for offset, reason in json.loads(ledger.read_text("utf-8")).items()}
    source.skipped.update({source.ids[int(rows[offset])]: reason for offset, reason in skipped.items()})
    kept = np.delete(np.arange(len(rows)), list(skipped))
    return np.memmap(path, source.spec.dtype, "r", shape=(len(kept), *source.spec.shape)), kept


def samples_key(source: Source, rows: np.ndarray) -> str:
    """Hash everything that samples depend on: their spec and the content of each of them, in order."""
    key = hashlib.blake2b(repr(source.spec).encode(), digest_size=16)
    for start in range(0, len(rows), STEP):
        for stamp in source.fingerprints(rows[start : start + STEP]):
            key.update(stamp.encode())
    return key.hexdigest()


def _write(
    path: Path, ledger: Path, source: Source, rows: np.ndarray, fill: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Write the bytes, then the ledger of skipped samples, whose presence shows that the bytes are complete."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                if hasattr(os, "posix_fallocate"):  # reports a full disk, which would crash a mapped file
                    os.posix_fallocate(file.fileno(), 0, len(rows) * source.spec.nbytes)
            raw = np.memmap(part, source.spec.dtype, "r+", shape=(len(rows), *source.spec.shape))
            kept = fill(raw)
            raw.flush()
            os.replace(part, path)
            skipped = np.delete(np.arange(len(rows)), kept).tolist()
            part.write_text(json.dumps({row: source.skipped[source.ids[int(rows[row])]] for row in skipped}), "utf-8")
            os.replace(part, ledger)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        advice = "set AEKIT_CACHE to use another folder for decoded samples"
        raise OutputError(f"{path.parent}: {write_failure(error)}; {advice}") from None
