"""Generate the parts of the documentation site that the code already says: plugins, commands, the changelog.

MkDocs runs this as a hook (``hooks:`` in mkdocs.yml). The pages exist in the built site only.
"""

from __future__ import annotations

import inspect
import json
import posixpath
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner
from tables import prose

from aekit.cli import group
from aekit.plugin import API_VERSION, GROUPS
from aekit.registry.discovery import Plugin, registry

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
TITLES = {
    "variant": "Variants",
    "pretext": "Pretext tasks",
    "backbone": "Backbones",
    "source": "Sources",
    "index": "Indexes",
    "evaluator": "Evaluators",
}
"""Kind of plugin -> the title of its page."""
WRITTEN = {
    "variant": "`--variant NAME`, and options with `--set objective.NAME.OPTION=VALUE`",
    "pretext": "`--pretext NAME`, and options with `--set objective.NAME.OPTION=VALUE`",
    "backbone": "`--backbone NAME`, and options with `--set encoder.NAME.OPTION=VALUE`",
    "source": "`NAME:PLACE` where a command takes data, and options with `--set data.NAME.OPTION=VALUE`",
    "index": "`aekit index EMBEDDINGS --engine NAME`, and options with `--set OPTION=VALUE`",
    "evaluator": "`aekit evaluate EMBEDDINGS --evaluator NAME`, and options with `--set NAME.OPTION=VALUE`",
}
"""Kind of plugin -> how a command line names one."""
PLUGIN_API = {
    "Registration": "Register a plugin, declare its options, and raise errors that a user can act on.",
    "Variants and pretext tasks": "Derive from `Variant` or `Pretext`. `gather` and the functions after it make a loss the same "
    "in one process and in several.",
    "Backbones": "Derive from `Backbone`, or wrap a network of torch in a `ModuleBackbone`.",
    "Sources": "Derive from `Source`, or read your format into arrays, records or `Contents`, which aekit opens.",
    "Sources of images": "List image files, choose the size at which they are read, and decode them.",
    "Sources of series, recordings and video": "Read recordings and cut them into windows.",
    "Sources of tables, records and arrays": "Read rows, columns and named arrays, and tell labels from features.",
    "Indexes": "Derive from `Index`, or from `DatabaseIndex` if a database keeps the vectors.",
    "Evaluators": "Return a `Result`, which holds each `Metric`; fit and measure on the parts of a `Split`.",
    "Examples": "Write small data sets, with which tests and the conformance kit try a source.",
}
"""Group of the plugin API -> what a plugin does with its names."""
NOT_DOCUMENTED = {
    "Field": "pydantic's `Field`: it gives an option its range and description, as in\n"
    '`level: Annotated[float, Field(gt=0, description="standard deviation of the noise")] = 0.1`.',
    "hookimpl": "The decorator of the functions that register plugins, such as `aekit_register_variants`.",
    "API_VERSION": f"Version of the plugin contracts, now {API_VERSION}. An `Entry` states the version it was written for.",
}
"""Names of the plugin API without a docstring -> their description."""
ENVIRONMENT = """## Environment variables

| variable | meaning |
|---|---|
| `AEKIT_DATA` | folder of data sets that `torchvision:NAME` and other sources search first; `weights/`: pretrained weights |
| `AEKIT_CACHE` | folder for large data that is decoded once, and features of baselines and teachers; default `~/.cache/aekit` |
| `AEKIT_MEMORY` | memory for samples, for what a file unpacks to and for a training step on a CPU: `2GB`, `512MiB` or bytes |
| `AEKIT_PRETRAINED` | pretrained network to compare with, as for `--pretrained`; `none`: none; default: one at hand |
| `AEKIT_DISABLE_PLUGINS` | plugins or distributions to disable, separated by commas |
| `AEKIT_NO_PLUGIN_AUTOLOAD=1` | load built-in plugins only |
| `AEKIT_PLUGIN_STRICT=1` | raise the error of a broken plugin |"""
OPTION, MARKED = re.compile(r"(?<!\S)--?\w[\w-]*"), r'<span class="option">\g<0></span>'
LINK = re.compile(r"\]\((?!https?://|#)([^)\s#]+)((?:#[^)\s]*)?)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for place, content in pages().items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave the documentation, such as those to recipes, at the repository, and show pipes as they are."""
    return bare_pipes(outside_links(markdown, page.file.src_uri))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark options of commands in code within sentences, which browsers would break after their first dashes."""
    inline = re.compile(r"(?<!</span>)<code>([^<]*-\w[^<]*)</code>")
    return inline.sub(lambda code: f"<code>{OPTION.sub(MARKED, code[1])}</code>", html)


def pages() -> dict[str, str]:
    """Return every generated page: its place in the site -> Markdown."""
    plural = {kind: "indexes" if kind == "index" else f"{kind}s" for kind in TITLES}
    generated = {f"reference/plugins/{plural[kind]}.md": plugin_page(kind) for kind in TITLES}
    generated |= {"reference/cli.md": command_page(), "reference/plugin.md": plugin_api_page()}
    return generated | {
        "changelog.md": changelog(),
        "tour.md": notebook("tour"),
        "containers.md": notebook("containers"),
    }


def plugin_page(kind: str) -> str:
    """Return the page of a kind: every plugin of aekit with what its docstring says, and a table of its options."""
    sections = [_plugin_section(plugin) for plugin in registry().by_kind(kind) if plugin.distribution == "aekit"]
    return "\n\n".join([f"# {TITLES[kind]}", f"Written as {WRITTEN[kind]}.", *sections]) + "\n"


def command_page() -> str:
    """Return the page of the command line: usage, help and options of every command."""
    context = click.Context(group, info_name="aekit")
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    sections = [_command_section(command, context, name, 2) for name, command in commands.items() if command]
    codes = "Every command answers `--help`. Exit codes: 0, done; 2, an error that the message names; 130, stopped."
    completion = (
        'Shell completion: put `eval "$(_AEKIT_COMPLETE=bash_source aekit)"` into `~/.bashrc`, the same with `zsh_source` into '
        "`~/.zshrc`, or `_AEKIT_COMPLETE=fish_source aekit | source` into the configuration of fish."
    )
    return (
        "\n\n".join(["# Command line", codes, completion, _parameters(group, context), *sections, ENVIRONMENT]) + "\n"
    )


def plugin_api_page() -> str:
    """Return the page of `aekit.plugin`: its names by the kind of plugin that needs them."""
    intro = (
        "A plugin imports from `aekit.plugin`, `aekit.nn` (mathematics and layers) and `aekit.objectives` (losses and "
        "tasks), and from no other module of aekit. [Writing a plugin](../how-to/plugin.md) explains how these fit together.\n\n"
        "You need few of these names: those of *Registration*, and the first ones of the group for your kind of plugin, which "
        "are its contract. The others are building blocks; the built-in plugins are made of them."
    )
    text = ["# Plugin API", intro]
    for title, homes in GROUPS.items():
        names = [name for exported in homes.values() for name in exported.split()]
        text += [f"## {title}", PLUGIN_API[title], *map(_api_entry, names)]
    return "\n\n".join(text) + "\n"


def changelog() -> str:
    """Return CHANGELOG.md, with its links seen from the site."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return LINK.sub(lambda link: f"]({posixpath.relpath(link[1], 'docs')}{link[2]})", text)


def notebook(name: str) -> str:
    """Return the cells of the notebook as a page."""
    cells = json.loads((ROOT / "docs" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in sources]
    title, *others = "\n\n".join(parts).split("\n", 1)
    return f"{title}\n\nThis page is a [notebook]({name}.ipynb) to run.\n{''.join(others)}\n"


def outside_links(markdown: str, place: str) -> str:
    """Replace links from a page to files outside ``docs/`` by links to the repository."""
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]

    def replaced(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(place), link[1]))
        if target.startswith("docs/") or not (ROOT / target).exists():
            return link[0]  # a link that leads nowhere is left to the strict build to report
        return f"]({repository}/tree/main/{target}{link[2]})"

    return LINK.sub(replaced, markdown)


def bare_pipes(markdown: str) -> str:
    """Remove the backslash before a pipe in code within tables: GitHub needs it, and MkDocs would show it."""
    lines = [
        re.sub(r"`[^`]+`", lambda code: code[0].replace(r"\|", "|"), line) if line.startswith("|") else line
        for line in markdown.split("\n")
    ]
    return "\n".join(lines)


def _api_entry(name: str) -> str:
    if name in NOT_DOCUMENTED:
        return f"### `aekit.plugin.{name}`\n\n{NOT_DOCUMENTED[name]}"
    options = "    options:\n      heading_level: 3\n      show_if_no_docstring: true\n      members: true"
    return f"::: aekit.plugin.{name}\n{options}"


def _plugin_section(plugin: Plugin) -> str:
    result = CliRunner().invoke(
        group, ["plugins", "show", plugin.kind, plugin.qualified, "--json"], catch_exceptions=False
    )
    described = json.loads(result.stdout)
    tags = ", ".join(f"`{tag}`" for tag in described["tags"])
    text = [f"## {plugin.name}", f"**{_sentence(_plain(described['summary']))}**", *prose(plugin)]
    text += [f"Tags: {tags}."] if tags else []
    return "\n\n".join([*text, _options(described["options"])])


def _options(options: list[dict[str, str]]) -> str:
    if not options:
        return "No options."
    head = ["| option | type | range | default | description |", "|---|---|---|---|---|"]
    keys = ("option", "type", "range", "default")
    rows = [[*(_code(option[key]) for key in keys), _plain(option["description"])] for option in options]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _command_section(command: click.Command, parent: click.Context, name: str, level: int) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    text = [f"{'#' * level} {context.command_path}", f"```text\n{usage}\n```", _help(command.help)]
    text += [_parameters(command, context), _help(command.epilog)]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            subcommand = command.get_command(context, inner)
            text += [_command_section(subcommand, context, inner, level + 1)] if subcommand else []
    return "\n\n".join(part for part in text if part)


def _help(text: str | None) -> str:
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{part.removeprefix(chr(8)).strip()}\n```" if part.startswith("\b") else _plain(part)
        for part in paragraphs
    )


def _parameters(command: click.Command, context: click.Context) -> str:
    options = [p for p in command.get_params(context) if isinstance(p, click.Option) and p.name != "help"]
    records = [option.get_help_record(context) for option in options]
    # The range itself is at the end of the description.
    rows = [f"| {_code(record[0].removesuffix(' RANGE'))} | {_plain(record[1])} |" for record in records if record]
    return "\n".join(["| option | description |", "|---|---|", *rows]) if rows else ""


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|") if text else ""


def _plain(text: str) -> str:
    """Escape outside code what Markdown and its tables would take for markup."""
    parts = re.split(r"(`+[^`]*`+)", " ".join(text.split()))
    return "".join(
        part.replace("|", r"\|")
        if part.startswith("`")
        else re.sub(r"([>*|\[\]])", r"\\\1", part).replace("<", "&lt;")  # Markdown has no escape for it
        for part in parts
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
