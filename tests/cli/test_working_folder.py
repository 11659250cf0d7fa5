"""Commands in folders that were removed, or that hold files with the names of Python's modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aekit.io.shell import quoted


def run(line: str, folder: Path) -> tuple[int, str, str]:
    """Run a line of bash in a folder, in which ``aekit`` is the command as ``python -m`` runs it."""
    command = f'aekit() {{ {quoted(sys.executable)} -m aekit "$@"; }}\n{line}'
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, env=environment, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", ["data /tmp", "fit /tmp -o run", "search index id:3"])
def test_a_folder_that_was_removed(arguments: str, tmp_path: Path) -> None:
    removed = f"mkdir gone; cd gone; rmdir ../gone; aekit {arguments}"
    assert run(removed, tmp_path) == (2, "", "error: the current folder was removed; change to another one (cd)\n")


def test_help_in_a_folder_that_was_removed(tmp_path: Path) -> None:
    assert run("mkdir gone; cd gone; rmdir ../gone; aekit data --help", tmp_path)[0] == 0


def test_files_with_the_names_of_modules(tmp_path: Path) -> None:
    for name in ("numpy", "torch", "random", "json", "logging"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('this is a file of the user')")
    (tmp_path / "data.csv").write_text("a,b\n" + "1,2\n" * 20)
    code, output, errors = run("aekit data data.csv", tmp_path)
    assert code == 0, errors
    assert "20 samples" in output
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    assert run("aekit data x.npy", tmp_path)[0] == 0
