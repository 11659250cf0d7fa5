"""The decode-once cache: samples that do not fit into memory, as raw bytes in a file that is mapped instead of read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aekit.errors import OutputError
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
    """The usable samples as a memory-mapped array, decoded now if no earlier run has done it.

    Args:
        source: to read from; its `skipped` receives what was left out, now or then.
        rows: (N,) positions in the source.
        fill: writes the usable samples into an (N, *shape) array, closed up, and returns their offsets into `rows`.
        folder: where the cache is; default: ``$AEKIT_CACHE`` or ``~/.cache/aekit``.

    Returns:
        (M, *shape) read-only array and (M,) offsets into `rows`.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    folder = folder or Path(os.environ.get("AEKIT_CACHE", Path.home() / ".cache" / "aekit"))
    path = folder / "decoded" / f"{_key(source, rows)}.raw"
    ledger = path.with_suffix(".json")
    if not ledger.exists():
        size = len(rows) * source.spec.nbytes / 2**30
        progress.say(f"decoding once into {path} ({size:.1f} GiB): more than fits in memory")
        _write(path, ledger, source, rows, fill)
    # Offsets rather than positions or ids: those change when other samples join the source, and the key does not.
    left_out = {int(offset): reason for offset, reason in json.loads(ledger.read_text("utf-8")).items()}
    source.skipped.update({source.ids[int(rows[offset])]: reason for offset, reason in left_out.items()})
    kept = np.delete(np.arange(len(rows)), list(left_out))
    return np.memmap(path, source.spec.dtype, "r", shape=(len(kept), *source.spec.shape)), kept


def _key(source: Source, rows: np.ndarray) -> str:
    """Everything that the bytes depend on: the spec, and which samples in which state."""
    key = hashlib.blake2b(repr(source.spec).encode(), digest_size=16)
    for start in range(0, len(rows), STEP):
        for stamp in source.fingerprints(rows[start : start + STEP]):
            key.update(stamp.encode())
    return key.hexdigest()


def _write(
    path: Path, ledger: Path, source: Source, rows: np.ndarray, fill: Callable[[np.ndarray], np.ndarray]
) -> None:
    """The bytes first; then the ledger of what was left out, whose presence says that the bytes are all there."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                if hasattr(os, "posix_fallocate"):  # a full disk is an error here; in a mapped file it would be a crash
                    os.posix_fallocate(file.fileno(), 0, len(rows) * source.spec.nbytes)
            raw = np.memmap(part, source.spec.dtype, "r+", shape=(len(rows), *source.spec.shape))
            kept = fill(raw)
            raw.flush()
            os.replace(part, path)
            left_out = np.delete(np.arange(len(rows)), kept).tolist()
            part.write_text(json.dumps({row: source.skipped[source.ids[int(rows[row])]] for row in left_out}), "utf-8")
            os.replace(part, ledger)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        advice = "AEKIT_CACHE names another folder for decoded samples"
        raise OutputError(f"{path.parent}: {error.strerror or error}; {advice}") from None
