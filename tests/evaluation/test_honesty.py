"""Problems are reported: planted leaks, collapse, dead units, shuffled labels and useless encoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from commands import Command
from sklearn.datasets import load_digits

import aekit
from aekit.data.source import ArraySource
from aekit.evaluation.checks import _stability
from aekit.evaluation.checks._stability import stability
from aekit.evaluation.checks.embedding_health import embedding_health, neighbor_overlap, subspace_angles
from aekit.evaluation.checks.leakage import find_leakage
from aekit.evaluation.evaluation import Evaluation
from aekit.evaluation.metrics._paired_tests import chance_p_value, holm_correction, paired_p_value
from aekit.evaluation.results import Metric, Result, Split
from aekit.evaluation.run import evaluate
from aekit.evaluation.splits import make_split
from aekit.evaluation.summary import graded_summary


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits (1797, 64) and their classes."""
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y.astype(str)


@pytest.fixture(scope="module")
def images(digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The same as 8-bit images."""
    return (15 * digits[0]).astype(np.uint8).reshape(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def encoder(images: np.ndarray) -> aekit.Encoder:
    return aekit.fit(images, dim=16, overrides={"train.epochs": 8, "train.precision": "fp32"})


def run_evaluators(x: object, y: object, evaluators: Sequence[str] = ("probe",), **more: object) -> Evaluation:
    return evaluate(x, y, evaluators=evaluators, **more)  # type: ignore[arg-type]


# No problem


def test_a_good_encoder_on_clean_data_raises_no_alarm(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    result = run_evaluators(encoder.embed(images), digits[1], ["probe", "knn"])
    assert result.warnings() == []
    assert not any("guessing" in line for line in result.details())
    assert run_evaluators(*digits).warnings() == []


# Leaks


def test_exact_copies_across_the_split_are_found_by_the_raw_samples(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    split = make_split(digits[1])
    leaky = images.copy()
    leaky[split.test[:40]] = images[split.train[:40]]
    stored = encoder.embed(leaky)
    labels = digits[1].copy()
    labels[split.test[:40]] = labels[split.train[:40]]
    labels[split.test[:3]] = "9"
    result = run_evaluators(stored, labels, split=split, baselines=False)
    (warning,) = [line for line in result.warnings() if "equal" in line]
    assert warning.startswith("40 of 359 test samples (11.1%) equal a training or validation sample")
    assert "of them with another label" in warning
    assert result.checks["leakage"].values["test_in_train"] == 40
    pairs = [row for row in result.checks["leakage"].table if row["pair"] == "equal"]
    assert {row["test sample"] for row in pairs} <= {str(row) for row in split.test[:40]}
    assert f"warning: {warning}" in result.text() and ("bad", warning) in result.graded_summary()


def test_near_copies_are_found_by_the_embeddings(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    split = make_split(digits[1])
    leaky = images.copy()
    leaky[split.test[:30]] = images[split.train[:30]].clip(0, 254) + 1
    result = run_evaluators(encoder.embed(leaky), digits[1], split=split, baselines=False)
    leaks = result.checks["leakage"]
    assert leaks.values["test_in_train"] == 0 and leaks.values["near_in_train"] == pytest.approx(30 / 359)
    assert any("30 of 359 test samples lie next to a training sample" in line for line in result.warnings())
    near = [row for row in leaks.table if row["pair"] == "near"]
    assert {(row["test sample"], row["training sample"]) for row in near} <= {
        (str(a), str(b)) for a, b in zip(split.test[:30], split.train[:30])
    }


def test_a_few_copies_are_a_note_and_copies_within_a_part_are_counted(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits[0].copy(), digits[1]
    split = make_split(y)
    x[split.test[0]] = x[split.train[0]]
    x[split.train[1:5]] = x[split.train[5]]
    result = find_leakage(x, split)
    assert result.warnings == [] and any(note.startswith("1 of 359 test samples") for note in result.notes)
    assert result.values["equal_in_train"] == 5 and result.values["equal_in_test"] == 0


def test_a_test_set_that_is_the_training_set_is_called_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    own = make_split(y)
    same = Split(own.train, own.validation, own.train, "by mistake")
    result = run_evaluators(x, y, ["knn"], split=same)
    assert result.results["encoder"]["knn"].metrics["accuracy"].value > 0.99
    assert any(
        "1,079 of 1,079 test samples (100.0%) are training or validation samples themselves" in line
        for line in result.warnings()
    )
    twice = np.concatenate([x, x[own.train]])
    copied = Split(own.train, own.validation, np.arange(len(x), len(twice)), "copied by mistake")
    result = run_evaluators(twice, np.concatenate([y, y[own.train]]), ["knn"], split=copied)
    assert any("(100.0%) equal a training or validation sample" in line for line in result.warnings())


def test_groups_that_a_split_separates_are_called_out() -> None:
    y = np.repeat(["a", "b"], 60)
    groups = np.arange(120) // 4
    x = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)
    torn = make_split(y)
    torn = Split(torn.train, torn.validation, torn.test, torn.origin, groups)
    assert any(
        "groups have samples both in the test part and in the others" in line for line in find_leakage(x, torn).warnings
    )
    kept = make_split(y, groups=groups)
    assert "30 groups, each in one part" in kept.origin and find_leakage(x, kept).warnings == []


# The encoder


def test_a_collapsed_encoder_is_called_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    collapsed = np.full((len(digits[0]), 16), 3.0, np.float32)
    result = run_evaluators(collapsed, digits[1], ["probe", "knn"])
    assert any(
        "the encoder has collapsed: all 1,797 embeddings are the same point" in line for line in result.warnings()
    )
    assert any("probe: no better than guessing" in line for line in result.details())
    assert not any("equal a training" in line for line in result.warnings()), "that is no leak"
    jitter = collapsed + 1e-6 * np.random.default_rng(0).standard_normal(collapsed.shape).astype(np.float32)
    assert any("has collapsed" in line for line in embedding_health(jitter).warnings)


def test_an_encoder_that_uses_one_direction_is_called_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    line = digits[0] @ np.ones((64, 1), np.float32) * np.linspace(1, 2, 16, dtype=np.float32)
    (warning,) = embedding_health(line).warnings
    assert warning.startswith("the embeddings use about 1.0 of their 16 directions")


def test_a_dead_half_is_called_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    half = np.random.default_rng(0).standard_normal((500, 32)).astype(np.float32)
    half[:, 16:] = 0.25
    result = embedding_health(half)
    assert result.values["dead_units"] == 16
    assert list(result.warnings) == ["16 of the 32 dimensions of the embeddings are constant (dead units)"]


def test_an_untrained_encoder_is_reported_as_no_better_than_random(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    untrained = encoder.with_random_weights(5)
    result = run_evaluators(untrained.embed(images), digits[1], ["probe", "knn", "retrieval"])
    sentences = [line for line in result.details() if "no better than the same encoder with random weights" in line]
    assert len(sentences) >= 2, result.text()
    assert all(grade in ("bad", "notice") for grade, line in result.graded_summary() if line in sentences)


def test_an_encoder_whose_neighbors_change_under_a_perturbation_is_called_out(images: np.ndarray) -> None:
    class Scatters(aekit.Encoder):
        """An encoder that places samples by the last digits of their sum."""

        def encode(self, x):  # type: ignore[no-untyped-def]
            return (x.flatten(1).sum(1, keepdim=True) * 1e4 + x.flatten(1)[:, :4]).sin()

    good = aekit.fit(images[:200], dim=4, overrides={"train.epochs": 1, "train.precision": "fp32"})
    source, rows = ArraySource(images), np.arange(600)
    measured = stability(good, source, rows)
    assert list(measured.warnings) == []
    reused = stability(good, source, rows, vectors=good.embed(images).vectors[rows])
    assert reused.values == pytest.approx(measured.values, abs=1e-3)
    good.__class__ = Scatters
    result = stability(good, source, rows)
    assert result.values["neighbors_kept"] < 0.1 and "unstable" in result.warnings[0]


def test_copies_of_some_samples_measure_what_copies_of_all_do(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = aekit.fit(images[:200], dim=4, overrides={"train.epochs": 1, "train.precision": "fp32"})
    source, rows = ArraySource(images), np.arange(600)
    of_all = stability(encoder, source, rows)
    assert of_all.notes == ["stability: 600 perturbed test samples"]
    monkeypatch.setattr(_stability, "PERTURBED_VALUES", 300 * encoder.spec.size)
    of_some = stability(encoder, source, rows)
    assert of_some.notes == ["stability: 300 perturbed test samples among 600"]
    assert of_some.values == pytest.approx(of_all.values, abs=0.06) and of_some.values != of_all.values
    monkeypatch.setattr(_stability, "PERTURBED_VALUES", 1)
    assert stability(encoder, source, rows).notes == ["stability: 100 perturbed test samples among 600"]


def test_hubs_are_called_out() -> None:
    generator = np.random.default_rng(0)
    shell = generator.standard_normal((1000, 200))
    shell /= np.linalg.norm(shell, axis=1, keepdims=True)
    shell[:10] = 1e-3 * generator.standard_normal((10, 200))  # in the middle of a sphere is nearest to all
    result = embedding_health(shell.astype(np.float32))
    assert result.values["hubs"] > 0.9 and any(line.startswith("hubs: ") for line in result.warnings)


# The labels


def test_shuffled_labels_are_called_out(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    shuffled = np.random.default_rng(0).permutation(digits[1])
    result = run_evaluators(encoder.embed(images), shuffled, ["probe", "knn", "retrieval"])
    sentences = [line for line in result.details() if "no better than guessing" in line]
    assert len(sentences) >= 2
    assert any("nor is" in line and "the labels seem unrelated to the samples" in line for line in sentences)


def test_labels_that_one_evaluator_can_predict_are_related_to_the_samples() -> None:
    def result(value: float, chance: float) -> Result:
        return Result({"accuracy": Metric(value, value - 0.02, value + 0.02)}, chance=chance)

    blind = {"encoder": {"probe": result(0.31, 0.3)}, "raw": {"probe": result(0.3, 0.3)}}
    (_, (grade, sentences)) = graded_summary(blind)
    assert grade == "bad" and sentences.endswith("nor is raw: the labels seem unrelated to the samples")
    seen = {subject: results | {"anomaly": result(0.7, 0.5)} for subject, results in blind.items()}
    lines = [(grade, line) for grade, line in graded_summary(seen) if "guessing" in line]
    assert lines == [("notice", "probe: no better than guessing (0.300), nor is raw")]


def test_few_test_samples_do_not_condemn_the_labels(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits[0], np.random.default_rng(0).permutation(digits[1])
    whole = make_split(y)
    few = Split(whole.train, whole.validation, whole.test[:36], "few")
    result = run_evaluators(x, y, ["probe", "knn"], split=few)
    sentences = [(grade, line) for grade, line in result.graded_summary() if "no better than guessing" in line]
    assert sentences and all(
        grade == "notice" and "as far as 36 test samples can tell" in line for grade, line in sentences
    )
    assert not any("unrelated" in line for line in result.details())


def test_targets_unrelated_to_the_samples_are_called_out(digits: tuple[np.ndarray, np.ndarray]) -> None:
    noise = np.random.default_rng(0).standard_normal(len(digits[0]))
    result = run_evaluators(digits[0], noise)
    assert any("probe: no better than guessing (0.000)" in line for line in result.details())


# Significance


def test_paired_tests_agree_with_what_is_known() -> None:
    from scipy.stats import ttest_rel

    generator = np.random.default_rng(0)
    ours, theirs = generator.random(200), generator.random(200) - 0.05
    assert paired_p_value(ours, theirs) == pytest.approx(ttest_rel(ours, theirs).pvalue)
    right, wrong = np.ones(30), np.ones(30)
    wrong[:6] = 0
    assert paired_p_value(right, wrong) == pytest.approx(2 * 0.5**6)  # McNemar: six coins, all heads or all tails
    assert paired_p_value(right, right) == 1
    clustered = np.repeat(generator.standard_normal(10), 50)
    assert paired_p_value(clustered, np.zeros(500), np.repeat(np.arange(10), 50)) > 10 * paired_p_value(
        clustered, np.zeros(500)
    )


def test_exact_tests_agree_with_scipy() -> None:
    from scipy.stats import binomtest

    generator = np.random.default_rng(0)
    for count in (1, 2, 7, 40, 3000):
        for rate in (0.0, 0.3, 0.5, 1.0):
            ours, theirs = generator.random(count) < rate, generator.random(count) < 0.5
            better, worse = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
            expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
            assert paired_p_value(ours, theirs) == pytest.approx(expected, rel=1e-9)
            result = Result({"accuracy": Metric(float(ours.mean()))}, scores=ours.astype(float), chance=0.1)
            greater = binomtest(int(ours.sum()), count, 0.1, alternative="greater").pvalue
            assert chance_p_value(result) == pytest.approx(min(1.0, 2 * greater), rel=1e-9)


def test_holm_is_the_step_down_correction() -> None:
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_correction([]) == [] and holm_correction([0.9, 0.8]) == [1.0, 1.0]


def test_paired_tests_hold_their_level() -> None:
    generator = np.random.default_rng(0)
    drawn = [paired_p_value(generator.random(300) < 0.8, generator.random(300) < 0.8) < 0.05 for _ in range(400)]
    assert np.mean(drawn) < 0.08


def test_another_encoder_is_compared_and_the_table_marks_significant_differences(
    images: np.ndarray, digits: tuple[np.ndarray, np.ndarray], encoder: aekit.Encoder
) -> None:
    blurred = encoder.embed(images).vectors.copy()
    blurred[:, 4:] = 0
    result = run_evaluators(encoder.embed(images), digits[1], ["knn"], compare_with={"four numbers": blurred})
    assert list(result.results)[:2] == ["encoder", "four numbers"] and result.compared_with == ("four numbers",)
    pair = result.paired_comparisons["knn", "four numbers"]
    assert pair.outcome == "better" and pair.p_value is not None and pair.p_value < 0.05 and pair.difference is not None
    line = next(line for line in result.text().splitlines() if line.startswith("knn accuracy"))
    assert line.split("  ")[2].endswith("<") or " <" in line
    shared = result.checks["health"].values["neighbors_shared_with_four numbers"]
    assert 0.05 < shared < 0.9
    (written,) = [d for d in result.to_dict()["paired_comparisons"] if d["subject"] == "four numbers"]
    assert written["outcome"] == "better" and written["low"] > 0
    (row,) = result.to_pandas(paired=True).query("baseline == 'four numbers'").to_dict("records")
    assert (row["evaluator"], row["outcome"], row["p_value"]) == ("knn", "better", pair.p_value)
    assert (row["difference"], row["low"], row["high"]) == tuple(vars(pair.difference).values())


# Geometry of known point sets


def test_health_of_what_is_known() -> None:
    generator = np.random.default_rng(0)
    sphere = generator.standard_normal((4000, 16)).astype(np.float32)
    figures = embedding_health(sphere).values
    assert figures["effective_rank"] == pytest.approx(16, abs=0.2) and abs(figures["mean_cosine"]) < 0.01
    # The mean over pairs of exp(-2 d^2), d^2 = 2 - 2 cos, by drawing cosines of random directions.
    unit = sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
    cosines = (unit[:2000] * unit[2000:]).sum(1)
    assert figures["uniformity"] == pytest.approx(np.log(np.exp(-4 + 4 * cosines).mean()), abs=0.1)
    assert figures["orphans"] < 0.2 and figures["hubs"] < 0.2


def test_shared_neighbors_and_angles_of_what_is_known() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1000, 8))
    turned = x @ np.linalg.qr(generator.standard_normal((8, 8)))[0]
    assert neighbor_overlap(x.astype(np.float32), turned.astype(np.float32)) > 0.99
    assert neighbor_overlap(x, generator.standard_normal((1000, 8))) < 0.05
    assert subspace_angles(x, turned).max() < 1e-4
    assert subspace_angles(x[:, :4], x[:, 4:]).min() > 80
    x -= x.mean(0)
    x, _ = np.linalg.qr(x)
    plane = np.stack([x[:, 0], np.cos(0.3) * x[:, 1] + np.sin(0.3) * x[:, 2]], 1)
    np.testing.assert_allclose(subspace_angles(plane, x[:, :2]), [0, np.degrees(0.3)], atol=1e-4)
    assert len(subspace_angles(np.ones((50, 3)), x[:50])) == 0
    wide = x[:60, :4] @ generator.standard_normal((4, 200))  # more dimensions than samples
    assert len(subspace_angles(wide, x[:60, :3])) == 3 and subspace_angles(wide, x[:60, :3]).max() < 1e-4
    assert subspace_angles(wide, x[:60, 4:]).min() > 45
    assert subspace_angles(generator.standard_normal((20, 40)), x[:20, :4]).tolist() == [0, 0, 0, 0]


def test_a_linear_autoencoder_lies_in_pcas_subspace(digits: tuple[np.ndarray, np.ndarray]) -> None:
    linear = aekit.fit(
        digits[0],
        dim=4,
        variants=["linear"],
        overrides={"objective.linear.init": "pca", "train.epochs": 1, "train.precision": "fp32"},
    )
    result = run_evaluators(linear.embed(digits[0]), digits[1])
    # Not quite 0: the components are those of the training part, the encoder has seen all.
    assert result.checks["health"].values["largest_angle_to_pca"] < 10


# From end to end


def test_the_command_line_warns(command: Command, tmp_path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    train = (15 * x[:400]).astype(np.uint8).reshape(-1, 1, 8, 8)
    np.savez(tmp_path / "leaky.npz", X_train=train, y_train=y[:400], X_test=train[:100], y_test=y[:100])
    quick = ("--set", "train.epochs=1", "--set", "train.precision=fp32")
    command.ok("fit", tmp_path / "leaky.npz", "-o", tmp_path / "run", "--dim", "8", "--quiet", *quick)
    command.ok("embed", tmp_path / "run", tmp_path / "leaky.npz", "-o", tmp_path / "embeddings", "--quiet")
    sentences = command.ok(
        "evaluate", tmp_path / "embeddings", "--evaluator", "knn", "--run", tmp_path / "run", "--quiet", "--verbose"
    )
    assert "warning: 100 of 100 test samples (100.0%) equal a training or validation sample" in sentences
    assert "reconstruction explained" in sentences and "chosen on validation: knn" in sentences
