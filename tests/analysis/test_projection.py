"""Maps and groups of embeddings."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import Command, Said
from PIL import Image, ImageColor
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

import aekit
from aekit.analysis.clustering import find_clusters
from aekit.analysis.projection import draw_map
from aekit.errors import DataError, OutputError, RecipeError
from aekit.evaluation.checks.embedding_health import embedding_health
from aekit.nn.low_rank import project_to_span
from aekit.visualization.plots import COLORS, GRAY, RAMP, _colored, draw_points

FAST = {"train.precision": "fp32", "encoder.conv.channels": [8, 16]}


def blobs(seed: int = 0, each: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three round groups, the first the largest, in 5 dimensions."""
    rng = np.random.default_rng(seed)
    sizes = [each + 20, each, each - 20]
    centers = np.array([[0, 0, 0, 0, 0], [6, 0, 0, 0, 0], [0, 6, 0, 0, 3]])
    rows = [center + 0.4 * rng.normal(size=(size, 5)) for center, size in zip(centers, sizes)]
    order = rng.permutation(sum(sizes))
    return np.concatenate(rows)[order].astype(np.float32), np.repeat([0, 1, 2], sizes)[order]


def same_up_to_sign(a: np.ndarray, b: np.ndarray) -> bool:
    return all(min(np.abs(x - y).max(), np.abs(x + y).max()) < 1e-3 for x, y in zip(a.T, b.T))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run2`` and ``run5``, of codes of 2 and 5 numbers, and the embeddings of the second."""
    folder = tmp_path_factory.mktemp("digits")
    for dim in (2, 5):
        encoder = aekit.fit("sklearn:digits", dim=dim, epochs=2, out=folder / f"run{dim}", overrides=FAST)
    encoder.embed("sklearn:digits", out=folder / "embeddings")
    return folder


# Maps


def test_a_code_of_two_numbers_is_its_own_map(command: Command, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    told = command.ok("map", digits / "run2", "-o", out, "-q")
    assert "2-dimensional embeddings, next to the principal components of the 64-dimensional samples (" in told
    table = pq.read_table(out.with_suffix(".parquet"))
    assert table.schema.metadata[b"aekit.digest"].decode() == aekit.load(digits / "run2").digest
    code = aekit.load(digits / "run2").embed("sklearn:digits")
    assert table["id"].to_pylist() == list(code.ids) and table["label"].to_pylist() == code.labels.tolist()
    plane = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
    assert np.allclose(plane, code.vectors)
    samples = load_digits().images.reshape(1797, -1) / 16
    beside = np.column_stack([table[name].to_numpy() for name in ("pca_x", "pca_y")])
    assert same_up_to_sign(beside, PCA(2, svd_solver="full").fit_transform(samples))
    with Image.open(out) as image:
        seen = {color for _, color in image.convert("RGB").getcolors(1 << 20)}
    assert {ImageColor.getrgb(color) for color in COLORS[:10]} <= seen, "a legend of ten colors"


def test_a_wider_code_is_laid_out_so_that_neighbors_stay_together(digits: Path) -> None:
    embeddings = aekit.Embeddings.open(digits / "embeddings")
    said = Said()
    found = draw_map(embeddings, max_samples=300, progress=said)
    assert len(found.ids) == 300 and "300 of 1,797 samples" in said
    rows = embeddings.vectors[::6].astype(float)
    assert found.ids == list(embeddings.ids)[::6]
    assert same_up_to_sign(found.pca, PCA(2, svd_solver="full").fit_transform(rows))
    assert trustworthiness(rows, found.points) > max(0.93, trustworthiness(rows, found.pca))
    again = draw_map(embeddings, max_samples=300)
    assert np.array_equal(again.points, found.points)


def test_vectors_of_anybody_are_mapped() -> None:
    rows, _ = blobs()
    found = draw_map(rows[:, :2])
    assert np.array_equal(found.points, rows[:, :2]) and found.labels is None
    assert found.titles[1].startswith("principal components of the 2-dimensional embeddings (")


def test_a_path_and_an_object_are_taken_alike(digits: Path, tmp_path: Path) -> None:
    """Embeddings, a run whose training data is embedded, and arrays, as a path or as an object."""
    embeddings = aekit.Embeddings.open(digits / "embeddings")
    expected = find_clusters(embeddings, clusters=4).clusters
    given = (digits / "embeddings", str(digits / "run5"), aekit.load(digits / "run5"), embeddings.vectors)
    for data in given:
        assert np.array_equal(find_clusters(data, clusters=4).clusters, expected)
        assert len(draw_map(data, method="pca", max_samples=100).ids) == 100
    for number, data in enumerate((embeddings, aekit.load(digits / "run5"), embeddings.vectors)):
        assert aekit.explore(data, tmp_path / f"atlas{number}", method="pca", max_samples=50).count == 50
    aekit.fit(np.random.default_rng(0).normal(size=(30, 4)), dim=2, epochs=1, out=tmp_path / "memory")
    with pytest.raises(DataError, match="the encoder: was trained on data in memory"):
        find_clusters(aekit.load(tmp_path / "memory"))
    with pytest.raises(DataError, match="embeddings of type dict"):
        draw_map({})


def test_a_legend_of_many_labels() -> None:
    rows = np.random.default_rng(0).normal(size=(250, 2))
    labels = np.array([f"class-{min(number, 24)}" for number in range(250)])
    image = draw_points({"plane": rows}, labels, "title")
    seen = {color for _, color in image.getcolors(1 << 20)}
    assert ImageColor.getrgb(GRAY) in seen and ImageColor.getrgb(COLORS[18]) in seen
    assert image.width > draw_points({"plane": rows}, None, "title").width


def test_numbers_on_a_scale_run_through_the_ramp() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 2))
    prices = np.linspace(1000.0, 25_000.0, 500).round(2)
    prices[7] = np.nan
    seen = {color for _, color in draw_points({"plane": rows}, prices, "").getcolors(1 << 20)}
    assert {ImageColor.getrgb(color) for color in (RAMP[0], RAMP[-1], GRAY)} <= seen
    assert ImageColor.getrgb(COLORS[1]) not in seen
    script = (Path(aekit.visualization.plots.__file__).parent / "map.js").read_text("utf-8")
    assert str(list(RAMP)).replace("'", '"') in script, "images and pages have one ramp"
    _, legend = _colored(prices, 500)
    assert list(legend) == ["1,240", "7,120", "13,000", "18,900", "24,800"]


def test_mistakes_with_maps(command: Command, digits: Path, tmp_path: Path) -> None:
    assert "expected a name that ends in .png" in command("map", digits / "embeddings", "-o", tmp_path / "m.pdf").error
    assert "no embeddings here" in command("map", tmp_path, "-o", tmp_path / "m.png").error
    with pytest.raises(DataError, match="a map needs at least 3 samples and 2 dimensions"):
        draw_map(np.zeros((10, 1)))
    with pytest.raises(DataError, match=r"expected \(N, D\)"):
        draw_map(np.zeros((10, 2, 2)))
    with pytest.raises(OutputError):
        draw_map(np.zeros((10, 2)), out=tmp_path / "m.jpg")
    aekit.fit(np.random.default_rng(0).normal(size=(30, 4)), dim=2, epochs=1, out=tmp_path / "memory")
    assert "was trained on data in memory" in command("map", tmp_path / "memory", "-o", tmp_path / "m.png").error
    assert list(tmp_path.glob("m.*")) == []


# Groups


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_groups_that_are_there_are_found(method: str) -> None:
    rows, truth = blobs()
    said = Said()
    found = find_clusters(rows, method=method, progress=said)  # type: ignore[arg-type]
    inside = found.clusters >= 0
    assert inside.mean() > 0.9 and np.array_equal(found.clusters[inside], truth[inside]), "numbered by size"
    for number, center in enumerate(found.centers):
        own = rows[found.clusters == number]
        assert np.allclose(center, own.mean(0), atol=1e-5)
        away = np.linalg.norm(own - own.mean(0), axis=1)
        assert np.allclose(found.distances[found.clusters == number], away, rtol=1e-3, atol=1e-4)
    assert found.silhouette > 0.7 and found.image is None
    if method == "kmeans":
        assert (
            max(found.silhouettes_by_count, key=lambda k: found.silhouettes_by_count[k]) == 3 and "3 clusters" in said
        )


def test_more_samples_than_densities_are_estimated_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aekit.evaluation.clusterers.DENSE", 90)
    rows, truth = blobs()
    found = find_clusters(rows, method="hdbscan")
    inside = found.clusters >= 0
    assert inside.mean() > 0.85 and np.array_equal(found.clusters[inside], truth[inside])


def test_groups_of_digits(command: Command, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "groups"
    told = command.ok("cluster", digits / "embeddings", "-k", 8, "-o", out, "-q")
    conclusion, head = told.splitlines()[:2]
    assert conclusion.startswith("1,797 samples form 8 clusters with ") and "(silhouette 0." in conclusion
    assert head.split() == ["cluster", "samples", "label", "fraction", "nearest"]
    described = json.loads((out / "clusters.json").read_text())
    embeddings = aekit.Embeddings.open(digits / "embeddings")
    assert described["encoder"] == embeddings.digest and len(described["clusters"]) == 8
    sizes = [row["samples"] for row in described["clusters"]]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 1797
    with (out / "clusters.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["id"] for row in listed] == list(embeddings.ids)
    centers = load_file(out / "centers.safetensors")["centers"]
    nearest = np.linalg.norm(embeddings.vectors[:, None] - centers, axis=2).argmin(1)
    assert (nearest == [int(row["cluster"]) for row in listed]).mean() > 0.99
    first = min((row for row in listed if row["cluster"] == "0"), key=lambda row: float(row["distance"]))
    assert first["id"] == described["clusters"][0]["nearest"]
    with Image.open(out / "image.png") as image:
        assert image.height > 8 * 72


def test_mistakes_with_groups(command: Command, digits: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out", "-q")
    assert "no embeddings here" in command("cluster", tmp_path, *out).error
    error = command("cluster", digits / "embeddings", "-k", 4, "--method", "hdbscan", *out).error
    assert "hdbscan finds the number of clusters itself" in error
    error = command("cluster", digits / "embeddings", "-k", 2000, *out).error
    assert "1797 embeddings: 2000 clusters need at least 2001" in error
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match="expected kmeans or hdbscan"):
        find_clusters(blobs()[0], method="dbscan")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="none of 40 samples lies in a dense group"):
        find_clusters(np.random.default_rng(0).uniform(size=(40, 20)), method="hdbscan")


def test_a_conclusion_comes_first() -> None:
    rows, truth = blobs()
    found = find_clusters(rows)
    assert (
        found.text().splitlines()[0]
        == f"180 samples form 3 clusters with strong structure (silhouette {found.silhouette:.3f})."
    )
    noise = np.random.default_rng(0).normal(size=(300, 40))
    assert " clusters with no clear structure (silhouette 0.0" in find_clusters(noise).text()
    labeled = replace(found, labels=np.where(truth == 2, 0, truth))
    assert labeled.text().splitlines()[0].endswith("; 100% of them have the most frequent label of their cluster.")
    some = replace(found, clusters=np.where(np.arange(180) < 9, -1, found.clusters))
    assert some.text().startswith("171 of 180 samples form 3 clusters")


@pytest.mark.parametrize("work", [find_clusters, draw_map, embedding_health])
def test_vectors_that_cannot_be_worked_on(work: Callable[[np.ndarray], object]) -> None:
    rows = blobs()[0]
    rows[7, 1] = np.nan
    with pytest.raises(DataError, match=f"1 of {len(rows)} embeddings are not finite, the first in row 7"):
        work(rows)
    with pytest.raises(DataError, match=r"embeddings of shape \(3,\): expected \(N, D\)"):
        work(rows[0, :3])


def test_few_wide_embeddings_are_grouped_and_judged_in_their_span() -> None:
    generator = np.random.default_rng(0)
    narrow = (generator.normal(size=(60, 12)) + 4 * generator.integers(0, 3, (60, 1))).astype(np.float32)
    turn = np.linalg.qr(generator.normal(size=(6000, 12)))[0].astype(np.float32)
    wide = narrow @ turn.T
    inside = project_to_span(wide)
    assert inside.shape == (60, 60) and inside.dtype == np.float32
    np.testing.assert_allclose(inside @ inside.T, narrow @ narrow.T, rtol=1e-4, atol=1e-3)
    assert project_to_span(narrow) is narrow
    assert project_to_span(np.zeros((2, 9), np.float32)).tolist() == [[0, 0], [0, 0]]
    few, many = (find_clusters(z, clusters=3) for z in (narrow, wide))
    np.testing.assert_array_equal(few.clusters, many.clusters)
    np.testing.assert_allclose(few.centers @ turn.T, many.centers, atol=1e-4)
    assert few.silhouette == pytest.approx(many.silhouette, abs=1e-4)
    ours, theirs = embedding_health(narrow).values, embedding_health(wide).values
    for name in ("effective_rank", "mean_cosine", "uniformity", "hubness"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-3), name
