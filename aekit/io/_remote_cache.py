"""Keep local copies of remote files, each version once, within a limit.

``objects/`` holds a file for each version of a remote file, named by a hash of its URL and version; ``trees/`` a folder for
each listing, with links to them. Neither changes once it is complete, so that several processes can read and write at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Any

from aekit.errors import DataError, name_copy
from aekit.io._file_locks import lock
from aekit.io._remote_files import RemoteFile, RemotePlace
from aekit.io.atomic import atomic_file, explain_write_errors, link_or_copy
from aekit.io.cache_folder import cache_folder
from aekit.io.memory import format_bytes, stated_bytes
from aekit.io.remote_urls import file_name
from aekit.progress import Progress, warn

LIMIT = "AEKIT_REMOTE_CACHE"
"""Environment variable with the most bytes that copies take, such as ``200GB``; default: half of what the disk has for them."""
THREADS = 16
UNUSED_SECONDS = 7 * 86400.0
"""Time since the begin of the last use from which no process uses a copy any more, in file systems that have no locks."""
AHEAD = 4 * THREADS
"""Number of files that are being fetched, or wait for it."""

_used_trees: dict[Path, int] = {}
"""Trees that this process uses -> descriptor of the lock that keeps others from removing them."""


def remote_folder() -> Path:
    """Return the absolute path of the folder of copies."""
    return Path(os.path.abspath(cache_folder())) / "remote"


class Listing:
    """The files of a remote place at one moment, on disk, as there may be millions.

    Attributes:
        count, size: number of files, and of their bytes.
        key: hash of all names and versions.
    """

    def __init__(
        self, place: RemotePlace, folder: Path, names: Iterable[str] | None = None, *, is_folder: bool = False
    ) -> None:
        """List a place.

        Args:
            place: a file or folder.
            folder: where the listing is kept.
            names: names of the files to list; None: all.
            is_folder: take it for a folder, which may be missing, without asking the server.

        Raises:
            DataError: there is nothing.
        """
        self.place, self.is_folder = place, is_folder or names is not None or place.is_folder()
        self.path = folder / f"listing-{os.getpid()}-{secrets.token_hex(4)}.part"
        self.count = self.size = 0
        hasher = hashlib.blake2b(place.shown.encode(), digest_size=16)
        unusable = 0
        try:
            with self.path.open("w", encoding="utf-8", errors="surrogateescape") as lines:
                for file in self._files(names):
                    if not _is_inside(file.name):
                        unusable += 1
                        continue
                    # Without a version nobody can tell whether a copy is current.
                    key = file.key(place.shown) if file.version else secrets.token_hex(20)
                    lines.write(json.dumps([file.name, file.path, file.size, file.version, file.md5, key]) + "\n")
                    hasher.update(f"{file.name}\0{key}\n".encode("utf-8", "surrogateescape"))
                    self.count, self.size = self.count + 1, self.size + (file.size or 0)
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        if unusable:
            warn(f"{place.shown}: {unusable} objects are left out: their names are not paths inside a folder")
        self.key = hasher.hexdigest()

    def _files(self, names: Iterable[str] | None) -> Iterator[RemoteFile]:
        if names is not None:
            wanted = set(names)
            yield from (file for file in self.place.files() if file.name in wanted)
        elif self.is_folder:
            yield from self.place.files()
        else:
            try:
                yield self.place.file()
            except FileNotFoundError:
                raise DataError(f"{self.place.shown}: no such object or folder") from None

    def __iter__(self) -> Iterator[tuple[RemoteFile, str]]:
        """Yield each file, and its name in the cache."""
        with self.path.open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                *fields, key = json.loads(line)
                yield RemoteFile(*fields), key


@contextlib.contextmanager
def listed(place: RemotePlace, names: Iterable[str] | None = None, *, is_folder: bool = False) -> Iterator[Listing]:
    """List a place as `Listing` does, and forget the list afterwards."""
    folder = remote_folder()
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        listing = Listing(place, folder, names, is_folder=is_folder)
    try:
        yield listing
    finally:
        listing.path.unlink(missing_ok=True)


def local_tree(listing: Listing, progress: Progress) -> Path:
    """Return a local copy of the files of a listing; those whose version is at hand are not fetched again.

    Raises:
        DataError: a file cannot be read, or all take more than the limit.
        OutputError: the cache cannot be written.
    """
    shown = listing.place.shown
    if not listing.count:
        raise DataError(f"{shown}: no such object or folder, or an empty one")
    tree = remote_folder() / "trees" / listing.key
    name = file_name(listing.place.url)
    with explain_write_errors(remote_folder()):
        tree.parent.mkdir(parents=True, exist_ok=True)
        _use(tree)
        if not (tree / name).exists():
            fetch(listing, progress)
            part = tree.with_name(f"{tree.name}-{secrets.token_hex(4)}.part")
            try:
                _link(listing, part / name)
                with contextlib.suppress(OSError):  # another process was first
                    part.rename(tree)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    name_copy(str(tree / name), shown.rstrip("/"))
    return tree / name


def fetch(listing: Listing, progress: Progress) -> None:
    """Download the files of a listing whose version is not at hand."""
    missing = [file.size or 0 for file, key in listing if not object_path(key).exists()]
    if not missing:
        return
    _make_room(listing, sum(missing), progress)
    known = listing.count - len(missing)
    at_hand = f"; {known:,} are at hand" if known else ""
    amount = f"{len(missing):,} of {listing.count:,} files, {format_bytes(sum(missing))}"
    progress.say(f"{listing.place.shown}: fetching {amount}, into {remote_folder()}{at_hand}")
    todo = ((file, key) for file, key in listing if not object_path(key).exists())
    with listing.place.quiet(), progress.task("fetch", len(missing), "files") as task:
        in_parallel(todo, lambda entry: _fetch_one(listing.place, *entry), lambda _: task.advance())


def in_parallel(todo: Iterable[Any], do: Callable[[Any], Any], then: Callable[[Any], Any]) -> None:
    """Call `do` for each entry in threads, a bounded number ahead, and `then` for each result in this one.

    Raises:
        Exception: the first of `do`, after what runs has ended.
    """
    pool, running = ThreadPoolExecutor(THREADS), set[Future[Any]]()
    try:
        for entry in todo:
            running.add(pool.submit(do, entry))
            if len(running) >= AHEAD:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    then(future.result())
        for future in running:
            then(future.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_one(place: RemotePlace, file: RemoteFile, key: str) -> None:
    path = object_path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{key}-{secrets.token_hex(4)}.part")
    try:
        place.fetch(file, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def object_path(key: str) -> Path:
    """Return the place of a version of a file in the cache."""
    return remote_folder() / "objects" / key[:2] / key


def keep(local: Path, key: str) -> None:
    """Keep a local file as the copy of what was uploaded from it."""
    path = object_path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with atomic_file(path) as part:
            link_or_copy(local, part)


def _link(listing: Listing, root: Path) -> None:
    for file, key in listing:
        target = root / file.name if listing.is_folder else root
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(object_path(key), target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            warn(f"{listing.place.shown}: {file.name} is left out: it is both a file and a folder")


def _is_inside(name: str) -> bool:
    """Return whether a name is a path below a folder: those of objects may hold anything, such as ``../``."""
    parts = name.split("/")
    return "\0" not in name and all(part not in ("", ".", "..") and len(os.fsencode(part)) <= 255 for part in parts)


def _use(tree: Path) -> None:
    """Mark a tree as used by this process, and as used now."""
    mark = tree.with_name(f"{tree.name}.used")
    if tree not in _used_trees:
        handle = os.open(mark, os.O_RDWR | os.O_CREAT)  # open, and so locked, until the process ends
        lock(handle, shared=True)
        _used_trees[tree] = handle
    mark.touch()


def _make_room(listing: Listing, wanted: int, progress: Progress) -> None:
    """Remove the copies that were used longest ago, until what is wanted fits.

    Raises:
        DataError: it does not fit.
    """
    folder = remote_folder()
    sizes = {path: path.stat().st_size for path in (folder / "objects").glob("*/*")}
    used = sum(sizes.values())
    stated = stated_bytes(LIMIT)
    limit = (shutil.disk_usage(folder).free + used) // 2 if stated is None else stated
    if used + wanted > limit:
        needed = {object_path(key) for _, key in listing}
        marks = sorted((folder / "trees").glob("*.used"), key=lambda mark: mark.stat().st_mtime)
        removed = sum(_remove_tree(mark) for mark in marks)
        for path, size in sizes.items():
            if path not in needed and path.stat().st_nlink == 1:
                path.unlink(missing_ok=True)
                used -= size
        if removed:
            progress.say(f"{removed} copies of remote data that no process uses were removed from {folder}")
    if used + wanted > limit:
        source = "half of the free space" if stated is None else LIMIT
        raise DataError(
            f"{listing.place.shown}: {format_bytes(wanted)} do not fit into {folder}, which may take "
            f"{format_bytes(limit)} ({source}) and holds {format_bytes(used)}; set {LIMIT}, such as 200GB, or AEKIT_CACHE"
        )


def _remove_tree(mark: Path) -> bool:
    with mark.open("a") as handle:
        locked = lock(handle.fileno())
        if locked is None:  # the file system has no locks
            locked = time.time() - mark.stat().st_mtime > UNUSED_SECONDS
        if not locked:
            return False
        tree = mark.with_suffix("")
        existed = tree.exists()
        shutil.rmtree(tree, ignore_errors=True)
        mark.unlink(missing_ok=True)
        return existed


def names_to_copy(folder: Path) -> list[str]:
    """Return the names of the files below a folder that somebody else may have made.

    Raises:
        DataError: a link in it leads to another place, whose content would be copied, and so be published.
    """
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not (path.is_file() and root in path.resolve().parents):
            raise DataError(
                f"{path}: is a link to {os.readlink(path)}, and files are copied only; replace it by that, or remove it"
            )
    return relative_names(folder)


def relative_names(folder: Path) -> list[str]:
    """Return the names of the files below a folder, without locks and temporary files."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".part", ".lock")))
    return sorted(PurePosixPath(path.relative_to(folder)).as_posix() for path in files)
