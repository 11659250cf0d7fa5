"""The page of a search: each query with thumbnails of its nearest neighbors."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np

from aekit.data.opening import open_data
from aekit.data.reopening import reopen_if_available
from aekit.data.source import Source, read_valid
from aekit.errors import DataError
from aekit.index.vector_index import VectorIndex
from aekit.visualization.page import Page, card, figure, gallery
from aekit.visualization.sprite_cells import SpriteSheetBuilder

_BATCH = 256
_METRICS = {"cosine": "cosine similarity", "ip": "inner product", "l2": "squared distance"}


def search_page(index: VectorIndex, hits: list[dict[str, Any]], *, options: dict[str, Any] | None = None) -> str:
    """Render the page of a search as HTML text.

    Args:
        index: the index that was searched; its data is opened again for the thumbnails.
        hits: from `VectorIndex.hits`, in the order to be shown.
        options: of the source that opens the queries.
    """
    asked = [(query, list(query_hits)) for query, query_hits in groupby(hits, key=lambda hit: hit["query"])]
    source = _source_of(index)
    cells = _cells(index, source, asked, options)
    sheet, places = None, {name: place for place, name in enumerate(cells)}
    if cells and (encoder := index.encoder()):
        sheet = SpriteSheetBuilder(encoder).sprite_sheet(np.stack(list(cells.values())))

    maker = "precomputed vectors" if index.is_precomputed else "encoder"
    subtitle = f"{len(index):,} samples indexed by {maker} {index.digest[:12]}; each neighbor shows its "
    page = Page("Nearest neighbors", subtitle + _METRICS[index.manifest["metric"]])

    def drawn(name: str, title: str) -> str:
        return page.thumbnail(sheet, places[name], title) if sheet is not None and name in places else ""

    if source is None:
        page.add("", card("", "The data of this index is not available here, so only names are shown."))
    wide = 1.0 if sheet is None else sheet.aspect
    labels = _labels(source)
    for query, query_hits in asked:
        title = query.removeprefix("id:")
        figures = [figure(drawn(query, f"query {title}"), "query", path=title, kind="query")]
        for hit in query_hits:
            name, score, kind = hit["id"], f"{hit['score']:.3f}", ""
            label = "" if hit.get("label") is None else str(hit["label"])
            if label and labels.get(title) not in (None, ""):
                kind = "same" if str(labels[title]) == label else "other"
            figures.append(figure(drawn(f"id:{name}", label or name), label, score, path=name, kind=kind))
        page.add("", card(title, "", gallery(figures, wide=wide, whole_lines=True)))
    return page.html()


def _labels(source: Source | None) -> dict[str, Any]:
    """Return id -> label of the indexed samples, where the data has labels."""
    if source is None or source.labels is None or np.ndim(source.labels) != 1:
        return {}
    return dict(zip(source.ids, source.labels.tolist()))


def _cells(
    index: VectorIndex,
    source: Source | None,
    asked: Iterable[tuple[str, list[dict[str, Any]]]],
    options: dict[str, Any] | None,
) -> dict[str, np.ndarray]:
    """Return ``id:NAME`` or the query as it was given -> its thumbnail; samples that are not available are missing."""
    encoder = index.encoder()
    if encoder is None:
        return {}
    sprites = SpriteSheetBuilder(encoder)
    cells: dict[str, np.ndarray] = {}
    wanted = dict.fromkeys(
        name for query, query_hits in asked for name in [query, *(f"id:{hit['id']}" for hit in query_hits)]
    )
    for query in wanted:
        if not query.startswith("id:") and (raw := _file(query, index, options)) is not None:
            cells[query] = sprites.raw_to_cells(raw)[0]
    if source is not None:
        known = {name: place for place, name in enumerate(source.ids)}
        rows = {name: known[name[3:]] for name in wanted if name.startswith("id:") and name[3:] in known}
        for start in range(0, len(rows), _BATCH):
            names = list(rows)[start : start + _BATCH]
            raw, ok = read_valid(source, np.asarray([rows[name] for name in names]))
            cells |= {name: cell for name, cell, good in zip(names, sprites.raw_to_cells(raw), ok) if good}
    return cells


def _source_of(index: VectorIndex) -> Source | None:
    encoder = index.encoder()
    return reopen_if_available(index.manifest["origin"], encoder.spec, near=index.folder) if encoder else None


def _file(query: str, index: VectorIndex, options: dict[str, Any] | None) -> np.ndarray | None:
    """Return the query's sample (1, *shape), or None if it has no file of its own, such as a row of an array file."""
    encoder = index.encoder()
    try:
        source = open_data(query, options, like=encoder.spec if encoder else None)
    except DataError:
        return None
    raw, ok = read_valid(source, np.arange(1))
    return raw if ok[0] and len(source) == 1 else None
