"""Embed units of samples in a worker process. ``python -m aekit.encoder.engines._worker DESCRIPTOR`` runs one."""

from __future__ import annotations

import contextlib
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from aekit.data.opening import reopen
from aekit.encoder.embedding import BatchEmbedder
from aekit.encoder.engines._units import Result, Setup, decode_positions, describe_error, hash_ids
from aekit.encoder.loading import load
from aekit.errors import AekitWarning, print_traceback


class Worker:
    """Embed units of samples. What fails is described in the result, so that the process goes on.

    Args:
        setup: the bytes of a `Setup`.
    """

    def __init__(self, setup: bytes) -> None:
        self._failure: Exception | None = None
        try:
            self._open(Setup.from_bytes(setup))
        except Exception as error:
            print_traceback(error)
            self._failure = error

    def _open(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        encoder = load(Path(setup.encoder), device=setup.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AekitWarning)  # the main process has opened the same data and said so
            self._source = reopen(setup.origin, like=encoder.spec)
        self._embedder = BatchEmbedder(
            encoder,
            self._source,
            batch_size=setup.batch_size,
            precision=setup.precision,  # type: ignore[arg-type]
            strict=setup.strict,
            samples=setup.samples,
        )

    def work(self, unit: bytes) -> bytes:
        """Embed a unit, given as `encode_positions` writes it; return the bytes of a `Result`."""
        try:
            if self._failure is not None:
                raise self._failure
            return self._embed(decode_positions(unit)).to_bytes()
        except Exception as error:
            print_traceback(error)
            return Result(error=describe_error(error)).to_bytes()

    def _embed(self, positions: np.ndarray) -> Result:
        source = self._source
        source.skipped.clear()
        if positions.max() >= len(source):
            return Result()  # the data has shrunk: the ids do not agree
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AekitWarning)
            batches = list(self._embedder.vectors(positions))
        said = [str(warning.message) for warning in caught if issubclass(warning.category, AekitWarning)]
        common = {"ids": hash_ids(source.ids, positions), "skipped": dict(source.skipped), "warnings": said}
        if not batches:
            return Result(**common)  # type: ignore[arg-type]
        return Result(
            np.concatenate([indices for indices, _, _ in batches]),
            np.concatenate([vectors for _, vectors, _ in batches]),
            [stamp for _, _, hashes in batches for stamp in hashes],
            **common,  # type: ignore[arg-type]
        )


def main() -> None:
    """Answer units with results until the other end of the connection is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(sys.argv[1])) as parent:
        worker = Worker(parent.recv_bytes())
        parent.send_bytes(b"ready")
        while True:
            parent.send_bytes(worker.work(parent.recv_bytes()))


if __name__ == "__main__":
    main()
