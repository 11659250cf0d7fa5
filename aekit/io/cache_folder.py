"""Say where things are kept between commands."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of what is kept between commands: ``$AEKIT_CACHE`` or ``~/.cache/aekit``."""
    return Path(os.environ.get("AEKIT_CACHE", Path.home() / ".cache" / "aekit"))
