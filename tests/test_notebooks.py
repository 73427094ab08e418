"""The notebooks: each runs from top to bottom, uses what is public alone, and keeps outputs that fit everywhere."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import bertvision_tf as bv

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MODULES = {"bertvision_tf", "numpy", "matplotlib", "pathlib", "csv", "json", "os", "tensorflow", "tensorflow_text"}
SMALL = {"LIMIT": 48, "SEEDS": 1, "TRIALS": 2, "EPOCHS": 1, "FINE_TUNE_EPOCHS": 0}
NEEDED = {"LIMIT", "SEEDS", "ENCODER", "FOLDER"}
MOST_BYTES = 300_000
ABSOLUTE = re.compile(r"(?<![\w.])/(root|work|home|tmp|Users|usr)\b|[A-Z]:\\")

every_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def read(file):
    return nbformat.read(file, as_version=4)


def list_code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def new_notebook(*sources):
    """Of code cells, the first with parameters, each with an output and run in order."""
    cells = [
        nbformat.v4.new_code_cell(source) for source in ("LIMIT, SEEDS, ENCODER, FOLDER = 1, 1, 'a', 'b'", *sources)
    ]
    cells[0].metadata["tags"] = ["parameters"]
    for number, cell in enumerate(cells, start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")] if number > 1 else []
    return nbformat.v4.new_notebook(cells=cells)


def execute(notebook, folder, **parameters):
    """Runs a copy in a folder, with other parameters after its own; what it says on stderr is left out."""
    notebook = nbformat.from_dict(notebook)
    place = notebook.cells.index(list_code(notebook)[0])
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(given))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=180, kernel_name="python3", record_timing=False, resources=resources).execute()
    del notebook.cells[place + 1]
    for cell in list_code(notebook)[1:]:
        cell.execution_count -= 1
    for cell in list_code(notebook):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def list_parameters(notebook):
    """The names that the parameters cell sets."""
    first = list_code(notebook)[0]
    if "parameters" not in first.metadata.get("tags", []):
        return set()
    return {target.id for line in ast.parse(first.source).body for target in line.targets}


def find_private(source):
    """What code uses beside what is public: one line for each."""
    found, tree = [], ast.parse(source)
    aliases = {
        name.asname or name.name: name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.partition(".")[0] not in MODULES]
            found += [name.name for name in node.names if name.name.startswith("bertvision_tf.")]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level or module.partition(".")[0] not in MODULES:
                found.append(f"from {'.' * node.level}{module}")
            elif module.partition(".")[0] == "bertvision_tf":
                public = getattr(importlib.import_module(module), "__all__", ())
                found += [f"{module}.{name.name}" for name in node.names if name.name not in public]
        elif isinstance(node, ast.Attribute):
            owner = aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
            if node.attr.startswith("_") or (owner == "bertvision_tf" and node.attr not in bv.__all__):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "__import__", "eval", "exec"):
            found.append(ast.unparse(node.func))
    return found


def says_something(source):
    """Whether a cell prints, or ends in an expression."""
    tree = ast.parse(source)
    prints = any(
        isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "plt.show") for node in ast.walk(tree)
    )
    return prints or (bool(tree.body) and isinstance(tree.body[-1], ast.Expr))


def find_faults(notebook):
    """What is wrong with the outputs that a notebook keeps: one line for each."""
    found = []
    for number, cell in enumerate(list_code(notebook), start=1):
        if cell.execution_count != number:
            found.append(f"cell {number} is number {cell.execution_count} of those that ran")
        if says_something(cell.source) and not cell.outputs:
            found.append(f"cell {number} has no output")
        if "execution" in cell.metadata:
            found.append(f"cell {number} keeps when it ran")
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {number} keeps {output.get('name', 'an error')}")
            shown = [output.get("text", ""), *output.get("data", {}).values()]
            texts = [text for text in shown if text != output.get("data", {}).get("image/png")]
            found += [f"cell {number} shows {text}" for text in map(str, texts) if ABSOLUTE.search(text)]
    found += [f"a cell has {cell.source}" for cell in notebook.cells if ABSOLUTE.search(cell.source)]
    return found


def test_there_are_notebooks():
    assert [file.stem[:2] for file in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@every_notebook
def test_only_what_is_public_is_used(file):
    source = "\n".join(cell.source for cell in list_code(read(file)))
    assert "import bertvision_tf as bv" in source.splitlines()
    assert find_private(source) == []


@every_notebook
def test_outputs_are_kept(file):
    notebook = read(file)
    assert find_faults(notebook) == []
    assert sum(bool(cell.outputs) for cell in list_code(notebook)) >= 4
    assert file.stat().st_size < MOST_BYTES
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_parameters_stand_first(file):
    names = list_parameters(read(file))
    assert names >= NEEDED
    assert names <= NEEDED | set(SMALL)


@pytest.mark.slow
@every_notebook
def test_runs_from_top_to_bottom(file, tmp_path, monkeypatch):
    from bertvision_tf.encoders.packaged import MINILM_PACKAGE

    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        pytest.skip("the quickstart extra (MiniLM) is not installed")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook's own shows pictures
    kept = read(file)
    small = {name: SMALL[name] for name in list_parameters(kept) & set(SMALL)}
    ran = execute(kept, tmp_path, FOLDER="written", **small)
    assert find_faults(ran) == []
    kinds = [[{one.output_type for one in cell.outputs} for cell in list_code(each)] for each in (kept, ran)]
    assert kinds[0] == kinds[1]  # text and pictures, where they are kept
    assert [path.name for path in tmp_path.iterdir()] == ["written"]  # all that is written goes under FOLDER


def test_a_cell_that_fails_is_found(tmp_path):
    with pytest.raises(CellExecutionError, match="3 rows"):
        execute(new_notebook("raise ValueError(f'{LIMIT} rows')"), tmp_path, LIMIT=3)


@pytest.mark.parametrize(
    ("source", "private"),
    [
        ("import bertvision_tf as bv\nbv.train", []),
        ("from bertvision_tf.metrics import squad_metrics\nimport matplotlib.pyplot as plt\nplt.show()", []),
        ("import subprocess", ["subprocess"]),
        ("from scipy import stats", ["from scipy"]),
        ("from . import conftest", ["from ."]),
        ("import bertvision_tf as bv\nbv.experiment", ["bv.experiment"]),
        ("import bertvision_tf.runs", ["bertvision_tf.runs"]),
        ("from bertvision_tf.metrics import np", ["bertvision_tf.metrics.np"]),
        ("run._states", ["run._states"]),
        ("getattr(run, '_states')", ["getattr"]),
    ],
)
def test_what_is_not_public_is_found(source, private):
    assert find_private(source) == private


def test_faults_of_outputs_are_found():
    sound = new_notebook("print(1)", "x = 2")
    assert find_faults(sound) == []

    def damage(change):
        notebook = nbformat.from_dict(sound)
        change(list_code(notebook)[1])
        return find_faults(notebook)

    assert damage(lambda cell: cell.update(execution_count=None)) == ["cell 2 is number None of those that ran"]
    assert damage(lambda cell: cell.update(outputs=[])) == ["cell 2 has no output"]
    assert damage(lambda cell: cell.metadata.update(execution={})) == ["cell 2 keeps when it ran"]
    assert damage(lambda cell: cell.outputs[0].update(name="stderr")) == ["cell 2 keeps stderr"]
    assert damage(lambda cell: cell.outputs[0].update(text="in /home/me")) == ["cell 2 shows in /home/me"]
    assert damage(lambda cell: cell.update(source="print('/tmp/x')")) == ["a cell has print('/tmp/x')"]
    assert damage(lambda cell: cell.outputs[0].update(text="work/states, either/work")) == []
