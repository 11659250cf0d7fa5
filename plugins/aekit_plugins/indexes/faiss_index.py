"""FAISS, with the kind chosen from the size of the data and its slow default on new processors mended.

Search in a forked child hangs once the parent has searched: start workers by spawn, or set
``faiss.omp_set_num_threads(1)`` in the child.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aekit.errors import IdentityError, RecipeError
from aekit.index import Batches, Index, Metric
from aekit.openblas import import_with_better_core
from aekit.options import Field

TRAINING_PER_LIST = 64
"""Vectors that k-means sees for each of its centres; FAISS warns below 39."""


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
        target_recall: Annotated[float, Field(gt=0, le=1, description="of the ten nearest neighbours")] = 0.95,
    ) -> None:
        self.kind, self.nprobe, self.target_recall = kind, nprobe, target_recall
        self.index: Any = None

    def build(self, batches: Batches, count: int, dim: int, metric: Metric) -> str:
        faiss = _faiss()
        self.kind, why = choose_kind(count, dim) if self.kind == "auto" else (self.kind, "as asked for")
        how = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        try:
            self.index = faiss.index_factory(dim, self.kind, how)
        except RuntimeError as error:
            reason = str(error).rpartition(": ")[2]
            raise RecipeError([f"index kind {self.kind!r}: FAISS cannot make it: {reason}"]) from None
        ivf = self._ivf()
        if not self.index.is_trained:
            wanted = max(10_000, TRAINING_PER_LIST * (ivf.nlist if ivf else 256))
            sample = _sample(batches(), count, wanted)
            if ivf is not None and len(sample) < ivf.nlist:
                raise RecipeError([f"index kind {self.kind!r}: needs {ivf.nlist} vectors or more, found {len(sample)}"])
            with _few_training_vectors(ivf):
                self.index.train(sample)
        for batch in batches():
            self.add(batch)
        if ivf is not None:
            ivf.nprobe = min(self.nprobe or 16, ivf.nlist)
        return why

    def add(self, vectors: np.ndarray) -> None:
        self.index.add(np.ascontiguousarray(vectors, np.float32))

    def tune(self, recall: Callable[[], float]) -> None:
        ivf = self._ivf()
        if ivf is None or self.nprobe is not None:
            return
        ivf.nprobe = 1
        while recall() < self.target_recall and ivf.nprobe < ivf.nlist:
            ivf.nprobe = min(2 * ivf.nprobe, ivf.nlist)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self.index.search(np.ascontiguousarray(queries, np.float32), k)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        ivf = self._ivf()
        if ivf is not None:
            ivf.make_direct_map()
        return self.index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))

    def save(self, path: Path) -> dict[str, Any]:
        _faiss().write_index(self.index, str(path))
        ivf = self._ivf()
        return {"kind": self.kind} | ({"nprobe": ivf.nprobe} if ivf is not None else {})

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        faiss = _faiss()
        if hasattr(faiss, "set_deserialization_vector_byte_limit"):
            # A length in a hostile file must not make FAISS ask for more memory than the file could fill.
            faiss.set_deserialization_vector_byte_limit(path.stat().st_size + 2**20)
        try:
            self.index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise IdentityError(f"{path}: FAISS cannot read it: {str(error).rpartition(': ')[2]}") from None
        self.kind = settings["kind"]
        if "nprobe" in settings:
            self._ivf().nprobe = settings["nprobe"]

    def _ivf(self) -> Any:
        try:
            return _faiss().extract_index_ivf(self.index)
        except RuntimeError:
            return None


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


def _sample(batches: Iterable[np.ndarray], count: int, wanted: int) -> np.ndarray:
    """About `wanted` vectors, evenly spaced over all (N, D)."""
    step = max(1, count // wanted)
    return np.ascontiguousarray(np.concatenate([batch[::step] for batch in batches]), np.float32)


@contextmanager
def _few_training_vectors(ivf: Any) -> Iterator[None]:
    # FAISS prints a warning to the terminal where there are fewer than 39 a list; small data is not a mistake.
    if ivf is not None:
        ivf.cp.min_points_per_centroid = 1
    yield


@cache
def _faiss() -> Any:
    """FAISS, imported with the matrix kernels that the processor has: a factor of four on new ones (`aekit.openblas`)."""
    faiss, _ = import_with_better_core("faiss", "faiss_cpu.libs")
    # Above so many queries times dimensions FAISS uses the matrix product. Its default of 128000 leaves batches of 16
    # to 999 queries at 128 dimensions on a path that is several times slower.
    faiss.cvar.distance_compute_blas_threshold = min(faiss.cvar.distance_compute_blas_threshold, 2048)
    return faiss
