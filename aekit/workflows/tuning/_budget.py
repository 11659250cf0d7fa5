"""Keep a search within its minutes: what was spent, and what the end still needs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from aekit.errors import RecipeError

CANDIDATE, LONGER = 1 / 10, 1.5
"""Most time of one training as a fraction of the budget, and as a multiple of the default recipe's own."""
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
        evaluation: seconds of evaluating one encoder on the test part.
    """

    seconds: float
    spent_before: float = 0.0
    training: float = 0.0
    evaluation: float = 0.0
    start: float = field(default_factory=lambda: now())

    @property
    def spent(self) -> float:
        return self.spent_before + now() - self.start

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def plan(self, seconds_of_default: float, seconds_of_epoch: float) -> None:
        """Set the time of one training.

        Args:
            seconds_of_default: of the whole training of the default recipe.
            seconds_of_epoch: of one epoch of it, the least that a training takes.
        """
        wanted = min(CANDIDATE * self.seconds, LONGER * seconds_of_default)
        self.training = max(wanted, seconds_of_epoch)

    def final(self, growth: float, wider: float = 1.0) -> float:
        """Return the seconds that the end needs: training the winner again, and evaluating it.

        Args:
            growth: samples that the winner is trained on, relative to those of a candidate.
            wider: time of scoring the winner, relative to that of the default recipe.
        """
        return self.training * growth + self.evaluation * max(1.0, wider) + MARGIN * self.seconds

    def has(self, seconds: float, growth: float, wider: float) -> bool:
        """Return whether there is time for something, and for the end after it."""
        return self.left - self.final(growth, wider) >= seconds

    def check_enough(self, step: float, epoch: float, scoring: float, evaluated_samples: float, growth: float) -> None:
        """Refuse a budget that is too small for a single candidate beside the default recipe.

        Args:
            step: seconds of a step.
            epoch: seconds of an epoch of the default recipe.
            scoring: seconds of scoring a candidate.
            evaluated_samples: samples that are evaluated, relative to those that a candidate is scored with.
            growth: as in `final`.

        Raises:
            RecipeError: it is; the message says how many minutes are needed.
        """
        evaluation = SUBJECTS * scoring * evaluated_samples
        # The default and the winner, each trained and evaluated, and one rung of one candidate.
        needed = self.spent + 2 * (epoch * growth + evaluation) + TIMED * step + epoch * RUNGS[0] + scoring
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
