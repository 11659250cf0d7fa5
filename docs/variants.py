"""Writes the table of variants in variants.md anew: ``python docs/variants.py``.

It holds what the registry and the docstrings of the variants say, so that there is one place to say it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from aekit.registry import Plugin, registry

PAGE = Path(__file__).with_suffix(".md")
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):\n")


def table() -> str:
    """A row for each variant that comes with aekit, in the registry's order."""
    head = ["| variant | what it does | samples | literature |", "|---|---|---|---|"]
    return "\n".join(head + [_row(plugin) for plugin in registry().of("variant") if plugin.distribution == "aekit"])


def literature(plugin: Plugin) -> str:
    """The last paragraph of the class's docstring that is prose, on one line."""
    paragraphs = re.split(r"\n{2,}", inspect.getdoc(plugin.load()) or "")
    return " ".join([part for part in paragraphs if not SECTION.match(part)][-1].split())


def page(text: str) -> str:
    """The text of the page with the table of now: what stands between the two remarks is replaced."""
    start, end = "<!-- table: python docs/variants.py -->\n", "\n<!-- end of the table -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return before + start + table() + end + after


def _row(plugin: Plugin) -> str:
    kinds = ", ".join(plugin.entry.tags) or "any"
    return f"| `{plugin.name}` | {plugin.entry.summary} | {kinds} | {literature(plugin)} |"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
