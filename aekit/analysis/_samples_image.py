"""Draw the samples behind embeddings, where they are available."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from aekit.data.source import read_valid
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.loading import encoder_of
from aekit.visualization.image_grid import draw_grid
from aekit.visualization.rendering import DisplayScale


def draw_embedded(embeddings: Embeddings, rows: Sequence[np.ndarray], **texts: Any) -> Image.Image | None:
    """Draw a grid of embedded samples, or return None if the samples are not available.

    Args:
        embeddings: of N samples.
        rows: (M,) positions in the embeddings for each row of the grid.
        texts: titles and captions, as `draw_grid` takes them.
    """
    encoder = encoder_of(embeddings)
    available = embeddings.source() if encoder else None
    if encoder is None or available is None:
        return None
    source, positions = available
    scale = DisplayScale(encoder.spec, encoder.preprocess)
    samples = [[scale.to_display(sample) for sample in read_valid(source, positions[row])[0]] for row in rows]
    return draw_grid(samples, source.spec, value_range=scale.value_range, **texts)
