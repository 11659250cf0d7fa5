"""Read and write places in object storage as if they were folders: through local copies, and work folders that are uploaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aekit._arguments import expand_path
from aekit.errors import OutputError, name_copy
from aekit.io._remote_cache import (
    Listing,
    in_parallel,
    keep,
    listed,
    local_tree,
    object_path,
    relative_names,
    remote_folder,
)
from aekit.io._remote_files import RemoteFile, RemotePlace, same_content
from aekit.io.atomic import atomic_folder, explain_write_errors, file_sha256, folder_lock, link_or_copy
from aekit.io.remote_urls import file_name, is_remote, join_url, shown_url
from aekit.progress import Progress
from aekit.progress_display import current_progress

MANIFESTS = ("encoder.json", "manifest.json")
"""Files that make a folder an artifact: uploaded after all others."""
_LOG = "remote-state.jsonl"


def local_copy(url: str | os.PathLike[str], names: Iterable[str] | None = None) -> Path:
    """Return the path of a local copy of a remote file or folder, which never changes.

    What is new or changed since the last call is fetched, in parallel; the number of files and bytes is reported.

    Args:
        url: such as ``s3://bucket/folder``.
        names: names of files in the folder to which it is limited; None: all.

    Raises:
        DataError: there is nothing, it cannot be read, or it does not fit into the cache.
        OutputError: the cache cannot be written.
    """
    with listed(RemotePlace(os.fspath(url)), names) as listing:
        return local_tree(listing, current_progress())


def local_path(place: str | os.PathLike[str]) -> Path:
    """Return the path of a place: of its copy, if it is remote; raises as `local_copy`."""
    return local_copy(place) if is_remote(place) else Path(expand_path(place))


def local_if_remote(value: Any) -> Any:
    """Return the path of a copy in place of a URL, and any other value as it is; raises as `local_copy`."""
    return local_copy(value) if is_remote(value) else value


def remote_exists(url: str) -> bool:
    """Return whether there is a remote file; raises as `local_copy`, but for a missing one."""
    try:
        RemotePlace(url).file()
    except FileNotFoundError:
        return False
    return True


def is_artifact(place: object) -> bool:
    """Return whether a place is the folder of embeddings or a run; raises as `remote_exists`."""
    if not isinstance(place, (str, os.PathLike)):
        return False
    names = ("manifest.json", "recipe.toml")
    if not is_remote(place):
        return any((Path(place) / name).is_file() for name in names)
    url = os.fspath(place)
    return not url.startswith("http") and any(remote_exists(join_url(url, name)) for name in names)


def refuse_remote(place: object, what: str) -> None:
    """Refuse a remote place where only a local folder will do.

    Args:
        place: where something is written.
        what: what is written, for the message.

    Raises:
        OutputError: it is remote.
    """
    if isinstance(place, (str, os.PathLike)) and is_remote(place):
        url = shown_url(place)
        raise OutputError(f"{url}: {what} is written to a local folder; copy it then: aekit copy FOLDER {url}")


@contextmanager
def output_folder(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the folder to write an artifact into; if `out` is remote, a local one that is uploaded in the end.

    The local one begins with what is there. If it is left with an error, it is kept, and the next call goes on with it, unless
    what is there has changed meanwhile.

    Raises:
        OutputError: the place cannot be written, or another program writes there.
    """
    if not is_remote(out):
        yield Path(out)
        return
    place = RemotePlace(os.fspath(out), writes=True)
    refuse_web(place)
    progress = current_progress()
    home = remote_folder() / "work" / hashlib.blake2b(place.shown.rstrip("/").encode(), digest_size=16).hexdigest()
    work = home / file_name(place.url)
    name_copy(str(work), place.shown.rstrip("/"))
    with folder_lock(home):
        log = _Log(home / _LOG)
        with listed(place, is_folder=True) as listing:
            there = {file.name: (file, key) for file, key in listing}
            if not work.exists() or not _left_by_us(work, there, log):
                if work.exists():
                    progress.say(
                        f"{place.shown}: has changed since the interruption; continuing from its present content"
                    )
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                if there:
                    _begin_with(listing, work, progress)
                log.begin({name: key for name, (_, key) in there.items()})
        yield work
        _upload(work, place, log, progress)
        shutil.rmtree(work)
        log.path.unlink()


def refuse_web(place: RemotePlace) -> None:
    """Refuse to write over HTTP.

    Raises:
        OutputError: the place is a web server.
    """
    if place.is_web:
        raise OutputError(f"{place.shown}: nothing can be written over HTTP; expected s3://, gs://, az:// or a folder")


def _begin_with(listing: Listing, work: Path, progress: Progress) -> None:
    tree = local_tree(listing, progress)
    for name in relative_names(tree):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(tree / name, work / name)
    encoder = work / "encoder"
    if encoder.is_dir() and not (encoder / "encoder.json").exists():  # half of it was uploaded
        shutil.rmtree(encoder)


def _left_by_us(work: Path, there: dict[str, tuple[RemoteFile, str]], log: _Log) -> bool:
    """Return whether a remote place is as this program left it; uploads whose answer was lost are added to the log."""
    expected = log.expected()
    for name in {*there, *expected}:
        if name in there and there[name][1] == expected.get(name):
            continue
        if name not in there or not (work / name).is_file() or not _is_same(work / name, *there[name]):
            return False
        log.add(name, there[name][1])
    return True


class _Log:
    """The expected content of a remote place, after the changes that this program has made: name -> key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, state: dict[str, str]) -> None:
        self.path.write_text("", "utf-8")
        for name, key in state.items():
            self.add(name, key)

    def add(self, name: str, key: str | None) -> None:
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([name, key]) + "\n")

    def expected(self) -> dict[str, str]:
        state: dict[str, str] = {}
        for line in self.path.read_text("utf-8").splitlines() if self.path.exists() else ():
            try:
                name, key = json.loads(line)
            except ValueError:  # cut by a kill
                break
            state[name] = key
        return {name: key for name, key in state.items() if key is not None}


def _upload(work: Path, place: RemotePlace, log: _Log, progress: Progress) -> None:
    """Make a remote folder equal to a local one: data first, manifests last, so that a reader sees all or nothing new."""
    with listed(place, is_folder=True) as listing:
        there = {file.name: (file, key) for file, key in listing}
    if {name: key for name, (_, key) in there.items()} != log.expected():
        raise OutputError(f"{place.shown}: another program has written there meanwhile; run again")
    names = relative_names(work)
    todo = [name for name in names if name not in there or not _is_same(work / name, *there[name])]
    gone = list(there.keys() - set(names))
    root_manifests = [name for name in MANIFESTS if name in there]
    if root_manifests and (gone or any(name in there and name not in MANIFESTS for name in todo)):
        # What the old manifest describes is about to change: without it there is no artifact, rather than a mixed one.
        for name in root_manifests:
            place.remove(name)
            log.add(name, None)
        todo = sorted({*todo, *(name for name in root_manifests if name in names)})
    size = sum((work / name).stat().st_size for name in todo)
    if not todo and not gone:
        progress.say(f"{place.shown}: is up to date")
        return
    progress.say(f"{place.shown}: uploading {len(todo):,} files, {size:,} bytes; {len(names) - len(todo):,} are there")
    data = [name for name in todo if name.rpartition("/")[2] not in MANIFESTS]
    # Inner artifacts, such as the encoder of embeddings, become whole before the outer one does.
    last = sorted((name for name in todo if name not in data), key=lambda name: (-name.count("/"), name))

    def send(name: str) -> tuple[str, RemoteFile]:
        return name, place.send(work / name, name)

    with progress.task("upload", len(todo), "files") as task:

        def note(sent: tuple[str, RemoteFile]) -> None:
            key = sent[1].key(place.shown)
            keep(work / sent[0], key)
            log.add(sent[0], key)
            task.advance()

        in_parallel(data, send, note)
        for name in gone:
            place.remove(name)
            log.add(name, None)
        for name in last:
            note(send(name))


def _is_same(local: Path, file: RemoteFile, key: str) -> bool:
    """Return whether a remote file has the content of a local one, by its ETag or by the copy at hand."""
    copy = object_path(key)
    if copy.is_file():
        return copy.stat().st_size == local.stat().st_size and file_sha256(copy) == file_sha256(local)
    return same_content(local, file)


@contextmanager
def optional_folder(out: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """Yield a temporary folder that becomes `out` when it is complete, or None if no folder is requested.

    Raises:
        OutputError: there is something already, or it cannot be written.
    """
    if out is None:
        yield None
    elif is_remote(out):
        _check_free(os.fspath(out))
        with output_folder(out) as folder:
            shutil.rmtree(folder)  # of an interrupted call: only growing artifacts go on
            with atomic_folder(folder) as part:
                yield part
    else:
        with atomic_folder(Path(out)) as part:
            yield part


def _check_free(url: str) -> None:
    place = RemotePlace(url, writes=True)
    refuse_web(place)
    for file in place.files():
        raise OutputError(f"{place.shown}: exists already, with {file.name!r}; choose another place, or remove it")


@contextmanager
def output_file(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path to write a file to; if `out` is remote, a local one that is uploaded in the end.

    Raises:
        OutputError: it cannot be written.
    """
    if not is_remote(out):
        yield Path(out)
        return
    place = RemotePlace(os.fspath(out), writes=True)
    refuse_web(place)
    folder = remote_folder() / "work"
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="file-", suffix=".part", dir=folder) as home:
        path = Path(home) / file_name(place.url)
        name_copy(str(path), place.shown)
        yield path
        place.send(path, "")


def beside(place: str | os.PathLike[str], name: str) -> str | Path:
    """Return the place of a file in a folder, which may be remote."""
    return join_url(os.fspath(place), name) if is_remote(place) else Path(place) / name
