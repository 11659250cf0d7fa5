"""The page of a search: each query, and pictures of what is nearest to it."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from aekit.data import open_data, reopen
from aekit.errors import DataError
from aekit.index import VectorIndex
from aekit.report.page import Picture, heading, page, pictures
from aekit.report.thumbnails import thumbnail
from aekit.samples import Source, read_usable

SMALL = 64


def neighbours_page(index: VectorIndex, hits: list[dict[str, Any]], *, options: dict[str, Any] | None = None) -> str:
    """The page as HTML text.

    Args:
        index: that was searched; the data it was made from is opened again for the pictures.
        hits: from `VectorIndex.hits`, in the order to be shown.
        options: of the source that opens the queries.
    """
    source = _source_of(index)
    drawn = _Drawn(source)
    rows = []
    for query, found in groupby(hits, key=lambda hit: hit["query"]):
        ask = drawn.by_id(query.removeprefix("id:")) if query.startswith("id:") else _file(index, query, options)
        small = source is not None and max(source.spec.shape[-2:]) <= SMALL
        row = [Picture(ask, "query", query.removeprefix("id:"), query=True, small=small)]
        for hit in found:
            name = hit["id"] if hit.get("label") in (None, "") else f"{hit['label']}"
            row.append(Picture(drawn.by_id(hit["id"]), name, f"{hit['score']:.3f}  {hit['id']}", small=small))
        rows.append(pictures(row))
    metric = {"cosine": "cosine similarity", "ip": "inner product", "l2": "squared distance"}[index.manifest["metric"]]
    subtitle = f"{len(index)} samples indexed by encoder {index.digest[:12]}; the figure is the {metric}"
    lost = [] if source else [heading("", "The data of this index is not at hand, so that only names can be shown.")]
    return page("Nearest neighbours", subtitle, *lost, *rows)


class _Drawn:
    """Thumbnails of samples by id, each drawn once."""

    def __init__(self, source: Source | None) -> None:
        self.source = source
        self.places = {name: place for place, name in enumerate(source.ids)} if source else {}
        self.known: dict[str, str] = {}

    def by_id(self, name: str) -> str:
        """A data URI, or "" where the sample is gone."""
        if self.source is None or name not in self.places:
            return ""
        if name not in self.known:
            raw, ok = read_usable(self.source, np.asarray([self.places[name]]))
            self.known[name] = thumbnail(raw[0], self.source.spec) if ok[0] else ""
        return self.known[name]


def _source_of(index: VectorIndex) -> Source | None:
    encoder, origin = index.encoder(), index.manifest["origin"]
    try:
        return reopen(origin, like=encoder.spec) if encoder and origin else None
    except DataError:
        return None


def _file(index: VectorIndex, query: str, options: dict[str, Any] | None) -> str:
    encoder = index.encoder()
    try:
        source = open_data(query, options, like=encoder.spec if encoder else None)
    except DataError:  # a row of an array file, say, which has no file of its own
        return ""
    raw, ok = read_usable(source, np.arange(1))
    return thumbnail(raw[0], source.spec) if ok[0] and len(source) == 1 else ""
