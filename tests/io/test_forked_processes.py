"""Copies of a process: what they inherit, how they end, and that evaluators answer in them as in the process itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from aekit.io.child_processes import can_fork

PREPARED = """
import json, os, signal, subprocess, sys, threading
from aekit._lazy import QuickImports
QuickImports.freezes = True  # as in a command
from aekit.io.child_processes import can_fork, end_children, fork_child
"""
COPY = """
signal.signal(signal.SIGINT, lambda number, frame: None)
unrelated = open(os.devnull)

def answer(parent):
    while (question := parent.recv()) != "fail":
        files = sorted(map(int, os.listdir("/proc/self/fd")))
        ignores = signal.getsignal(signal.SIGINT) != signal.SIG_DFL
        parent.send([os.getsid(0) == os.getpid(), ignores, len(files), os.environ["OMP_NUM_THREADS"], sys.stdin.read()])
    raise ValueError("what it was asked for")

assert can_fork()
first, second = fork_child(answer, 3), fork_child(answer, 3)
second.connection.send("?")
print(json.dumps(second.connection.recv()))
first.connection.send("fail")
print(json.dumps([first.process.wait(10), first.end(), second.process.poll()]))
second.connection.close()
print(json.dumps([second.process.wait(10), second.process.poll()]))
third = fork_child(answer, 1)
end_children([third])
print(json.dumps(third.process.poll()))
other = threading.Thread(target=threading.Event().wait, daemon=True)
other.start()
print(json.dumps(can_fork()))
sys.stdout.flush()
os._exit(0)
"""
FULL = """
import resource
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 + {spare}, limits[1]))
try:
    child = fork_child(lambda parent: parent.send("here"), 1)
    said = child.connection.recv()
except OSError as error:
    said = error.strerror
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(json.dumps(said))
sys.stdout.flush()
os._exit(0)
"""
STOPPED = """
import time
os.environ["AEKIT_MESSAGE_SECONDS"] = "0.3"
child = fork_child(lambda parent: parent.recv(), 1)
os.kill(child.process.pid, signal.SIGSTOP)
start = time.monotonic()
try:
    child.send(bytes(5_000_000))
except TimeoutError as error:
    print(json.dumps([str(error), time.monotonic() - start]))
print(json.dumps(child.end()))
slow = fork_child(lambda parent: [time.sleep(0.1), parent.send(len(parent.recv())), parent.recv()], 1)
slow.send(bytes(5_000_000))
print(json.dumps(slow.connection.recv()))
end_children([slow])
"""
EVALUATION = """
import numpy as np
import torch
import aekit
from aekit.evaluation import _processes
torch.set_num_threads(2)
generator = np.random.default_rng(0)
labels = np.repeat(["cat", "dog", "fox"], 40)
rows = (generator.normal(size=(120, 6)) + 2 * (labels == "dog")[:, None]).astype(np.float32)
other = {"noise": generator.normal(size=(120, 6)).astype(np.float32)}
forked = []
_processes.fork_child = lambda *arguments: forked.append(fork_child(*arguments)) or forked[-1]

def results():
    evaluation = aekit.evaluate(rows, labels, evaluators=["knn", "probe", "kmeans"], compare_with=other, progress=False)
    return json.dumps(evaluation.to_dict()["results"])

alone, count = results(), len(forked)
_processes.MIN_WORK = 1
beside = results()
print(json.dumps([count, len(forked), alone == beside, forked[0].process.poll()]))
"""


def lines(program: str) -> list[Any]:
    done = subprocess.run([sys.executable, "-c", PREPARED + program], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_a_copy_has_nothing_of_the_process_but_its_connection() -> None:
    inherited, failed, closed, killed, with_thread = lines(COPY)
    assert inherited == [True, False, 5, "3", ""]  # with the connection, and the listing of files itself
    assert failed[0] == 1 and failed[1].startswith("it exited with code 1: ValueError: what it was asked for")
    assert failed[2] is None  # the end of one copy is not that of another
    assert closed == [1, 1] and killed == -9  # it ends when the other end of its connection is closed
    assert with_thread is False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_a_copy_that_stops_reading_is_not_waited_for() -> None:
    (problem, seconds), ended, received = lines(STOPPED)
    assert problem == "it stopped reading in the middle of a message for 0.3 s (AEKIT_MESSAGE_SECONDS)"
    assert 0.25 < seconds < 60
    assert ended.startswith("it was ended by signal 9")
    assert received == 5_000_000  # one that reads in time gets all


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_evaluators_answer_in_a_copy_as_in_the_process() -> None:
    assert lines(EVALUATION) == [[0, 1, True, -9]]


def test_a_session_of_python_is_not_copied() -> None:
    assert not can_fork()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize(("spare", "said"), [(0, "Too many open files"), (3, "here"), (4, "here")])
def test_a_copy_needs_no_more_files_than_the_process_that_makes_it(spare: int, said: str) -> None:
    program = PREPARED + FULL.format(spare=spare)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (json.loads(done.stdout), done.stderr) == (said, "")
