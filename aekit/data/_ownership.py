"""Recognize the artifacts of this user by a mark, so that the data that a stranger's artifact names is not opened unasked.

The mark is an HMAC of the origin with a key that stays in a folder that only the user can write to.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aekit.errors import DataError, printable
from aekit.io.cache_folder import own_temporary_folder
from aekit.io.manifests import canonical_json

MARK, FOREIGN = "made_by", "foreign"
"""Entry of an origin in a file, and in memory that of one which is not this user's."""
OPEN_ORIGINS = "AEKIT_OPEN_ORIGINS"
"""Environment variable that lets the data of any artifact be opened, set by ``aekit --open-origins``."""
_KEY_BYTES = 32
_SIGNED = ("data", "source", "options")


class ForeignDataError(DataError):
    """Data that an artifact made by someone else refers to."""


def marked(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return an origin as a file keeps it: with the mark of this user, or that of a foreign one unchanged."""
    record = {name: value for name, value in origin.items() if name != FOREIGN}
    mark = origin[FOREIGN] if FOREIGN in origin else _mark(record, create=True)
    return record | ({MARK: mark} if mark else {})


def unmarked(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return an origin from a file without its mark; one that this user did not make has the entry `FOREIGN`."""
    record = {name: value for name, value in origin.items() if name not in (MARK, FOREIGN)}
    mark, expected = origin.get(MARK), _mark(record, create=False)
    is_own = isinstance(mark, str) and expected is not None and hmac.compare_digest(mark.encode(), expected.encode())
    return record if is_own else record | {FOREIGN: mark if isinstance(mark, str) else None}


def check_own(origin: Mapping[str, Any]) -> None:
    """Check that the data of an origin may be opened.

    Raises:
        ForeignDataError: it is named by an artifact that this user did not make, and opening it was not asked for.
    """
    if FOREIGN in origin and os.environ.get(OPEN_ORIGINS) != "1":
        data = printable(repr(origin.get("data")))
        raise ForeignDataError(
            f"data {data} is not opened, because the artifact that names it was made elsewhere; if you trust it, "
            f"aekit --open-origins or {OPEN_ORIGINS}=1 opens it"
        )


def _mark(origin: Mapping[str, Any], *, create: bool) -> str | None:
    key = _key(create)
    content = canonical_json([origin.get(name) for name in _SIGNED])
    return hmac.new(key, content, "sha256").hexdigest() if key else None


def _key(create: bool) -> bytes | None:
    """Return the key of this user, or None if there is none and none can be written.

    It is in the home folder; without one, or with a read-only one, as in many containers, among the temporary files.
    """
    return _key_in(_settings_folder, create) or _key_in(partial(own_temporary_folder, create=create), create)


def _settings_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "aekit"


def _key_in(place: Callable[[], Path], create: bool) -> bytes | None:
    with contextlib.suppress(OSError, RuntimeError):  # a folder that is missing or read-only, or of somebody else
        path = place() / "key"
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"key.{os.getpid()}.part")
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(part, path)
            except FileExistsError:  # another process was first
                part.unlink()
            except OSError:  # the file system has no links
                os.replace(part, path)
            else:
                part.unlink()
        content = path.read_bytes()
        return content if len(content) == _KEY_BYTES else None
    return None
