"""Compute units of samples in a worker process; a module for each kind of work derives its `Worker` from the one here."""

from __future__ import annotations

import contextlib
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from aekit.data.source import Source
from aekit.encoder.engines.units import Column, Result, Setup, decode_positions, describe_error, hash_ids
from aekit.errors import AekitWarning, print_traceback

Batch = tuple[np.ndarray, Mapping[str, Column]]
"""Positions (B,) of samples that could be read, and what was computed of them."""


class WorkerBase(ABC):
    """Compute units of samples. Failures are described in the result, and the process continues.

    Args:
        setup: the bytes of a `Setup`.
    """

    def __init__(self, setup: bytes) -> None:
        self._failure: Exception | None = None
        try:
            decoded = Setup.from_bytes(setup)
            torch.set_num_threads(decoded.threads)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AekitWarning)  # the main process has opened the same data and said so
                self._source = self.open(decoded)
        except Exception as error:
            print_traceback(error)
            self._failure = error

    @abstractmethod
    def open(self, setup: Setup) -> Source:
        """Open the networks and the data, and return the source of the samples."""

    @abstractmethod
    def compute(self, positions: np.ndarray) -> Iterable[Batch]:
        """Compute on the samples at (N,) positions, in their order, and leave out those that cannot be read."""

    def work(self, unit: bytes) -> bytes:
        """Compute a unit, given as `encode_positions` writes it; return the bytes of a `Result`."""
        try:
            if self._failure is not None:
                raise self._failure
            return self._compute(decode_positions(unit)).to_bytes()
        except Exception as error:
            print_traceback(error)
            return Result(error=describe_error(error)).to_bytes()

    def _compute(self, positions: np.ndarray) -> Result:
        source = self._source
        source.skipped.clear()
        if positions.max() >= len(source):
            return Result()  # the data has shrunk: the ids do not agree
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AekitWarning)
            batches = list(self.compute(positions))
        messages = [str(warning.message) for warning in caught if issubclass(warning.category, AekitWarning)]
        common: dict[str, Any] = {"ids": hash_ids(source.ids, positions), "skipped": dict(source.skipped)}
        common["warnings"] = messages
        if not batches:
            return Result(**common)
        columns = {name: _joined([columns[name] for _, columns in batches]) for name in batches[0][1]}
        return Result(np.concatenate([indices for indices, _ in batches]), columns, **common)


def _joined(parts: list[Column]) -> Column:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    joined: list[Any] = [value for part in parts for value in part]
    return joined


def serve(worker: type[WorkerBase]) -> None:
    """Answer units with results until the other end of the connection, the descriptor on the command line, is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(sys.argv[1])) as parent:
        started = worker(parent.recv_bytes())
        parent.send_bytes(b"ready")
        while True:
            parent.send_bytes(started.work(parent.recv_bytes()))
