"""The queue of evaluators: what runs beside the computation of features, in which order, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from aekit.errors import AekitError, DataError
from aekit.evaluation import _queue
from aekit.evaluation._queue import EvaluatorQueue
from aekit.evaluation.results import Metric, Result, Split
from aekit.registry.discovery import Plugin
from aekit.registry.hookspecs import API_VERSION, Entry

SPLIT = Split(np.arange(2), np.arange(2, 3), np.arange(3, 4), "drawn")


class Features(NamedTuple):
    """A subject of a width."""

    features: np.ndarray


class Processes:
    """Processes that run evaluators by a function, in the thread that asks."""

    def __init__(self, count: int, run: Any) -> None:
        self.children = [object() for _ in range(count)]
        self._run = run

    def run(self, here: Any, plugin: Plugin, features: np.ndarray, *arguments: Any) -> Result:
        return self._run(plugin.name, features)


@pytest.fixture
def queue_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EvaluatorQueue]:
    """Make a queue with one process; it and this process run evaluators by the same function of name and features."""

    def make(run: Callable[[str, np.ndarray], Result], chosen: Any) -> EvaluatorQueue:
        monkeypatch.setattr(_queue, "run_evaluator", lambda plugin, features, *_: run(plugin.name, features))
        return EvaluatorQueue(chosen, None, SPLIT, Processes(1, run))  # type: ignore[arg-type]

    return make


def subject(width: int) -> Features:
    return Features(np.zeros((4, width), np.float32))


def selected(*names: str) -> dict[str, tuple[Plugin, dict[str, Any], bool]]:
    entry = {name: Entry(name, "nowhere:nothing", "counts", API_VERSION, tags=("concurrent",)) for name in names}
    return {name: (Plugin("evaluator", entry[name], "counting", "1"), {}, False) for name in names}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_process_evaluates_a_subject_while_the_next_is_computed(queue_of: Callable[..., EvaluatorQueue]) -> None:
    evaluated, order = threading.Event(), []

    def run(name: str, features: np.ndarray) -> Result:
        order.append((name, features.shape[1]))
        evaluated.set()
        return Result({"width": Metric(float(features.shape[1]))})

    queue = queue_of(run, selected("one"))

    def subjects() -> Iterator[Features]:
        yield subject(2)
        assert evaluated.wait(30)  # by the process, as this thread is here
        assert queue.free_cores() == 2 - queue._busy
        yield subject(3)
        yield subject(5)

    widths = [[(name, outcome.metrics["width"].value) for name, outcome in each] for _, each in queue.run(subjects())]  # type: ignore[union-attr]
    assert widths == [[("one", 2)], [("one", 3)], [("one", 5)]]
    assert order[0] == ("one", 2)


def test_the_widest_features_are_evaluated_first(queue_of: Callable[..., EvaluatorQueue]) -> None:
    begun, go_on, order = threading.Event(), threading.Event(), []

    def run(name: str, features: np.ndarray) -> Result:
        order.append(features.shape[1])
        begun.set()
        assert go_on.wait(30)
        return Result({"width": Metric(1.0)})

    queue = queue_of(run, selected("one"))

    def subjects() -> Iterator[Features]:
        yield subject(2)
        assert begun.wait(30)
        for width in (3, 7, 5):
            yield subject(width)
        go_on.set()
        deadline = threading.Event()
        while len(order) < 4 and not deadline.wait(0.01):
            pass

    assert len([list(outcomes) for _, outcomes in queue.run(subjects())]) == 4
    assert order == [2, 7, 5, 3]


def test_no_features_are_computed_for_evaluators_that_have_all_failed(queue_of: Callable[..., EvaluatorQueue]) -> None:
    failed = threading.Event()

    def run(name: str, features: np.ndarray) -> Result:
        failed.set()
        raise DataError(f"{name} refuses")

    queue = queue_of(run, selected("one"))

    def subjects() -> Iterator[Features]:
        yield subject(2)
        assert failed.wait(30)
        while not queue._all_failed():  # until the outcome is known
            pass
        yield subject(3)
        raise AssertionError("the features of a third subject were computed")

    outcomes = [dict(each) for _, each in queue.run(subjects())]
    assert len(outcomes) == 2 and str(outcomes[0]["one"]) == "one refuses"


def test_an_evaluator_that_ends_the_program_ends_the_evaluation(queue_of: Callable[..., EvaluatorQueue]) -> None:
    def run(name: str, features: np.ndarray) -> Result:
        raise SystemExit(3)

    queue = queue_of(run, selected("one"))

    def subjects() -> Iterator[Features]:
        yield subject(2)
        while not queue._outcomes:
            pass

    with pytest.raises(SystemExit):
        [list(outcomes) for _, outcomes in queue.run(subjects())]


def test_an_evaluator_that_is_left_out_runs_no_more(queue_of: Callable[..., EvaluatorQueue]) -> None:
    chosen, ran = selected("one", "two"), []

    def run(name: str, features: np.ndarray) -> Result:
        ran.append((name, features.shape[1]))
        if name == "one":
            raise DataError("no")
        return Result({"width": Metric(1.0)})

    queue = queue_of(run, chosen)

    def subjects() -> Iterator[Features]:
        yield subject(2)
        while len(queue._outcomes) < 2:
            pass
        yield subject(3)

    names = []
    for _, outcomes in queue.run(subjects()):
        for name, outcome in outcomes:
            names.append(name)
            if isinstance(outcome, AekitError):
                del chosen[name]
    assert names == ["one", "two", "two"]


def test_a_thread_that_cannot_begin_ends_the_evaluation_instead_of_being_waited_for(
    queue_of: Callable[..., EvaluatorQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(24, "Too many open files")

    queue = queue_of(lambda name, features: Result({"width": Metric(features.shape[1])}), selected("a", "b", "c"))
    queue.processes.children.clear()
    monkeypatch.setattr("threadpoolctl.threadpool_limits", refuse)
    with pytest.raises(BrokenThreadPool):
        for _, outcomes in queue.run([subject(2)]):
            list(outcomes)
