"""The container files name commands, options and files that exist. They are not built here: there is no Docker."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from aekit.cli import group
from aekit.serving.server import TOKEN

yaml = pytest.importorskip("yaml", reason="comes with the documentation's packages")

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))


def check_command(arguments: list[str]) -> None:
    """Check that aekit has a command and that it takes these options."""
    command = group.get_command(click.Context(group), arguments[0])
    assert command is not None
    command.make_context(arguments[0], arguments[1:])


def test_commands_have_the_options_that_they_are_given() -> None:
    services = compose()["services"]
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M)
    for arguments in (services["index"]["command"], services["serve"]["command"], yaml.safe_load(command)):
        check_command([str(argument) for argument in arguments])
    with pytest.raises(click.UsageError):
        check_command(["serve", "/data/index", "--wokers", "2"])


def test_what_is_copied_and_installed_exists() -> None:
    copied = [name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in shlex.split(line)[:-1]]
    assert "pyproject.toml" in copied and all((ROOT / name).exists() for name in copied)
    (extras,) = re.findall(r'"\.\[(.*)\]"', DOCKERFILE)
    known = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(re.search(rf"^{extra} = \[", known, re.M) for extra in extras.split(","))
    (user,) = re.findall(r"^USER (.*)$", DOCKERFILE, re.M)
    assert int(user) > 0


def test_services_fit_together() -> None:
    described = compose()
    services, example = described["services"], (ROOT / "deploy" / ".env.example").read_text("utf-8")
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service["volumes"]:
            place = volume.rpartition("}")[2].split(":")[0] if volume.startswith("$") else volume.split(":")[0]
            assert place in ("", *described["volumes"]) or (ROOT / "deploy" / place).exists(), volume
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "deploy" / "compose.yaml").read_text("utf-8")))
    assert needed == set(re.findall(r"^(\w+)=$", example, re.M)) == {TOKEN, "POSTGRES_PASSWORD"}
    assert TOKEN in services["serve"]["environment"]
    # From the host alone, and without a password in the file.
    assert all(port.startswith("127.0.0.1:") for port in services["serve"]["ports"])
    assert "ports" not in services["database"]
