"""Connect to the object stores of Amazon, Google and Azure, and list their objects page by page.

Their clients repeat what fails, each in its own way and some with lines on the terminal: this is turned off, as
`RemotePlace.patiently` repeats for all of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""Seconds that a server has to accept a connection, and to send the next bytes."""
PAGE = 1000
"""Most objects that are asked for at a time."""

Page = tuple[Sequence[Mapping[str, Any]], str | None]
"""Entries of objects, as fsspec describes them, and what asks for the page after them; None: it is the last."""


@dataclass(frozen=True)
class ObjectStore:
    """What differs between object stores.

    Attributes:
        options: returns arguments of the file system.
        prepare: called with the file system once it is made.
        page: lists the objects of a bucket whose key begins so: (file system, bucket, prefix, what asks for this page).
        public: how to read what is public, for a message; "": nothing is to be set.
    """

    options: Callable[[], dict[str, Any]]
    prepare: Callable[[Any], None]
    page: Callable[[Any, str, str, str | None], Page]
    public: str


def web_timeout() -> Any:
    """Return the timeouts of clients that are made of aiohttp, whose default ends long transfers."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)


def _keep_quiet(*packages: str) -> None:
    """Keep log lines of packages off the terminal, where Python prints them by default."""
    for package in packages:
        logger = logging.getLogger(package)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _amazon_options() -> dict[str, Any]:
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    return {"config_kwargs": {**timeouts, "retries": {"max_attempts": 0}}}


def _prepare_amazon(fs: Any) -> None:
    fs.retries = 1


def _amazon_page(fs: Any, bucket: str, prefix: str, token: str | None) -> Page:
    more = {"ContinuationToken": token} if token else {}
    page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=PAGE, **more)
    entries = [
        {**entry, "name": f"{bucket}/{entry['Key']}", "size": entry["Size"]} for entry in page.get("Contents", ())
    ]
    return entries, page["NextContinuationToken"] if page.get("IsTruncated") else None


def _google_options() -> dict[str, Any]:
    # gcsfs asks over gRPC for the kind of each bucket, which needs another permission than reading, and says so if it has none.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # read where gcsfs is imported
    return {"requests_timeout": web_timeout()}


def _prepare_google(fs: Any) -> None:
    _keep_quiet("gcsfs")
    for name in ("_request", "_get_file_request", "_get_file_concurrent"):
        once = getattr(getattr(type(fs), name, None), "__wrapped__", None)
        if once is not None:
            setattr(fs, name, MethodType(once, fs))


def _google_page(fs: Any, bucket: str, prefix: str, token: str | None) -> Page:
    page = fs.call("GET", "b/{}/o", bucket, prefix=prefix, maxResults=PAGE, pageToken=token, json_out=True)
    entries = [
        {**entry, "name": f"{bucket}/{entry['name']}", "size": int(entry["size"])} for entry in page.get("items", ())
    ]
    return entries, page.get("nextPageToken")


def _azure_options() -> dict[str, Any]:
    return {"connection_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}


def _prepare_azure(fs: Any) -> None:
    _keep_quiet("adlfs", "azure")
    policy = getattr(getattr(fs.service_client, "_config", None), "retry_policy", None)
    if policy is not None:
        policy.total_retries = 0


def _azure_page(fs: Any, bucket: str, prefix: str, token: str | None) -> Page:
    from azure.core.exceptions import ResourceNotFoundError
    from fsspec.asyn import sync

    async def list_page() -> Page:
        async with fs.service_client.get_container_client(container=bucket) as container:
            blobs = container.list_blobs(name_starts_with=prefix, include=["metadata"], results_per_page=PAGE)
            pages = blobs.by_page(token)
            async for page in pages:
                entries = [_azure_entry(bucket, blob) async for blob in page if not _is_azure_folder(blob)]
                return entries, pages.continuation_token or None
        return [], None

    try:
        return sync(fs.loop, list_page)
    except ResourceNotFoundError:
        raise FileNotFoundError(bucket) from None


def _azure_entry(bucket: str, blob: Any) -> dict[str, Any]:
    etag = blob.etag.strip('"')
    return {
        "name": f"{bucket}/{blob.name}",
        "size": blob.size,
        "etag": f'"{etag}"',  # as that of one object
        "last_modified": blob.last_modified,
        "content_settings": blob.content_settings,
    }


def _is_azure_folder(blob: Any) -> bool:
    """Return whether a blob stands for a folder, as in accounts with a hierarchical namespace."""
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    return "true" in (metadata.get("hdi_isfolder"), metadata.get("is_directory"))


_AMAZON = ObjectStore(_amazon_options, _prepare_amazon, _amazon_page, "FSSPEC_S3_ANON=true reads a public bucket")
_GOOGLE = ObjectStore(_google_options, _prepare_google, _google_page, "")
_AZURE = ObjectStore(_azure_options, _prepare_azure, _azure_page, "AZURE_STORAGE_ANON=true reads a public container")
OBJECT_STORES: Mapping[str, ObjectStore] = {
    **dict.fromkeys(("s3", "s3a"), _AMAZON),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("az", "abfs", "abfss"), _AZURE),
}
"""Scheme of a URL -> its object store."""
