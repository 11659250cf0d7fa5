"""Comparison of runs: pooling over seeds, names, baselines, significant differences and skipped runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

import aekit
from aekit import compare
from aekit.errors import DataError, RecipeError
from aekit.evaluation.run_results import read_results, write_results
from aekit.io.manifests import write_manifest
from aekit.registry.overrides import flatten_settings
from aekit.workflows.comparing._differences import differing_settings, recipe_titles
from aekit.workflows.comparing._rankings import table_sentences
from aekit.workflows.comparing._tables import Row
from aekit.workflows.comparing.comparison import Comparison, merge_notes

Score = tuple[float, float, float]


def write_run(
    folder: Path,
    scores: dict[str, Score],
    *,
    seed: int = 0,
    baselines: dict[str, dict[str, Score]] | None = None,
    results: dict[str, Any] | None = None,
    **recipe: Any,
) -> Path:
    """The results.json of a run. `scores`: evaluator -> accuracy and the ends of its interval; `recipe`: sections."""

    def evaluated(of: dict[str, Score]) -> dict[str, Any]:
        figures = {name: dict(zip(("value", "low", "high"), score)) for name, score in of.items()}
        plain = {"chosen": {}, "chosen_on": "validation", "chance": None, "notes": [], "table": [], "plot_data": {}}
        return {name: {"metrics": {"accuracy": figure}, **plain} for name, figure in figures.items()}

    sections: dict[str, dict[str, Any]] = {
        "data": {"source": "sklearn:digits", "split": "train", "strict": False},
        "encoder": {"backbone": "mlp", "dim": 8, "scaling": "auto", "normalize": False},
        "objective": {"variants": ["plain"], "pretexts": []},
        "train": {"seed": seed, "lr": 1e-3, "epochs": 2, "device": "auto", "checkpoint_seconds": 60.0},
        "evaluate": {"evaluators": list(scores), "baselines": bool(baselines)},
    }
    for name, values in recipe.items():
        sections[name] = sections.get(name, {}) | values
    evaluation = {
        **dict.fromkeys(("digest", "headline", "split"), "0" * 64),
        **{name: [] for name in ("warnings", "summary", "compared_with", "paired_comparisons")},
        **{name: {} for name in ("titles", "checks")},
        "counts": {"samples": 100, "dim": sections["encoder"]["dim"], "test": 20},
        "notes": [],
        "results": {subject: evaluated(found) for subject, found in {"encoder": scores, **(baselines or {})}.items()},
    }
    written = {
        "digest": hashlib.sha256(f"{folder.name} {scores} {seed} {recipe}".encode()).hexdigest(),
        "objective": {},
        "sha256": {},
        "recipe": sections,
        "data": {"data": sections["data"]["source"]},
        "trained": {"samples": 100, "skipped": 0, "seconds": 1.5},
        "metrics": {"explained": 0.5},
        "evaluation": evaluation,
    }
    folder.mkdir(parents=True)
    write_manifest(folder / "results.json", written | (results or {}))
    return folder


def rows_of(comparison: Comparison) -> dict[str, Row]:
    (table,) = comparison.tables
    return {row.name: row for row in table.rows}


THREE = [(0.80, 0.75, 0.85), (0.86, 0.81, 0.90), (0.83, 0.70, 0.88)]


def test_statistics_are_pooled_over_seeds(tmp_path: Path) -> None:
    for seed, score in enumerate(THREE):
        write_run(tmp_path / f"seed-{seed}", {"probe": score}, seed=seed)
    (row,) = rows_of(compare(tmp_path)).values()
    figure = row.statistics["probe accuracy"]
    values = [score[0] for score in THREE]
    assert figure.mean == pytest.approx(np.mean(values)) and figure.deviation == pytest.approx(np.std(values, ddof=1))
    assert (figure.low, figure.high, figure.count) == (0.70, 0.90, 3)
    assert (row.name, row.seeds, row.runs) == ("plain", [0, 1, 2], ["seed-0", "seed-1", "seed-2"])


def test_only_disjoint_outermost_intervals_are_significant_differences(tmp_path: Path) -> None:
    # Each run of `denoising` is better than the run of `plain` with its seed; over the seeds they overlap.
    for seed, (low, high) in enumerate([(0.5, 0.6), (0.7, 0.8)]):
        write_run(tmp_path / f"a{seed}", {"probe": (0.55, low, high)}, seed=seed)
        better = {"probe": (low + 0.2, low + 0.15, low + 0.25), "knn": (0.9, 0.85, 0.95)}
        write_run(tmp_path / f"b{seed}", better, seed=seed, objective={"variants": ["denoising"]})
    for seed in (0, 1):
        worse = {"probe": (0.3, 0.2, 0.4), "knn": (0.5, 0.4, 0.84)}
        write_run(tmp_path / f"c{seed}", worse, seed=seed, objective={"variants": ["vae"]})
    words = table_sentences(compare(tmp_path).tables[0])
    assert (
        "probe accuracy: among the encoders, denoising and plain are better than vae; no other difference is significant"
        in words
    )
    assert "knn accuracy: among the encoders, denoising is better than vae" in words
    assert not any("only one run" in line for line in words)


def test_without_intervals_nothing_is_called_significant(tmp_path: Path) -> None:
    for name, value in (("a", 0.1), ("b", 0.9)):
        score: Any = (value, None, None)
        write_run(tmp_path / name, {"probe": score}, encoder={"dim": int(10 * value)})
    words = table_sentences(compare(tmp_path).tables[0])
    assert words[0] == "probe accuracy: intervals are missing, so no difference can be called significant"


def test_baselines_are_pooled_once_per_seed_however_many_runs_evaluated_them(tmp_path: Path) -> None:
    raw = [(0.6, 0.5, 0.7), (0.62, 0.52, 0.71)]
    random = {"mlp": (0.3, 0.2, 0.4), "conv": (0.4, 0.3, 0.5)}
    for seed in (0, 1):
        for backbone in ("mlp", "conv"):
            for variant in ("plain", "denoising"):
                baselines = {"raw": {"probe": raw[seed]}, "random": {"probe": random[backbone]}}
                write_run(
                    tmp_path / f"{backbone}-{variant}-{seed}",
                    {"probe": (0.8, 0.75, 0.85)},
                    seed=seed,
                    baselines=baselines if variant == "plain" else None,
                    encoder={"backbone": backbone},
                    objective={"variants": [variant]},
                )
    rows = rows_of(compare(tmp_path))
    assert set(rows) == {
        "plain mlp",
        "plain conv",
        "denoising mlp",
        "denoising conv",
        "raw",
        "random mlp",
        "random conv",
    }
    assert rows["raw"].is_baseline and rows["raw"].statistics["probe accuracy"].count == 2
    assert rows["raw"].statistics["probe accuracy"].mean == pytest.approx(0.61)
    assert rows["random conv"].statistics["probe accuracy"].mean == pytest.approx(0.4)
    who, _, where = (
        table_sentences(compare(tmp_path).tables[0])[0].removeprefix("probe accuracy: ").partition(" are better than ")
    )
    assert set(who.replace(" and ", ", ").split(", ")) == {name for name in rows if not rows[name].is_baseline}
    assert where == "raw, random conv and random mlp"


def test_an_encoder_worse_than_a_baseline_is_reported(tmp_path: Path) -> None:
    baselines = {"raw": {"probe": (0.9, 0.85, 0.95)}, "random": {"probe": (0.5, 0.45, 0.55)}}
    write_run(tmp_path / "run", {"probe": (0.7, 0.65, 0.75)}, baselines=baselines)
    words = table_sentences(compare(tmp_path).tables[0])
    assert words[0] == "probe accuracy: plain is better than random, worse than raw"
    assert words[1] == "only one run, so the variation over seeds is unknown: plain"


def test_one_sentence_concludes_and_claims_no_more_than_the_intervals_show(tmp_path: Path) -> None:
    baselines = {"raw": {"probe": (0.6, 0.5, 0.7), "knn": (0.9, 0.85, 0.95)}}
    write_run(tmp_path / "one", {"probe": (0.8, 0.75, 0.85), "knn": (0.8, 0.7, 0.9)}, baselines=baselines)
    assert compare(tmp_path).headline == (
        "plain is significantly better than every baseline on probe accuracy, but not on knn accuracy."
    )
    scores = {"probe": (0.9, 0.86, 0.94), "knn": (0.82, 0.7, 0.9)}
    write_run(tmp_path / "two", scores, objective={"variants": ["denoising"]})
    comparison = compare(tmp_path)
    assert comparison.headline == (
        "denoising is significantly better than every other encoder on probe accuracy; "
        "no significant difference between the best encoders on knn accuracy; "
        "the best encoder is significantly better than every baseline on probe accuracy, but not on knn accuracy."
    )
    assert comparison.text().startswith("sklearn:digits: denoising is significantly better than every other encoder on")
    assert comparison.to_dict()["tables"][0]["conclusion"] == comparison.headline
    assert comparison.headline in comparison.markdown() and comparison.headline in comparison.html()
    alone = compare(write_run(tmp_path / "alone" / "run", {"probe": (0.8, 0.75, 0.85)}))
    assert alone.headline == "Nothing to compare: one encoder and no baseline."


def recipe(**settings: Any) -> dict[str, Any]:
    return {"objective.variants": ["plain"], "encoder.backbone": "mlp", "encoder.dim": 8, "train.lr": 1e-3} | settings


@pytest.mark.parametrize(
    ("changes", "names", "also"),
    [
        ([{}], ["plain"], []),
        ([{}, {"encoder.dim": 16}], ["dim=8", "dim=16"], []),
        ([{}, {"encoder.backbone": "conv", "encoder.conv.channels": [8, 16]}], ["mlp", "conv"], []),
        (
            [
                {},
                {"objective.variants": ["denoising"], "objective.denoising.level": 0.1},
                {"objective.variants": ["denoising"], "objective.denoising.level": 0.3},
            ],
            ["plain", "denoising level=0.1", "denoising level=0.3"],
            [],
        ),
        (
            [{}, {"objective.variants": ["denoising", "vae"], "train.lr": 0.01}],
            ["plain", "denoising+vae"],
            ["train.lr also differs: 0.001 (plain), 0.01 (denoising+vae)"],
        ),
        ([{"objective.variants": []}, {"objective.pretexts": ["rotation"]}], ["autoencoder", "plain+rotation"], []),
        (
            [{"train.epochs": 1, "objective.a.level": 1, "objective.b.level": 2}, {"train.epochs": 2}],
            ["epochs=1", "epochs=2"],
            [],
        ),
        (
            [{"objective.a.level": 1, "objective.b.level": 2}, {"objective.a.level": 2, "objective.b.level": 1}],
            ["a.level=1 b.level=2", "a.level=2 b.level=1"],
            [],
        ),
    ],
)
def test_rows_are_named_by_what_sets_them_apart(changes: list[dict], names: list[str], also: list[str]) -> None:
    recipes = [recipe(**changed) for changed in changes]
    assert recipe_titles(recipes, [f"folder-{number}" for number in range(len(recipes))]) == (names, also)


def test_a_pretrained_network_that_is_not_trained_is_named_after_it() -> None:
    frozen = {"objective.variants": [], "encoder.backbone": "timm", "encoder.weights": "pretrained", "train.epochs": 0}
    names, _ = recipe_titles([recipe(), recipe(**frozen, **{"encoder.timm.model": "resnet18"})], ["a", "b"])
    assert names == ["plain", "pretrained resnet18"]


def test_names_that_would_be_too_long_are_those_of_the_folders() -> None:
    recipes = [recipe(**{f"train.setting_{n}": value * n for n in range(1, 6)}) for value in (1.25, 2.5)]
    names, also = recipe_titles(recipes, ["fast", "slow"])
    assert names == ["fast", "slow"]
    assert also[0] == "train.setting_1 also differs: 1.25 (fast), 2.5 (slow)" and len(also) == 5
    alike, _ = recipe_titles(recipes, ["same", "same"])
    assert len(set(alike)) == 2


def test_options_of_a_plugin_differ_only_among_those_who_use_it() -> None:
    recipes = [
        recipe(),
        recipe(**{"objective.vae.beta": 2.0}),
        recipe(**{"objective.vae.beta": 2.0, "objective.vae.k": 1}),
    ]
    assert differing_settings(recipes) == ["objective.vae.k"]
    layers = flatten_settings({"layerwise": {"layers": [{"lr": 0.1}, {"denoising": {"level": 0.2}}], "epochs": 3}})
    assert layers == {"layerwise.layers.0.lr": 0.1, "layerwise.layers.1.denoising.level": 0.2, "layerwise.epochs": 3}


def test_other_data_is_another_table(tmp_path: Path) -> None:
    score = {"probe": THREE[0]}
    write_run(tmp_path / "a", score)
    write_run(tmp_path / "b", score, data={"source": "sklearn:wine"})
    write_run(tmp_path / "c", score, data={"source": "photos", "images": {"size": 32}})
    write_run(tmp_path / "d", score, data={"source": "photos", "images": {"size": 64}})
    target = {"source": "photos", "images": {"size": 64}, "target": "clean", "targets": {"images": {"column": "x"}}}
    write_run(tmp_path / "e", score, data=target)
    tables = compare(tmp_path).tables
    names = ["sklearn:digits", "sklearn:wine", "photos (images.size=32)", "photos (images.size=64)"]
    assert [table.data for table in tables] == names
    assert [len(table.rows) for table in tables] == [1, 1, 1, 2]


def test_other_options_of_an_evaluator_are_another_column(tmp_path: Path) -> None:
    for number, k in enumerate((1, 5, 5)):
        section = {"knn": {"k": k, "seed": number}}
        write_run(tmp_path / str(number), {"knn": (0.5 + k / 10, 0.4, 0.9)}, seed=number, evaluate=section)
    (row,) = rows_of(compare(tmp_path)).values()
    assert row.statistics["knn accuracy (k=1)"].count == 1 and row.statistics["knn accuracy (k=5)"].count == 2


def test_nothing_is_skipped_silently(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", {"probe": THREE[0]})
    (write_run(tmp_path / "running", {"probe": THREE[0]}) / "checkpoint").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "log.jsonl").write_text("")
    write_run(tmp_path / "plain", {"probe": THREE[0]}, results={"evaluation": None})
    (write_run(tmp_path / "broken", {}) / "results.json").write_text("{")
    (write_run(tmp_path / "other", {}) / "results.json").write_text('{"digest": 1}')
    write_manifest(write_run(tmp_path / "apply", {}) / "results.json", {"digest": "0" * 64})
    digest = json.loads((good / "results.json").read_text())["digest"]
    write_run(tmp_path / "twin", {"probe": THREE[0]}, results={"digest": digest})
    found = compare([tmp_path, good])
    assert {Path(name).name: why.partition(";")[0].partition(" of ")[0] for name, why in found.skipped.items()} == {
        "begun": "unfinished",
        "broken": f"{tmp_path}/broken/results.json: is damaged: Expecting property name enclosed in double quotes: line 1 "
        "column 2 (char 1)",
        "apply": f"{tmp_path}/apply/results.json: is damaged: recipe: Field required",
        "other": f"{tmp_path}/other/results.json: is damaged: has no seal",
        "plain": "not evaluated",
        "running": "unfinished",
        "twin": f"holds the same encoder as {good}",
    }
    assert rows_of(found)["plain"].runs == ["good"]
    assert found.text().count("skipped /") == found.markdown().count("skipped /") == 7
    assert "skipped /" in found.html()


def test_runs_of_one_seed_that_differ_are_noted(tmp_path: Path) -> None:
    for name, score in zip("ab", THREE):
        write_run(tmp_path / name, {"probe": score})
    assert "plain: several runs with the same seed gave different encoders: a, b" in compare(tmp_path).tables[0].notes


def test_notes_that_differ_in_their_numbers_alone_are_one() -> None:
    notes = [
        "3 of 5,000 test samples lie next to a training sample",
        "pca-64 stands for itself",
        "12 of 5,000 test samples lie next to a training sample",
        "1,204 of 5,000 test samples lie next to a training sample",
        "share 0.5",
    ]
    assert merge_notes([*notes, *notes]) == [
        "3 to 1,204 of 5,000 test samples lie next to a training sample",
        "pca-64 stands for itself",
        "share 0.5",
    ]
    assert merge_notes(["pca-64 of v2", "pca-32 of v2"]) == ["pca-64 of v2", "pca-32 of v2"], "names are no numbers"


def test_runs_lie_at_any_depth(tmp_path: Path) -> None:
    for seed in (10, 2):
        write_run(tmp_path / "study" / f"seed-{seed}", {"probe": (seed / 20, 0, 1)}, seed=seed)
    assert rows_of(compare(tmp_path))["plain"].seeds == [2, 10]


COST = {"parameters": 12_345, "embedding_bytes": 32, "samples_per_second": 6789.4}


def small_study(folder: Path) -> Path:
    metrics = {"metrics": {"explained": 0.9, "mse": 0.0123456, "psnr": 21.5}, "cost": COST}
    baselines = {"raw": {"probe": (0.6, 0.5, 0.7), "knn": (0.9, 0.8, 0.97)}}
    for seed, score in enumerate(THREE):
        scores = {"probe": score, "knn": (0.7, 0.6, 0.75)}
        results = metrics | {"trained": {"seconds": 10.0 + seed}}
        name = f"wide-seed-{seed}"
        write_run(folder / name, scores, seed=seed, baselines=baselines, results=results, encoder={"dim": 64})
        write_run(folder / f"small-seed-{seed}", {"probe": (0.9, 0.88, 0.92)}, seed=seed)
    return folder


def test_cost_and_reconstruction_have_columns(tmp_path: Path) -> None:
    row = rows_of(compare(small_study(tmp_path)))["dim=64"]
    means = {name: figure.mean for name, figure in row.statistics.items()}
    expected = {"explained": 0.9, "mse": 0.0123456, "psnr": 21.5, "seconds": 11.0, "parameters": 12_345, "bytes": 32}
    assert {name: means[name] for name in expected} == pytest.approx(expected)
    assert means["samples/s"] == pytest.approx(6789.4)
    assert rows_of(compare(tmp_path))["dim=8"].statistics["bytes"].mean == 4 * 8, "float32, where the run does not say"


def test_the_best_comes_first(tmp_path: Path) -> None:
    small_study(tmp_path)
    assert [row.name for row in compare(tmp_path).tables[0].rows] == ["dim=8", "dim=64", "raw"]
    assert [row.name for row in compare(tmp_path, sort="knn").tables[0].rows] == ["raw", "dim=64", "dim=8"]
    assert [row.name for row in compare(tmp_path, sort="seconds").tables[0].rows] == ["dim=8", "dim=64", "raw"]
    with pytest.raises(RecipeError, match="no such column; did you mean 'seconds'"):
        compare(tmp_path, sort="secnds")


def test_the_text_fits_the_terminal_and_loses_nothing(tmp_path: Path) -> None:
    comparison = compare(small_study(tmp_path))
    text = comparison.text(120)
    table, words = text.split("\n\nprobe accuracy: ")
    assert max(map(len, table.splitlines())) <= 120
    for cell in (
        "0.8300 ± 0.0300 [0.7000, 0.9000]",
        "0.7000 ± 0.0000 [0.6000, 0.7500]",
        "0.9000 ± 0.0000",
        "21.50 ± 0.00",
        "0.01235 ± 0 ",
        "11.0 ± 1.0",
        "12,345",
        "6,789",
        "0-2",
    ):
        assert cell in table, cell
    assert len(table.split("\n\n")) == 1 + 2, "what does not fit goes below"
    assert len(comparison.text(1000).split("\n\nprobe")[0].split("\n\n")) == 1 + 1
    widest = [max(map(len, comparison.text(width).split("\n\nprobe")[0].splitlines())) for width in range(50, 200)]
    assert all(found <= width for width, found in zip(range(50, 200), widest))
    assert any(found == width for width, found in zip(range(50, 200), widest))
    assert words.startswith("dim=8 is better than raw; dim=64 is not significantly different from raw\n")
    assert table.startswith("sklearn:digits: No significant difference between the best encoders on probe accuracy; ")


def test_csv_has_every_value_in_full(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(compare(small_study(tmp_path)).csv())))
    by_name = {line["name"]: line for line in lines}
    assert (by_name["raw"]["is_baseline"], by_name["dim=64"]["is_baseline"]) == ("true", "false")
    wide = by_name["dim=64"]
    assert [float(wide[f"probe accuracy{part}"]) for part in ("", " sd", " low", " high")] == pytest.approx(
        [0.83, 0.03, 0.70, 0.90]
    )
    assert by_name["dim=8"]["knn accuracy"] == "" and float(wide["mse"]) == pytest.approx(0.0123456)


def test_a_data_frame_has_the_values_of_the_csv_as_numbers(tmp_path: Path) -> None:
    for seed, score in enumerate(((0.8, 0.7, 0.9), (0.9, 0.8, 0.95))):
        write_run(tmp_path / f"s{seed}", {"knn": score}, seed=seed, baselines={"raw": {"knn": (0.6, 0.5, 0.7)}})
    comparison = compare(tmp_path)
    frame = comparison.to_pandas().set_index("name")
    assert frame.loc["plain", ["knn accuracy", "knn accuracy low"]].tolist() == [pytest.approx(0.85), 0.7]
    assert frame.loc["raw", "is_baseline"] and not frame.loc["plain", "is_baseline"]
    assert list(comparison.to_pandas()) == next(csv.reader(io.StringIO(comparison.csv())))


def test_a_notebook_shows_the_cells_of_the_text_and_every_row(tmp_path: Path) -> None:
    for number in range(12):
        write_run(tmp_path / f"run-{number}", {"knn": (0.123456, 0.1, 0.2)}, encoder={"dim": 2 + number})
    page = compare(tmp_path)._repr_html_()
    assert "0.1235 [0.1000, 0.2000]" in page and "0.123456" not in page
    assert all(f"<td>dim={2 + number}</td>" in page for number in range(12))


def test_markdown_is_a_table(tmp_path: Path) -> None:
    lines = compare(small_study(tmp_path)).markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 3 and len({line.count("|") for line in rows}) == 1
    assert any(line.startswith("- probe accuracy: ") for line in lines)


class Tags(HTMLParser):
    """Whether all that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_draws_each_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "<b>", {"probe": THREE[0]}, data={"source": "a<b&c"})
    small_study(tmp_path)
    text = compare(tmp_path).html()
    tags = Tags()
    tags.feed(text)
    assert not tags.open and "://" not in text and "<b>" not in text and "a&lt;b&amp;c" in text
    # A track for each value of a score, in one frame for each column.
    assert text.count('class="intervals"') == 1 + 2 and text.count('class="track"') == 1 + 3 + 2
    assert "wide-seed-0, wide-seed-1, wide-seed-2" in text and "encoder.dim" in text


def test_the_command(command: Command, tmp_path: Path) -> None:
    study = small_study(tmp_path / "study")
    files = {"--csv": "c.csv", "--markdown": "c.md", "--html": "c.html"}
    out = command.ok("compare", study, *(word for option, name in files.items() for word in (option, tmp_path / name)))
    found = compare(study)
    assert out == found.text(120) + "\n"
    for name, text in {"c.csv": found.csv(), "c.md": found.markdown(), "c.html": found.html()}.items():
        assert (tmp_path / name).read_text("utf-8") == text
    printed = json.loads(command.ok("compare", *sorted(study.iterdir()), "--sort", "knn", "--json"))
    assert [row["name"] for row in printed["tables"][0]["rows"]] == ["raw", "dim=64", "dim=8"]
    assert printed["tables"][0]["rows"][1]["statistics"]["probe accuracy"]["low"] == 0.70
    assert printed["tables"][0]["rows"][1]["settings"] == {"encoder.dim": 64}


def test_mistakes_are_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "plain", {}, results={"evaluation": None})
    assert "no such folder" in command("compare", tmp_path / "absent").error
    assert "no runs in it" in command("compare", tmp_path / "empty").error
    assert "no comparable run among 1: " in command("compare", tmp_path / "plain").error
    with pytest.raises(DataError, match="not evaluated"):
        compare(tmp_path / "plain")


def test_names_for_runs_are_refused_rather_than_taken_for_folders(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"knn": (0.8, 0.7, 0.9)})
    with pytest.raises(aekit.AekitError, match="paths of type dict: expected a path or a list of paths"):
        compare({str(tmp_path / "run"): str(tmp_path / "run")})  # type: ignore[arg-type]


def test_comparing_does_not_wait_for_torch() -> None:
    code = (
        "import sys, aekit.cli.compare, aekit.workflows.comparing._rankings, aekit.workflows.comparing._rendering\n"
        "heavy = {'torch', 'pyarrow', 'pydantic'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_quick_evaluations_are_another_column_than_thorough_ones(tmp_path: Path) -> None:
    for number in range(3):
        folder = write_run(tmp_path / str(number), {"knn": THREE[0]}, seed=number)
        record = read_results(folder)
        record["evaluation"] |= {"mode": "quick" if number == 2 else "thorough"} if number else {}
        write_results(folder, record)
    (row,) = rows_of(compare(tmp_path)).values()
    assert (
        row.statistics["knn accuracy (mode=thorough)"].count == 2
        and row.statistics["knn accuracy (mode=quick)"].count == 1
    )


def test_a_run_whose_recipe_asks_for_a_metric_without_paired_tests_is_read(tmp_path: Path) -> None:
    """The AUROC of a class is compared by its interval alone; such a run was taken for damaged."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(150, 6)).astype(np.float32), np.repeat(["a", "b", "c"], 50)
    x[:, 0] += 4 * (y == "a")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    aekit.fit(
        tmp_path / "data.npz",
        epochs=1,
        out=tmp_path / "run",
        evaluators=["anomaly", "knn"],
        progress=False,
    )
    stored = json.loads((tmp_path / "run" / "results.json").read_text())["evaluation"]["paired_comparisons"]
    assert {pair["evaluator"] for pair in stored if pair["p_value"] is None} == {"anomaly"}
    assert "anomaly" in str(compare([tmp_path / "run"]))
