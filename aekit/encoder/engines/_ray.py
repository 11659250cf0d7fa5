"""Embed with Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from aekit.encoder.engines._engine import Engine, Pool
from aekit.encoder.engines._units import Setup
from aekit.errors import AekitError, PluginError, first_line
from aekit.io.threads import core_count, limited_threads
from aekit.progress import Progress

WORKER = "aekit.encoder.engines._worker"
"""Module of the workers, which only they import."""
STORE_BYTES = 512 * 2**20
"""Size of the object store of a cluster that is started here: jobs and results pass through it, never data sets."""
CPUS_A_WORKER = 0.5
"""CPUs that Ray counts for a worker. Workers that hold all CPUs leave none for reading the jobs, and wait for ever."""
_JOB, _RESULT = "job", "result"


@dataclass(frozen=True)
class Ray(Engine):
    """Embed in actors of Ray.

    Attributes:
        address: of a running cluster, such as ``auto`` or ``ray://host:10001``; None: one is started on this machine.
    """

    name: ClassVar[str] = "ray"
    address: str | None = None

    def default_workers(self) -> int:
        if self.address is None:
            return core_count()
        with _connected(self.address, 1) as ray:
            return max(1, int(ray.cluster_resources().get("CPU", 1)))

    @contextmanager
    def start(self, count: int, progress: Progress) -> Iterator[Pool]:
        with _connected(self.address, count) as ray:
            yield _RayPool(ray, count)


@contextmanager
def _connected(address: str | None, workers: int) -> Iterator[Any]:
    """Connect to a cluster, or start one that only this machine reaches, and leave it.

    Raises:
        PluginError: Ray is not installed.
        AekitError: there is no cluster at the address.
    """
    # Read when Ray is imported: no usage statistics, no progress bars, and no lines of its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise PluginError(f"engine 'ray' needs {error.name}, which is not installed: pip install 'aekit[ray]'") from None
    if ray.is_initialized():  # by the caller's program, whose cluster is used and stays
        yield ray
        return
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address is None:
            ray.init(
                num_cpus=max(2, workers),
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise AekitError(f"Ray at {address or 'this machine'}: cannot be reached: {first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


class _RayPool:
    """Actors of Ray Data, started when the first results are asked for."""

    def __init__(self, ray: Any, count: int) -> None:
        self._ray, self.count = ray, count

    def results(self, setup: Setup, units: Sequence[bytes]) -> Generator[bytes, None, None]:
        """Embed units and yield their results in order, as `Pool.results`."""
        ray = self._ray
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        files = {path.name: path.read_bytes() for path in Path(setup.encoder).iterdir() if path.is_file()}
        # Results are bytes: Ray would turn vectors into tensors of its own type.
        jobs = ray.data.from_arrow([pa.table({_JOB: pa.array([unit], pa.binary())}) for unit in units])
        on_gpu = setup.device.startswith("cuda")
        done = jobs.map_batches(
            _Actor,
            fn_constructor_args=(setup.to_bytes(), ray.put(files)),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.count),
            num_cpus=CPUS_A_WORKER,
            num_gpus=1 if on_gpu else None,
            max_restarts=-1,
            max_task_retries=-1,
        )
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table[_RESULT].to_pylist()


class _Actor:
    """A worker that Ray starts, on any machine of the cluster.

    Args:
        setup: bytes of a `Setup`.
        files: name -> content of the files of the encoder, or the reference that Ray has for it.
    """

    def __init__(self, setup: bytes, files: Any) -> None:
        os.environ.update(limited_threads(Setup.from_bytes(setup).threads))
        content: dict[str, bytes] = files if isinstance(files, dict) else import_module("ray").get(files)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in content.items():
                (Path(folder) / name).write_bytes(data)
            here = replace(Setup.from_bytes(setup), encoder=folder, device=_own_device(Setup.from_bytes(setup).device))
            self._worker = import_module(WORKER).Worker(here.to_bytes())

    def __call__(self, jobs: pa.Table) -> pa.Table:
        """Embed units, one a row."""
        return pa.table({_RESULT: pa.array([self._worker.work(unit) for unit in jobs[_JOB].to_pylist()], pa.binary())})


def _own_device(device: str) -> str:
    """Return the device of an actor: Ray shows it the GPU alone that it may use."""
    return "cuda:0" if device.startswith("cuda") else device


