"""aekit where only its files are on the path of Python: a checkout, a folder that was copied, an archive."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import aekit
from aekit.errors import PluginError
from aekit.registry import _distributions
from aekit.registry.discovery import entry_points, registry

ROOT = Path(aekit.__file__).parents[1]


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Hide the metadata of all distributions."""
    monkeypatch.setattr(_distributions, "distributions", lambda: [])
    registry.cache_clear()
    yield monkeypatch
    registry.cache_clear()


def built_in() -> set[tuple[str, str, str]]:
    return {(p.kind, p.qualified, p.version) for p in registry().plugins if p.distribution == "aekit"}


INSTALLED = built_in()


def test_plugins_are_found_without_metadata(not_installed: pytest.MonkeyPatch) -> None:
    ((distribution, point),) = entry_points()
    assert (distribution.metadata["Name"], distribution.version) == ("aekit", aekit.__version__)
    assert point.load().__name__ == "aekit_plugins"
    assert built_in() == INSTALLED and len(INSTALLED) > 12


def test_plugins_that_are_not_there_are_one_line(not_installed: pytest.MonkeyPatch) -> None:
    not_installed.setattr(_distributions, "BUILT_IN", "no_such_plugins")
    with pytest.raises(PluginError, match="no_such_plugins, the built-in plugins, are not on the path of Python"):
        entry_points()


def test_an_archive_of_modules_runs_commands(tmp_path: Path) -> None:
    """Modules, pages of plugins and metadata are read from a ZIP, as zipapp and shiv put them into one."""
    archive, packages = tmp_path / "aekit.pyz", sysconfig.get_path("purelib")
    with zipfile.ZipFile(archive, "w") as file:
        for folder in (ROOT, Path(sys.modules["aekit_plugins"].__file__ or "").parents[1]):
            for path in sorted(folder.glob("aekit*/**/*")):
                if path.suffix in (".py", ".css", ".js", ".html"):
                    file.write(path, path.relative_to(folder))
        main = f"import sys\nsys.path.append({packages!r})\nfrom aekit.__main__ import main\nmain()\n"
        file.writestr("__main__.py", main)
    (tmp_path / "table.csv").write_text("a,b\n" + "".join(f"{i},{i * i % 7}\n" for i in range(12)))
    line = [sys.executable, "-I", "-S", str(archive)]
    done = subprocess.run([*line, "data", "table.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "12 samples" in done.stdout) == (0, True), done
