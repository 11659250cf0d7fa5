"""Tests of the limits of containers and jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from aekit.io import memory
from aekit.io._cgroups import cpu_quota, unused_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2), ("50000 100000\n", 1), ("150000 100000", 2), ("max 100000\n", None), ("?", None)],
)
def test_quota_of_a_container(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path, tmp_path / "none") == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("-1", None)])
def test_quota_of_the_older_control_groups(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path, tmp_path / "none") == cores
    assert cpu_quota(tmp_path / "empty", tmp_path / "none") is None


def write_group(folder: Path, limit: str, usage: int, cache: int, *, older: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("limit_in_bytes", "usage_in_bytes") if older else ("max", "current")
    for name, value in zip(names, (limit, usage)):
        (folder / f"memory.{name}").write_text(f"{value}\n")
    total = "total_" if older else ""
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file 7\n{total}inactive_file {cache}\n")


@pytest.mark.parametrize("older", [False, True])
def test_memory_of_a_container_counts_its_page_cache_as_free(tmp_path: Path, older: bool) -> None:
    root = tmp_path / "memory" if older else tmp_path
    write_group(root, str(4 * GIB), 3 * GIB, GIB // 2, older=older)
    assert unused_memory(tmp_path, tmp_path / "none") == GIB + GIB // 2
    write_group(root, str(GIB), 3 * GIB, 0, older=older)
    assert unused_memory(tmp_path, tmp_path / "none") == 0
    write_group(root, str(2**63 - 4096) if older else "max", 3 * GIB, 0, older=older)
    assert unused_memory(tmp_path, tmp_path / "none") is None


def test_a_job_has_the_smallest_limit_of_its_group_and_those_above(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/slurm/job_7/step_0\n")
    write_group(tmp_path / "slurm", "max", 9 * GIB, 0)
    write_group(tmp_path / "slurm" / "job_7", str(8 * GIB), 2 * GIB, 0)
    write_group(tmp_path / "slurm" / "job_7" / "step_0", str(16 * GIB), 2 * GIB, 0)
    write_group(tmp_path / "slurm" / "job_8", str(GIB), 0, 0)
    assert unused_memory(tmp_path, tmp_path / "membership") == 6 * GIB
    (tmp_path / "slurm" / "job_7" / "cpu.max").write_text("300000 100000")
    assert cpu_quota(tmp_path, tmp_path / "membership") == 3


def test_both_versions_of_control_groups_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("4:memory:/pod/one\n2:cpu,cpuacct:/pod/one\n0::/\n")
    write_group(tmp_path / "memory" / "pod" / "one", str(2 * GIB), GIB, 0, older=True)
    assert unused_memory(tmp_path, tmp_path / "membership") == GIB
    (tmp_path / "cpu" / "pod").mkdir(parents=True)
    (tmp_path / "cpu" / "pod" / "cpu.cfs_quota_us").write_text("500000")
    (tmp_path / "cpu" / "pod" / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path, tmp_path / "membership") == 5
    (tmp_path / "host").write_text("0::/docker/only-the-host-knows\n")
    assert unused_memory(tmp_path, tmp_path / "host") is None


def test_free_memory_is_that_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "unused_memory", lambda: 3 * 2**20)
    assert memory.free_memory() == 3 * 2**20
    monkeypatch.setattr(memory, "unused_memory", lambda: None)
    assert memory.free_memory() > 3 * 2**20
