"""Check the entry and the options of every plugin, without building it."""

from __future__ import annotations

import difflib
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module

import tomli_w

from aekit.objectives.restoration import RestorationTask
from aekit.registry.discovery import KINDS, entry_points
from aekit.registry.options import describe_options, options_model, validate_options
from aekit.registry.signatures import signature_problem
from aekit.testing.kit import Case, check

CONFIGURED = tuple(kind for kind in KINDS if kind != "command")
_BASES = {
    "variant": "aekit.objectives.base:Variant",
    "pretext": "aekit.objectives.base:Pretext",
    "index": "aekit.index.engine:Index",
}
_OVERRIDABLE = {
    **_BASES,
    "backbone": "aekit.encoder.backbone:Backbone",
    "source": "aekit.data.source:Source",
}
_POSITIONAL = {"variant": 0, "pretext": 1, "backbone": 1, "source": 2, "evaluator": 3}
_HEAVY = ("torch", "pydantic", "pandas", "sklearn", "faiss")


@check(*KINDS, bare=True)
def entry(case: Case) -> None:
    """its name consists of lower-case words joined by hyphens, and its summary is one line"""
    entry = case.plugin.entry
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name), (
        f"name {entry.name!r}: expected lower-case words joined by hyphens"
    )
    assert entry.summary.strip(), "the summary is empty"
    assert "\n" not in entry.summary, f"the summary has {len(entry.summary.splitlines())} lines: expected one"


@check(*KINDS, bare=True)
def entry_light(case: Case) -> None:
    """importing its hook module does not import torch, pydantic, pandas, sklearn or faiss"""
    name = case.plugin.distribution
    modules = tuple(point.module for entry, point in entry_points() if entry.metadata["Name"] == name)
    heavy = _heavy_imports(modules)
    assert not heavy, f"importing {' or '.join(modules)} imports {heavy}; import it in the module that the entry names"


@cache
def _heavy_imports(modules: tuple[str, ...]) -> str:
    program = (
        "import sys; from importlib import import_module as load\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"for module in {modules!r}: load(module)\n"
        f"print(*[name for name in {_HEAVY!r} if name in sys.modules], sep=', ')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, f"importing {modules} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


@check(*KINDS, bare=True)
def contract(case: Case) -> None:
    """its target has the type of its kind, and takes the arguments that aekit passes"""
    code, kind = case.code, case.plugin.kind
    if kind in _BASES:
        module, _, name = _BASES[kind].partition(":")
        base = getattr(import_module(module), name)
        assert inspect.isclass(code) and issubclass(code, base), f"{code!r}: expected a subclass of {module}.{name}"
    if kind == "command":
        import click

        assert isinstance(code, click.Command), f"{code!r}: expected a click command"
        assert (code.help or "").strip(), "the command has no help text"
    if kind in _POSITIONAL:
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        positional = [p.name for p in inspect.signature(code).parameters.values() if p.kind in by_place]
        assert len(positional) == _POSITIONAL[kind], (
            f"takes {len(positional)} arguments by position ({', '.join(positional) or 'none'}), "
            f"expected {_POSITIONAL[kind]}; options are keyword-only"
        )


@check(*_OVERRIDABLE, bare=True)
def overrides(case: Case) -> None:
    """methods of the contract take the arguments of the contract, and no method is a misspelled one, which nothing would call"""
    module, _, name = _OVERRIDABLE[case.plugin.kind].partition(":")
    base = getattr(import_module(module), name)
    if not inspect.isclass(case.code) or not issubclass(case.code, base):
        return
    if issubclass(case.code, RestorationTask):
        base = RestorationTask
    problem = signature_problem(case.code, base)
    assert not problem, problem
    known = [method for method in dir(base) if not method.startswith("_") and callable(getattr(base, method))]
    for parent in case.code.__mro__:
        if parent.__module__.partition(".")[0] in ("aekit", "torch", "builtins"):
            continue
        for method, value in vars(parent).items():
            close = difflib.get_close_matches(method, known, n=1, cutoff=0.75)
            if inspect.isfunction(value) and not hasattr(base, method) and close:
                line = value.__code__.co_firstlineno
                raise AssertionError(f"{method}() in line {line} overrides nothing; did you mean {close[0]}()?")


@check(*CONFIGURED, bare=True)
def options_described(case: Case) -> None:
    """every option has an annotation, a valid default and a description"""
    for row in describe_options(case.code):
        assert row["default"] != "required", f"option {row['option']!r} has no default"
        assert row["description"], (
            f"option {row['option']!r} has no description; annotate it with Field(description=...)"
        )
    validate_options(case.plugin, {})


@check(*CONFIGURED, bare=True)
def options_through_toml(case: Case) -> None:
    """its options are unchanged after a round trip through a recipe"""
    model = options_model(case.code)
    before = validate_options(case.plugin, case.options)
    text = tomli_w.dumps({name: value for name, value in before.items() if value is not None})
    after = validate_options(case.plugin, tomllib.loads(text))
    changed = [name for name in model.model_fields if before[name] != after[name]]
    assert not changed, f"option {changed[0]!r} was {before[changed[0]]!r}, came back as {after[changed[0]]!r}"
