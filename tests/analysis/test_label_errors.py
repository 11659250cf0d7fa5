"""Labels that are probably wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command, Said
from PIL import Image

import aekit
from aekit.analysis._groups import sample_groups
from aekit.analysis.label_noise import label_noise, wrong_label_probabilities
from aekit.data.source import ArraySource
from aekit.errors import DataError, DataWarning, RecipeError
from aekit.progress import SILENT


def planted(seed: int = 0, noise: float = 0.05, apart: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors of four overlapping classes, their labels, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, 800)
    vectors = rng.normal(size=(800, 6)).astype(np.float32) + apart * np.eye(6, dtype=np.float32)[classes]
    wrong = rng.random(800) < noise
    codes = np.where(wrong, (classes + rng.integers(1, 4, 800)) % 4, classes)
    return vectors, np.array(["ant", "bee", "cat", "dog"])[codes], wrong


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_found_and_the_scores_are_calibrated(seed: int) -> None:
    vectors, labels, wrong = planted(seed)
    errors = aekit.find_label_errors(vectors, labels)
    rows = np.array(errors.ids, int)
    assert sorted(rows) == list(range(800)) and (np.diff(errors.scores) <= 0).all()
    flagged = wrong[rows[: errors.count]]
    assert flagged.mean() > 0.7 and flagged.sum() > 0.7 * wrong.sum()
    assert abs(errors.scores.sum() - wrong.sum()) < 0.35 * wrong.sum()
    for low, high in ((0, 0.1), (0.1, 0.6), (0.6, 1.01)):
        inside = (errors.scores >= low) & (errors.scores < high)
        spread = 3 * np.sqrt(0.25 / max(1, inside.sum()))
        assert abs(errors.scores[inside].mean() - wrong[rows[inside]].mean()) < min(spread, 0.2)
    assert set(errors.labels[errors.labels != errors.suggested]) <= {"ant", "bee", "cat", "dog"}


def test_right_labels_are_left_alone() -> None:
    vectors, labels, _ = planted(noise=0, apart=6)
    errors = aekit.find_label_errors(vectors, labels)
    assert errors.count <= 2
    assert (errors.suggested[errors.count :] == errors.labels[errors.count :]).all()


def test_equal_samples_do_not_vouch_for_each_other() -> None:
    """Copies with the same wrong label would predict it, if they were in different folds."""
    vectors, labels, _ = planted(noise=0, apart=6)
    first = np.flatnonzero(labels == "ant")[0]
    vectors = np.concatenate([vectors, np.repeat(vectors[[first]], 12, 0)])
    labels = np.concatenate([labels, np.repeat("bee", 12)])
    labels[first] = "bee"
    errors = aekit.find_label_errors(vectors, labels)
    copies = {str(first), *map(str, range(800, 812))}
    assert copies <= set(errors.ids[: errors.count])


def test_groups_are_predicted_from_other_groups() -> None:
    vectors, labels, _ = planted(noise=0, apart=6)
    patient = np.arange(800)
    some = np.flatnonzero(labels == "ant")[:12]
    patient[some], labels[some] = -1, "bee"  # one patient, whose samples are near each other
    vectors[some] = vectors[some[0]] + 0.001 * np.random.default_rng(0).normal(size=(12, 6))
    names = list(map(str, some))
    by_samples = aekit.find_label_errors(vectors, labels).to_pandas().loc[names, "score"]
    by_patients = aekit.find_label_errors(vectors, labels, groups=patient).to_pandas().loc[names, "score"]
    assert by_patients.min() > 0.9 and (1 - by_samples).mean() > 3 * (1 - by_patients).mean()


def test_the_windows_of_a_recording_stay_together() -> None:
    source = ArraySource(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
    source.segment_starts = np.array([[0, 0], [0, 5], [1, 0], [1, 5], [2, 0], [2, 5]])
    embeddings = aekit.Embeddings.from_source(source)
    embeddings._source = source
    said = Said()
    assert (
        sample_groups(embeddings, None, said)[[0, 2, 4]].tolist()
        == sample_groups(embeddings, None, said)[1::2].tolist()
    )
    assert len(set(sample_groups(embeddings, None, SILENT))) == 3 and "each of 3 recordings" in said
    joined = aekit.Embeddings.from_array(np.array([[0.0], [1], [0], [2]]))
    assert len(set(sample_groups(joined, ["a", "b", "b", "c"], SILENT))) == 2, "a and b share an equal sample"


def test_missing_labels_and_rare_classes_are_left_out() -> None:
    vectors, labels, _ = planted()
    values = labels.astype(object)
    values[:5], values[5], values[6:8] = None, "emu", "fox"
    with pytest.warns(DataWarning, match="3 labels cannot be assessed.*'emu'"):
        errors = aekit.find_label_errors(vectors, values)
    assert len(errors.ids) == 792 and not {"0", "5", "6"} & set(errors.ids)
    assert errors.notes == ["5 samples without a label were not assessed", "3 labels of rare classes were not assessed"]
    assert errors.text().endswith("\n".join(errors.notes))


def test_whole_numbers_are_classes() -> None:
    vectors, labels, _ = planted()
    codes = np.unique(labels, return_inverse=True)[1]
    errors = aekit.find_label_errors(vectors, codes)
    assert errors.ids == aekit.find_label_errors(vectors, labels).ids
    assert errors.suggested.dtype.kind == "i" and errors.to_pandas().loc[errors.ids[0], "score"] == errors.scores[0]


def test_noise_is_estimated_from_confident_samples() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 6000)
    codes = np.where((classes == 0) & (rng.random(6000) < 0.2), 1, classes)
    probabilities = np.where(np.eye(3)[classes] > 0, 0.8, 0.1)
    noise = label_noise(probabilities, codes)
    assert np.allclose(noise.sum(0), 1) and (noise > 0).all()
    assert noise[1, 0] > 3 * noise[2, 0] and 0.1 < noise[1, 0] < 0.2
    scores, suggested = wrong_label_probabilities(probabilities, codes)
    assert ((scores > 0.5) == (codes != classes)).all() and (suggested == classes).all()


@pytest.mark.parametrize(
    "labels, message",
    [
        (None, "the embeddings have no labels"),
        (np.linspace(0.1, 5, 12), "the labels are numbers: expected one class per sample"),
        (np.eye(12)[:, :3], "the labels are several labels per sample"),
        (["a"] * 12, "all 12 labels are 'a': expected at least two classes"),
        ([str(number) for number in range(12)], "expected at least 3 of a class"),
        (["a", "b"], "labels of shape"),
    ],
)
def test_labels_that_cannot_be_assessed(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        aekit.find_label_errors(np.random.default_rng(0).normal(size=(12, 2)), labels)


def test_other_refusals() -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 2))
    with pytest.raises(RecipeError, match="folds = 1: expected at least 2"):
        aekit.find_label_errors(vectors, ["a", "b"] * 6, folds=1)
    with pytest.raises(DataError, match="in one group"):
        aekit.find_label_errors(vectors, ["a", "b"] * 6, groups=["x"] * 12)
    with pytest.raises(DataError, match=r"groups of shape \(2,\) for 12 embeddings"):
        aekit.find_label_errors(vectors, ["a", "b"] * 6, groups=["x", "y"])


def test_the_command_writes_a_table_a_summary_and_an_image(command: Command, tmp_path: Path) -> None:
    vectors, labels, wrong = planted()
    pixels = np.repeat(np.repeat(vectors[:, None, :, None], 6, 3), 1, 1).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=pixels, y=np.where(labels == "ant", "=1+1", labels))
    aekit.fit(tmp_path / "x.npz", backbone="linear", dim=6, epochs=3, out=tmp_path / "run", report=False)
    command.ok("embed", tmp_path / "run", tmp_path / "x.npz", "-o", tmp_path / "e", "-q")
    output = command.ok("label-errors", tmp_path / "e", "-o", tmp_path / "out", "-q")
    assert output.startswith("Probably wrong: ") and "of 800 labels" in output and "page in" in output
    with (tmp_path / "out" / "label_errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 800 and {row["label"] for row in rows} == {"'=1+1", "bee", "cat", "dog"}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and wrong[[int(row["id"]) for row in rows[:20]]].mean() > 0.8
    summary = json.loads((tmp_path / "out" / "label_errors.json").read_text())
    assert summary["probably_wrong"] == len(summary["labels"]) == sum(s > 0.5 for s in scores)
    assert sum(pair["samples"] for pair in summary["confusions"]) == summary["probably_wrong"]
    with Image.open(tmp_path / "out" / "image.png") as image:
        assert image.width > 300


def test_labels_and_groups_of_the_command_line(command: Command, tmp_path: Path) -> None:
    vectors, labels, _ = planted()
    np.save(tmp_path / "x.npy", vectors)
    (tmp_path / "y.csv").write_text("id,label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels)))
    base = ("label-errors", tmp_path / "x.npy", "--labels", tmp_path / "y.csv", "-q", "--json")
    plain = json.loads(command.ok(*base, "-o", tmp_path / "a"))
    grouped = json.loads(command.ok(*base, "-o", tmp_path / "b", "--groups", "^."))
    assert plain["samples"] == grouped["samples"] == 800 and plain["labels"] != grouped["labels"]
    assert not (tmp_path / "a" / "image.png").exists(), "vectors have no image"
    assert "no labels" in command("label-errors", tmp_path / "x.npy", "-o", tmp_path / "c").error
    assert "exists" in command(*base, "-o", tmp_path / "a").error
    assert "did you mean 'label-errors'" in command("label-error", "x").error
    assert not (tmp_path / "c").exists()
