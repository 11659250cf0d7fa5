"""The problem that all candidates of a search share: the data, its split, and how they are scored."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from aekit.data.samples import Samples, load_samples
from aekit.data.source import Source
from aekit.errors import DataError
from aekit.evaluation.labels import Targets
from aekit.evaluation.results import Split
from aekit.evaluation.run import split_for_targets
from aekit.evaluation.splits import evenly_spaced, stratified_sample
from aekit.progress import Progress

MAX_REFERENCE, MAX_SCORED = 2000, 1000
"""Training and validation samples that a candidate is scored with."""
INNER_VALIDATION = 0.25
"""Fraction of the training samples that evaluators choose their own settings with."""


@dataclass(frozen=True)
class Problem:
    """The data of a search.

    Attributes:
        name: the data as the user names it.
        source: the data.
        targets: its labels, or None.
        split: candidates are trained on its training part, chosen by its validation part, and the winner is evaluated on its
            test part.
        device: device of the training.
        seed: seed of the split, of all trainings and of the search.
        progress: receives lines about the data and the progress of reading it.
    """

    name: str
    source: Source
    targets: Targets | None
    split: Split
    device: torch.device
    seed: int
    progress: Progress

    @property
    def has_own_split(self) -> bool:
        """Whether the data set has a training and a test part."""
        return self.source.splits is not None and {"train", "test"} <= set(np.asarray(self.source.splits).tolist())

    @cached_property
    def training_rows(self) -> np.ndarray:
        """(N,) positions that candidates train on: of the training part, and those without a label."""
        kept_back = np.zeros(len(self.source), bool)
        kept_back[self.split.validation] = kept_back[self.split.test] = True
        if self.has_own_split:
            kept_back |= np.asarray(self.source.splits).astype(str) != "train"
        return np.flatnonzero(~kept_back)

    @cached_property
    def samples(self) -> Samples:
        """The training samples of candidates."""
        return load_samples(self.source, self.training_rows, self.device, progress=self.progress)

    @cached_property
    def refitted_source(self) -> Source:
        """The data with a training part of everything but the test part, or of the data set's own training part."""
        if self.has_own_split:
            return self.source
        source = copy.copy(self.source)
        names = np.full(len(source), "train", dtype="<U10")
        names[self.split.test] = "test"
        source.splits = names
        return source

    @property
    def refitted_count(self) -> int:
        """Number of training samples of a refitted candidate."""
        return len(self.refitted_source.rows_of("train"))

    @cached_property
    def scored(self) -> tuple[Samples, Split]:
        """The samples that candidates are scored with, and their split, whose test part is the validation part."""
        reference = self._sampled(self.split.train, MAX_REFERENCE)
        validation = self._sampled(self.split.validation, MAX_SCORED)
        rows = np.concatenate([reference, validation])
        samples = load_samples(self.source, rows, self.device, progress=self.progress)
        is_validation = np.isin(samples.rows, validation)
        positions = np.flatnonzero(~is_validation)
        inner = np.zeros(len(positions), bool)
        order = np.random.default_rng(self.seed).permutation(len(positions))
        inner[order[: max(1, round(INNER_VALIDATION * len(positions)))]] = True
        split = Split(positions[~inner], positions[inner], np.flatnonzero(is_validation), "validation samples")
        return samples, split

    @cached_property
    def scored_targets(self) -> np.ndarray | None:
        """(N,) or (N, L) targets of the scored samples."""
        return None if self.targets is None else self.targets.values[self.scored[0].rows]

    def _sampled(self, rows: np.ndarray, count: int) -> np.ndarray:
        if self.targets is not None and self.targets.kind == "classes":
            return stratified_sample(rows, self.targets.values, count, seed=self.seed)
        return evenly_spaced(rows, count)


def make_problem(
    name: str, source: Source, targets: Targets | None, device: torch.device, seed: int, progress: Progress
) -> Problem:
    """Split the data, and check that there is enough of it.

    Raises:
        DataError: too few samples, or a split part is empty.
    """
    split = split_for_targets(targets, source.splits, len(source), seed=seed)
    problem = Problem(name, source, targets, split, device, seed, progress)
    if len(problem.training_rows) < 8 or len(split.validation) < 4 or len(split.test) < 4:
        counts = f"{len(problem.training_rows)} train, {len(split.validation)} validation, {len(split.test)} test"
        raise DataError(f"{len(source)} samples ({counts}): too few to choose between recipes; expected 20 or more")
    return problem


def data_name(data: Any) -> str:
    """Return how a recipe names data: the path or ``SOURCE:NAME`` of a string, a description of anything else."""
    return str(data) if isinstance(data, str) or hasattr(data, "__fspath__") else f"<{type(data).__name__} in memory>"
