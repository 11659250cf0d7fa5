"""The conformance kit finds the fault of every broken plugin, and none in those that come with aekit."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from broken_hooks import BROKEN, name_of
from click.testing import CliRunner
from fake_distributions import hooks, install, seen

from aekit.cli.plugins import plugins as command
from aekit.errors import PluginError, RecipeError
from aekit.registry.discovery import KINDS, registry
from aekit.testing import CHECKS, MAKERS, check, checks_for, conformance
from aekit.testing.kit import ConformanceRun, global_state
from aekit.testing.samples import SPECS, low_rank

HEAVY = "import torch\n" + hooks("Entry('heavy', 'broken_plugins:Healthy', 'its hook module imports torch', 2)")
COMMANDS = hooks(
    "Entry('mute', 'mute_command:run', 'a command without help', 2)",
    "Entry('no-command', 'mute_command:no_command', 'not a command', 2)",
    kind="commands",
)
MUTE = "import click\n\n@click.command()\ndef run(): pass\n\ndef no_command(): pass\n"
SMALL = {"timm": {"model": "test_resnet", "size": 32}, "resnet": {"width": 8}}
"""Options of plugins whose defaults are too large for a test."""
BUILTIN = [(plugin.kind, plugin.name) for plugin in registry().plugins if plugin.distribution == "aekit"]


@pytest.fixture(scope="module", autouse=True)
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The broken plugins, installed for the tests of this file."""
    folder = tmp_path_factory.mktemp("broken")
    install(folder, "broken", module="broken_hooks")
    install(folder, "heavy", module="heavy_hooks", files={"heavy_hooks.py": HEAVY})
    install(folder, "mute", module="mute_hooks", files={"mute_hooks.py": COMMANDS, "mute_command.py": MUTE})
    with seen(folder):
        yield


def fault(kind: str, name: str, check_name: str) -> str:
    """What one check finds in one plugin."""
    (one,) = [one for one in checks_for(kind) if one.name == check_name]
    return ConformanceRun(kind, name, {}, [one], MAKERS).run(one).failure


@pytest.mark.parametrize(("kind", "name"), BUILTIN)
def test_builtin_plugins_pass(kind: str, name: str, request: pytest.FixtureRequest) -> None:
    if name in ("pgvector", "milvus", "lancedb"):
        request.getfixturevalue({"pgvector": "postgres"}.get(name, name))
    report = check(kind, f"aekit/{name}", SMALL.get(name, {}))
    assert report.ok, str(report)
    assert report.counts["passed"] > report.counts["skipped"]


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt-and-pepper"])
def test_other_options_are_tested_too(noise: str) -> None:
    report = check("variant", "denoising", {"noise": noise})
    assert report.ok, report


@pytest.mark.parametrize(("kind", "check_name", "attribute"), BROKEN)
def test_the_fault_is_found(kind: str, check_name: str, attribute: str) -> None:
    name = name_of(check_name, attribute)
    found = fault(kind, name, check_name)
    assert found and "\n" not in found, f"{check_name} lets {name} pass"
    assert "did not run" not in found


@pytest.mark.parametrize(
    ("kind", "name", "check_name", "expected"),
    [
        ("variant", "heavy", "entry-light", "imports torch"),
        ("command", "mute", "contract", "no help text"),
        ("command", "no-command", "contract", "expected a click command"),
    ],
)
def test_faults_of_entries_are_found(kind: str, name: str, check_name: str, expected: str) -> None:
    assert expected in fault(kind, name, check_name)


def test_every_check_has_a_broken_plugin() -> None:
    caught = {(kind, name) for kind, name, _ in BROKEN} | {("variant", "entry-light")}
    assert {one.name for one in CHECKS} == {name for _, name in caught}
    for kind, name in caught:
        assert name in [one.name for one in checks_for(kind)], f"{name} does not apply to {kind}"


def test_every_check_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "plugin.md").read_text("utf-8")
    for one in CHECKS:
        assert f"| `{one.name}` | {one.description} |" in text, (
            f"docs/how-to/plugin.md lacks {one.name}, or says something else"
        )


def test_every_kind_has_checks_that_must_run() -> None:
    for kind in KINDS:
        assert [one for one in checks_for(kind) if not one.optional], kind
    assert all(one.description and "\n" not in (one.function.__doc__ or "") for one in CHECKS)
    assert len({one.name for one in CHECKS}) == len(CHECKS)


def test_a_mandatory_check_that_cannot_run_fails_the_plugin() -> None:
    report = check("source", "no-example")
    assert not report.ok and report.counts["failed"] == 0 and report.counts["not run"] == 1
    assert str(report).count("define example(folder: Path)") == 1 and "NOT RUN  opens" in str(report)
    assert "broken_plugins.py, line " in str(report)
    tagless = check("backbone", "tagless")
    assert not tagless.ok and "tags name no kind of sample" in str(tagless)


def test_one_fault_is_one_line_with_the_file_and_the_line_of_the_plugin() -> None:
    report = check("source", "raises-key-error")
    assert len([outcome for outcome in report.outcomes if outcome.failure]) <= 2, str(report)
    report = check("variant", "crops-the-sample")
    reasons = [outcome.reason for outcome in report.outcomes if outcome.failure]
    assert len(reasons) == len(set(reasons)), str(report)
    assert "broken_plugins.py, line " in str(report)


def test_an_optional_check_that_does_not_apply_says_why() -> None:
    report = check("backbone", "no-decoder")
    skipped = {o.check.name: o.reason for o in report.outcomes if o.status == "skipped"}
    assert report.ok, report
    assert skipped == {"decoder": "no decoder: it has none", "mirror": "no mirror: it has none"}


def test_a_task_that_hides_and_keeps_it_hidden_passes() -> None:
    assert fault("pretext", "masking", "hidden-values-do-not-leak") == ""


def test_an_engine_is_tuned_again_when_vectors_are_added() -> None:
    assert fault("index", "finds-little-until-tuned", "adds") == ""


def test_the_kit_leaves_global_randomness_as_it_was() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = global_state()
    check("variant", "global-randomness")
    assert global_state() == before


def test_conformance_is_a_pytest_test_for_each_check() -> None:
    test = conformance("variant", "plain")
    (mark,) = test.pytestmark  # type: ignore[attr-defined]
    assert mark.args[1] == checks_for("variant")
    with pytest.raises(AssertionError, match=r"variant undescribed, options-described .* has no description"):
        conformance("variant", "undescribed")(
            check=next(c for c in checks_for("variant") if c.name == "options-described")
        )
    with pytest.raises(pytest.skip.Exception, match="it is not part of the encoder"):
        test(check=next(c for c in checks_for("variant") if c.name == "export"))


def test_unknown_plugins_are_named() -> None:
    with pytest.raises(PluginError, match="no variant 'denoisng'; did you mean 'denoising'"):
        check("variant", "denoisng")


def test_samples_are_alike_at_every_run_and_have_three_factors() -> None:
    for spec in SPECS.values():
        rows = low_rank(spec)
        assert rows.shape == (256, *spec.shape) and rows.dtype == spec.dtype
        assert np.array_equal(rows, low_rank(spec))
    flat = low_rank(SPECS["vector"]).astype(np.float64)
    assert np.linalg.matrix_rank(flat - flat.mean(0), tol=1e-2) == 3


def test_the_command_prints_a_line_a_check_and_the_counts() -> None:
    done = CliRunner().invoke(command, ["test", "plain"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[-1] == "variant aekit/plain 0.1.0: 22 passed, 0 failed, 1 skipped, 0 not run"
    assert sum(line.startswith(("passed", "skipped")) for line in lines) == 23


def test_the_command_takes_the_kind_in_front_of_the_name_or_as_an_option() -> None:
    for arguments in (["variant", "plain"], ["plain", "--kind", "variant"], ["variant", "plain", "--kind", "variant"]):
        done = CliRunner().invoke(command, ["show", *arguments])
        assert done.exit_code == 0 and done.output.startswith("variant plain: "), done.output
    for arguments in (["variant", "plain", "--kind", "index"], ["variant", "index", "plain"]):
        done = CliRunner().invoke(command, ["test", *arguments])
        assert done.exit_code == 2 and "expected KIND NAME, or NAME, for one kind" in done.output
    wrong = CliRunner().invoke(command, ["test", "varient", "plain"]).exception
    assert isinstance(wrong, PluginError) and "no kind 'varient'; did you mean 'variant'?" in str(wrong)


def test_the_command_fails_with_the_plugin() -> None:
    done = CliRunner().invoke(command, ["test", "no-example", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert found["ok"] is False and found["counts"]["not run"] == 1
    assert {"check", "status", "reason", "description", "optional"} == set(found["checks"][0])


def test_the_command_tests_with_options() -> None:
    done = CliRunner().invoke(command, ["test", "denoising", "--set", "noise=salt-and-pepper", "--json"])
    assert done.exit_code == 0 and json.loads(done.output)["ok"]
    wrong = CliRunner().invoke(command, ["test", "denoising", "--set", "noise=pepper"])
    assert isinstance(wrong.exception, RecipeError)
    assert "denoising.noise = 'pepper': expected 'auto', 'gaussian', 'masking'" in str(wrong.exception)


def test_the_folder_is_cleaned_up() -> None:
    bench = ConformanceRun("variant", "plain", {}, CHECKS, MAKERS)
    folder: Path = bench.folder
    assert folder.is_dir()
    del bench
    assert not folder.exists()
