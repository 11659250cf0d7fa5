"""Index in Milvus, on a server or in a file of Milvus Lite."""

from __future__ import annotations

import os
import re
import time
import uuid
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from aekit.plugin import BatchFactory, DatabaseIndex, DataError, GraphOptions, Similarity, importing

CONNECTION, TOKEN = "AEKIT_MILVUS", "AEKIT_MILVUS_TOKEN"
"""Environment variables with the address of a server, or a file that ends in .db for Milvus Lite; and with ``user:password``."""
TOGETHER = 1000
"""Vectors that are sent, and queries that are asked, at a time."""
MOST_EXPLORED = 4096
FEW, MOST_COMPARED = 2000, 10_000
"""Rows up to which their vectors are fetched and compared in place of a search in the graph, which finds .60 to .89 of the ten
nearest among 1,000 of 100,000 however many candidates it visits; and most rows that are fetched where the graph finds too few."""
CONNECT_SECONDS = 30
"""Longest wait for a connection to a server."""
STRONG_SECONDS = 10
"""Time after a write, and after an index is opened, in which each search waits until a server has taken in all that was written
before ("Strong": some tenths of a second). Afterwards it need not: it sees what is older than 5 seconds ("Bounded")."""

LEAST_WAIT, ROWS_PER_SECOND = 60.0, 500
"""Seconds to wait at least for the graph of a server, which builds it beside other work, and rows that take another second."""


class Milvus(DatabaseIndex):
    """Keep vectors in a collection of Milvus, and search by its HNSW graph or by comparing all.

    The file in the index folder holds the name of the collection alone, which contains the digest of the encoder. The connection
    comes from the environment variables ``AEKIT_MILVUS`` and ``AEKIT_MILVUS_TOKEN``, never from the folder. A build that fails
    drops its collection; that of a killed build is dropped by the next one for the folder.

    Wang et al., Milvus: a purpose-built vector data management system, 2021.
    """

    engine, holder, pattern = "milvus", "collection", "aekit_([0-9a-f]{64})_[0-9a-f]{32}"
    efforts = (16, 32, 64, 128, 256, 512, 1024, 2048, MOST_EXPLORED)
    most_neighbors = 16_384  # Milvus returns no more
    connection, libraries = CONNECTION, ("pymilvus", "milvus", "grpc")

    def __init__(self, **graph: Unpack[GraphOptions]) -> None:
        self.set_options(graph)
        self._client: Any = None
        self._strong_until = 0.0

    def kept_digest(self) -> str | None:
        match = re.fullmatch(self.pattern, self.name)
        return match[1] if match else None

    def build(self, batches: BatchFactory, count: int, dim: int, metric: Similarity) -> str:
        self.name, self.metric, self.dim = self.name or self.new_name(), metric, dim
        use_graph = self.wants_graph(count)
        self.explored, missing = 64 if use_graph else 0, 0
        with self.explained():
            client = self._connected()
            try:
                self._create(client, use_graph)
                self._insert(client, batches(), 0)
                missing = self._await_graph(client) if use_graph else 0
            except BaseException:
                client.drop_collection(self.name)
                raise
        remark = f"; the graph of the server still lacks {missing:,} of these, which it compares one by one"
        return f"{self.described(count)}{remark if missing else ''}"

    def _create(self, client: Any, use_graph: bool) -> None:
        from pymilvus import DataType

        schema = client.create_schema(auto_id=False)
        schema.add_field("number", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        parameters = client.prepare_index_params()
        kind = {"index_type": "HNSW", "params": {"M": self.links, "efConstruction": self.candidates}}
        chosen: dict[str, Any] = kind if use_graph else {"index_type": "FLAT"}
        parameters.add_index("vector", metric_type="L2" if self.metric == "l2" else "IP", **chosen)
        client.create_collection(
            self.name, schema=schema, index_params=parameters, consistency_level="Strong", timeout=120
        )

    def _insert(self, client: Any, batches: Iterable[np.ndarray], first: int) -> None:
        for batch in batches:
            for start in range(0, len(batch), TOGETHER):
                rows = [
                    {"number": number, "vector": vector}
                    for number, vector in enumerate(batch[start : start + TOGETHER].tolist(), first + start)
                ]
                client.insert(self.name, rows)
            first += len(batch)
        client.flush(self.name)
        client.load_collection(self.name)
        self._strong_until = time.monotonic() + STRONG_SECONDS

    def _await_graph(self, client: Any) -> int:
        """Wait until a server has built its graph, and return how many rows it lacks after a while.

        Until then the server compares the rows one by one: searches are slow, and their recall is not that of the graph.
        """
        start = time.monotonic()
        while True:
            built = client.describe_index(self.name, "vector")
            missing = int(built["pending_index_rows"])
            if not missing or time.monotonic() - start > max(LEAST_WAIT, built["total_rows"] / ROWS_PER_SECOND):
                return missing
            time.sleep(0.5)

    def add(self, vectors: np.ndarray) -> None:
        with self.explained():
            self._insert(self._connected(), [vectors], self.shape()[0])

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._nearest_where(queries, k, "")

    def search_among(self, queries: np.ndarray, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.explored and len(rows) <= FEW:
            return self.compare(queries, k, rows)
        condition = self.number_condition(rows, "[]")
        if not condition:
            return super().search_among(queries, k, rows)
        scores, nearest = self._nearest_where(queries, k, condition, self.explored_among(k, rows))
        short = (nearest >= 0).sum(1) < min(k, len(rows))  # the graph of Milvus Lite loses its way among few rows
        if short.any():
            search = self.compare if len(rows) <= MOST_COMPARED else super().search_among
            scores[short], nearest[short] = search(queries[short], k, rows)
        return scores, nearest

    def _nearest_where(
        self, queries: np.ndarray, k: int, condition: str, explored: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self.no_hits(len(queries), k)
        parameters = {"params": {"ef": min(max(explored, self.explored, k), MOST_EXPLORED)}} if self.explored else {}
        options: dict[str, Any] = {"limit": k, "search_params": parameters, "output_fields": ["number"]}
        options["consistency_level"] = "Strong" if time.monotonic() < self._strong_until else "Bounded"
        with self.explained():
            client = self._connected()
            for start in range(0, len(queries), TOGETHER):
                hits = client.search(self.name, queries[start : start + TOGETHER].tolist(), condition, **options)
                for query, nearest in enumerate(hits, start):
                    rows[query, : len(nearest)] = [hit["number"] for hit in nearest]
                    scores[query, : len(nearest)] = [hit["distance"] for hit in nearest]
        return scores, rows

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        wanted = [int(row) for row in rows]
        with self.explained():
            distinct, client = sorted(set(wanted)), self._connected()
            by_row = {
                record["number"]: record["vector"]
                for start in range(0, len(distinct), TOGETHER)
                for record in client.get(
                    self.name, distinct[start : start + TOGETHER], output_fields=["number", "vector"]
                )
            }
        return np.array([by_row[row] for row in wanted], np.float32)

    def shape(self) -> tuple[int, int]:
        with self.explained():
            records = self._connected().query(self.name, filter="number >= 0", output_fields=["count(*)"])
        return records[0]["count(*)"], self.dim

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        self.read_settings(path, settings)
        with self.explained():
            if not self._connected().has_collection(self.name):
                raise self.missing(path)
            self._connected().load_collection(self.name)
        self._strong_until = time.monotonic() + STRONG_SECONDS

    def new_name(self) -> str:
        return f"aekit_{self.digest}_{uuid.uuid4().hex}"

    def drop(self, name: str) -> None:
        with self.explained():
            if self._connected().has_collection(name):
                self._connected().drop_collection(name)

    def _connected(self) -> Any:
        if self._client is None:
            address = os.environ.get(CONNECTION, "")
            if not address:
                raise DataError(
                    f"index engine milvus: set {CONNECTION} to the address of a server, or to a file FILE.db"
                )
            with importing("index engine milvus: needs pymilvus", "pip install 'aekit[milvus]'"):
                from pymilvus import MilvusClient
            self._client = MilvusClient(address, token=os.environ.get(TOKEN, ""), timeout=CONNECT_SECONDS)
            weakref.finalize(self, self._client.close)
        return self._client
