"""Docstrings list the arguments and the attributes that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for part in ("aekit", "plugins") for path in (ROOT / part).rglob("*.py"))


def listed(docstring: str, section: str) -> list[str]:
    """Return the names that a section of a docstring lists, such as ``Args``; several may share a line."""
    found = re.search(rf"^{section}:\n((?:[ ]+.*\n|\n)+)", f"{docstring}\n", re.MULTILINE)
    heads = re.findall(r"^ {4}(?! )([\w*, ]+):", found[1] if found else "", re.MULTILINE)
    return [name.strip(" *") for head in heads for name in head.split(",")]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = function.args
    several = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return {one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *several]}


def mistakes(code: str) -> list[str]:
    """Return the names that docstrings list and that their function or class lacks."""
    wrong = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        text = ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            body = ast.unparse(node.body[1:]) if text else ""
            known = set(re.findall(r"\w+", body))
            inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            wrong += [f"{node.name}.{name}" for name in listed(text, "Attributes") if name not in known]
            taken = parameters(inits[0]) if inits else set(listed(text, "Args"))
        else:
            taken = parameters(node)
        wrong += [f"{node.name}({name})" for name in listed(text, "Args") if name not in taken]
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_list_what_there_is(path: Path) -> None:
    assert mistakes(path.read_text("utf-8")) == []


def test_a_name_that_is_gone_is_found() -> None:
    function = 'def f(a, *, b):\n    """Do it.\n\n    Args:\n        a, b: numbers.\n        c: another.\n    """\n'
    assert mistakes(function) == ["f(c)"]
    attribute = (
        'class A:\n    """Hold it.\n\n    Attributes:\n        x: one.\n        y: two.\n    """\n\n    x: int\n'
    )
    assert mistakes(attribute) == ["A.y"]
