"""The libraries of torch that are loaded in a thread: those that torch would load, and only where it will be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import aekit

LOADED = """
import sys, threading, time
from aekit import cli
sys.argv = ["aekit", *sys.argv[1:]]
try:
    cli.main()
except SystemExit:
    pass
for thread in threading.enumerate():
    if thread.name == "torch-libraries":
        thread.join()
print("libtorch_cpu.so" in open("/proc/self/maps").read(), "torch" in sys.modules)
"""
THREAD = """
import sys
from aekit.cli import _torch_libraries
{change}
_torch_libraries._load()
assert "torch" not in sys.modules
import torch
print(torch.ones(3, 3).matmul(torch.ones(3)).sum().item(), torch.linalg.solve(2 * torch.eye(2), torch.ones(2)).tolist())
"""


def printed(program: str, *arguments: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize(
    ("arguments", "loaded"), [(("plugins",), False), (("fit", "--help"), False), (("fit", "--no-such"), True)]
)
def test_only_commands_that_import_torch_load_its_libraries(arguments: tuple[str, ...], loaded: bool) -> None:
    assert printed(LOADED, *arguments) == f"{loaded} False"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with data of several formats, none of which needs torch to be read."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", rng.normal(size=(60, 6)).astype(np.float32))
    rows = [f"{number},{size:.3f},{weight:.3f}" for number, (size, weight) in enumerate(rng.normal(size=(60, 2)))]
    (tmp_path / "table.csv").write_text("\n".join(["id,size,weight", *rows]) + "\n")
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number in range(3):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "a" / f"{number}.png")
    return tmp_path


WITHOUT_TORCH = (
    ("--version",),
    ("fit", "--help"),
    ("plugins",),
    ("data", "vectors.npy"),
    ("data", "table.csv"),
    ("data", "images"),
    ("data", "images", "--set", "data.images.size=4"),
    ("data", "no-such-file"),
    ("index", "vectors.npy", "-o", "index"),
    ("compare", "no-such-run", "another"),
    ("copy", "no-such-run", "another"),
    ("duplicates", "vectors.npy", "-o", "duplicates"),
    ("duplicates", "table.csv", "-o", "duplicates"),
    ("cluster", "vectors.npy", "-o", "clusters"),
    ("cluster", "vectors.npy", "-o", "clusters", "--method", "hdbscan"),
    ("map", "vectors.npy", "-o", "map.png", "--html", "map.html"),
    *(
        ("curate", "vectors.npy", "-o", "curation", "-n", "9", "--strategy", name)
        for name in ("coverage", "typical", "representative")
    ),
    ("explore", "vectors.npy", "-o", "atlas"),
    ("drift", "vectors.npy", "vectors.npy", "-o", "drift"),
    ("duplicates", "images", "-o", "duplicates"),
)
"""Commands that import neither torch nor its libraries: they describe, copy and compare what is stored, or compute with FAISS,
scikit-learn and NumPy."""


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("arguments", WITHOUT_TORCH, ids=" ".join)
def test_commands_that_compute_no_network_do_not_import_torch(folder: Path, arguments: tuple[str, ...]) -> None:
    assert printed(LOADED, *arguments, folder=folder) == "False False"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with embeddings of images by an encoder, in their order with the images."""
    folder = tmp_path_factory.mktemp("embedded")
    (folder / "images").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (24, 40, 100, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    encoder = aekit.fit(str(folder / "images"), backbone="mlp", dim=5, epochs=1, report=False, progress=False)
    aekit.embed(encoder, str(folder / "images"), out=folder / "z", progress=False)
    return folder


DRAWING = (
    ("duplicates", "z", "-o", "duplicates"),
    ("cluster", "z", "-k", "3", "-o", "clusters"),
    ("map", "z", "--method", "pca", "-o", "map.png", "--html", "map.html"),
    ("curate", "z", "-n", "9", "-o", "curation"),
    ("explore", "z", "--method", "pca", "-o", "atlas"),
    ("drift", "z", "z", "-o", "drift"),
)
"""Commands that draw the samples behind embeddings, and need of their encoder only how it scales them."""


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("arguments", DRAWING, ids=" ".join)
def test_commands_that_draw_embedded_samples_do_not_import_torch(embedded: Path, arguments: tuple[str, ...]) -> None:
    assert printed(LOADED, *arguments, folder=embedded) == "False False"


def test_functions_that_compute_no_network_import_neither_torch_nor_pandas(folder: Path) -> None:
    codes = "".join(f"{row * 7 % 11},{row / 3:.2f},0{1000 + 37 * row}\n" for row in range(60))
    (folder / "codes.csv").write_text(f"count,size,zip\n{codes}")
    usual = "".join(f"{row % 7 or ''},{row / 3:.2f},{'uvw'[row % 3]},{row % 2 == 1}\n" for row in range(60))
    (folder / "usual.csv").write_text(f"count,size,kind,ok\n{usual}")
    program = """
import sys, numpy, aekit
aekit.open_data("codes.csv")
aekit.open_data("usual.csv")
source = aekit.open_data("table.csv")
aekit.build_index("vectors.npy", "index")
scores, rows = aekit.open_index("index").search(numpy.load("vectors.npy")[3:4], k=1)
print(len(source), rows.tolist(), [name for name in ("torch", "pandas") if name in sys.modules])
"""
    assert printed(program, folder=folder) == "60 [[3]] []"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("has_encoder", [False, True])
def test_a_search_by_id_does_not_import_torch(tmp_path: Path, has_encoder: bool) -> None:
    embeddings: Any = np.eye(5)
    if has_encoder:
        encoder = aekit.fit(
            np.random.default_rng(0).normal(size=(64, 6)), dim=5, epochs=1, report=False, progress=False
        )
        aekit.embed(encoder, np.random.default_rng(1).normal(size=(20, 6)), out=tmp_path / "embeddings")
        embeddings = tmp_path / "embeddings"
    index = aekit.build_index(embeddings, tmp_path / "index")
    assert (tmp_path / "index" / "encoder").exists() == has_encoder
    assert printed(LOADED, "search", str(tmp_path / "index"), f"id:{index.ids[0]}") == "False False"
    vectors = tmp_path / "queries.npy"
    np.save(vectors, np.zeros((1, 6 if has_encoder else 5)))
    assert printed(LOADED, "search", str(tmp_path / "index"), f"id:{index.ids[0]}", str(vectors)) == "True True"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize("change", ["", "_torch_libraries.LIBRARIES = ('libtorch_global_deps.so', 'missing.so')"])
def test_torch_computes_after_its_libraries_were_loaded(change: str) -> None:
    assert printed(THREAD.format(change=change)) == "9.0 [0.5, 0.5]"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
@pytest.mark.parametrize(("limit", "threads"), [("resource.RLIM_INFINITY", 2), ("2**42", 1)])
def test_under_a_limit_of_addresses_they_are_left_to_torch(limit: str, threads: int) -> None:
    # A library that does not fit there ended the process by a signal, where the import of torch raises an error.
    program = f"""
import resource, threading
from aekit.cli import _torch_libraries
resource.setrlimit(resource.RLIMIT_AS, ({limit}, resource.getrlimit(resource.RLIMIT_AS)[1]))
_torch_libraries._load = threading.Event().wait
_torch_libraries.load_torch_libraries()
print(threading.active_count())
"""
    assert printed(program) == str(threads)
