"""Change what aekit wrote as a stranger would who knows the format: with a new seal, and new checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aekit.io.atomic import file_sha256
from aekit.io.manifests import SEAL, write_manifest


def reseal(path: Path, **changes: Any) -> None:
    """Change entries of a manifest."""
    entries = json.loads(path.read_text("utf-8"))
    entries.pop(SEAL, None)
    write_manifest(path, entries | changes)


def reseal_files(path: Path) -> None:
    """Write the checksums of the files of a manifest as they are now."""
    names = json.loads(path.read_text("utf-8"))["sha256"]
    reseal(path, sha256={name: file_sha256(path.parent / name) for name in names})
