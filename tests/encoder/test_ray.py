"""Ray makes what a single process makes, on a cluster that only this machine reaches."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray_run
from commands import FAST, Said
from embedded_folders import check_same, write_images

import aekit
from aekit.encoder import embedding, parquet_store as store
from aekit.errors import AekitError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, one of which cannot be read, a run, and a classifier of their folders."""
    place = tmp_path_factory.mktemp("ray")
    np.save(place / "train.npy", np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8))
    aekit.fit(place / "train.npy", dim=6, overrides=FAST, out=place / "run", report=False)
    data = write_images(place / "images", 110)
    (data / "odd" / "007.png").write_bytes(b"no image")
    settings: dict[str, Any] = {"epochs": 1, "precision": "fp32", "baselines": False}
    aekit.finetune(place / "run", data, out=place / "tuned", **settings)
    return place


@pytest.fixture(scope="module")
def seen(place: Path) -> dict[str, Any]:
    """What was seen while Ray computed, in a process of its own."""
    pytest.importorskip("ray", reason="ray is not installed")
    line = [sys.executable, str(Path(__file__).with_name("ray_run.py")), str(place)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_ray_makes_the_parts_of_a_single_process(
    place: Path, seen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many actors as CPUs, one of which is killed; and nothing listens to other machines."""
    assert seen == {"exposed": [], "exposed later": [], "killed": 1, "usage": "0"}
    monkeypatch.setattr(store, "PART_BYTES", ray_run.PART_BYTES)
    aekit.embed(place / "run", place / "images", out=tmp_path / "single", batch_size=ray_run.BATCH)
    check_same(place / "several", tmp_path / "single")
    schemas = [pq.read_schema(path) for path in place.rglob("*.parquet")]
    assert len(schemas) >= 6
    assert not [field for schema in schemas for field in schema if isinstance(field.type, pa.BaseExtensionType)]


def test_ray_classifies_restores_and_scores_as_a_single_process_does(place: Path, seen: dict[str, Any]) -> None:
    ours = np.load(place / "ray.npz")
    theirs = ray_run.compute(place)
    assert set(ours.files) == theirs.keys() and {"probabilities", "restored", "score combined"} <= theirs.keys()
    for name, values in theirs.items():
        assert len(values) == 109
        if values.dtype.kind == "f":
            assert np.allclose(ours[name], values, atol=1e-5), name
        else:
            assert ours[name].tolist() == values.tolist(), name


def test_ray_that_is_not_installed_is_one_line(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "data.npy", np.zeros((20, 1, 8, 8), np.uint8))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        AekitError, match=re.escape("engine 'ray' needs ray, which is not installed: pip install 'aekit[ray]'")
    ):
        aekit.embed(place / "run", tmp_path / "data.npy", out=tmp_path / "out", engine="ray")


def test_actors_leave_a_cpu_free(tmp_path: Path) -> None:
    """Actors of Ray that hold all CPUs wait forever."""
    from aekit.encoder.engines._ray import _RayPool

    def actors(wanted: int, device: str = "cpu", **resources: float) -> tuple[int, float | None]:
        ray = SimpleNamespace(cluster_resources=lambda: resources)
        return _RayPool(ray, embedding.WORKER, wanted, said, shares_files=True)._actors(device)

    said = Said()
    assert actors(2, CPU=2) == (2, None) and not said.lines
    assert actors(8, CPU=2) == (3, None) and "3 workers instead of 8: the Ray cluster has 2 CPUs" in said
    assert actors(8, CPU=0.5) == (1, None)
    assert actors(4, "cuda:0", CPU=64, GPU=2) == (4, 0.5) and actors(2, "cuda:0", CPU=64, GPU=8) == (2, 1.0)
    with pytest.raises(AekitError, match="Ray has no GPU"):
        actors(4, "cuda:0", CPU=64)
