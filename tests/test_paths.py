"""Test that a path that no file system takes is refused in one line by every public function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aekit
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.encoder import Encoder
from aekit.errors import AekitError, FileError

SAMPLES = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
LABELS = np.repeat(["a", "b"], 20)
LONG, DEEP = "x" * 300, "/".join(["y" * 100] * 50)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return aekit.fit(SAMPLES, dim=2, epochs=1, variants=["plain"], evaluators=[])


@pytest.fixture(scope="module")
def embeddings(encoder: Encoder) -> Embeddings:
    return Embeddings.from_array(encoder.embed(SAMPLES).vectors, labels=LABELS)


WRITING: dict[str, Callable[[Encoder, Embeddings, str], Any]] = {
    "fit": lambda encoder, embeddings, out: aekit.fit(SAMPLES, dim=2, epochs=1, out=out),
    "fit, resumed": lambda encoder, embeddings, out: aekit.fit(SAMPLES, dim=2, epochs=1, out=out, resume=True),
    "embed": lambda encoder, embeddings, out: aekit.embed(encoder, SAMPLES, out=out),
    "build_index": lambda encoder, embeddings, out: aekit.build_index(embeddings, out),
    "finetune": lambda encoder, embeddings, out: aekit.finetune(encoder, SAMPLES, labels=LABELS, epochs=1, out=out),
    "find_clusters": lambda encoder, embeddings, out: aekit.find_clusters(embeddings, out=out),
    "explore": lambda encoder, embeddings, out: aekit.explore(embeddings, out, method="pca"),
    "draw_map": lambda encoder, embeddings, out: aekit.draw_map(embeddings, out=f"{out}.png", method="pca"),
    "export_encoder": lambda encoder, embeddings, out: aekit.export_encoder(encoder, f"{out}.pt2", data=SAMPLES),
    "curate": lambda encoder, embeddings, out: aekit.curate(embeddings, n=3, out=out),
    "find_duplicates": lambda encoder, embeddings, out: aekit.find_duplicates(embeddings, out=out),
    "find_label_errors": lambda encoder, embeddings, out: aekit.find_label_errors(embeddings, out=out),
    "propagate_labels": lambda encoder, embeddings, out: aekit.propagate_labels(embeddings, per_class=2, out=out),
    "Encoder.save": lambda encoder, embeddings, out: encoder.save(out),
}


@pytest.mark.parametrize("path", [LONG, DEEP, f"{LONG}/below", "a\0b"], ids=["long", "deep", "below", "NUL"])
@pytest.mark.parametrize("function", WRITING)
def test_folders_that_cannot_be_written(
    function: str, path: str, encoder: Encoder, embeddings: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AekitError) as refused:
        WRITING[function](encoder, embeddings, path)
    reason = "the path holds a NUL character|to resume" if "\0" in path else "name is too long|name too long"
    assert refused.match(f"(?i){reason}") and len(str(refused.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [LONG, DEEP, f"{LONG}/below"], ids=["long", "deep", "below"])
@pytest.mark.parametrize(
    "function",
    [
        *(aekit.load, aekit.open_index, aekit.load_autoencoder, aekit.load_classifier, aekit.make_report),
        *(aekit.open_data, aekit.evaluate, aekit.compare, Embeddings.open),
    ],
    ids=lambda function: function.__qualname__,
)
def test_paths_that_cannot_be_read(function: Callable[[Any], Any], path: str) -> None:
    with pytest.raises(AekitError) as refused:
        function(path)
    assert len(str(refused.value).splitlines()) == 1 and "Errno" not in str(refused.value)


def test_a_benchmark_says_so_before_its_runs(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[data]\nsource = "sklearn:iris"\n')
    with pytest.raises(AekitError, match="its name is too long"):
        aekit.bench(recipe, tmp_path / LONG)


def test_an_error_of_a_file_is_an_error_of_the_system_too() -> None:
    with pytest.raises(OSError, match="too long") as failed:
        aekit.load(LONG)
    assert isinstance(failed.value, FileError)
