"""Serve an index that grows: open it again when its manifest changes, and go on with the old one until the new one is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from aekit.errors import AekitError
from aekit.serving.catalog import Catalog, file_stamp

CHECK_SECONDS = 2.0
"""Time between looks at the manifest."""


class Served:
    """The catalog that requests are answered from.

    Args:
        catalog: the first one.
        say: receives a line when another one takes its place, or cannot.

    Attributes:
        catalog: the current one.
        map_body: its map as JSON, encoded once: megabytes that do not change.
    """

    def __init__(self, catalog: Catalog, say: Callable[[str], object] = lambda text: None) -> None:
        self._say, self._stamp = say, catalog.stamp
        self._use(catalog)

    def _use(self, catalog: Catalog) -> None:
        self.catalog, self.map_body = catalog, bytes(JSONResponse(catalog.map).body)

    async def watch(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Take the index as it is now, if it has changed, without holding up requests."""
        if file_stamp(self.catalog.watched) != self._stamp and (fresh := await run_in_threadpool(self._fresh)):
            self._use(fresh)

    def refresh_now(self) -> bool:
        """Take the index as it is now, if it has changed; return whether it was taken."""
        fresh = self._fresh() if file_stamp(self.catalog.watched) != self._stamp else None
        if fresh:
            self._use(fresh)
        return fresh is not None

    def _fresh(self) -> Catalog | None:
        """Open the index as it is now, if its first rows are those that are served.

        The page addresses samples by their rows, so an index whose rows are others is not taken.
        """
        self._stamp = file_stamp(self.catalog.watched)
        try:
            fresh = self.catalog.reopened()
        except (AekitError, OSError) as error:
            self._say(f"the index has changed but cannot be opened ({error}); the old one is served")
            return None
        count = len(self.catalog.index)
        if fresh.index.digest != self.catalog.index.digest or fresh.index.ids[:count] != self.catalog.index.ids:
            self._say("the index was rebuilt with other rows; the old one is served: restart aekit serve")
            return None
        self._say(f"the index has grown: {len(fresh.index):,} samples")
        return fresh
