"""Cut the connection to object storage at every request of a command, and see what readers find and whether it goes on.

Run as ``python tests/reliability/remote_faults.py FOLDER``; FOLDER is a new folder. Stores whose server or client is not
installed are left out, with a line.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, record
from remote_storage import Storage, missing, serve_storage

import aekit
from aekit.errors import AekitError
from aekit.io import _remote_files

OLD, NEW = 30, 40
"""Number of samples before and after the data has grown."""


class Trials:
    """Commands on a bucket, each tried with a cut at every request."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self.storage, self.folder, self.number = storage, folder, 0
        self.data = np.random.default_rng(0).normal(size=(NEW, 6)).astype(np.float32)
        self.encoder = aekit.fit(self.data, dim=3, epochs=1, backbone="mlp")
        self.expected = np.asarray(self.encoder.embed(self.data).vectors)

    def embed(self, url: str, count: int) -> None:
        """Embed the first samples."""
        aekit.embed(self.encoder, self.data[:count], out=url)

    def index(self, url: str, count: int) -> None:
        """Index the embeddings of the first samples."""
        local = self.folder / f"embeddings-{count}"
        if not local.exists():
            aekit.embed(self.encoder, self.data[:count], out=local)
        aekit.build_index(local, url)

    def copy(self, url: str, count: int) -> None:
        """Copy a saved encoder."""
        local = self.folder / "encoder"
        if not local.exists():
            self.encoder.save(local)
        aekit.copy(local, url)

    def read(self, command: str, url: str) -> int:
        """Return the number of samples of the artifact as a reader without a cache finds it, after comparing them; 0: none."""
        with tempfile.TemporaryDirectory(dir=self.folder) as cache:
            mine, os.environ["AEKIT_CACHE"] = os.environ["AEKIT_CACHE"], cache
            try:
                if command == "copy":
                    return NEW if aekit.load(url).digest == self.encoder.digest else -1
                if command == "index":
                    index = aekit.open_index(url)
                    rows = index.search(self.expected[: len(index)], k=1)[1][:, 0]
                    return len(index) if rows.tolist() == list(range(len(index))) else -1
                embeddings = aekit.Embeddings.open(url)
                same = np.allclose(embeddings.vectors, self.expected[: len(embeddings)], atol=1e-5)
                return len(embeddings) if same and len(set(embeddings.ids)) == len(embeddings) else -1
            except aekit.errors.DataError:
                return 0
            finally:
                os.environ["AEKIT_CACHE"] = mine

    def sweep(self, command: str, grows: bool, step: int = 1) -> tuple[int, int, dict[str, int]]:
        """Cut at every `step`-th request; return the trials, those that went wrong, and what readers found in between."""
        run: Any = getattr(self, command)
        states: dict[str, int] = {"old": 0, "none": 0, "new": 0}
        wrong, at = 0, 1
        while True:
            self.number += 1
            url = self.storage.url(f"{command}-{self.number}")
            os.environ["AEKIT_CACHE"] = str(self.folder / f"cache-{self.number}")
            if grows:
                run(url, OLD)
            left = [at]

            def cut(action: str, key: str, left: list[int] = left) -> str:
                left[0] -= 1
                return "500" if left[0] <= 0 else ""

            self.storage.fault = cut
            try:
                run(url, NEW)
                failed = False
            except AekitError:
                failed = True
            finally:
                self.storage.heal()
            if not failed:
                return (at - 1) // step, wrong, states
            found = self.read(command, url)
            name = {OLD if grows else -2: "old", 0: "none", NEW: "new"}.get(found)
            run(url, NEW)
            if name is None or self.read(command, url) != NEW:
                wrong += 1
            else:
                states[name] += 1
            at += step


ALL = (("embed", False), ("embed", True), ("index", False), ("index", True), ("copy", False))
"""Commands, and whether there is an artifact of less data before."""


STORES = {"s3": "Amazon S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}


def sweep_all(
    folder: Path, step: int = 1, commands: Sequence[tuple[str, bool]] = ALL, schemes: Sequence[str] = tuple(STORES)
) -> list[Figure]:
    """Sweep commands on stores, and return the figures."""
    before = dict(os.environ)
    attempts, _remote_files.ATTEMPTS = _remote_files.ATTEMPTS, 1
    figures = []
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    try:
        for scheme in schemes:
            if lack := missing(scheme):
                print(f"{STORES[scheme]}: {lack}")
                continue
            place = folder / scheme
            place.mkdir()
            with serve_storage(scheme) as storage:
                os.environ |= storage.environment | {"AEKIT_CACHE": str(place / "cache")}
                trials = Trials(storage, place)
                for command, grows in commands:
                    tried, wrong, states = trials.sweep(command, grows, step)
                    note = ", ".join(f"{count} {name}" for name, count in states.items() if count)
                    what = f"{command}{' of grown data' if grows else ''} into {STORES[scheme]}"
                    figures.append(Figure(what, "cut off at every request", tried, wrong, f"readers found: {note}"))
                    print(figures[-1], flush=True)
    finally:
        _remote_files.ATTEMPTS = attempts
        os.environ.clear()
        os.environ |= before
    return figures


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True)
    record("object-storage", sweep_all(place))
