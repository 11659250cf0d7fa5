"""Hold the results of an evaluation, and present them as tables, in sentences and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aekit._arguments import checked_arguments
from aekit.evaluation._evaluation_files import prediction_arrays, write_evaluation
from aekit.evaluation._headline import headline
from aekit.evaluation._predicted_classes import (
    PredictedClasses,
    confusion,
    errors,
    per_class,
    predicted_classes,
)
from aekit.evaluation.metrics._paired_tests import PairedComparison, paired_comparisons
from aekit.evaluation.results import CheckResult, Metric, Result
from aekit.evaluation.summary import ENCODER, Severity, comparison_lines, graded_summary, primary_metric
from aekit.io.summaries import data_frame, html_summary

Mode = Literal["quick", "thorough"]
"""Whether an evaluation leaves out samples that a thorough one would use."""
_MAX_PLOT_VALUES = 2**16
"""Size up to which `Evaluation.to_dict` keeps an array of `Result.plot_data`."""
_SIGNS = {"better": "<", "worse": ">", "not significantly different": ""}
"""Outcome of the encoder -> the sign behind the value of the other subject."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of every evaluator on an encoder's embeddings and on the baselines.

    Attributes:
        digest: digest of the encoder that made the embeddings, or None.
        counts: ``samples``, ``dim``, ``classes``, ``train``, ``validation``, ``test``.
        split: origin of the split, in words.
        results: subject -> evaluator -> result; the subjects are ``encoder``, other encoders and the baselines (``raw``,
            ``pca-64``, ``random``).
        notes: what was skipped, and why.
        evaluated_rows: (N3,) positions of the test samples in the embeddings.
        compared_with: the subjects that are other encoders rather than baselines, such as a pretrained network.
        checks: ``health``, ``leakage`` and ``stability``, as far as they were run.
        groups: (N3,) groups of the test samples, or None.
        titles: subject -> its name within a sentence, such as ``raw pixels``.
        mode: ``quick`` if a sample of the data was evaluated, ``thorough`` if nothing was left out.
        test_ids: N3 ids of the test samples, or None.
        test_labels: (N3,) classes of the test samples, or None if their labels are no classes.

    Examples:
        >>> import numpy as np
        >>> import aekit
        >>> labels = np.repeat(["cat", "dog"], 100)
        >>> vectors = np.random.default_rng(0).normal(size=(200, 8)) + 3 * (labels == "dog")[:, None]
        >>> evaluation = aekit.evaluate(vectors, labels, evaluators=["probe", "retrieval"])
        >>> evaluation.results["encoder"]["probe"].metrics["accuracy"].value
        1.0
        >>> evaluation.headline
        'No baseline to compare with, so the values alone do not show how good the embeddings are (40 test samples).'
        >>> evaluation.confusion().to_numpy().tolist()
        [[20, 0], [0, 20]]
    """

    digest: str | None
    counts: Mapping[str, int]
    split: str
    results: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    evaluated_rows: np.ndarray | None = None
    compared_with: Sequence[str] = ()
    checks: Mapping[str, CheckResult] = field(default_factory=dict)
    groups: np.ndarray | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "thorough"
    test_ids: Sequence[str] | None = None
    test_labels: np.ndarray | None = None

    @partial(checked_arguments, name="Evaluation.save")
    def save(self, folder: str | Path) -> Path:
        """Write it into a new folder, which `aekit.open_evaluation` opens, and return the folder.

        The scores of single samples, and the predictions of subjects other than the encoder, are left out.

        Raises:
            OutputError: the folder exists and is not empty, or cannot be written.
        """
        arrays = prediction_arrays(self.results.get(ENCODER, {}), self.evaluated_rows)
        samples = {"ids": self.test_ids, "labels": self.test_labels, "groups": self.groups}
        write_evaluation(Path(folder), self.to_dict(), arrays, **samples)
        return Path(folder)

    def confusion(self, evaluator: str | None = None, *, subject: str = ENCODER) -> Any:
        """Return a `pandas.DataFrame` (C, C) of how many test samples of a class (rows) were predicted as one (columns).

        Args:
            evaluator: one that predicts classes, such as ``probe``; default: the first of these.
            subject: whose embeddings, as in `results`.

        Raises:
            DataError: no such subject, or no such evaluator that predicts classes.
        """
        return confusion(self._predicted(evaluator, subject))

    def per_class(self, evaluator: str | None = None, *, subject: str = ENCODER) -> Any:
        """Return a `pandas.DataFrame` with a row for each class: its test samples, and its recall and precision in 0..1.

        The arguments and errors are those of `confusion`.
        """
        return per_class(self._predicted(evaluator, subject))

    def errors(self, evaluator: str | None = None, *, subject: str = ENCODER) -> Any:
        """Return a `pandas.DataFrame` with a row for each test sample of which another class was predicted, by id: its label, the
        prediction, and its probability in 0..1 where the evaluator states one, the highest first.

        The arguments and errors are those of `confusion`.
        """
        return errors(self._predicted(evaluator, subject))

    def _predicted(self, evaluator: str | None, subject: str) -> PredictedClasses:
        return predicted_classes(self.results, self.test_labels, self.test_ids, evaluator, subject)

    @cached_property
    def headline(self) -> str:
        """The answer in one sentence: on which evaluators the encoder is better than its baselines, and on which not."""
        return headline(
            self.results, self.compared_with, self.paired_comparisons, self.counts["test"], self.titles, self.groups
        )

    @cached_property
    def paired_comparisons(self) -> dict[tuple[str, str], PairedComparison]:
        """(Evaluator, subject) -> comparison of the encoder with that subject, by a paired test on the test samples."""
        return paired_comparisons(self.results, ENCODER, self.groups)

    def table(self) -> list[dict[str, str]]:
        """Return a row for each subject, with the primary metric of each evaluator."""
        return [
            {"subject": subject}
            | {
                f"{name} {primary_metric(result)[0]}": str(primary_metric(result)[1])
                for name, result in by_name.items()
            }
            for subject, by_name in self.results.items()
        ]

    def warnings(self) -> list[str]:
        """Return the problems of the embeddings, the split or the data, in sentences."""
        return [warning for check in self.checks.values() for warning in check.warnings]

    def summary(self) -> list[str]:
        """Return how the encoder compares with each other subject, a line each, and its serious failures."""
        failures = [sentence for severity, sentence in self._sentences if severity == "bad"]
        return [*comparison_lines(self.results, self.paired_comparisons), *failures]

    def details(self) -> list[str]:
        """Return a sentence or two on each primary metric."""
        return [sentence for _, sentence in self._sentences]

    def graded_summary(self) -> list[tuple[Severity, str]]:
        """Return the warnings and the sentences on each primary metric with their severity: ``good``, ``notice`` or ``bad``."""
        return [("bad", line) for line in self.warnings()] + self._sentences

    @cached_property
    def _sentences(self) -> list[tuple[Severity, str]]:
        return graded_summary(self.results, self.compared_with, self.paired_comparisons, self.groups)

    def text(self, *, verbose: bool = False) -> str:
        """Return the headline, the table, the summary, the warnings and the notes, for a terminal.

        Args:
            verbose: add the split, a sentence on each metric, the hyperparameters that were chosen, and the values of the checks.
        """
        table = ["", *self._table_lines()] if self._table_cells() else []
        lines = [self.headline, *table, *self.summary()]
        lines += [f"warning: {line}" for line in self.warnings()]
        lines += [f"note: {line}" for line in [*self._empty_notes(), *self.notes]]
        if verbose:
            counts = ", ".join(f"{self.counts[part]:,} {part}" for part in ("train", "validation", "test"))
            lines += ["", f"split: {self.split} ({counts})", *self.details(), *self._chosen_lines()]
            lines += [*self._check_lines(), *self.sampling_notes()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        of = f" of encoder {self.digest[:12]}" if self.digest else ""
        return f"<Evaluation{of}: {self.headline}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows: list[dict[str, str]] = [
            {"": cells[0]} | dict(zip(self.results, cells[1:])) for cells in self._table_cells()
        ]
        lines = [*self.summary(), *(f"warning: {line}" for line in self.warnings())]
        lines += [f"note: {line}" for line in self.notes]
        return html_summary(self.headline, lines, rows)

    def to_pandas(self, *, paired: bool = False) -> Any:
        """Return a `pandas.DataFrame` with a row for each subject, evaluator and metric: value, low and high.

        Args:
            paired: a row for each of the `paired_comparisons` instead: the difference (encoder minus baseline), low and high, the
                p-value, and the outcome; NaN where an evaluator has no scores of single samples.
        """
        if paired:
            unknown = Metric(np.nan)
            return data_frame(
                [
                    {"evaluator": evaluator, "baseline": baseline}
                    | {"difference": (gap := pair.difference or unknown).value, "low": gap.low, "high": gap.high}
                    | {"p_value": pair.p_value, "outcome": pair.outcome}
                    for (evaluator, baseline), pair in self.paired_comparisons.items()
                ]
            )
        rows = [
            {"subject": subject, "evaluator": evaluator, "metric": name} | asdict(metric)
            for subject, by_evaluator in self.results.items()
            for evaluator, result in by_evaluator.items()
            for name, metric in result.metrics.items()
        ]
        return data_frame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON, as ``results.json`` holds it."""
        return {
            "digest": self.digest,
            "headline": self.headline,
            "titles": dict(self.titles),
            "counts": dict(self.counts),
            "mode": self.mode,
            "split": self.split,
            "warnings": self.warnings(),
            "summary": self.summary(),
            "details": self.details(),
            "notes": [*self.sampling_notes(), *self.notes],
            "compared_with": list(self.compared_with),
            "results": {
                subject: {name: _plain_result(result) for name, result in by_name.items()}
                for subject, by_name in self.results.items()
            },
            "paired_comparisons": [
                {"evaluator": evaluator, "subject": subject, "outcome": pair.outcome, "p_value": pair.p_value}
                | (
                    {"difference": pair.difference.value, "low": pair.difference.low, "high": pair.difference.high}
                    if pair.difference
                    else {}
                )
                for (evaluator, subject), pair in self.paired_comparisons.items()
            ],
            "checks": {
                name: {
                    "values": dict(check.values),
                    "warnings": list(check.warnings),
                    "notes": list(check.notes),
                    "table": list(check.table),
                }
                for name, check in self.checks.items()
            },
        }

    def _empty_notes(self) -> list[str]:
        """Name the evaluators that found no cluster, whose values say nothing."""
        cluster_counts = {
            name: result.metrics.get("clusters") for name, result in self.results.get(ENCODER, {}).items()
        }
        return [
            f"{name} found no dense region, so that its values say nothing about the embeddings"
            for name, clusters in cluster_counts.items()
            if clusters is not None and clusters.value == 0
        ]

    def sampling_notes(self) -> list[str]:
        """Return which evaluators and checks used a sample of the data only."""
        notes = {f"{name}: {note}": None for name, r in self.results.get(ENCODER, {}).items() for note in r.notes}
        return [*notes, *(note for check in self.checks.values() for note in check.notes)]

    def _table_lines(self) -> list[str]:
        """Return a line for each evaluator, with a column for each subject, and a legend of the signs."""
        rows = [["", *self.results], *self._table_cells()]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        if not self.paired_comparisons:
            return lines
        legend = "< significantly worse than the encoder, > significantly better, no sign: no significant difference"
        return [*lines, f"{legend} (95%, paired tests, Holm)", ""]

    def _table_cells(self) -> list[list[str]]:
        """Return for each evaluator its name and the values of the subjects, with the signs of their comparison."""
        rows = []
        for name in dict.fromkeys(name for by_name in self.results.values() for name in by_name):
            metric = primary_metric(next(by_name[name] for by_name in self.results.values() if name in by_name))[0]
            row = [f"{name} {metric.replace('_', ' ')}"]
            for subject in self.results:
                result, pair = self.results[subject].get(name), self.paired_comparisons.get((name, subject))
                sign = _SIGNS[pair.outcome] if pair else ""
                row.append(f"{primary_metric(result)[1]} {sign}".rstrip() if result else "")
            rows.append(row)
        return rows

    def _chosen_lines(self) -> list[str]:
        """Return which hyperparameters each evaluator chose, and on what data."""
        by_data: dict[str, list[str]] = {}
        for name, result in self.results.get(ENCODER, {}).items():
            if result.chosen:
                chosen = ", ".join(f"{key.replace('_', ' ')} {_format(value)}" for key, value in result.chosen.items())
                by_data.setdefault(result.chosen_on, []).append(f"{name} {chosen}")
        return [f"chosen on {data}: {'; '.join(chosen)}" for data, chosen in by_data.items()]

    def _check_lines(self) -> list[str]:
        """Return the values of each check."""
        lines = []
        for name, check in self.checks.items():
            values = [f"{key.replace('_', ' ')} {_format(value)}" for key, value in check.values.items()]
            lines += [f"{name}: {', '.join(values)}"] if values else []
        return lines


def _format(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        return str(value)
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{_format(item)}" for key, item in value.items())
    return f"{value:.3g}" if not float(value).is_integer() or abs(value) >= 1e6 else f"{int(value)}"


def _plain_result(result: Result) -> dict[str, Any]:
    return {
        "metrics": {name: asdict(metric) for name, metric in result.metrics.items()},
        "chosen": {
            name: value.item() if isinstance(value, np.generic) else value for name, value in result.chosen.items()
        },
        "chosen_on": result.chosen_on,
        "chance": result.chance,
        "notes": list(result.notes),
        "table": result.table,
        "plot_data": {
            name: array.tolist() for name, array in result.plot_data.items() if array.size <= _MAX_PLOT_VALUES
        },
    }
