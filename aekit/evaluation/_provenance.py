"""Find the samples and the encoder that embeddings come from, and align the embeddings of other encoders with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aekit.data.locations import same_place
from aekit.data.source import Source
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.encoder import Encoder
from aekit.encoder.makers import encoder_of
from aekit.encoder.opening import open_embeddings
from aekit.encoder.vectors import finite_vectors
from aekit.errors import DataError


class Provenance(NamedTuple):
    """The samples that embeddings were made from, and the encoder that made them.

    Attributes:
        source: source of the samples.
        rows: (N,) position in the source of each embedding.
        encoder: the encoder.
    """

    source: Source
    rows: np.ndarray
    encoder: Encoder


def find_provenance(stored: Embeddings | None, notes: list[str]) -> Provenance | None:
    """Return the provenance of embeddings, or None and a note why there are no baselines."""
    if stored is None:
        notes.append("no baselines: an array does not say which samples and which encoder it comes from")
        return None
    if stored.is_precomputed:
        notes.append("no baselines: the vectors are precomputed, so their samples and their encoder are not known")
        return None
    encoder = encoder_of(stored)
    source = stored.source() if encoder else None
    if encoder is None or source is None:
        missing = "encoder that made the embeddings" if encoder is None else "data that was embedded"
        notes.append(f"no baselines: the {missing} is not available")
        return None
    return Provenance(*source, encoder)


def training_overlap_notes(stored: Embeddings | None, provenance: Provenance | None) -> list[str]:
    """Return notes on the evaluated samples that the encoder has already seen in training."""
    if stored is None or provenance is None:
        return []
    notes, record = [], provenance.encoder.record
    origin, training_data = stored.manifest.get("origin") or {}, record.get("data", {})
    # Data with splits of its own is trained on one of them.
    folders = stored.encoder_folder, getattr(provenance.encoder, "folder", None)
    if stored.splits is None and same_place(origin.get("data"), training_data.get("data"), *folders):
        if "trained" in record:
            notes.append("the encoder was trained, without labels, on the same samples that it is evaluated on")
        elif "weights" not in record:  # those are of other data
            notes.append("the encoder was fitted, without labels, to the same samples that it is evaluated on")
    if finetuned := record.get("finetuned"):
        notes.append(
            f"the encoder was fine-tuned with labels of {finetuned['data']}: on those samples the evaluation is biased"
        )
    return notes


def align_embeddings(name: str, other: Any, stored: Embeddings | None, count: int) -> np.ndarray:
    """Bring the embeddings of another encoder into the order of these.

    Args:
        name: name of the other encoder, for messages.
        other: its `Embeddings`, their folder, or an array (N, E) in the same order.
        stored: these embeddings, or None for an array.
        count: N.

    Returns:
        (N, E) vectors.

    Raises:
        DataError: embeddings of other samples, or of the same encoder.
    """
    opened = open_embeddings(other)
    vectors = finite_vectors(opened)
    if stored is None or not isinstance(other, (str, Path, Embeddings)):
        if len(vectors) != count:
            raise DataError(
                f"{name}: {len(vectors)} embeddings; expected {count}, one for each sample that is evaluated"
            )
        return vectors
    if opened.digest == stored.digest:
        raise DataError(f"{name}: made by the same encoder; expected embeddings by another one")
    positions = {sample: position for position, sample in enumerate(opened.ids)}
    missing = [sample for sample in stored.ids if sample not in positions]
    if missing:
        raise DataError(f"{name}: {len(missing)} samples have no embedding, e.g. {missing[0]!r}")
    return vectors[[positions[sample] for sample in stored.ids]]
