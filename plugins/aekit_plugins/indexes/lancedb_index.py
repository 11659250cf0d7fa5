"""Index in LanceDB, in a folder or in object storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import pyarrow as pa

from aekit.plugin import BatchFactory, DatabaseIndex, DataError, GraphOptions, Similarity, importing

CONNECTION = "AEKIT_LANCEDB"
"""Environment variable with the folder of the database, or its address such as ``s3://bucket/vectors``."""
TOGETHER = 1000
"""Queries that are asked at a time."""
MOST_EXPLORED = 2048
MOST_LISTED, MOST_TAKEN = 10_000, 2**24
"""Most rows, and most of their numbers, that are read to be compared here."""
_DIGEST = b"aekit.digest"


class LanceDb(DatabaseIndex):
    """Keep vectors in a table of LanceDB, and search by its HNSW graph or by comparing all.

    The file in the index folder holds the name of the table alone. The place of the database comes from the environment variable
    ``AEKIT_LANCEDB``, never from the folder. The digest of the encoder is in the metadata of the table's schema. A build that
    fails drops its table; that of a killed build is dropped by the next one for the folder.

    Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable small world
    graphs, 2020.
    """

    engine, holder = "lancedb", "table"
    efforts = (16, 32, 64, 128, 256, 512, 1024, MOST_EXPLORED)
    connection, libraries, errors = CONNECTION, ("lancedb",), (RuntimeError, ValueError, OSError)

    def __init__(self, **graph: Unpack[GraphOptions]) -> None:
        self.set_options(graph)
        self._database: Any = None
        self._table: Any = None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.name, self.metric, self.dim = self.name or self.new_name(), metric, dim
        use_graph = self.wants_graph(count)
        schema = pa.schema(
            [pa.field("number", pa.int64(), nullable=False), pa.field("vector", pa.list_(pa.float32(), dim))],
            metadata={_DIGEST: self.digest.encode()},
        )
        with self.explained():
            database = self._connected()
            try:
                rows = pa.RecordBatchReader.from_batches(schema, self._record_batches(batches(), 0, schema))
                self._table = database.create_table(self.name, rows)
                if use_graph:
                    self._add_graph()
            except BaseException:
                database.drop_table(self.name, ignore_missing=True)
                raise
        return self.described(count)

    def _add_graph(self) -> None:
        from lancedb.index import HnswFlat

        sizes = {"m": self.links, "ef_construction": self.candidates}
        self._table.create_index("vector", config=HnswFlat(distance_type=self._distance(), num_partitions=1, **sizes))
        self.explored = 64

    def add(self, vectors: np.ndarray) -> None:
        with self.explained():
            schema, first = self._table.schema, self._table.count_rows()
            self._table.add(pa.Table.from_batches(self._record_batches(iter([vectors]), first, schema)))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._nearest_where(queries, k, "")

    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # LanceDB takes far longer to find rows by a list of their numbers.
        if len(rows) <= MOST_LISTED and len(rows) * self.dim <= MOST_TAKEN:
            return self.compare(queries, k, rows)
        condition = self.number_condition(rows, "()")
        return self._nearest_where(queries, k, condition) if condition else super().search_among(queries, k, rows)

    def _nearest_where(self, queries: np.ndarray, k: int, condition: str) -> tuple[np.ndarray, np.ndarray]:
        scores, nearest = self.no_hits(len(queries), k)
        for start in range(0, len(queries), TOGETHER):
            part = queries[start : start + TOGETHER]
            with self.explained():
                search = self._table.search(list(part), query_type="vector").distance_type(self._distance()).limit(k)
                if condition:
                    search = search.where(condition, prefilter=True)
                # Among some rows all are compared: a graph loses its way among few.
                if condition or not self.explored or k > MOST_EXPLORED:
                    search = search.bypass_vector_index()
                else:
                    search = search.nprobes(1).ef(max(self.explored, k))
                hits = search.select(["number", "_distance"]).to_arrow()
            one = len(part) == 1  # then LanceDB does not number the queries
            numbers = np.zeros(len(hits), np.int64) if one else hits["query_index"].to_numpy()
            distances = hits["_distance"].to_numpy()
            order = np.lexsort((distances, numbers))
            numbers, distances = numbers[order], distances[order]
            places = start + numbers, np.arange(len(numbers)) - np.searchsorted(numbers, numbers)
            scores[places] = distances if self.metric == "l2" else 1 - distances
            nearest[places] = hits["number"].to_numpy()[order]
        return scores, nearest

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        distinct, places = np.unique(rows, return_inverse=True)
        by_number = np.empty((len(distinct), self.dim), np.float32)
        for start in range(0, len(distinct), MOST_LISTED):
            numbers = distinct[start : start + MOST_LISTED]
            with self.explained():
                # Rows lie in the order of their numbers, as they are only ever appended.
                records = self._table.take_offsets(numbers.tolist()).select(["number", "vector"]).to_arrow()
                known = records["number"].to_numpy()
                if not np.array_equal(np.sort(known), numbers):
                    raise ValueError("the rows of its table are not in the order in which aekit wrote them")
            values = records["vector"].combine_chunks().flatten().to_numpy()
            by_number[np.searchsorted(distinct, known)] = values.reshape(-1, self.dim)
        return by_number[places]

    def shape(self) -> tuple[int, int]:
        with self.explained():
            return self._table.count_rows(), self.dim

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.read_settings(path, settings)
        with self.explained():
            database = self._connected()
            try:
                self._table = database.open_table(self.name)
            except ValueError as error:
                if "not found" not in str(error):
                    raise
                raise self.missing(path) from None

    def kept_digest(self) -> str | None:
        with self.explained():
            return (self._table.schema.metadata or {}).get(_DIGEST, b"").decode("ascii", "replace")

    def drop(self, name: str) -> None:
        with self.explained():
            self._connected().drop_table(name, ignore_missing=True)

    def _distance(self) -> Literal["l2", "dot"]:
        return "l2" if self.metric == "l2" else "dot"

    def _connected(self) -> Any:
        if self._database is None:
            place = os.environ.get(CONNECTION, "")
            if not place:
                raise DataError(
                    f"index engine lancedb: set {CONNECTION} to a folder, or to an address such as s3://bucket/vectors"
                )
            with importing("index engine lancedb: needs lancedb", "pip install 'aekit[lancedb]'"):
                import lancedb
            self._database = lancedb.connect(place)
        return self._database

    @staticmethod
    def _record_batches(batches: Iterator[np.ndarray], first: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            flat = pa.array(np.ascontiguousarray(batch, np.float32).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, batch.shape[1])
            numbers = pa.array(np.arange(first, first + len(batch), dtype=np.int64))
            yield pa.RecordBatch.from_arrays([numbers, vectors], schema=schema)
            first += len(batch)
