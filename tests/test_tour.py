"""The notebooks in the documentation run, and hold no outputs in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK, CONTAINERS = DOCS / "tour.ipynb", DOCS / "containers.ipynb"


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("epochs=20", "epochs=2")
    client(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    errors = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not errors
    assert (tmp_path / "run" / "report.html").exists() and (tmp_path / "map.png").exists()
    assert any("probe accuracy" in output.get("text", "") for output in outputs)
    pages = [output.data.get("text/html", "") for output in outputs if "data" in output]
    assert sum("<progress" in page and "fit:" in page for page in pages) == 1, "the second training is silenced"
    for title in ("Encoder", "1,797 embeddings", "Neighbors of 3 queries", "Map of", "10 clusters", "probe accuracy"):
        assert any(title in page for page in pages), title


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_every_container_of_the_notebook_gives_the_same_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(CONTAINERS, as_version=4)
    client(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("set: data of type set: it has no order; pass a list" in output.get("text", "") for output in outputs)


@pytest.mark.parametrize("path", [NOTEBOOK, CONTAINERS], ids=lambda path: path.stem)
def test_the_notebook_is_valid_and_has_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)
