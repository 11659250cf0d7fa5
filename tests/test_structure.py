"""The layout keeps its promises: the core knows no method, plugins know no other plugin, nothing is pickled."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aekit
from aekit.registry.discovery import KINDS, registry

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "aekit").rglob("*.py"))
PLUGINS = sorted(p for p in (ROOT / "plugins" / "aekit_plugins").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules that a file imports, at any depth of nesting."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_imports_no_plugin(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("aekit_plugins")]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_plugin_imports_another(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("aekit_plugins")]


def test_every_file_of_plugins_is_registered() -> None:
    files = {f"aekit_plugins.{path.parent.name}.{path.stem}" for path in PLUGINS if path.stem != "__init__"}
    registered = {p.entry.target.partition(":")[0] for p in registry().plugins if p.distribution == "aekit"}
    assert files == registered


def test_every_builtin_plugin_loads() -> None:
    assert not registry().problems
    for plugin in registry().plugins:
        assert callable(plugin.load()), plugin.qualified


PICKLES = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}


def test_nothing_is_pickled() -> None:
    # torch.load and numpy's allow_pickle run code from the file; joblib and shelve are pickle by other names.
    for path in [*CORE, *PLUGINS]:
        assert not {name.partition(".")[0] for name in imports(path)} & PICKLES, path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "torch.save", f"{path}:{node.lineno}"
                if ast.unparse(node.func) == "torch.load":  # of what others wrote, and as plain tensors alone
                    assert "weights_only=True" in map(ast.unparse, node.keywords), f"{path}:{node.lineno}"
                allowed = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert all(ast.unparse(k.value) == "False" for k in allowed), f"{path}:{node.lineno}"
                if ast.unparse(node.func) in ("np.load", "numpy.load", "np.save", "numpy.save"):
                    assert allowed or "save" in ast.unparse(node.func), f"{path}:{node.lineno}"


def test_files_stay_small() -> None:
    for path in CORE:
        assert len(path.read_text("utf-8").splitlines()) <= 350, path.relative_to(ROOT)


def test_no_module_bears_the_name_of_a_public_function() -> None:
    public = {name for name in aekit.__all__ if name.islower()}
    assert not public & {path.stem for path in (ROOT / "aekit").glob("*.py")}
    assert not public & {path.name for path in (ROOT / "aekit").iterdir() if path.is_dir()}


def test_public_names_resolve_and_are_listed_once() -> None:
    assert sorted(aekit.__all__) == sorted(set(aekit.__all__))
    for name in aekit.__all__:
        assert getattr(aekit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        aekit.fti  # noqa: B018


@pytest.mark.parametrize(
    "module", ["objective", "autoencoder", "encoder", "preprocess", "samples", "embeddings", "index"]
)
def test_public_docstrings_of_tensor_code_carry_shapes(module: str) -> None:
    """Every public function with tensors or arrays says a shape such as (B, D); an override may leave it to its base."""
    tree = ast.parse((ROOT / "aekit" / f"{module}.py").read_text("utf-8"))
    documented, missing = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            signature = ast.unparse(node.args) + ast.unparse(node.returns or ast.Constant(None))
            if not re.search(r"\b(Tensor|ndarray)\b", signature):
                continue
            text = ast.get_docstring(node) or ""
            if re.search(r"\(([A-Z]\w*|\*\w+)[,)]|scalar", text):
                documented.add(node.name)
            elif text or node.name not in OVERRIDES:
                missing.append(node.name)
    assert set(missing) - documented == set()


OVERRIDES = {"loss", "forward", "read"}


def test_help_and_listings_do_not_import_torch() -> None:
    for command in (["--help"], ["plugins"]):
        code = (
            f"import sys; sys.argv = {['aekit', *command]}\n"
            "from aekit.cli import main\ntry: main()\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'numpy', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)\nassert not heavy, heavy"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_kinds_have_a_hook_each() -> None:
    hooks = {
        name for name in vars(importlib.import_module("aekit.registry.hookspecs")) if name.startswith("aekit_register_")
    }
    assert len(hooks) == len(KINDS)
