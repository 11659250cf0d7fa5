"""Test the whole workflow on the command line, as a new user runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from commands import Command
from PIL import Image

import aekit
from aekit.cli import COMMANDS, group

FAST = ("--set", "train.precision=fp32", "--set", "encoder.conv.channels=[8,16]")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write photographs of two classes, disks and bars, in folders, all of different sizes."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for number in range(60):
        high, wide = rng.integers(40, 90, 2)
        y, x = np.mgrid[:high, :wide] / min(high, wide)
        center = rng.uniform(0.4, 0.6, 2)
        if number % 2:
            inside = (y - center[0]) ** 2 + (x - center[1]) ** 2 < 0.06
        else:
            inside = np.abs(y - center[0]) < 0.1
        color, ground = rng.integers(150, 256, 3), rng.integers(0, 90, 3)
        image = np.where(inside[..., None], color, ground).astype(np.uint8)
        path = folder / ("disk" if number % 2 else "bar") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def test_the_whole_workflow(command: Command, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("fit", shapes, "-o", "run", "--variant", "denoising", "--dim", 8, "--epochs", 40, *FAST)
    assert outcome.code == 0, outcome.err
    for said in (
        "data: 60 samples, image 3x64x64 uint8",
        "scaling: 0..255 is scaled to 0..1",
        "backbone: conv, made for image samples",
        "loss: binary cross-entropy, as values lie in [0, 1]",
        "training on cpu in fp32",
    ):
        assert said in outcome.err, said
    assert re.search(r"fit: \d+ of \d+ samples, \d+/s, .*loss", outcome.err)
    assert f"next: aekit embed run {shapes} -o run-embeddings" in outcome.out
    assert "of the variance of the samples is explained by the reconstruction" in outcome.out
    digest = aekit.load("run").digest
    held = {path.name for path in Path("run").iterdir()}
    assert held == {"recipe.toml", "log.jsonl", "encoder", "decoder", "results.json", "report.html"}
    report = Path("run/report.html").read_text()
    assert "<h2>Reconstruction" in report and "://" not in report

    assert "60 embeddings of 8 dimensions" in command.ok("embed", "run", shapes, "-o", "emb", "-q")
    assert "60 vectors of 8 dimensions in idx: Flat" in command.ok("index", "emb", "-o", "idx", "-q")

    query = tmp_path / "new.png"
    Image.open(shapes / "disk" / "01.png").resize((70, 70)).save(query)
    hits = json.loads(command.ok("search", "idx", query, "-k", 5, "--json", "-q", "--html", "grid.html"))
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0]["id"] == "disk/01.png" and hits[0]["score"] > 0.95
    page = Path("grid.html").read_text()
    assert page.count('<canvas class="thumb"') == 6 and '"uri":"data:image/' in page and "://" not in page
    table = command.ok("search", "idx", "id:bar/00.png", "id:disk/01.png", "-k", 3, "-q")
    assert table.count("\n") == 8 and "bar/00.png  " not in table.split("\n", 1)[1].split("id:")[0]

    evaluation = json.loads(command.ok("evaluate", "emb", "--json", "-q"))
    assert evaluation["digest"] == digest
    assert [name.split("-")[0].split()[0] for name in evaluation["results"]] == [
        "encoder",
        "raw",
        "pca",
        "random",
        "patch",
    ]
    assert evaluation["results"]["encoder"]["probe"]["metrics"]["accuracy"]["value"] > 0.7
    assert json.loads(Path("emb/results.json").read_text()) == evaluation

    assert digest[:12] in command.ok("export", "run", "-o", "model.onnx", "-q")
    assert digest[:12] in command.ok("export", "run", "-o", "model.pt2", "-q")
    assert json.loads(Path("emb/manifest.json").read_text())["digest"] == digest
    assert json.loads(Path("idx/manifest.json").read_text())["digest"] == digest
    assert json.loads(Path("run/results.json").read_text())["digest"] == digest


def test_the_whole_workflow_in_python(shapes: Path) -> None:
    encoder = aekit.fit(shapes, variants=["denoising"], dim=8, epochs=2, overrides={"encoder.conv.channels": [8]})
    z = encoder.embed(shapes)
    index = aekit.build_index(z)
    names, scores, rows = index.search_data(shapes / "bar" / "00.png", 3)
    assert names == ["00.png"] and rows.shape == scores.shape == (1, 3)
    assert index.ids[rows[0, 0]] == "bar/00.png"
    labels = ["even" if number % 2 == 0 else "odd" for number in range(60)]
    evaluation = aekit.evaluate(np.asarray(z), labels, evaluators=["probe"])
    assert 0 <= evaluation.results["encoder"]["probe"].metrics["accuracy"].value <= 1
    assert list(aekit.evaluate(z, evaluators=["knn"]).results) == [
        "encoder",
        "raw 32x32",
        "pca-8",
        "random",
        "patch-dictionary",
    ]


def test_a_recipe_with_its_evaluation(command: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[data]\nsource = "sklearn:digits"\n[encoder]\ndim = 16\n[objective]\nvariants = ["denoising"]\n'
        '[train]\nepochs = 3\n[evaluate]\nevaluators = ["knn"]\n'
    )
    out = tmp_path / "run"
    outcome = command("fit", recipe, "-o", out, "--seed", 3, "--set", "train.lr=1e-3")
    assert outcome.code == 0 and "knn accuracy" in outcome.out
    results = json.loads((out / "results.json").read_text())
    assert results["recipe"]["train"]["seed"] == 3 and results["recipe"]["train"]["lr"] == 1e-3
    assert set(results["evaluation"]["results"]) == {"encoder", "raw", "pca-16", "random", "patch-dictionary"}
    assert "Compared with baselines" in (out / "report.html").read_text()
    again = tmp_path / "again"
    assert "knn accuracy" in command.ok("fit", out / "recipe.toml", "-o", again, "-q")
    assert aekit.load(again).digest == aekit.load(out).digest, "a resolved recipe makes the same encoder again"


def test_help_and_listings_do_not_import_torch() -> None:
    code = (
        "import sys\nfrom aekit.cli import COMMANDS, group\n"
        "calls = [['--version'], ['--help'], ['plugins'], ['plugins', '--json'], *([name, '--help'] for name in COMMANDS)]\n"
        "calls += [['plugins', name, '--help'] for name in ('show', 'test', 'new')]\n"
        "for call in calls:\n"
        "    group.main(call, standalone_mode=False)\n"
        "    heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'faiss', 'pydantic', 'rich', 'PIL'} & set(sys.modules)\n"
        "    assert not heavy, (call, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == 1 + len(COMMANDS) + 3


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "aekit", "--version"], capture_output=True, text=True)
    assert done.stdout == f"aekit, version {aekit.__version__}\n", done.stderr


def test_a_command_ends_after_its_threads_and_exit_handlers(tmp_path: Path) -> None:
    """The process is not taken apart, but for what Python promises to do before that."""
    code = (
        "import atexit, pathlib, sys, threading, time, weakref\n"
        "from aekit.__main__ import main\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "class Finalized: pass\n"
        "finalized = Finalized()\n"
        "weakref.finalize(finalized, (folder / 'finalized').touch)\n"
        "atexit.register((folder / 'handled').touch)\n"
        "threading.Thread(target=lambda: (time.sleep(0.5), (folder / 'joined').touch())).start()\n"
        "sys.stdout.write('buffered ')\n"
        "sys.argv = ['aekit', *sys.argv[1:]]\n"
        "main()\n"
    )
    for arguments, status in ((["--version"], 0), (["fit", "nowhere"], 2)):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.returncode == status and done.stdout.startswith("buffered "), done
        assert sorted(path.name for path in tmp_path.iterdir()) == ["finalized", "handled", "joined"]
        for path in tmp_path.iterdir():
            path.unlink()


def test_importing_the_api_leaves_garbage_collection_as_it_was() -> None:
    code = "import gc, aekit; aekit.Embeddings; assert gc.isenabled() and not gc.get_freeze_count()"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import gc; gc.disable(); import aekit; aekit.Embeddings; assert not gc.isenabled()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shell_completion() -> None:
    environment = {**os.environ, "_AEKIT_COMPLETE": "bash_source"}
    command = [sys.executable, "-c", "from aekit.cli import main; main()"]
    script = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "_aekit_completion" in script.stdout and script.returncode == 0, script.stderr
    for words, expected in {"aekit ev": "evaluate", "aekit evaluate --tar": "--target-type"}.items():
        typed = {"_AEKIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **typed})
        assert f"plain,{expected}" in done.stdout.splitlines(), done


def test_the_help_of_apply_names_all_tasks(command: Command) -> None:
    from aekit.workflows.applying.tasks import TASKS

    assert ", ".join(TASKS) in " ".join(command.ok("apply", "--help").split())


def test_quiet_prints_results_only(command: Command, tmp_path: Path) -> None:
    outcome = command("fit", "sklearn:iris", "-o", tmp_path / "run", "--dim", 2, "--epochs", 1, "--quiet")
    assert outcome.code == 0 and outcome.err == "" and "encoder " in outcome.out


def test_the_description_of_data(command: Command, shapes: Path) -> None:
    found = json.loads(command.ok("data", shapes, "--json", "-q"))
    assert (found["samples"], found["usable"], found["labels"]) == (60, 60, {"bar": 30, "disk": 30})
    assert "60 samples, 60 usable: image 3x64x64 uint8" in command.ok("data", shapes, "-q")
    assert "image 3x20x30" in command.ok("data", shapes, "-q", "--set", "data.images.size=[20,30]")


def test_demo(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = command.ok("demo")
    assert "next, on your own data" in out and "probe accuracy" in out
    assert Path("aekit-demo/neighbors.html").read_text().count('<canvas class="thumb"') == 6 * 11
    assert "exists already; choose another place" in command("demo", "-q").error
    assert json.loads(command.ok("search", "aekit-demo/index", "id:7", "--json", "-q"))


def test_different_seeds_give_different_encoders_and_equal_seeds_equal_ones(command: Command, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        command.ok("fit", "sklearn:wine", "-o", tmp_path / name, "--dim", 3, "--epochs", 2, "--seed", seed, "-q")
    a, b, c = (aekit.load(tmp_path / name).digest for name in "abc")
    assert a == b != c


def test_numeric_labels_are_described_by_their_range(command: Command, tmp_path: Path) -> None:
    prices = np.random.default_rng(0).integers(300, 20_000, 500)
    np.savez(tmp_path / "prices.npz", x=np.random.default_rng(1).random((500, 4)), y=prices)
    said = command.ok("data", tmp_path / "prices.npz")
    assert f"labels: numeric 500, lowest {prices.min()}, highest {prices.max()}\n" in said
    found = json.loads(command.ok("data", tmp_path / "prices.npz", "--json", "-q"))["labels"]
    assert found == {"numeric": 500, "lowest": prices.min(), "highest": prices.max()}


@pytest.mark.slow
def test_fashion_mnist_by_name(data_dir: Path, command: Command, tmp_path: Path) -> None:
    sixteenth = ("--set", "train.batch_size=512", "--epochs", 1, "--set", "encoder.conv.channels=[4,8]")
    outcome = command("fit", "torchvision:FashionMNIST", "-o", tmp_path / "run", "--dim", 4, *sixteenth)
    assert outcome.code == 0 and "60000 samples of the train split, image 1x28x28 uint8" in outcome.err
    assert "70000 embeddings" in command.ok(
        "embed", tmp_path / "run", "torchvision:FashionMNIST", "-o", tmp_path / "e", "-q"
    )
    opened = aekit.Embeddings.open(tmp_path / "e")
    assert opened.ids[0] == "train-0" and (opened.splits == "test").sum() == 10_000


def test_photographs_of_all_sizes(data_dir: Path, command: Command, tmp_path: Path) -> None:
    photos = data_dir / "caltech10"
    settings = ("--set", "data.images.size=32", "--epochs", 1, *FAST)
    outcome = command("fit", photos / "index.csv", "-o", tmp_path / "run", "--dim", 8, *settings)
    assert outcome.code == 0 and "600 samples of the train split, image 3x32x32 uint8" in outcome.err
    command.ok("embed", tmp_path / "run", photos / "index.csv", "--split", "train", "-o", tmp_path / "e", "-q")
    command.ok("index", tmp_path / "e", "-o", tmp_path / "i", "-q")
    test = next(
        line.split(",")[0] for line in (photos / "index.csv").read_text().splitlines() if line.endswith(",test")
    )
    hits = json.loads(
        command.ok("search", tmp_path / "i", photos / test, "--json", "-q", "--html", tmp_path / "g.html")
    )
    assert len(hits) == 10 and test not in {hit["id"] for hit in hits}
    assert (tmp_path / "g.html").read_text().count('<canvas class="thumb"') == 11


def test_a_note_says_that_the_encoder_was_trained_on_the_test_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 2)
    np.savez(tmp_path / "b.npz", X=np.random.default_rng(1).normal(size=(60, 4)), y=np.arange(60) % 2)
    encoder = aekit.fit(tmp_path / "a.npz", dim=2, epochs=1)
    seen, unseen = (aekit.evaluate(encoder.embed(tmp_path / name), evaluators=["knn"]) for name in ("a.npz", "b.npz"))
    assert any("on the same samples that it is evaluated on" in note for note in seen.notes)
    assert not any("very samples" in note for note in unseen.notes)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_of_a_command_parse(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    command = group.get_command(click.Context(group), name)
    assert command is not None
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    assert examples
    for example in examples:
        program, called, *arguments = shlex.split(example)
        assert (program, called) == ("aekit", name) and len(example) <= 76
        context = command.make_context(name, arguments)
        if isinstance(command, click.Group):
            _, subcommand, rest = command.resolve_command(context, arguments)
            assert subcommand is not None
            subcommand.make_context(arguments[0], rest, parent=context)


def test_plugins_are_listed_with_and_without_the_command(command: Command) -> None:
    listed = json.loads(command.ok("plugins", "list", "--kind", "index", "--json"))
    assert listed == json.loads(command.ok("plugins", "--kind", "index", "--json"))
    assert {plugin["kind"] for plugin in listed["plugins"]} == {"index"}
    assert "belong after the command" in command("plugins", "--json", "show", "denoising").error
