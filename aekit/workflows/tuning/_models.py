"""Models of the files of a search, which refuse a damaged folder or one of something else."""

from __future__ import annotations

from typing import Any

from pydantic import Json

from aekit.evaluation.run_results import MetricRecord
from aekit.io.manifest_models import Manifest


class CandidateRecord(Manifest):
    """A candidate as `Tuning.candidates` has it."""

    number: int
    candidate: str
    score: float | None
    trained: float | None
    outcome: str


class ResultRecord(Manifest):
    """What `Tuning.to_dict` returns."""

    winner: str
    settings: dict[str, Any]
    criterion: str
    validation: float
    metric: str
    test: MetricRecord
    default: MetricRecord
    difference: MetricRecord | None
    optimism: float | None
    more_training: MetricRecord | None
    more_candidates: MetricRecord | None
    counts: dict[str, int]
    candidates: list[CandidateRecord]
    seconds: float
    minutes: float
    is_default: bool


class TrialAttributes(Manifest):
    """Attributes that a search adds to a candidate in the journal."""

    settings: Json[dict[str, Any]] | None = None
    seconds_per_step: float | None = None
    scoring: float | None = None
    dim: int | None = None
    reason: str | None = None


class TrialRecord(Manifest):
    """A candidate of the journal; its parameters are checked by Optuna."""

    attributes: TrialAttributes
    scores: dict[int, float]


class StateManifest(Manifest):
    """The entries of ``tune.json``; its result is empty until there is one, then a `ResultRecord`."""

    settings: dict[str, Any]
    measured: dict[str, float]
    spent: float
    result: dict[str, Any]
    facts: dict[str, Any]
