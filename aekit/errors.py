"""What a person can cause. Each message is one line: what was found, where, what was expected, the nearest valid name.

Library code raises these; only the command line exits (code 2). Any other exception is a bug in aekit or in a plugin.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AekitError(Exception):
    """A mistake that the person running aekit can mend."""


class DataError(AekitError):
    """Data that cannot be read, or that does not fit what it is used with."""


class RecipeError(AekitError):
    """A recipe or options with mistakes; `problems` holds one line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class PluginError(AekitError):
    """A plugin that is missing, disabled, broken, ambiguous, or written for another plugin API."""


class IdentityError(AekitError):
    """An artifact that was made by another encoder than the one at hand, or that was damaged."""


class OutputError(AekitError):
    """A place that cannot be written to, or that holds something that would be lost."""


class TrainingError(AekitError):
    """A run that cannot go on, such as one whose loss is no longer finite."""


LISTED = 50
"""Names that a message lists at most."""


def closest_name(name: str, names: Iterable[str]) -> str:
    """A phrase such as ``"; did you mean 'conv'?"``, or what there is if nothing comes near and it is not too much to list."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}" if 0 < len(known) <= LISTED else ""
