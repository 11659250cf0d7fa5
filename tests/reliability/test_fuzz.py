"""Readers open valid files, and refuse mutated ones in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.fuzz import Outcomes, Turns, mutate, next_turn, try_one
from reliability.fuzz_formats import CORPUS, FORMATS, Format, prepare

from aekit.errors import DataError

SCRIPT = Path(__file__).with_name("fuzz.py")


def fuzz_all(inputs: int, folder: Path) -> str:
    """Fuzz in a process of its own, as it forks before torch starts threads."""
    arguments = [sys.executable, str(SCRIPT), "all", "--inputs", str(inputs), "--plain", "--no-record"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*arguments, "--keep", str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_that_are_mutated_are_valid(name: str, tmp_path: Path) -> None:
    path = prepare(FORMATS[name], tmp_path / "fuzzed")
    for content in FORMATS[name].seeds():
        path.write_bytes(content)
        FORMATS[name].use(path)


@pytest.mark.reliability
def test_mutated_files_and_past_findings_are_opened_or_refused_in_one_line(tmp_path: Path) -> None:
    assert len(list(CORPUS.rglob("*"))) > 10
    lines = fuzz_all(24, tmp_path).splitlines()
    assert {line.split()[0] for line in lines[:-1]} == set(FORMATS) and lines[-1].endswith(" 0 wrong")


@pytest.mark.slow
@pytest.mark.reliability
def test_many_mutated_files(tmp_path: Path) -> None:
    fuzz_all(2000, tmp_path)


def broken(path: Path) -> None:
    content = path.read_bytes()
    if content == b"key":
        raise KeyError("name")
    if content == b"lines":
        raise ValueError("a\nb")
    if content == b"no":
        raise DataError("no")


def test_what_is_wrong_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "broken", Format("broken", "x", lambda: [b"key"], broken))
    outcomes = Outcomes()
    for content in (b"key", b"key", b"no", b"yes", b"lines"):
        try_one("broken", tmp_path / "x", content, outcomes)
    assert (outcomes.opened, outcomes.refused, outcomes.failed) == (1, 1, 3)
    (kind, (count, example, _)), (other, _) = outcomes.wrong.items()
    assert kind.startswith("KeyError at test_fuzz.py:") and (count, example) == (2, b"key")
    assert other.startswith("ValueError at test_fuzz.py:")
    assert Outcomes.from_json(outcomes.to_json()) == outcomes


CRASH = """
import os, sys, time
from pathlib import Path
from reliability import fuzz, fuzz_formats
def use(path):
    content = path.read_bytes()
    if content[:1] == b"c":
        os.abort()
    while content[:1] == b"h":
        time.sleep(0.1)
fuzz.SECONDS, fuzz.PATIENCE = 1, 1
fuzz_formats.CORPUS = Path(sys.argv[1])
fuzz_formats.FORMATS["broken"] = fuzz_formats.Format("broken", "x", lambda: [b"good"], use)
past = fuzz.past_findings("broken")
print(sorted(fuzz.fuzz("broken", 1, 60, Path(sys.argv[1]), past=past).wrong))
"""


def test_a_crash_and_a_hang_are_counted_and_the_next_files_tried(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    for name in ("crash", "hang", "other"):
        (tmp_path / "broken" / name).write_text(name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "['crash (-6)', 'hang']"


def test_mutations_are_the_same_each_time() -> None:
    import random

    first, again = (mutate(b"a,b\n1,2\n" * 5, random.Random(7), True) for _ in range(2))
    assert first == again != b"a,b\n1,2\n" * 5


def test_the_format_with_the_fewest_files_has_the_turn_of_its_reader() -> None:
    kept = {
        (name, "mutated"): Turns(outcomes=Outcomes(opened))
        for name, opened in {"xlsx": 30, "zarr": 5, "xlsx-styles": 20}.items()
    }
    waiting = ["workbooks", "Zarr"]
    assert next_turn(kept, 60, waiting, set()) == (("xlsx-styles", "mutated"), 5)
    assert next_turn(kept, 60, waiting, {("zarr", "mutated")}) == (("xlsx-styles", "mutated"), 5)
    assert next_turn(kept, 60, ["Zarr", "workbooks"], set()) == (("zarr", "mutated"), 55)
    assert next_turn(kept, 5, waiting, set()) is None
    kept["xlsx", "mutated"].past = [b"once wrong"]
    assert next_turn(kept, 5, waiting, set()) == (("xlsx", "mutated"), 0)


def test_figures_add_up_over_the_history_of_the_code() -> None:
    turns = Turns(
        next=10, outcomes=Outcomes(7, 1, {"hang": (2, b"slow", "")}), code="old", by_code=4, now="new", past=[b"slow"]
    )
    turns.add(Outcomes(3, 1))
    assert (turns.tried, turns.by_code, turns.earlier, turns.outcomes.failed, turns.next) == (14, 4, 2, 0, 13)
    turns.add(Outcomes(0, 0, {"hang": (1, b"slow", "")}))
    assert (turns.tried, turns.by_code, turns.outcomes.failed) == (15, 5, 1)
