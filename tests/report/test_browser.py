"""The pages in a real browser: they open, answer to pointer, finger and keys, and fit a desk and a phone, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

import aekit
from aekit.io.atomic import write_text

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FAST = {"train.precision": "fp32", "encoder.conv.channels": [8, 16]}
REPORTS = ("images", "series", "table", "clips", "task")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of runs on each kind of data, made as those of long runs are; a map, a search and a comparison."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("pages")
    digits, rng = load_digits(), np.random.default_rng(0)
    np.savez(folder / "digits.npz", X=(digits.images[:300] * 15).astype(np.uint8), y=digits.target[:300])
    time, kind = np.linspace(0, 12, 150), rng.integers(0, 2, 80)
    waves = np.stack(
        [np.where(k, np.sin(f * time), np.sign(np.sin(f * time))) for k, f in zip(kind, rng.uniform(1, 2, 80))]
    )
    np.savez(folder / "waves.npz", X=waves[:, None].astype(np.float32), y=np.array(["square", "sine"])[kind])
    data: dict[str, Any] = {
        "images": folder / "digits.npz",
        "series": folder / "waves.npz",
        "table": "sklearn:wine",
        "clips": rng.integers(0, 255, (40, 3, 5, 12, 16)).astype(np.uint8),
        "task": folder / "digits.npz",
    }
    how: dict[str, Any] = {"images": {"variants": ["denoising"]}, "task": {"pretexts": ["rotation"]}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aekit.report._effort.estimate_training_seconds", lambda *_: np.inf)
        for name, given in data.items():
            settings = {"train.precision": "fp32"} if name == "table" else FAST
            settings = settings | ({"evaluate.evaluators": ["probe"]} if name in ("images", "task") else {})
            given = str(given) if isinstance(given, Path) else given
            aekit.fit(given, dim=4, epochs=3, out=folder / name, overrides=settings, **how.get(name, {}))
            (folder / name / "report.html").rename(folder / f"{name}.html")
    embeddings = aekit.load(folder / "images").embed(str(folder / "digits.npz"), out=folder / "embeddings")
    aekit.draw_map(embeddings, html=folder / "map.html", method="pca")
    write_text(folder / "compare.html", aekit.compare([folder / "images", folder / "task"]).html())
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page, and what it complained about or asked the network for."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def until(self, script: str) -> None:
        """Waits for something to become true. The page forbids that its text is run as code, so that this asks from outside."""
        for _ in range(200):
            if self.page.evaluate(script):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never became true: {script}")

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def map(self, script: str) -> Any:
        """What a script says of the map, as ``map``."""
        return self.page.evaluate(
            f"(() => {{ const map = document.querySelector('[data-map]').map; return {script}; }})()"
        )

    def at(self, number: int) -> tuple[float, float]:
        """Where a point of the map is on the screen."""
        self.page.locator(".plane > canvas").scroll_into_view_if_needed()
        box, (x, y) = self.page.locator(".plane > canvas").bounding_box(), self.map(f"map.at({number})")
        return box["x"] + x, box["y"] + y


@pytest.fixture
def visit(browser: Any, pages: Path) -> Iterator[Any]:
    """``visit("images", PHONE, "dark")`` -> an `Opened`, which must have had nothing to complain about at the end."""
    contexts, visited = [], []

    def go(name: str, size: dict[str, int] = DESK, scheme: str = "light", at: str = "") -> Opened:
        context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size is PHONE)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: _outside(request.url, opened.complaints))
        opened.page.goto((pages / f"{name}.html").as_uri() + at)
        visited.append(opened)
        return opened

    yield go
    complaints = [line for opened in visited for line in opened.complaints]
    for context in contexts:
        context.close()
    assert not complaints


def _outside(url: str, complaints: list[str]) -> None:
    if not url.startswith(("file:", "data:")):
        complaints.append(f"asks for {url}")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", [*REPORTS, "map", "compare"])
def test_every_page_opens_and_fits(visit: Any, pages: Path, name: str, size: dict[str, int]) -> None:
    opened = visit(name, size, "dark" if size is PHONE else "light")
    assert (pages / f"{name}.html").stat().st_size < 5e6
    for tab in opened.get_by_role("tab").all() or [None]:
        if tab:
            tab.click()
        assert opened.evaluate("document.documentElement.scrollWidth") <= size["width"], tab and tab.inner_text()
        # Every thumbnail that is in view is drawn, and is not empty.
        opened.until(
            "[...document.querySelectorAll('canvas.thumb')].every((c) => {"
            " const box = c.getBoundingClientRect();"
            " const out = box.width === 0 || box.bottom < 0 || box.top > innerHeight || box.left > innerWidth - 30;"
            " return out || c.painted >= 0; })"
        )
    if name in REPORTS:
        assert opened.get_by_role("tab").count() == 7


@pytest.mark.parametrize("name", REPORTS)
def test_thumbnails_are_not_empty(visit: Any, name: str) -> None:
    opened = visit(name, at="#neighbors")
    opened.until("document.querySelector('#neighbors canvas.thumb').painted >= 0")
    levels = opened.evaluate(
        "(() => { const c = document.querySelector('#neighbors canvas.thumb');"
        " return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size; })()"
    )
    assert levels > 3


def test_a_thumbnail_is_the_sample(visit: Any, pages: Path) -> None:
    opened = visit("images")
    opened.until("document.querySelector('.strip canvas.thumb').painted >= 0")
    side, gray = opened.evaluate(
        "(() => { const c = document.querySelector('.strip canvas.thumb');"
        " const bytes = c.getContext('2d').getImageData(0, 0, c.width, c.width).data;"
        " return [c.width, Array.from(bytes).filter((_, i) => i % 4 === 0)]; })()"
    )
    middles = ((np.arange(8) + 0.5) * side / 8).astype(int)
    expected = np.load(pages / "digits.npz")["X"][0]
    assert np.array_equal(np.array(gray).reshape(side, side)[middles][:, middles], expected)


def test_tabs_by_pointer_keys_and_address(visit: Any) -> None:
    opened = visit("images")
    shown = "[...document.querySelectorAll('[role=tabpanel]')].filter((p) => !p.hidden).map((p) => p.id)"
    assert opened.evaluate(shown) == ["overview"]
    opened.tab("Training")
    assert opened.evaluate(shown) == ["training"] and opened.evaluate("location.hash") == "#training"
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate(shown) == ["network"]
    opened.keyboard.press("End")
    opened.keyboard.press("ArrowRight")
    assert (
        opened.evaluate(shown) == ["overview"] and opened.evaluate("document.activeElement.textContent") == "Overview"
    )
    assert visit("images", at="#map").evaluate(shown) == ["map"]
    opened.emulate_media(media="print")
    heights = opened.evaluate("[...document.querySelectorAll('[role=tabpanel]')].map((p) => p.offsetHeight)")
    assert all(heights), "on paper all are open"


def test_the_map_hovers_chooses_and_zooms(visit: Any) -> None:
    opened = visit("images", at="#map")
    label, name = opened.map("map.facts(5)[0]")[1], "5"
    opened.mouse.move(*opened.at(5))
    tip = opened.locator(".tip")
    tip.wait_for()
    shown = tip.inner_text()
    assert f"label: {label}" in shown and opened.map("map.state.hover") >= 0 and tip.locator("canvas").count() == 1
    opened.mouse.move(*opened.at(5))
    opened.mouse.click(*opened.at(5))
    chosen = opened.map("map.state.chosen")
    aside = opened.locator(".aside")
    assert aside.locator(".gallery figure").count() == 8 and aside.locator(".first canvas").count() == 1
    if str(chosen) == name:
        assert f"label: {label}" in aside.inner_text()
    aside.locator(".gallery button").first.click()
    assert opened.map("map.state.chosen") != chosen, "a neighbor can be chosen"
    opened.get_by_role("button", name="Zoom in").click()
    assert opened.map("map.state.zoom") == 1.5
    opened.get_by_role("button", name="Show all").click()
    assert opened.map("map.state.zoom") == 1
    opened.locator(".plane > canvas").focus()
    before = opened.map("map.at(map.state.chosen)")
    opened.keyboard.press("ArrowLeft")
    assert opened.map("map.at(map.state.chosen)")[0] < before[0], "keys go from point to point"
    opened.keyboard.press("Escape")
    assert opened.map("map.state.chosen") == -1


def test_the_map_s_legend_layout_and_color(visit: Any) -> None:
    opened = visit("images", at="#map")
    place = opened.at(5)
    first = opened.map("map.facts(5)[0]")[1]
    button = opened.locator(".legend button").filter(has_text=f"{first} (")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    opened.mouse.move(*place)
    assert opened.map("map.state.hover < 0 || map.facts(map.state.hover)[0][1]") in (True, *"0123456789")
    hovered = opened.map("map.state.hover")
    assert hovered < 0 or opened.map(f"map.facts({hovered})[0]")[1] != first, "what is hidden is not found"
    button.focus()
    opened.keyboard.press("Shift+Enter")
    shown = opened.locator('.legend button[aria-pressed="true"]').filter(has_text="(")
    assert [text.split()[0] for text in shown.all_inner_texts()] == [first], "keys show one label alone"
    opened.locator(".controls select").first.select_option(index=1)
    assert opened.at(5) != place
    opened.locator(".controls select").nth(1).select_option("error")
    assert opened.locator(".legend .ramp").count() == 1
    opened.get_by_role("button", name="Images").click()
    assert opened.map("map.state.images") is True


def test_the_map_answers_to_a_finger(visit: Any) -> None:
    opened = visit("series", PHONE, "dark", at="#map")
    opened.touchscreen.tap(*opened.at(7))
    chosen = opened.map("map.state.chosen")
    assert chosen >= 0 and opened.locator(".aside .first canvas").count() == 1
    assert opened.map(f"map.facts({chosen})[0]")[1] in ("sine", "square")


def test_light_and_dark(visit: Any) -> None:
    for scheme, ground in (("light", "rgb(247, 248, 249)"), ("dark", "rgb(18, 20, 23)")):
        opened = visit("images", DESK, scheme)
        color = "getComputedStyle(document.body).backgroundColor"
        assert opened.evaluate(color) == ground
        opened.locator(".theme").click()
        assert opened.evaluate(color) != ground
        opened.locator(".theme").click()
        assert opened.evaluate(color) == ground


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(visit: Any, scheme: str) -> None:
    """The contrast of each color of writing with each ground is at least 4.5 to 1 (WCAG 2.2, AA)."""
    opened = visit("images", DESK, scheme)
    names = ["ink", "faint", "mark", "good", "notice", "bad", "paper", "panel", "soft", "on-mark"]
    colors = opened.evaluate(
        f"Object.fromEntries({names}.map((name) => {{"
        " document.body.style.color = `var(--${name})`;"
        " return [name, getComputedStyle(document.body).color.match(/\\d+/g).slice(0, 3).map(Number)]; }))"
    )

    def luminance(name: str) -> float:
        share = np.array(colors[name]) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(a: str, b: str) -> float:
        lights = sorted([luminance(a), luminance(b)])
        return (lights[1] + 0.05) / (lights[0] + 0.05)

    for ink in ("ink", "faint", "mark", "good", "notice", "bad"):
        for ground in ("paper", "panel") + (("soft",) if ink in ("ink", "faint") else ()):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert contrast("on-mark", "mark") >= 4.5


def test_a_curve_tells_its_values(visit: Any) -> None:
    opened = visit("images", at="#training")
    chart = opened.locator("#training figure.chart").first
    box = chart.locator("svg").bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60)
    assert chart.locator("output").inner_text().startswith("step ")
    opened.mouse.move(5, 5)
    assert "at the end" in chart.locator("output").inner_text()


def test_nearest_neighbors_of_a_search(visit: Any, pages: Path, command: Command) -> None:
    command.ok("index", pages / "embeddings", "-o", pages / "index", "-q")
    command.ok("search", pages / "index", "id:3", "id:9", "-k", 5, "-q", "--html", pages / "search.html")
    opened = visit("search", PHONE)
    opened.until("[...document.querySelectorAll('canvas.thumb')].slice(0, 6).every((c) => c.painted >= 0)")
    assert opened.locator("figure").count() == 12 and opened.locator("figure.query").count() == 2
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
