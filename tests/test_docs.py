"""The commands, options, names, files and recipes that the documentation mentions exist."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import aekit
from aekit.cli import COMMANDS, group
from aekit.registry.discovery import registry
from aekit.registry.options import options_model
from aekit.training.recipe import SECTIONS, make_recipe

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS += sorted((ROOT / "recipes").rglob("*.md"))
REFERENCE = r"`(aekit(?:_plugins)?(?:\.\w+)+)(?:\(\))?`"
ids = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def shell_lines(path: Path) -> list[str]:
    """Lines of shell blocks, and inline code, that call aekit."""
    text = path.read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [
        line.split(" #")[0].removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"`(aekit [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("aekit ")]


def options_of(command: click.Command) -> set[str]:
    options = {"-h", "--help"}
    for parameter in command.params:
        options |= {*parameter.opts, *parameter.secondary_opts}
    return options


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_documented_commands_and_options_are_the_real_ones(path: Path) -> None:
    for line in shell_lines(path):
        arguments = line.split()[1:]
        command: click.Command = group
        while arguments and isinstance(command, click.Group) and not arguments[0].startswith("-"):
            if arguments[0].isupper():  # a placeholder
                arguments = []
                break
            subcommand = command.get_command(click.Context(command), arguments[0].strip(","))
            assert subcommand is not None, f"{path.name}: {line}"
            command, arguments = subcommand, arguments[1:]
        known = options_of(command) | options_of(group)
        for word in arguments:
            if re.fullmatch(r"--?[a-z][a-z-]*", word.strip(".,;")):
                assert word.strip(".,;") in known, f"{path.name}: {line}: {word}"


def setting_exists(name: str) -> bool:
    """Return whether a setting, such as ``train.lr`` or ``data.images.size``, exists in a section or as a plugin's option."""
    section, *others = name.replace("data.targets.", "data.").split(".")
    if section in SECTIONS and len(others) == 1:
        return others[0] in SECTIONS[section].model_fields
    plugin, option = others if section in SECTIONS else (section, *others)
    plugins = [p for p in registry().plugins if p.name == plugin and p.kind != "command"]
    return any(option in options_model(p.load()).model_fields for p in plugins)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_documented_settings_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in re.findall(r"""--set ["']?([a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+)=""", text):
        assert "code-noise" in name or setting_exists(name), name  # code-noise is the example of a plugin to write


def test_every_command_is_documented_and_has_help() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in COMMANDS:
        module = name.replace("-", "_")
        command = getattr(import_module(f"aekit.cli.{module}"), module)
        assert f"aekit {name}" in readme, name
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{name} {parameter.name}"


def test_every_extra_is_documented_and_so_is_what_all_of_them_leave_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name not in ("docs", "test")}
    rows = [
        line for line in (ROOT / "docs" / "index.md").read_text("utf-8").splitlines() if line.startswith("| `aekit[")
    ]
    documented = {name: row for row in rows for name in re.findall(r"`aekit\[([a-z0-9]+)\]`", row)}
    assert set(documented) == set(extras)
    included = set(extras["all"][0].removeprefix("aekit[").removesuffix("]").split(","))
    included |= {name for name, wanted in extras.items() if {f"aekit[{one}]" for one in included} >= set(wanted)}
    left_out = set(re.findall(r"`([a-z0-9]+)`", documented["all"].split("all of these but")[1]))
    assert left_out == set(extras) - included - {"all"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    for target, _, section in re.findall(r"\]\(([^)#]*)(#([^)]+))?\)", path.read_text("utf-8")):
        if target.startswith("http"):
            continue
        place = path.parent / target if target else path
        if "reference/" in place.as_posix() and not place.exists():
            continue  # generated with the site, whose strict build checks it
        assert place.exists(), target
        if section:
            headings = re.findall(r"^#+ (.+)$", place.read_text("utf-8"), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]
            assert section in slugs, f"{target}#{section}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_recipes_in_documents_are_valid(path: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", path.read_text("utf-8"), re.S):
        values = tomllib.loads(block)
        if "data" in values:
            make_recipe(values)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda p: p.parent.name)
def test_kept_recipes_are_valid_and_described(path: Path) -> None:
    values = tomllib.loads(path.read_text("utf-8"))
    recipe = make_recipe(values)
    # A study names its objective, because the default objective may change.
    assert "objective" in values or not recipe.trains or path.stem == "default"
    text = (path.parent / "README.md").read_text("utf-8")
    file, folder = path.relative_to(ROOT / "recipes"), path.parent.relative_to(ROOT / "recipes")
    assert f"aekit fit recipes/{file}" in text or f"aekit bench recipes/{folder} " in text, "its command is not there"


def test_public_names_in_python_examples_exist() -> None:
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        for name in re.findall(r"\baekit\.(\w+)\b", block):
            assert hasattr(aekit, name) or name in ("digest", "plugin", "testing", "errors"), name


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute, field or option in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        if find_spec_or_none(".".join(parts[:count])) is None:
            continue
        place = import_module(".".join(parts[:count]))
        for part in parts[count:]:
            if part in getattr(place, "__annotations__", {}):  # a field without a default
                return True
            if not hasattr(place, part):
                return False
            place = getattr(place, part)
        return True
    return False


def find_spec_or_none(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except ModuleNotFoundError:  # what is before the last dot is not a package
        return None


def test_names_that_docstrings_and_documents_refer_to_exist() -> None:
    files = [*DOCUMENTS, *(ROOT / "aekit").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    named = [(path.name, name) for path in files for name in re.findall(REFERENCE, path.read_text("utf-8"))]
    assert len(named) > 100
    assert not [(file, name) for file, name in named if not exists(name)]
    assert not exists("aekit.Backbone.encode_visible") and not exists("aekit.no_module.name")


def literals() -> str:
    """Return the texts in the code, a line each, with gaps where values are formatted."""
    texts = []
    for path in (*(ROOT / "aekit").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("...".join(v.value for v in node.values if isinstance(v, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_the_page_of_error_messages_quotes_real_ones() -> None:
    composed = {"holds a finished run", "loss is nan", "a weight is inf"}  # of parts that differ from case to case
    rows = re.findall(r"^\| (`.*?`) \| ", (ROOT / "docs" / "faq.md").read_text("utf-8"), re.M)
    messages = [message for row in rows for message in re.findall("`([^`]+)`", row)]
    texts = literals()
    assert len(messages) > 30
    for message in messages:
        for part in re.split(r"\.\.\.|[';:]|\b[NAB]\b|\d+", message):
            assert len(part.strip()) < 4 or part.strip() in composed or part.strip() in texts, (message, part)


def test_built_in_plugins_are_in_the_changelog() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for plugin in registry().plugins:
        if plugin.distribution == "aekit":
            assert plugin.name in changes or plugin.kind in ("source", "index"), plugin.qualified


def test_no_path_of_a_single_machine_is_in_the_repository() -> None:
    for path in [*DOCUMENTS, *ROOT.glob("aekit/**/*.py"), *ROOT.glob("plugins/**/*.py"), *ROOT.glob("benchmarks/*.py")]:
        assert not re.search(r"/work/|/tmp/|/root/", path.read_text("utf-8")), path
