"""What all parts of one evaluation share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aekit.evaluation._provenance import Provenance
from aekit.evaluation._queue import EvaluatorQueue
from aekit.evaluation.labels import Targets
from aekit.evaluation.results import Split
from aekit.progress import Progress


@dataclass(frozen=True)
class EvaluationContext:
    """The samples of an evaluation, and how they are measured.

    Attributes:
        rows: (M,) rows of the embeddings that are in a part of the split.
        split: the split, in positions within `rows`.
        targets: targets of all embeddings, or None.
        open_provenance: returns `provenance`, which it opens once.
        seed: seed of everything that is drawn.
        queue: runs the evaluators.
        notes: receives notes for the reader of the evaluation.
        progress: receives bars and lines.
    """

    rows: np.ndarray
    split: Split
    targets: Targets | None
    open_provenance: Callable[[], Provenance | None]
    seed: int
    queue: EvaluatorQueue
    notes: list[str]
    progress: Progress

    @property
    def provenance(self) -> Provenance | None:
        """The source and the encoder of the embeddings, or None if they are unknown or not needed."""
        return self.open_provenance()


def compact(split: Split) -> tuple[np.ndarray, Split]:
    """Return the (M,) rows that are in any part of a split, and the split of these M rows."""
    rows = np.unique(np.concatenate([split.train, split.validation, split.test]))
    train, validation, test = (np.searchsorted(rows, part) for part in (split.train, split.validation, split.test))
    return rows, Split(train, validation, test, split.origin, None if split.groups is None else split.groups[rows])
