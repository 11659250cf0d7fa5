"""What embeddings come from: the samples and the encoder, where they are at hand, and embeddings that stand beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aekit.data.source import Source
from aekit.encoder.embeddings import Embeddings, finite_vectors
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import encoder_of
from aekit.errors import DataError


class Provenance(NamedTuple):
    """The samples that embeddings are of, and what made them.

    Attributes:
        places: (N,) the position in the source of each embedding.
    """

    source: Source
    rows: np.ndarray
    encoder: Encoder


def find_provenance(stored: Embeddings | None, notes: list[str]) -> Provenance | None:
    """What the embeddings come from, or None and a note why there are no controls."""
    if stored is None:
        notes.append("no controls: an array does not say which samples and which encoder it comes from")
        return None
    encoder = encoder_of(stored)
    found = stored.source() if encoder else None
    if encoder is None or found is None:
        what = "encoder that made the embeddings" if encoder is None else "data that was embedded"
        notes.append(f"no controls: the {what} is no longer at hand")
        return None
    return Provenance(*found, encoder)


def training_overlap_notes(stored: Embeddings | None, found: Provenance | None) -> list[str]:
    """Notes on what the encoder knows of the samples that it is judged on."""
    if stored is None or found is None:
        return []
    notes, record = [], found.encoder.record
    origin, trained_on = stored.manifest.get("origin") or {}, record.get("data", {})
    # Where the data has splits, the encoder was trained on one of them.
    if stored.splits is None and "data" in origin and origin["data"] == trained_on.get("data"):
        notes.append("the encoder was trained, without their labels, on the very samples that it is judged on")
    if tuned := record.get("finetuned"):
        notes.append(
            f"the encoder was fine-tuned with labels of {tuned['data']}: on those it is no longer judged fairly"
        )
    return notes


def align_embeddings(name: str, other: Any, stored: Embeddings | None, count: int) -> np.ndarray:
    """Embeddings by another encoder, in the order of these: (N, E)."""
    vectors = finite_vectors(other)
    if not isinstance(other, Embeddings) or stored is None:
        if len(vectors) != count:
            raise DataError(f"{name}: {len(vectors)} embeddings beside {count}: expected those of the same samples")
        return vectors
    if other.digest == stored.digest:
        raise DataError(f"{name}: is of the very encoder that it is to stand beside")
    places = {sample: place for place, sample in enumerate(other.ids)}
    missing = [sample for sample in stored.ids if sample not in places]
    if missing:
        raise DataError(f"{name}: has no embedding of {missing[0]!r}, one of {len(missing)} samples that it lacks")
    return vectors[[places[sample] for sample in stored.ids]]
