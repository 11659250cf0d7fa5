"""List, read and write objects in remote storage, with patience for faults that pass."""

from __future__ import annotations

import base64
import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aekit.errors import DataError, OutputError, first_line
from aekit.io._object_stores import OBJECT_STORES, ObjectStore, web_timeout
from aekit.io.remote_urls import EXTRAS, file_name, full_url, join_url, without_secrets, without_tokens
from aekit.shared_settings import SharedSetting, warning_rules

ATTEMPTS = 6
FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
"""Seconds before the second attempt, which double before each further one, and the most of them."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError)
_FINAL_NAMES = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "ParamValidationError",
    "OfflineModeIsEnabled",
    "AzureSigningError",
}
_AGAIN = (408, 425, 429)
_TOKEN = "its token is that of hf auth login, or HF_TOKEN"
_SIGNED_OUT = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError"}

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file in remote storage.

    Attributes:
        name: path below the folder that was listed.
        path: as the file system names it.
        size: bytes, or None if the server does not say.
        version: what changes with the content: its ETag or hash, or else its time; "" if the server says none.
        md5: of the content in hexadecimal digits, if the server states one, or an ETag that looks like one.
    """

    name: str
    path: str
    size: int | None
    version: str
    md5: str | None

    def key(self, shown: str) -> str:
        """Return the name of this version of the file in a cache; `shown` is the URL of the folder."""
        content = "\0".join((shown, self.name, str(self.size), self.version))
        return hashlib.blake2b(content.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


class RemotePlace:
    """A file or folder in remote storage.

    Attributes:
        url: with credentials, if it was given with some; never shown.
        shown: without them.
    """

    def __init__(self, url: str, *, writes: bool = False) -> None:
        """Connect to the storage of a URL.

        Raises:
            DataError, OutputError: another scheme, or a package is missing.
        """
        self.url = full_url(url)
        self.shown = without_secrets(self.url)
        self.error: type[DataError | OutputError] = OutputError if writes else DataError
        scheme = self.url.partition("://")[0]
        self.is_web, self.store = scheme.startswith("http"), OBJECT_STORES.get(scheme)
        try:
            import fsspec

            self.fs, self.path = fsspec.core.url_to_fs(self.url, **_options(scheme))
            if self.store is not None:
                self.store.prepare(self.fs)
        except ImportError:
            extra = EXTRAS[scheme]
            raise self.error(f"{self.shown}: needs further packages: pip install 'aekit[{extra}]'") from None
        except Exception as error:
            raise self.failure(error) from None

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep the bars, log lines and advice of the Hub's client off the terminal: aekit reports what happens itself."""
        if not self.url.startswith("hf:"):
            yield
            return
        quiet_log = _hub_verbosity.changed_to(logging.ERROR)
        with quiet_log, _hub_bars.changed_to(False), warning_rules(("ignore", "", Warning)):
            yield

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Repeat an action that fails for reasons that pass, with growing delays.

        Raises:
            FileNotFoundError: there is nothing.
            DataError, OutputError: it fails for another reason, or at the last attempt.
        """
        for attempt in range(ATTEMPTS):
            try:
                return action()
            except FileNotFoundError:
                raise
            except Exception as error:
                if attempt == ATTEMPTS - 1 or not _passes(error):
                    raise self.failure(error, attempt + 1) from None
                delay = min(LONGEST_DELAY, FIRST_DELAY * 2**attempt)
                time.sleep(delay * random.uniform(0.5, 1.0))
        raise AssertionError

    def is_folder(self) -> bool:
        """Return whether it is a folder.

        Raises:
            DataError, OutputError: there is nothing, or it cannot be read.
        """
        if self.is_web:
            return self.url.endswith("/")
        if self.store is not None and "/" not in self.path.strip("/"):
            return True  # a bucket, of which its own description may be forbidden
        try:
            return self.patiently(partial(self.fs.info, self.path))["type"] == "directory"
        except FileNotFoundError:
            raise self.error(f"{self.shown}: {self._nothing()}") from None

    def _nothing(self) -> str:
        if self.url.startswith("hf:"):
            return f"no such repository, revision or folder, or a private one; {_TOKEN}"
        return "no such object or folder"

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files below a folder, page by page; nothing if there is none."""
        base = self.path.rstrip("/") + "/"
        for entry in self._walk(self.path) if self.store is None else self._objects(self.store, base):
            name = str(entry["name"]).removeprefix(base)
            if name and not name.endswith("/"):
                yield _remote_file(name, entry)

    def file(self) -> RemoteFile:
        """Describe the one file that this place is.

        Raises:
            FileNotFoundError: there is none.
            DataError, OutputError: it cannot be read.
        """
        entry = self.patiently(partial(self.fs.info, self.path))
        return _remote_file(file_name(self.url), {**entry, "name": self.path})

    def _objects(self, store: ObjectStore, base: str) -> Iterator[Mapping[str, Any]]:
        bucket, _, prefix = base.partition("/")
        token: str | None = None
        while True:
            try:
                entries, token = self.patiently(partial(store.page, self.fs, bucket, prefix, token))
            except FileNotFoundError:  # no such bucket
                return
            yield from entries
            if not token:
                return

    def _walk(self, folder: str) -> Iterator[Mapping[str, Any]]:
        pending, base = [folder], folder.rstrip("/") + "/"
        while pending:
            current = pending.pop()
            try:
                entries = self.patiently(partial(self.fs.ls, current, detail=True))
            except FileNotFoundError:
                continue
            for entry in sorted(entries, key=lambda entry: entry["name"]):
                name = entry["name"]
                if not name.startswith(base) or "?" in name.removeprefix(base):  # links of a page to other places
                    continue
                if entry["type"] == "directory":
                    pending.append(name)
                elif self.is_web:
                    yield {**self.patiently(partial(self.fs.info, name)), "name": name}
                else:
                    yield entry

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Download a file whole, and check its length, and its content where its ETag tells it.

        Raises:
            DataError: it cannot be read, or has changed since it was listed.
        """

        def download() -> None:
            self.fs.get_file(file.path, str(target))
            size = target.stat().st_size
            if file.size is not None and size != file.size:
                raise OSError(f"{size:,} of {file.size:,} bytes arrived")

        is_inside = file.path.rstrip("/") != self.path.rstrip("/")
        where = join_url(self.shown, file.name) if is_inside else self.shown
        try:
            self.patiently(download)
        except FileNotFoundError:
            raise self.error(f"{where}: has gone since it was listed; run again") from None
        if (
            file.md5 and _md5(target) != file.md5
        ):  # an ETag of encrypted objects is not a hash: see whether it is the same
            now = _remote_file(file.name, {**self.patiently(partial(self.fs.info, file.path)), "name": file.path})
            if now.version != file.version:
                raise self.error(f"{where}: has changed since it was listed; run again")

    def send(self, source: Path, name: str) -> RemoteFile:
        """Upload a file below this folder, and describe what is there then.

        Raises:
            OutputError: it cannot be written.
        """
        path = f"{self.path.rstrip('/')}/{name}" if name else self.path

        def upload() -> RemoteFile:
            if self.store is None:  # else a folder is only the beginning of keys, and a missing bucket would be made
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.fs.put_file(str(source), path)
            return _remote_file(name or file_name(self.url), {**self.fs.info(path), "name": path})

        try:
            sent = self.patiently(upload)
        except FileNotFoundError as error:
            raise self.failure(error) from None
        if sent.size != source.stat().st_size:
            raise self.error(f"{self.shown}/{name}: has changed while it was written; another program writes there")
        return sent

    def remove(self, name: str) -> None:
        """Remove a file below this folder."""
        path = f"{self.path.rstrip('/')}/{name}"
        try:
            self.patiently(partial(self.fs.rm_file, path))
        except FileNotFoundError:
            return

    def failure(self, error: Exception, attempts: int = 1) -> DataError | OutputError:
        """Return the error that says in one line why something failed."""
        name, status, is_hub = type(error).__name__, error_status(error), self.url.startswith("hf:")
        verb = "written" if self.error is OutputError else "read"
        if not is_hub and status is None and (name in _SIGNED_OUT or "credentials" in str(error).lower()):
            hint = f"; {self.store.public}" if self.store and self.store.public else ""
            return self.error(f"{self.shown}: no credentials found in the environment or a profile{hint}")
        if isinstance(error, PermissionError) or status in (401, 403):
            hint = f"; {_TOKEN}" if is_hub else ""
            return self.error(f"{self.shown}: cannot be {verb}: permission denied by the server{hint}")
        if is_hub and status == 404:
            return self.error(f"{self.shown}: cannot be {verb}: {self._nothing()}")
        reason = without_tokens(without_secrets(first_line(error)))
        if name == "AzureSigningError":
            reason = "the account key is not base64 text"
        again = f" ({attempts} attempts)" if attempts > 1 else ""
        return self.error(f"{self.shown}: cannot be {verb}: {reason}{again}")


def same_content(local: Path, file: RemoteFile) -> bool:
    """Return whether a remote file certainly has the content of a local one, by its size and MD5."""
    return file.size == local.stat().st_size and file.md5 is not None and file.md5 == _md5(local)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _options(scheme: str) -> dict[str, Any]:
    options: dict[str, Any] = {"skip_instance_cache": True}
    if scheme in OBJECT_STORES:
        options |= OBJECT_STORES[scheme].options()
    if scheme.startswith("http"):
        options |= {"client_kwargs": {"timeout": web_timeout()}}
    return options | ({} if scheme == "memory" else {"use_listings_cache": False})


def error_status(error: Exception) -> int | None:
    """Return the HTTP status that an error of any client carries, or None."""
    if type(error) is OSError and str(error).startswith("Forbidden: "):  # gcsfs keeps no number
        return 403
    response = getattr(error, "response", None)
    states = (getattr(error, "status", None), getattr(error, "code", None), getattr(response, "status_code", None))
    return next((status for status in states if isinstance(status, int) and status), None)


def _passes(error: Exception) -> bool:
    status = error_status(error)
    if status is not None and 400 <= status < 500:
        return status in _AGAIN
    return not isinstance(error, _FINAL) and type(error).__name__ not in _FINAL_NAMES


_VERSIONS = ("ETag", "etag", "e_tag", "md5Hash", "content_md5", "Content-MD5", "blob_id", "generation")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")


def _remote_file(name: str, entry: Mapping[str, Any]) -> RemoteFile:
    version = next((str(entry[field]) for field in (*_VERSIONS, *_TIMES) if entry.get(field)), "")
    return RemoteFile(name, str(entry["name"]), entry.get("size"), version, _stated_md5(entry))


def _stated_md5(entry: Mapping[str, Any]) -> str | None:
    """Return the MD5 of the content of an object in hexadecimal digits, where its store states one."""
    tag = str(entry.get("ETag") or entry.get("etag") or "").strip('"')
    if len(tag) == 32 and all(letter in "0123456789abcdef" for letter in tag):  # Amazon, of what was sent at once
        return tag
    google, azure = entry.get("md5Hash"), getattr(entry.get("content_settings"), "content_md5", None)
    if google:
        return base64.b64decode(google).hex()
    return bytes(azure).hex() if azure else None


def _write_bars(shown: bool) -> None:
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if shown else disable_progress_bars)()


def _are_bars_shown() -> bool:
    from huggingface_hub.utils import are_progress_bars_disabled

    return not are_progress_bars_disabled()


_hub_bars: SharedSetting[bool] = SharedSetting(_are_bars_shown, _write_bars)
_hub_verbosity: SharedSetting[int] = SharedSetting(
    lambda: _hub_logging().get_verbosity(), lambda level: _hub_logging().set_verbosity(level)
)


def _hub_logging() -> Any:
    from huggingface_hub.utils import logging

    return logging
