"""The documentation site covers every public name, plugin option and command."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import aekit
import aekit.plugin
from aekit.cli import group

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    """Return the names of the script that MkDocs runs as a hook."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return runpy.run_path(str(ROOT / "docs" / "_generate.py"))
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def pages(generator: dict[str, Any]) -> dict[str, str]:
    return generator["pages"]()


def test_every_public_name_is_in_the_reference_once() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    names = re.findall(r"^(?:::: |### `)aekit\.(\w+)`?$", text, re.M)
    assert sorted(names) == sorted(aekit.__all__)


def test_every_name_of_the_plugin_api_is_in_its_reference_once(pages: dict[str, str]) -> None:
    names = re.findall(r"^(?:::: |### `)aekit\.plugin\.(\w+)`?$", pages["reference/plugin.md"], re.M)
    assert sorted(names) == sorted(aekit.plugin.__all__)


def test_every_option_of_every_plugin_is_in_the_reference(pages: dict[str, str]) -> None:
    def read_json(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(group, ["plugins", *arguments, "--json"], catch_exceptions=False)
        return json.loads(result.stdout)

    plugins = [plugin for plugin in read_json()["plugins"] if plugin["distribution"] == "aekit"]
    assert len(plugins) > 40
    for plugin in plugins:
        place = "indexes" if plugin["kind"] == "index" else f"{plugin['kind']}s"
        section = pages[f"reference/plugins/{place}.md"].split(f"## {plugin['name']}\n")[1].split("\n## ")[0]
        for option in read_json("show", plugin["kind"], plugin["name"])["options"]:
            (row,) = [line for line in section.splitlines() if line.startswith(f"| `{option['option']}` |")]
            assert len(re.findall(r"(?<!\\)\|", row)) == 6, row
            assert option["range"] in row and option["default"].replace("|", r"\|") in row


def test_tables_show_pipes_and_comparisons_as_they_are(generator: dict[str, Any], pages: dict[str, str]) -> None:
    shown = generator["bare_pipes"](pages["reference/cli.md"])
    assert "`--for [retrieval|classification|clustering|anomalies|reconstruction]`" in shown
    assert "0&lt;=x&lt;=4294967295" in shown and "\\<" not in shown and " RANGE`" not in shown
    assert generator["bare_pipes"](r"a pattern: `a\|b`") == r"a pattern: `a\|b`", "outside of a table"


def test_every_option_of_every_command_is_in_the_reference(pages: dict[str, str]) -> None:
    def check(command: click.Command, path: str) -> None:
        section = re.split(r"\n##+ ", page.split(f"# {path}\n")[1])[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(name in section for name in parameter.opts), f"{path} {parameter.name}"
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                check(inner, f"{path} {name}")

    page, context = pages["reference/cli.md"], click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        check(command, f"aekit {name}")


def test_links_that_leave_the_site_lead_to_the_repository(generator: dict[str, Any]) -> None:
    outside_links = generator["outside_links"]
    assert re.fullmatch(
        r"\[r\]\(https://[^)]+/tree/main/recipes/series\)", outside_links("[r](../../recipes/series)", "how-to/x.md")
    )
    for link in ("[x](../faq.md#tables)", "[x](https://example.org/a)", "[x](#here)", "[x](../../no/such/file.md)"):
        assert outside_links(link, "how-to/x.md") == link
    assert "(concepts/evaluation.md)" in generator["changelog"]()


def test_options_of_commands_are_marked_to_stay_in_one_piece(generator: dict[str, Any]) -> None:
    marked = generator["on_page_content"](
        "<code>-o</code> <code>aekit tune --minutes 20</code> <code>a re-encoded b</code> <pre><span></span><code>a --b</code>",
        *(None, None, None),
    )
    options = [f'<span class="option">{option}</span>' for option in ("-o", "--minutes")]
    assert marked == (
        f"<code>{options[0]}</code> <code>aekit tune {options[1]} 20</code> <code>a re-encoded b</code> "
        "<pre><span></span><code>a --b</code>"
    )
