"""Run the evaluators of all subjects in one queue, while the features of the next subject are still being computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from aekit.errors import AekitError
from aekit.evaluation._concurrency import computing_threads, concurrently
from aekit.evaluation._evaluators import run_evaluator
from aekit.evaluation._processes import EvaluatorProcesses
from aekit.evaluation.results import Result, Split
from aekit.registry.discovery import SESSION, Plugin, prints_to_stderr

Selected = dict[str, tuple[Plugin, dict[str, Any], bool]]
"""Name -> plugin, options, and whether the evaluator uses the labels."""
Outcome = Result | AekitError
"""Result of an evaluator, or the one-line error of one that refuses the data or whose code fails."""


class HasFeatures(Protocol):
    """A subject of the evaluation."""

    @property
    def features(self) -> np.ndarray:
        """(N, D) embeddings."""


Subject = TypeVar("Subject", bound=HasFeatures)


class _Job(NamedTuple):
    """An evaluator and the number of the subject that it evaluates."""

    subject: int
    name: str


class EvaluatorQueue:
    """Evaluators of several subjects, each of which runs in the first process or thread that is free.

    Processes take evaluators as soon as their subject is known. Threads of this process take theirs once all subjects are known,
    as until then it computes features. The widest features are taken first, and of these the evaluator that took longest on
    another subject, so that none still runs when all others have ended.

    Most of the work is in small products and sorts, which several threads each slow down; so each evaluator has a share of the
    threads, one on two cores. Evaluators that are not tagged ``concurrent`` run one by one.

    Args:
        selected: name -> plugin, options, and whether the evaluator uses the labels; one that is deleted runs no more.
        values: (N,) or (N, L) targets, or None.
        split: positions in features and targets.
        processes: that run evaluators beside this process.
    """

    def __init__(
        self, selected: Selected, values: np.ndarray | None, split: Split, processes: EvaluatorProcesses
    ) -> None:
        self.selected, self.values, self.split, self.processes = selected, values, split, processes
        self.threads = torch.get_num_threads()
        self._plugins = dict(selected)
        self._together = [name for name, (plugin, _, _) in selected.items() if "concurrent" in plugin.entry.tags]
        self._features: dict[int, np.ndarray] = {}
        self._waiting: list[_Job] = []
        self._outcomes: dict[_Job, Outcome | BaseException] = {}
        self._seconds: dict[str, float] = {}
        self._serving, self._busy, self._closed = 0, 0, False
        self._changed = threading.Condition()

    def run(self, subjects: Iterable[Subject]) -> Iterator[tuple[Subject, Iterator[tuple[str, Outcome]]]]:
        """Yield each subject with the names and outcomes of its evaluators, in the order of both.

        Without processes a subject is evaluated before the features of the next one are computed. With them, the features of
        all subjects are in memory until they are evaluated.
        """
        if not self.processes.children:
            for number, subject in enumerate(subjects):
                self._add(number, subject.features)
                with self._helpers():
                    yield subject, self._results(number)
            return
        try:
            self._serving = len(self.processes.children)
            for _ in range(self._serving):
                threading.Thread(target=self._serve, name="evaluator-process", daemon=True).start()
            known = []
            with computing_threads(max(1, self.threads - self._serving)):
                for number, subject in enumerate(subjects):
                    self._add(number, subject.features)
                    known.append(subject)
                    if self._all_failed():  # then they would for all others
                        break
            with self._helpers():
                for number, subject in enumerate(known):
                    yield subject, self._results(number)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def free_cores(self) -> int:
        """Return the number of cores on which no evaluator runs, at least 1, for features that are computed beside them."""
        with self._changed:
            busy = self._busy
        return max(1, self.threads - busy)

    def _add(self, number: int, features: np.ndarray) -> None:
        with self._changed:
            self._features[number] = features
            self._waiting += [_Job(number, name) for name in self._together if name in self.selected]
            self._changed.notify_all()

    def _all_failed(self) -> bool:
        """Return whether every evaluator has failed on the first subject."""
        with self._changed:
            outcomes = [self._outcomes.get(_Job(0, name)) for name in self.selected]
        return all(isinstance(outcome, AekitError) for outcome in outcomes)

    def _results(self, number: int) -> Iterator[tuple[str, Outcome]]:
        for name in list(self.selected):
            job = _Job(number, name)
            if name not in self._together:
                self._run(job, run_evaluator)
            with self._changed:
                while job not in self._outcomes:
                    self._changed.wait()
                outcome = self._outcomes.pop(job)
            if not isinstance(outcome, Result | AekitError):
                raise outcome
            yield name, outcome
        with self._changed:
            del self._features[number]

    @contextmanager
    def _helpers(self) -> Iterator[None]:
        """Let threads of this process run the evaluators that wait, until none does."""
        beside = len(self.processes.children)
        count = max(1, min(len(self._together), self.threads) - beside)
        with prints_to_stderr(), concurrently(count, beside) as submit:
            for _ in range(count):
                submit(self._help).add_done_callback(self._hand_on_failure)
            try:
                yield
            finally:
                with self._changed:
                    self._waiting.clear()

    def _help(self) -> None:
        while job := self._take():
            self._run(job, run_evaluator)

    def _hand_on_failure(self, helper: Future[None]) -> None:
        """Let the evaluators that wait fail as a thread did that could not begin: their results would be waited for in vain."""
        error = None if helper.cancelled() else helper.exception()
        if error is not None:
            with self._changed:
                self._outcomes |= dict.fromkeys(self._waiting, error)
                self._waiting.clear()
                self._changed.notify_all()

    def _serve(self) -> None:
        """Hand evaluators to a process, as long as there is one for each thread that does."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._candidates(for_process=True))
                if self._closed or self._serving > len(self.processes.children):
                    self._serving -= 1
                    return
                job = self._take(for_process=True)
                self._busy += 1
            if job:
                self._run(job, partial(self.processes.run, run_evaluator))
            with self._changed:
                self._busy -= 1

    def _candidates(self, *, for_process: bool) -> list[_Job]:
        """Return the jobs that wait; a process does not know evaluators that are objects of this session."""
        waiting = [job for job in self._waiting if job.name in self.selected]
        return [job for job in waiting if not for_process or self._plugins[job.name][0].distribution != SESSION]

    def _take(self, *, for_process: bool = False) -> _Job | None:
        """Return the job that probably takes longest; None if none waits."""
        with self._changed:
            if not (jobs := self._candidates(for_process=for_process)):
                return None
            job = max(jobs, key=lambda job: (self._features[job.subject].shape[1], self._seconds.get(job.name, 0)))
            self._waiting.remove(job)
            return job

    def _run(self, job: _Job, run: Callable[..., Result]) -> None:
        plugin, settings, uses_labels = self._plugins[job.name]
        start = time.perf_counter()
        outcome: Outcome | BaseException
        try:
            outcome = run(
                plugin, self._features[job.subject], self.values if uses_labels else None, self.split, settings
            )
        except BaseException as error:  # raised where the results are read
            outcome = error
        with self._changed:
            self._seconds[job.name] = time.perf_counter() - start
            self._outcomes[job] = outcome
            self._changed.notify_all()
