"""Compute with Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import torch

from aekit.data.source import Source
from aekit.encoder.engines._processes import Processes
from aekit.encoder.engines.engine import Engine, Pool
from aekit.encoder.engines.units import Result, Setup, decode_positions
from aekit.errors import AekitError, PluginError, first_line, print_traceback
from aekit.io.library_output import library_output_hidden
from aekit.io.threads import limited_threads
from aekit.progress import Progress
from aekit.registry.discovery import prints_to_stderr

STORE_BYTES = 512 * 2**20
"""Size of the object store of a cluster that is started here: jobs and results pass through it, never data sets."""
CPUS_A_WORKER = 0.5
"""CPUs that Ray counts for a worker. Workers that hold all CPUs leave none for reading the jobs, and wait forever."""
MAX_BLOCKS = 2000
"""Blocks of jobs: each costs Ray milliseconds, and an actor that ends loses one."""
_JOB, _RESULT = "job", "result"


@dataclass(frozen=True)
class Ray(Engine):
    """Compute in actors of Ray.

    Attributes:
        address: of a running cluster, such as ``auto`` or ``ray://host:10001``; None: one is started on this machine.
    """

    name: ClassVar[str] = "ray"
    address: str | None = None

    def default_workers(self, device: torch.device) -> int:
        if self.address is None:
            return Processes().default_workers(device)
        with _connected(self.address, 1) as ray:
            return max(1, int(ray.cluster_resources().get("GPU" if device.type == "cuda" else "CPU", 1)))

    def check(self, source: Source) -> None:
        super().check(source)
        if "ray" not in sys.modules and find_spec("ray") is None:
            raise PluginError("engine 'ray' needs ray, which is not installed: pip install 'aekit[ray]'")

    @contextmanager
    def start(self, module: str, count: int, progress: Progress) -> Iterator[Pool]:
        is_connected = getattr(sys.modules.get("ray"), "is_initialized", bool)()
        is_local = self.address is None and not is_connected
        with prints_to_stderr(), _connected(self.address, count) as ray:
            yield _RayPool(ray, module, count, progress, shares_files=is_local)


@contextmanager
def _connected(address: str | None, workers: int) -> Iterator[Any]:
    """Connect to a cluster, or start one that only this machine reaches, and leave it.

    Raises:
        PluginError: Ray is not installed.
        AekitError: there is no cluster at the address.
    """
    _set_environment(address)
    try:
        ray: Any = import_module("ray")
        import_module("ray.data")
    except ModuleNotFoundError as error:
        raise PluginError(
            f"engine 'ray' needs {error.name}, which is not installed: pip install 'aekit[ray]'"
        ) from None
    if ray.is_initialized():  # by the caller's program, whose cluster is used and stays
        yield ray
        return
    options: dict[str, Any] = {"address": address or "local", "logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        options |= {"num_cpus": max(2, workers), "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        with library_output_hidden():  # such as the level of its log
            ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise AekitError(f"Ray at {address or 'this machine'}: cannot be reached: {first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _set_environment(address: str | None) -> None:
    """Set what Ray reads when it is imported and started, unless the user has: no usage statistics and no lines of its own.

    A cluster that is started here listens on the loopback interface alone, and asks for a token that stays in this process.
    """
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "ERROR", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    # Its core prints actors that it may start again as errors, and its Python part a coming change of a default.
    settings |= {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if address is None:
        # The name tells of other systems, where Ray keeps to the loopback interface unless this is 1.
        settings |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in settings.items():
        os.environ.setdefault(name, value)


class _RayPool:
    """Actors of Ray Data, started when the first results are asked for.

    Args:
        ray: the module of Ray.
        module: name of the module of the workers, which only they import.
        count: number of actors.
        progress: receives a line if the cluster has room for fewer actors.
        shares_files: whether the actors see the files of this machine.
    """

    def __init__(self, ray: Any, module: str, count: int, progress: Progress, *, shares_files: bool) -> None:
        self._ray, self._module, self.count, self._progress = ray, module, count, progress
        self._shares_files = shares_files

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[Result, None, None]:
        """Compute units and yield their results in order, as `Pool.results`."""
        ray = self._ray
        context = ray.data.DataContext.get_current()
        kept = context.execution_options.preserve_order, context.enable_progress_bars
        context.execution_options.preserve_order, context.enable_progress_bars = True, False
        files = None
        if not self._shares_files:
            folder = Path(setup.folder)
            contents = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            files = ray.put({name: path.read_bytes() for name, path in contents.items()})
        # Results are bytes: Ray would turn vectors into tensors of its own type.
        size = -(-len(units) // MAX_BLOCKS)
        blocks = [units[start : start + size] for start in range(0, len(units), size)]
        jobs = ray.data.from_arrow([pa.table({_JOB: pa.array(block, pa.binary())}) for block in blocks])
        count, gpus = self._actors(setup.device)
        done = jobs.map_batches(
            _Actor,
            fn_constructor_args=(self._module, setup.to_bytes(), files),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=CPUS_A_WORKER,
            num_gpus=gpus,
        )
        try:
            positions = map(decode_positions, units)
            for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from map(Result.from_bytes, table[_RESULT].to_pylist(), positions)
        except ray.exceptions.RayError as error:
            print_traceback(error)
            raise AekitError(f"Ray has failed: {first_line(error)}") from error
        finally:
            context.execution_options.preserve_order, context.enable_progress_bars = kept

    def _actors(self, device: str) -> tuple[int, float | None]:
        """Return how many actors the cluster has room for, besides a CPU for other tasks, and the GPUs of each.

        Raises:
            AekitError: the encoder is on a GPU, and the cluster has none.
        """
        resources: dict[str, float] = self._ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 1), resources.get("GPU", 0)
        count = min(self.count, max(1, int(cpus / CPUS_A_WORKER) - 1))
        if count < self.count:
            self._progress.say(f"{count} workers instead of {self.count}: the Ray cluster has {cpus:g} CPUs")
        if not device.startswith("cuda"):
            return count, None
        if not gpus:
            raise AekitError("Ray has no GPU: leave out the device, or start its nodes with GPUs")
        return count, min(1.0, gpus / count)


class _Actor:
    """A worker that Ray starts, and restarts if it ends, on any machine of the cluster.

    Args:
        module: name of the module whose `Worker` computes.
        setup: bytes of a `Setup`.
        files: reference to path -> content of the files that it needs; None: they are in the folder that the setup names.
    """

    def __init__(self, module: str, setup: bytes, files: Any) -> None:
        decoded = Setup.from_bytes(setup)
        os.environ.update(limited_threads(decoded.threads))
        if decoded.device.startswith("cuda"):
            decoded = replace(decoded, device="cuda:0")  # Ray shows an actor its own GPU alone
        with tempfile.TemporaryDirectory() as folder:
            if files is not None:
                for name, content in import_module("ray").get(files).items():
                    (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / name).write_bytes(content)
                decoded = replace(decoded, folder=folder)
            self._worker = import_module(module).Worker(decoded.to_bytes())

    def __call__(self, jobs: pa.Table) -> pa.Table:
        """Compute units, one per row."""
        return pa.table({_RESULT: pa.array([self._worker.work(unit) for unit in jobs[_JOB].to_pylist()], pa.binary())})
