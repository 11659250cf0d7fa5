"""Discovery: one plugin's fault is that plugin's, and the message says whose it is and what to do."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_distributions import hooks, install, seen

from aekit.cli import group
from aekit.cli.plugins import find, plugins as command
from aekit.errors import OutputError, PluginError
from aekit.registry import discovery as registry_module
from aekit.registry.discovery import HOOK_OF, KINDS, Registry, disable, registry
from aekit.registry.hookspecs import API_VERSION
from aekit.registry.scaffold import _PLUGINS, new_plugin

QUIET = "Entry('quiet', 'quiet_code:Quiet', 'changes nothing', 2)"
QUIET_CODE = "from aekit.objectives.base import Variant\n\nclass Quiet(Variant): pass\n"


@contextmanager
def found(folder: Path, *modules: str) -> Iterator[Registry]:
    """The registry of a process that sees the folder, whose modules are forgotten afterwards."""
    try:
        with seen(folder):
            yield registry()
    finally:
        for name in modules:
            sys.modules.pop(name, None)


def install_quiet(folder: Path, name: str = "aekit-quiet") -> Path:
    module = name.replace("-", "_")
    return install(folder, name, module=module, files={f"{module}.py": hooks(QUIET), "quiet_code.py": QUIET_CODE})


def test_an_outside_plugin_is_found_with_its_distribution(tmp_path: Path) -> None:
    with found(install_quiet(tmp_path), "aekit_quiet", "quiet_code") as known:
        plugin = known.get("variant", "quiet")
        assert plugin.to_dict() == {"kind": "variant", "name": "quiet", "distribution": "aekit-quiet", "version": "1.0"}
        assert plugin is known.get("variant", "aekit-quiet/quiet")
        assert plugin.load().__name__ == "Quiet"
        assert not known.problems


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('first\\nsecond')", "importing bad_hooks failed with RuntimeError: first"),
        ("import sys\nsys.exit(1)", "importing bad_hooks failed with SystemExit: 1"),
        ("import not_there", "importing bad_hooks failed with ModuleNotFoundError: No module named 'not_there'"),
        ("def broken(:", "importing bad_hooks failed with SyntaxError: "),
        (
            hooks(QUIET).replace("variants", "variant"),
            "aekit_register_variant is not a hook; did you mean 'aekit_register_variants'?",
        ),
        (hooks(QUIET).replace("aekit_register_variants", "aekit_step_begin"), "aekit_step_begin is not a hook; "),
        (hooks("1 / 0"), "aekit_register_variants failed with ZeroDivisionError: division by zero"),
        (hooks("exit(2)"), "aekit_register_variants failed with SystemExit: 2"),
        (
            hooks("'quiet'"),
            "aekit_register_variants failed with TypeError: expected aekit.plugin.Entry objects, got 'quiet'",
        ),
        (hooks().replace("[]", "None"), "aekit_register_variants failed with TypeError: "),
        (
            hooks("Entry('late', 'x:y', 'from the future', 3)"),
            "variant 'late' was written for plugin API 3, this aekit has 2; upgrade aekit",
        ),
        (
            hooks("Entry('early', 'x:y', 'from the past', 1)"),
            "variant 'early' was written for plugin API 1, this aekit has 2; upgrade bad",
        ),
    ],
)
def test_a_fault_is_attributed_and_everything_else_works(tmp_path: Path, code: str, reason: str) -> None:
    assert API_VERSION == 2
    install(tmp_path, "bad", version="0.3", module="bad_hooks", files={"bad_hooks.py": code})
    install_quiet(tmp_path)
    with found(tmp_path, "bad_hooks", "aekit_quiet") as known:
        (problem,) = known.problems
        assert str(problem).startswith(f"bad 0.3: {reason}") and "\n" not in str(problem)
        assert known.get("variant", "quiet") and known.get("variant", "denoising")


def test_a_marked_function_of_any_name_must_be_a_hook(tmp_path: Path) -> None:
    code = hooks(QUIET).replace("aekit_register_variants", "register_variants")
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": code})
    with found(tmp_path, "bad_hooks") as known:
        assert "register_variants is not a hook; did you mean 'aekit_register_variants'?" in str(known.problems[0])


def test_one_raising_hook_leaves_the_others_of_its_package(tmp_path: Path) -> None:
    code = hooks(QUIET) + "\n@hookimpl\ndef aekit_register_sources():\n    raise OSError('no disk')\n"
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": code, "quiet_code.py": QUIET_CODE})
    with found(tmp_path, "bad_hooks") as known:
        assert known.get("variant", "quiet").distribution == "bad"
        assert [str(problem) for problem in known.problems] == [
            "bad 1.0: aekit_register_sources failed with OSError: no disk"
        ]


def test_a_plugin_whose_code_is_missing_says_so_when_it_is_used(tmp_path: Path) -> None:
    entries = ("Entry('gone', 'quiet_code:Gone', 's', 2)", "Entry('lost', 'no_such_module:Lost', 's', 2)")
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": hooks(*entries), "quiet_code.py": QUIET_CODE})
    with found(tmp_path, "bad_hooks", "quiet_code") as known:
        with pytest.raises(PluginError, match=r"variant 'gone' of bad 1.0 is broken: .* AttributeError: .*'Gone'"):
            known.get("variant", "gone").load()
        with pytest.raises(PluginError, match=r"importing no_such_module:Lost failed with ModuleNotFoundError"):
            known.get("variant", "lost").load()


def test_an_entry_of_another_api_is_explained_when_it_is_asked_for(tmp_path: Path) -> None:
    code = hooks("Entry('late', 'x:y', 'from the future', 3)")
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": code})
    with found(tmp_path, "bad_hooks") as known:
        for name in ("late", "bad/late"):
            with pytest.raises(
                PluginError, match=r"recipe: variant '.*late' cannot be used: bad 1.0: .* upgrade aekit"
            ):
                known.get("variant", name, required_by="recipe")


def test_two_plugins_of_one_name_clash_only_when_the_name_is_used(tmp_path: Path) -> None:
    install_quiet(tmp_path)
    install_quiet(tmp_path, "other")
    with found(tmp_path, "aekit_quiet", "other") as known:
        assert not known.problems
        with pytest.raises(PluginError) as caught:
            known.get("variant", "quiet")
        assert str(caught.value) == (
            "variant 'quiet' is registered by 2 distributions; write aekit-quiet/quiet or other/quiet, "
            "or disable one (--no-plugin)"
        )
        assert known.get("variant", "other/quiet").distribution == "other"


def test_an_outside_plugin_cannot_displace_one_of_aekit(tmp_path: Path) -> None:
    code = hooks("Entry('denoising', 'quiet_code:Quiet', 'an impostor', 2)")
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": code})
    with found(tmp_path, "bad_hooks") as known:
        with pytest.raises(PluginError, match="write aekit/denoising or bad/denoising"):
            known.get("variant", "denoising")
        record = {"kind": "variant", "name": "denoising", "distribution": "aekit", "version": "0.1.0"}
        assert known.require(record, required_by="an encoder").distribution == "aekit"


@pytest.mark.parametrize("named", ["quiet", "aekit-quiet/quiet"])
def test_a_plugin_is_disabled_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("AEKIT_DISABLE_PLUGINS", f"other, {named}")
    with found(install_quiet(tmp_path), "aekit_quiet") as known:
        assert "quiet" not in [plugin.name for plugin in known.by_kind("variant")]
        with pytest.raises(PluginError, match=r"variant 'quiet' of aekit-quiet 1.0 is disabled"):
            known.get("variant", "quiet")


def test_a_disabled_distribution_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": "raise RuntimeError"})
    monkeypatch.setenv("AEKIT_DISABLE_PLUGINS", "bad")
    with found(tmp_path, "bad_hooks") as known:
        assert known.problems == [] and known.not_imported == ["bad"] and "bad_hooks" not in sys.modules
        with pytest.raises(PluginError, match=r"no variant 'anything'.* \(disabled: bad\)"):
            known.get("variant", "anything")


def test_the_command_line_disables_for_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_disabled_by_command_line", set())
    with found(install_quiet(tmp_path), "aekit_quiet"):
        assert registry().get("variant", "quiet")
        disable(["quiet"])
        with pytest.raises(PluginError, match="is disabled"):
            registry().get("variant", "quiet")


def test_autoload_can_be_confined_to_builtin_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEKIT_NO_PLUGIN_AUTOLOAD", "1")
    with found(install_quiet(tmp_path), "aekit_quiet") as known:
        assert {plugin.distribution for plugin in known.plugins} == {"aekit"}
        assert "aekit-quiet" in known.not_imported and "aekit_quiet" not in sys.modules


def test_strict_raises_the_first_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": "import not_there"})
    monkeypatch.setenv("AEKIT_PLUGIN_STRICT", "1")
    with seen(tmp_path), pytest.raises(PluginError, match=r"bad 1.0: importing bad_hooks .* \(AEKIT_PLUGIN_STRICT=1\)"):
        registry()


def test_an_unknown_name_is_answered_with_the_nearest_and_the_problems(tmp_path: Path) -> None:
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": "import not_there"})
    with found(tmp_path, "bad_hooks") as known:
        with pytest.raises(PluginError, match=r"no variant 'denoisng'; did you mean 'denoising'\?"):
            known.get("variant", "denoisng")
        with pytest.raises(PluginError, match=r"1 plugin problem\(s\): bad 1.0: importing bad_hooks failed"):
            known.get("variant", "xyz")


def test_the_first_copy_of_a_distribution_on_the_path_counts(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    install(tmp_path / "old", "aekit-quiet", "0.1", module="aekit_quiet", files={"aekit_quiet.py": hooks(QUIET)})
    install(tmp_path / "new", "aekit_quiet", "0.2", module="aekit_quiet", files={"aekit_quiet.py": hooks(QUIET)})
    with seen(tmp_path / "old"), found(tmp_path / "new", "aekit_quiet") as known:
        assert [p.version for p in known.by_kind("variant") if p.name == "quiet"] == ["0.2"]


def test_every_kind_has_a_hook() -> None:
    assert set(HOOK_OF) == set(KINDS)
    assert len(set(HOOK_OF.values())) == len(KINDS)


def test_plugins_are_listed_with_their_problems_below(tmp_path: Path) -> None:
    install(tmp_path, "bad", module="bad_hooks", files={"bad_hooks.py": "import not_there"})
    with found(install_quiet(tmp_path), "aekit_quiet", "bad_hooks"):
        done = CliRunner().invoke(command, [])
        assert done.exit_code == 0
        (line,) = [line for line in done.stdout.splitlines() if " quiet " in line]
        assert line.split(maxsplit=4) == ["variant", "quiet", "aekit-quiet", "1.0", "changes nothing"]
        assert (
            done.stderr
            == "problem: bad 1.0: importing bad_hooks failed with ModuleNotFoundError: No module named 'not_there'\n"
        )
        listed = json.loads(CliRunner().invoke(command, ["--json", "--kind", "variant"]).stdout)
        assert {plugin["kind"] for plugin in listed["plugins"]} == {"variant"} and len(listed["problems"]) == 1


def test_show_prints_every_option_with_range_and_default() -> None:
    shown = CliRunner().invoke(command, ["show", "variant", "denoising"]).stdout
    noises = "'auto' | 'gaussian' | 'masking' | 'blocks' | 'salt-and-pepper' | 'speckle' | 'blur'"
    assert f"  noise = 'auto'  ({noises})\n      kind of corruption" in shown
    assert "  level = None  (float | None, > 0)\n" in shown
    options = json.loads(CliRunner().invoke(command, ["show", "denoising", "--json"]).stdout)["options"]
    assert [option["option"] for option in options][:2] == ["noise", "level"]
    assert "no options" in CliRunner().invoke(command, ["show", "plain"]).stdout


def test_a_name_needs_its_kind_only_where_several_kinds_have_it(tmp_path: Path) -> None:
    code = hooks(QUIET) + hooks("Entry('quiet', 'x:y', 's', 2)", kind="sources").partition("\n\n")[2]
    install(tmp_path, "double", module="double_hooks", files={"double_hooks.py": code})
    with found(tmp_path, "double_hooks"):
        with pytest.raises(PluginError, match="'quiet' is the name of a variant and of a source; add the kind"):
            find("quiet")
        assert find("quiet", "source").kind == "source"
    with pytest.raises(PluginError, match="no kind 'variants'; did you mean 'variant'"):
        find("denoising", "variants")
    with pytest.raises(PluginError, match="no plugin 'denoisin'; did you mean 'denoising'"):
        find("denoisin")


THIRDPARTY = Path(__file__).parents[1] / "thirdparty"


@pytest.mark.parametrize("kind", [*_PLUGINS, "third-party package"])
def test_packages_import_from_the_plugin_facade_alone(tmp_path: Path, kind: str) -> None:
    package = THIRDPARTY if kind == "third-party package" else new_plugin(f"my-{kind}", kind, tmp_path / kind)
    facades: set[str] = set()
    for path in package.rglob("*.py"):
        modules = imported_modules(path)
        facade = "aekit.testing" if path.parent.name == "tests" else "aekit.plugin"
        assert {module for module in modules if module.partition(".")[0] in ("aekit", "aekit_plugins")} <= {facade}, (
            path
        )
        facades |= modules & {facade}
    assert facades == {"aekit.plugin", "aekit.testing"}


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports, at any depth."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new package of each kind, all installed into one folder without a network."""
    place = tmp_path_factory.mktemp("written")
    packages = [new_plugin(f"my-{kind}", kind, place / kind) for kind in _PLUGINS]
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", place / "site", *packages], check=True, capture_output=True)
    return place


def test_a_new_package_of_every_kind_passes_its_own_test_at_once(written: Path) -> None:
    assert set(_PLUGINS) == set(KINDS) - {"command"}
    path = os.pathsep.join([str(written / "site"), os.environ.get("PYTHONPATH", "")])
    tests = [written / kind / "tests" / "test_conformance.py" for kind in _PLUGINS]
    pytest_command = [
        sys.executable,
        "-m",
        "pytest",
        "--import-mode=importlib",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
    ]
    done = subprocess.run(
        [*pytest_command, *tests],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_new_refuses_to_overwrite_and_to_clash(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "precious").write_text("")
    with pytest.raises(OutputError, match="exists already"):
        new_plugin("mine", folder=tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["precious"]
    with pytest.raises(PluginError, match="variant 'denoising' exists already"):
        new_plugin("denoising", folder=tmp_path / "new")
    for name in ("", "Mine", "my_own", "-x", "9x", "a/b", "x" * 51, "é"):
        with pytest.raises(PluginError, match="expected lower-case words joined by hyphens"):
            new_plugin(name, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["field", "true", "variant", "tensor"])
def test_a_name_that_is_a_word_of_python_or_of_the_template_gives_valid_code(tmp_path: Path, name: str) -> None:
    code = (new_plugin(name, "variant", tmp_path / name) / f"aekit_{name}" / "plugin.py").read_text()
    compile(code, name, "exec")
    assert f"class {name.capitalize()}Variant(Variant):" in code


def test_listing_imports_no_plugin_and_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['aekit', 'plugins']\nfrom aekit.cli import main\n"
        "try: main()\nexcept SystemExit as done: assert not done.code, done\n"
        "loaded = {'torch', 'numpy', 'pydantic', 'rich', 'quiet_code'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    path = os.pathsep.join([str(install_quiet(tmp_path)), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "changes nothing" in done.stdout


def test_a_plugin_adds_a_command(tmp_path: Path) -> None:
    code = "import click\n\n@click.command()\ndef hello():\n    'Greet.'\n    click.echo('hello there')\n"
    entry = "Entry('hello', 'hello_command:hello', 'greet', 2)"
    files = {"hello_hooks.py": hooks(entry, kind="commands"), "hello_command.py": code}
    install(tmp_path, "hello", module="hello_hooks", files=files)
    with found(tmp_path, "hello_hooks", "hello_command"):
        import_module("aekit.cli.map")  # whose name is that of a built-in function
        assert re.search(r"hello\s+greet", CliRunner().invoke(group, ["--help"]).output)
        assert "hello_command" not in sys.modules
        assert CliRunner().invoke(group, ["hello"]).output == "hello there\n"
