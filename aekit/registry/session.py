"""Plugins that are objects of the running Python session: classes, functions and networks that no package provides."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, overload

from aekit.errors import PluginError, RecipeError, closest_name
from aekit.registry.discovery import KINDS, SESSION, Plugin, Registry, registry, session_plugins
from aekit.registry.hookspecs import API_VERSION, Entry
from aekit.registry.options import options_model

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class SessionPlugin(Plugin):
    """A plugin whose code is an object.

    Attributes:
        code: the class or function that takes the options.
        listed: whether it was registered, so that lists show it; not so for an object that was passed to a function.
    """

    code: Any = field(default=None, compare=False)
    listed: bool = True

    def load(self) -> Any:
        return self.code


@overload
def register(code: T, *, kind: str | None = None, name: str | None = None, tags: Iterable[str] = ()) -> T: ...


@overload
def register(
    code: None = None, *, kind: str | None = None, name: str | None = None, tags: Iterable[str] = ()
) -> Callable[[T], T]: ...


def register(code: Any = None, *, kind: str | None = None, name: str | None = None, tags: Iterable[str] = ()) -> Any:
    """Register a class or function of this session as a plugin: ``@aekit.register`` or ``@aekit.register(name="mine")``.

    Recipes and arguments can then name it, as long as the session lasts. A plugin that other sessions need belongs into a
    package: ``aekit plugins new``.

    Args:
        code: the class or function.
        kind: ``variant``, ``pretext``, ``backbone``, ``source``, ``index`` or ``evaluator``; default: by the class that it is
            derived from, or by the first parameters of a function.
        name: its name; default: that of the code, in lower case with hyphens.
        tags: as in `aekit.plugin.Entry`: kinds of samples for backbones, endings for sources, ``labels`` for evaluators that
            need them.

    Returns:
        the code, unchanged.

    Raises:
        PluginError: another kind, a name that an installed plugin has, or options without annotations.

    Examples:
        >>> @aekit.register(tags=["labels"])
        ... def spread(embeddings, labels, split):
        ...     return {"spread": float(embeddings[split.test].std())}
        >>> evaluation = aekit.evaluate(np.eye(20), ["a", "b"] * 10, evaluators="spread")
        >>> list(evaluation.results["encoder"]["spread"].metrics)
        ['spread']
    """
    if code is None:
        return lambda target: register(target, kind=kind, name=name, tags=tags)
    chosen = kind_of(code) if kind is None else kind
    if chosen not in KINDS or chosen == "command":
        known = [known for known in KINDS if known != "command"]
        raise PluginError(f"register: no kind {chosen!r}{closest_name(str(chosen), known)}")
    title = name or _plain_name(code)
    if not _NAME.fullmatch(title):
        raise PluginError(
            f"register: name {title!r}: expected lower-case words joined by hyphens, such as 'my-{chosen}'"
        )
    for plugin in registry().named(chosen, title):
        if plugin.distribution != SESSION:
            raise PluginError(
                f"register: {plugin.distribution} {plugin.version} has a {chosen} {title!r}; choose another name, "
                f"such as aekit.register(name='my-{title}')"
            )
    _admit(chosen, code, title, tags, listed=True)
    return code


def kind_of(code: Any) -> str:
    """Return the kind of plugin that a class or function is.

    Raises:
        PluginError: it cannot be told.
    """
    declared = getattr(code, "plugin_kind", None)
    if isinstance(declared, str):
        return declared
    first = list(_signature(code).parameters)[:3]
    if not inspect.isclass(code) and first == ["embeddings", "labels", "split"]:
        return "evaluator"
    if first[:2] == ["where", "like"]:
        return "source"
    if hasattr(code, "forward") or first[:1] == ["spec"]:
        return "backbone"
    raise PluginError(f"register: cannot tell the kind of {_title(code)}; write kind='evaluator', for example")


def plugin_names(kind: str, values: Any, place: str) -> list[str]:
    """Return the names of plugins that are given by name or as objects of the session: the rule for every function.

    Args:
        kind: kind of plugin.
        values: a name, a class, a function or (for backbones) a network; or a list of these.
        place: the argument, for messages.

    Raises:
        RecipeError: neither a name nor an object of that kind.
        PluginError: options of an object have no annotation.
    """
    single = isinstance(values, str) or callable(values) or not isinstance(values, Iterable)
    single = single or getattr(values, "ndim", 1) == 0  # an array without axes is iterable by its type alone
    names: list[str] = []
    for value in [values] if single else values:
        names.append(value if isinstance(value, str) else _name_of_object(kind, value, place, names))
    return names


def plugin_name(kind: str, value: Any, place: str) -> str:
    """Return the name of one plugin that is given by name or as an object; see `plugin_names`."""
    return value if isinstance(value, str) else _name_of_object(kind, value, place, ())


def _name_of_object(kind: str, code: Any, place: str, taken: Sequence[str]) -> str:
    registered = next((p for p in session_plugins() if p.kind == kind and p.load() is code), None)
    if registered is not None:
        return registered.name
    _check(kind, code, place)
    title = re.sub("-+", "-", re.sub("[^a-z0-9-]", "-", _plain_name(code))).strip("-") or kind
    if any(plugin.distribution != SESSION or plugin.listed for plugin in registry().named(kind, title)):
        title = f"session-{title}"
    number = 2
    while title in taken:
        title, number = f"{title.removesuffix(f'-{number - 1}')}-{number}", number + 1
    _admit(kind, code, title, (), listed=False)
    return title


_EXPECTED = {
    "variant": "a class derived from aekit.plugin.Variant",
    "pretext": "a class derived from aekit.plugin.Pretext",
    "index": "a class derived from aekit.plugin.Index",
    "evaluator": "a function of embeddings, labels and split",
    "backbone": "an nn.Module, or a class or function that gives one",
}


def _check(kind: str, code: Any, place: str) -> None:
    """Check that an object can be a plugin of a kind."""
    declared = getattr(code, "plugin_kind", None)
    what, function = _title(code), inspect.isroutine(code) or hasattr(code, "func")
    if declared not in (None, kind):
        raise RecipeError([f"{place} = {what}: is of kind {declared}, expected {_EXPECTED[kind]}"])
    if declared is not None and not inspect.isclass(code) and kind != "backbone":
        raise RecipeError([f"{place} = {what}: expected the class; its options are set by overrides"])
    fits = {
        "backbone": function or hasattr(code, "forward"),
        "evaluator": function or (callable(code) and not inspect.isclass(code)),
        "index": declared is not None,
    }.get(kind, declared is not None or function)
    if not fits:
        known = "a registered name, or " if kind != "backbone" else "a name, "
        raise RecipeError([f"{place} = {what}: expected {known}{_EXPECTED[kind]}"])
    names = [parameter.name for parameter in _signature(code).parameters.values()]
    if kind == "evaluator" and len(_positional(code)) < 3 and "args" not in names:
        raise RecipeError([f"{place} = {what}: takes {', '.join(names) or 'no arguments'}; expected {_EXPECTED[kind]}"])


def _admit(kind: str, code: Any, name: str, tags: Iterable[str], *, listed: bool) -> None:
    adapted = _factory(code) if kind == "backbone" else code
    try:
        options_model(adapted)
    except (TypeError, NameError, ValueError) as error:
        raise PluginError(f"{kind} {name!r} of this session: {error}; annotate its options") from None
    lines = (inspect.getdoc(code) or "").strip().splitlines()
    summary = lines[0] if lines and (inspect.isroutine(code) or inspect.isclass(code)) else _title(code)
    entry = Entry(name, f"{getattr(code, '__module__', '?')}:{_title(code)}", summary, API_VERSION, tuple(tags))
    plugin = SessionPlugin(kind, entry, SESSION, _version(code), adapted, listed)
    plugins = session_plugins()
    plugins[:] = [p for p in plugins if (p.kind, p.name) != (kind, name)] + [plugin]
    _replace(registry(), plugin)


def _replace(known: Registry, plugin: SessionPlugin) -> None:
    same = (plugin.kind, plugin.name, SESSION)
    known.plugins[:] = [p for p in known.plugins if (p.kind, p.name, p.distribution) != same] + [plugin]


def _factory(code: Any) -> Any:
    """Return a function of the spec for a network, or for a class or function that may take no spec.

    Each call returns a copy of a network, which keeps its weights.
    """
    if not inspect.isclass(code) and not inspect.isroutine(code) and hasattr(code, "forward"):

        def copied(spec: Any) -> Any:
            return deepcopy(code)

        copied.keeps_weights = True  # type: ignore[attr-defined]
        return copied
    parameters = _positional(code)
    if parameters and (parameters[0].name == "spec" or parameters[0].default is inspect.Parameter.empty):
        return code
    described = code.__init__ if inspect.isclass(code) else getattr(code, "func", code)

    @wraps(described)
    def without_spec(spec: Any, **options: Any) -> Any:
        return code(**options)

    return without_spec


def _positional(code: Any) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in _signature(code).parameters.values() if parameter.kind in kinds]


def _version(code: Any) -> str:
    """Return a hash of the source of the code, which distinguishes two versions of a cell."""
    target = code if inspect.isclass(code) or inspect.isroutine(code) else type(code)
    try:
        text = inspect.getsource(target)
    except (OSError, TypeError):
        text = repr(target)
    return hashlib.sha256((text + ("" if target is code else repr(code))).encode()).hexdigest()[:12]


def _plain_name(code: Any) -> str:
    name = getattr(code, "__name__", None) or type(code).__name__
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name.strip("<>_"))
    return words.replace("_", "-").lower()


def _title(code: Any) -> str:
    return getattr(code, "__qualname__", None) or f"{type(code).__qualname__} object"


def _signature(code: Any) -> inspect.Signature:
    try:
        return inspect.signature(code)
    except (TypeError, ValueError):
        return inspect.Signature()
