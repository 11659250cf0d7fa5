"""The layout keeps its promises: the core knows no method, plugins know no other plugin, nothing is pickled."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
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
    """Importing such a module would put it in the place of the function, in `aekit` or in a package that exports it."""
    public = {name for name in aekit.__all__ if name.islower()}
    for name in MODULES:
        # The modules of cli are named after the commands, and no package exports from there.
        if name != "aekit" and not name.startswith("aekit.cli."):
            assert name.rpartition(".")[2] not in public, name


LAYERS = (
    ("version", "_lazy", "_library_files", "shared_settings"),
    ("_torch_state", "_short_traceback"),
    ("errors",),
    ("_arguments",),
    ("progress",),
    ("progress_display",),
    ("io",),
    ("registry",),
    ("data",),
    ("encoder",),
    ("nn",),
    ("index",),
    ("objectives",),
    ("evaluation",),
    ("training",),
    ("visualization",),
    ("analysis",),
    ("report",),
    ("workflows",),
    ("plugin",),
    ("serving",),
    ("testing",),
    ("cli",),
    ("__main__",),
)
"""Packages and modules of `aekit`, in the order in which they build upon each other: each imports from those before it."""

MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in CORE}


def imported_modules(path: Path) -> set[str]:
    """Modules of aekit that a file imports, lazily and for types included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] == "aekit"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "aekit":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


IMPORTS = {name: imported_modules(path) for name, path in MODULES.items() if name != "aekit"}


def test_every_package_has_its_layer() -> None:
    listed = [name for layer in LAYERS for name in layer]
    assert sorted(listed) == sorted({name.split(".")[1] for name in MODULES if name != "aekit"})


@pytest.mark.parametrize("name", IMPORTS)
def test_no_layer_imports_from_a_later_one(name: str) -> None:
    rank = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    own = name.split(".")[1]
    for imported in IMPORTS[name]:
        assert imported in MODULES, f"{name} imports {imported}, which does not exist"
        if imported == "aekit":
            assert own == "cli", f"{name} imports the public facade"
            continue
        other = imported.split(".")[1]
        assert other == own or rank[other] < rank[own], f"{name} imports {imported}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: {other for other in others if other in IMPORTS} - {name} for name, others in IMPORTS.items()}
    assert tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_modules_for_one_layer_alone_begin_with_an_underscore() -> None:
    """What another layer, a facade, a plugin or a benchmark imports has a public name; what none of them imports is private."""
    outside = {name: set(imported) for name, imported in IMPORTS.items()}
    outside |= {"": imported_modules(MODULES["aekit"])}
    outside |= {
        str(path): imported_modules(path)
        for d in ("plugins", "benchmarks", "docs")
        for path in (ROOT / d).rglob("*.py")
    }
    for name, path in MODULES.items():
        parts = name.split(".")
        if len(parts) < 3 or path.stem == "__init__" or parts[1] in ("cli", "serving", "testing"):
            continue
        used = any(name in imported for user, imported in outside.items() if user.split(".")[:2] != parts[:2])
        # Plugins of others may import all of nn and objectives.
        public = used or parts[1] in ("nn", "objectives")
        assert public != path.stem.startswith("_"), f"{name} is {'used' if public else 'not used'} outside of its layer"


def test_the_layering_tests_would_fail(tmp_path: Path) -> None:
    lazy = tmp_path / "lazy.py"
    lazy.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aekit.cli import main\n"
        "def later():\n    import aekit.serving.app\n"
    )
    assert imported_modules(lazy) == {"aekit.cli", "aekit.serving.app"}
    with pytest.raises(CycleError):
        tuple(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_import_what_outside_plugins_may_import(path: Path) -> None:
    for name in imported_modules(path):
        assert name == "aekit.plugin" or name.split(".")[1] in ("nn", "objectives"), f"{path.name} imports {name}"


@pytest.mark.parametrize("module", ["aekit", "aekit.plugin"])
def test_a_facade_exports_the_same_names_to_type_checkers(module: str) -> None:
    """What is imported under TYPE_CHECKING is what is resolved on first use, under its own name and from the same module."""
    facade = importlib.import_module(module)
    typed = {}
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("aekit.") and node.level == 0:
            assert all(alias.asname in (alias.name, None) for alias in node.names)
            typed |= {alias.name: node.module for alias in node.names}
    homes = {name: home for home, names in facade._HOMES.items() for name in names.split()}
    assert {name: home for name, home in typed.items() if name not in ("lazy_exports", "__version__")} == homes
    for name in facade.__all__:
        assert getattr(facade, name) is not None


def test_public_names_resolve_and_are_listed_once() -> None:
    assert sorted(aekit.__all__) == sorted(set(aekit.__all__))
    for name in aekit.__all__:
        assert getattr(aekit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        aekit.fti  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "objectives/base",
        "objectives/autoencoder",
        "encoder/encoder",
        "encoder/preprocessing",
        "data/source",
        "data/samples",
        "encoder/embeddings",
        "index/engine",
        "index/vector_index",
    ],
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
