"""Evaluators in a process beside this one: same results, errors and warnings, and no evaluation is lost with the process."""

from __future__ import annotations

import errno
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aekit
from aekit.errors import DataError, PluginError
from aekit.evaluation import _processes, run
from aekit.evaluation._processes import EvaluatorProcesses
from aekit.evaluation._queue import EvaluatorQueue
from aekit.evaluation.results import Metric, Result, Split
from aekit.evaluation.splits import make_split
from aekit.io.child_processes import start_child
from aekit.registry.discovery import SESSION, Plugin, registry
from aekit.registry.hookspecs import API_VERSION, Entry

PLUGIN = """
import os
import warnings

def warn(embeddings, labels, split):
    warnings.warn("few samples")
    return {"process": os.getpid(), "sum": float(embeddings.sum())}

def fail(embeddings, labels, split):
    return 1 / 0
"""


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[EvaluatorProcesses, list[str]]]:
    """A process that can import `PLUGIN`, and the lines it is the reason of."""
    (tmp_path / "counting_evaluators.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    lines: list[str] = []
    processes = EvaluatorProcesses([start_child(_processes.WORKER, 1)], lines.append)
    yield processes, lines
    _processes.end_children(processes.children)


def not_here(*arguments: Any) -> Result:
    raise AssertionError("it ran in this process")


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, Split]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(["cat", "dog", "fox"], 40)
    rows = (generator.normal(size=(120, 6)) + 2 * (labels == "dog")[:, None]).astype(np.float32)
    return rows, labels, make_split(labels, None, seed=0)


def plugin(function: str, distribution: str = "counting") -> Plugin:
    return Plugin(
        "evaluator", Entry(function, f"counting_evaluators:{function}", "counts", API_VERSION), distribution, "1"
    )


def test_results_errors_and_warnings_are_those_of_the_evaluator(one: tuple[EvaluatorProcesses, list[str]]) -> None:
    processes, lines = one
    for seed in (0, 0, 1):
        rows, labels, split = data(seed)
        with pytest.warns(UserWarning, match="few samples"):
            result = processes.run(not_here, plugin("warn"), rows, labels, split, {})
        assert result.metrics["process"].value == processes.children[0].process.pid
        assert result.metrics["sum"].value == pytest.approx(float(rows.sum()), abs=1e-3)
    with pytest.raises(PluginError, match=r"evaluator 'fail' of counting 1 failed with ZeroDivisionError: .* line 10"):
        processes.run(not_here, plugin("fail"), rows, labels, split, {})
    anomaly = registry().get("evaluator", "anomaly")
    with pytest.raises(DataError, match=r"no training samples of class 'wolf'"):
        processes.run(not_here, anomaly, rows, labels, split, {"normal": ["wolf"]})
    # An evaluator that is an object of this session is not known in another process.
    here = Result({"here": Metric(1.0)})
    assert processes.run(lambda *_: here, plugin("warn", SESSION), rows, labels, split, {}) is here
    assert not lines


def test_evaluators_go_on_without_a_process_that_ended(one: tuple[EvaluatorProcesses, list[str]]) -> None:
    processes, lines = one
    processes.children[0].process.kill()
    here = Result({"here": Metric(1.0)})
    for _ in range(2):
        assert processes.run(lambda *_: here, plugin("warn"), *data(), {}) is here
    assert len(lines) == 1 and "it was ended by signal 9" in lines[0] and not processes.children


def test_evaluators_go_on_without_a_process_that_stops_reading(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("AEKIT_MESSAGE_SECONDS", "0.3")
    processes, lines = request.getfixturevalue("one")
    os.kill(processes.children[0].process.pid, signal.SIGSTOP)
    rows, labels = np.zeros((4000, 500), np.float32), np.repeat(["cat", "dog"], 2000)
    split, here = make_split(labels, None, seed=0), Result({"here": Metric(1.0)})
    for _ in range(2):
        assert processes.run(lambda *_: here, plugin("warn"), rows, labels, split, {}) is here
    problem = "it stopped reading in the middle of a message for 0.3 s (AEKIT_MESSAGE_SECONDS)"
    assert lines == [f"a process of evaluators ended; its evaluators run in this process instead: {problem}"]
    assert not processes.children


def test_an_evaluation_is_the_same_with_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels, _ = data()
    threads = torch.get_num_threads()
    started: list[str] = []

    def start(module: str, count: int) -> Any:
        started.append(module)
        return start_child(module, count)

    monkeypatch.setattr(_processes, "start_child", start)
    torch.set_num_threads(2)
    try:
        alone = aekit.evaluate(rows, labels, evaluators=["knn", "retrieval", "probe"], progress=False)
        assert not started  # as it takes longer to start one
        monkeypatch.setattr(_processes, "MIN_WORK", 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            beside = aekit.evaluate(rows, labels, evaluators=["knn", "retrieval", "probe"], progress=False)
    finally:
        torch.set_num_threads(threads)
    assert started == [_processes.WORKER]
    for name, result in alone.results["encoder"].items():
        other = beside.results["encoder"][name]
        assert (result.metrics, result.chosen, result.table) == (other.metrics, other.chosen, other.table)


class Beside(EvaluatorProcesses):
    """A process that is a thread of this one."""

    def run(self, here: Any, *arguments: Any) -> Result:
        return here(*arguments)  # type: ignore[no-any-return]


@pytest.mark.parametrize("children", [0, 1])
def test_processes_evaluate_while_the_encoder_is_opened(children: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels, _ = data()
    steps, add = list[str](), EvaluatorQueue._add

    @contextmanager
    def processes(*work: Any) -> Iterator[EvaluatorProcesses]:
        beside = Beside([], print)
        beside.children = [object()] * children  # type: ignore[list-item]
        yield beside

    def find(stored: Any, notes: list[str]) -> None:
        steps.append("open")

    def note_added(queue: EvaluatorQueue, number: int, features: np.ndarray) -> None:
        steps.append("evaluate")
        add(queue, number, features)

    monkeypatch.setattr(run, "evaluator_processes", processes)
    monkeypatch.setattr(run, "find_provenance", find)
    monkeypatch.setattr(EvaluatorQueue, "_add", note_added)
    evaluation = aekit.evaluate(rows, labels, evaluators=["knn", "retrieval"], progress=False)
    assert steps == (["evaluate", "open"] if children else ["open", "evaluate"])
    assert list(evaluation.results["encoder"]) == ["knn", "retrieval"]


@pytest.mark.parametrize("most", [0, 1])
def test_an_evaluation_goes_on_with_the_processes_that_the_system_grants(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, lines = list[Any](), list[str]()

    def start(module: str, count: int) -> Any:
        if len(started) == most:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(start_child(module, count))
        return started[-1]

    monkeypatch.setattr(_processes, "start_child", start)
    monkeypatch.setattr(_processes, "can_fork", lambda: False)
    children = _processes._start(3, lines.append)
    _processes.end_children(children)
    assert children == started and len(children) == most
    said = f"evaluators run in {most} processes beside this one, not 3: Resource temporarily unavailable"
    assert lines == [said]
