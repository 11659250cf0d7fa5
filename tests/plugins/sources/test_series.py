"""Series: .ts files, their lengths and gaps, the sets inside aeon, and random convolutions as a control."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command, Said

import aekit
from aekit.data.examples import write_series
from aekit.data.opening import open_data
from aekit.data.readers._ts_files import read_ts
from aekit.data.samples import load_samples
from aekit.data.source import Source
from aekit.data.spec import SampleSpec
from aekit.errors import DataError
from aekit.testing import conformance

test_series_conforms = conformance("source", "series", {"unequal": "pad", "length": 13})
test_aeon_conforms = conformance("source", "aeon", {"unequal": "skip"})

HEADER = "#About it\n#1,2,3:4\n@problemName Toy\n@timeStamps false\n@univariate {uni}\n@classLabel true left right\n\n@data\n"


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header.format(uni="false") + "\n".join(lines) + "\n", "utf-8")
    return path


def everything(source: Source) -> tuple[np.ndarray, np.ndarray]:
    return source.read(np.arange(len(source)))


def aeon_data() -> Path:
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        pytest.skip("aeon is not installed: no series data sets here")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


# Files


def test_channels_labels_and_missing_values(tmp_path: Path) -> None:
    path = write(tmp_path / "Toy.ts", ["1,2.5,-3e2:4,5,6:left", "# between", "", "7,?,NaN:1,2,3: right "])
    found = read_ts(path)
    assert found.labels is not None and found.labels.tolist() == ["left", "right"]
    first, second = found.series
    assert isinstance(first, np.ndarray) and first.dtype == np.float32
    np.testing.assert_array_equal(first, [[1, 2.5, -300], [4, 5, 6]])
    np.testing.assert_array_equal(second, [[7, np.nan, np.nan], [1, 2, 3]])


def test_tags_in_any_case_without_labels_and_with_targets(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.ts", ["1,2", "3,4"], "@PROBLEMNAME x\n@classlabel FALSE\n@DATA\n")
    assert read_ts(bare).labels is None and len(read_ts(bare).series) == 2
    targets = write(tmp_path / "targets.ts", ["1,2:0.25", "3,4:-7"], "@targetLabel true\n@data\n")
    found = read_ts(targets).labels
    assert found is not None and found.dtype == np.float64 and found.tolist() == [0.25, -7]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("export const x = 1;\n", "line 1 is 'export const x = 1;': expected a tag such as @data"),
        ("@problemName x\n", "has no @data line; expected a .ts file as in the UCR and UEA archives"),
        ("@problemName x\n@data\n", "no series after its @data line"),
        ("@timestamps true\n@data\n(0,1)\n", "has time stamps, which are not supported"),
        ("@targetlabel true\n@data\n1,2:high\n", "a target is not a number"),
        (
            "@classlabel true a\n@data\n1,two:a\n",
            "none of 1 series can be used, the first for line 3: could not convert",
        ),
    ],
)
def test_files_that_are_no_series_are_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "x.ts").write_text(text)
    with pytest.raises(DataError) as raised:
        open_data(f"series:{tmp_path / 'x.ts'}")
    assert problem in str(raised.value) and str(tmp_path / "x.ts") in str(raised.value)


def test_bad_lines_are_skipped_with_their_reasons(tmp_path: Path) -> None:
    lines = [
        "1,2,3:4,5,6:left",
        "1,2,3:left",
        "1,2,x:4,5,6:left",
        "1,2,3:4,5:right",
        "1,?,3:4,5,6:right",
        "0,1,inf:1,2,3:left",
    ]
    source = open_data(write(tmp_path / "Toy.ts", lines))
    samples = load_samples(source, np.arange(6), torch.device("cpu"))
    assert samples.rows.tolist() == [0] and str(source.spec) == "series 2x3 float32"
    assert source.skipped["1"] == "1 channels, expected 2"
    assert source.skipped["2"] == "line 11: could not convert string to float: 'x'"
    assert source.skipped["3"] == "line 12: channels of 2 and 3 steps"
    assert source.skipped["4"] == "1 of 6 values are missing; missing = 'interpolate' fills them"
    assert source.skipped["5"] == "inf at (0, 2)"


def test_missing_values_are_filled_in_by_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "Toy.ts",
        ["?,2,?,?,5,?:1,1,1,1,1,1:left", "?,?,?,?,?,?:1,1,1,1,1,1:left", "0,0,0,0,0,0:1,1,1,1,1,1:left"],
    )
    source = open_data(path, {"series": {"missing": "interpolate"}})
    rows, ok = everything(source)
    np.testing.assert_allclose(rows[0, 0], [2, 2, 3, 4, 5, 5])
    assert ok.tolist() == [True, False, True] and source.skipped["1"] == "channel 0 has no values"
    assert "; ".join(source.losses) == "missing values of 2 series are interpolated"


LINES = ["0,1,2,3:left", "0,2,4,6,8,10,12:right", "5,5,5,5:left"]


@pytest.mark.parametrize(
    ("options", "first", "second", "note"),
    [
        ({}, [0, 0.5, 1, 1.5, 2, 2.5, 3], [0, 2, 4, 6, 8, 10, 12], "series of 4 to 7 steps are resampled to 7"),
        ({"length": 4}, [0, 1, 2, 3], [0, 4, 8, 12], "series of 4 to 7 steps are resampled to 4"),
        (
            {"unequal": "pad"},
            [0, 1, 2, 3, 3, 3, 3],
            [0, 2, 4, 6, 8, 10, 12],
            "series of 4 to 7 steps are padded or cut to 7",
        ),
        (
            {"unequal": "pad", "length": 5},
            [0, 1, 2, 3, 3],
            [0, 2, 4, 6, 8],
            "series of 4 to 7 steps are padded or cut to 5",
        ),
        ({"unequal": "skip"}, [0, 1, 2, 3], None, ""),
    ],
)
def test_series_of_other_lengths(
    tmp_path: Path, options: dict[str, Any], first: list, second: list | None, note: str
) -> None:
    source = open_data(write(tmp_path / "Toy.ts", LINES), {"series": options})
    rows, ok = everything(source)
    np.testing.assert_allclose(rows[0, 0], first)
    assert ok.tolist() == [True, second is not None, True] and "; ".join(source.notes) == note
    if second is None:
        assert source.skipped["1"] == "7 steps, expected 4; unequal = 'stretch' would resample it"
        assert source.spec.resize is None
    else:
        np.testing.assert_allclose(rows[1, 0], second)
        assert source.spec.resize == options.get("unequal", "stretch")


def test_an_encoder_sets_the_length_and_the_way(tmp_path: Path) -> None:
    path = write(tmp_path / "Toy.ts", LINES)
    like = SampleSpec("series", (1, 6), "float32", "pad")
    source = open_data(path, {"series": {"length": 3}}, like=like)
    assert source.spec == like
    np.testing.assert_allclose(everything(source)[0][0, 0], [0, 1, 2, 3, 3, 3])
    with pytest.raises(DataError, match="samples are series 1x6 float32, the encoder takes series 2x6 float32"):
        open_data(path, like=SampleSpec("series", (2, 6), "float32"))


# Parts of a data set


def test_both_parts_are_read_together(tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    whole = open_data(folder)
    assert whole.splits is not None and whole.labels is not None
    assert whole.splits.tolist() == ["train"] * 8 + ["test"] * 4 and whole.ids[8] == "test-0"
    assert whole.labels.tolist() == list("abcabcabcab") + ["a"]
    training = open_data(folder / "Waves_TRAIN.ts")
    assert list(training.ids) == list(whole.ids) and "; ".join(training.notes).startswith(
        "read together: Waves_TRAIN.ts and Waves_TEST.ts"
    )
    alone = open_data(folder / "Waves_TRAIN.ts", {"series": {"pair": False}})
    assert alone.splits is not None and alone.splits.tolist() == ["train"] * 8
    test = open_data(folder / "Waves_TEST.ts")
    assert len(test) == 4 and test.splits is not None and set(test.splits) == {"test"}


def test_a_folder_of_several_sets(tmp_path: Path) -> None:
    for name in ("Ab", "Cd"):
        write(tmp_path / "both" / f"{name}_TRAIN.ts", LINES)
    with pytest.raises(DataError, match=r"holds 2 data sets \(Ab, Cd\); choose a file of one"):
        open_data(tmp_path / "both")
    write(tmp_path / "both" / "both_TEST.ts", LINES)
    assert len(open_data(tmp_path / "both")) == 3, "the one of the folder's own name"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "index.ts").write_text("export {}")
    with pytest.raises(DataError, match="no samples; looked for"):
        open_data(tmp_path / "code")


# The sets inside aeon


def test_sets_inside_aeon_agree_with_its_other_files() -> None:
    """The package holds some sets in a second format, which numpy reads."""
    root = aeon_data()
    for name, length in (("GunPoint", 150), ("ArrowHead", 251)):
        source = open_data(f"aeon:{name}")
        table = np.loadtxt(root / name / f"{name}_TRAIN.tsv")
        training = source.rows_of("train")
        rows, ok = source.read(training)
        assert ok.all() and rows.shape == (len(table), 1, length) and source.labels is not None
        np.testing.assert_allclose(rows[:, 0], table[:, 1:], rtol=1e-5, atol=1e-5)
        assert source.labels[training].astype(int).tolist() == table[:, 0].astype(int).tolist()


@pytest.mark.parametrize(
    ("name", "spec", "counts", "classes"),
    [
        ("GunPoint", "series 1x150 float32", (50, 150), 2),
        ("ItalyPowerDemand", "series 1x24 float32", (67, 1029), 2),
        ("BasicMotions", "series 6x100 float32", (40, 40), 4),
        ("JapaneseVowels", "series 12x29 float32", (270, 370), 9),
    ],
)
def test_what_the_sets_hold(name: str, spec: str, counts: tuple[int, int], classes: int) -> None:
    aeon_data()
    source = open_data(f"aeon:{name}")
    assert str(source.spec) == spec and source.labels is not None
    assert (len(source.rows_of("train")), len(source.rows_of("test"))) == counts
    assert len(set(source.labels.tolist())) == classes and everything(source)[1].all()


def test_aeon_is_not_imported_and_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    aeon_data()
    open_data("aeon:GunPoint")
    assert "aeon" not in sys.modules
    with pytest.raises(DataError, match=r"aeon:GunPont: no such data set in .*; did you mean 'GunPoint'"):
        open_data("aeon:GunPont")
    monkeypatch.setattr("aekit_plugins.sources.aeon.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"the data ships with the package aeon: pip install 'aekit\[series\]'"):
        open_data("aeon:GunPoint")


def test_comments_begin_with_a_hash_or_a_percent_sign(tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    for path in folder.iterdir():
        path.write_text(path.read_text("utf-8").replace("# waves", "%# waves"), "utf-8")
    assert len(open_data(folder).ids) == 12


# The whole way


def test_series_from_the_command_line(command: Command, tmp_path: Path) -> None:
    aeon_data()
    fit = [
        "fit",
        "aeon:ItalyPowerDemand",
        "-o",
        tmp_path / "run",
        "--pretext",
        "predict-part",
        "--epochs",
        "8",
        "--dim",
        "8",
    ]
    command.ok(*fit, "--set", "evaluate.evaluators=['probe']", "--set", "encoder.backbone=mlp")
    results = json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]
    assert list(results["results"]) == ["encoder", "raw", "pca-8", "random", "random-convolutions"]
    assert results["counts"]["validation"] == 14 and results["counts"]["test"] == 1029
    value = results["results"]["random-convolutions"]["probe"]["metrics"]["accuracy"]["value"]
    assert value > 0.93


def test_ragged_series_from_the_command_line(command: Command, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    told = command("fit", folder / "Waves_TRAIN.ts", "-o", tmp_path / "run", "--epochs", "2", "--dim", "4")
    assert told.code == 0, told.err
    assert "series of 12 to 15 steps are resampled to 15" in told.err
    encoder = aekit.load(tmp_path / "run")
    assert "| series of another size | stretch to 15 |" in (tmp_path / "run" / "encoder" / "README.md").read_text()
    short = write(tmp_path / "Short.ts", ["1,2,3,4,5,6,7:1,2,3,4,5,6,7:left"])
    assert encoder.embed(str(short)).vectors.shape == (1, 4)
    said = Said()
    aekit.embed(encoder, str(folder), out=tmp_path / "embeddings", progress=said)
    assert len(aekit.Embeddings.open(tmp_path / "embeddings")) == 11, "the damaged one is left out"
