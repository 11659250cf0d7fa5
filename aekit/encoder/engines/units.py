"""Units of work: the samples that a worker computes on at a time, and how they and the results are sent as bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from aekit import errors
from aekit.errors import AekitError, RecipeError, first_line, out_of_memory

UNIT_BATCHES = 4
"""Most batches of a unit: what is computed again when a worker ends within it."""
UNITS_A_WORKER = 8
"""Fewest units for each worker, where there are batches enough, so that all end at about the same time."""
_HEADER = b"aekit.header"

Column = np.ndarray | list[str] | list[bytes]
"""What is computed of each sample: numbers (M, *shape), a text, or bytes, such as those of `array_to_bytes`."""


class MessageError(AekitError):
    """A message of a worker that cannot be read, or does not answer its unit."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read a part of a message, such as "result"; failures in NumPy, Arrow or here become a `MessageError`."""
    try:
        yield
    except MessageError:
        raise
    except Exception as error:
        raise MessageError(f"a worker sent an invalid {what}: {first_line(error)}") from error


@dataclass(frozen=True)
class Setup:
    """The settings that a worker receives once.

    Attributes:
        folder: with the files that it needs, such as an encoder.
        origin: of the data, as `aekit.data.opening.reopen` takes it.
        device: name of the device.
        threads: threads of a worker.
        settings: further values, as JSON expresses them.
    """

    folder: str
    origin: dict[str, Any]
    device: str
    threads: int
    settings: dict[str, Any]

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Setup:
        return cls(**json.loads(content))


def split_units(rows: np.ndarray, batch: int, workers: int) -> list[np.ndarray]:
    """Split positions (N,) into units of whole batches, whose vectors are then those of a single process."""
    batches = -(-len(rows) // batch)
    size = batch * max(1, min(UNIT_BATCHES, batches // (workers * UNITS_A_WORKER)))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def encode_positions(positions: np.ndarray) -> bytes:
    """Write positions (N,) as the first and last of each run."""
    breaks = np.flatnonzero(np.diff(positions) != 1)
    starts, stops = positions[np.r_[0, breaks + 1]], positions[np.r_[breaks, len(positions) - 1]]
    return json.dumps(np.stack([starts, stops], 1).tolist()).encode()


def decode_positions(content: bytes) -> np.ndarray:
    """Read positions (N,) that `encode_positions` wrote."""
    return np.concatenate([np.arange(start, stop + 1) for start, stop in json.loads(content)])


def hash_ids(ids: Sequence[str], positions: np.ndarray) -> str:
    """Hash the ids at (N,) positions, to compare what two processes have opened."""
    names = "\0".join(ids[int(position)] for position in positions)
    return hashlib.blake2b(names.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Result:
    """What a worker returns for a unit.

    Attributes:
        positions: (M,) positions of the samples that could be read.
        columns: name -> what was computed of these samples, in their order; {} if there are none.
        ids: hash of the ids of the unit.
        skipped: id -> reason, of the other samples.
        warnings: texts of warnings.
        error: why the unit could not be computed, as `describe_error` wrote it; or None.
    """

    positions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    columns: Mapping[str, Column] = field(default_factory=dict)
    ids: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    error: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        """Write it as an Arrow stream."""
        header: dict[str, Any] = {name: getattr(self, name) for name in ("ids", "skipped", "warnings", "error")}
        header["shapes"] = {n: column.shape[1:] for n, column in self.columns.items() if isinstance(column, np.ndarray)}
        columns = {name: _to_arrow(column) for name, column in self.columns.items()}
        table = pa.table({"position": pa.array(self.positions, pa.int64()), **columns})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.with_metadata({_HEADER: json.dumps(header)})) as stream:
            stream.write_table(table.replace_schema_metadata({_HEADER: json.dumps(header)}))
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_bytes(cls, content: bytes, unit: np.ndarray) -> Result:
        """Read the result of a unit, positions (N,).

        Raises:
            MessageError: it cannot be read, or is not of these samples.
        """
        with reading("result"):
            table = pa.ipc.open_stream(content).read_all()
            header = json.loads((table.schema.metadata or {})[_HEADER])
            shapes = header.pop("shapes")
            columns = {name: _from_arrow(table[name], shapes.get(name)) for name in table.column_names[1:]}
            result = cls(table["position"].to_numpy(), columns, **header)
            is_answer = result._answers(unit)
        if not is_answer:
            raise MessageError("a worker sent a result that does not belong to its samples")
        return result

    def _answers(self, unit: np.ndarray) -> bool:
        """Return whether it accounts for each sample of a unit: as read, as skipped for a reason, or by an error for all."""
        if self.error is not None:
            rebuild_error(self.error)
            return True
        read, count = unit[np.isin(unit, self.positions)], len(self.positions)
        texts = [self.ids, *self.skipped, *self.skipped.values(), *self.warnings]
        is_complete = np.array_equal(read, self.positions) and all(isinstance(text, str) for text in texts)
        is_complete = is_complete and all(len(column) == count for column in self.columns.values())
        return is_complete and (not self.ids or count + len(self.skipped) == len(unit))


def _to_arrow(column: Column) -> pa.Array:
    if not isinstance(column, np.ndarray):
        return pa.array(column, pa.binary() if column and isinstance(column[0], bytes) else pa.string())
    flat = pa.array(np.ascontiguousarray(column).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(column.shape[1:])))


def _from_arrow(column: pa.ChunkedArray, shape: Sequence[int] | None) -> Column:
    if column.null_count:
        raise ValueError("a value is missing")
    if shape is None:
        return column.to_pylist()
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), *shape)


def array_to_bytes(array: np.ndarray) -> bytes:
    """Write an array in NumPy's format, for columns of arrays of different shapes."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def array_from_bytes(content: Any) -> np.ndarray:
    """Read an array of numbers that `array_to_bytes` wrote.

    Raises:
        MessageError: it is something else.
    """
    with reading("array"):
        return _numbers(np.load(io.BytesIO(content), allow_pickle=False))


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays with their titles."""
    content = io.BytesIO()
    np.savez(content, *arrays.values())
    return json.dumps(list(arrays)).encode() + b"\n" + content.getvalue()


def arrays_from_bytes(content: Any) -> dict[str, np.ndarray]:
    """Read title -> an array of numbers, which `arrays_to_bytes` wrote.

    Raises:
        MessageError: it is something else.
    """
    with reading("set of arrays"):
        titles, _, arrays = content.partition(b"\n")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
            return {str(title): _numbers(stored[f"arr_{number}"]) for number, title in enumerate(json.loads(titles))}


def _numbers(array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise ValueError("expected numbers")
    return array


def describe_error(error: Exception) -> dict[str, Any]:
    """Return an error as plain JSON."""
    refusal = error if isinstance(error, AekitError) else out_of_memory(error)
    if isinstance(refusal, RecipeError):
        return {"type": "RecipeError", "lines": refusal.problems}
    if refusal is not None:
        known = (cls.__name__ for cls in type(refusal).__mro__ if getattr(errors, cls.__name__, None) is cls)
        return {"type": next(known), "line": str(refusal)}
    if isinstance(error, OSError) and error.errno:
        return {"type": "OSError", "number": error.errno, "text": error.strerror, "file": error.filename}
    return {"type": type(error).__name__, "line": first_line(error)}


def rebuild_error(described: dict[str, Any]) -> Exception:
    """Return the error that `describe_error` described."""
    kind = described["type"]
    if kind == "RecipeError":
        return RecipeError(described["lines"])
    if kind == "OSError":
        return OSError(described["number"], described["text"], described["file"])
    cls = getattr(errors, kind, None)
    if isinstance(cls, type) and issubclass(cls, AekitError):
        return cls(described["line"])
    return RuntimeError(f"a worker failed: {kind}: {described['line']}")
