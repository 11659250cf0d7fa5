"""Train in several processes of this machine, which are started as torchrun does."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.errors import INTERRUPTED, OutOfMemoryError, RecipeError, TrainingError, out_of_memory
from aekit.io.atomic import write_text
from aekit.io.threads import limited_threads, usable_cores
from aekit.io.torchrun import MEETING, STARTED_HERE, started_by_torchrun
from aekit.progress import Progress
from aekit.training.phases import Interrupted
from aekit.training.recipe import Recipe
from aekit.training.run_recipe import session_plugins


def fit_in_processes(
    processes: int, recipe: Recipe, data: Any, out: str | Path | None, *, resume: bool, report: bool, progress: Progress
) -> Encoder:
    """Train an encoder in several processes, and load it.

    Args:
        processes: how many.
        recipe: the recipe.
        data: its data, as the recipe names it.
        out: run folder.
        resume: as of `aekit.fit`.
        report: as of `aekit.fit`.
        progress: tells what to show.

    Raises:
        RecipeError, TrainingError, Interrupted: as `train_in_processes`; a plugin is code of this session.
    """

    def command(place: Path) -> list[str]:
        write_text(place / "recipe.toml", recipe.to_toml(only_set=True))
        return ["fit", str(place / "recipe.toml"), *([] if report else ["--no-report"])]

    names = session_plugins(recipe)
    problems = {f"needs installed plugins, not code of this session: {', '.join(names)}": bool(names)}
    train_in_processes(processes, command, data=data, out=out, problems=problems, resume=resume, progress=progress)
    return load(str(out))


def train_in_processes(
    processes: int,
    command: Callable[[Path], list[str]],
    *,
    data: Any,
    out: str | Path | None,
    problems: Mapping[str, bool],
    resume: bool,
    progress: Progress,
) -> None:
    """Run a command of aekit in several processes, of which the first shows progress and writes the folder.

    Args:
        processes: how many.
        command: returns the words of the command without those that follow from the other arguments, given a temporary folder
            for what they name.
        data: the data that it trains on.
        out: folder that it writes.
        problems: what else keeps several processes from running it -> whether it does.
        resume: whether to resume an interrupted training in `out`.
        progress: tells what to show.

    Raises:
        RecipeError: there is a problem, the processes cannot open the data, or there is no folder.
        TrainingError: the processes have failed; the message is theirs.
        Interrupted: Ctrl-C.
    """
    problems = {
        "expected 1 or more": processes < 1,
        "torchrun has started several already; leave it out": started_by_torchrun(),
        "needs a run folder; set out": out is None,
        "needs data that every process can open, such as a file": not isinstance(data, (str, Path)),
        **problems,
    }
    for problem, applies in problems.items():
        if applies:
            raise RecipeError([f"processes = {processes}: {problem}"])
    # The first process prints its results on standard output where `progress` does.
    chosen = {
        "--resume": resume,
        "--quiet": getattr(progress.say, "__func__", None) is Progress.say,
        "--json": type(progress).show_result is Progress.show_result,
    }
    options = ["-o", str(out), *(option for option, applies in chosen.items() if applies)]
    with tempfile.TemporaryDirectory() as place:
        _launch(processes, ["-m", "aekit", *command(Path(place)), *options], Path(place))


def _launch(processes: int, arguments: list[str], place: Path) -> None:
    """Run Python with these arguments in several processes, and wait for them.

    They find each other by files in `place`, and talk on the loopback interface: torchrun's own way is a port on all networks,
    from which it reads pickled objects.

    Raises:
        TrainingError: one of them has failed.
        Interrupted: Ctrl-C.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=str(place / "agents"),
        rdzv_configs={"store_type": "file"},
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(place)),
    )
    threads = limited_threads(max(1, usable_cores() // processes))
    set_lower = {name: os.environ[name] for name in threads if _lower(os.environ.get(name, ""), threads[name])}
    alone = {MEETING: str(place / "workers"), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        alone["GLOO_SOCKET_IFNAME"] = _loopback()
    with _environment(threads | set_lower | alone | {STARTED_HERE: "1"}), _own_signals():
        try:
            elastic_launch(config, sys.executable)(*arguments)
        except SignalException:
            raise Interrupted(_told(place) or "stopped") from None
        except ChildFailedError as error:
            first = error.get_first_failure()[1]
            message = _told(place) or f"process {first.local_rank} ended with code {first.exitcode}"
            raise (Interrupted if first.exitcode == INTERRUPTED else TrainingError)(message) from None
        except RuntimeError as error:
            if short := _shortage(error):
                raise short from None
            raise


def _shortage(error: BaseException | None) -> OutOfMemoryError | None:
    """Return the line for memory or threads that are short; torchrun may fail again where it cleans up after that."""
    while error is not None:
        if short := out_of_memory(error):
            return short
        error = error.__context__
    return None


def _loopback() -> str:
    """Return the name of the loopback interface: the first one, on Linux as on macOS.

    Raises:
        TrainingError: it is down, as in a new network namespace.
    """
    if not any(map(_can_bind, ("127.0.0.1", "::1"))):
        raise TrainingError(
            "processes communicate on the loopback interface, which is down; turn it on (ip link set lo up), or leave "
            "processes out"
        )
    return socket.if_indextoname(1)


def _can_bind(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _lower(count: str, than: str) -> bool:
    return count.isdecimal() and int(count) < int(than)


def _told(place: Path) -> str:
    """Return the error that the first process has left, else one of another process, or ""."""
    files = sorted(place.rglob("error.json"), key=lambda path: path.parent.name)
    return next((json.loads(path.read_text("utf-8"))["message"] for path in files), "")


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    logging.disable(logging.CRITICAL)  # torchrun's, of what is raised here
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the handlers of signals, which torchrun replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
