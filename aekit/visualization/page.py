"""Write self-contained pages: one HTML file that needs no network, light or dark, for desk and phone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from aekit.io.text_table import format_number

if TYPE_CHECKING:
    from aekit.visualization.sprite_sheets import SpriteSheet

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: nothing leaves the page, and nothing is loaded."""


class Link(NamedTuple):
    """A link at the top of a page to another one, or to itself."""

    text: str
    address: str
    is_current: bool = False


class Page:
    """Collect the parts of a page, under tabs if there are several.

    Parts are HTML made by the functions of this module; `thumbnail` and `map` keep the data that the page draws.
    """

    def __init__(self, title: str, subtitle: str = "", *, links: Sequence[Link] = ()) -> None:
        self.title, self.subtitle, self.links = title, subtitle, links
        self._tabs: dict[str, list[str]] = {}
        self._sheets: list[SpriteSheet] = []
        self._maps: list[dict[str, Any]] = []

    def add(self, tab: str, *parts: str) -> None:
        """Append parts to a tab; empty parts are left out."""
        kept = [part for part in parts if part]
        if kept:
            self._tabs.setdefault(tab, []).extend(kept)

    def thumbnail(self, sheet: SpriteSheet, number: int, title: str) -> str:
        """Return the HTML of a thumbnail of a sheet; `title` describes it to those who do not see it."""
        return (
            f'<canvas class="thumb" role="img" aria-label="{escape(title)}" '
            f'data-sheet="{self._number(sheet)}" data-number="{number}"></canvas>'
        )

    def map(self, described: Mapping[str, Any], sheet: SpriteSheet | None) -> str:
        """Return the HTML of an interactive map; `described` is the data of `aekit.visualization.map_data.map_data`."""
        self._maps.append({**described, "sheet": None if sheet is None else self._number(sheet)})
        return f'<div class="map" data-map="{len(self._maps) - 1}"></div>'

    def html(self) -> str:
        """Return the HTML text of the page."""
        drawn = {"sheets": [sheet.described for sheet in self._sheets], "maps": self._maps}
        # A name may contain text that would close the script element.
        data = json.dumps(drawn, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{_asset('page.css')}</style></head><body>"
            f'<div class="page"><header class="top"><div><h1>{escape(self.title)}</h1>'
            f'<p class="faint">{escape(self.subtitle)}</p></div><button type="button" class="theme" hidden></button></header>'
            f"{_navigation(self.links)}{self._body()}</div>"
            f'<script type="application/json" id="held">{data}</script>'
            f"<script>{_asset('page.js')}</script><script>{_asset('map.js') if self._maps else ''}</script>"
            "</body></html>\n"
        )

    def _number(self, sheet: SpriteSheet) -> int:
        for number, known in enumerate(self._sheets):
            if known is sheet:
                return number
        self._sheets.append(sheet)
        return len(self._sheets) - 1

    def _body(self) -> str:
        if len(self._tabs) < 2:
            return f"<main>{''.join(part for parts in self._tabs.values() for part in parts)}</main>"
        names = {tab: re.sub(r"\W+", "-", tab.lower()) for tab in self._tabs}
        bar = "".join(
            f'<button type="button" role="tab" id="tab-{name}" aria-controls="{name}">{escape(tab)}</button>'
            for tab, name in names.items()
        )
        panels = "".join(
            f'<div role="tabpanel" id="{names[tab]}" aria-labelledby="tab-{names[tab]}">{"".join(parts)}</div>'
            for tab, parts in self._tabs.items()
        )
        return f'<div role="tablist" aria-label="Parts of the page">{bar}</div><main>{panels}</main>'


def _asset(name: str) -> str:
    return files("aekit.visualization").joinpath(name).read_text("utf-8")


def script_hashes() -> list[str]:
    """Return the hashes of the scripts of pages, as a content security policy names them: ``'sha256-...'``."""
    digests = (hashlib.sha256(_asset(name).encode()).digest() for name in ("page.js", "map.js"))
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def _navigation(links: Sequence[Link]) -> str:
    """Return the HTML of links to other pages."""
    if not links:
        return ""
    drawn = [
        f'<a href="{escape(link.address)}"{" aria-current=page" if link.is_current else ""}>{escape(link.text)}</a>'
        for link in links
    ]
    return f'<nav aria-label="Pages">{"".join(drawn)}</nav>'


def card(title: str, below: str, *parts: str) -> str:
    """Frame parts with a heading and a sentence or two below it."""
    remark = f'<p class="faint">{escape(below)}</p>' if below else ""
    named = f"<h2>{escape(title)}</h2>" if title else ""
    return f'<section class="card">{named}{remark}{"".join(parts)}</section>'


def headline(text: str, severity: str, *, below: str = "") -> str:
    """Return the sentence that answers the question of the page, in the color and with the sign of its severity.

    Args:
        text: the sentence.
        severity: ``good``, ``notice`` or ``bad``.
        below: what the sentence rests on.
    """
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<div class="headline {severity}" role="status"><p>{escape(text)}{small}</p></div>' if text else ""


def sentences(lines: Iterable[str]) -> str:
    """Return a list of sentences."""
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="sentences">{listed}</ul>' if listed else ""


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def collapsible(title: str, *parts: str) -> str:
    """Hide parts until a click."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def side_by_side(*parts: str, least: int = 300) -> str:
    """Arrange parts of equal width next to each other where there is room; `least` is their least width in pixels."""
    return f'<div class="beside" style="--least: {least}px">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'


def wrapped_row(*parts: str) -> str:
    """Arrange parts of their own widths next to each other where there is room."""
    return f'<div class="wrapped">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'


def metric_tiles(values: Mapping[str, tuple[str, str]]) -> str:
    """Draw a tile for each title -> value and a few words on it, in rows of at most seven."""
    columns = -(-len(values) // max(1, -(-len(values) // 7)))
    drawn = [
        f'<div class="tile"><dt>{escape(title)}</dt><dd class="figure">{escape(figure)}</dd>'
        f'<dd class="words">{escape(words)}</dd></div>'
        for title, (figure, words) in values.items()
    ]
    return f'<dl class="tiles" style="--columns: {columns}">{"".join(drawn)}</dl>'


def fact_table(rows: Mapping[str, object]) -> str:
    """Return a table of two columns: name and value."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>' for name, value in rows.items()
    )
    return f'<div class="scroll"><table class="facts"><tbody>{body}</tbody></table></div>'


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a table with a row for each mapping, empty where a value is missing; numbers are right-aligned."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return ""
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    kinds = [' class="number"' if all(_is_number(row[at]) for row in cells) else "" for at in range(len(names))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(names, kinds))
    lines = ["".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds)) for row in cells]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return format_number(value)
    return "" if value is None else str(value)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"|[-+]?[\d,.]+(e[-+]?\d+)?", text))


SIGNS = {
    "same": ("✓", "same label as the query"),
    "other": ("✕", "another label than the query"),
    "keep": ("✓", "the one to keep"),
}
"""Kind of a sample -> the sign before its title, and what the sign says to those who do not see it."""


def figure(drawn: str, title: str = "", caption: str = "", *, path: str = "", kind: str = "", href: str = "") -> str:
    """Return a thumbnail with its caption.

    Args:
        drawn: HTML of the thumbnail; "" where there is none.
        title, caption: below it; what is too long ends in an ellipsis, and is shown whole when pointed at.
        path: a name with folders, below them.
        kind: ``query``, ``wrong`` for a mistake, ``same`` or ``other`` for a neighbor that shares the query's label or does
            not, ``keep`` for the sample to keep of a group, or "".
        href: address that the thumbnail leads to, or "".
    """
    named = f' class="{kind}"' if kind else ""
    shown = drawn or '<div class="blank" aria-hidden="true">?</div>'
    shown = f'<a href="{escape(href)}">{shown}</a>' if href else shown
    sign = ""
    if kind in SIGNS:
        symbol, meaning = SIGNS[kind]
        sign = f'<i class="{kind}" role="img" aria-label="{meaning}" title="{meaning}">{symbol}</i> '
    # A name from right to left is cut at its left end.
    lines = f'<b title="{escape(title)}" dir="auto">{sign}{escape(title)}</b>' if title or sign else ""
    lines += f'<span title="{escape(caption)}">{escape(caption)}</span>' if caption else ""
    if path:
        lines += f'<span title="{escape(path)}">{escape(path).replace("/", "/<wbr>")}</span>'
    return f"<figure{named}>{shown}<figcaption>{lines}</figcaption></figure>"


def gallery(figures: Iterable[str], *, wide: float = 1.0, cell: int | None = None, whole_lines: bool = False) -> str:
    """Arrange figures in rows that fill the width.

    Args:
        figures: from `figure`.
        wide: aspect ratio of a thumbnail.
        cell: its least width in pixels; default: by its aspect ratio.
        whole_lines: whether the texts below it are broken into up to three lines each, instead of being cut.
    """
    named = "gallery whole-lines" if whole_lines else "gallery"
    return f'<div class="{named}" style="--cell: {cell or cell_width(wide)}px">{"".join(figures)}</div>'


def cell_width(aspect: float) -> int:
    """Return the least width in pixels of a thumbnail of this aspect ratio (width to height)."""
    return 92 if aspect <= 1.3 else 100 if aspect <= 2.5 else 230


def image_strips(rows: Sequence[tuple[str, Sequence[str]]], *, wide: float = 1.0) -> str:
    """Arrange titled rows whose columns belong together; on a narrow screen they scroll sideways as one."""
    count = max((len(cells) for _, cells in rows), default=0)
    style = f"--count: {count}; --cell: {cell_width(wide)}px"
    drawn = [
        f'<div class="strip" style="{style}">'
        f'<div class="title" title="{escape(title)}">{_strip_title(title)}</div>{"".join(cells)}</div>'
        for title, cells in rows
    ]
    named = 'role="group" aria-label="Rows of samples; the arrow keys scroll them" tabindex="0"'
    return f'<div class="strips" {named}>{"".join(drawn)}</div>'


def _strip_title(title: str) -> str:
    """Return the title of a row; a path has a line for each folder, and its parts are not broken."""
    if " " in title or "/" not in title:
        return escape(title)
    return "".join(f"<span>{escape(part)}</span>" for part in re.split(r"(?<=/)", title))
