"""What was found out about embeddings: the figures of every evaluator beside the controls, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from aekit.evaluation.headline import headline
from aekit.evaluation.metrics.paired_tests import PairedComparison, paired_comparisons
from aekit.evaluation.results import CheckResult, Result
from aekit.evaluation.summary import ENCODER, Severity, graded_summary, primary_metric

_FIGURE = 2**16
"""Numbers in a figure up to which `Evaluation.record` keeps it."""
_SIGNS = {"better": "<", "worse": ">", "not significantly different": ""}
"""Behind a figure: where it stands beside the encoder's."""


@dataclass(frozen=True)
class Evaluation:
    """What was found out about embeddings.

    Attributes:
        digest: of the encoder that made them, or None.
        counts: ``samples``, ``dim``, ``classes``, ``train``, ``validation``, ``test``.
        split: where the split came from, in words.
        results: ``encoder``, other encoders and the controls (``raw``, ``pca-64``, ``random``) -> evaluator -> what it found.
        notes: what was left out, and why.
        judged: (N3,) positions into the embeddings of the samples that the scores and answers are of.
        rivals: which of the results are of other encoders, and no controls.
        checks: ``health``, ``leaks`` and ``stability``, what is to be known beside the figures, as far as it was looked at.
        groups: (N3,) groups of the test samples, or None.
        titles: subject -> its name within a sentence, such as ``raw pixels``.
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

    @cached_property
    def headline(self) -> str:
        """The answer in one sentence: on which evaluators the encoder is better than its baselines, and on which not."""
        return headline(self.results, self.compared_with, self.paired_comparisons, self.counts["test"], self.titles)

    def table(self) -> list[dict[str, str]]:
        """A row for each subject, with the first metric of each evaluator."""
        return [
            {"subject": subject}
            | {f"{name} {primary_metric(result)[0]}": str(primary_metric(result)[1]) for name, result in found.items()}
            for subject, found in self.results.items()
        ]

    @cached_property
    def paired_comparisons(self) -> dict[tuple[str, str], PairedComparison]:
        """Evaluator and subject -> how the encoder stands beside it, by a paired test over the test samples."""
        return paired_comparisons(self.results, ENCODER, self.groups)

    def warnings(self) -> list[str]:
        """What is wrong with the embeddings, the split or the data, in sentences."""
        return [warning for found in self.checks.values() for warning in found.warnings]

    def graded_summary(self) -> list[tuple[Severity, str]]:
        """The warnings and the verdict, each with what it means: ``good``, ``notice`` or ``bad``."""
        return [("bad", line) for line in self.warnings()] + self._sentences

    @cached_property
    def _sentences(self) -> list[tuple[Severity, str]]:
        return graded_summary(self.results, self.compared_with, self.paired_comparisons)

    def summary(self) -> list[str]:
        """What the figures say about the encoder, in sentences."""
        return [line for _, line in self._sentences]

    def text(self) -> str:
        """The table, the warnings, the verdict and the notes, for a terminal."""
        counts = ", ".join(f"{self.counts[part]:,} {part}" for part in ("train", "validation", "test"))
        warnings = [f"warning: {line}" for line in self.warnings()]
        parts = [self.headline, "", *self._lines(), "", f"split: {self.split} ({counts})", *warnings, *self.summary()]
        return "\n".join([*parts, *self._choices(), *self._checked(), *self.sampled(), *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON, as ``results.json`` holds it."""
        return {
            "digest": self.digest,
            "headline": self.headline,
            "titles": dict(self.titles),
            "counts": dict(self.counts),
            "split": self.split,
            "warnings": self.warnings(),
            "summary": self.summary(),
            "notes": [*self.sampled(), *self.notes],
            "compared_with": list(self.compared_with),
            "results": {
                subject: {name: _plain(result) for name, result in found.items()}
                for subject, found in self.results.items()
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
                    "values": dict(found.values),
                    "warnings": list(found.warnings),
                    "notes": list(found.notes),
                    "table": list(found.table),
                }
                for name, found in self.checks.items()
            },
        }

    def _lines(self) -> list[str]:
        """A line for each evaluator, with a column for each subject, and what the signs mean."""
        subjects = list(self.results)
        names = list(dict.fromkeys(name for found in self.results.values() for name in found))
        rows = [["", *subjects]]
        for name in names:
            metric = primary_metric(next(found[name] for found in self.results.values() if name in found))[0]
            row = [f"{name} {metric.replace('_', ' ')}"]
            for subject in subjects:
                result = self.results[subject].get(name)
                sign = (
                    _SIGNS[self.paired_comparisons[name, subject].outcome]
                    if (name, subject) in self.paired_comparisons
                    else ""
                )
                row.append(f"{primary_metric(result)[1]} {sign}".rstrip() if result else "")
            rows.append(row)
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        if not self.paired_comparisons:
            return lines
        tested = sum(pair.p_value is not None for pair in self.paired_comparisons.values())
        how = f"95 %; paired over the test samples, corrected for {tested} pairs by Holm"
        return [*lines, f"< below the encoder, > above it, no sign: not told apart ({how})", self._in_short()]

    def _in_short(self) -> str:
        """How often the encoder stands above, level with and below each of the others."""
        parts = []
        for subject in [name for name in self.results if name != ENCODER]:
            words = [pair.outcome for (_, other), pair in self.paired_comparisons.items() if other == subject]
            counts = [
                f"{word} in {words.count(word)}"
                for word in ("better", "not significantly different", "worse")
                if word in words
            ]
            parts.append(f"{subject}: {', '.join(counts)}")
        return f"the encoder beside {'; '.join(parts)}"

    def _choices(self) -> list[str]:
        """What each evaluator chose, and on what."""
        by: dict[str, list[str]] = {}
        for name, result in self.results.get(ENCODER, {}).items():
            if result.chosen:
                said = ", ".join(f"{key.replace('_', ' ')} {_worded(value)}" for key, value in result.chosen.items())
                by.setdefault(result.chosen_on, []).append(f"{name} {said}")
        return [f"chosen on {on}: {'; '.join(said)}" for on, said in by.items()]

    def _checked(self) -> list[str]:
        """The figures of the checks."""
        lines = []
        for name, found in self.checks.items():
            figures = [f"{key.replace('_', ' ')} {_worded(value)}" for key, value in found.values.items()]
            lines += [f"{name}: {', '.join(figures)}"] if figures else []
        return lines

    def sampled(self) -> list[str]:
        """What the figures of evaluators and checks are of, where that is not everything."""
        notes = {f"{name}: {note}": None for name, r in self.results.get(ENCODER, {}).items() for note in r.notes}
        return [*notes, *(note for found in self.checks.values() for note in found.notes)]


def _worded(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping)):
        return str(value)
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{_worded(one)}" for key, one in value.items())
    return f"{value:.3g}" if not float(value).is_integer() or abs(value) >= 1e6 else f"{int(value)}"


def _plain(result: Result) -> dict[str, Any]:
    return {
        "metrics": {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in result.metrics.items()},
        "chosen": {
            name: value.item() if isinstance(value, np.generic) else value for name, value in result.chosen.items()
        },
        "chosen_on": result.chosen_on,
        "chance": result.chance,
        "notes": list(result.notes),
        "table": result.table,
        "plot_data": {name: array.tolist() for name, array in result.plot_data.items() if array.size <= _FIGURE},
    }
