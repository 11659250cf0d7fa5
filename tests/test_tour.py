"""The notebook in the documentation runs, and holds no outputs in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


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


def test_the_notebook_is_valid_and_has_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)
