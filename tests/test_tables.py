"""The pages of variants and pretext tasks say what the registry and the docstrings say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from aekit.registry.discovery import Plugin, registry

GENERATOR = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "tables.py"))
PAGES: dict[str, Path] = GENERATOR["PAGES"]
LISTED = [plugin for kind in PAGES for plugin in registry().by_kind(kind) if plugin.distribution == "aekit"]


@pytest.mark.parametrize("kind", PAGES)
def test_the_table_is_that_of_the_registry(kind: str) -> None:
    text = PAGES[kind].read_text("utf-8")
    assert text == GENERATOR["page"](kind, text), "stale: run python docs/tables.py"


@pytest.mark.parametrize("plugin", LISTED, ids=lambda plugin: plugin.name)
def test_each_has_a_row_with_its_literature(plugin: Plugin) -> None:
    rows = [line for line in GENERATOR["table"](plugin.kind).splitlines() if line.startswith(f"| `{plugin.name}` |")]
    assert len(rows) == 1 and rows[0].count("|") == 5, "a summary or docstring with a | breaks the table"
    assert re.search(r"\b(19|20)\d\d\b", rows[0].split("|")[4]), "its docstring ends in the paper, with the year"


@pytest.mark.parametrize("kind", PAGES)
def test_a_stale_table_is_replaced_and_the_rest_kept(kind: str) -> None:
    text = PAGES[kind].read_text("utf-8")
    name = registry().by_kind(kind)[1].name
    stale = re.sub(rf"\| `{name}` \|.*\n", "", text)
    assert stale != text
    found = GENERATOR["page"](kind, stale)
    assert found == GENERATOR["page"](kind, text)
    assert found.startswith(text.partition("<!--")[0]) and found.endswith(text.partition("end of the table -->")[2])


def test_the_tables_of_checks_are_current() -> None:
    text = GENERATOR["CHECKS_PAGE"].read_text("utf-8")
    assert text == GENERATOR["checks_page"](text), "stale: run python docs/tables.py"
    assert text.rstrip().endswith("loads."), "the end of the page is missing"
