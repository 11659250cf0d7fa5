"""A real outside distribution is built, installed and used; and what its absence, its faults and its versions do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_distributions import seen

from aekit.encoder.loading import load
from aekit.errors import PluginError, RecipeError
from aekit.registry.discovery import registry
from aekit.workflows.fitting import fit

HERE = Path(__file__).parent / "thirdparty"
NAME, VERSION = "aekit-thirdparty", "1.2.0"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the distribution's wheel is installed, without a network."""
    place = tmp_path_factory.mktemp("thirdparty")
    shutil.copytree(HERE, place / "source", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, place / "source"]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", place / "site", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    return place / "site"


def run(installed: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own that sees the distribution."""
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, cwd=installed.parent
    )


def aekit(installed: Path, *arguments: object) -> str:
    """Standard output of an aekit command that has to succeed."""
    done = run(installed, "-c", "from aekit.cli import main; main()", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_own_tests_pass(installed: Path) -> None:
    done = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", installed.parent / "source")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "failed" not in done.stdout


def test_it_is_listed_like_those_of_aekit(installed: Path) -> None:
    listed = json.loads(aekit(installed, "plugins", "--json"))
    own = {(p["kind"], p["name"]) for p in listed["plugins"] if (p["distribution"], p["version"]) == (NAME, VERSION)}
    assert own == {
        ("variant", "noisy-code"),
        ("pretext", "rotation-lite"),
        ("backbone", "patch-mixer"),
        ("source", "rings"),
        ("evaluator", "centroid"),
    }
    assert listed["problems"] == []
    assert "price = 0.01  (float, >= 0)" in aekit(installed, "plugins", "show", "noisy-code")


@pytest.fixture(scope="module")
def trained(installed: Path) -> Path:
    """A run of its variant on its source, through the command line."""
    out = installed.parent / "run"
    aekit(installed, "fit", "rings:300", "-o", out, "--variant", "noisy-code", "--dim", 4, "--epochs", 3, "-q")
    return out


def test_the_command_line_goes_the_whole_way_with_its_plugins(installed: Path, trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["recipe"]["objective"]["variants"] == ["noisy-code"]
    assert {"kind": "variant", "name": "noisy-code", "distribution": NAME, "version": VERSION} in json.loads(
        (trained / "encoder" / "encoder.json").read_text()
    )["plugins"]
    terms = json.loads((trained / "log.jsonl").read_text().splitlines()[0])
    assert terms["noisy-code/power"] > 0
    out = installed.parent / "embeddings"
    aekit(installed, "embed", trained, "rings:300", "-o", out, "-q")
    judged = aekit(installed, "evaluate", out, "--evaluator", "centroid", "--no-baselines", "--json", "-q")
    assert "centroid" in judged and "accuracy" in judged


def test_python_fits_with_its_pretext_task_and_backbone(installed: Path) -> None:
    with this_process(installed):
        encoder = fit("sklearn:digits", pretexts=["rotation-lite"], backbone="patch-mixer", dim=8, epochs=1)
        assert encoder.dim == 8 and encoder.architecture["backbone"]["name"] == "patch-mixer"
        with pytest.raises(RecipeError, match=r"pretext 'rotation-lite' cannot take vector .* expected square images"):
            fit("rings:60", pretexts=["rotation-lite"], epochs=1)
        with pytest.raises(
            RecipeError, match=r"encoder.backbone = 'patch-mixer': PatchMixer has no decoder; use a pretext"
        ):
            fit("sklearn:digits", backbone="patch-mixer", variants=["plain"], epochs=1)
        with pytest.raises(RecipeError, match=r"objective.noisy-code.price = -1: .*\(aekit-thirdparty 1.2.0\)"):
            fit("rings:60", variants=["noisy-code"], overrides={"objective.noisy-code.price": -1})


@contextmanager
def this_process(folder: Path) -> Iterator[None]:
    """Makes an installation visible here for a while, with its modules imported anew."""
    try:
        with seen(folder):
            yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "aekit_thirdparty"]:
            del sys.modules[name]


@pytest.fixture
def altered(installed: Path, tmp_path: Path) -> Path:
    """A copy of the installation, to spoil."""
    return shutil.copytree(installed, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def change_version(site: Path, version: str) -> None:
    info = site / f"aekit_thirdparty-{VERSION}.dist-info"
    replace(info / "METADATA", f"Version: {VERSION}", f"Version: {version}")
    info.rename(site / f"aekit_thirdparty-{version}.dist-info")


def reason(site: Path | None, encoder: Path) -> str:
    """Why the encoder cannot be loaded, where `site` is what is installed."""
    with this_process(site) if site else seen(encoder), pytest.raises(PluginError) as caught:
        load(encoder)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{encoder}/encoder: ")


def test_a_missing_plugin_is_answered_with_what_to_install(trained: Path) -> None:
    assert reason(None, trained) == (
        "variant 'noisy-code' of aekit-thirdparty 1.2.0 is not installed: pip install 'aekit-thirdparty==1.2.0'"
    )


@pytest.mark.parametrize("named", ["noisy-code", "aekit-thirdparty/noisy-code", "aekit-thirdparty"])
def test_a_disabled_plugin_is_said_to_be_disabled(
    installed: Path, trained: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEKIT_DISABLE_PLUGINS", named)
    said = reason(installed, trained)
    assert "is disabled (--no-plugin, AEKIT_DISABLE_PLUGINS" in said and "pip install" not in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no license')", "importing aekit_thirdparty failed with RuntimeError: no license"),
        ("import sys; sys.exit(3)", "importing aekit_thirdparty failed with SystemExit: 3"),
        ("import not_there", "importing aekit_thirdparty failed with ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_a_broken_package_is_said_to_be_broken(altered: Path, trained: Path, code: str, said: str) -> None:
    (altered / "aekit_thirdparty" / "__init__.py").write_text(code)
    assert reason(altered, trained) == (
        f"variant 'noisy-code' of aekit-thirdparty 1.2.0 cannot be used: aekit-thirdparty 1.2.0: {said}"
    )
    with this_process(altered):  # and everything else works
        assert registry().get("variant", "denoising").distribution == "aekit"


def test_a_module_that_breaks_is_said_to_be_broken(altered: Path, trained: Path) -> None:
    (altered / "aekit_thirdparty" / "noisy_code.py").write_text("import sys; sys.exit('bye')")
    assert reason(altered, trained) == (
        "variant 'noisy-code' of aekit-thirdparty 1.2.0 is broken: "
        "importing aekit_thirdparty.noisy_code:NoisyCode failed with SystemExit: bye"
    )


def test_another_plugin_api_says_which_side_to_upgrade(altered: Path, trained: Path) -> None:
    replace(altered / "aekit_thirdparty" / "__init__.py", "api=2", "api=9")
    assert "was written for plugin API 9, this aekit has 2; upgrade aekit" in reason(altered, trained)


def test_another_version_that_gives_other_numbers_is_refused(altered: Path, trained: Path) -> None:
    change_version(altered, "2.0.0")
    with this_process(altered):  # the version alone is no reason to refuse
        assert load(trained).digest
    replace(altered / "aekit_thirdparty" / "noisy_code.py", "    def draw(", _FORWARD + "    def draw(")
    said = reason(altered, trained)
    assert said.startswith("computes other embeddings than when it was saved")
    assert "noisy-code' is aekit-thirdparty 2.0.0 here, the encoder was made with aekit-thirdparty 1.2.0" in said
    assert said.endswith("pip install 'aekit-thirdparty==1.2.0')")


def test_another_version_of_another_architecture_is_refused(altered: Path, trained: Path) -> None:
    change_version(altered, "2.0.0")
    replace(altered / "aekit_thirdparty" / "noisy_code.py", "super().__init__(features_dim, dim)", _WITHOUT_BIAS)
    said = reason(altered, trained)
    assert said.startswith("weights do not load") and "pip install 'aekit-thirdparty==1.2.0'" in said


_FORWARD = "    def forward(self, features: Tensor) -> Tensor:\n        return 1.5 * super().forward(features)\n\n"
_WITHOUT_BIAS = "super().__init__(features_dim, dim, bias=False)"
