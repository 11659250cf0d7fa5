"""Register the built-in indexes for `aekit_plugins`."""

from __future__ import annotations

from aekit.plugin import Entry, hookimpl

API = 2
"""Version of the plugin API that these plugins were written for."""


@hookimpl
def aekit_register_indexes() -> list[Entry]:
    at = "aekit_plugins.indexes"
    return [
        Entry(
            "faiss",
            f"{at}.faiss_index:Faiss",
            "searches with FAISS, exact or approximate depending on the size of the data",
            API,
        ),
        Entry("pgvector", f"{at}.pgvector_index:PgVector", "keeps vectors in PostgreSQL, in a table of pgvector", API),
        Entry(
            "milvus", f"{at}.milvus_index:Milvus", "keeps vectors in Milvus: a server, or a file of Milvus Lite", API
        ),
        Entry("lancedb", f"{at}.lancedb_index:LanceDb", "keeps vectors in LanceDB: a folder, or object storage", API),
    ]
