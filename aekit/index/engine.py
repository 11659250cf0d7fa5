"""The contract of index engines, which find the nearest vectors and are plugins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aekit.errors import PluginError
from aekit.index._index_manifest import Similarity as Similarity

BatchFactory = Callable[[], Iterator[np.ndarray]]
"""A function that yields all vectors, as (B, D) float32 batches in the order of their rows."""

MOST_HITS = 10_000_000
"""Most hits that a search among some rows asks for at once."""


class Index(ABC):
    """Engine of nearest-neighbor search. The keyword-only parameters of ``__init__`` are its options; rows count from 0.

    For the cosine metric, vectors and queries have length 1, so that the cosine is the inner product.
    """

    plugin_kind: ClassVar[str] = "index"
    external: ClassVar[bool] = False
    """Whether the vectors are kept outside of the index folder, such as in a database, so that they outlive the process."""

    most_neighbors: ClassVar[int] = 2**31 - 1
    """Most neighbors of a query that a search can return."""

    has_checked_rows: bool = False
    """Whether all rows that its searches can find are known to be below the number of its vectors, or -1."""

    @abstractmethod
    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        """Build the index from `count` vectors of length `dim`, in bounded memory; `batches` may be called several times.

        Returns:
            a phrase that says which kind of index was chosen and why.
        """

    @abstractmethod
    def add(self, vectors: np.ndarray) -> None:
        """Append vectors (N, D) float32 as new rows."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, k) and rows (Q, k) of queries (Q, D) float32, best first; row -1 where fewer were found.

        A score is the inner product, or for ``l2`` the squared distance.
        """

    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, k) and rows (Q, k) as `search`, of the nearest among some rows (R,) alone.

        By default it searches ever deeper until k of them are found, which is slow where they are few. An engine that can leave
        out the others while it searches overrides this.

        Args:
            queries: (Q, D) float32.
            k: number of neighbors.
            rows: (R,) int64, at least one, in ascending order.

        Raises:
            PluginError: a search returns a row twice for one query, so that searching deeper would never end.
        """
        scores = np.zeros((len(queries), k), np.float32)
        nearest = np.full((len(queries), k), -1, np.int64)
        pending = np.arange(len(queries))
        # As deep as k of the rows would lie if they were drawn at random, and a margin.
        depth = 2 * k * -(-(int(rows[-1]) + 1) // len(rows)) + 16
        while len(pending):
            depth, unfinished = min(depth, self.most_neighbors), []
            together = max(1, MOST_HITS // depth)
            for part in np.split(pending, range(together, len(pending), together)):
                part_scores, part_rows = self.search(queries[part], depth)
                if repeats_a_row(part_rows):
                    problem = "returned a row twice for one query; expected row -1 where none is left"
                    raise PluginError(f"{type(self).__name__}.search() {problem}")
                among = np.isin(part_rows, rows)
                order = np.argsort(~among, axis=1, kind="stable")[:, :k]
                scores[part] = np.take_along_axis(part_scores, order, 1)
                nearest[part] = np.where(
                    np.take_along_axis(among, order, 1), np.take_along_axis(part_rows, order, 1), -1
                )
                goes_on = depth < self.most_neighbors
                unfinished.append(part[(among.sum(1) < k) & (part_rows >= 0).all(1) & goes_on])
            pending, depth = np.concatenate(unfinished), 8 * depth
        return scores, nearest

    @abstractmethod
    def save(self, path: Path) -> dict[str, Any]:
        """Write one file; return plain settings that `load` needs in addition."""

    @abstractmethod
    def load(self, path: Path, settings: dict[str, Any]) -> None:
        """Read the file that `save` wrote; its checksum has been verified."""

    @abstractmethod
    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) float32 of rows (N,), as precisely as they are stored."""

    def shape(self) -> tuple[int, int] | None:
        """Return the numbers of rows and dimensions, if the engine knows them; they must be those of the manifest."""
        return None

    def keep_digest(self, digest: str) -> None:  # noqa: B027  (for external engines)
        """Take the digest (64 hex digits) of the encoder, to be kept with the vectors that are built next."""

    def kept_digest(self) -> str | None:
        """Return the digest that is kept with the vectors, or None where they are in the folder."""
        return None

    def begin(self, folder: Path) -> None:  # noqa: B027  (for external engines)
        """Note in a folder where the vectors will be that are built next for it, in case the process is killed."""

    def finish(self, folder: Path) -> None:  # noqa: B027  (for external engines)
        """Delete what replaced or killed builds for a folder have left outside of it; this index is saved there."""

    def tune(self, recall: Callable[[], float]) -> None:  # noqa: B027  (tuning is optional)
        """Adjust how thoroughly it searches; `recall` measures the recall (0..1) with the current settings."""


def repeats_a_row(rows: np.ndarray) -> bool:
    """Return whether rows (Q, k) of a search hold one twice for a query; -1, for none, may be there more often."""
    ordered = np.sort(rows, axis=1)
    return bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any())
