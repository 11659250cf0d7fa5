"""Base of the engines that keep vectors in a database: the content of the folder, and messages when the database fails."""

from __future__ import annotations

import json
import re
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict, get_args

import numpy as np

from aekit.errors import AekitError, DataError, IdentityError, first_line
from aekit.index.engine import Index, Similarity
from aekit.io.atomic import write_text
from aekit.registry.options import Field

UNFINISHED = "index.unfinished"
"""File of a folder with the names of the tables or collections of builds that have not finished, a line each."""
MOST_RANGES, MOST_LISTED = 50, 10_000
"""Most ranges of rows, and most single rows, that a condition names."""
WIDER = 4
"""Times as many candidates that a search among some rows visits."""
GRAPH_COUNT = 20_000
"""Vectors from which a graph is built."""
_KIND = "hnsw: a graph; exact: compare all; auto: a graph from 20,000 vectors on"


class GraphOptions(TypedDict, total=False):
    """Options of databases that search by a graph (HNSW)."""

    kind: Annotated[Literal["auto", "hnsw", "exact"], Field(default="auto", description=_KIND)]
    links: Annotated[int, Field(default=16, ge=2, le=64, description="links of a node in a layer of the graph")]
    candidates: Annotated[
        int, Field(default=128, ge=8, le=512, description="candidates considered while the graph is built")
    ]
    target_recall: Annotated[
        float, Field(default=0.95, gt=0, le=1, description="recall of the ten nearest neighbors to reach")
    ]


class DatabaseIndex(Index):
    """Keep vectors in a database. The file in the index folder holds the name of a table or collection alone, never the
    connection: so no password is written, and the index of a stranger connects to no other server.

    Attributes:
        kind, links, candidates, target_recall: as `GraphOptions`.
        explored: candidates of the graph that a search visits; 0 without a graph.
        metric, dim: similarity and dimensions of the vectors.
        name: name of the table or collection.
        digest: digest of the encoder, which is kept with the vectors.
    """

    external = True
    engine: ClassVar[str]
    """Name of the plugin."""
    holder: ClassVar[str]
    """What a name names: ``table`` or ``collection``."""
    pattern: ClassVar[str] = "aekit_[0-9a-f]{32}"
    """Regular expression of the names that aekit gives."""
    efforts: ClassVar[tuple[int, ...]]
    """Candidates of the graph that are tried until the recall is reached, in ascending order."""
    falls_back: ClassVar[bool] = False
    """Whether all vectors are compared if no effort reaches the recall."""
    connection: ClassVar[str]
    """Environment variable of the connection."""
    libraries: ClassVar[tuple[str, ...]]
    """Packages whose errors are those of the database."""
    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors of Python that stand for those of the database."""

    metric: Similarity = "cosine"
    dim: int = 0
    explored: int = 0
    name: str = ""
    digest: str = "0" * 64

    def set_options(self, options: GraphOptions) -> None:
        """Set the options, and defaults for those that are missing."""
        self.kind: str = options.get("kind", "auto")
        self.links, self.candidates = options.get("links", 16), options.get("candidates", 128)
        self.target_recall = options.get("target_recall", 0.95)

    def wants_graph(self, count: int) -> bool:
        """Return whether to build a graph of this many vectors."""
        return self.kind == "hnsw" or (self.kind == "auto" and count >= GRAPH_COUNT)

    def keep_digest(self, digest: str) -> None:
        self.digest = digest

    def described(self, count: int) -> str:
        """Return a phrase that says how this many vectors are searched."""
        if self.explored:
            return f"a graph (HNSW) of {count:,} vectors"
        return f"exact, comparing with each of {count:,} vectors"

    def tune(self, recall: Callable[[], float]) -> None:
        if not self.explored:
            return
        for effort in self.efforts:
            self.explored = effort
            if recall() >= self.target_recall:
                return
        self.explored = 0 if self.falls_back else self.explored

    def save(self, path: Path) -> dict[str, Any]:
        self.write_name(path)
        return {"explored": self.explored, "metric": self.metric, "dim": self.dim}

    def read_settings(self, path: Path, settings: dict[str, Any]) -> None:
        """Take the name in the file of a folder, and the settings that `save` returned.

        Raises:
            IdentityError: they are not those of this engine.
        """
        self.name = self.read_name(path.read_bytes(), path)
        try:
            self.metric = {name: name for name in get_args(Similarity)}[settings["metric"]]
            self.explored, self.dim = int(settings["explored"]), int(settings["dim"])
        except (KeyError, TypeError, ValueError):
            raise IdentityError(f"{path.parent}: is damaged: settings: expected those of {self.engine}") from None

    def write_name(self, path: Path) -> None:
        """Write the file of the folder."""
        path.write_text(json.dumps({self.holder: self.name}) + "\n", "utf-8")

    def read_name(self, content: bytes, place: Path) -> str:
        """Return the name in the content of the file of a folder.

        Raises:
            IdentityError: it holds no name that aekit gives.
        """
        try:
            name = json.loads(content)[self.holder]
        except (ValueError, KeyError, TypeError):
            name = None
        if not isinstance(name, str) or not re.fullmatch(self.pattern, name):
            raise IdentityError(f"{place}: is damaged: names no {self.holder} of aekit; build the index again")
        return name

    def missing(self, path: Path) -> IdentityError:
        """Return the error for a name that the database does not know."""
        return IdentityError(f"{path.parent}: the database has no {self.holder} {self.name}; build the index again")

    def begin(self, folder: Path) -> None:
        names = self._noted(folder)
        with suppress(IdentityError, FileNotFoundError):
            path = folder / f"index.{self.engine}"
            names.append(self.read_name(path.read_bytes(), path))
        self.name = self.new_name()
        write_text(folder / UNFINISHED, "".join(f"{json.dumps({self.holder: name})}\n" for name in [*names, self.name]))

    def finish(self, folder: Path) -> None:
        for name in self._noted(folder):
            if name != self.name:
                self.drop(name)
        (folder / UNFINISHED).unlink(missing_ok=True)

    def _noted(self, folder: Path) -> list[str]:
        """Return the names that a folder notes of builds that have not finished."""
        path = folder / UNFINISHED
        lines = path.read_bytes().splitlines() if path.is_file() else []
        names = []
        for line in lines:
            with suppress(IdentityError):  # of another engine
                names.append(self.read_name(line, path))
        return names

    def no_hits(self, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, k) worse than any, and rows (Q, k) of -1, which a search of `count` queries fills."""
        worst = np.inf if self.metric == "l2" else -np.inf
        return np.full((count, k), worst, np.float32), np.full((count, k), -1, np.int64)

    def explored_among(self, k: int, rows: np.ndarray) -> int:
        """Return how many candidates of a graph to visit for `k` neighbors among rows (R,), as if these were drawn at random."""
        return WIDER * max(self.explored, k) * -(-(int(rows[-1]) + 1) // len(rows))

    def compare(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows as `search_among`, from the vectors of a few rows (R,), which are read and compared here."""
        vectors = self.vectors(rows)
        if self.metric == "l2":  # in float32, differences of large squares would leave nothing of a small distance
            queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
        similarity = queries @ vectors.T
        if self.metric == "l2":
            similarity = 2 * similarity - (vectors**2).sum(1)  # less the square of the query, which orders nothing
        few = min(k, len(rows))
        places = np.sort(np.argpartition(-similarity, few - 1, axis=1)[:, :few], axis=1)
        order = np.argsort(-np.take_along_axis(similarity, places, 1), axis=1, kind="stable")
        places = np.take_along_axis(places, order, 1)
        best = np.take_along_axis(similarity, places, 1)
        scores, nearest = self.no_hits(len(queries), k)
        scores[:, :few] = ((queries**2).sum(1, keepdims=True) - best).clip(0) if self.metric == "l2" else best
        nearest[:, :few] = rows[places]
        return scores, nearest

    def number_condition(self, rows: np.ndarray, brackets: str) -> str:
        """Return a condition of SQL on ``number`` for rows (R,) in ascending order, or ``""`` where it would be too long.

        Args:
            rows: (R,) int64.
            brackets: around a list of numbers.
        """
        ends = np.flatnonzero(np.diff(rows, append=np.iinfo(np.int64).max) > 1)
        if len(ends) <= MOST_RANGES:
            ranges = zip(rows[np.concatenate([[0], ends[:-1] + 1])].tolist(), rows[ends].tolist())
            return " or ".join(f"(number >= {first} and number <= {last})" for first, last in ranges)
        listed = len(rows) <= MOST_LISTED
        return f"number in {brackets[0]}{','.join(map(str, rows.tolist()))}{brackets[1]}" if listed else ""

    def new_name(self) -> str:
        """Return a name for a new table or collection, which matches `pattern`."""
        return f"aekit_{uuid.uuid4().hex}"

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a table or collection, if it is there."""

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database into one line.

        Raises:
            DataError: the server cannot be reached, refuses the user, or fails.
        """
        try:
            yield
        except Exception as error:
            of_database = type(error).__module__.startswith(self.libraries) or isinstance(error, self.errors)
            if isinstance(error, AekitError) or not of_database:
                raise
            advice = f"is {self.connection} right?"
            raise DataError(f"index engine {self.engine}: {first_line(error)}; {advice}") from None
