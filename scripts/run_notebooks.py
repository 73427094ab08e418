"""Runs notebooks in an empty folder and keeps their outputs: python scripts/run_notebooks.py [NOTEBOOK …]"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def run(file: Path) -> None:
    """Runs one notebook as it is, and writes its outputs into it, but for what it says on stderr."""
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=1800,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        ).execute()
    notebook.metadata = METADATA
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    nbformat.write(notebook, file)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb")):
        run(Path(name))
        print(name)
