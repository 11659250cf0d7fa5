"""Index in PostgreSQL with the extension pgvector."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import numpy as np

from aekit.plugin import (
    GRAPH_COUNT,
    BatchFactory,
    DatabaseIndex,
    DataError,
    Field,
    GraphOptions,
    IdentityError,
    RecipeError,
    Similarity,
    importing,
)

CONNECTION = "AEKIT_PGVECTOR"
"""Environment variable with the connection, such as ``postgresql://user@host/database``; libpq's own variables work, too."""
MOST_INDEXED = {"vector": 2000, "halfvec": 4000}
"""Type of a column -> the most dimensions of which pgvector builds an HNSW graph."""
MOST_LISTED = 10_000
"""Most rows whose numbers are listed."""
WIDER = 4
"""Times as many neighbors that a graph which is searched on is asked for."""
MOST_EXPLORED = 1000
"""pgvector's limit on ``hnsw.ef_search``, and with it on the neighbors that a graph returns."""
_OPERATORS = {"cosine": ("<#>", "ip"), "ip": ("<#>", "ip"), "l2": ("<->", "l2")}
"""Metric -> pgvector's operator, and the name of its class of operators. Vectors of the cosine have length 1."""
_GRAPH_MEMORY = """
    SELECT set_config('maintenance_work_mem', greatest(allowed, 2^30)::bigint / 1024 || 'kB', false)
    FROM pg_size_bytes(current_setting('maintenance_work_mem')) AS allowed"""
"""Allow a graph 1 GB of memory, or what the server allows if that is more: one that outgrows it is built much slower."""
_COPY_HEADER, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


class PgVector(DatabaseIndex):
    """Keep vectors in a table of PostgreSQL, and search by pgvector's HNSW graph or by comparing all.

    The file in the index folder holds the name of the table alone. The connection comes from the environment variable
    ``AEKIT_PGVECTOR`` or libpq's (PGHOST, PGDATABASE, PGSERVICE, ...), never from the folder: so no password is written, and
    the index of a stranger connects to no other server. Tables become visible when they are complete.

    Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable small world
    graphs, 2020.
    """

    engine, holder = "pgvector", "table"
    efforts, falls_back = (20, 40, 80, 160, 320, 640, MOST_EXPLORED), True
    connection, libraries = CONNECTION, ("psycopg",)

    def __init__(
        self,
        *,
        storage: Annotated[
            Literal["auto", "vector", "halfvec"],
            Field(description="vector: 32 bits per number; halfvec: 16; auto: 16 only where a graph needs it"),
        ] = "auto",
        **graph: Unpack[GraphOptions],
    ) -> None:
        self.set_options(graph)
        self.storage: str = storage
        self._open: Any = None
        self._effort: tuple[bool, int, bool] | None = None
        self._iterative: bool | None = None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.name, self.metric, self.dim = self.name or self.new_name(), metric, dim
        use_graph, self.storage, reason = choose_storage(self.kind, self.storage, count, dim)
        operator_class = f"{self.storage}_{_OPERATORS[metric][1]}_ops"
        with self.explained(), self._changing() as connection:
            connection.execute(f"CREATE TABLE {self.name} (number int NOT NULL, vector {self.storage}({dim}) NOT NULL)")
            self._copy(connection, batches(), 0)
            connection.execute(f"ALTER TABLE {self.name} ADD PRIMARY KEY (number)")
            if use_graph:
                options = f"m = {self.links}, ef_construction = {max(self.candidates, 2 * self.links)}"
                connection.execute(_GRAPH_MEMORY)
                connection.execute(f"CREATE INDEX ON {self.name} USING hnsw (vector {operator_class}) WITH ({options})")
                self.explored = 40
            connection.execute(f"ANALYZE {self.name}")
            connection.execute(f"COMMENT ON TABLE {self.name} IS 'aekit vectors of {self.digest}'")
        return reason

    def add(self, vectors: np.ndarray) -> None:
        with self.explained(), self._changing() as connection:
            self._copy(connection, iter([vectors]), self.shape()[0])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._nearest_where(queries, k, use_graph=self.explored > 0 and k <= MOST_EXPLORED)

    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(rows) <= MOST_LISTED:  # found by their numbers, and all compared
            return self._nearest_where(queries, k, "WHERE number = ANY(%s)", [rows.tolist()])
        mask = np.zeros(int(rows[-1]) + 1, bool)
        mask[rows] = True
        bits = np.packbits(mask, bitorder="little").tobytes()
        condition = f"WHERE CASE WHEN number < {len(mask)} THEN get_bit(%b::bytea, number) = 1 ELSE false END"
        use_graph = self.explored > 0 and WIDER * k <= MOST_EXPLORED and self._goes_on()
        explored = self.explored_among(k, rows)  # beyond that, the graph is searched on
        scores, nearest = self._nearest_where(queries, k, condition, [bits], use_graph=use_graph, explored=explored)
        short = (nearest < 0).any(1) if use_graph else np.zeros(len(queries), bool)
        if short.any():
            scores[short], nearest[short] = self._nearest_where(queries[short], k, condition, [bits])
        return scores, nearest

    def _goes_on(self) -> bool:
        """Return whether pgvector, from 0.8 on, searches its graph further where a condition leaves out what it found."""
        if self._iterative is None:
            with self.explained():
                statement = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
                (version,) = self._connection().execute(statement).fetchone()
            self._iterative = tuple(int(part) for part in version.split(".")[:2]) >= (0, 8)
        return self._iterative

    def _nearest_where(
        self,
        queries: np.ndarray,
        k: int,
        condition: str = "",
        parameters: Sequence[Any] = (),
        *,
        use_graph: bool = False,
        explored: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        operator = _OPERATORS[self.metric][0]
        goes_on = use_graph and bool(condition)
        limit = WIDER * k if goes_on else k  # as a graph that is searched on finds them in an order of its own
        statement = f"""
            SELECT query.number, hit.number, hit.distance
            FROM unnest(%s::{self.storage}[]) WITH ORDINALITY AS query(vector, number),
            LATERAL (SELECT number, vector {operator} query.vector AS distance FROM {self.name} {condition}
                     ORDER BY vector {operator} query.vector LIMIT {int(limit)}) AS hit"""
        scores, rows = self.no_hits(len(queries), k)
        with self.explained():
            connection = self._connection()
            effort = use_graph, min(max(explored, self.explored, k, 1), MOST_EXPLORED), goes_on
            if effort != self._effort:  # a round trip less for each of many searches that are alike
                scan = "on" if use_graph else "off"
                settings = f"SET enable_indexscan = {scan}; SET hnsw.ef_search = {effort[1]}"
                if goes_on:
                    # The planner cannot know how many rows the condition leaves, nor how few of the graph are enough.
                    settings += "; SET hnsw.iterative_scan = relaxed_order; SET hnsw.max_scan_tuples = 2147483647"
                    settings += "; SET hnsw.scan_mem_multiplier = 100; SET enable_seqscan = off"
                elif self._iterative:
                    settings += "; RESET hnsw.iterative_scan; RESET enable_seqscan"
                connection.execute(settings)
                self._effort = effort
            values = [[_as_text(query) for query in queries], *parameters]
            hits = connection.execute(statement, values).fetchall()
        filled = np.zeros(len(queries), np.int64)
        for number, row, distance in sorted(hits, key=lambda hit: (hit[0], hit[2])):
            place = number - 1, filled[number - 1]
            if place[1] == k:
                continue
            scores[place] = distance**2 if self.metric == "l2" else -distance
            rows[place] = row
            filled[number - 1] += 1
        return scores, rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        wanted = [int(row) for row in rows]
        with self.explained():
            statement = f"SELECT number, vector::real[] FROM {self.name} WHERE number = ANY(%s)"
            by_row = dict(self._connection().execute(statement, [wanted]).fetchall())
        return np.array([by_row[row] for row in wanted], np.float32)

    def shape(self) -> tuple[int, int]:
        with self.explained():
            (count,) = self._connection().execute(f"SELECT count(*) FROM {self.name}").fetchone()
        return count, self.dim

    def save(self, path: Path) -> dict[str, Any]:
        saved = super().save(path)
        with self.explained():
            connection = self._connection()
            connection.commit()
            connection.autocommit = True
        return {"storage": self.storage} | saved

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.read_settings(path, settings)
        try:
            self.storage = {"vector": "vector", "halfvec": "halfvec"}[settings["storage"]]
        except (KeyError, TypeError):
            raise IdentityError(f"{path.parent}: is damaged: settings: expected those of pgvector") from None
        with self.explained():
            if self._connection().execute("SELECT to_regclass(%s)", [self.name]).fetchone()[0] is None:
                raise self.missing(path)

    def kept_digest(self) -> str | None:
        with self.explained():
            statement = "SELECT obj_description(%s::regclass, 'pg_class')"
            comment = self._connection().execute(statement, [self.name]).fetchone()[0] or ""
        return comment.rpartition(" ")[2]

    def drop(self, name: str) -> None:
        with self.explained():
            self._connection().execute(f"DROP TABLE IF EXISTS {name}")

    def _connection(self) -> Any:
        if self._open is None:
            with importing("index engine pgvector: needs psycopg", "pip install 'aekit[pgvector]'"):
                import psycopg
            self._open = psycopg.connect(os.environ.get(CONNECTION, ""), autocommit=True)
            weakref.finalize(self, self._open.close)
        return self._open

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        """Yield the connection in a transaction, which `save` ends: until then nobody else sees the changes."""
        connection = self._connection()
        if connection.autocommit:
            connection.autocommit = False
        if not self._has_extension(connection):
            raise DataError("index engine pgvector: the database has no extension vector: CREATE EXTENSION vector")
        yield connection

    @staticmethod
    def _has_extension(connection: Any) -> bool:
        return connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is not None

    def _copy(self, connection: Any, batches: Iterator[np.ndarray], first: int) -> None:
        """Append batches of vectors (B, D) as the rows from `first` on, in PostgreSQL's binary format."""
        number = "f2" if self.storage == "halfvec" else "f4"
        sizes = [
            ("fields", ">i2"),
            ("number_size", ">i4"),
            ("number", ">i4"),
            ("size", ">i4"),
            ("dim", ">i2"),
            ("_", ">i2"),
        ]
        row = np.dtype([*sizes, ("vector", f">{number}", (self.dim,))])
        with connection.cursor().copy(f"COPY {self.name} (number, vector) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_COPY_HEADER)
            for batch in batches:
                rows = np.zeros(len(batch), row)
                rows["fields"], rows["number_size"], rows["dim"] = 2, 4, self.dim
                rows["size"] = 4 + row["vector"].itemsize
                rows["number"], rows["vector"] = np.arange(first, first + len(batch)), batch
                copy.write(rows.tobytes())
                first += len(batch)
            copy.write(_COPY_END)


def choose_storage(kind: str, storage: str, count: int, dim: int) -> tuple[bool, str, str]:
    """Choose between a graph and comparing all, and the type of the numbers.

    Returns:
        whether to build a graph, the type of the column, and the reason.

    Raises:
        RecipeError: a graph is asked for, and pgvector builds none of so many dimensions.
    """
    if kind == "exact" or (kind == "auto" and count < GRAPH_COUNT):
        reason = "as requested" if kind == "exact" else f"as {count:,} vectors are few enough to compare with each"
        return False, "vector" if storage == "auto" else storage, f"exact, {reason}"
    chosen = storage if storage != "auto" else "vector" if dim <= MOST_INDEXED["vector"] else "halfvec"
    if dim <= MOST_INDEXED[chosen]:
        return True, chosen, f"a graph (HNSW) of {count:,} vectors as {chosen}"
    limit = f"pgvector builds graphs of at most {MOST_INDEXED[chosen]} dimensions as {chosen}"
    if kind == "hnsw":
        raise RecipeError([f"index pgvector: kind = 'hnsw' of {dim} dimensions: {limit}; expected 'exact'"])
    return False, chosen, f"exact, as {limit}"


def _as_text(vector: np.ndarray) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"
