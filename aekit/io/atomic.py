"""Write files and folders atomically: temporary names and renames, one writer per folder, errors in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from aekit.errors import AekitError, OutputError, lacks_handles, not_utf8, printable
from aekit.io._file_locks import is_running, lock_file
from aekit.io.special_files import special_kind

LEFTOVER_SECONDS = 60.0
"""Age from which a temporary file counts as left by a killed process."""
_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than allowed (ulimit -f), or than the file system can hold",
    errno.ENODEV: "its file system cannot map files into memory",
    errno.EIO: "the disk, or the connection to it, fails (input/output error)",
    errno.ESTALE: "the network file system has lost it; try again",
    errno.EROFS: "it is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENOTDIR: "it is a file; expected a folder",
    errno.EEXIST: "it is a file; expected a folder",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENOTEMPTY: "another program has filled it meanwhile",
}


def write_failure(error: OSError) -> str:
    """Return why something cannot be written."""
    if error.errno == errno.ENOSPC and _lacks_inodes(error.filename):
        return "its file system can hold no further files (df -i)"
    return _CANNOT_WRITE.get(error.errno or 0) or error.strerror or str(error)


def _lacks_inodes(file: object) -> bool:
    """Return whether the file system of a file, which need not exist, has used up its number of files rather than its bytes."""
    if not isinstance(file, (str, bytes)):
        return False
    path = Path(os.path.abspath(os.fsdecode(file)))
    with contextlib.suppress(OSError):
        system = os.statvfs(next(folder for folder in path.parents if folder.exists()))
        return system.f_files > 0 and system.f_favail == 0 and system.f_bavail > 0
    return False


@contextmanager
def explain_write_errors(place: Path) -> Iterator[None]:
    """Turn errors of writing to a place into one line. Errors of other files, such as unreadable data, pass.

    Raises:
        OutputError: the disk is full, the place is read-only, permission is missing, or a file is in the way.
    """
    try:
        yield
    except OSError as error:
        if error.errno and not lacks_handles(error) and _concerns(error, place):
            raise OutputError(f"{printable(str(place))}: cannot be written: {write_failure(error)}") from error
        raise
    except AekitError:
        raise
    except Exception as error:  # safetensors, FAISS and torch wrap the error of the operating system
        for number, reason in _CANNOT_WRITE.items():
            if os.strerror(number) in str(error):
                raise OutputError(f"{printable(str(place))}: cannot be written: {reason}") from error
        raise


def _concerns(error: OSError, place: Path) -> bool:
    """Return whether the file of an error is unknown, a place, in it, its temporary file, or a folder above it."""
    target = os.path.abspath(place)
    hidden = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}")
    names = [name for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    files = [os.path.abspath(os.fsdecode(name)) for name in names]
    return not files or any(
        file.startswith((target, hidden)) or target.startswith(os.path.join(file, "")) for file in files
    )


@contextmanager
def _locked(path: Path, place: Path) -> Iterator[None]:
    """Hold the lock of a file, which is created and removed again.

    Raises:
        OutputError: another process holds it, as it writes to `place`.
    """
    with ExitStack() as locks:
        with explain_write_errors(place):
            holder = locks.enter_context(lock_file(path))
        if holder:
            raise OutputError(f"{place}: {holder}")
        yield


@contextmanager
def folder_lock(folder: Path, *, whole: bool = False) -> Iterator[None]:
    """Create the folder, lock it for this process, and remove the temporary files that a killed process left in it.

    Args:
        folder: the folder.
        whole: whether no other process writes into any folder below it either.

    Raises:
        OutputError: another process is writing into it, or it cannot be written.
    """
    check_text(folder)
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock", folder):
        for lock in folder.glob(".?*.lock"):  # of a folder in it, which another process may be making
            with lock_file(lock) as holder:  # removes it
                if not holder:
                    shutil.rmtree(folder / f"{lock.name[1:].removesuffix('.lock')}.part", ignore_errors=True)
        for leftover in folder.glob("*.part"):
            if leftover.is_file():
                leftover.unlink()
        for leftover in folder.rglob("*.part") if whole else ():
            if leftover.is_file():
                leftover.unlink()
        for leftover in folder.glob("*/*.part"):  # of artifacts in it, which other processes may be writing
            _remove_if_abandoned(leftover)
        yield


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to `folder` once it is complete.

    Raises:
        OutputError: `folder` exists and is not empty, another process is making it, or it cannot be written.
    """
    check_text(folder)
    with explain_write_errors(folder):
        lock, part = folder.with_name(f".{folder.name}.lock"), folder.with_name(folder.name + ".part")
        # A killed process left a lock: then the temporary folder is one of aekit, and the lock is removed below.
        was_killed = lock.exists()
        if not was_killed:
            _check_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock, folder):
            _check_free(folder)
            if part.exists() and not was_killed:
                raise OutputError(f"{part}: exists already, and is needed for a moment; move it away")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part
                make_readable(part)
                if folder.exists():
                    folder.rmdir()
                part.rename(folder)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise


def holds_only(folder: Path, names: Collection[str]) -> bool:
    """Return whether a folder holds nothing but these names, locks and temporary files, as a process killed early leaves it."""
    return folder.is_dir() and all(
        path.name in names or path.name.endswith((".lock", ".part")) for path in folder.iterdir()
    )


def check_text(path: str | Path) -> None:
    """Check that a path is text, as the records of other artifacts may name it, and Arrow and ONNX open no other.

    Raises:
        OutputError: it holds bytes that are not UTF-8, or a NUL, which ends a path.
    """
    readable = os.fsencode(path).decode("utf-8", "backslashreplace")
    if readable != str(path):
        raise OutputError(f"{readable}: cannot be written: {not_utf8('choose another name')}")
    if "\0" in readable:
        raise OutputError(f"{readable}: cannot be written: the path holds a NUL character; choose another name")


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: exists already; choose another place, or move it away")


def refuse_inputs(out: str | os.PathLike[str], *inputs: object) -> None:
    """Check that a file to write is not one that is read.

    Args:
        out: the file, which may exist.
        inputs: paths, or data by ``SOURCE:PATH``; other objects are ignored.

    Raises:
        OutputError: it would overwrite one of them.
    """
    for value in inputs:
        path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
        for place in (path, str(path).partition(":")[2]):
            if os.path.exists(place) and os.path.exists(out) and os.path.samefile(place, out):
                raise OutputError(f"{out}: is read by this command, which would overwrite it; choose another name")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, of this process alone, and rename it to `path` once it is complete.

    It removes the temporary files of the same path that killed processes left.
    """
    check_text(path)
    if kind := special_kind(path):  # as root, a renaming would replace /dev/null
        raise OutputError(f"{printable(str(path))}: cannot be written: it is {kind}; expected the name of a file")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with explain_write_errors(path):
        _remove_leftovers(path)
        try:
            yield part
            make_readable(part)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _remove_leftovers(path: Path) -> None:
    for leftover in path.parent.glob(f"{escape(path.name)}.*.part"):
        _remove_if_abandoned(leftover)


_LEFTOVER = re.compile(r"\.(\d+)\.part(?:\.permissions\.part)?$")
"""End of the name of a temporary file, with the process that made it."""


def _remove_if_abandoned(leftover: Path) -> None:
    """Remove a temporary file whose process has ended. On another machine it may run, but then it has written to it lately."""
    match = _LEFTOVER.search(leftover.name)
    with contextlib.suppress(FileNotFoundError):  # another process removes it
        if (
            match
            and leftover.is_file()
            and leftover.stat().st_mtime < time.time() - LEFTOVER_SECONDS
            and not is_running(int(match[1]))
        ):
            leftover.unlink()


def make_readable(path: Path) -> None:
    """Give a file, or the files in a folder, the permissions of new files: libraries write some for their owner alone."""
    probe = path.with_name(f"{path.name}.permissions.part")  # a name that a killed process may leave
    probe.touch()
    mode = probe.stat().st_mode & 0o666
    probe.unlink()
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        now = file.stat().st_mode
        if now & mode != mode:
            with contextlib.suppress(PermissionError):  # a linked file of another user
                file.chmod(now | mode)


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step. Bytes of names that are not UTF-8 are escaped, as JSON spells them."""
    with atomic_file(path) as part:
        part.write_text(text, "utf-8", "backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Link a file that may be replaced but never changes, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def copy_encoder(source: Path, target: Path) -> None:
    """Copy an encoder folder, model card included, unless `target` exists; files are linked where that is possible."""
    if target.exists():
        return
    with atomic_folder(target) as part:
        for path in source.iterdir():
            if path.is_file():
                link_or_copy(path, part / path.name)
