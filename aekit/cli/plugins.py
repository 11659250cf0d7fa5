"""`aekit plugins`: list, show, test and start plugins. Listing imports none of them, and nothing heavy."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from aekit.errors import PluginError, closest_name
from aekit.registry.discovery import KINDS, Plugin, registry

FAILED = 1
"""Exit code where the kit finds fault."""

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_kind_option = click.option("--kind", type=click.Choice(KINDS), help="Only this kind of plugin.")


@click.group(invoke_without_command=True)
@_json_option
@_kind_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, kind: str | None) -> None:
    """List plugins: kind, name, summary, distribution, version. Problems are printed below."""
    if ctx.invoked_subcommand:
        return
    found = [plugin for one in ([kind] if kind else KINDS) for plugin in registry().by_kind(one)]
    problems = [str(problem) for problem in registry().problems]
    if as_json:
        listed = [{**plugin.to_dict(), "summary": plugin.entry.summary, "tags": plugin.entry.tags} for plugin in found]
        click.echo(json.dumps({"plugins": listed, "problems": problems, "disabled": _switched_off()}, indent=2))
        return
    rows = [(p.kind, p.name, f"{p.distribution} {p.version}", p.entry.summary) for p in found]
    click.echo(_table(("kind", "name", "distribution", "summary"), rows))
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    if _switched_off():
        click.echo(f"switched off: {', '.join(_switched_off())}", err=True)


@plugins.command()
@click.argument("kind_and_name", nargs=-1, required=True, metavar="[KIND] NAME")
@_json_option
def show(kind_and_name: tuple[str, ...], as_json: bool) -> None:
    """Show every option of a plugin, with its type, range, default and description."""
    from aekit.registry.options import describe_options

    if len(kind_and_name) > 2:
        raise click.UsageError(f"{len(kind_and_name)} arguments; expected KIND NAME, or NAME")
    plugin = find(kind_and_name[-1], kind_and_name[0] if len(kind_and_name) == 2 else None)
    options = [] if plugin.kind == "command" else describe_options(plugin.load())
    if as_json:
        facts = {**plugin.to_dict(), "summary": plugin.entry.summary, "tags": plugin.entry.tags, "options": options}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{plugin.kind} {plugin.name}: {plugin.entry.summary}")
    click.echo(f"from {plugin.distribution} {plugin.version}, {plugin.entry.target}")
    for option in options:
        limits = f", {option['range']}" if option["range"] else ""
        click.echo(f"\n  {option['option']} = {option['default']}  ({option['type']}{limits})")
        click.echo(f"      {option['description']}")
    if not options:
        click.echo("no options")


@plugins.command()
@click.argument("name")
@_kind_option
@click.option("--set", "given", multiple=True, metavar="OPTION=VALUE", help="Test with this option; may be repeated.")
@_json_option
def test(name: str, kind: str | None, given: tuple[str, ...], as_json: bool) -> None:
    """Hold a plugin to its contract: run the conformance kit. Exit code 1 if it fails, or could not all be run."""
    plugin = find(name, kind)

    from aekit.registry.overrides import parse_override
    from aekit.testing import outcomes
    from aekit.testing.kit import Report

    report = Report(plugin)
    for outcome in outcomes(plugin.kind, plugin.qualified, dict(parse_override(text) for text in given)):
        report.outcomes.append(outcome)
        if not as_json:
            click.echo(outcome)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.summary)
    if not report.ok:
        sys.exit(FAILED)


@plugins.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice([kind for kind in KINDS if kind != "command"]), default="variant", show_default=True
)
@click.option("-o", "--out", type=click.Path(), help="Folder to write  [default: aekit-NAME]")
def new(name: str, kind: str, out: str | None) -> None:
    """Write a working plugin package with its test, to start from."""
    from aekit.registry.scaffold import new_plugin

    folder = new_plugin(name, kind, out)
    click.echo(f"{folder} holds {kind} {name!r}, which works and passes its test")
    click.echo(f"next: pip install -e {folder} && aekit plugins test {name}")


def find(name: str, kind: str | None = None) -> Plugin:
    """The plugin of a name, whose kind need not be given where only one has that name.

    Raises:
        PluginError: none has it, or plugins of several kinds do.
    """
    if kind is not None and kind not in KINDS:
        raise PluginError(f"no kind {kind!r}{closest_name(kind, KINDS)}")
    known = registry()
    kinds = [kind] if kind else [one for one in KINDS if known.has(one, name)]
    if len(kinds) > 1:
        raise PluginError(f"{name!r} is the name of a {' and of a '.join(kinds)}; say which one")
    if not kinds:
        raise PluginError(f"no plugin {name!r}{closest_name(name, {p.name for p in known.plugins})}")
    return known.get(kinds[0], name)


def _switched_off() -> list[str]:
    return [*registry().not_imported, *(f"{p.kind} {p.qualified}" for p in registry().hidden)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]
    )
