"""Maps and clusters of embeddings."""

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
from aekit.visualization.sample_page import SamplePage

FAST = {"train.precision": "fp32", "encoder.conv.channels": [8, 16]}


def blobs(seed: int = 0, each: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return three round groups in 5 dimensions, the first the largest, and the group of each row."""
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
    """Return a folder with ``run2`` and ``run5``, of 2 and 5 dimensions, and the embeddings of the second."""
    folder = tmp_path_factory.mktemp("digits")
    for dim in (2, 5):
        encoder = aekit.fit("sklearn:digits", dim=dim, epochs=2, out=folder / f"run{dim}", overrides=FAST)
    encoder.embed("sklearn:digits", out=folder / "embeddings")
    return folder


# Maps


def test_embeddings_of_two_dimensions_are_not_projected(command: Command, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    output = command.ok("map", digits / "run2", "-o", out, "-q")
    assert "2-dimensional embeddings, next to the principal components of the 64-dimensional samples (" in output
    table = pq.read_table(out.with_suffix(".parquet"))
    assert table.schema.metadata[b"aekit.digest"].decode() == aekit.load(digits / "run2").digest
    code = aekit.load(digits / "run2").embed("sklearn:digits")
    assert table["id"].to_pylist() == list(code.ids) and table["label"].to_pylist() == code.labels.tolist()
    plane = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
    assert np.allclose(plane, code.vectors)
    samples = load_digits().images.reshape(1797, -1) / 16
    pca = np.column_stack([table[name].to_numpy() for name in ("pca_x", "pca_y")])
    assert same_up_to_sign(pca, PCA(2, svd_solver="full").fit_transform(samples))
    with Image.open(out) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 20)}
    assert {ImageColor.getrgb(color) for color in COLORS[:10]} <= colors, "a legend of ten colors"


def test_tsne_keeps_neighbors_together(digits: Path) -> None:
    embeddings = aekit.Embeddings.open(digits / "embeddings")
    messages = Said()
    drawn = draw_map(embeddings, max_samples=300, progress=messages)
    assert len(drawn.ids) == 300 and "300 of 1,797 samples" in messages
    shown = np.array(drawn.ids, int)
    assert set(np.diff(shown)) == {6, 7}
    rows = embeddings.vectors[shown].astype(float)
    assert same_up_to_sign(drawn.pca, PCA(2, svd_solver="full").fit_transform(rows))
    assert trustworthiness(rows, drawn.points) > max(0.93, trustworthiness(rows, drawn.pca))
    again = draw_map(embeddings, max_samples=300)
    assert np.array_equal(again.points, drawn.points)


def test_arrays_are_mapped() -> None:
    rows, _ = blobs()
    drawn = draw_map(rows[:, :2])
    assert np.array_equal(drawn.points, rows[:, :2]) and drawn.labels is None
    assert drawn.titles[1].startswith("principal components of the 2-dimensional embeddings (")


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


def test_the_points_of_a_map_get_labels_of_a_file(command: Command, tmp_path: Path) -> None:
    rows, groups = blobs()
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "labels.csv").write_text("id,kind\n" + "".join(f"{row},g{group}\n" for row, group in enumerate(groups)))
    out = tmp_path / "map.png"
    command.ok("map", tmp_path / "rows.npy", "--labels", tmp_path / "labels.csv", "--method", "pca", "-o", out, "-q")
    assert pq.read_table(out.with_suffix(".parquet"))["label"].to_pylist() == [f"g{group}" for group in groups]


def test_a_legend_of_many_labels() -> None:
    rows = np.random.default_rng(0).normal(size=(250, 2))
    labels = np.array([f"class-{min(number, 24)}" for number in range(250)])
    image = draw_points({"plane": rows}, labels, "title")
    colors = {color for _, color in image.getcolors(1 << 20)}
    assert ImageColor.getrgb(GRAY) in colors and ImageColor.getrgb(COLORS[18]) in colors
    assert image.width > draw_points({"plane": rows}, None, "title").width


def test_numeric_labels_use_the_color_ramp() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 2))
    prices = np.linspace(1000.0, 25_000.0, 500).round(2)
    prices[7] = np.nan
    colors = {color for _, color in draw_points({"plane": rows}, prices, "").getcolors(1 << 20)}
    assert {ImageColor.getrgb(color) for color in (RAMP[0], RAMP[-1], GRAY)} <= colors
    assert ImageColor.getrgb(COLORS[1]) not in colors
    script = (Path(aekit.visualization.plots.__file__).parent / "map.js").read_text("utf-8")
    assert str(list(RAMP)).replace("'", '"') in script, "images and pages have one ramp"
    _, legend = _colored(prices, 500)
    assert list(legend) == ["1,240", "7,120", "13,000", "18,900", "24,800"]


def test_user_errors_with_maps(command: Command, digits: Path, tmp_path: Path) -> None:
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


# Clusters


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_planted_groups_are_found(method: str) -> None:
    rows, groups = blobs()
    messages = Said()
    result = find_clusters(rows, method=method, progress=messages)  # type: ignore[arg-type]
    clustered = result.clusters >= 0
    assert clustered.mean() > 0.9 and np.array_equal(result.clusters[clustered], groups[clustered]), "numbered by size"
    for number, center in enumerate(result.centers):
        members = rows[result.clusters == number]
        assert np.allclose(center, members.mean(0), atol=1e-5)
        distances = np.linalg.norm(members - members.mean(0), axis=1)
        assert np.allclose(result.distances[result.clusters == number], distances, rtol=1e-3, atol=1e-4)
    assert result.silhouette > 0.7 and result.image is None
    if method == "kmeans":
        assert (
            max(result.silhouettes_by_count, key=lambda k: result.silhouettes_by_count[k]) == 3
            and "3 clusters" in messages
        )


def test_hdbscan_on_more_samples_than_it_is_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aekit.evaluation.clusterers.DENSE", 90)
    rows, groups = blobs()
    result = find_clusters(rows, method="hdbscan")
    clustered = result.clusters >= 0
    assert clustered.mean() > 0.85 and np.array_equal(result.clusters[clustered], groups[clustered])


def test_clusters_of_digits(command: Command, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "groups"
    output = command.ok("cluster", digits / "embeddings", "-k", 8, "-o", out, "-q")
    conclusion, head = output.splitlines()[:2]
    assert conclusion.startswith("1,797 samples form 8 clusters with ") and "(silhouette 0." in conclusion
    assert head.split() == ["cluster", "samples", "label", "fraction", "nearest"]
    description = json.loads((out / "clusters.json").read_text())
    embeddings = aekit.Embeddings.open(digits / "embeddings")
    assert description["encoder"] == embeddings.digest and len(description["clusters"]) == 8
    sizes = [row["samples"] for row in description["clusters"]]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 1797
    with (out / "clusters.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(embeddings.ids)
    centers = load_file(out / "centers.safetensors")["centers"]
    nearest = np.linalg.norm(embeddings.vectors[:, None] - centers, axis=2).argmin(1)
    assert (nearest == [int(row["cluster"]) for row in rows]).mean() > 0.99
    first = min((row for row in rows if row["cluster"] == "0"), key=lambda row: float(row["distance"]))
    assert first["id"] == description["clusters"][0]["nearest"]
    with Image.open(out / "image.png") as image:
        assert image.height > 8 * 72
    page = SamplePage.model_validate_json((out / "page.json").read_text("utf-8"))
    assert [section.title for section in page.sections[:-1]] == [
        f"Cluster {row['cluster']}: {row['samples']:,} samples" for row in description["clusters"]
    ]
    assert all(section.remark.startswith("16 of ") and len(section.samples) == 16 for section in page.sections[:-1])
    assert page.sections[0].samples[0].id == first["id"] and page.sections[-1].table == description["clusters"]
    assert page.thumbnails is not None and "Cluster 7" in (out / "report.html").read_text("utf-8")


def test_samples_in_no_cluster_are_on_the_page(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    dense = np.repeat([[0.0, 0.0], [8.0, 0.0]], 120, axis=0) + 0.1 * generator.normal(size=(240, 2))
    rows = np.concatenate([dense, generator.uniform(-20, 20, (40, 2))]).astype(np.float32)
    result = find_clusters(rows, method="hdbscan")
    page = result.page
    outside = np.flatnonzero(result.clusters < 0)
    assert page is not None and page.severity == "good" and page.thumbnails is None
    section = page.sections[-2]
    assert section.title == f"In no cluster: {len(outside):,} samples"
    farthest = outside[result.distances[outside].argmax()]
    assert section.samples[0].id == str(farthest) and "the farthest from all centers first" in section.remark


def test_user_errors_with_clusters(command: Command, digits: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out", "-q")
    assert "no embeddings here" in command("cluster", tmp_path, *out).error
    error = command("cluster", digits / "embeddings", "-k", 4, "--method", "hdbscan", *out).error
    assert "hdbscan finds the number of clusters itself" in error
    error = command("cluster", digits / "embeddings", "-k", 2000, *out).error
    assert "1797 embeddings: 2000 clusters need at least 2001" in error
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match="expected kmeans or hdbscan"):
        find_clusters(blobs()[0], method="dbscan")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no dense region among 40 samples"):
        find_clusters(np.random.default_rng(0).uniform(size=(40, 20)), method="hdbscan")


def test_a_conclusion_comes_first() -> None:
    rows, groups = blobs()
    result = find_clusters(rows)
    conclusion = f"180 samples form 3 clusters with strong structure (silhouette {result.silhouette:.3f})."
    assert result.text().splitlines()[0] == conclusion
    noise = np.random.default_rng(0).normal(size=(300, 40))
    assert " clusters with no clear structure (silhouette 0.0" in find_clusters(noise).text()
    far = np.concatenate([noise[:119, :4], np.full((1, 4), 60.0)])
    outlier = find_clusters(far, clusters=2)
    assert outlier.silhouette > 0.8
    assert outlier.text().startswith(
        "120 samples, 99% of them in one cluster: the others are outliers rather than clusters"
    )
    labeled = replace(result, labels=np.where(groups == 2, 0, groups))
    assert labeled.text().splitlines()[0].endswith("; 100% of them have the most frequent label of their cluster.")
    some = replace(result, clusters=np.where(np.arange(180) < 9, -1, result.clusters))
    assert some.text().startswith("171 of 180 samples form 3 clusters")


@pytest.mark.parametrize("work", [find_clusters, draw_map, embedding_health])
def test_invalid_vectors(work: Callable[[np.ndarray], object]) -> None:
    rows = blobs()[0]
    rows[7, 1] = np.nan
    with pytest.raises(DataError, match=f"1 of {len(rows)} embeddings are not finite, the first in row 7"):
        work(rows)
    with pytest.raises(DataError, match=r"embeddings of shape \(3,\): expected \(N, D\)"):
        work(rows[0, :3])


def test_few_wide_embeddings_are_clustered_and_checked_in_their_span() -> None:
    generator = np.random.default_rng(0)
    narrow = (generator.normal(size=(60, 12)) + 4 * generator.integers(0, 3, (60, 1))).astype(np.float32)
    rotation = np.linalg.qr(generator.normal(size=(6000, 12)))[0].astype(np.float32)
    wide = narrow @ rotation.T
    inside = project_to_span(wide)
    assert inside.shape == (60, 60) and inside.dtype == np.float32
    np.testing.assert_allclose(inside @ inside.T, narrow @ narrow.T, rtol=1e-4, atol=1e-3)
    assert project_to_span(narrow) is narrow
    assert project_to_span(np.zeros((2, 9), np.float32)).tolist() == [[0, 0], [0, 0]]
    few, many = (find_clusters(z, clusters=3) for z in (narrow, wide))
    np.testing.assert_array_equal(few.clusters, many.clusters)
    np.testing.assert_allclose(few.centers @ rotation.T, many.centers, atol=1e-4)
    assert few.silhouette == pytest.approx(many.silhouette, abs=1e-4)
    ours, theirs = embedding_health(narrow).values, embedding_health(wide).values
    for name in ("effective_rank", "mean_cosine", "uniformity", "hubness"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-3), name


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda rows: draw_map(rows, max_samples=2), "max_samples = 2: expected at least 3"),
        (lambda rows: aekit.measure_drift(rows, rows, max_samples=0), "max_samples = 0: expected at least 10"),
        (lambda rows: find_clusters(rows, clusters=-1), "clusters = -1: expected at least 0"),
        (lambda rows: find_clusters(rows, seed=-1), "seed = -1: expected a whole number from 0 to 4,294,967,295"),
        (lambda rows: aekit.measure_drift(rows, rows, seed=2**32), "seed = 4294967296: expected a whole number from 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(work: Callable[[np.ndarray], object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        work(blobs()[0])


def test_a_map_has_as_many_samples_as_it_may() -> None:
    rows = blobs()[0][:101]
    drawn = draw_map(rows, method="pca", max_samples=100)
    assert len(drawn.ids) == len(set(drawn.ids)) == 100 and (drawn.ids[0], drawn.ids[-1]) == ("0", "100")
    assert len(draw_map(rows[:4], method="pca", max_samples=3).ids) == 3
