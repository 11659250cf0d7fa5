"""Lock files against other processes, also in file systems that have no locks."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aekit.errors import printable

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What file systems say that have no locks: Lustre and NFS without them, and some of FUSE."""
UNNAMED_SECONDS = 60.0
"""Age from which a lock file that names no process is one of a process that was killed before it wrote its name."""


def lock(handle: int, *, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed.

    Args:
        handle: its descriptor.
        shared: whether others may share the lock, for which this process waits; without it, it does not wait.

    Returns:
        whether it is locked; False: another process has it; None: the file system has no locks.

    Raises:
        OSError: the file system fails.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


@contextmanager
def lock_file(path: Path) -> Iterator[str]:
    """Hold the lock of a file, which is created and removed again.

    Where the file system has no locks, the process that creates the file has the lock, and writes its name into it.

    Yields:
        "" if this process has the lock, else a phrase that says who has it.

    Raises:
        OSError: the file cannot be created or locked.
    """
    handle, holder = _acquire(path)
    try:
        yield holder
    finally:
        if not holder:
            path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> tuple[int, str]:
    """Return the descriptor of a lock file, and who has its lock; "" is this process."""
    while True:
        try:
            handle, created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                handle, created = os.open(path, os.O_RDWR), False
            except FileNotFoundError:  # removed meanwhile
                continue
        try:
            locked = lock(handle)
            if locked is False:
                return handle, "another aekit is writing into it; wait for it or choose another folder"
            if locked is None:
                if created:
                    os.write(handle, _name().encode())
                elif holder := _holder(handle, path):
                    return handle, holder
                elif os.path.samestat(os.fstat(handle), os.stat(path)):
                    path.unlink()
            # The process that held it before may have removed the file meanwhile: then the next one would lock another file.
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle, ""
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            if created:
                path.unlink(missing_ok=True)
            raise
        os.close(handle)


def _name() -> str:
    """Return the number of this process and the machine on which it runs, with the container that counts its processes."""
    try:
        container = os.readlink("/proc/self/ns/pid")
    except OSError:  # not on every platform
        container = ""
    return f"{os.getpid()} {os.uname().nodename} {container}".strip()


def _holder(handle: int, path: Path) -> str:
    """Return a phrase on the process that a lock file names; "" if it has ended."""
    process, _, machine = os.pread(handle, 1000, 0).decode(errors="replace").partition(" ")
    here = _name().partition(" ")[2]
    if not process.isdecimal():
        if time.time() - os.fstat(handle).st_mtime > UNNAMED_SECONDS:
            return ""
        who = "another aekit"
    elif machine == here and not is_running(int(process)):
        return ""
    else:
        who = f"process {process} of {printable(machine.partition(' ')[0])}"
    # Other machines' processes cannot be looked up, and the numbers of processes are used again.
    return f"{who} is writing into it; wait for it, choose another folder, or remove {path} if no aekit runs there"


def is_running(process: int) -> bool:
    """Return whether a process of this machine runs, by its number."""
    with suppress(PermissionError):  # of another user
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
