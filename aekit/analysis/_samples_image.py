"""Draw the samples behind embeddings, where they are available."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from aekit.data.source import Source, read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.makers import available_samples
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.rendering import DisplayScale
from aekit.visualization.sample_page import ShownSample, Thumbnails, thumbnails_of
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import cell_side

_BATCH = 256


def draw_embedded(embeddings: Embeddings, rows: Sequence[np.ndarray], **texts: Any) -> Image.Image | None:
    """Draw a grid of embedded samples, or return None if the samples are not available.

    Args:
        embeddings: of N samples.
        rows: (M,) positions in the embeddings for each row of the grid.
        texts: titles and captions, as `draw_grid` takes them.
    """
    available = available_samples(embeddings)
    if available is None:
        return None
    scaled, source, positions = available
    scale = DisplayScale(scaled.spec, scaled.preprocess)
    samples = [[scale.to_display(sample) for sample in read_valid(source, positions[row])[0]] for row in rows]
    return draw_grid(samples, source.spec, value_range=scale.value_range, **texts)


def shown_samples(
    embeddings: Embeddings, rows: Iterable[int], titles: Iterable[str], captions: Iterable[str], kind: Any = ""
) -> list[ShownSample]:
    """Describe embedded samples for a page.

    Args:
        embeddings: of N samples.
        rows: M positions in the embeddings.
        titles, captions: M lines below each sample.
        kind: of all samples, as `ShownSample` has it.
    """
    ids, hashes = embeddings.ids, embeddings.rows.hashes
    return [
        ShownSample(id=str(ids[row]), hash=hashes[row], title=title, caption=caption, kind=kind)
        for row, title, caption in zip(rows, titles, captions)
    ]


def embedded_thumbnails(*parts: tuple[Embeddings, np.ndarray]) -> Thumbnails | None:
    """Draw thumbnails of embedded samples, part by part, or return None if they are not available.

    Args:
        parts: embeddings of one encoder, and (M,) positions in them.
    """
    count, first = sum(len(rows) for _, rows in parts), available_samples(parts[0][0])
    if first is None or not count:
        return None
    builder, cells = SpriteSheetBuilder(first[0]), []
    located: dict[int, tuple[Source, np.ndarray] | None] = {id(parts[0][0]): first[1:]}
    for embeddings, rows in parts:
        if id(embeddings) not in located:
            located[id(embeddings)] = embeddings.source()
        available = located[id(embeddings)]
        if available is None:
            return None
        source, positions = available
        for start in range(0, len(rows), _BATCH):
            samples, _ = read_valid(source, positions[rows[start : start + _BATCH]])
            cells.append(builder.raw_to_cells(samples, cell_side(count)))
    return thumbnails_of(builder.sprite_sheet(cells))
