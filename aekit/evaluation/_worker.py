"""Run evaluators in a process of their own. ``python -m aekit.evaluation._worker DESCRIPTOR`` runs one."""

from __future__ import annotations

import contextlib
import sys
import warnings
from multiprocessing.connection import Connection

import numpy as np

from aekit.errors import AekitError, DataError, PluginError
from aekit.evaluation._concurrency import computing_threads
from aekit.evaluation._evaluators import run_evaluator
from aekit.evaluation.results import Result

ERRORS = (DataError, PluginError, AekitError)
"""Classes that an error is sent as: the first that it is one of."""


def main() -> None:
    """Answer evaluators on the connection that the command line names."""
    with Connection(int(sys.argv[1])) as parent:
        answer_evaluators(parent)


def answer_evaluators(parent: Connection) -> None:
    """Answer evaluators with their results and warnings until the other end of the connection is closed."""
    features = np.empty((0, 0), np.float32)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), computing_threads(1):
        outcome: Result | AekitError
        while True:
            plugin, sent, values, split, settings = parent.recv()
            features = features if sent is None else sent
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    outcome = run_evaluator(plugin, features, values, split, settings)
                except AekitError as error:
                    outcome = next(known for known in ERRORS if isinstance(error, known))(str(error))
            parent.send((outcome, [(str(warning.message), warning.category) for warning in caught]))


if __name__ == "__main__":
    main()
