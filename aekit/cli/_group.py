"""The group of all commands, which lists them without importing them, and the options that stand before a command."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

import aekit
from aekit.cli._torch_libraries import load_torch_libraries
from aekit.errors import AekitError, FileError, RecipeError
from aekit.io.torchrun import check_torchrun, started_by_torchrun

SECTIONS = {
    "Train": {
        "fit": "train an encoder without labels",
        "tune": "search for the best recipe within a time budget",
        "bench": "fit recipes over several seeds and compare them",
        "finetune": "train a classifier on labels, together with the encoder",
    },
    "Embed and search": {
        "embed": "turn data into embeddings",
        "index": "build a search index from embeddings",
        "search": "find the nearest neighbors of files, arrays or ids",
        "serve": "browse an index in a web browser",
    },
    "Evaluate": {
        "evaluate": "evaluate embeddings, compared with raw input, PCA and a random encoder",
        "compare": "compare runs and test which differences are significant",
        "report": "rebuild the report of a run",
    },
    "Apply": {
        "classify": "predict the classes of new samples",
        "apply": "reconstruct, denoise, restore, sample or interpolate with a trained run",
        "export": "export the encoder to ONNX or torch.export",
    },
    "Explore data": {
        "data": "describe a data set: counts, shapes, dtypes, bad files",
        "map": "draw embeddings as a 2-D map",
        "explore": "export embeddings with thumbnails for Embedding Atlas or TensorBoard",
        "cluster": "cluster embeddings",
        "anomalies": "find anomalies by reconstruction error and embedding",
        "duplicates": "find exact and near duplicates, and the best sample of each group",
        "propagate": "give all samples a label, from the labels of a few",
        "label-errors": "find labels that are probably wrong",
        "curate": "select samples to label next, or a representative subset",
        "drift": "test whether new data still looks like the data of an encoder",
    },
    "More": {
        "copy": "copy a run, embeddings or an index to or from object storage or the Hugging Face Hub",
        "plugins": "list, show, test and create plugins",
        "demo": "run the whole workflow on built-in data, offline",
    },
}
"""Title -> command -> one line of help. The code is ``aekit.cli.NAME:NAME``, with underscores for hyphens."""

COMMANDS = {name: summary for commands in SECTIONS.values() for name, summary in commands.items()}

WITHOUT_TORCH = {
    "cluster", "compare", "copy", "curate", "data", "drift", "duplicates", "explore", "index", "map", "plugins", "search"
}  # fmt: skip
"""Commands that do not import torch, or not for all of their arguments."""

COMPLETION = """Shell completion: eval "$(_AEKIT_COMPLETE=bash_source aekit)" in ~/.bashrc; for zsh and fish: zsh_source and
fish_source."""


class LazyGroup(click.Group):
    """List commands without importing them; plugins may add more."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(self._plugin_commands())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module = name.replace("-", "_")
            return getattr(import_module(f"aekit.cli.{module}"), module)
        return _contained(self._plugin_commands()[name]) if name in self._plugin_commands() else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = {name: plugin.entry.summary for name, plugin in sorted(self._plugin_commands().items())}
        width = max(map(len, [*COMMANDS, *added]))
        for title, commands in {**SECTIONS, "From plugins": added}.items():
            if commands:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from aekit.errors import closest_name

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            known = self.list_commands(ctx)  # looks for plugins, which takes a while
            if args[0] not in known:
                raise click.UsageError(f"no command {args[0]!r}{closest_name(args[0], known)}")
        return super().resolve_command(ctx, args)

    def _plugin_commands(self) -> dict[str, Any]:
        from aekit.registry.discovery import registry

        return {plugin.name: plugin for plugin in registry().by_kind("command") if plugin.name not in COMMANDS}


def _contained(plugin: Any) -> click.Command:
    """Load the command of a plugin; a failure of its code is reported in one line that names the plugin."""
    from aekit.errors import PluginError
    from aekit.registry.discovery import registry

    command = registry().get("command", plugin.name).load()  # names the distributions if there are several
    if not isinstance(command, click.Command):
        raise PluginError(f"command {plugin.name!r} of {plugin.distribution} {plugin.version} is not a click command")
    invoke = command.invoke

    def invoke_contained(ctx: click.Context) -> Any:
        try:
            return invoke(ctx)
        except (AekitError, click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            raise plugin.failure(error) from error

    command.invoke = invoke_contained  # type: ignore[method-assign]
    return command


def _debug(ctx: click.Context, parameter: click.Parameter, debug: bool) -> None:
    from aekit.errors import DEBUG

    if debug:
        os.environ[DEBUG] = "1"


def _disable_plugins(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        from aekit.registry.discovery import disable, registry

        disable(names)
        unknown = [line for line in registry().unknown_disabled() if any(repr(name) in line for name in names)]
        if unknown:
            raise RecipeError(f"--no-plugin: {line}" for line in unknown)
        # Worker processes must see the same plugins.
        known = os.environ.get("AEKIT_DISABLE_PLUGINS", "")
        os.environ["AEKIT_DISABLE_PLUGINS"] = ",".join(filter(None, [known, *names]))


def _open_origins(ctx: click.Context, parameter: click.Parameter, opens: bool) -> None:
    if opens:
        os.environ["AEKIT_OPEN_ORIGINS"] = "1"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=COMPLETION)
@click.version_option(aekit.__version__, prog_name="aekit")
@click.option(
    "--debug",
    is_flag=True,
    callback=_debug,
    expose_value=False,
    is_eager=True,
    help="Print the traceback when a plugin fails.",
)
@click.option(
    "--no-plugin",
    multiple=True,
    metavar="NAME",
    callback=_disable_plugins,
    expose_value=False,
    is_eager=True,
    help="Disable a plugin, or all plugins of a distribution; repeatable.",
)
@click.option(
    "--open-origins",
    is_flag=True,
    callback=_open_origins,
    expose_value=False,
    is_eager=True,
    help="Open the data that an artifact made by someone else refers to.",
)
def group() -> None:
    """Train encoders on your own unlabeled data, and evaluate, search, cluster and use their embeddings."""
    command = click.get_current_context().invoked_subcommand
    check_torchrun()
    if started_by_torchrun() and command not in ("fit", "finetune"):
        raise RecipeError([f"torchrun: aekit {command} runs in a single process; call it without torchrun"])
    if {"-h", "--help"} & set(sys.argv):
        return
    _check_working_folder()
    if command not in WITHOUT_TORCH:
        load_torch_libraries()


def _check_working_folder() -> None:
    """Refuse to run in a folder that was removed: paths cannot be resolved, and Intel's library ends the process.

    Raises:
        FileError: it was removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileError("the current folder was removed; change to another one (cd)") from None
