"""FAISS index, with its kind chosen by the size of the data and faster matrix kernels on new processors.

Search in a forked child hangs once the parent has searched: start workers by spawn, or set
``faiss.omp_set_num_threads(1)`` in the child.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit.plugin import (
    BatchFactory,
    DataError,
    Field,
    IdentityError,
    Index,
    RecipeError,
    Similarity,
    import_with_better_core,
)

TRAINING_PER_LIST = 64
"""Training vectors for each center of k-means; FAISS warns below 39."""
EF_CONSTRUCTION = 200
"""HNSW's efConstruction. FAISS's default of 40 fails on clustered vectors, which trained encoders produce."""
MEMORY_MAP_BYTES = 2**30
"""Size from which a file is mapped into memory instead of read."""


class Faiss(Index):
    """Search with any index that FAISS's factory can build.

    Douze et al., The Faiss library, 2024.
    """

    def __init__(
        self,
        *,
        kind: Annotated[
            str, Field(description="FAISS factory string such as IVF1024,SQfp16; auto: by the size of the data")
        ] = "auto",
        nprobe: Annotated[
            int | None,
            Field(ge=1, description="inverted lists to search; by default the fewest that reach target_recall"),
        ] = None,
        target_recall: Annotated[
            float, Field(gt=0, le=1, description="recall of the ten nearest neighbors to reach")
        ] = 0.95,
    ) -> None:
        self.kind, self.nprobe, self.target_recall = kind, nprobe, target_recall
        self.effort: dict[str, int] = {}
        self.mapped: Path | None = None
        self.index: Any = None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        faiss, note = _faiss()
        self.kind, reason = choose_kind(count, dim) if self.kind == "auto" else (self.kind, "as requested")
        faiss_metric = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        try:
            self.index = faiss.index_factory(dim, self.kind, faiss_metric)
            if hasattr(self.index, "hnsw"):
                self.index.hnsw.efConstruction = EF_CONSTRUCTION
            if not self.index.is_trained:
                self._train(batches(), count)
        except RuntimeError as error:
            problem = str(error).strip().rpartition(": ")[2]
            raise RecipeError([f"index kind {self.kind!r}: FAISS cannot build it: {problem}"]) from None
        for batch in batches():
            self.add(batch)
        return f"{reason}; {note}" if note else reason

    def _train(self, batches: Iterable[np.ndarray], count: int) -> None:
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        size = max(65_536, TRAINING_PER_LIST * ivf.nlist if ivf else 0)
        step = max(1, count // size)
        if ivf:
            ivf.cp.min_points_per_centroid = 1  # silence FAISS's warning below 39: small data is fine
        self.index.train(np.ascontiguousarray(np.concatenate([batch[::step] for batch in batches])))

    def add(self, vectors: np.ndarray) -> None:
        if self.mapped:  # FAISS aborts the process when vectors are added to a mapped index
            self._read(self.mapped, 0)
        self.index.add(np.ascontiguousarray(vectors, np.float32))

    def tune(self, recall: Callable[[], float]) -> None:
        for effort in self._efforts():
            self.effort = effort
            self._set_effort()
            if recall() >= self.target_recall:
                return

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self.index.search(np.ascontiguousarray(queries, np.float32), k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        if ivf and ivf.direct_map.no():
            ivf.make_direct_map()
        try:
            return self.index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))
        except RuntimeError:
            raise DataError(f"index kind {self.kind!r} stores no vectors: search by file, not by id") from None

    def save(self, path: Path) -> dict[str, Any]:
        _faiss()[0].write_index(self.index, str(path))
        return {"kind": self.kind, **self.effort}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        faiss, _ = _faiss()
        # Only inverted lists can be mapped; FAISS reads other kinds in full.
        large = path.stat().st_size >= MEMORY_MAP_BYTES and "IVF" in settings["kind"]
        self._read(path, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if large else 0)
        self.kind, self.effort = settings["kind"], {k: v for k, v in settings.items() if k != "kind"}
        self._set_effort()

    def _read(self, path: Path, flags: int) -> None:
        faiss, _ = _faiss()
        if hasattr(faiss, "set_deserialization_vector_byte_limit"):
            # Keep a length in a malicious file from making FAISS allocate more memory than the file could fill.
            faiss.set_deserialization_vector_byte_limit(path.stat().st_size + 2**20)
        try:
            self.index, self.mapped = faiss.read_index(str(path), flags), path if flags else None
        except RuntimeError as error:
            raise IdentityError(f"{path}: FAISS cannot read it: {str(error).strip().rpartition(': ')[2]}") from None

    def _efforts(self) -> Iterator[dict[str, int]]:
        """Yield search settings from the fastest on, in steps of about the square root of two."""
        steps = [1, *(n for power in range(1, 17) for n in (2**power, 3 * 2 ** (power - 1)))]
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        if ivf:
            # A refining index compares four times as many candidates again, at higher precision.
            refine = {"k_factor_rf": 4} if hasattr(self.index, "refine_index") else {}
            nprobes = [self.nprobe] if self.nprobe else [n for n in steps if n < ivf.nlist] + [ivf.nlist]
            yield from ({"nprobe": min(n, ivf.nlist), **refine} for n in nprobes)
        elif hasattr(self.index, "hnsw"):
            yield from ({"efSearch": n} for n in steps if 16 <= n <= 2048)

    def _set_effort(self) -> None:
        for name, value in self.effort.items():
            _faiss()[0].ParameterSpace().set_index_parameter(self.index, name, value)


def choose_kind(count: int, dim: int) -> tuple[str, str]:
    """Choose an index for `count` vectors of `dim` dimensions, from measurements at 128 dimensions, scaled by size.

    Returns:
        The FAISS factory string, and the reason.

    Raises:
        RecipeError: there are too many vectors for one machine.
    """
    scaled_count = count * max(dim, 1) / 128
    if scaled_count <= 2e5:
        return "Flat", f"exact, as {count:,} vectors of {dim} dimensions are few enough to compare with each"
    for limit, lists, storage, reason in (
        (3e6, 4096, "SQfp16", "4096 lists at half precision"),
        (3e7, 16384, "SQfp16", "16384 lists at half precision"),
        (3e8, 65536, "SQ8", "65536 lists at 8 bits"),
    ):
        if scaled_count <= limit:
            # Fewer, wider vectors: keep enough of them to train each list.
            while lists * 39 > count:
                lists //= 2
            reason = reason.replace(reason.split()[0], str(lists), 1)
            return f"IVF{lists},{storage}", f"{reason} for {count:,} vectors of {dim} dimensions"
    problem = f"{count:,} vectors of {dim} dimensions are too many for one FAISS index"
    raise RecipeError([f"{problem}: use a server such as Milvus"])


@cache
def _faiss() -> tuple[Any, str]:
    """Import FAISS with the best matrix kernels for the processor; return it, and a note if it was too late for that."""
    faiss, note = import_with_better_core("faiss", "faiss_cpu.libs")
    # FAISS uses a matrix product above this number of queries times dimensions. With its default of 128000, batches of
    # 16 to 999 queries at 128 dimensions take a path that is several times slower.
    faiss.cvar.distance_compute_blas_threshold = min(faiss.cvar.distance_compute_blas_threshold, 2048)
    return faiss, note
