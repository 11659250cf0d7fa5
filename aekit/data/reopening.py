"""Open the data of artifacts, where it is available and may be opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aekit.data._ownership import ForeignDataError
from aekit.data.opening import reopen
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.progress import warn


def reopen_if_available(
    origin: Mapping[str, Any] | None, like: SampleSpec | None = None, *, near: Path | None = None
) -> Source | None:
    """Open the data of an artifact as `reopen` does, or return None if it is not available.

    A warning names data that is not opened because the artifact is somebody else's.
    """
    if not origin or "source" not in origin:
        return None
    try:
        return reopen(origin, like, near=near)
    except ForeignDataError as error:
        warn(str(error))
        return None
    except DataError:
        return None
