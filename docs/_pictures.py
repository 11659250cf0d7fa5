"""Take the screenshots of the documentation anew: ``aekit demo``, then ``python docs/_pictures.py aekit-demo``.

They show the report of the demo's run, the map in it, and its index in `aekit serve`. Needs playwright and Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
SIZE = {"width": 1200, "height": 900}
SAMPLE = 1071
"""Digit whose neighbors are shown."""


def save(page: Page, name: str) -> None:
    """Save what a page shows as ``images/NAME.webp``, once it is drawn."""
    page.wait_for_timeout(1000)
    Image.open(BytesIO(page.screenshot())).save(IMAGES / f"{name}.webp", quality=80, method=6)


@contextmanager
def served(index: Path) -> Iterator[str]:
    """Serve an index, and yield its address."""
    command = [sys.executable, "-m", "aekit", "serve", str(index), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "http://" in line)
            yield next(word for word in line.split() if word.startswith("http://"))
        finally:
            server.terminate()


def take(folder: Path, browser: Any) -> None:
    """Take all screenshots of a folder that the demo wrote."""
    page = browser.new_page(viewport=SIZE)
    page.goto((folder / "run" / "report.html").as_uri())
    save(page, "report")
    page.get_by_role("tab", name="Map").click()
    page.evaluate("document.querySelector('[role=tablist]').scrollIntoView()")
    page.locator(".map canvas").first.click(position={"x": 300, "y": 300})
    save(page, "map")
    with served(folder / "index") as address:
        page.goto(address)
        page.get_by_label("Part of a sample's id").fill(str(SAMPLE))
        page.get_by_role("button", name="Find").click()
        save(page, "serve")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        take(Path(sys.argv[1]).resolve(), chromium)
        chromium.close()
