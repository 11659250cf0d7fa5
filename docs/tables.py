"""Write the tables in variants.md, pretexts.md and how-to/plugin.md: ``python docs/tables.py``.

They hold what the registry, the docstrings of the plugins and the conformance kit say, so that there is one place to say it.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

from aekit.data.spec import Kind
from aekit.registry.discovery import Plugin, registry
from aekit.testing import CHECKS

PAGES = {kind: Path(__file__).with_name(f"{kind}s.md") for kind in ("variant", "pretext")}
"""Kind of plugin -> the page with its table."""
START, END = "<!-- table: python docs/tables.py -->\n", "\n<!-- end of the table -->"
CHECKS_PAGE = Path(__file__).parent / "how-to" / "plugin.md"
CHECKS_START, CHECKS_END = "<!-- checks: python docs/tables.py -->\n", "<!-- end of the checks -->"
CHECK_GROUPS = {
    "entries": "Every plugin",
    "objectives": "Variants, pretext tasks, backbones",
    "state": "Variants, pretext tasks, backbones",
    "ranks": "Variants, pretext tasks, backbones",
    "pretexts": "Pretext tasks",
    "backbones": "Backbones",
    "sources": "Sources",
    "evaluators": "Evaluators",
    "indexes": "Indexes",
}
"""Module of `aekit.testing` -> heading of its checks."""
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):\n")


def table(kind: str) -> str:
    """Return a table with a row for each built-in plugin of a kind, in the order of the registry."""
    head = [f"| {kind} | what it does | samples | literature |", "|---|---|---|---|"]
    return "\n".join(head + [_row(plugin) for plugin in registry().by_kind(kind) if plugin.distribution == "aekit"])


def checks() -> str:
    """Return the tables of the checks of the conformance kit."""
    groups: dict[str, list[str]] = {heading: [] for heading in CHECK_GROUPS.values()}
    for check in CHECKS:
        heading = CHECK_GROUPS[check.function.__module__.rpartition(".")[2]]
        groups[heading].append(f"| `{check.name}` | {check.description} | {'yes' if check.optional else ''} |")
    head = ["", "| check | what it asserts | optional |", "|---|---|---|"]
    return "\n\n".join("\n".join([f"**{heading}**", *head, *rows]) for heading, rows in groups.items())


def checks_page(text: str) -> str:
    """Return the text of the page about plugins with the current tables of checks."""
    before, rest = text.split(CHECKS_START)
    _, after = rest.split(CHECKS_END)
    return f"{before}{CHECKS_START}{checks()}\n\n{CHECKS_END}{after}"


def literature(plugin: Plugin) -> str:
    """Return the last paragraph of prose on one line, which by convention cites the papers."""
    return " ".join(prose(plugin)[-1].split())


def prose(plugin: Plugin) -> list[str]:
    """Return the paragraphs of a plugin's docstring, without its sections of arguments."""
    paragraphs = re.split(r"\n{2,}", inspect.getdoc(plugin.load()) or "")
    return [part for part in paragraphs if not SECTION.match(part)]


def page(kind: str, text: str) -> str:
    """Return the text of a page with the current table between the two comments."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + table(kind) + END + after


def _row(plugin: Plugin) -> str:
    kinds = ", ".join(tag for tag in plugin.entry.tags if tag in get_args(Kind)) or "any"
    return f"| `{plugin.name}` | {plugin.entry.summary} | {kinds} | {literature(plugin)} |"


if __name__ == "__main__":
    for kind, path in PAGES.items():
        path.write_text(page(kind, path.read_text("utf-8")), "utf-8")
    CHECKS_PAGE.write_text(checks_page(CHECKS_PAGE.read_text("utf-8")), "utf-8")
