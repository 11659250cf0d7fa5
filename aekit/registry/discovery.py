"""Discover plugins one by one, so that a broken one is reported and the others work.

Entry points of the group ``aekit`` name hook modules, whose hooks return `Entry` objects. They are loaded one at a time
rather than by pluggy's `load_setuptools_entrypoints`, where one broken plugin aborts everything and a second plugin of
the same name silently replaces the first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, EntryPoint
from typing import Any

import pluggy

from aekit.errors import AekitError, PluginError, closest_name, explain_with, print_traceback, printable
from aekit.registry import hookspecs
from aekit.registry._distributions import GROUP as GROUP, entry_points_of, installed_copies
from aekit.registry._failures import describe_error, error_place as error_place, innermost_frame
from aekit.registry._hook_modules import entry_problem, is_marked, misspelled_hooks, unmarked_hooks
from aekit.registry._plugin import SESSION as SESSION, Plugin as Plugin, prints_to_stderr as prints_to_stderr
from aekit.registry.hookspecs import API_VERSION, Entry

KINDS = ("variant", "pretext", "backbone", "source", "index", "evaluator", "command")
_DISABLED = "is disabled (--no-plugin, AEKIT_DISABLE_PLUGINS or AEKIT_NO_PLUGIN_AUTOLOAD)"
HOOK_OF = {kind: f"aekit_register_{kind}s" for kind in KINDS} | {"index": "aekit_register_indexes"}


@dataclass(frozen=True)
class Problem:
    """The reason why a distribution, or some of its plugins, could not be registered."""

    distribution: str
    version: str
    reason: str
    names: tuple[str, ...] = ()
    """``kind:name`` of the plugins that are unusable for this reason, where known."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: {self.reason}"


@dataclass
class Registry:
    """The plugins of an environment, the problems met while discovering them, and what is disabled."""

    plugins: list[Plugin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    disabled: frozenset[str] = frozenset()
    hidden: list[Plugin] = field(default_factory=list)
    """Plugins that are disabled by name."""
    not_imported: list[str] = field(default_factory=list)
    """Distributions that are disabled as a whole, and therefore not imported."""

    def by_kind(self, kind: str) -> list[Plugin]:
        """Return the usable plugins of a kind: those of aekit first, then by distribution, each in its author's order."""
        return sorted(
            (p for p in self.plugins if p.kind == kind and p.listed),
            key=lambda p: (p.distribution != GROUP, p.distribution),
        )

    def named(self, kind: str, name: str) -> list[Plugin]:
        """Return the usable plugins of a kind whose name is `name` or ``distribution/name``, listed or not."""
        return [p for p in self.plugins if p.kind == kind and name in (p.name, p.qualified)]

    def unknown_disabled(self) -> list[str]:
        """Describe each disabled name that is neither a plugin nor a distribution: ``no plugin 'x'; did you mean ...``."""
        matched = {*self.not_imported, *(name for p in self.hidden for name in (p.name, p.qualified))}
        known = matched | {name for p in self.plugins for name in (p.name, p.distribution)}
        return [
            f"no plugin or distribution {name!r}{closest_name(name, known)}" for name in sorted(self.disabled - matched)
        ]

    def has(self, kind: str, name: str) -> bool:
        """Return whether a plugin of this kind has the name, usable or not."""
        if any(name in (p.name, p.qualified) for p in [*self.by_kind(kind), *self.hidden] if p.kind == kind):
            return True
        return any(f"{kind}:{name}" in problem.names for problem in self.problems)

    def get(self, kind: str, name: str, *, required_by: str = "") -> Plugin:
        """Return the plugin named `name` (or ``distribution/name``).

        Args:
            kind: one of `KINDS`.
            name: name as written in a recipe, on the command line or in a saved file.
            required_by: the setting that names it, for the message: ``"recipe.toml: objective.variants"``.

        Raises:
            PluginError: the plugin is unknown, disabled, broken, ambiguous, or made for another API version.
        """
        matches = sorted(self.named(kind, name), key=lambda p: p.qualified)
        if len(matches) == 1:
            return matches[0]
        where = f"{required_by}: " if required_by else ""
        if matches:
            choices = " or ".join(sorted(p.qualified for p in matches))
            raise PluginError(
                f"{where}{kind} {name!r} is registered by {len(matches)} distributions; write {choices}, "
                f"or disable one (--no-plugin)"
            )
        for plugin in self.hidden:
            if plugin.kind == kind and name in (plugin.name, plugin.qualified):
                raise PluginError(f"{where}{kind} {name!r} of {plugin.distribution} {plugin.version} {_DISABLED}")
        for problem in self.problems:
            if f"{kind}:{name}" in problem.names or f"{kind}:{name.rpartition('/')[2]}" in problem.names:
                raise PluginError(f"{where}{kind} {name!r} cannot be used: {problem}")
        hints = [f"{len(self.problems)} plugin problem(s): {self.problems[0]}"] if self.problems else []
        hints += [f"disabled: {', '.join(self.not_imported)}"] if self.not_imported else []
        hint = f" ({'; '.join(hints)})" if hints else ""
        raise PluginError(f"{where}no {kind} {name!r}{closest_name(name, {p.name for p in self.by_kind(kind)})}{hint}")

    def require(self, record: dict[str, str], *, required_by: str) -> Plugin:
        """Return the plugin that a saved artifact names; if it is missing, the error says what to install."""
        kind, name, distribution = record["kind"], record["name"], record["distribution"]
        described = f"{required_by}: {kind} {name!r} of {distribution} {record['version']}"
        qualified = f"{distribution}/{name}"
        if self.named(kind, qualified) or any((p.kind, p.qualified) == (kind, qualified) for p in self.hidden):
            return self.get(kind, qualified, required_by=required_by)
        if distribution == SESSION:
            raise PluginError(
                f"{required_by}: {kind} {name!r} was code of another Python session; register it again with aekit.register, "
                f"or make it a plugin: aekit plugins new {name} --kind {kind}"
            )
        if distribution in self.not_imported:
            raise PluginError(f"{described} {_DISABLED}")
        for problem in self.problems:
            if problem.distribution == distribution:
                raise PluginError(f"{described} cannot be used: {problem}")
        raise PluginError(f"{described} is not installed: pip install '{distribution}=={record['version']}'")


_disabled_by_command_line: set[str] = set()


def disable(names: Iterable[str]) -> None:
    """Disable plugins for this process, by plugin name, distribution, or ``distribution/name``."""
    _disabled_by_command_line.update(names)
    registry.cache_clear()


_session: list[Plugin] = []


def session_plugins() -> list[Plugin]:
    """Return the list of plugins that are objects of this session; `aekit.registry.session` fills it."""
    return _session


@cache
def registry() -> Registry:
    """Return the plugins of this environment, discovered once per process.

    ``AEKIT_DISABLE_PLUGINS`` (names, separated by commas) disables plugins; ``AEKIT_NO_PLUGIN_AUTOLOAD=1`` loads built-in
    plugins alone; ``AEKIT_PLUGIN_STRICT=1`` raises the first problem instead of reporting it.
    """
    named = {name.strip() for name in os.environ.get("AEKIT_DISABLE_PLUGINS", "").split(",") if name.strip()}
    copies = installed_copies()
    discovered = discover(
        entry_points_of(copies),
        disabled=named | _disabled_by_command_line,
        builtin_only=os.environ.get("AEKIT_NO_PLUGIN_AUTOLOAD") == "1",
    )
    discovered.plugins += _session
    discovered.problems += _second_versions(copies)
    if discovered.problems and os.environ.get("AEKIT_PLUGIN_STRICT") == "1":
        raise PluginError(f"{discovered.problems[0]} (AEKIT_PLUGIN_STRICT=1)")
    return discovered


def entry_points() -> list[tuple[Distribution, EntryPoint]]:
    """Return every entry point of the group with its distribution; the first copy of a distribution on the path counts."""
    return entry_points_of(installed_copies())


def _second_versions(copies: Mapping[str, list[Distribution]]) -> list[Problem]:
    """Describe distributions of plugins that are installed in two versions."""
    problems = []
    for _, (first, *others) in sorted(copies.items()):
        if not any(point.group == GROUP for point in first.entry_points):
            continue
        unused = {other.version: str(other.locate_file("")) for other in others if other.version != first.version}
        if unused:
            listed = ", ".join(f"{version} in {folder}" for version, folder in unused.items())
            reason = f"installed in several versions; {first.version} in {first.locate_file('')} is used, not {listed}"
            problems.append(Problem(first.metadata["Name"], first.version, f"{reason}; uninstall one"))
    return problems


def discover(
    points: Iterable[tuple[Distribution, EntryPoint]], *, disabled: Iterable[str] = (), builtin_only: bool = False
) -> Registry:
    """Load hook modules one by one and register the entries of each."""
    result = Registry(disabled=frozenset(disabled))
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for distribution, point in points:
        name, version = distribution.metadata["Name"], distribution.version
        if name in result.disabled or (builtin_only and name != GROUP):
            result.not_imported.append(name)
            continue
        try:
            with prints_to_stderr():
                module = point.load()
        except (Exception, SystemExit) as error:
            print_traceback(error)
            result.problems.append(
                Problem(name, version, f"importing {point.value} failed with {describe_error(error)}")
            )
            continue
        reasons = _hook_mistakes(manager, module, point)
        result.problems += [Problem(name, version, reason) for reason in reasons]
        for kind in KINDS:
            if not is_marked(manager, module, HOOK_OF[kind]):
                continue
            try:
                entries = _entries(getattr(module, HOOK_OF[kind]))
            except (Exception, SystemExit) as error:
                print_traceback(error)
                result.problems.append(Problem(name, version, f"{HOOK_OF[kind]} failed with {describe_error(error)}"))
                continue
            for entry in entries:
                _admit(result, Plugin(kind, entry, name, version))
    return result


def _hook_mistakes(manager: pluggy.PluginManager, module: Any, point: EntryPoint) -> list[str]:
    """Describe hooks of a module that would be ignored in silence, or that it has none."""
    hooks = set(HOOK_OF.values())
    mistakes = [*misspelled_hooks(manager, module, hooks), *unmarked_hooks(manager, module, hooks)]
    if not mistakes and not any(is_marked(manager, module, hook) for hook in hooks):
        return [f"{point.value} has no hook, such as {HOOK_OF['variant']}, and registers nothing"]
    return mistakes


def _entries(hook: Callable[[], Any]) -> list[Entry]:
    """Return the entries that a hook returns.

    Raises:
        TypeError: it returns something else; or any error of the hook.
    """
    with prints_to_stderr():
        returned = hook()
    if not isinstance(returned, Iterable):
        raise TypeError(f"expected a list of aekit.plugin.Entry objects, got {type(returned).__name__}")
    entries = list(returned)
    for entry in entries:
        if not isinstance(entry, Entry):
            raise TypeError(f"expected aekit.plugin.Entry objects, got {entry!r}")
    return entries


def _admit(result: Registry, plugin: Plugin) -> None:
    entry = plugin.entry
    if problem := entry_problem(entry):
        reason = f"{HOOK_OF[plugin.kind]}: entry {printable(repr(entry.name))}: {problem}"
        names = (f"{plugin.kind}:{entry.name}",)
        result.problems.append(Problem(plugin.distribution, plugin.version, reason, names))
    elif any((plugin.kind, plugin.qualified) == (other.kind, other.qualified) for other in result.plugins):
        reason = f"{HOOK_OF[plugin.kind]}: registers {entry.name!r} twice; the first is used"
        result.problems.append(Problem(plugin.distribution, plugin.version, reason))
    elif plugin.name in result.disabled or plugin.qualified in result.disabled:
        result.hidden.append(plugin)
    elif entry.api != API_VERSION:
        reason = (
            f"{plugin.kind} {entry.name!r} was written for plugin API {entry.api}, this aekit has {API_VERSION}; "
            f"{'upgrade aekit' if entry.api > API_VERSION else f'upgrade {plugin.distribution}'}"
        )
        names = (f"{plugin.kind}:{entry.name}",)
        result.problems.append(Problem(plugin.distribution, plugin.version, reason, names))
    else:
        result.plugins.append(plugin)


def default_plugin(kind: str, tag: str) -> Plugin | None:
    """Return the built-in plugin of a kind whose entry has the tag, such as ``default-image``, or None."""
    return next((p for p in registry().by_kind(kind) if p.distribution == GROUP and tag in p.entry.tags), None)


def plugin_of(code: type) -> Plugin | None:
    """Return the plugin whose class this is, or None."""
    target = f"{code.__module__}:{code.__qualname__}"
    return next((p for p in registry().plugins if p.entry.target == target or getattr(p, "code", None) is code), None)


def failing_plugin(error: BaseException) -> Plugin | None:
    """Return the plugin of another distribution whose code an error came through last, by its traceback; None if none did."""
    deepest: tuple[int, bool] = (-1, False)
    failing = None
    for plugin in registry().plugins:
        if plugin.distribution in (GROUP, SESSION):
            continue
        depth = innermost_frame(error, plugin.entry.target)
        if depth is not None and depth > deepest:
            deepest, failing = depth, plugin
    return failing


def _failure_of_a_plugin(error: BaseException) -> AekitError | None:
    plugin = failing_plugin(error)
    return plugin.failure(error) if plugin else None


explain_with(_failure_of_a_plugin)
