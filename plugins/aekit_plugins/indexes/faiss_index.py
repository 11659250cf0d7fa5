"""FAISS index, with its kind chosen by the size of the data and faster matrix kernels on new processors.

Search in a forked child hangs once the parent has searched: start workers by spawn, or set
``faiss.omp_set_num_threads(1)`` in the child.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from aekit.plugin import (
    FAISS_PARTS,
    BatchFactory,
    DataError,
    Field,
    IdentityError,
    Index,
    RecipeError,
    Similarity,
    check_faiss_index,
    import_with_better_core,
)

TRAINING_PER_LIST = 64
"""Training vectors for each center of k-means; FAISS warns below 39."""
EF_CONSTRUCTION = 200
"""HNSW's efConstruction. FAISS's default of 40 fails on clustered vectors, which trained encoders produce."""
MEMORY_MAP_BYTES = 2**30
"""Size from which a file is mapped into memory instead of read."""
EFFORTS, MAX_EFFORT = ("nprobe", "k_factor_rf", "efSearch"), 2**20
"""Settings of a search that a manifest may hold, and their largest value."""
FEWEST_LISTED, MOST_EXACT = 20_000, 3_000_000
"""Fewer vectors, or up to so many numbers, which a core reads in a millisecond, are compared with every query."""
FEWEST_APPROXIMATE = 64_000
"""Numbers of all vectors from which lists are faster than comparing all, for a single query and for many."""
USUAL_RECALL = 0.95
MOST_COMPARED = 2**23
"""Most numbers of selected rows that are compared one by one, without the lists or the graph of the index."""
MOST_VISITED = 2048
"""Most nodes of a graph that a search visits; its list of them is slow when long."""
WIDER = 4
"""Times as many lists, or nodes of a graph, that a search among some rows visits next."""


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
            float | None,
            Field(
                gt=0,
                le=1,
                description="recall of the ten nearest neighbors to reach; by default 0.95, and exact search of up to 20,000 "
                "vectors, which a recall below 1 replaces by a faster one",
            ),
        ] = None,
    ) -> None:
        self.kind, self.nprobe = kind, nprobe
        self.is_approximate = target_recall is not None and target_recall < 1
        self.target_recall = USUAL_RECALL if target_recall is None else target_recall
        self.effort: dict[str, int] = {}
        self.mapped: Path | None = None
        self.index: Any = None
        self.count, self.dim, self._search_pointers = 0, 0, None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        faiss, note = _faiss()
        reason = "as requested"
        if self.kind == "auto":
            self.kind, reason = choose_kind(count, dim, is_approximate=self.is_approximate)
        faiss_metric = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        try:
            self.index = faiss.index_factory(dim, self.kind, faiss_metric)
            if (name := type(faiss.downcast_index(self.index)).__name__) not in FAISS_PARTS:
                raise RecipeError([f"index kind {self.kind!r}: aekit cannot reopen a {name}; expected another kind"])
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
        step = max(1, count // max(65_536, TRAINING_PER_LIST * ivf.nlist if ivf else 0))
        if ivf:
            ivf.cp.min_points_per_centroid = 1  # silence FAISS's warning below 39: small data is fine
        self.index.train(np.ascontiguousarray(np.concatenate([batch[::step] for batch in batches])))

    def add(self, vectors: np.ndarray) -> None:
        if self.mapped:  # FAISS aborts the process when vectors are added to a mapped index
            self._read(self.mapped, 0)
        self.index.add(np.ascontiguousarray(vectors, np.float32))
        self._note_size()

    def tune(self, recall: Callable[[], float]) -> None:
        for effort in self._efforts():
            self.effort = effort
            self._set_effort()
            if recall() >= self.target_recall:
                return

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        few = min(k, self.count)  # FAISS never returns from an NSG that is asked for more
        scores, rows = self._without_wrapper(queries, few) if len(queries) == 1 else self.index.search(queries, few)
        if few == k:
            return scores, rows
        worst = np.inf if self.index.metric_type == _faiss()[0].METRIC_L2 else -np.inf
        missing = ((0, 0), (0, k - few))
        return np.pad(scores, missing, constant_values=worst), np.pad(rows, missing, constant_values=-1)

    def _without_wrapper(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search for a query (1, D) without FAISS's wrapper, which takes an eighth of the time to look at its arguments."""
        is_plain = query.shape == (1, self.dim) and query.dtype == np.float32 and query.flags.c_contiguous
        if not is_plain or k < 1 or self._search_pointers is None:
            return self.index.search(query, k)
        scores, rows = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
        pointer = _faiss()[0].swig_ptr
        self._search_pointers(1, pointer(query), k, pointer(scores), pointer(rows))
        return scores, rows

    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        faiss, _ = _faiss()
        queries, mask = np.ascontiguousarray(queries, np.float32), np.zeros(self.index.ntotal, bool)
        mask[rows] = True
        selection = Selection(rows, faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")))
        try:
            if len(rows) * self.index.d <= MOST_COMPARED:
                return _compare_all(faiss, self.index, queries, k, selection)
            return self._search_wider(queries, k, selection)
        except RuntimeError:  # FAISS searches some kinds as a whole alone
            return super().search_among(queries, k, rows)

    def _search_wider(self, queries: np.ndarray, k: int, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
        """Search more lists, or more of a graph, than for all rows, until that changes nothing for a query.

        The rows of a label are often together, and far from a query: then its neighbors are in other lists than its nearest ones.
        """
        faiss, _ = _faiss()
        most = _most_effort(faiss, self.index)
        usual = max(self.effort.get("nprobe", 1), self.effort.get("efSearch", 1))
        effort = min(most, max(k, usual * -(-self.index.ntotal // len(selection.rows)) if most > 1 else 1))
        scores, nearest = self.index.search(queries, k, params=_parameters(faiss, self.index, selection, effort))
        pending = np.arange(len(queries))
        while len(pending) and effort < most:
            effort = min(most, WIDER * effort)
            parameters = _parameters(faiss, self.index, selection, effort)
            wider_scores, wider = self.index.search(queries[pending], k, params=parameters)
            changed = (wider != nearest[pending]).any(1) | (wider < 0).any(1)
            scores[pending], nearest[pending] = wider_scores, wider
            pending = pending[changed]
        if len(pending) and hasattr(_searched(faiss, self.index), "hnsw"):
            scores[pending], nearest[pending] = _compare_all(faiss, self.index, queries[pending], k, selection)
        return scores, nearest

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        ivf = _faiss()[0].try_extract_index_ivf(self.index)
        if ivf and ivf.direct_map.no():
            ivf.make_direct_map()
        try:
            return self.index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))
        except RuntimeError:
            raise DataError(f"index kind {self.kind!r} stores no vectors: search by file, not by id") from None

    def shape(self) -> tuple[int, int]:
        return self.index.ntotal, self.index.d

    def save(self, path: Path) -> dict[str, Any]:
        faiss, _ = _faiss()
        # FAISS itself only prints a line if the disk is full when it closes the file.
        with path.open("wb") as file:
            faiss.write_index(self.index, faiss.PyCallbackIOWriter(file.write))
        return {"kind": self.kind, **self.effort}

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        faiss, _ = _faiss()
        if not isinstance(settings.get("kind"), str):
            raise IdentityError(f"{path.parent}: is damaged: settings: have no 'kind'; build the index again")
        # Only inverted lists can be mapped; FAISS reads other kinds in full.
        large = path.stat().st_size >= MEMORY_MAP_BYTES and "IVF" in settings["kind"]
        self._read(path, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if large else 0)
        self.kind, self.effort = settings["kind"], {k: v for k, v in settings.items() if k != "kind"}
        for name, value in self.effort.items():
            if name not in EFFORTS or type(value) is not int or not 1 <= value <= MAX_EFFORT:
                raise IdentityError(f"{path.parent}: is damaged: settings: {name!r:.100} = {value!r:.100}")
        self._set_effort()

    def _read(self, path: Path, flags: int) -> None:
        faiss, _ = _faiss()
        if hasattr(faiss, "set_deserialization_vector_byte_limit"):
            # Keep a length in a malicious file from making FAISS allocate more memory than the file could fill.
            faiss.set_deserialization_vector_byte_limit(path.stat().st_size + 2**20)
        try:
            # A file that the index names is looked for beside it, and then refused, so that none elsewhere is opened.
            index = faiss.read_index(str(path), flags | faiss.IO_FLAG_ONDISK_SAME_DIR)
        except RuntimeError as error:
            raise IdentityError(f"{path}: FAISS cannot read it: {str(error).strip().rpartition(': ')[2]}") from None
        check_faiss_index(faiss, index, path, mapped=bool(flags))
        self.index, self.mapped = index, path if flags else None
        self._note_size()

    def _note_size(self) -> None:
        """Note what each search needs; FAISS takes a third of a microsecond to answer, a search of one query ten."""
        self.count, self.dim = self.shape()
        self.has_checked_rows = self.mapped is None  # by FAISS, or when they were read; a mapped file is not read
        self._search_pointers = getattr(self.index, "search_c", None)

    def _efforts(self) -> Iterator[dict[str, int]]:
        """Yield search settings from the fastest on, in steps of at most a quarter."""
        steps = [1, 2, 3, *(n << power for power in range(15) for n in (4, 5, 6, 7))]
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


class Selection(NamedTuple):
    """Rows (R,) to search among, and FAISS's selector of them."""

    rows: np.ndarray
    selector: Any


def _compare_all(
    faiss: Any, index: Any, queries: np.ndarray, k: int, selection: Selection
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the queries with each selected row, as precisely as the index stores it.

    Raises:
        RuntimeError: FAISS searches this kind as a whole alone.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        for number in range(index.chain.size()):
            queries = index.chain.at(number).apply(queries)
        return _compare_all(faiss, index.index, queries, k, selection)
    if isinstance(index, faiss.IndexRefine):
        return _compare_all(faiss, index.refine_index, queries, k, selection)
    if hasattr(index, "hnsw"):  # a graph loses its way among few rows
        return _compare_all(faiss, index.storage, queries, k, selection)
    if isinstance(index, faiss.IndexFlat):  # a matrix product
        vectors = index.reconstruct_batch(selection.rows)
        scores, places = faiss.knn(queries, vectors, k, metric=index.metric_type)
        return scores, np.where(places < 0, -1, selection.rows[places])
    parameters = _parameters(faiss, index, selection, _most_effort(faiss, index))
    return index.search(queries, k, params=parameters)


def _most_effort(faiss: Any, index: Any) -> int:
    """Return the number of its lists, or the most nodes of its graph to visit; 1 for an index that compares all."""
    index = _searched(faiss, index)
    return index.nlist if hasattr(index, "invlists") else MOST_VISITED if hasattr(index, "hnsw") else 1


def _searched(faiss: Any, index: Any) -> Any:
    """Return the part of an index that finds candidates."""
    index = faiss.downcast_index(index)
    for kind, part in ((faiss.IndexPreTransform, "index"), (faiss.IndexRefine, "base_index")):
        if isinstance(index, kind):
            return _searched(faiss, getattr(index, part))
    return index


def _parameters(faiss: Any, index: Any, selection: Selection, effort: int) -> Any:
    """Return the parameters of a search among selected rows that visits `effort` lists or nodes."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_parameters(faiss, index.index, selection, effort))
    if isinstance(index, faiss.IndexRefine):
        base = _parameters(faiss, index.base_index, selection, effort)
        return faiss.IndexRefineSearchParameters(k_factor=WIDER * index.k_factor, base_index_params=base)
    if hasattr(index, "invlists"):
        return faiss.SearchParametersIVF(sel=selection.selector, nprobe=effort)
    if hasattr(index, "hnsw"):
        return faiss.SearchParametersHNSW(sel=selection.selector, efSearch=effort)
    return faiss.SearchParameters(sel=selection.selector)


def choose_kind(count: int, dim: int, *, is_approximate: bool = False) -> tuple[str, str]:
    """Choose an index by measurements at 64 and 128 dimensions, scaled by size.

    Up to 20,000 vectors, and more short ones, are compared with each, as exactness is worth the milliseconds of a query.

    Args:
        count, dim: number of vectors, and of their dimensions.
        is_approximate: whether the user asked for a recall below 1, for which lists are faster.

    Returns:
        The FAISS factory string, and the reason.

    Raises:
        RecipeError: there are too many vectors for one machine.
    """
    scaled_count = count * max(dim, 1) / 128
    few = count * dim <= FEWEST_APPROXIMATE if is_approximate else count < FEWEST_LISTED or count * dim <= MOST_EXACT
    if few:
        return "Flat", f"exact, as {count:,} vectors of {dim} dimensions are few enough to compare with each"
    few_lists = min(4096, 2 ** round(math.log2(2 * count**0.5)))
    for limit, lists, storage, precision in (
        (3e6, few_lists, "SQfp16", "half precision"),
        (3e7, 16384, "SQfp16", "half precision"),
        (3e8, 65536, "SQ8", "8 bits"),
    ):
        if scaled_count <= limit:
            while lists * 39 > count:  # keep enough vectors to train each list
                lists //= 2
            return f"IVF{lists},{storage}", f"{lists} lists at {precision} for {count:,} vectors of {dim} dimensions"
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
