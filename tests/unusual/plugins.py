"""Plugins of others that fail, print, or are there twice."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from fake_distributions import hooks, install, seen
from unusual.harness import Area, Listener

import aekit
from aekit.errors import DEBUG, PluginError
from aekit.registry.discovery import registry

AREA = Area(__name__)

EVALUATORS = """
from aekit.plugin import Metric, Result

def raises(embeddings, labels, split):
    return 1 / 0

def returns_text(embeddings, labels, split):
    return "good"

def prints(embeddings, labels, split):
    print("working on it")
    return Result({"accuracy": Metric(0.5)})
"""
SOURCES = """
import numpy as np
from aekit.plugin import Source

class Raises(Source):
    def __init__(self, where, like):
        raise KeyError("header")

class FailsToRead(Source):
    def __init__(self, where, like):
        from aekit.plugin import SampleSpec
        self.spec, self.ids, self.skipped = SampleSpec("vector", (2,), "float32"), ["a", "b"], {}

    def read(self, indices):
        raise IndexError("no such block")

def returns_an_array(where, like):
    return np.zeros((4, 2))

class Greedy(FailsToRead):
    @staticmethod
    def claims(path):
        return True
"""
COMMANDS = """
import click

@click.command()
def broken():
    'Fail.'
    raise RuntimeError("no such device")

@click.command()
def fine():
    'Greet.'
    click.echo("hello")
"""


@contextmanager
def installed(
    folder: Path, *entries: str, kind: str = "evaluators", code: str = "", name: str = "others", top: str = ""
) -> Iterator[None]:
    """Install a distribution whose hooks register `entries` of the module ``NAME_code``."""
    site = folder / "site"
    files = {f"{name}_hooks.py": top + hooks(*entries, kind=kind), f"{name}_code.py": code}
    install(site, name, "1.4", module=f"{name}_hooks", files=files)
    try:
        with seen(site):
            yield
    finally:
        for module in (f"{name}_hooks", f"{name}_code"):
            sys.modules.pop(module, None)


def entry(name: str, attribute: str, module: str = "others_code", tags: str = "()") -> str:
    return f"Entry('{name}', '{module}:{attribute}', 'a plugin', 2, {tags})"


def _vectors() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32), np.arange(60) % 2


# Evaluators


@AREA.changed(
    "an evaluator that raises, beside one that does not",
    "evaluator 'raises' of others 1.4 failed with ZeroDivisionError",
)
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("raises", "raises"), code=EVALUATORS):
        evaluation = aekit.evaluate(*_vectors(), evaluators=["raises", "knn"])
    assert list(evaluation.results["encoder"]) == ["knn"]
    (line,) = [note for note in evaluation.notes if "raises" in note]
    assert "others_code.py, line 5)" in line
    listener.say(line)


@AREA.refused(
    "an evaluator that raises, alone",
    "evaluator 'raises' of others 1.4 failed with ZeroDivisionError: division by zero",
)
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("raises", "raises"), code=EVALUATORS):
        aekit.evaluate(*_vectors(), evaluators=["raises"])


@AREA.changed("an evaluator that returns text", "returned str: expected a Result, a number, or numbers by name")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("text", "returns_text"), code=EVALUATORS):
        evaluation = aekit.evaluate(*_vectors(), evaluators=["text", "knn"])
    assert list(evaluation.results["encoder"]) == ["knn"]
    listener.lines += evaluation.notes


@AREA.right("an evaluator that prints: JSON stays JSON")
def _(folder: Path, listener: Listener) -> None:
    np.save("x.npy", _vectors()[0])
    aekit.fit("x.npy", dim=2, epochs=1, variants=["plain"]).embed("x.npy", out="z")
    with installed(folder, entry("prints", "prints"), code=EVALUATORS):
        text = listener.command("evaluate", "z", "--evaluator", "prints", "--no-baselines", "--json", "-q")
    assert json.loads(text)["results"]["encoder"]["prints"]["metrics"]["accuracy"]["value"] == 0.5


@AREA.changed("a failure of a plugin with --debug", "Traceback (most recent call last)")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("broken", "broken"), kind="commands", code=COMMANDS):
        errors = io.StringIO()
        try:
            with redirect_stderr(errors), pytest.raises(PluginError):
                from aekit.cli import group

                group.main(["--debug", "broken"], prog_name="aekit", standalone_mode=False)
        finally:
            os.environ.pop(DEBUG, None)
        listener.lines += errors.getvalue().splitlines()


# Sources


@AREA.refused("a source that raises", "source 'theirs' of others 1.4 failed with KeyError: 'header'")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("theirs", "Raises"), kind="sources", code=SOURCES):
        aekit.open_data("theirs:x")


@AREA.refused("a source that returns an array", "it returns ndarray: expected a Source")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("theirs", "returns_an_array"), kind="sources", code=SOURCES):
        aekit.open_data("theirs:x")


@AREA.refused(
    "a source that raises while reading", "source 'theirs' of others 1.4 failed with IndexError: no such block"
)
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("theirs", "FailsToRead"), kind="sources", code=SOURCES):
        aekit.fit("theirs:x", dim=2, epochs=1)


@AREA.right("a source of others for .npy files: the built-in one reads them")
def _(folder: Path, listener: Listener) -> None:
    np.save("x.npy", _vectors()[0])
    with installed(folder, entry("theirs", "Greedy", tags="('.npy',)"), kind="sources", code=SOURCES):
        source = aekit.open_data("x.npy")
        assert source.origin and source.origin["source"] == "arrays" and len(source) == 60
        assert len(aekit.open_data(f"theirs:{folder / 'x.npy'}")) == 2


# Commands


@AREA.refused("a command that raises", "command 'broken' of others 1.4 failed with RuntimeError: no such device")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("broken", "broken"), kind="commands", code=COMMANDS):
        listener.command("broken")


@AREA.right("a command of others")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("greet", "fine"), kind="commands", code=COMMANDS):
        assert listener.command("greet") == "hello\n"


@AREA.changed(
    "a command with the name of a built-in one", "command 'fit' is shadowed by the built-in command of that name"
)
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("fit", "fine"), kind="commands", code=COMMANDS):
        listener.command("plugins")
        assert "Train an encoder" in listener.command("fit", "--help")


@AREA.refused("a command that two distributions register", "command 'greet' is registered by 2 distributions; write")
def _(folder: Path, listener: Listener) -> None:
    other = entry("greet", "fine", "more_code")
    with (
        installed(folder / "one", entry("greet", "fine"), kind="commands", code=COMMANDS),
        installed(folder / "two", other, kind="commands", code=COMMANDS, name="more"),
    ):
        listener.command("greet")


# Distributions


@AREA.right("a distribution that prints when it is imported: JSON stays JSON")
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("prints", "prints"), code=EVALUATORS, top="print('welcome')\n"):
        listed = json.loads(listener.command("plugins", "--json"))
    assert any(plugin["name"] == "prints" for plugin in listed["plugins"])


@AREA.changed(
    "a distribution that cannot be imported", "others 1.4: importing others_hooks failed with ZeroDivisionError"
)
def _(folder: Path, listener: Listener) -> None:
    with installed(folder, entry("prints", "prints"), code=EVALUATORS, top="1 / 0\n"):
        assert "knn" in listener.command("plugins")


@AREA.changed("two versions of one distribution", "installed in several versions; 1.4 in")
def _(folder: Path, listener: Listener) -> None:
    install(folder / "old", "others", "0.9", module="others_hooks")
    with seen(folder / "old"), installed(folder, entry("prints", "prints"), code=EVALUATORS):
        listed = listener.command("plugins", "--kind", "evaluator")
        assert "others 1.4" in listed and "others 0.9" not in listed
        (problem,) = registry().problems
    assert "not 0.9 in" in str(problem) and str(problem).endswith("uninstall one")
