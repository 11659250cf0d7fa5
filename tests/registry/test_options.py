"""A plugin's signature is its configuration: what is checked, what is said, what is shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict, Unpack

import pytest

from aekit.errors import RecipeError
from aekit.registry.discovery import Plugin, registry
from aekit.registry.hookspecs import Entry
from aekit.registry.options import Field, describe_options, options_model, validate_options, validation_errors


class Example:
    """With options of every shape."""

    def __init__(
        self,
        encoder: Any,
        *,
        rate: Annotated[float, Field(gt=0, le=1, description="a share")] = 0.5,
        widths: Annotated[
            list[Annotated[int, Field(ge=1)]] | None, Field(description="of layers", max_length=3)
        ] = None,
        mode: Annotated[Literal["a", "b", 3], Field(description="a choice")] = "a",
        name: Annotated[str, Field(description="a word", pattern="^[a-z]+$", min_length=2)] = "xy",
        on: Annotated[bool, Field(description="a switch")] = False,
    ) -> None: ...


def function(spec: Any, like: Any = None, *, count: Annotated[int, Field(ge=0, description="how many")]) -> None: ...


def unannotated(*, level=1) -> None:  # type: ignore[no-untyped-def]
    ...


def wrong_default(*, level: Annotated[int, Field(ge=1, description="positive")] = 0) -> None: ...


HERE = Plugin("variant", Entry("example", f"{__name__}:Example", "an example", 2), "some-package", "3.1")


def test_options_are_the_keyword_only_parameters() -> None:
    assert list(options_model(Example).model_fields) == ["rate", "widths", "mode", "name", "on"]
    assert list(options_model(function).model_fields) == ["count"]


def test_defaults_are_filled_in_and_values_kept() -> None:
    given = {"widths": [4, 2], "mode": 3}
    assert validate_options(HERE, given) == {"rate": 0.5, "widths": [4, 2], "mode": 3, "name": "xy", "on": False}
    assert given == {"widths": [4, 2], "mode": 3}


class Shared(TypedDict, total=False):
    size: Annotated[int, Field(default=3, ge=1, description="the size")]
    needed: Annotated[str, Field(description="without a default")]


def shares(
    where: str, *, count: Annotated[int, Field(description="how many")] = 2, **shared: Unpack[Shared]
) -> None: ...


def test_entries_of_shared_options_are_options_of_their_own() -> None:
    plugin = Plugin("source", Entry("shares", f"{__name__}:shares", "shares options", 2), "some-package", "3.1")
    assert validate_options(plugin, {"needed": "x"}) == {"count": 2, "size": 3, "needed": "x"}
    rows = {row["option"]: (row["range"], row["default"], row["description"]) for row in describe_options(shares)}
    assert rows["size"] == (">= 1", "3", "the size") and rows["needed"] == ("", "required", "without a default")
    with pytest.raises(RecipeError) as caught:
        validate_options(plugin, {"size": 0, "sise": 1}, "data.shares")
    text = " ".join(caught.value.problems)
    assert "data.shares.size = 0" in text and "did you mean 'size'?" in text and "needed: is required" in text


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate": 0}, "objective.example.rate = 0: "),
        ({"rate": "much"}, "objective.example.rate = 'much': "),
        ({"widths": [3, 0]}, "objective.example.widths.1 = 0: "),
        ({"widths": [1, 1, 1, 1]}, "objective.example.widths = [1, 1, 1, 1]: "),
        ({"mode": "c"}, "objective.example.mode = 'c': expected 'a', 'b' or 3"),
        ({"name": "XY"}, "objective.example.name = 'XY': "),
        ({"raet": 0.1}, "objective.example.raet: no such option; did you mean 'rate'?"),
    ],
)
def test_a_mistake_is_one_line_with_place_value_and_owner(values: dict[str, Any], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        validate_options(HERE, values, "objective.example")
    (problem,) = caught.value.problems
    assert problem.startswith(line), problem
    assert problem.endswith("(some-package 3.1)") and "\n" not in problem


def test_all_mistakes_are_collected() -> None:
    problems = validation_errors(options_model(Example), {"rate": 2, "mode": "c", "onn": True}, "here")
    assert [problem.partition(" ")[0].rstrip(":") for problem in problems] == ["here.rate", "here.mode", "here.onn"]


def test_a_required_option_is_asked_for() -> None:
    assert validation_errors(options_model(function), {}, "data.source") == ["data.source.count: is required"]


def test_a_default_is_held_to_its_own_limits() -> None:
    (problem,) = validation_errors(options_model(wrong_default), {}, "here")
    assert problem.startswith("here.level = 0: ")


def test_an_option_without_annotation_is_its_authors_mistake() -> None:
    with pytest.raises(TypeError, match="option 'level' of unannotated has no annotation"):
        options_model(unannotated)


def test_options_are_described_in_words() -> None:
    rows = {row["option"]: row for row in describe_options(Example)}
    assert rows["rate"] == {
        "option": "rate",
        "type": "float",
        "range": "> 0, <= 1",
        "default": "0.5",
        "description": "a share",
    }
    assert [rows["widths"][key] for key in ("type", "range")] == ["list[int >= 1] | None", "at most 3 long"]
    assert rows["mode"]["type"] == "'a' | 'b' | 3"
    assert [rows["name"][key] for key in ("type", "default")] == ["str", "'xy'"]
    assert set(rows["name"]["range"].split(", ")) == {"at least 2 long", "matching ^[a-z]+$"}
    assert describe_options(function)[0]["default"] == "required"


def test_every_builtin_option_has_a_description_and_a_default() -> None:
    for plugin in registry().plugins:
        if plugin.kind != "command":
            for row in describe_options(plugin.load()):
                assert row["description"] and row["default"] != "required", (plugin.qualified, row)
