"""Fit, embed, index and evaluate data larger than memory and disk, and measure the peak memory of each step.

    python benchmarks/streams.py                            # 1 GB each, minutes
    python benchmarks/streams.py --array-gb 20 --shards-gb 100

Two kinds of data. The array is a `.npy` file, sparse on the disk: one row in 64 is written, the others are zeros. The shards are
tar files of samples that are made in memory whenever one is read, and never written: what a store behind a network would be.
Their images have 512 x 512 pixels in the shards, and 64 x 64 once they are decoded.
Each step runs in a process of its own; its peak is the largest resident memory that the system has seen of it.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import aekit
from aekit.data.source import RowIds, Source
from aekit.data.spec import SampleSpec

SIDE, STORED_SIDE = 64, 512
PER_SHARD = 64
SHARDS_KEPT = 2  # samples that lie in two shards are read by two threads
STEPS = ("fit", "embed", "index", "evaluate")
SETTINGS: dict[str, Any] = {"train.batch_size": 1024, "train.precision": "fp32", "encoder.mlp.hidden": [32]}


class SyntheticShards(Source):
    """Images and classes in tar shards that are made when they are read.

    Args:
        count: number of samples.
        per_shard: number of samples in a shard.
        side: pixels of a side of an image.
        stored_side: those in the shards, a multiple of `side`; None: as many.

    Attributes:
        made: number of shards that were made so far.
    """

    slow = True

    def __init__(
        self, count: int, per_shard: int = PER_SHARD, side: int = SIDE, stored_side: int | None = None
    ) -> None:
        self.spec, self.skipped, self.made = SampleSpec("image", (3, side, side), "uint8"), {}, 0
        self.ids, self.per_shard = RowIds(None, count), per_shard
        self.blocks = np.append(np.arange(0, count, per_shard), count)
        self.labels = np.arange(count) % 4
        self._stored = stored_side or side
        self._pattern = np.random.default_rng(0).integers(0, 64, (self._stored, 3 * self._stored), dtype=np.uint8)
        # Threads read at the same time: the lock keeps one from making a shard that another is making.
        self._lock, self._latest = threading.Lock(), dict[int, np.ndarray]()

    @property
    def shard_bytes(self) -> int:
        """Size of a shard."""
        return len(self.shard(0))

    def shard(self, number: int) -> bytes:
        """Return the bytes of a tar file: ``0007.ppm`` and ``0007.cls`` are a sample."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for row in range(*self.blocks[number : number + 2].tolist()):
                pixels = np.roll(self._pattern, row, axis=1).reshape(self._stored, -1, 3)
                image = io.BytesIO()
                Image.fromarray(pixels + np.uint8(48 * self.labels[row])).save(image, "PPM")
                for ending, content in (("ppm", image.getvalue()), ("cls", b"%d" % self.labels[row])):
                    info = tarfile.TarInfo(f"{row:09d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return stream.getvalue()

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.empty((len(indices), *self.spec.shape), np.uint8)
        shards = indices // self.per_shard
        for number in dict.fromkeys(shards.tolist()):  # in the order in which they are read
            here = shards == number
            rows[here] = self._images(number)[indices[here] - self.blocks[number]]
        return rows, np.ones(len(indices), bool)

    def fingerprints(self, indices: np.ndarray) -> list[str]:
        return [f"{self.per_shard}-{row}" for row in indices.tolist()]

    def _images(self, number: int) -> np.ndarray:
        """Return the images of a shard, which is made unless it is one of the last that were read."""
        with self._lock:
            if number not in self._latest:
                self.made += 1
                self._latest[number] = self._made(number)
                while len(self._latest) > SHARDS_KEPT:
                    del self._latest[next(iter(self._latest))]
            return self._latest[number]

    def _made(self, number: int) -> np.ndarray:
        images = []
        with tarfile.open(fileobj=io.BytesIO(self.shard(number))) as archive:
            for info in archive:
                if info.name.endswith(".ppm"):
                    content = archive.extractfile(info)
                    assert content is not None
                    image = Image.open(content).reduce(self._stored // self.spec.shape[1])
                    images.append(np.asarray(image).transpose(2, 0, 1))
        return np.stack(images)


def write_array(path: Path, gigabytes: float) -> None:
    """Write a sparse `.npy` file of images (N, 3, 64, 64)."""
    count = int(gigabytes * 1e9) // (3 * SIDE**2)
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 3, SIDE, SIDE))
    rng = np.random.default_rng(0)
    for row in range(0, count, 64):
        array[row] = rng.integers(0, 256, array.shape[1:], dtype=np.uint8)
    labels = np.arange(count) % 64 == 0
    np.save(path.with_name("y.npy"), labels.astype(np.int64))


def data_of(kind: str, folder: Path, gigabytes: float) -> Any:
    """Return the data of a kind: what `aekit.fit` takes."""
    if kind == "array":
        return str(folder / "array" / "x.npy")
    one = SyntheticShards(PER_SHARD, stored_side=STORED_SIDE).shard_bytes
    return SyntheticShards(max(4, round(gigabytes * 1e9 / one)) * PER_SHARD, stored_side=STORED_SIDE)


def run(step: str, kind: str, folder: Path, gigabytes: float) -> dict[str, Any]:
    """Do a step; return its figures."""
    begun, figures, data = time.perf_counter(), dict[str, Any](), data_of(kind, folder, gigabytes)
    own = folder / kind
    if step == "fit":
        settings = {**SETTINGS, "data.streaming": True}
        aekit.fit(
            data,
            variants=["plain"],
            backbone="mlp",
            dim=16,
            epochs=1,
            out=own / "run",
            report=False,
            overrides=settings,
        )
    elif step == "embed":
        figures["samples"] = len(aekit.embed(own / "run", data, out=own / "embeddings"))
    elif step == "index":
        aekit.build_index(own / "embeddings", out=own / "index")
    else:
        labels = data.labels if isinstance(data, Source) else np.load(own / "y.npy")
        aekit.evaluate(own / "embeddings", labels, evaluators=["knn", "probe"], baselines=False, checks=False)
    if isinstance(data, SyntheticShards):
        figures["shards made"], figures["GB made"] = data.made, data.made * data.shard_bytes / 1e9
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures |= {"seconds": time.perf_counter() - begun, "cpu": usage.ru_utime + usage.ru_stime}
    return figures | {"peak GB": usage.ru_maxrss / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array-gb", type=float, default=1)
    parser.add_argument("--shards-gb", type=float, default=1)
    parser.add_argument("--limit-gb", type=float, default=4, help="peak above which it exits with an error")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {"array": options.array_gb, "shards": options.shards_gb}
    if options.step:
        step, kind, folder = options.step
        print(json.dumps(run(step, kind, Path(folder), sizes[kind])))
        return
    highest = 0.0
    with tempfile.TemporaryDirectory() as place:
        for kind, gigabytes in sizes.items():
            (Path(place) / kind).mkdir()
            if kind == "array" and gigabytes:
                write_array(Path(place) / "array" / "x.npy", gigabytes)
            for step in STEPS if gigabytes else ():
                command = [sys.executable, __file__, "--step", step, kind, place]
                command += [f"--array-gb={options.array_gb}", f"--shards-gb={options.shards_gb}"]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                figures = json.loads(output.splitlines()[-1])
                highest = max(highest, figures["peak GB"])
                values = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
                print(f"{kind} of {gigabytes:g} GB, {step}: {values}", flush=True)
    if highest > options.limit_gb:
        raise SystemExit(f"peak of {highest:.2f} GB: expected {options.limit_gb:g} GB at most")


if __name__ == "__main__":
    main()
