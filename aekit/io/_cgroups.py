"""Read the limits that the control groups of Linux set on a process: those of a container, a service, or a job of Slurm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

ROOT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
NO_LIMIT = 2**60
"""Bytes from which a limit of the older control groups, the largest number of pages, means none."""


def cpu_quota(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return the number of cores that this process may use, rounded up; None: as many as there are.

    Args:
        root: where the control groups are mounted, in either of their versions.
        membership: file that lists the groups of the process.
    """
    quotas = [quota for group in _groups("cpu", root, membership) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def unused_memory(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return the bytes that the groups of this process still allow, with what their page cache can give back.

    Args:
        root: where the control groups are mounted, in either of their versions.
        membership: file that lists the groups of the process.

    Returns:
        bytes, at least 0; None if no group has a limit.
    """
    unused = [left for group in _groups("memory", root, membership) if (left := _memory_left(group)) is not None]
    return min(unused, default=None)


def _groups(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the group of this process and of those above it, whose limits hold for it too.

    In a container, the root may be the group of the container, and the listed path one that only its host knows.
    """
    folders = {root, root / controller}
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:  # no control groups
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounted = root if not controllers else root / controller
        if not controllers or controller in controllers.split(","):
            inner = Path(path.strip("/"))
            folders |= {mounted / part for part in (inner, *inner.parents)}
    yield from sorted(group for group in folders if group.is_dir())


def _quota_of(group: Path) -> int | None:
    try:
        if (limits := group / "cpu.max").exists():
            quota, period = limits.read_text("utf-8").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text("utf-8") for name in ("quota", "period"))
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or the group has no quota
        return None


def _memory_left(group: Path) -> int | None:
    older = not (group / "memory.max").exists()
    limit, usage, cache = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if older
        else ("memory.max", "memory.current", "inactive_file")
    )
    try:
        allowed = int((group / limit).read_text("utf-8"))
        if allowed >= NO_LIMIT:
            return None
        used = int((group / usage).read_text("utf-8"))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text("utf-8").splitlines())
        return max(0, allowed - used + int(statistics.get(cache, 0)))
    except (OSError, ValueError):  # "max", or the group has no limit
        return None
