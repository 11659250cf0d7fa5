"""Results of analyses beside an index: pages whose samples lead to their neighbors, and nothing else of the folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageFilter

import aekit
from aekit.index.vector_index import open_index
from aekit.serving.catalog import Catalog
from aekit.serving.results import MAX_BYTES, Results
from aekit.visualization.sample_page import SamplePage

pytest.importorskip("uvicorn", reason="serving needs the extra 'serve'")

from test_serving import ask, chromium, fetch_error, fetch_json, served

__all__ = ["chromium"]
HOSTILE = "'><img src=x onerror=window.injected=1>"
LABELS = f"labels {HOSTILE}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index over images of two colors, of which one is mislabeled and one is there twice, and all results but anomalies."""
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    for number in range(60):
        color = "red" if number % 2 else "blue"
        pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        pixels[..., 0 if color == "red" else 2] += 180
        label = "blue" if number == 7 else color
        (folder / "images" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / label / f"{number:02}.png")
    with Image.open(folder / "images" / "blue" / "10.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "images" / "blue" / f"10 {HOSTILE}.png")
    settings = {"train.epochs": 4, "train.precision": "fp32", "encoder.conv.channels": [8]}
    encoder = aekit.fit(folder / "images", dim=6, overrides=settings, out=folder / "run", report=False)
    embeddings = encoder.embed(folder / "images", out=folder / "embeddings")
    aekit.build_index(embeddings, folder / "index")
    for path in (folder / "images").rglob("[0-3]*.png"):
        new = folder / "new" / path.relative_to(folder / "images")
        new.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.filter(ImageFilter.GaussianBlur(2)).save(new)
    results = folder / "results"
    aekit.find_duplicates(folder / "images", out=results / "duplicates")
    aekit.find_label_errors(embeddings, out=results / LABELS)
    aekit.curate(embeddings, 5, out=results / "next")
    aekit.find_clusters(embeddings, clusters=3, out=results / "clusters")
    aekit.measure_drift(embeddings, folder / "new", out=results / "drift", permutations=20)
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    catalog = Catalog(open_index(folder / "index"), method="pca")
    with served(catalog, results=Results(folder / "results")) as port:
        yield port


def test_every_result_is_listed_with_its_conclusion(port: int, folder: Path) -> None:
    entries = {entry["name"]: entry for entry in fetch_json(port, "/api/results")}
    assert {name: entry["title"] for name, entry in entries.items()} == {
        "clusters": "Clusters",
        "drift": "Drift",
        "duplicates": "Duplicates",
        LABELS: "Label errors",
        "next": "What to label next",
    }
    assert entries["duplicates"]["conclusion"].startswith("1 of 61 samples are duplicates of others")
    drift = json.loads((folder / "results" / "drift" / "drift.json").read_text())
    assert entries["drift"]["severity"] == ("bad" if drift["drift"] else "good")


def test_samples_have_their_rows(port: int, folder: Path) -> None:
    ids = list(open_index(folder / "index").ids)
    (group,) = fetch_json(port, "/api/results/duplicates")["sections"]
    assert {sample["id"] for sample in group["samples"]} == {"blue/10.png", f"blue/10 {HOSTILE}.png"}
    assert [ids[sample["row"]] for sample in group["samples"]] == [sample["id"] for sample in group["samples"]]
    assert [sample["kind"] for sample in group["samples"]] == ["keep", ""]
    assert group["samples"][1]["title"].startswith("mirrored")
    described = fetch_json(port, f"/api/results/{quote(LABELS)}")
    first = described["sections"][0]["samples"][0]
    assert (first["id"], first["title"], ids[first["row"]]) == ("blue/07.png", "blue → red", "blue/07.png")
    selected, *_, regions = fetch_json(port, "/api/results/next")["sections"]
    assert len(selected["samples"]) == 5 and sum(row["samples"] for row in regions["table"]) == 61


def test_other_samples_with_the_same_ids_have_no_row(port: int, folder: Path) -> None:
    new, reference, *_ = fetch_json(port, "/api/results/drift")["sections"]
    ids = set(open_index(folder / "index").ids)
    assert new["samples"] and {sample["id"] for sample in new["samples"]} <= ids
    assert [sample["row"] for sample in new["samples"]] == [None] * len(new["samples"])
    assert None not in [sample["row"] for sample in reference["samples"]]


def test_pages_load_nothing_and_run_only_their_own_scripts(port: int) -> None:
    for name in ("", "/duplicates", f"/{quote(LABELS)}", "/next", "/clusters", "/drift"):
        status, headers, content = ask(port, f"/results{name}")
        text, policy = content.decode(), headers["content-security-policy"]
        assert status == 200 and "default-src 'none'" in policy and "script-src 'sha256-" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2]
        assert "<img src=x" not in text and "aria-current=page" in text
    assert 'href="/#row=' in text and "samples shown are in this index" in text


def test_results_that_come_later_are_shown(port: int, folder: Path) -> None:
    late = folder / "results" / "late"
    shutil.copytree(folder / "results" / "next", late)
    assert fetch_json(port, "/api/results/late")["title"] == "What to label next"
    assert "What to label next: late" in ask(port, "/results")[2].decode(), "two of a kind are told apart"
    page = SamplePage.model_validate_json((late / "page.json").read_text())
    (late / "page.json").write_text(page.model_copy(update={"title": "Changed"}).model_dump_json())
    assert fetch_json(port, "/api/results/late")["title"] == "Changed"
    shutil.rmtree(late)
    assert "no result '" in fetch_error(port, "/api/results/late")[1]


@pytest.mark.parametrize(
    "path", ["../embeddings", "..%2fembeddings", "%2e%2e", "results", ".", "duplicates/duplicates.csv", "a\0b", "no"]
)
def test_only_listed_names_are_opened(port: int, path: str) -> None:
    for start in ("/api/results/", "/results/"):
        status, _, content = ask(port, start + quote(path, safe="/%"))
        assert status in (400, 404) and b"Traceback" not in content and b"/tmp" not in content


def test_unusable_results_are_named_in_one_line(folder: Path, tmp_path: Path) -> None:
    texts = {"text": "no", "list": "[]", "other": '{"format": 2}', "link": "", "large": ""}
    whole = json.loads((folder / "results" / "next" / "page.json").read_text())
    texts["outside"] = json.dumps(whole | {"thumbnails": whole["thumbnails"] | {"uri": "http://evil.example/x.png"}})
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.json").write_text(text)
    (tmp_path / "link" / "page.json").unlink()
    (tmp_path / "link" / "page.json").symlink_to(folder / "results" / "next" / "page.json")
    (tmp_path / "linked").symlink_to(folder / "results" / "next")
    os.truncate(tmp_path / "large" / "page.json", MAX_BYTES + 1)
    results, index = Results(tmp_path), open_index(folder / "index")
    entries = {entry["name"]: entry["error"] for entry in results.entries()}
    assert sorted(entries) == ["large", "list", "other", "outside", "text"]
    assert all("\n" not in error and str(tmp_path) not in error for error in entries.values())
    assert "more than 33,554,432 bytes" in entries["large"] and "not the page of an analysis" in entries["outside"]
    assert "not the page" in results.list_html()
    for name in ("link", "linked", "outside"):
        with pytest.raises(aekit.errors.DataError):
            results.html(name, index)


def test_a_folder_of_one_result_and_none(folder: Path) -> None:
    assert [entry["name"] for entry in Results(folder / "results" / "next").entries()] == ["next"]
    for empty in (Results(None), Results(folder / "images")):
        assert empty.entries() == [] and "aekit duplicates EMBEDDINGS" in empty.list_html()


def test_precomputed_vectors_are_told_by_all_of_them(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    index = aekit.build_index(rows, tmp_path / "index")
    aekit.curate(rows, 3, out=tmp_path / "results" / "same")
    aekit.curate(rows + 1, 3, out=tmp_path / "results" / "other")
    results = Results(tmp_path / "results")
    same, other = (results.describe(name, index)["sections"][0]["samples"] for name in ("same", "other"))
    assert [str(sample["row"]) for sample in same] == [sample["id"] for sample in same]
    assert [sample["row"] for sample in other] == [None] * 3
    assert "of another encoder" in results.html("other", index) and "of another" not in results.html("same", index)


def test_requests_are_counted_by_one_name(port: int) -> None:
    text = ask(port, "/metrics")[2].decode()
    assert 'path="/results/NAME"' in text and 'path="/api/results/NAME"' in text and "duplicates" not in text


def test_from_the_search_to_a_result_and_back(chromium: Any, port: int, folder: Path) -> None:
    """By keys alone: a link leads to the duplicates, their thumbnails to neighbors, and the extra ones are selected."""
    from playwright.sync_api import expect

    page, wrong = chromium.new_page(viewport={"width": 1280, "height": 900}), list[str]()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}")
    page.get_by_role("link", name="Duplicates").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".headline")).to_contain_text("1 of 61 samples are duplicates")
    thumbnails = page.locator("canvas.thumb")
    names = {thumbnails.nth(number).get_attribute("aria-label"): number for number in range(thumbnails.count())}
    assert set(names) == {"blue/10.png", f"blue/10 {HOSTILE}.png"}
    expect(page.locator("figure.keep")).to_have_count(1)
    page.locator(".gallery a").nth(names[f"blue/10 {HOSTILE}.png"]).press("Enter")
    expect(page.locator("#title")).to_have_text("24 nearest neighbors")
    expect(page.locator("#query")).to_contain_text(HOSTILE)
    page.go_back()
    page.get_by_role("link", name="Select this sample (all but those to keep)").press("Enter")
    expect(page.locator("#count")).to_have_text("1")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("", "/duplicates", f"/{quote(LABELS)}", "/next", "/clusters", "/drift"):
        page.goto(f"http://127.0.0.1:{port}/results{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        assert page.evaluate("window.injected") is None
    page.close()
    assert not wrong, wrong
