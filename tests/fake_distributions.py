"""Installed distributions as the import system sees them, made of a few text files in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from aekit.registry.discovery import registry


def install(
    folder: Path, name: str, version: str = "1.0", *, module: str, files: Mapping[str, str] | None = None
) -> Path:
    """Puts a distribution, whose hooks are in `module`, into a folder, with the Python files that it brings along."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[aekit]\nhooks = {module}\n")
    for path, text in (files or {}).items():
        (folder / path).write_text(text)
    return folder


def hooks(*entries: str, kind: str = "variants") -> str:
    """The text of a hook module that registers these `Entry(...)` expressions."""
    return (
        "from aekit.registry.hookspecs import Entry, hookimpl\n\n@hookimpl\n"
        f"def aekit_register_{kind}():\n    return [{', '.join(entries)}]\n"
    )


@contextmanager
def seen(folder: Path) -> Iterator[None]:
    """Makes the distributions in a folder visible to this process for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        registry.cache_clear()
        yield
    registry.cache_clear()
