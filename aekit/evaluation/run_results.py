"""Write and read ``results.json`` of a run, with the checksums of the files that its report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from aekit.io.manifest_models import Checksums, Count, Manifest, OriginRecord, Sha256
from aekit.io.manifests import read_manifest, write_manifest

RESULTS = "results.json"


class MetricRecord(Manifest):
    """A metric with the ends of its interval."""

    value: float
    low: float | None = None
    high: float | None = None


class ResultRecord(Manifest):
    """The result of an evaluator."""

    metrics: Annotated[dict[str, MetricRecord], Field(min_length=1)]
    chosen: dict[str, Any]
    chosen_on: str
    chance: float | None
    notes: list[str]
    table: list[dict[str, Any]]
    plot_data: dict[str, Any]


class CheckRecord(Manifest):
    """The result of a check of the embeddings."""

    values: dict[str, float | None]
    warnings: list[str] = Field(default_factory=list)
    notes: list[str]
    table: list[dict[str, Any]]


class PairRecord(Manifest):
    """A paired comparison of the encoder with another subject."""

    evaluator: str
    subject: str
    outcome: str
    p_value: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


class EvaluationRecord(Manifest):
    """An evaluation, as `Evaluation.to_dict` returns it."""

    digest: Sha256 | None
    headline: str
    titles: dict[str, str]
    counts: dict[str, int]
    split: str
    warnings: list[str]
    summary: list[str]
    notes: list[str]
    compared_with: list[str]
    results: dict[str, dict[str, ResultRecord]]
    paired_comparisons: list[PairRecord]
    checks: dict[str, CheckRecord]


class ObjectiveRecord(Manifest):
    """Section ``[objective]`` of a recipe."""

    variants: list[str]
    pretexts: list[str]


class TrainRecord(Manifest):
    """Section ``[train]`` of a recipe."""

    seed: int


class RecipeRecord(Manifest):
    """The resolved recipe of a run."""

    data: dict[str, Any]
    encoder: dict[str, Any]
    objective: ObjectiveRecord
    train: TrainRecord
    evaluate: dict[str, Any] = Field(default_factory=dict)


class TrainedRecord(Manifest):
    """What a run was trained on."""

    samples: Count = 0
    skipped: Count = 0
    seconds: float = 0.0


class RunResults(Manifest):
    """Entries of ``results.json`` of a run."""

    digest: Sha256
    recipe: RecipeRecord
    trained: TrainedRecord
    objective: dict[str, Any]
    data: OriginRecord
    metrics: dict[str, float | None] = Field(default_factory=dict)
    frozen: Count = 0
    training_data: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, float] = Field(default_factory=dict)
    sha256: Checksums
    evaluation: EvaluationRecord | None = None
    findings: list[list[str]] = Field(default_factory=list)


def read_results(run: Path) -> dict[str, Any]:
    """Read ``results.json`` of a run.

    Raises:
        IdentityError: it is missing or damaged.
    """
    return read_manifest(run / RESULTS, RunResults)


def write_results(run: Path, results: Mapping[str, Any]) -> None:
    """Replace ``results.json`` of a run in one step."""
    write_manifest(run / RESULTS, results)
