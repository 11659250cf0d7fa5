"""Anomalies: metrics and scores against references, planted anomalies end to end, and user errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import RobustScaler

import aekit
from aekit.analysis._anomaly_baselines import BaselineDetectors
from aekit.analysis._anomaly_detector import Detector
from aekit.analysis._anomaly_vectors import neighbor_distances
from aekit.analysis.anomalies import find_anomalies
from aekit.data.samples import Samples, load_samples
from aekit.data.source import ArraySource
from aekit.errors import AekitError, DataError, IdentityError
from aekit.evaluation.metrics.detection import _Ranking, detection_metrics, detection_metrics_by_score
from aekit.objectives.autoencoder import load_autoencoder

RAW = ["raw-neighbors-5", "raw-neighbors-50", "raw-tails"]
FAST = {"train.precision": "fp32", "encoder.mlp.hidden": []}


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 300 normal samples near a plane in 8 dimensions, and 30 anomalies off the plane or far out in it."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(99).normal(size=(2, 8))
    normal = rng.normal(size=(300, 2)) @ plane + 0.1 * rng.normal(size=(300, 8))
    off = rng.normal(size=(15, 2)) @ plane + 2.0 * rng.normal(size=(15, 8))
    far = 8 * rng.choice([-1, 1], (15, 2)) @ plane + 0.1 * rng.normal(size=(15, 8))
    return np.concatenate([normal, off, far]), np.repeat([0, 1], [300, 30])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table: half of the normal samples to train on, the others and the anomalies to test on."""
    x, y = planted()
    path = tmp_path_factory.mktemp("table") / "half.npz"
    np.savez(path, X_train=x[:150], y_train=y[:150], X_test=x[150:], y_test=y[150:])
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    out = table.parent / "run"
    aekit.fit(table, variants="plain", dim=2, epochs=100, out=out, overrides=FAST | {"train.lr": 2e-2})
    return out


def training(table: Path) -> Samples:
    rows = np.load(table)["X_train"]
    return load_samples(ArraySource(rows), np.arange(len(rows)), torch.device("cpu"))


# Metrics


def test_metrics_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for decimals in (6, 1, 0):  # with increasing numbers of ties
        y_true = rng.random(400) < 0.2
        scores = (rng.normal(size=400) + 1.2 * y_true).round(decimals)
        metrics = detection_metrics(scores, y_true, resamples=200)
        assert metrics["auroc"].value == pytest.approx(roc_auc_score(y_true, scores), abs=1e-12)
        assert metrics["average_precision"].value == pytest.approx(average_precision_score(y_true, scores), abs=1e-12)
        false_rate, true_rate, _ = roc_curve(y_true, scores, drop_intermediate=False)
        assert metrics["fpr_at_95"].value == pytest.approx(false_rate[true_rate >= 0.95].min(), abs=1e-12)
        for metric in metrics.values():
            assert metric.low is not None and metric.high is not None and metric.low < metric.value < metric.high


def test_metrics_of_repeated_samples_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    for decimals in (6, 0):
        y_true = rng.random(120) < 0.3
        scores = (rng.normal(size=120) + y_true).round(decimals)
        weights = rng.integers(0, 3, (120, 4), dtype=np.int32)
        weights[y_true, 3] = 0
        metrics = _Ranking(scores, y_true).metrics(weights)
        for column in range(3):
            times = weights[:, column]
            auroc = roc_auc_score(y_true, scores, sample_weight=times)
            precision = average_precision_score(y_true, scores, sample_weight=times)
            false_rate, true_rate, _ = roc_curve(y_true, scores, sample_weight=times, drop_intermediate=False)
            expected = [auroc, precision, false_rate[true_rate >= 0.95 - 1e-12].min()]
            np.testing.assert_allclose(metrics[:, column], expected, atol=1e-12)
        assert np.isnan(metrics[:, 3]).all(), "no anomaly was drawn"


def test_scores_that_share_their_resampled_data_have_the_same_intervals() -> None:
    rng = np.random.default_rng(3)
    y_true = rng.random(90) < 0.4
    scores = {name: rng.normal(size=90) + y_true for name in "ab"}
    together = detection_metrics_by_score(scores, y_true, seed=4, resamples=50)
    assert together == {
        name: detection_metrics(values, y_true, seed=4, resamples=50) for name, values in scores.items()
    }


def test_intervals_equal_those_of_resampled_data() -> None:
    rng = np.random.default_rng(1)
    y_true = np.repeat([True, False], [40, 160])
    scores = (rng.normal(size=200) + y_true).round(1)
    metrics = detection_metrics(scores, y_true, seed=5, resamples=400)
    values: dict[str, list[float]] = {"auroc": [], "average_precision": []}
    for _ in range(400):
        rows = np.concatenate([rng.integers(0, 40, 40), rng.integers(40, 200, 160)])
        values["auroc"].append(roc_auc_score(y_true[rows], scores[rows]))
        values["average_precision"].append(average_precision_score(y_true[rows], scores[rows]))
    for name, resampled in values.items():
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert metrics[name].low == pytest.approx(low, abs=0.02) and metrics[name].high == pytest.approx(high, abs=0.02)
    assert detection_metrics(scores, y_true, seed=5, resamples=400) == metrics
    with pytest.raises(ValueError, match="expected both anomalies and normal samples"):
        detection_metrics(scores, np.ones(200, bool))


# Scores


def test_scores_equal_references(run: Path, table: Path) -> None:
    autoencoder = load_autoencoder(run)
    encoder = autoencoder.encoder
    detector = Detector.fit(encoder, autoencoder, training(table))
    raw = torch.from_numpy(np.load(table)["X_test"])
    scores = detector.scores(encoder, autoencoder, raw)
    assert list(scores) == ["reconstruction", "code", "neighbors", *RAW, "combined"]
    x = encoder.preprocess(raw)
    with torch.no_grad():
        error = (autoencoder.reconstruct(raw) - x).square().mean(1)
        codes = [encoder.encode(encoder.preprocess(torch.from_numpy(np.load(table)[name]))).double().numpy()
                 for name in ("X_train", "X_test")]  # fmt: skip
    assert np.allclose(scores["reconstruction"], error.numpy(), rtol=1e-5)
    reference = LedoitWolf().fit(codes[0])
    assert np.allclose(np.square(scores["code"]), reference.mahalanobis(codes[1]), rtol=1e-4)
    scaled = [(code - codes[0].mean(0)) / codes[0].std(0, ddof=1) for code in codes]
    near, _ = NearestNeighbors(n_neighbors=5).fit(scaled[0]).kneighbors(scaled[1])
    assert np.allclose(scores["neighbors"], near.mean(1), rtol=1e-4)
    weights = {"reconstruction": 1.0, "raw-neighbors-5": 5.0, "raw-tails": 2.0}
    surprisals = [weight * detector.surprisal(name, scores[name]) for name, weight in weights.items()]
    assert detector.weights == weights and np.allclose(scores["combined"], np.sum(surprisals, 0) / 8)


def test_scores_of_vectors_equal_references(run: Path, table: Path) -> None:
    encoder = aekit.load(run)
    detector = Detector.fit(encoder, None, training(table))
    scores = detector.scores(encoder, None, torch.from_numpy(np.load(table)["X_test"]))
    # The affine preprocessing does not matter.
    scaled = [RobustScaler(unit_variance=True).fit(np.load(table)["X_train"]).transform(np.load(table)[name])
              for name in ("X_train", "X_test")]  # fmt: skip
    for count in (5, 50):
        near, _ = NearestNeighbors(n_neighbors=count).fit(scaled[0]).kneighbors(scaled[1])
        assert np.allclose(scores[f"raw-neighbors-{count}"], near.mean(1), rtol=1e-3)
    rarer = np.stack([np.minimum((scaled[0] <= row).sum(0), (scaled[0] >= row).sum(0)) for row in scaled[1]])
    assert np.allclose(scores["raw-tails"], -np.log((rarer + 1) / 152).sum(1), rtol=1e-6)
    assert detector.weights == {"code": 1.0, "raw-neighbors-5": 5.0, "raw-tails": 2.0}, "in place of reconstruction"


def test_columns_without_spread_are_scored(run: Path) -> None:
    rows = planted()[0][:100].astype(np.float32)
    rows[:, 0], rows[:, 1] = 3, rows[:, 1] > 2.5
    encoder = aekit.fit(rows, dim=2, epochs=1, overrides=FAST)
    samples = load_samples(ArraySource(rows), np.arange(100), torch.device("cpu"))
    detector = Detector.fit(encoder, None, samples)
    odd = rows[:2].copy()
    odd[:, 0] = 50
    normal, far = (detector.scores(encoder, None, torch.from_numpy(x))["combined"] for x in (rows, odd))
    assert np.isfinite(normal).all() and far.min() > normal.max()


def test_anomalies_may_be_among_the_reference_if_all_samples_scored_are(run: Path, tmp_path: Path) -> None:
    x, y = planted()
    note = "all samples scored are among the reference samples, so anomalies may be too"
    # Six clustered anomalies are the nearest neighbors of each other.
    cluster = x[:1] + 9 + 0.01 * np.random.default_rng(0).normal(size=(6, 8))
    rows, anomalous = np.concatenate([x[y == 0], cluster]), np.repeat([0, 1], [300, 6])
    np.savez(tmp_path / "all.npz", X=rows, y=anomalous)
    contained = find_anomalies(run, tmp_path / "all.npz", reference=rows, baselines=False, out=tmp_path / "out")
    assert contained.detector.weights == {"raw-neighbors-50": 1.0, "raw-tails": 1.0}
    assert any(line.startswith(note) for line in contained.notes)
    auroc = {name: by_name["auroc"].value for name, by_name in contained.metrics.items()}
    assert auroc["combined"] > 0.99 > auroc["raw-neighbors-5"]
    assert "raw-neighbors-50 or raw-tails" in find_anomalies(run, rows, reference=rows, baselines=False).text()
    # The saved detector keeps its weights; those of normal samples are others, also if most samples scored are among them.
    again = find_anomalies(run, rows, detector=tmp_path / "out", baselines=False)
    assert again.detector.weights == contained.detector.weights and again.ids == contained.ids
    normal = find_anomalies(run, tmp_path / "all.npz", reference=rows[:300], baselines=False)
    assert "raw-neighbors-5" in normal.detector.weights and not any(line.startswith(note) for line in normal.notes)


def test_detectors_of_other_formats_are_refused(run: Path, table: Path, tmp_path: Path) -> None:
    encoder = aekit.load(run)
    detector = Detector.fit(encoder, None, training(table))
    detector.save(tmp_path)
    path = tmp_path / "detector.json"
    entries = json.loads(path.read_text()) | {"format": 2}
    path.write_text(json.dumps(entries))
    with pytest.raises(AekitError, match=r"detector format 2, this aekit reads 4; make it again"):
        Detector.load(tmp_path, encoder)
    detector.weights = {"reconstruction": 1.0}
    detector.save(tmp_path)
    with pytest.raises(AekitError, match="is damaged"):
        Detector.load(tmp_path, encoder)


def test_surprisal_is_the_negative_logarithm_of_a_fraction(run: Path, table: Path) -> None:
    autoencoder = load_autoencoder(run)
    detector = Detector.fit(autoencoder.encoder, autoencoder, training(table))
    quantiles = np.quantile(np.random.default_rng(0).exponential(3.0, 200_000), np.linspace(0, 1, 1001))
    detector.tensors["tail.code"] = torch.from_numpy(quantiles)
    detector.tensors["excess.code"] = torch.tensor([3.0], dtype=torch.float64)  # the mean excess of an exponential
    values = np.array([0.0, 1.0, 4.0, 8.0, 30.0, 300.0])
    assert np.allclose(detector.surprisal("code", values), values / 3, rtol=0.02, atol=1e-3)
    # The surprisal of training samples gives back the fraction of them that scores at least as high.
    training_scores = detector.scores(autoencoder.encoder, autoencoder, torch.from_numpy(np.load(table)["X_train"]))[
        "code"
    ]
    fitted = Detector.fit(autoencoder.encoder, autoencoder, training(table))
    fractions = np.array([(training_scores >= score).mean() for score in training_scores])
    reliable = fractions > 0.15
    assert np.allclose(np.exp(-fitted.surprisal("code", training_scores))[reliable], fractions[reliable], atol=0.02)
    assert (np.diff(fitted.surprisal("code", np.sort(training_scores))) >= 0).all()


def test_a_sample_is_not_its_own_neighbor() -> None:
    base = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    near, _ = NearestNeighbors(n_neighbors=6).fit(base).kneighbors(base)
    assert np.allclose(neighbor_distances(base, base), near[:, 1:].mean(1), rtol=1e-4)
    strangers = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    near, _ = NearestNeighbors(n_neighbors=5).fit(base).kneighbors(strangers)
    assert np.allclose(neighbor_distances(strangers, base), near.mean(1), rtol=1e-4)


def test_the_bound_of_a_variational_autoencoder(tmp_path: Path) -> None:
    rows = planted()[0][:120]
    aekit.fit(rows, variants=["vae"], dim=3, epochs=2, out=tmp_path / "run", overrides=FAST)
    autoencoder = load_autoencoder(tmp_path / "run")
    encoder = autoencoder.encoder
    result = find_anomalies(tmp_path / "run", rows, reference=rows, baselines=False)
    with torch.no_grad():
        raw = torch.from_numpy(rows)
        features = encoder.backbone(encoder.preprocess(raw))
        expected = autoencoder.errors(raw) + encoder.head.divergence(features)
    order = [int(name) for name in result.ids]
    assert np.allclose(result.scores["negative-elbo"], expected.numpy()[order], rtol=1e-4)


def test_baselines_equal_those_of_scikit_learn(run: Path, table: Path) -> None:
    encoder = aekit.load(run)
    baselines = BaselineDetectors(encoder, training(table), seed=3)
    raw = [torch.from_numpy(np.load(table)[name]) for name in ("X_train", "X_test")]
    x = [encoder.preprocess(rows).numpy() for rows in raw]
    scores = baselines.scores(raw[1])
    pca = PCA(2, svd_solver="full").fit(x[0])
    errors = np.square(pca.inverse_transform(pca.transform(x[1])) - x[1]).mean(1)
    assert np.allclose(scores["pca-2"], errors, rtol=1e-3, atol=1e-6)
    forest = IsolationForest(random_state=3).fit(x[0])
    assert np.allclose(scores["isolation forest"], -forest.score_samples(x[1]))
    near, _ = NearestNeighbors(n_neighbors=5).fit(x[0]).kneighbors(x[1])
    assert np.allclose(scores["raw neighbors"], near.mean(1), rtol=1e-4)


# End to end


def test_planted_anomalies_are_detected(command: Command, run: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = command.ok("anomalies", run, table, "--split", "test", "-o", out, "-q")
    assert (
        "isolation forest" in output and "180 samples, most anomalous first" in output and "scored here" not in output
    )
    results = json.loads((out / "results.json").read_text())
    assert (results["samples"], results["anomalies"]) == (180, 30)
    auroc = {name: by_name["auroc"]["value"] for name, by_name in results["metrics"].items()}
    assert list(auroc) == [
        "reconstruction",
        "code",
        "neighbors",
        *RAW,
        "combined",
        "pca-2",
        "isolation forest",
        "raw neighbors",
    ]
    # The error misses samples far out in the plane, the embedding those off it; the combination misses neither.
    assert auroc["combined"] > 0.97 and auroc["combined"] > max(auroc["reconstruction"], auroc["code"])
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    combined = [float(row["combined"]) for row in rows]
    assert combined == sorted(combined, reverse=True) and {row["label"] for row in rows} == {"0", "1"}
    y_true = [int(row["label"]) for row in rows]
    assert roc_auc_score(y_true, combined) == pytest.approx(auroc["combined"], abs=1e-6)
    assert sum(y_true[:20]) >= 18

    # The saved detector gives the same scores again, for the same and for other data.
    again = find_anomalies(run, table, split="test", detector=out)
    assert again.ids == [row["id"] for row in rows] and np.allclose(again.scores["combined"], combined, rtol=1e-4)
    assert (
        "no baselines: the detector was fitted in an earlier run" in again.notes
        and list(again.metrics) == list(auroc)[:7]
    )
    few = find_anomalies(run, np.load(table)["X_test"][-3:], detector=out, baselines=False)
    assert len(few.ids) == 3 and few.metrics == {} and "no metrics: the data has no labels" in few.notes
    assert few.text().splitlines()[1].split() == ["id", "reconstruction", "code", "neighbors", *RAW, "combined"]


def test_a_conclusion_comes_first(run: Path, table: Path) -> None:
    result = find_anomalies(run, table, split="test")
    auroc = result.metrics["combined"]["auroc"]
    conclusion = (
        f"The combined score separates anomalies from normal samples with an AUROC of {auroc}; the best baseline is "
    )
    assert result.text().startswith(conclusion)
    alone = find_anomalies(run, table, split="test", baselines=False)
    assert alone.text().splitlines()[0] == conclusion.partition(";")[0] + "."
    # Without labels: how many samples lie outside the range of the training samples, none of which does itself.
    rows = np.load(table)
    normal = find_anomalies(run, rows["X_train"], detector=result.detector, baselines=False)
    assert normal.text().startswith(
        "0 of 150 samples have a higher reconstruction or raw-neighbors-5 or raw-tails score than every reference sample;"
    )
    odd = find_anomalies(run, rows["X_test"][-30:], detector=result.detector, baselines=False)
    above = sum(odd.scores["reconstruction"] > normal.scores["reconstruction"].max() * 1.0001)
    outside = int(odd.text().partition(" ")[0])
    assert 25 <= outside <= 30 and outside >= above
    assert odd.text().splitlines()[0].endswith(f"; the most anomalous sample is {odd.ids[0]!r}.")


def test_a_path_and_an_object_are_taken_alike(run: Path, table: Path) -> None:
    autoencoder, rows = load_autoencoder(run), np.load(table)
    by_path = find_anomalies(run, table, split="test", reference=rows["X_train"], baselines=False)
    by_object = find_anomalies(autoencoder, table, split="test", reference=rows["X_train"], baselines=False)
    assert by_object.ids == by_path.ids and list(by_object.scores) == list(by_path.scores)
    encoder = autoencoder.encoder
    codes = find_anomalies(encoder, table, split="test", detector=by_path.detector, baselines=False)
    assert list(codes.scores) == ["code", "neighbors", *RAW, "combined"]
    assert "no reconstruction error: the encoder has no decoder" in codes.notes
    with pytest.raises(DataError, match="reference = None: expected normal samples"):
        find_anomalies(encoder, table, split="test")
    other = aekit.fit(rows["X_train"], dim=2, epochs=1, overrides=FAST)
    with pytest.raises(IdentityError, match="the detector was fitted to embeddings"):
        find_anomalies(other, table, detector=by_path.detector)


def test_training_on_normal_samples_of_a_data_set_without_splits(command: Command, tmp_path: Path) -> None:
    x, y = planted()
    np.savez(tmp_path / "all.npz", X=x, y=y)
    settings = ("--dim", 2, "--epochs", 2, "--set", 'data.only_labels=["0"]', "--set", "train.precision=fp32", "-q")
    command.ok("fit", tmp_path / "all.npz", "-o", tmp_path / "run", *settings)
    output = command.ok("anomalies", tmp_path / "run", tmp_path / "all.npz", "-o", tmp_path / "out", "-q")
    assert "was trained, without labels, on 300 of the 300 normal samples and 0 of the 30 anomalies" in output


def test_one_class_against_the_rest(command: Command, tmp_path: Path) -> None:
    settings = (
        "--dim",
        6,
        "--epochs",
        8,
        "--set",
        'data.only_labels=["0"]',
        "--set",
        "encoder.conv.channels=[8,16]",
        "-q",
    )
    command.ok("fit", "sklearn:digits", "-o", tmp_path / "run", *settings)
    result = find_anomalies(tmp_path / "run", "sklearn:digits", normal=["0"], out=tmp_path / "out", baselines=False)
    assert result.anomalous is not None and int((~result.anomalous).sum()) == 178
    assert result.metrics["reconstruction"]["auroc"].value > 0.9
    assert not set(RAW) & set(result.scores), "images have no raw scores"
    assert result.detector.weights == {"reconstruction": 1.0, "code": 1.0}
    assert result.image.width > 400 and (tmp_path / "out" / "image.png").stat().st_size > 5000


def test_a_run_without_a_decoder_scores_by_embeddings(run: Path, table: Path, tmp_path: Path) -> None:
    aekit.load(run).save(tmp_path / "only" / "encoder")
    result = find_anomalies(
        tmp_path / "only", table, split="test", reference=np.load(table)["X_train"], baselines=False
    )
    assert list(result.scores) == ["code", "neighbors", *RAW, "combined"]
    assert "no reconstruction error: the run has no decoder" in result.notes


def test_labels_that_do_not_name_anomalies(run: Path, table: Path, tmp_path: Path) -> None:
    x, y = planted()
    reference = {"reference": x[:100], "baselines": False}
    np.savez(tmp_path / "names.npz", X=x, y=np.where(y == 1, "odd", "fine"))
    result = find_anomalies(run, tmp_path / "names.npz", **reference)
    assert result.metrics == {} and any("name the normal labels as normal (--normal)" in note for note in result.notes)
    result = find_anomalies(run, tmp_path / "names.npz", normal=["fine"], **reference)
    assert result.metrics["combined"]["auroc"].value > 0.95
    np.savez(tmp_path / "same.npz", X=x[:50], y=y[:50])
    result = find_anomalies(run, tmp_path / "same.npz", **reference)
    assert "no metrics: all 50 samples are normal" in result.notes


def test_user_errors(command: Command, run: Path, table: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out", "-q")
    assert "no sample with label '3'; available: 0, 1" in command("anomalies", run, table, "--normal", 3, *out).error
    assert "takes vector 8 float64" in command("anomalies", run, "sklearn:iris", *out).error
    assert "no detector here" in command("anomalies", run, table, "--detector", tmp_path, *out).error
    rows = planted()[0]
    np.save(tmp_path / "rows.npy", rows)
    error = command("anomalies", run, tmp_path / "rows.npy", "--normal", 0, *out).error
    assert "the data has no labels" in error
    few = tmp_path / "few.npy"
    np.save(few, rows[:9])
    assert (
        "9 reference samples: a detector needs at least 10"
        in command("anomalies", run, table, "--reference", few, *out).error
    )
    # A detector belongs to the encoder that it was fitted with.
    assert not (tmp_path / "out").exists()
    command.ok("anomalies", run, table, "--no-baselines", *out)
    aekit.fit(rows, dim=2, epochs=1, out=tmp_path / "other", overrides=FAST)
    error = command("anomalies", tmp_path / "other", table, "--detector", tmp_path / "out", "-o", tmp_path / "o").error
    assert "comes from encoder" in error and "the detector in" in error
    error = command("anomalies", tmp_path / "other", table, "-o", tmp_path / "o", "-q").error
    assert "trained on data in memory" in error and "pass normal samples as reference (--reference)" in error
    assert "exists already" in command("anomalies", run, table, *out).error
    (tmp_path / "out" / "detector.safetensors").write_bytes(b"no")
    error = command("anomalies", run, table, "--detector", tmp_path / "out", "-o", tmp_path / "o", "-q").error
    assert "detector.safetensors: is damaged" in error


def test_an_embedding_wider_than_its_samples(tmp_path: Path) -> None:
    rows = planted()[0]
    aekit.fit(rows, dim=12, epochs=1, out=tmp_path / "run", overrides=FAST)
    result = find_anomalies(tmp_path / "run", rows, reference=rows)
    assert any("no PCA baseline: 12 components" in note for note in result.notes)
    assert all(np.isfinite(values).all() for values in result.scores.values())


def test_a_table_from_the_literature(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "anomaly" / "6_cardio.npz"
    aekit.fit(
        path, dim=4, epochs=20, out=tmp_path / "run", overrides={"data.only_labels": ["0"], "train.precision": "fp32"}
    )
    result = find_anomalies(tmp_path / "run", path)
    assert result.metrics["combined"]["auroc"].value > 0.9 and result.metrics["pca-4"]["auroc"].value > 0.9
