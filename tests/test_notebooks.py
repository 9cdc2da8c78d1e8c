"""Notebooks carry no outputs and run from top to bottom."""

from pathlib import Path

import pytest

from conftest import PROJECT

nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_outputs_are_stripped(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_it_runs_from_top_to_bottom(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("DATADIR", raising=False)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):  # else the user's, where other kernels are
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(path, as_version=4)
    kernel = nbclient.NotebookClient(notebook, timeout=600, startup_timeout=600, kernel_name="python3")
    kernel.execute(cwd=str(path.parent))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    data = [output.get("data", {}) for output in outputs]
    assert sum(("image/png" in d) + d.get("text/html", "").count("data:image/") for d in data) >= 5
