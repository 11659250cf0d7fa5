"""Neighbors that a search found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from aekit.io.arrow import arrow_numbers
from aekit.io.summaries import MAX_ROWS, data_frame, html_summary
from aekit.io.text_table import format_columns


class Hits(tuple[Any, ...]):
    """The neighbors of Q queries, best first; it unpacks as ``scores, rows = hits``, and after `VectorIndex.search_data` as
    ``names, scores, rows = hits``.

    Attributes:
        queries: Q ids of the queries, or their numbers as text.
        scores: (Q, k) scores, where higher is nearer (for ``l2`` the squared distance, where lower is nearer).
        rows: (Q, k) rows of the index; -1 where fewer were found.
        ids: (Q, k) ids of the neighbors; None where fewer were found.
        labels: (Q, k) labels of the neighbors, or None if the index has none; `records` has further columns.
        splits: (Q, k) splits of the neighbors, or None if the index has none.
    """

    _found: tuple[Sequence[str] | None, np.ndarray, np.ndarray, pa.Table]

    @classmethod
    def of(
        cls,
        queries: Sequence[str] | None,
        scores: np.ndarray,
        rows: np.ndarray,
        metadata: pa.Table,
        *,
        named: bool = False,
    ) -> Hits:
        """Make hits.

        Args:
            queries: Q ids; None: their numbers.
            scores: (Q, k).
            rows: (Q, k) rows of `metadata`.
            metadata: a row for each vector of the index: id, and label, split and further columns where present.
            named: whether the ids of the queries, which are given, are unpacked too.
        """
        hits = cls((list(queries or ()), scores, rows) if named else (scores, rows))
        hits._found = queries, scores, rows, metadata  # what else they have is made when it is asked for
        return hits

    @cached_property
    def queries(self) -> list[str]:
        """Q ids of the queries, or their numbers as text."""
        names = self._found[0]
        return [str(number) for number in range(len(self._found[1]))] if names is None else list(names)

    @property
    def scores(self) -> np.ndarray:
        """(Q, k) scores."""
        return self._found[1]

    @property
    def rows(self) -> np.ndarray:
        """(Q, k) rows of the index; -1 where fewer were found."""
        return self._found[2]

    @property
    def _metadata(self) -> pa.Table:
        return self._found[3]

    def __eq__(self, other: object) -> bool:  # as a tuple it would compare arrays, and raise
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    def __getnewargs__(self) -> tuple[tuple[Any, ...]]:
        return (tuple(self),)

    @cached_property
    def ids(self) -> np.ndarray:
        """(Q, k) ids of the neighbors; None where fewer were found."""
        ids = self._values("id")
        assert ids is not None
        return ids

    @cached_property
    def labels(self) -> np.ndarray | None:
        """(Q, k) labels of the neighbors, or None if the index has none."""
        return self._values("label")

    @cached_property
    def splits(self) -> np.ndarray | None:
        """(Q, k) splits of the neighbors, or None if the index has none."""
        return self._values("split")

    def _values(self, column: str) -> np.ndarray | None:
        """Return the values (Q, k) of a column, None where there is no neighbor."""
        if column not in self._metadata.column_names:
            return None
        known = self._metadata[column].take(arrow_numbers(np.maximum(self.rows, 0).ravel()))
        values = np.empty(self.rows.size, object)
        values[:] = known.to_pylist()
        values[self.rows.ravel() < 0] = None
        return values.reshape(self.rows.shape)

    def records(self) -> list[dict[str, Any]]:
        """Return a record of each neighbor: ``query``, ``rank`` from 1, ``id``, ``score``, and ``label``, ``split`` and further
        columns where the index has them."""
        names = [name for name in self._metadata.column_names if name not in ("id", "hash", "label", "split")]
        columns = {"label": self.labels, "split": self.splits} | {name: self._values(name) for name in names}
        return [
            {"query": query, "rank": place + 1, "id": self.ids[number, place], "score": float(score)}
            | {name: values[number, place] for name, values in columns.items() if values is not None}
            for number, (query, scores, rows) in enumerate(zip(self.queries, self.scores, self.rows))
            for place, (score, row) in enumerate(zip(scores, rows))
            if row >= 0
        ]

    def to_pandas(self) -> Any:
        """Return the records as a `pandas.DataFrame`."""
        return data_frame(self.records())

    def __repr__(self) -> str:
        best = f"; nearest {self.ids[0, 0]!r}, score {self.scores[0, 0]:.4g}" if self.rows.size else ""
        return f"<Hits of {self._counted()} x {self.rows.shape[1]} neighbors{best}>"

    def __str__(self) -> str:
        records = self.records()
        if not records:
            return repr(self)
        more = [f"{MAX_ROWS} of {len(records):,} rows"] if len(records) > MAX_ROWS else []
        return "\n".join([format_columns(records[:MAX_ROWS]), *more])

    def _repr_html_(self) -> str:
        return html_summary(f"Neighbors of {self._counted()}", rows=self.records())

    def _counted(self) -> str:
        return f"{len(self.queries):,} {'query' if len(self.queries) == 1 else 'queries'}"
