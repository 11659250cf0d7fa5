"""Texts that run as code wherever a page takes them for markup, and the pages that show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import aekit
from aekit.index.vector_index import open_index
from aekit.io.atomic import write_text
from aekit.report.search_page import search_page
from aekit.serving.app import make_app
from aekit.serving.catalog import Catalog
from aekit.serving.results import Results
from aekit.serving.server import bind_socket, make_server

RUN = "window.injected=1"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f'"><script>{RUN}</script>',
    f"'><img src=x onerror={RUN}>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg/onload={RUN}//",
    f"</script><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>",
    f"<!--<script><!--><script>{RUN}</script>",
    f"--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>",
    f'" onmouseover={RUN} x="',
    f"' onmouseover='{RUN}",
    f'" autofocus tabindex=0 onfocus={RUN} x="',
    f'<a href="javascript:{RUN}" style="position:fixed;inset:0">x</a>',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f"<details open ontoggle={RUN}>",
    f"<math><mtext></table><mglyph><style><img src=x onerror={RUN}>",
    "<base href=//injected.invalid/><link rel=stylesheet href=//injected.invalid/x>",
    "<meta http-equiv=refresh content='0;url=//injected.invalid/'>",
    f"${{{RUN}}}\u2028",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e';{RUN};//\\",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#x3c;img src=x onerror={RUN}&#x3e;",
)
"""A text for each way in which a page can fail to keep text apart from markup."""

FAST = {"train.epochs": 2, "train.precision": "fp32"}
Pages = dict[str, Path]


def metric_named(name: str) -> Callable[..., dict[str, float]]:
    """Return an evaluator, described by `name`, with a metric of that name."""

    def measured(embeddings: np.ndarray, labels: np.ndarray, split: Any) -> dict[str, float]:
        return {name: float(embeddings[split.test].std())}

    measured.__doc__ = name
    return measured


def table_pages(folder: Path, texts: Sequence[str]) -> Pages:
    """Write the pages of a table whose ids, columns, cells and labels are the texts: all texts on each page."""
    rng = np.random.default_rng(0)
    count = 4 * len(texts)
    columns: dict[str, Any] = {"id": [f"{row} {texts[row % len(texts)]}" for row in range(count)]}
    columns |= {text: rng.normal(size=count) for text in texts}
    columns |= {"word": [texts[row % 7 % len(texts)] for row in range(count)]}
    columns |= {"label": [texts[row % len(texts)] for row in range(count)]}
    data, run = folder / "table.parquet", folder / "table-run"
    pq.write_table(pa.table(columns), data)
    aekit.fit(data, dim=3, out=run, variants=["denoising"], evaluators=["knn", "probe"], overrides=FAST)
    embeddings = aekit.embed(run, data, out=folder / "table-embeddings")
    aekit.draw_map(embeddings, html=folder / "map.html", method="pca")
    index = aekit.build_index(embeddings, folder / "table-index")
    shown = {
        "encoder": aekit.load(run),
        "embeddings": embeddings,
        "index": index,
        "hits": index.search(embeddings[:3], k=5),
        "map": aekit.draw_map(embeddings, method="pca"),
        "clusters": aekit.find_clusters(embeddings),
        "evaluation": aekit.evaluate(embeddings, evaluators=["knn", metric_named(texts[-1])]),
        "classifier": aekit.finetune(run, data, epochs=1, baselines=False, out=folder / "finetuned").classifier,
        "anomalies": aekit.find_anomalies(run, data, normal=[texts[0]], out=folder / "table-results" / "anomalies"),
        "reconstruction": aekit.apply(run, data, out=folder / "reconstructed"),
    }
    pages = {"run of a table": run / "report.html", "map": folder / "map.html"}
    pages |= {"anomalies of a table": folder / "table-results" / "anomalies" / "report.html"}
    return pages | {f"notebook, {name}": notebook(folder, name, value) for name, value in shown.items()}


def notebook(folder: Path, name: str, value: Any) -> Path:
    """Write a page that shows an object as a notebook does, beside its `repr`, without a content security policy."""
    path = folder / f"{name}.html"
    shown = value._repr_html_() if hasattr(value, "_repr_html_") else ""
    write_text(path, f"<!doctype html><meta charset=utf-8><body>{shown}<pre>{escape(repr(value))}</pre>")
    return path


def image_pages(folder: Path, texts: Sequence[str]) -> Pages:
    """Write the pages of images in folders and files that are named by the texts, one of which is damaged."""
    rng = np.random.default_rng(0)
    for number, text in enumerate(texts):
        image = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        for copy in range(5):
            path = folder / "images" / f"{number} {text}" / f"{copy} {text}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if copy == 4:
                path.write_bytes(b"\x89PNG\r\n\x1a\n")
            elif copy >= 2:  # two that are duplicates of each other
                Image.fromarray(image if copy == 2 else image[:, ::-1]).save(path, "PNG")
            else:
                Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path, "PNG")
    run, data = folder / "image-run", folder / "images"
    settings = FAST | {"encoder.conv.channels": [8]}
    aekit.fit(data, dim=3, out=run, variants=["denoising"], evaluators=["knn"], backbone="conv", overrides=settings)
    embeddings = aekit.embed(run, data, out=folder / "image-embeddings")
    index = aekit.build_index(embeddings, folder / "image-index")
    names = [f"id:{name}" for name in index.ids[:: len(texts)]]
    hits = index.hits(names, *index.search_ids([name.removeprefix("id:") for name in names], 4))
    write_text(folder / "search.html", search_page(index, hits))
    results = folder / "image-results"
    aekit.find_duplicates(data, out=results / "duplicates")
    aekit.find_label_errors(embeddings, out=results / texts[0].replace("/", "_"))
    aekit.curate(embeddings, 3, out=results / "curation")
    aekit.measure_drift(embeddings, data, out=results / "drift", permutations=20)
    pages = {
        f"{number}, result of an analysis": path for number, path in enumerate(sorted(results.glob("*/report.html")))
    }
    return {"run of images": run / "report.html", "search": folder / "search.html"} | pages


def study_pages(folder: Path, texts: Sequence[str]) -> Pages:
    """Write the comparison and the pages of runs whose recipes, data and folders are named by the texts."""
    rng, recipes = np.random.default_rng(0), []
    for text in texts:
        data, recipe = folder / "data" / f"{text}.npz", folder / "recipes" / f"{text}.toml"
        data.parent.mkdir(parents=True, exist_ok=True)
        recipe.parent.mkdir(parents=True, exist_ok=True)
        np.savez(data, x=rng.normal(size=(30, 4)).astype(np.float32), y=np.repeat([0, 1, 2], 10))
        quoted = str(data).replace("\\", "\\\\").replace('"', '\\"')
        lines = ["[data]", f'source = "{quoted}"', "[encoder]", "dim = 2", "[evaluate]", 'evaluators = ["knn"]']
        recipe.write_text("\n".join(lines) + "\n", "utf-8")
        recipes.append(recipe)
    study = aekit.bench(recipes, folder / "study", seeds=1, overrides=FAST)
    assert study.comparison is not None and not study.failed, study.failed
    write_text(folder / "comparison.html", study.comparison.html())
    runs = {f"{number}, run of a study": run / "report.html" for number, run in enumerate(study.runs)}
    shown = notebook(folder, "comparison-notebook", study.comparison)
    return {"comparison": folder / "comparison.html", "notebook, comparison": shown} | runs


@contextmanager
def served(index: Path, results: Path | None = None) -> Iterator[str]:
    """Serve an index and results on the loopback interface, and yield the address of its page."""
    listening, catalog = bind_socket("127.0.0.1", 0), Catalog(open_index(index), method="pca")
    server = make_server(make_app(catalog, hosts=["127.0.0.1"], results=Results(results)))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
