"""The wheel holds everything, and the documents' set-up commands are the real ones."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from aekit.registry import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_page(wheel: Path) -> None:
    # hatchling ships nothing, silently, for a mistyped path.
    held = set(zipfile.ZipFile(wheel).namelist())
    shipped = (".py", ".css", ".js", ".html")
    core = {str(p.relative_to(ROOT)) for p in (ROOT / "aekit").rglob("*") if p.suffix in shipped}
    plugins = {str(p.relative_to(ROOT / "plugins")) for p in (ROOT / "plugins" / "aekit_plugins").rglob("*.py")}
    assert core | plugins <= held
    assert not [name for name in held if name.startswith(("tests/", "plugins/", "benchmarks/"))]


def test_an_empty_environment_finds_every_plugin(wheel: Path, tmp_path: Path) -> None:
    """Installs the wheel where nothing else is but what listing plugins needs."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    light = ["click", "pluggy"]
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", wheel, *light],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    # A folder of this name in the user's directory must not shadow anything.
    (tmp_path / "plugins").mkdir()
    command = [tmp_path / "venv" / "bin" / "aekit", "plugins", "--json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout)
    names = {(p["kind"], p["name"]) for p in listed["plugins"]}
    ours = {(p.kind, p.name) for p in registry().plugins if p.distribution == "aekit"}
    assert names == ours and len(names) >= 12


def test_ci_and_readme_share_the_test_command() -> None:
    command = "pip install -q -c constraints.txt -e '.[test]' && pytest"
    assert command in (ROOT / ".ci" / "run").read_text("utf-8")
    assert command.replace(" -q", "") in (ROOT / "README.md").read_text("utf-8").replace(" -q", "")


def test_constraints_admit_what_is_required() -> None:
    """Every runtime requirement is pinned to something that its range allows."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line]
    pins = dict(line.split("==") for line in lines)
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert pins[requirement.name] in requirement.specifier, text
