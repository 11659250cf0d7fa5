"""Variables of torchrun that are missing or damaged, and processes that were not started alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from aekit.cli._main import BAD_INPUT, main
from aekit.data.shared_samples import load_shared_samples
from aekit.data.source import ArraySource
from aekit.errors import RecipeError
from aekit.io.processes import Ranks, check_alike
from aekit.io.torchrun import check_torchrun, is_silent, started_by_torchrun
from aekit.testing.ranks import run_ranks
from aekit.training.recipe import make_recipe
from aekit.training.run_recipe import shared_settings

WHOLE = {
    "TORCHELASTIC_RUN_ID": "1",
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in WHOLE:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_variables_of_torchrun_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, WHOLE)
    check_torchrun()
    assert started_by_torchrun() and is_silent()


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORLD_SIZE", "x"), ("WORLD_SIZE", "-2"), ("WORLD_SIZE", "0"), ("RANK", "2"), ("RANK", "²"), ("RANK", None)]
    + [("LOCAL_RANK", "a"), ("MASTER_PORT", "99999"), ("MASTER_PORT", None), ("MASTER_ADDR", None)],
)
def test_a_variable_that_torchrun_would_not_set_is_one_line(
    name: str, value: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = WHOLE | ({} if value is None else {name: value})
    set_variables(monkeypatch, {each: text for each, text in changed.items() if each != name or value is not None})
    monkeypatch.setattr("sys.argv", ["aekit", "plugins", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == BAD_INPUT
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: variable {name} is {'missing' if value is None else repr(value)}: expected")


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "x"}, {"TORCHELASTIC_RUN_ID": "1"}, WHOLE | {"WORLD_SIZE": "1"}])
def test_other_starters_and_a_single_process_are_left_alone(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, variables)
    check_torchrun()
    assert not started_by_torchrun() and not is_silent()


def test_facts_that_are_alike_pass_whatever_they_are() -> None:
    facts = {"a": math.nan, "b": (1, 2), "c": {"d": None}, "e": math.inf}
    run_ranks(lambda ranks: check_alike(ranks, dict(reversed(facts.items())) if ranks.rank else facts))
    check_alike(None, facts)


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"lr": 0.2, "dim": 2}, "lr: 0.1 in process 0, 0.2 in process 2; start all processes"),
        ({"lr": 0.1}, "dim: 2 in process 0, None in process 2; start"),
        ({"lr": 1, "dim": 3}, r"dim: 2 in process 0, 3 in process 2 \(and 1 more\); start"),
    ],
)
def test_processes_that_differ_are_refused_in_all_of_them(other: dict[str, float], line: str) -> None:
    def check(ranks: Ranks) -> bool:
        with pytest.raises(RecipeError, match=line):
            check_alike(ranks, other if ranks.rank == 2 else {"lr": 0.1, "dim": 2})
        return True

    assert run_ranks(check, 3) == [True] * 3


def test_data_of_which_the_processes_have_another_number_or_shape_are_refused() -> None:
    """gloo would end the processes by a signal."""

    def load(ranks: Ranks, shape: tuple[int, ...]) -> bool:
        source = ArraySource(np.zeros(shape if ranks.rank else (8, 4), np.float32))
        with pytest.raises(RecipeError, match=r"data: (samples|spec): .* in process 0, .* in process 1"):
            load_shared_samples(source, np.arange(len(source)), torch.device("cpu"), ranks)
        return True

    for shape in [(9, 4), (8, 5)]:
        assert all(run_ranks(lambda ranks, shape=shape: load(ranks, shape)))  # type: ignore[misc]


def test_devices_and_paths_may_differ_between_processes() -> None:
    def settings(changed: dict[str, object], out: str | None = "run") -> dict[str, object]:
        return shared_settings(make_recipe({"data": {"source": "a.npz"}}, changed), out)

    assert settings({"train.device": "cuda:0"}) == settings({"train.device": "cuda:1", "data.source": "b.npz"}, "other")
    assert settings({"train.seed": 0}) != settings({"train.seed": 1})
    assert settings({}) != settings({}, None)
