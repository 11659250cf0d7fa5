"""Keep a search within its time budget: the time spent, and the time that the final runs need."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from aekit.errors import RecipeError

CANDIDATE, REFIT, LONGER = 1 / 12, 1 / 5, 1.5
"""Most time of the training of a candidate and of the winner, as fractions of the budget, and of both as a multiple of the
default recipe's own."""
OWN, SURPLUS = 1 / 3, 1.3
"""Time of evaluating an encoder without baselines, relative to an evaluation with all, and to scoring as many samples."""
WITH_BASELINES = 2.5
"""Time of evaluating an encoder with the baselines that depend on it, relative to one without baselines."""
MARGIN = 0.03
"""Fraction of the budget that stays free, as measured times vary."""
SUBJECTS = 5
"""Evaluations in an evaluation: of the encoder and the baselines, and the checks."""
RUNGS = (1 / 9, 1 / 3, 1.0)
"""Fractions of its training after which a candidate is scored, and stopped unless it is among the best third."""


def now() -> float:
    """Return the time in seconds by which everything is measured."""
    return time.monotonic()


@dataclass
class Budget:
    """The time of a search, over all calls that worked on it.

    Attributes:
        seconds: the budget.
        spent_before: seconds of earlier calls.
        training: seconds of one whole training.
        refit: seconds of the training of the winner, relative to as many samples.
        evaluation: seconds of evaluating the default recipe on the test part, with all baselines.
        evaluated: samples that are evaluated, relative to those that a candidate is scored with.
        start: time at which this call began.
    """

    seconds: float
    spent_before: float = 0.0
    training: float = 0.0
    refit: float = 0.0
    evaluation: float = 0.0
    evaluated: float = 1.0
    start: float = field(default_factory=lambda: now())

    @property
    def spent(self) -> float:
        return self.spent_before + now() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def plan(self, seconds_of_default: float, seconds_of_epoch: float) -> None:
        """Set the time of the training of a candidate and of the winner.

        Args:
            seconds_of_default: of the whole training of the default recipe.
            seconds_of_epoch: of one epoch of it, the least that a training takes.
        """
        longest = LONGER * seconds_of_default
        self.training = max(min(CANDIDATE * self.seconds, longest), seconds_of_epoch)
        self.refit = max(min(REFIT * self.seconds, longest), self.training)

    def evaluation_of(self, scoring: float) -> float:
        """Return the seconds of evaluating an encoder without baselines.

        Args:
            scoring: seconds of scoring it.
        """
        return max(OWN * self.evaluation, SURPLUS * self.evaluated * scoring)

    def final(self, growth: float, scoring: float, *, trains: bool = True) -> float:
        """Return the seconds that the end needs: training the winner again, and evaluating it.

        Args:
            growth: samples that the winner is trained on, relative to those of a candidate.
            scoring: seconds of scoring the winner.
            trains: whether the best candidate is trained at all; if not, another that is may still win.
        """
        training = self.refit if trains else self.training
        return training * growth + self.evaluation_of(scoring) + MARGIN * self.seconds

    def has(self, seconds: float, growth: float, scoring: float, *, trains: bool = True) -> bool:
        """Return whether there is time for something, and for the end after it."""
        return self.left - self.final(growth, scoring, trains=trains) >= seconds

    def check_enough(self, step: float, epoch: float, scoring: float, growth: float) -> None:
        """Refuse a budget that is too small for a single candidate besides the default recipe.

        Args:
            step: seconds of a step.
            epoch: seconds of an epoch of the default recipe.
            scoring: seconds of scoring a candidate.
            growth: as in `final`.

        Raises:
            RecipeError: it is; the message says how many minutes are needed.
        """
        evaluation = SUBJECTS * scoring * self.evaluated
        # The default and the winner, each trained and evaluated, and one rung of one candidate.
        trained = 2 * epoch * growth + epoch * RUNGS[0] + TIMED * step
        needed = self.spent + trained + (1 + OWN) * evaluation + scoring
        needed *= 1 + MARGIN
        if needed > self.seconds:
            tenths = 1 if needed > 600 else 10
            rounded = f"{math.ceil(tenths * needed / 60) / tenths:g}"
            raise RecipeError(
                [
                    f"minutes = {self.seconds / 60:g}: too few for the default recipe and one candidate, which take about "
                    f"{rounded}"
                ]
            )


TIMED = 6
"""Steps that measuring the speed of a candidate takes."""
