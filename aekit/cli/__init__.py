"""The `aekit` command line. Commands are thin and loaded when called, so that help and listings stay instant."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

import click

import aekit
from aekit.errors import AekitError

COMMANDS = {
    "fit": "train an encoder without labels",
    "report": "write the page of a run again",
    "embed": "turn data into embeddings",
    "index": "build a search index from embeddings",
    "search": "find the nearest neighbors of files, arrays or ids",
    "serve": "look through an index in a browser",
    "evaluate": "say how good embeddings are, beside raw input, PCA and a random encoder",
    "finetune": "train a classifier, and the encoder with it, on few labels",
    "classify": "name the classes of new samples",
    "apply": "reconstruct, denoise, sample or interpolate with a trained autoencoder",
    "compare": "put runs side by side, and say which orderings are real",
    "bench": "fit several recipes over several seeds, and compare them",
    "map": "draw embeddings as points in the plane",
    "explore": "hand embeddings, with thumbnails, to Embedding Atlas or TensorBoard",
    "cluster": "group embeddings",
    "anomalies": "find the odd ones, by reconstruction and by code",
    "export": "hand the encoder to people who do not have aekit",
    "data": "say what is in a data set: counts, shapes, dtypes, bad files",
    "plugins": "list, show, test and start plugins",
    "demo": "the whole way on data that comes along, in a minute",
}
"""Command -> one line of help. The code is ``aekit.cli.NAME:NAME``."""

INTERRUPTED = 130
BAD_INPUT = 2


class LazyGroup(click.Group):
    """Lists commands without importing them; plugins may add more."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(self._added())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            return getattr(import_module(f"aekit.cli.{name}"), name)
        added = self._added()
        return added[name].load() if name in added else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = {name: plugin.entry.summary for name, plugin in self._added().items()}
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items(), *sorted(added.items())])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from aekit.errors import closest_name

        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            raise click.UsageError(f"no command {args[0]!r}{closest_name(args[0], known)}")
        return super().resolve_command(ctx, args)

    def _added(self) -> dict[str, Any]:
        from aekit.registry.discovery import registry

        return {plugin.name: plugin for plugin in registry().by_kind("command") if plugin.name not in COMMANDS}


def _switch_off(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    from aekit.registry.discovery import disable

    if names:
        disable(names)
        # Workers that this process starts must see the same plugins.
        known = os.environ.get("AEKIT_DISABLE_PLUGINS", "")
        os.environ["AEKIT_DISABLE_PLUGINS"] = ",".join(filter(None, [known, *names]))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(aekit.__version__, prog_name="aekit")
@click.option(
    "--no-plugin",
    multiple=True,
    metavar="NAME",
    callback=_switch_off,
    expose_value=False,
    is_eager=True,
    help="Switch a plugin or a whole distribution off; may be repeated.",
)
def group() -> None:
    """Embeddings made for your own unlabeled data, and an honest answer to whether they are any good."""


def _terminate(number: int, frame: Any) -> None:
    """To be ended is to be interrupted: what is under way is saved. A shell lets its background jobs ignore the latter."""
    interrupted = signal.getsignal(signal.SIGINT)
    if callable(interrupted):
        interrupted(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def main() -> None:
    """Runs a command; what a person can cause is one line and exit code 2, and anything else is a bug."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        # Without its standalone mode click returns the code of `ctx.exit` instead of exiting.
        code = group.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        click.echo(f"error: {error.format_message()}{hint}", err=True)
        sys.exit(BAD_INPUT)
    except AekitError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, click.Abort) as stopped:
        # click puts its own exception around the one that says how to go on.
        click.echo(f"\n{str(stopped.__cause__ or stopped) or 'stopped'}", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
