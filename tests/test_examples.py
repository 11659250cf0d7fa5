"""Every public name has a usage example in its docstring, which runs as written in an empty folder."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

import aekit

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples_of(name: str) -> list[doctest.DocTest]:
    """Return the examples in the docstring of a public name, without those of inherited methods."""
    value = getattr(aekit, name)
    finder = doctest.DocTestFinder(recurse=False, exclude_empty=True)
    tests = finder.find(value, name, globs={"aekit": aekit, "np": np, "Path": Path})
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("name", aekit.__all__)
def test_the_example_of_a_public_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name == "push_to_hub":
        request.getfixturevalue("hub")
    tests = examples_of(name)
    assert tests, f"aekit.{name} has no usage example (>>>) in its docstring"
    monkeypatch.chdir(tmp_path)
    output: list[str] = []
    for test in tests:
        assert not any(example.options.get(doctest.SKIP) for example in test.examples), f"aekit.{name} skips an example"
        doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=output.append)
    assert not output, "".join(output)
