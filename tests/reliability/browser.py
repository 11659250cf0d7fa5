"""Show texts that look like code on every page that aekit writes, in a real browser, and see that none of them runs.

``python tests/reliability/browser.py FOLDER [COUNT]`` writes the pages into a folder and opens each in headless Chromium. Every
tab is opened, every element is pointed at, the map is pointed at and clicked all over, and the page of a server is searched,
filtered and given files. Up to 25 texts are shown as id, name of a file, a folder, a label, a column, a metric, a recipe and a
run, as cell, and as path of data. Nothing may run, ask for a file or an address, or become an element.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from figures import Figure, record
from markup import PAYLOADS, image_pages, served, study_pages, table_pages

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
MARKS = ", ".join(
    ["iframe[srcdoc]", "base", "link[href*=injected]", "meta[http-equiv=refresh]", "math", "a[href^=javascript]"]
    + [f"[on{event}]" for event in ("error", "load", "focus", "toggle", "mouseover")]
)
"""Elements and attributes that only the texts have."""


class Watched:
    """A page that is opened and used, and what went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.page, self.wrong = page, list[str]()
        page.on("dialog", lambda dialog: (self.wrong.append("opened a dialog"), dialog.dismiss()))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("framenavigated", lambda frame: self._asked(frame.url))

    def visit(self, address: str) -> None:
        """Open a page, and use everything on it."""
        self.home = address
        self.page.goto(address)
        self.page.wait_for_timeout(100)
        for tab in self.page.get_by_role("tab").all() or [None]:
            if tab is not None and tab.is_visible():
                tab.click()
            self.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            self._point_at_all()
            for place in self.page.locator(".plane > canvas").all():
                if place.is_visible():
                    self._use_map(place)
            self.look()

    def look(self) -> None:
        """Check that nothing has run and nothing has become an element."""
        if self.page.evaluate("window.injected"):
            self.wrong.append("a text ran")
        if self.page.evaluate("document.querySelector('.theme')?.hidden"):
            self.wrong.append("the script of the page did not run")
        elements = self.page.evaluate(
            f"[...document.querySelectorAll('{MARKS}')].map((part) => part.outerHTML.slice(0, 100))"
        )
        self.wrong += [f"a text became an element: {element}" for element in elements]

    def _asked(self, address: str) -> None:
        its_own = address.split("#")[0] == self.home or address.startswith(("data:", "blob:", "about:"))
        of_its_server = self.home.startswith("http:") and address.startswith(f"{self.home}/")
        if not its_own and not of_its_server:
            self.wrong.append(f"asked for {address}")

    def _point_at_all(self) -> None:
        """Send the events of a pointer and of the keyboard to all elements, and move the pointer over the charts."""
        self.page.evaluate(
            "document.querySelectorAll('body *').forEach((part) => {"
            " for (const name of ['pointerenter', 'mouseover', 'mouseenter', 'mousemove', 'pointermove', 'focus', 'mouseleave'])"
            " part.dispatchEvent(new MouseEvent(name, {bubbles: name !== 'focus', clientX: 50, clientY: 50})); })"
        )
        for chart in self.page.locator("figure.chart svg").all()[:6]:
            if chart.is_visible() and (box := chart.bounding_box()):
                self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def _use_map(self, canvas: Any) -> None:
        canvas.scroll_into_view_if_needed()
        for select in self.page.locator(".controls select").all():
            for number in range(select.locator("option").count() if select.is_visible() else 0):
                select.select_option(index=number)
        box = canvas.bounding_box()
        for column in range(1, 12):
            for row in range(1, 8):
                self.page.mouse.move(box["x"] + column * box["width"] / 12, box["y"] + row * box["height"] / 8)
                if (column + row) % 5 == 0:
                    self.page.mouse.down()
                    self.page.mouse.up()
        canvas.focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
            self.page.keyboard.press(key)
        for button in self.page.locator(".legend button").all()[:40]:
            button.hover()
            button.click()


def visit_server(page: Any, address: str, folder: Path, texts: Sequence[str]) -> list[str]:
    """Use the page of a server: find every text, filter by every label, and send files that are named by the texts."""
    watched = Watched(page)
    watched.visit(address)
    image = next(path for path in (folder / "images").rglob("*.png") if path.name[0] == "0")
    for number, text in enumerate(texts):
        page.fill("#name", text)
        page.click("#search button[type=submit]")
        page.wait_for_timeout(60)
        content = image.read_bytes() if number % 2 else b"not an image"
        page.set_input_files("#file", {"name": f"{text}.png", "mimeType": "image/png", "buffer": content})
        page.wait_for_timeout(60)
        watched._point_at_all()
        watched.look()
    labels = page.locator("#label option").count()
    for number in range(labels):
        page.select_option("#label", index=number)
        page.wait_for_timeout(60)
    watched._point_at_all()
    watched.look()
    return watched.wrong


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def visit_all(folder: Path, texts: Sequence[str], browser: Any) -> dict[str, list[str]]:
    """Write all pages into a folder, and visit them; return page -> what went wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pages = table_pages(folder, texts) | image_pages(folder, texts) | study_pages(folder, texts)
    wrong = {}
    for name, path in pages.items():
        watched = Watched(browser.new_page(viewport={"width": 1280, "height": 900}))
        watched.visit(path.as_uri())
        watched.page.close()
        wrong[name] = watched.wrong
    for name in ("table", "image"):
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        with served(folder / f"{name}-index", folder / f"{name}-results") as address:
            wrong[f"serve, {name}"] = visit_server(page, address, folder, texts)
            names = sorted(path.name for path in (folder / f"{name}-results").iterdir())
            for number, result in enumerate(["", *(f"/{quote(result)}" for result in names)]):
                watched = Watched(browser.new_page(viewport={"width": 1280, "height": 900}))
                watched.visit(f"{address}/results{result}")
                watched.page.close()
                wrong[f"{number}, {name}, served result"] = watched.wrong
            page.close()
    return wrong


def kind_of(name: str) -> str:
    """Return the name under which the figures of a page are kept: several pages of one kind are counted together."""
    kinds = ("run of a study", "result of an analysis", "served result")
    return next((kind for kind in kinds if name.endswith(kind)), name)


def main() -> None:
    """Visit all pages, print what went wrong, and keep the figures."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(PAYLOADS)
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        wrong = visit_all(folder, PAYLOADS[:count], browser)
    rows, kinds = [], Counter(kind_of(name) for name in wrong)
    for kind, pages in kinds.items():
        lines = [line for name, lines in wrong.items() for line in lines if kind_of(name) == kind]
        print(f"{kind}: {pages} pages, {sorted(set(lines)) or 'nothing ran'}")
        how = f"{count} texts on one page" if pages == 1 else f"{count} texts on {pages} pages"
        rows.append(Figure(kind, how, count, len(lines)))
    if count == len(PAYLOADS):
        record("browser", rows)


if __name__ == "__main__":
    main()
