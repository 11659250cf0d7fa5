"""The commands in the documentation run, with one epoch and one evaluator."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "_commands.py"))
QUICKLY = {"fit": ["--epochs", "1"], "finetune": ["--epochs", "1"], "evaluate": ["--evaluator", "knn"]}
PAGES: list[Path] = COMMANDS["pages"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    for block in COMMANDS["run_page"](text, tmp_path, QUICKLY):
        for finished in block:
            if finished.failed and "is not installed: pip install" in finished.output:
                pytest.skip(finished.output.strip())
            assert not finished.failed, f"{finished.command}\n{finished.output}"


def test_every_run_block_is_followed_by_its_output() -> None:
    for page in PAGES:
        for block in COMMANDS["BLOCK"].finditer(page.read_text("utf-8")):
            assert (block["output"] or "").strip(), (
                f"{page.name}: run python docs/_commands.py --write\n{block['commands']}"
            )


def test_blocks_are_split_into_commands() -> None:
    block = "cat > a.csv <<'END'\nx # no comment\nEND\naekit fit a.csv \\\n  -o run  # a comment\n\naekit data a.csv#b || true\n"
    assert list(COMMANDS["split_commands"](block)) == [
        "cat > a.csv <<'END'\nx # no comment\nEND",
        "aekit fit a.csv -o run",
        "aekit data a.csv#b || true",
    ]


def test_progress_is_left_out_of_outputs(tmp_path: Path) -> None:
    finished = COMMANDS["run"]("aekit embed missing sklearn:digits -o z || true", tmp_path)
    assert finished.output.startswith("error: ")
    assert COMMANDS["PROGRESS"].match("embed: 1797 of 1797 samples, 41645/s, 0.0 s")
    assert COMMANDS["PROGRESS"].match("evaluate pca-32: 4 of 4 evaluators, 3/s, 0.9 s, retrieval")
    assert not COMMANDS["PROGRESS"].match("split: stratified 60/20/20% drawn with seed 0 (1,079 train, 359 test)")
    assert not COMMANDS["PROGRESS"].match("labels: 40 training, 10 validation, 359 test")


def test_a_failing_command_is_noticed(tmp_path: Path) -> None:
    failing = COMMANDS["run"]("aekit data nowhere.csv", tmp_path)
    assert failing.failed and failing.output.startswith("error: ")
    assert not COMMANDS["run"]("aekit data nowhere.csv || true", tmp_path).failed
