"""Dotted names of options in messages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import aekit
from aekit.errors import RecipeError
from aekit.registry.discovery import registry
from aekit.registry.option_places import misplaced_options, with_places

SPECIES = pd.DataFrame(
    {"length": [k * 0.25 for k in range(40)], "width": [k % 7 for k in range(40)], "species": ["a", "b"] * 20}
)


def test_options_of_the_plugin_are_completed_and_nothing_else():
    arrays = registry().get("source", "arrays")
    line = "'a y = 1' and data.arrays.x = 'a' stay, as shape = 3 does; by a file's rules, y = 'b' and missing = 'median' do not"
    completed = line.replace("rules, y", "rules, data.arrays.y").replace("missing", "data.arrays.missing")
    assert with_places(line, "data", arrays) == completed


@pytest.mark.parametrize(
    "name, expected",
    [
        ("encoder.channels", "encoder.channels: no such option; did you mean encoder.conv.channels or "),
        ("objective.noise", "objective.noise: no such option; did you mean objective.denoising.noise?"),
        ("data.y", "data.y: no such option; did you mean data.arrays.y or "),
        ("encoder.nothing", "encoder.nothing: no such option; available: "),
    ],
)
def test_an_option_of_a_plugin_that_is_set_in_its_section(name, expected):
    with pytest.raises(RecipeError) as raised:
        aekit.fit(SPECIES, overrides={name: 1})
    assert str(raised.value).startswith(expected)


def test_sections_without_plugins_have_no_misplaced_options():
    assert misplaced_options("train", ["y", "channels"]) == {}


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_option_without_the_name_of_its_source(in_memory, tmp_path):
    data = SPECIES if in_memory else tmp_path / "species.csv"
    if not in_memory:
        SPECIES.to_csv(data, index=False)
    with pytest.raises(RecipeError, match=r"^data\.y: no such option; did you mean data\.arrays\.y\?$"):
        aekit.open_data(data, {"y": "species"})


@pytest.mark.parametrize("in_memory", [True, False])
def test_notes_and_refusals_name_options_in_full(in_memory, tmp_path):
    data = SPECIES if in_memory else tmp_path / "species.csv"
    if not in_memory:
        SPECIES.to_csv(data, index=False)
    assert "if 'species' is the label, data.arrays.y = 'species' says so" in aekit.open_data(data).note
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes("a,b\n1,é\n2,ö\n".encode())
    with pytest.raises(aekit.AekitError, match=r"data\.arrays\.encoding = 'latin-27'"):
        aekit.open_data(wrong, {"arrays": {"encoding": "latin-27"}})
    assert aekit.fit(data, overrides={"data.arrays.y": "species"}, epochs=1, report=False).spec.size == 2


def test_what_is_said_of_a_source_does_not_grow_when_it_is_passed_on():
    array = np.random.default_rng(0).normal(size=(60, 3))
    array[::7, 1] = -999
    source = aekit.open_data(array)
    assert len(source.losses) == 1 and "-999" in source.losses[0]
    assert len(aekit.open_data(aekit.open_data(source)).losses) == 1
