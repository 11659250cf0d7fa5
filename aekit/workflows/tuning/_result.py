"""Hold the result of a search, and say it in three sentences and a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.evaluation.results import Metric
from aekit.io.summaries import html_summary
from aekit.workflows.comparing.comparison import Comparison, compare

BEST, DEFAULT_RUN, RECIPE = "best", "default", "best.toml"


@dataclass(frozen=True, eq=False)
class Tuning:
    """The result of `aekit.tune`.

    Attributes:
        folder: folder of the search.
        winner: name of the winning candidate.
        settings: settings of the winner by dotted name.
        criterion: what decided between the candidates.
        validation: score of the winner on the validation part, by which it was chosen.
        metric: name of the metric on the test part.
        test: score of the refitted winner on the test part.
        default: score of the default recipe on the test part.
        difference: winner less default on the test part, in pairs; None where single samples have no scores.
        optimism: by how much the validation score is too good, as the best of all candidates; None if unknown.
        more_training: gain that twice the training time is expected to bring; None if unknown.
        more_candidates: gain of the second half of the candidates; None if unknown.
        counts: numbers of candidates by outcome: ``complete``, ``pruned``, ``fail``.
        candidates: a row per candidate.
        seconds: time of all calls.
        minutes: the budget.
        is_default: whether the default recipe won.
        is_untrained_default: whether the winner is what `aekit.fit` makes without options, and that is not trained.

    Examples:
        >>> tuning = aekit.tune("sklearn:wine", "search", minutes=0.5)
        >>> tuning.winner in {row["candidate"] for row in tuning.candidates}
        True
        >>> tuning.minutes
        0.5
    """

    folder: Path
    winner: str
    settings: Mapping[str, Any]
    criterion: str
    validation: float
    metric: str
    test: Metric
    default: Metric
    difference: Metric | None
    optimism: float | None
    more_training: Metric | None
    more_candidates: Metric | None
    counts: Mapping[str, int]
    candidates: list[dict[str, Any]] = field(repr=False)
    seconds: float
    minutes: float
    is_default: bool
    is_untrained_default: bool = False

    @property
    def run(self) -> Path:
        """Folder of the refitted winner, a run of `aekit.fit`."""
        return self.folder / (DEFAULT_RUN if self.is_default else BEST)

    @property
    def encoder(self) -> Encoder:
        """The refitted winner."""
        return load(self.run)

    @cached_property
    def comparison(self) -> Comparison:
        """The winner, the default recipe and the baselines on the test part."""
        return compare(
            [self.folder / DEFAULT_RUN] if self.is_default else [self.folder / BEST, self.folder / DEFAULT_RUN]
        )

    def sentences(self) -> list[str]:
        """Return what won, by how much, and what more time would bring, with its uncertainty."""
        return [self._what_won(), self._by_how_much(), self._more_time()]

    def text(self, width: int = 120) -> str:
        """Return the sentences and the table for a terminal with `width` columns."""
        return "\n".join([*self.sentences(), "", self.comparison.text(width)])

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Tuning: {self._what_won()}>"

    def _repr_html_(self) -> str:
        first, *others = self.sentences()
        return html_summary(first, others, self.candidates)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the comparison as plain JSON."""
        values = {name: value for name, value in vars(self).items() if name not in ("folder", "comparison")}
        plain = {name: vars(value) if isinstance(value, Metric) else value for name, value in values.items()}
        return plain | {"run": self.run.name, "sentences": self.sentences()}

    @classmethod
    def from_dict(cls, folder: Path, record: Mapping[str, Any]) -> Tuning:
        """Restore the result in a folder from what `to_dict` returned."""
        metrics = ("test", "default", "difference", "more_training", "more_candidates")
        values = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        values |= {name: Metric(**values[name]) for name in metrics if values[name] is not None}
        return cls(folder.absolute(), **values)

    def _what_won(self) -> str:
        tried = sum(self.counts.values())
        to_the_end = self.counts.get("complete", 0)
        stopped = f"{to_the_end} trained to the end, {self.counts.get('pruned', 0)} stopped early"
        failed = f", {self.counts['fail']} left out" if self.counts.get("fail") else ""
        if tried == 1:
            return f"There was time for the default recipe only, with {self.validation:.3f} by {self.criterion}."
        winner = self._changed_default() if self.winner == "default" else self.winner
        if self.is_untrained_default:
            winner = f"{winner}, which is what aekit fit makes without options,"
        return (
            f"{'The default recipe' if self.is_default else winner} won among {tried} candidates ({stopped}{failed}) "
            f"with {self.validation:.3f} by {self.criterion}."
        )

    def _changed_default(self) -> str:
        """Name a winner that is the default recipe, trained longer or with other settings."""
        changed = {name: value for name, value in self.settings.items() if name != "train.epochs"}
        listed = ", ".join(
            f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in changed.items()
        )
        return f"The default recipe with {listed}" if changed else "The default recipe, trained longer,"

    def _by_how_much(self) -> str:
        test = f"On the test part, which no candidate saw, it has {self.test} ({self.metric})"
        default = "the default training" if self.is_untrained_default else "the default recipe"
        if self.is_default:
            ahead = max((row["score"] for row in self.candidates if row["score"] is not None), default=0.0)
            by = " by more than a standard error of the difference" if ahead > self.validation else ""
            against = f"no candidate was better than the default recipe{by}"
        elif self.difference is None:
            against = f"{default} {self.default.value:.3f}"
        else:
            low, high = self.difference.low, self.difference.high
            clear = "" if low is not None and high is not None and (low > 0 or high < 0) else ", not significant"
            against = f"{default} {self.default.value:.3f}, a difference of {_signed(self.difference)}{clear}"
        chosen = ""
        if self.optimism is not None:
            chosen = (
                f"; having chosen among the candidates makes its validation score about {self.optimism:.3f} too high"
            )
        return f"{test}; {against}{chosen}."

    def _more_time(self) -> str:
        parts = []
        if self.more_training is not None:
            parts.append(f"twice the training time is expected to change the score by {_signed(self.more_training)}")
        if self.more_candidates is not None:
            parts.append(
                f"the second half of the candidates changed the score by {_signed(self.more_candidates)}, about the most that "
                f"as many more would bring"
            )
        if not parts:
            return "What more time would bring is unknown: too few candidates and rungs."
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}."


def _signed(metric: Metric) -> str:
    interval = ""
    if metric.low is not None and metric.high is not None and np.isfinite([metric.low, metric.high]).all():
        interval = f" [{metric.low:+.3f}, {metric.high:+.3f}]"
    return f"{metric.value:+.3f}{interval}"
