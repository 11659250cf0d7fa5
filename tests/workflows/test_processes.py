"""`aekit fit` in two processes that torchrun starts: kills, Ctrl-C, resuming, errors, and who speaks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torchrun import MODULE, TORCHRUN, Gate, finished, rank, started

import aekit
from aekit.errors import RecipeError, TrainingError
from aekit.plugin import Variant
from aekit.workflows import _processes

FIT = {
    "encoder.backbone": "mlp",
    "encoder.dim": 4,
    "objective.variants": ["denoising"],
    "train.epochs": 3,
    "train.batch_size": 16,
    "train.precision": "fp32",
    "train.checkpoint_seconds": 0.0,
    "evaluate.evaluators": [],
}
SETTINGS = [word for name, value in FIT.items() for word in ("--set", f"{name}={value}".replace("'", '"'))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (64, 1, 6, 6), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in two processes that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("together") / "run"
    aekit.fit(data, overrides=FIT, out=folder, report=False, processes=2)
    return folder


def listening_on_networks(process: int) -> list[str]:
    """Return the addresses, in hexadecimal, on which a process or a child of it listens, other than those of the loopback."""
    pids, sockets, listening = [process], set[str](), dict[str, str]()
    for pid in pids:  # grows
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(link))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                listening[f"socket:[{words[9]}]"] = words[1]
    return [place for name, place in listening.items() if name in sockets and not place.startswith("0100007F:")]


def test_two_processes_train_as_one_does(data: Path, together: Path, tmp_path: Path) -> None:
    alone = aekit.fit(data, overrides=FIT, out=tmp_path / "alone", report=False)
    shared = aekit.load(together)
    assert shared.record["metrics"]["loss"] == pytest.approx(alone.record["metrics"]["loss"], rel=1e-5)
    vectors, expected = (encoder.embed(data).vectors for encoder in (shared, alone))
    assert np.abs(vectors - expected).max() <= 1e-3 * np.abs(expected).max()  # of 12 steps of Adam
    assert not (together / "checkpoint").exists() and not (together / ".lock").exists()


def test_a_killed_process_comes_back(data: Path, together: Path, tmp_path: Path) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate")
    command = [*TORCHRUN, "--max-restarts", 1, "-m", "aekit", "fit", data, "-o", run, "--no-report"]
    process = started(*command, *SETTINGS, **gate.variables)
    with gate.closed(process):
        os.kill(rank(1, run), signal.SIGKILL)
    code, said = finished(process)
    assert code == 0, said
    assert said.count("resuming after step") == 1 and said.count("error: ") <= 1, said
    assert aekit.load(run).digest == aekit.load(together).digest
    assert (run / "log.jsonl").read_text() == (together / "log.jsonl").read_text()


@pytest.mark.slow
def test_ctrl_c_on_one_stops_all(data: Path, together: Path, tmp_path: Path) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate")
    command = [sys.executable, "-m", "aekit", "fit", data, "-o", run, "--no-report", "--processes", 2]
    process = started(*command, *SETTINGS, **gate.variables)
    with gate.closed(process):
        assert not listening_on_networks(process.pid)  # on which a stranger may connect
        os.kill(rank(1, run), signal.SIGINT)
    code, said = finished(process)
    assert code == 130 and "Traceback" not in said, said
    assert said.count("stopped at step") == 1 and said.count("data: ") == 1, said
    assert not (run / "encoder").exists()
    shutil.copytree(run, tmp_path / "alone")

    code, said = finished(started(*command, "--resume", *SETTINGS))
    assert code == 0 and said.count("resuming after step") == 1, said
    assert aekit.load(run).digest == aekit.load(together).digest
    assert (run / "log.jsonl").read_text() == (together / "log.jsonl").read_text()

    # The state is that of a single process, which may go on with it.
    alone = aekit.fit(data, overrides=FIT, out=tmp_path / "alone", resume=True, report=False)
    loss = aekit.load(together).record["metrics"]["loss"]
    assert alone.record["metrics"]["loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.slow
def test_an_error_is_told_once(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aekit", "fit", data, "-o", tmp_path / "run", "--processes", 2, "-q"]
    code, said = finished(started(*command, "--set", "train.batch_size=1"))
    problem = "train.batch_size = 1: expected at least one sample for each of 2 processes; use fewer processes"
    assert (code, said) == (2, f"error: {problem}\n")
    assert not (tmp_path / "run" / "encoder").exists()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[str]]:
    """Two network namespaces that are connected with each other alone, as two hosts are."""
    names = [f"aekit{os.getpid()}{letter}" for letter in "ab"]
    commands = [f"ip netns add {name}" for name in names]
    commands.append(f"ip link add va netns {names[0]} type veth peer name vb netns {names[1]}")
    for number, name in enumerate(names, 1):
        link = f"v{'ab'[number - 1]}"
        commands += [f"ip -n {name} addr add 10.99.0.{number}/24 dev {link}"]
        commands += [f"ip -n {name} link set {device} up" for device in ("lo", link)]
    if shutil.which("ip") is None:
        pytest.skip("two hosts need network namespaces: the command ip (package iproute2) is missing")
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"two hosts need network namespaces: {command}: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            for pid in processes_in(name):  # of a test that has failed
                os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def processes_in(host: str) -> list[int]:
    done = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True)
    return [int(pid) for pid in done.stdout.split()]


def test_two_hosts_train_as_two_processes_do_and_a_killed_one_comes_back(
    hosts: list[str], data: Path, together: Path, tmp_path: Path
) -> None:
    run, gate = tmp_path / "run", Gate(tmp_path / "gate")
    torchrun = [*MODULE, "--nnodes", 2, "--nproc-per-node", 1, "--max-restarts", 1]
    torchrun += ["--master-addr", "10.99.0.1", "--master-port", 29500]
    fit = ["-m", "aekit", "fit", data, "-o", run, "--no-report", *SETTINGS]

    def start(number: int) -> subprocess.Popen[str]:
        inside = ["ip", "netns", "exec", hosts[number], *torchrun, "--node-rank", number, *fit]
        return started(*inside, **gate.variables, GLOO_SOCKET_IFNAME=f"v{'ab'[number]}")

    first, killed = start(0), start(1)
    with gate.closed(first):
        for pid in processes_in(hosts[1]):
            os.kill(pid, signal.SIGKILL)
    assert finished(killed)[0] == -signal.SIGKILL
    again = start(1)
    (code, said), (other_code, other_said) = map(finished, (first, again))
    assert code == other_code == 0, said + other_said
    assert said.count("resuming after step") == 1 and said.count("data: ") == 2, said
    assert "data: " not in other_said
    assert aekit.load(run).digest == aekit.load(together).digest
    assert (run / "log.jsonl").read_text() == (together / "log.jsonl").read_text()


class OfThisSession(Variant):
    pass


def test_what_other_processes_cannot_open_is_refused(data: Path, tmp_path: Path) -> None:
    refusals = {
        "needs a run folder": lambda: aekit.fit(data, processes=2),
        "needs data that every process can open": lambda: aekit.fit(np.zeros((9, 4)), out=tmp_path / "a", processes=2),
        "not code of this session: variant 'of-this-session'": lambda: aekit.fit(
            data, variants=[OfThisSession], out=tmp_path / "a", processes=2
        ),
        "expected 1 or more": lambda: aekit.fit(data, out=tmp_path / "a", processes=0),
    }
    for problem, call in refusals.items():
        with pytest.raises(RecipeError, match=problem):
            call()
    assert not (tmp_path / "a").exists()


def test_a_machine_without_a_loopback_interface_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _processes._loopback().startswith("lo")
    tried = []
    monkeypatch.setattr(_processes, "_can_bind", tried.append)
    with pytest.raises(TrainingError, match="the loopback interface, which is down; turn it on"):
        _processes._loopback()
    assert tried == ["127.0.0.1", "::1"]
    monkeypatch.undo()
    assert not _processes._can_bind("192.0.2.1")


def test_threads_that_are_short_are_told_though_cleaning_up_fails_too() -> None:
    try:
        try:
            raise RuntimeError("can't start new thread")
        finally:
            raise RuntimeError("cannot join thread before it is started")
    except RuntimeError as error:
        assert str(_processes._shortage(error)).startswith("no further thread or process can be started")
    assert _processes._shortage(RuntimeError("another")) is None
