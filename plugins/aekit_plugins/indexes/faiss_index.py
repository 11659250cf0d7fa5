"""FAISS, with the kind chosen from the size of the data and its slow default on new processors mended.

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
"""Vectors that k-means sees for each of its centers; FAISS warns below 39."""
LINKING = 200
"""HNSW's efConstruction. FAISS's 40 fails on clustered vectors, which is what trained encoders make."""
MAPPED = 2**30
"""Bytes from which a file is mapped into memory rather than read."""


class Faiss(Index):
    """Any index that FAISS's factory can make.

    Douze et al., The Faiss library, 2024.
    """

    def __init__(
        self,
        *,
        kind: Annotated[
            str, Field(description="a FAISS factory string such as IVF1024,SQfp16; auto: by size")
        ] = "auto",
        nprobe: Annotated[
            int | None,
            Field(ge=1, description="lists searched in an IVF; by default the fewest that reach target_recall"),
        ] = None,
        target_recall: Annotated[float, Field(gt=0, le=1, description="of the ten nearest neighbors")] = 0.95,
    ) -> None:
        self.kind, self.nprobe, self.target_recall = kind, nprobe, target_recall
        self.effort: dict[str, int] = {}
        self.mapped: Path | None = None
        self.index: Any = None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        faiss, note = _faiss()
        self.kind, why = choose_kind(count, dim) if self.kind == "auto" else (self.kind, "as asked for")
        how = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        try:
            self.index = faiss.index_factory(dim, self.kind, how)
            if hasattr(self.index, "hnsw"):
                self.index.hnsw.efConstruction = LINKING
            if not self.index.is_trained:
                self._train(batches(), count)
        except RuntimeError as error:
            reason = str(error).strip().rpartition(": ")[2]
            raise RecipeError([f"index kind {self.kind!r}: FAISS cannot make it: {reason}"]) from None
        for batch in batches():
            self.add(batch)
        return f"{why}; {note}" if note else why

    def _train(self, batches: Iterable[np.ndarray], count: int) -> None:
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        wanted = max(65_536, TRAINING_PER_LIST * ivf.nlist if ivf else 0)
        step = max(1, count // wanted)
        if ivf:
            ivf.cp.min_points_per_centroid = 1  # below 39, FAISS prints a warning: small data is not a mistake
        self.index.train(np.ascontiguousarray(np.concatenate([batch[::step] for batch in batches])))

    def add(self, vectors: np.ndarray) -> None:
        if self.mapped:  # FAISS ends the process when a mapped index is added to
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
            raise DataError(f"index kind {self.kind!r} keeps no vectors: search by file, not by id") from None

    def save(self, path: Path) -> dict[str, Any]:
        _faiss()[0].write_index(self.index, str(path))
        return {"kind": self.kind, **self.effort}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        faiss, _ = _faiss()
        # Only inverted lists can be mapped; of other kinds FAISS reads everything all the same.
        large = path.stat().st_size >= MAPPED and "IVF" in settings["kind"]
        self._read(path, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if large else 0)
        self.kind, self.effort = settings["kind"], {k: v for k, v in settings.items() if k != "kind"}
        self._set_effort()

    def _read(self, path: Path, flags: int) -> None:
        faiss, _ = _faiss()
        if hasattr(faiss, "set_deserialization_vector_byte_limit"):
            # A length in a hostile file must not make FAISS ask for more memory than the file could fill.
            faiss.set_deserialization_vector_byte_limit(path.stat().st_size + 2**20)
        try:
            self.index, self.mapped = faiss.read_index(str(path), flags), path if flags else None
        except RuntimeError as error:
            raise IdentityError(f"{path}: FAISS cannot read it: {str(error).strip().rpartition(': ')[2]}") from None

    def _efforts(self) -> Iterator[dict[str, int]]:
        """How thoroughly to search, from the quickest; the steps are about the square root of two."""
        steps = [1, *(n for power in range(1, 17) for n in (2**power, 3 * 2 ** (power - 1)))]
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        if ivf:
            # A refining index looks again, at better precision, at four times as many as are asked for.
            refine = {"k_factor_rf": 4} if hasattr(self.index, "refine_index") else {}
            every = [self.nprobe] if self.nprobe else [n for n in steps if n < ivf.nlist] + [ivf.nlist]
            yield from ({"nprobe": min(n, ivf.nlist), **refine} for n in every)
        elif hasattr(self.index, "hnsw"):
            yield from ({"efSearch": n} for n in steps if 16 <= n <= 2048)

    def _set_effort(self) -> None:
        for name, value in self.effort.items():
            _faiss()[0].ParameterSpace().set_index_parameter(self.index, name, value)


def choose_kind(count: int, dim: int) -> tuple[str, str]:
    """A factory string for so many vectors of such a width, and why. Measured at 128 dimensions, scaled by size.

    Raises:
        RecipeError: too many for one machine.
    """
    weight = count * max(dim, 1) / 128
    if weight <= 2e5:
        return "Flat", f"exact, as {count:,} vectors of {dim} are searched fast enough one by one"
    for limit, lists, store, why in (
        (3e6, 4096, "SQfp16", "4096 lists at half precision"),
        (3e7, 16384, "SQfp16", "16384 lists at half precision"),
        (3e8, 65536, "SQ8", "65536 lists at 8 bits"),
    ):
        if weight <= limit:
            # Fewer, wider vectors: keep enough of them for each list to be trained on.
            while lists * 39 > count:
                lists //= 2
            return f"IVF{lists},{store}", f"{why.replace(why.split()[0], str(lists), 1)} for {count:,} vectors of {dim}"
    raise RecipeError([f"{count:,} vectors of {dim} are too many for one FAISS index: use a server such as Milvus"])


@cache
def _faiss() -> tuple[Any, str]:
    """FAISS, imported with the matrix kernels that the processor has, and a note where it was too late for that."""
    faiss, note = import_with_better_core("faiss", "faiss_cpu.libs")
    # Above so many queries times dimensions FAISS uses the matrix product. Its default of 128000 leaves batches of 16
    # to 999 queries at 128 dimensions on a path that is several times slower.
    faiss.cvar.distance_compute_blas_threshold = min(faiss.cvar.distance_compute_blas_threshold, 2048)
    return faiss, note
