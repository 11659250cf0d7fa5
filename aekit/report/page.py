"""Self-contained pages: one HTML file that needs no network, light or dark as the reader's system is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fbfbfa; --faint: #6b7178; --line: #e1e3e6; --mark: #2f6fd0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #16181b; --faint: #9aa0a7; --line: #2c3036; --mark: #7fb0ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0 .8rem; } .faint { color: var(--faint); }
.row { display: flex; flex-wrap: wrap; gap: .6rem; align-items: flex-start; padding: .7rem 0;
  border-top: 1px solid var(--line); }
figure { margin: 0; width: 92px; font-size: 11px; line-height: 1.3; color: var(--faint); overflow-wrap: anywhere; }
figure img { width: 92px; height: 92px; object-fit: contain; display: block; border-radius: 4px; background: #8882; }
figure.query img { outline: 3px solid var(--mark); }
img.small { image-rendering: pixelated; }
figure b { color: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid var(--line); border-radius: 4px; }
svg.chart { width: 100%; max-width: 640px; height: auto; }
"""


@dataclass(frozen=True)
class Picture:
    """A thumbnail with a caption.

    Attributes:
        uri: from `aekit.report.thumbnails.thumbnail`, or "" where the sample is not at hand.
        title, caption: a line each.
        query: whether it is what was asked for, and so marked.
        small: whether the original is so small that its pixels should be shown as squares.
    """

    uri: str
    title: str
    caption: str = ""
    query: bool = False
    small: bool = False


def page(title: str, subtitle: str, *parts: str) -> str:
    """The whole HTML text around parts made by the functions below."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="faint">{escape(subtitle)}</p>{"".join(parts)}</body></html>\n'
    )


def heading(text: str, below: str = "") -> str:
    return f"<h2>{escape(text)}</h2>" + (f"<p>{escape(below)}</p>" if below else "")


def pictures(row: Sequence[Picture]) -> str:
    """One row of thumbnails."""
    return f'<div class="row">{"".join(map(_figure, row))}</div>'


def table(rows: Sequence[dict[str, object]]) -> str:
    """Rows of equal keys."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in row.values()) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def chart(lines: dict[str, list[tuple[float, float]]], across: str) -> str:
    """Named lines of (x, y) points in one frame, as SVG."""
    points = [point for line in lines.values() for point in line]
    if len(points) < 2:
        return ""
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    wide, high, pad = 640, 260, 34
    colours = ("#3a7bd5", "#d5653a", "#3aa76d", "#a55ad5", "#b58a00", "#777")

    def place(x: float, y: float) -> str:
        inside = (x - left) / max(right - left, 1e-12), (y - bottom) / max(top - bottom, 1e-12)
        return f"{pad + inside[0] * (wide - 2 * pad):.1f},{high - pad - inside[1] * (high - 2 * pad):.1f}"

    drawn = []
    for number, (name, line) in enumerate(lines.items()):
        colour = colours[number % len(colours)]
        path = " ".join(place(*point) for point in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        drawn.append(f'<text x="{pad + 120 * number}" y="14" fill="{colour}" font-size="12">{escape(name)}</text>')
    marks = (
        f'<text x="2" y="{pad}" font-size="11" fill="currentColor">{top:.4g}</text>'
        f'<text x="2" y="{high - pad}" font-size="11" fill="currentColor">{bottom:.4g}</text>'
        f'<text x="{wide - pad}" y="{high - 8}" font-size="11" text-anchor="end" fill="currentColor">'
        f"{escape(across)} {right:g}</text>"
    )
    return f'<svg class="chart" viewBox="0 0 {wide} {high}" role="img">{"".join(drawn)}{marks}</svg>'


def _figure(picture: Picture) -> str:
    kind = ' class="query"' if picture.query else ""
    small = ' class="small"' if picture.small else ""
    shown = f'<img{small} src="{picture.uri}" alt="{escape(picture.title)}" loading="lazy">' if picture.uri else ""
    return f"<figure{kind}>{shown}<b>{escape(picture.title)}</b><br>{escape(picture.caption)}</figure>"
