"""No text that a page shows runs as code; and the browser would notice if one did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browser import CHROMIUM, Watched, chromium, visit_all
from markup import PAYLOADS

pytestmark = [pytest.mark.reliability, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]

CARELESS = (
    "<p>{text}</p>",
    '<p title="{text}">x</p>',
    "<p title='{text}'>x</p>",
    "<title>{text}</title>",
    "<style>{text}</style>",
    "<textarea>{text}</textarea>",
    "<script>const name = '{text}';</script>",
    "<script>const name = `{text}`;</script>",
    '<script type="application/json">{text}</script>',
    "<!-- {text} -->",
    "<![CDATA[{text}]]>",
    "<p id=p></p><script>p.innerHTML = '{text}';</script>",
    '<p id=p data-name="{escaped}"></p><script>p.innerHTML = p.dataset.name;</script>',
    '<p id=p data-name="{escaped}"></p><script>p.innerHTML = p.dataset.name; p.innerHTML = p.textContent;</script>',
)
"""Pages that show a text without keeping it apart from markup."""


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def unnoticed(opened: Any, folder: Path, texts: Sequence[str]) -> list[str]:
    """Return the texts that run on none of the careless pages."""

    def noticed(text: str, careless: str) -> bool:
        path, page = folder / "careless.html", opened.new_page()
        shown = careless.format(text=text, escaped=escape(text))
        path.write_text(f"<!doctype html><meta charset=utf-8>{shown}", "utf-8")
        watched = Watched(page)
        watched.visit(path.as_uri())
        page.close()
        return any("ran" in line or "became" in line or "asked" in line for line in watched.wrong)

    return [text for text in texts if not any(noticed(text, careless) for careless in CARELESS)]


SOME = [text for text in PAYLOADS if text.startswith(("</script", '" onm', "<img"))]


def test_a_careless_page_is_noticed(opened: Any, tmp_path: Path) -> None:
    assert len(SOME) == 3 and not unnoticed(opened, tmp_path, SOME)


def test_no_page_runs_a_text(opened: Any, tmp_path: Path) -> None:
    wrong = visit_all(tmp_path, SOME, opened)
    assert len(wrong) > 15 and not any(wrong.values()), wrong


@pytest.mark.slow
def test_each_text_runs_on_a_careless_page(opened: Any, tmp_path: Path) -> None:
    assert len(PAYLOADS) == 25 and not unnoticed(opened, tmp_path, PAYLOADS)


@pytest.mark.slow
def test_no_page_runs_any_text(opened: Any, tmp_path: Path) -> None:
    wrong = visit_all(tmp_path, PAYLOADS, opened)
    assert not any(wrong.values()), wrong
