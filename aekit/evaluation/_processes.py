"""Run evaluators in other processes, because the Python code of two evaluators in one process takes turns."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch

from aekit.errors import DEBUG, AekitError, first_line
from aekit.evaluation._worker import answer_evaluators
from aekit.evaluation.results import Result, Split
from aekit.io.child_processes import Child, can_fork, end_children, fork_child, start_child
from aekit.io.memory import free_memory
from aekit.registry.discovery import SESSION, Plugin

WORKER = "aekit.evaluation._worker"
"""Module that a process runs."""
MIN_WORK = 20_000
"""Samples x evaluators x subjects from which a process saves more time than its imports take."""
MAX_PROCESSES = 3
"""Most processes besides this one: the longest evaluator of eight takes a quarter of their time."""
LEAST_LIMIT = 2**28
"""Bytes that a result may have where memory is short; else it may have as many as are free."""
PROCESS_BYTES = 2**30
"""Free memory for each process, besides twice the embeddings."""

Runner = Callable[[Plugin, np.ndarray, "np.ndarray | None", Split, dict[str, Any]], Result]
"""Run an evaluator on embeddings, targets and a split, with its options."""


class EvaluatorProcesses:
    """Processes that run evaluators for threads of this one, which runs others itself meanwhile.

    Args:
        children: the processes; none: all evaluators run in this one.
        say: receives a line if a process ends by itself.

    Attributes:
        ended: whether the processes were ended, as no more results are needed.
    """

    def __init__(self, children: list[Child], say: Callable[[str], None]) -> None:
        self.children, self.say, self.ended = children, say, False
        self._free: SimpleQueue[Child] = SimpleQueue()
        self._features: dict[
            int, np.ndarray
        ] = {}  # that each process has; held, so that no other array has the identity
        for child in children:
            self._free.put(child)

    def run(
        self,
        here: Runner,
        plugin: Plugin,
        features: np.ndarray,
        values: np.ndarray | None,
        split: Split,
        settings: dict[str, Any],
    ) -> Result:
        """Run an evaluator in a process if one is free, else by `here`.

        Raises:
            AekitError: of the evaluator.
        """
        try:
            child = None if plugin.distribution == SESSION else self._free.get_nowait()
        except Empty:
            child = None
        if child is None:
            return here(plugin, features, values, split, settings)
        try:
            has_features = self._features.get(id(child)) is features
            child.send((plugin, None if has_features else features, values, split, settings))
            self._features[id(child)] = features
            outcome, said = _read(child)
        except (EOFError, OSError) as error:
            if self.ended:
                raise AekitError("the evaluation has ended") from None
            ended = child.end()
            reason = ended if isinstance(error, (EOFError, ConnectionError)) else first_line(error)
            self.say(f"a process of evaluators ended; its evaluators run in this process instead: {reason}")
            self.children.remove(child)
            return here(plugin, features, values, split, settings)
        self._free.put(child)
        for text, category in said:
            warnings.warn(text, category, stacklevel=2)
        if isinstance(outcome, AekitError):
            raise outcome
        return outcome


def _read(child: Child) -> tuple[Result | AekitError, list[tuple[str, type[Warning]]]]:
    """Read the outcome of an evaluator, and its warnings.

    Raises:
        EOFError, OSError: the process has ended, or has sent something else.
    """
    content = child.receive(max(free_memory(), LEAST_LIMIT))
    try:
        # As `Connection.recv` does: it comes from a process of our own, by a socket that nobody else has.
        outcome, said = ForkingPickler.loads(content)
        if isinstance(outcome, (Result, AekitError)) and all(issubclass(category, Warning) for _, category in said):
            return outcome, said
        problem = f"a {type(outcome).__name__}"
    except Exception as error:
        problem = first_line(error)
    raise OSError(f"it sent an invalid result: {problem}")


@contextmanager
def evaluator_processes(
    samples: int, width: int, evaluators: int, subjects: int, say: Callable[[str], None]
) -> Iterator[EvaluatorProcesses]:
    """Start processes if there are cores, memory and work for them; they end with the context.

    Args:
        samples: number of embeddings.
        width: their dimensions, or those of the widest baseline.
        evaluators: number of evaluators that run side by side.
        subjects: number of embeddings that they evaluate, baselines included.
        say: receives a line if a process ends by itself.
    """
    count = 0
    # With --debug tracebacks are printed here. Evaluators on a GPU are fast, and each process would take memory of it.
    if samples * evaluators * subjects >= MIN_WORK and not os.environ.get(DEBUG) and not torch.cuda.is_available():
        room = free_memory() // (PROCESS_BYTES + 8 * samples * width)
        count = min(torch.get_num_threads() - 1, evaluators * subjects - 1, MAX_PROCESSES, room)
    processes = EvaluatorProcesses(_start(count, say), say)
    try:
        yield processes
    finally:
        processes.ended = True
        end_children(processes.children)


def _start(count: int, say: Callable[[str], None]) -> list[Child]:
    """Start processes, or fewer, with a line, where the system refuses another one or its files."""
    forks, children = can_fork(), list[Child]()
    try:
        while len(children) < count:
            children.append(fork_child(answer_evaluators, 1) if forks else start_child(WORKER, 1))
    except OSError as error:
        say(f"evaluators run in {len(children)} processes beside this one, not {count}: {first_line(error)}")
    return children
