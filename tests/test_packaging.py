"""The wheel holds every file, outside packages type-check against it, and documented set-up commands match CI."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import aekit
from aekit.registry.discovery import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_page(wheel: Path) -> None:
    # hatchling ships nothing, silently, for a mistyped path.
    files = set(zipfile.ZipFile(wheel).namelist())
    shipped = (".py", ".css", ".js", ".html", ".typed")
    core = {str(p.relative_to(ROOT)) for p in (ROOT / "aekit").rglob("*") if p.suffix in shipped}
    plugins = {str(p.relative_to(ROOT / "plugins")) for p in (ROOT / "plugins" / "aekit_plugins").rglob("*.py")}
    assert core | plugins <= files and "aekit/py.typed" in files
    assert not [name for name in files if name.startswith(("tests/", "plugins/", "benchmarks/"))]


def test_an_empty_environment_finds_every_plugin(wheel: Path, tmp_path: Path) -> None:
    """Install the wheel beside nothing but what listing plugins needs."""
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


PLUGIN = """
from typing import Annotated, assert_type

from torch import Tensor

import aekit
from aekit.plugin import Field, Step, Variant


class Shrink(Variant):
    def __init__(self, *, price: Annotated[float, Field(gt=0, description="weight of the code's power")] = 0.01) -> None:
        super().__init__()
        self.price = price

    def penalty(self, step: Step) -> dict[str, Tensor]:
        return {"power": self.price * step.code.square().sum(1).mean()}


encoder = aekit.fit("photos/", variants=["shrink"], dim=8)
assert_type(encoder, aekit.Encoder)
assert_type(encoder.embed("photos/"), aekit.Embeddings)
"""
MISTAKE = """
import aekit

width: str = aekit.fit("photos/").dim
"""


@pytest.mark.slow
def test_outside_packages_are_type_checked_against_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Run mypy --strict where only the wheel provides aekit."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", place], check=True, capture_output=True, text=True).stdout.strip())
    zipfile.ZipFile(wheel).extractall(packages)
    # A path in a .pth file adds torch and the like, but not the editable aekit, whose own .pth file is not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "good.py").write_text(PLUGIN)
    (tmp_path / "mistake.py").write_text(MISTAKE)
    outside = ROOT / "tests" / "thirdparty" / "aekit_thirdparty"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--config-file="]

    def checked(*paths: Path) -> str:
        return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, cwd=tmp_path).stdout

    assert checked(tmp_path / "good.py", outside).startswith("Success: no issues found in 7 source files")
    assert 'expression has type "int", variable has type "str"' in checked(tmp_path / "mistake.py")


def test_ci_and_readme_share_the_test_command() -> None:
    command = "pip install -q -c constraints.txt -e '.[test]' && pytest"
    assert command in (ROOT / ".ci" / "run").read_text("utf-8")
    assert command.replace(" -q", "") in (ROOT / "README.md").read_text("utf-8").replace(" -q", "")


def test_the_citation_has_the_version_of_the_package() -> None:
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {aekit.__version__}\n" in cited


def test_constraints_admit_what_is_required() -> None:
    """Check that the pin of every runtime requirement lies in its range."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line]
    pins = dict(line.split("==") for line in lines)
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert pins[requirement.name] in requirement.specifier, text
