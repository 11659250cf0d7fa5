"""The page of variants says what the registry and the docstrings say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from aekit.registry import Plugin, registry

DOCS = Path(__file__).parents[1] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "variants.py"))
VARIANTS = [plugin for plugin in registry().of("variant") if plugin.distribution == "aekit"]


def test_the_table_is_that_of_the_registry() -> None:
    text = (DOCS / "variants.md").read_text("utf-8")
    assert text == GENERATOR["page"](text), "stale: run python docs/variants.py"


@pytest.mark.parametrize("plugin", VARIANTS, ids=lambda plugin: plugin.name)
def test_each_has_a_row_with_its_literature(plugin: Plugin) -> None:
    cells = [line for line in GENERATOR["table"]().splitlines() if line.startswith(f"| `{plugin.name}` |")]
    assert len(cells) == 1 and cells[0].count("|") == 5, "a summary or docstring with a | breaks the table"
    assert re.search(r"\b(19|20)\d\d\b", cells[0].split("|")[4]), "its docstring ends in the paper, with the year"


def test_a_stale_table_is_replaced_and_the_rest_kept() -> None:
    text = (DOCS / "variants.md").read_text("utf-8")
    stale = re.sub(r"\| `linear` \|.*\n", "", text)
    assert stale != text
    assert GENERATOR["page"](stale) == GENERATOR["page"](text)
    assert GENERATOR["page"](text).startswith(text.partition("<!--")[0])
    assert GENERATOR["page"](text).endswith(text.partition("end of the table -->")[2])
