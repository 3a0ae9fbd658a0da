"""Every notebook runs from its first cell to its last, without a warning."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
STRICT = "import warnings\nwarnings.simplefilter('error')"
LENIENT = "warnings.resetwarnings()"  # the kernel warns of itself when it ends


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_notebook(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a copy of the folder, in a kernel of its own that listens on no port."""
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns("*.png", ".*"))
    path = [str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(file, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    strict, lenient = map(nbformat.v4.new_code_cell, (STRICT, LENIENT))
    notebook.cells = [strict, *notebook.cells, lenient]
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager()
    with TemporaryDirectory() as sockets:  # their names must be short
        client.km.transport, client.km.ip = "ipc", f"{sockets}/k"
        client.execute()


def test_every_notebook_is_in_the_readme() -> None:
    readme = (NOTEBOOKS.parent / "README.md").read_text()
    assert [file.name for file in FILES if file.name not in readme] == []
