"""Compute with Ray in a process of its own, which kills an actor and looks at the sockets: ``ray_run.py FOLDER``.

It embeds on a cluster that the command starts, and classifies, restores and scores on another one that is there already. It
prints a line of JSON: where Ray listened beside the loopback interface, how many actors were killed, and the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import aekit
from aekit.encoder import parquet_store
from aekit.encoder.engines import _ray
from aekit.progress import Progress, Task

PART_BYTES, BATCH = 20 * 6 * 4, 2
"""Small parts and batches, so that an actor ends between them."""
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
LISTENS = "0A"


def descendants(process: int) -> list[int]:
    """Return the ids of all processes that a process has started, and theirs."""
    with contextlib.suppress(OSError):
        own = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        return [each for child in own for each in (child, *descendants(child))]
    return []


def processes() -> list[int]:
    """Return this process and those of Ray, some of which leave its tree."""
    session = os.environ["RAY_AUTH_TOKEN"].encode()
    ours = set(descendants(os.getpid()))
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if session in (folder / "environ").read_bytes():
                ours.add(int(folder.name))
    return [os.getpid(), *ours]


def actors() -> list[int]:
    """Return the processes of actors that compute."""
    computing = []
    for process in processes():
        with contextlib.suppress(OSError):
            if b"MapWorker" in Path(f"/proc/{process}/cmdline").read_bytes():
                computing.append(process)
    return computing


def exposed() -> list[str]:
    """Return the addresses, as /proc/net/tcp spells them, at which these processes listen to other machines."""
    sockets = set()
    for process in processes():
        for link in Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(link))
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS and f"socket:[{rest[5]}]" in sockets:
                listening.append(local)
    assert listening, "Ray listens nowhere: these are not its processes"
    return [local for local in listening if local.partition(":")[0] not in LOOPBACK]


class Disturbing(Progress):
    """Kill an actor once samples are done."""

    killed = 0
    exposed: tuple[str, ...] | None = None

    @contextmanager
    def task(self, title: str, total: int | None, unit: str = "samples", done: int = 0) -> Iterator[Task]:
        outer = self

        class Kills(Task):
            def advance(self, units: int = 1, note: str = "") -> None:
                if outer.exposed is None:
                    outer.exposed = tuple(exposed())
                    for actor in actors()[:1]:
                        os.kill(actor, signal.SIGKILL)
                        outer.killed += 1

        yield Kills()


def compute(place: Path, **engine: Any) -> dict[str, np.ndarray]:
    """Return what is computed of the images by classifier, decoder and detectors: name -> (N, ...), in the order of ids."""
    data = place / "images"
    classes = list(aekit.load_classifier(place / "tuned").classify(data, batch_size=16, **engine))
    restored = aekit.apply(place / "run", data, baselines=False, **engine)
    anomalies = aekit.find_anomalies(place / "run", data, baselines=False, **engine)
    order = np.argsort(anomalies.ids)
    assert restored.values is not None
    computed = {
        "ids": np.asarray([name for batch in classes for name in batch.ids]),
        "probabilities": np.concatenate([batch.probabilities for batch in classes]),
        "restored": np.stack([np.asarray(value, float) for value in restored.values]),
    }
    return computed | {f"score {name}": np.asarray(values)[order] for name, values in anomalies.scores.items()}


def main() -> None:
    """Compute, and say what was seen."""
    place = Path(sys.argv[1])
    parquet_store.PART_BYTES = PART_BYTES
    progress = Disturbing()
    embedded: dict[str, Any] = {"out": place / "several", "batch_size": BATCH, "progress": progress}
    aekit.embed(place / "run", place / "images", engine="ray", workers=2, **embedded)
    with _ray._connected(None, 2):
        np.savez(place / "ray.npz", **compute(place, engine="ray", workers=1))
        later = exposed()
    seen = {"exposed": progress.exposed, "exposed later": later, "killed": progress.killed}
    print(json.dumps(seen | {"usage": os.environ["RAY_USAGE_STATS_ENABLED"]}))


if __name__ == "__main__":
    main()
