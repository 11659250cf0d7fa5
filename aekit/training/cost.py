"""Estimate from its first steps how long a training takes."""

from __future__ import annotations

from collections.abc import Sequence

from aekit.data.source import Source

MEASURED_STEPS, MEASURED_SECONDS = 3, 2.0
"""Fewest steps and least time that are measured, from the end of the first step, which includes compiling and other warm-up."""
MIN_SECONDS = 30.0
"""Shortest estimate that is reported."""


class CostEstimate:
    """Estimated time of a phase of training.

    Args:
        title: title of the phase.
        epochs: its number of epochs.
        steps: its number of steps.
        settings: dotted names of the recipe settings that lower its time.
    """

    def __init__(self, title: str, *, epochs: int, steps: int, settings: Sequence[str]) -> None:
        self.title, self.epochs, self.steps, self.settings = title, epochs, steps, settings
        self.step, self.first_end, self.done = 0, 0.0, False

    def after_step(self, now: float) -> str | None:
        """Count a step that ended at `now`, in seconds; return one line about the time of all steps, once, if they take long."""
        self.step += 1
        if self.step == 1:
            self.first_end = now
        measured_steps, measured = self.step - 1, now - self.first_end
        if self.done or measured_steps < MEASURED_STEPS or measured < MEASURED_SECONDS or self.step >= self.steps:
            return None
        self.done = True
        seconds = self.steps * measured / measured_steps
        return self._line(seconds) if seconds >= MIN_SECONDS else None

    def _line(self, seconds: float) -> str:
        length = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        if self.steps != self.epochs:
            length += f", {self.steps:,} steps"
        hint = f"{' and '.join(self.settings)} {'lower' if len(self.settings) > 1 else 'lowers'} it"
        return f"{self.title}: about {_rounded(seconds)} ({length}; {hint})"


def size_setting(source: Source) -> str | None:
    """Return the dotted name of the setting for the size of images or frames, or None if the source does not resize them."""
    resizes = source.spec.is_visual and source.spec.resize is not None
    return f"data.{source.origin['source']}.size" if resizes and source.origin else None


def _rounded(seconds: float) -> str:
    if seconds < 95:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
