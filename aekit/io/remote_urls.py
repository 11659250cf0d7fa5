"""Tell remote places from paths, and keep credentials out of everything that is shown or recorded."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlsplit

from aekit.errors import DataError, closest_name

EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
    "hf": "huggingface",
    "http": "s3",  # s3fs needs aiohttp as well
    "https": "s3",
    "memory": "s3",
}
"""Scheme -> extra of aekit with the packages that open it."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_SECRET_NAME = re.compile(r"sig|tok|key|secret|pass|auth|cred|session|x-amz|x-goog|policy|^s[evrpt]$", re.I)
_SECRET_PAIR = re.compile(
    r"([\w.-]*(?:token|signature|secret|passw|credential|account_?key|access_?key|\bsig)[\w.-]*)=[^\s&;,'\")]+", re.I
)
_SAFE_VALUE = re.compile(r"[\w.-]{0,16}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>)\]]+?(?=[:;,.]*(?:[\s'\"<>)\]]|$))")

_full_urls: dict[str, str] = {}
"""URL as it is shown -> as it was given, so that this process can open again what a record names."""


def is_remote(place: object) -> bool:
    """Return whether a place is a URL such as ``s3://bucket/folder``, and no path.

    Examples:
        >>> is_remote("s3://bucket/folder"), is_remote("folder/a.npy"), is_remote("sklearn:digits")
        (True, False, False)
    """
    if not isinstance(place, (str, os.PathLike)):
        return False
    text = os.fspath(place)
    match = _SCHEME.match(text) if isinstance(text, str) else None
    if match is None:
        return False
    # A `Path` of a URL has one slash; a name such as ``images:/data`` has one too, and is not a URL.
    return text.startswith(match[1] + "://") or match[1].lower() in EXTRAS


def full_url(place: str | os.PathLike[str]) -> str:
    """Return the URL of a remote place, with credentials that this process was given for it, and two slashes.

    Raises:
        DataError: another scheme, or one whose credentials are not taken from the URL.
    """
    text = os.fspath(place)
    match = _SCHEME.match(text)
    if match is None:
        raise DataError(f"{text}: expected a URL such as s3://bucket/folder")
    scheme = match[1].lower()
    if scheme not in EXTRAS:
        near = closest_name(scheme, sorted(set(EXTRAS) - {"memory"}))
        hint = "; leave out file://" if scheme == "file" else near
        raise DataError(f"{without_secrets(text)}: no storage {scheme!r}{hint}")
    url = f"{scheme}://{text[match.end() :]}"
    user = urlsplit(url).netloc.rpartition("@")[0]
    if ":" in user and not scheme.startswith("http"):
        raise DataError(
            f"{without_secrets(url)}: has credentials in the URL; put them where the provider's tools look for them, "
            "such as environment variables or a profile"
        )
    url = _full_urls.get(url, url)
    _full_urls[_without_secrets(url)] = url
    return url


def shown_url(place: str | os.PathLike[str]) -> str:
    """Return a place as records and messages name it: a URL without credentials; a path as it is.

    Examples:
        >>> shown_url("https://me:pw@host/a.npy?X-Amz-Signature=5f")
        'https://host/a.npy'
    """
    return _without_secrets(full_url(place)) if is_remote(place) else os.fspath(place)


def without_secrets(text: str) -> str:
    """Return a text whose URLs have no user, no password and no query that may hold a token."""
    if "://" not in text:
        return text
    for shown, full in _full_urls.items():
        if shown != full:
            text = text.replace(full, shown)
    return _URL.sub(lambda match: _without_secrets(match[0]), text)


def without_tokens(text: str) -> str:
    """Return what another program says without the values of names such as ``access_token`` and ``AccountKey``.

    Examples:
        >>> without_tokens("no answer from /tokeninfo?access_token=ya29.A0B1&alt=json")
        'no answer from /tokeninfo?access_token=...&alt=json'
    """
    return _SECRET_PAIR.sub(r"\1=...", text)


def _without_secrets(url: str) -> str:
    scheme, _, after = url.partition("://")
    is_web = scheme.lower().startswith("http")
    after = after.partition("#")[0] if is_web else after
    place, mark, query = after.partition("?") if is_web or "=" in after else (after, "", "")
    host, slash, path = place.partition("/")
    user, at, server = host.rpartition("@")
    if at and (":" in user or is_web):
        host = server
    pairs = parse_qsl(query, keep_blank_values=True)
    secret = any(_SECRET_NAME.search(name) or not _SAFE_VALUE.fullmatch(value) for name, value in pairs)
    if secret or (query and not pairs):
        mark = query = ""
    return f"{scheme}://{host}{slash}{path}{mark}{query}"


def join_url(url: str, name: str) -> str:
    """Return the URL of a file in a remote folder."""
    return f"{url.rstrip('/')}/{name}"


def with_suffix(place: str | os.PathLike[str], suffix: str) -> str:
    """Return a path, or a URL without a query, with another suffix."""
    text = os.fspath(place)
    scheme, slashes, path = text.rpartition("://") if is_remote(text) else ("", "", text)
    return f"{scheme}{slashes}{PurePosixPath(path).with_suffix(suffix) if slashes else Path(path).with_suffix(suffix)}"


def file_name(url: str) -> str:
    """Return the last part of the path of a URL; that of a bucket is its name."""
    text = url.partition("://")[2]
    if url.startswith("http"):
        text = text.partition("?")[0].partition("#")[0]
    return PurePosixPath(text.rstrip("/")).name or "data"
