"""`aekit plugins`: list, show, test and create plugins. Listing imports no plugin and nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from aekit.cli.options import examples, json_option, print_json
from aekit.errors import PluginError, closest_name
from aekit.io.shell import argument, quoted
from aekit.registry.discovery import KINDS, Plugin, registry

FAILED = 1
"""Exit code if the conformance kit fails."""

_json_option = json_option("the output")
_kind_option = click.option("--kind", type=click.Choice(KINDS), help="Only plugins of this kind.")
_name_argument = click.argument("kind_and_name", nargs=-1, required=True, metavar="[KIND] NAME")


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "plugins list --kind variant", "plugins show variant denoising", "plugins new my-noise", "plugins test my-noise"
    ),
)
@_json_option
@_kind_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, kind: str | None) -> None:
    """List, show, test and create plugins; without a command, list them."""
    if ctx.invoked_subcommand is None:
        _print_list(kind, as_json=as_json)
    elif as_json or kind:
        raise click.UsageError(
            f"--json and --kind belong after the command: aekit plugins {ctx.invoked_subcommand} ..."
        )


@plugins.command("list")
@_json_option
@_kind_option
def list_plugins(as_json: bool, kind: str | None) -> None:
    """List plugins: kind, name, distribution, version, summary. Problems are printed below."""
    _print_list(kind, as_json=as_json)


def _print_list(kind: str | None, *, as_json: bool) -> None:
    shown = [plugin for each in ([kind] if kind else KINDS) for plugin in registry().by_kind(each)]
    problems = [*map(str, registry().problems), *_shadowed_commands()]
    if as_json:
        listed = [{**plugin.to_dict(), "summary": plugin.entry.summary, "tags": plugin.entry.tags} for plugin in shown]
        print_json({"plugins": listed, "problems": problems, "disabled": _disabled()})
        return
    rows = [(p.kind, p.name, f"{p.distribution} {p.version}", p.entry.summary) for p in shown]
    click.echo(_table(("kind", "name", "distribution", "summary"), rows))
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    if _disabled():
        click.echo(f"disabled: {', '.join(_disabled())}", err=True)


@plugins.command()
@_name_argument
@_kind_option
@_json_option
def show(kind_and_name: tuple[str, ...], kind: str | None, as_json: bool) -> None:
    """Show the options of a plugin: type, range, default and description."""
    from aekit.registry.options import describe_options

    plugin = _named(kind_and_name, kind)
    options = [] if plugin.kind == "command" else describe_options(plugin)
    if as_json:
        facts = {**plugin.to_dict(), "summary": plugin.entry.summary, "tags": plugin.entry.tags, "options": options}
        print_json(facts)
        return
    click.echo(f"{plugin.kind} {plugin.name}: {plugin.entry.summary}")
    click.echo(f"from {plugin.distribution} {plugin.version}, {plugin.entry.target}")
    for option in options:
        limits = f", {option['range']}" if option["range"] else ""
        click.echo(f"\n  {option['option']} = {option['default']}  ({option['type']}{limits})")
        click.echo(f"      {option['description']}")
    if plugin.kind == "command":
        click.echo(f"its options: aekit {plugin.name} --help")
    elif not options:
        click.echo("no options")


@plugins.command()
@_name_argument
@_kind_option
@click.option("--set", "options", multiple=True, metavar="OPTION=VALUE", help="Test with this option; repeatable.")
@_json_option
def test(kind_and_name: tuple[str, ...], kind: str | None, options: tuple[str, ...], as_json: bool) -> None:
    """Test a plugin against its contract with the conformance kit. The exit code is 1 if a check fails or cannot run."""
    plugin = _named(kind_and_name, kind)

    from aekit.registry.overrides import parse_override
    from aekit.testing import outcomes
    from aekit.testing.kit import Report

    report = Report(plugin)
    for outcome in outcomes(plugin.kind, plugin.qualified, dict(parse_override(text) for text in options)):
        report.outcomes.append(outcome)
        if not as_json:
            click.echo(outcome)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo(report.summary if report.ok else f"{report.place}\n{report.summary}")
    if not report.ok:
        sys.exit(FAILED)


@plugins.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind for kind in KINDS if kind != "command"]),
    default="variant",
    show_default=True,
    help="Kind of the plugin.",
)
@click.option("-o", "--out", type=click.Path(), help="Folder to write.  [default: aekit-NAME]")
def new(name: str, kind: str, out: str | None) -> None:
    """Create a plugin package that works, with a test."""
    from aekit.registry.scaffold import new_plugin

    folder = new_plugin(name, kind, out)
    click.echo(f"created {folder} with {kind} {name!r}, which works and passes its test")
    click.echo(f"next: pip install -e {argument(folder)} && aekit plugins test {quoted(name)}")


def _named(kind_and_name: Sequence[str], kind: str | None) -> Plugin:
    """Find the plugin of ``NAME``, ``KIND NAME``, or ``NAME --kind KIND``."""
    *kinds, name = kind_and_name
    if kind is not None and kind not in kinds:
        kinds.append(kind)
    if len(kinds) > 1:
        raise click.UsageError(f"{' '.join(kind_and_name)}: expected KIND NAME, or NAME, for one kind")
    return find(name, kinds[0] if kinds else None)


def find(name: str, kind: str | None = None) -> Plugin:
    """Find a plugin by its name; the kind is optional if only one kind has that name.

    Raises:
        PluginError: no plugin has the name, or plugins of several kinds do.
    """
    if kind is not None and kind not in KINDS:
        raise PluginError(f"no kind {kind!r}{closest_name(kind, KINDS)}")
    known = registry()
    kinds = [kind] if kind else [each for each in KINDS if known.has(each, name)]
    if len(kinds) > 1:
        raise PluginError(f"{name!r} is the name of a {' and of a '.join(kinds)}; add the kind")
    if not kinds:
        raise PluginError(f"no plugin {name!r}{closest_name(name, {p.name for p in known.plugins})}")
    return known.get(kinds[0], name)


def _shadowed_commands() -> list[str]:
    """Describe commands of plugins that cannot be called, because another command has their name."""
    from aekit.cli._group import COMMANDS

    commands = registry().by_kind("command")
    names = [plugin.name for plugin in commands]
    lines = []
    for plugin in commands:
        place = f"{plugin.distribution} {plugin.version}: command {plugin.name!r}"
        if plugin.name in COMMANDS:
            lines.append(f"{place} is shadowed by the built-in command of that name; rename it")
        elif names.count(plugin.name) > 1:
            lines.append(f"{place} is registered by several distributions; disable one with --no-plugin")
    return lines


def _disabled() -> list[str]:
    return [*registry().not_imported, *(f"{p.kind} {p.qualified}" for p in registry().hidden)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]
    )
