"""Writes the tables in variants.md and pretexts.md anew: ``python docs/tables.py``.

They hold what the registry and the docstrings of the plugins say, so that there is one place to say it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

from aekit.data.spec import Kind
from aekit.registry.discovery import Plugin, registry

PAGES = {kind: Path(__file__).with_name(f"{kind}s.md") for kind in ("variant", "pretext")}
"""Kind of plugin -> the page with its table."""
START, END = "<!-- table: python docs/tables.py -->\n", "\n<!-- end of the table -->"
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):\n")


def table(kind: str) -> str:
    """A row for each plugin of a kind that comes with aekit, in the registry's order."""
    head = [f"| {kind} | what it does | samples | literature |", "|---|---|---|---|"]
    return "\n".join(head + [_row(plugin) for plugin in registry().by_kind(kind) if plugin.distribution == "aekit"])


def literature(plugin: Plugin) -> str:
    """Return the last paragraph of prose on one line: by rule it cites the papers."""
    return " ".join(prose(plugin)[-1].split())


def prose(plugin: Plugin) -> list[str]:
    """Return the paragraphs of a plugin's docstring, without its sections of arguments."""
    paragraphs = re.split(r"\n{2,}", inspect.getdoc(plugin.load()) or "")
    return [part for part in paragraphs if not SECTION.match(part)]


def page(kind: str, text: str) -> str:
    """The text of a page with the table of now: what stands between the two remarks is replaced."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + table(kind) + END + after


def _row(plugin: Plugin) -> str:
    kinds = ", ".join(tag for tag in plugin.entry.tags if tag in get_args(Kind)) or "any"
    return f"| `{plugin.name}` | {plugin.entry.summary} | {kinds} | {literature(plugin)} |"


if __name__ == "__main__":
    for kind, path in PAGES.items():
        path.write_text(page(kind, path.read_text("utf-8")), "utf-8")
