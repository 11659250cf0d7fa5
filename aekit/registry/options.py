"""Turn a plugin's signature into its options.

The keyword-only parameters of a plugin's class or function are its options, annotated with constraints and a description
(``Annotated[float, Field(gt=0, description="...")]``), each with a default. pydantic builds the validator from them, so
there is no second config class. Options that several plugins share are the entries of a TypedDict, each with
``Field(default=...)``, which they take as ``**options: Unpack[SharedOptions]`` (PEP 692).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from aekit.errors import PluginError, RecipeError, closest_name, not_utf8
from aekit.registry.discovery import Plugin

__all__ = ["Field", "describe_options", "model_of_plugin", "options_model", "validate_options", "validation_errors"]


@cache
def options_model(target: Callable[..., Any]) -> type[BaseModel]:
    """Build the validator of a plugin's options from its keyword-only parameters, shared ones included.

    Raises:
        TypeError: a keyword-only parameter has no annotation, or one that is not defined.
    """
    signature = inspect.signature(target)
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except NameError as error:
        raise TypeError(f"an annotation of {target.__qualname__} cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and get_origin(hints.get(name)) is Unpack:
            fields |= _shared_options(get_args(hints[name])[0])
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if name not in hints:
            raise TypeError(f"option {name!r} of {target.__qualname__} has no annotation")
        fields[name] = (hints[name], ... if parameter.default is inspect.Parameter.empty else parameter.default)
    config = ConfigDict(extra="forbid", validate_default=True, arbitrary_types_allowed=True)
    return create_model(f"{target.__qualname__}Options", __config__=config, **fields)


def model_of_plugin(plugin: Plugin) -> type[BaseModel]:
    """Return the validator of the options of a plugin, as `options_model`.

    Raises:
        PluginError: the plugin cannot be imported, or its options have no annotations that can be read.
    """
    code = plugin.load()
    try:
        return options_model(code)
    except TypeError as error:
        raise PluginError(f"{plugin}: {error}; annotate its options") from error


def _shared_options(options: type) -> dict[str, Any]:
    """Return the entries of a TypedDict as fields of a model, with the defaults that their annotations name."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(options, include_extras=True).items():
        infos = [item for item in get_args(hint)[1:] if isinstance(item, FieldInfo)]
        fields[name] = (hint, next((info.default for info in infos if not info.is_required()), ...))
    return fields


def validation_errors(model: type[BaseModel], values: Mapping[str, Any], place: str, owner: str = "") -> list[str]:
    """Return one line for each mistake in `values`: place, value, what was expected, and the nearest valid name."""
    by = f" ({owner})" if owner else ""
    # Shown as hexadecimal, which has no limit of digits.
    if huge := [(name, number) for name, value in values.items() for number in _huge_integers(value)]:
        return [f"{place}.{name} = {hex(number)[:20]}: expected a number below 2^63{by}" for name, number in huge]
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        # A value that fits no member of a union is one mistake, though pydantic reports each member.
        mistakes: dict[Any, list[Any]] = {}
        for detail in error.errors():
            union = len(detail["loc"]) > 1 and isinstance(detail["loc"][1], str) and detail["type"] != "extra_forbidden"
            mistakes.setdefault(detail["loc"][0] if union else detail["loc"], []).append(detail)
        return [_line(model, details, place, owner) for details in mistakes.values()]
    return []


def _huge_integers(value: Any) -> list[int]:
    """Return the integers inside of a value that no array and no seed can hold."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [number for inner in value for number in _huge_integers(inner)]
    return [value] if isinstance(value, int) and not -(2**63) <= value < 2**63 else []


def validate_options(plugin: Plugin, values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Validate options of a plugin and fill in the defaults.

    Raises:
        RecipeError: some are unknown or out of range; one line for each.
        PluginError: the plugin cannot be imported, or its options have no annotations.
    """
    model = model_of_plugin(plugin)
    problems = validation_errors(model, values, place or plugin.name, f"{plugin.distribution} {plugin.version}")
    if problems:
        raise RecipeError(problems)
    return model.model_validate(dict(values)).model_dump()


def describe_options(target: Callable[..., Any] | Plugin) -> list[dict[str, str]]:
    """Describe each option of a plugin, or of its code, by its type, range, default and description, as text.

    Raises:
        PluginError: the options of a plugin cannot be read.
    """
    model = model_of_plugin(target) if isinstance(target, Plugin) else options_model(target)
    rows = []
    for name, info in model.model_fields.items():
        rows.append(
            {
                "option": name,
                "type": _format_annotation(info.annotation),
                "range": _range(info.metadata),
                "default": "required" if info.is_required() else repr(info.default),
                "description": info.description or "",
            }
        )
    return rows


_SIGNS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}", "multiple_of": "multiple of {}"}
_SIGNS |= {"min_length": "at least {} long", "max_length": "at most {} long", "pattern": "matching {}"}


def _format_annotation(annotation: Any) -> str:
    """Format ``list[Annotated[int, Field(ge=1)]] | None`` as ``list[int >= 1] | None``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        constraints = [c for item in inner[1:] for c in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return f"{_format_annotation(inner[0])} {_range(constraints)}".rstrip()
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " | ".join(map(_format_annotation, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_format_annotation, inner))}]"
    return "None" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))


def _range(constraints: Sequence[Any]) -> str:
    return ", ".join(_SIGNS[key].format(value) for constraint in constraints for key, value in _limits(constraint))


def _limits(constraint: Any) -> list[tuple[str, Any]]:
    return [(key, getattr(constraint, key)) for key in _SIGNS if getattr(constraint, key, None) is not None]


_LENGTHS = {
    "string_too_short": "text of {min_length} characters or more",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "a list of {min_length} entries or more",
    "too_long": "a list of at most {max_length} entries",
}
"""Type of an error of pydantic -> what was expected, where its own message is not a sentence of ours."""


def _expected(detail: Any) -> str:
    if detail["type"] in _LENGTHS:
        if detail["ctx"].get("min_length") == 1:
            return "text that is not empty" if detail["type"] == "string_too_short" else "a list that is not empty"
        return _LENGTHS[detail["type"]].format(**detail["ctx"])
    return str(detail["msg"].replace("Input should be ", ""))


def _line(model: type[BaseModel], details: list[Any], place: str, owner: str) -> str:
    detail = details[0]
    location = detail["loc"][:1] if len(details) > 1 else detail["loc"]
    path = ".".join(str(part) for part in location)
    where = f"{place}.{path}" if place else path
    by = f" ({owner})" if owner else ""
    if detail["type"] == "extra_forbidden":
        return f"{where}: no such option{closest_name(path, model.model_fields)}{by}"
    if detail["type"] == "missing":
        return f"{where}: is required{by}"
    if detail["type"] == "string_unicode":  # a name on the command line whose bytes are in another encoding
        return f"{where} = {detail['input']!r}: {not_utf8('rename the folder or file')}{by}"
    expected = " or ".join(dict.fromkeys(map(_expected, details)))
    return f"{where} = {detail['input']!r}: expected {expected[0].lower()}{expected[1:]}{by}"
