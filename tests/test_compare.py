"""A grid of heads by tasks that is finished cell by cell."""

import csv

import numpy as np
import pytest

from bertvision_tf.errors import HeadError, RunError
from bertvision_tf.experiments import compare
from bertvision_tf.experiments.cells import read_cells
from bertvision_tf.experiments.compare import (
    Cell,
    Failure,
    compare_heads,
    describe_setting,
    format_comparison,
    plan_cells,
)
from bertvision_tf.runs import load_run

WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()
HEADS = ["learned_pooling", "adapter_4_shared_flat", "comparison_adapter_4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """CoLA and RTE in the official layout."""
    folder, random = tmp_path_factory.mktemp("glue"), np.random.default_rng(0)

    def text():
        return " ".join(random.choice(WORDS, random.integers(2, 7)))

    for split, count in (("train", 420), ("dev", 40)):
        for task in ("CoLA", "RTE"):
            (folder / task).mkdir(exist_ok=True)
        lines = [f"ab\t{n % 2}\t\t{text()}\n" for n in range(count)]
        (folder / "CoLA" / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
        labels = ("entailment", "not_entailment")
        lines = [f"{n}\t{text()}\t{text()}\t{labels[n % 2]}\n" for n in range(count)]
        header = "index\tsentence1\tsentence2\tlabel\n"
        (folder / "RTE" / f"{split}.tsv").write_text(header + "".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def run(data, tiny_encoder, tmp_path):
    """Compares heads on the tiny encoder."""

    def compare_them(file, heads=HEADS, **options):
        plan = plan_cells(tiny_encoder, heads, ["cola", "rte"], 2)
        return compare_heads(file, tiny_encoder, plan, data_dir=data, store=tmp_path / "states", **options)

    return compare_them


def test_a_head_that_is_fitted_once_counts_once(run, tmp_path):
    (cell,) = [one for one in run(tmp_path / "cells.csv", ["linear_all_layers"]) if one.task == "cola"]
    results = load_run(tmp_path / "cells" / "cola-linear_all_layers").results
    assert (cell.seeds, cell.std) == (2, None)
    assert cell.selection == results["selection_scores"][0] and cell.seconds == results["seconds"]["train"]


def test_cells_are_kept_and_gone_on_with(run, tmp_path, tiny_encoder):
    file = tmp_path / "cells.csv"
    first = run(file)
    begun = [next(first), next(first)]
    first.close()
    assert read_cells(file, Cell) == begun
    with open(file, "a", encoding="utf-8") as stream:
        stream.write("learned_pooling,rte,cut sho")  # as a kill in the middle of a line leaves it
    rest = list(run(file))
    cells = read_cells(file, Cell, describe_setting(tiny_encoder, None))
    assert cells == begun + rest
    assert sorted((cell.head, cell.task) for cell in cells) == [
        ("adapter_4_shared_flat", "cola"),
        ("adapter_4_shared_flat", "rte"),
        ("comparison_adapter_4", "rte"),
        ("learned_pooling", "cola"),
        ("learned_pooling", "rte"),
    ]
    assert list(run(file)) == []
    with open(file, newline="", encoding="utf-8") as stream:
        assert [row["mean"] for row in csv.DictReader(stream)] == [str(cell.mean) for cell in cells]
    planned = plan_cells(tiny_encoder, HEADS, ["cola", "rte"], 2)
    table = format_comparison(cells[1:], planned)
    missing = cells[0]
    assert f"\nNot run: {missing.head} on {missing.task}.\n" in table
    assert f"{cells[1].mean:.3f} ± {cells[1].std:.3f}" in table
    assert f"{cells[0].date}; {tiny_encoder.name} {tiny_encoder.fingerprint[:8]} float32; bertvision-tf " in table
    assert "Not run" not in format_comparison(cells, planned)
    assert "\nNot planned: comparison_adapter_4 on cola (no pairs).\n" in table
    assert cells[1].head in format_comparison(cells, plan_cells(tiny_encoder, HEADS, ["rte"], 5)).split("Not run")[1]


def test_large_heads_have_one_seed_on_two_tasks(tiny_encoder, monkeypatch):
    monkeypatch.setattr(compare, "LARGE", 30)
    plan = plan_cells(tiny_encoder, ["last_layer", "adapter_16_shared"], ["cola", "mrpc"], 3)
    assert plan.cells == [("last_layer", "cola", 3), ("last_layer", "mrpc", 3), ("adapter_16_shared", "cola", 1)]
    assert plan.skipped == ["adapter_16_shared on mrpc (over 30 weights)"]


def test_a_cell_that_cannot_be_done_does_not_end_the_grid(run, tmp_path, monkeypatch):
    def fail(task, encoder, **rest):
        if task == "cola":
            raise RunError("the loss of epoch 1 is nan")
        return train(task, encoder, **rest)

    train = compare.train
    monkeypatch.setattr(compare, "train", fail)
    found = list(run(tmp_path / "cells.csv", ["last_layer"]))
    assert found[0] == Failure("last_layer", "cola", "the loss of epoch 1 is nan")
    kept = read_cells(tmp_path / "cells.csv", Cell)
    assert [cell.task for cell in found[1:]] == ["rte"] == [cell.task for cell in kept]


@pytest.mark.parametrize("name", ["nonsense", "vision_MobileNetV3Smal"])
def test_unknown_names(run, tmp_path, name):
    with pytest.raises(HeadError, match=r"No head is named 'nonsense'|no vision network 'MobileNetV3Smal'"):
        list(run(tmp_path / "cells.csv", [name]))
    assert not (tmp_path / "cells.csv").exists()


def test_files_that_are_no_comparison(run, tmp_path):
    file = tmp_path / "cells.csv"
    file.write_text("head,task\na,b\n", encoding="utf-8")
    with pytest.raises(RunError, match="line 2 is no cell of this table"):
        read_cells(file, Cell)
    assert read_cells(tmp_path / "none.csv", Cell) == []
    with pytest.raises(RunError, match="needs to be a file with an ending"):
        list(run(tmp_path / "cells"))


def test_lines_that_end_as_on_windows_are_kept(run, tmp_path):
    file = tmp_path / "cells.csv"
    cells = run(file)
    first = next(cells)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    second = next(cells)
    assert read_cells(file, Cell) == [first, second]


def test_cells_of_another_setting(run, tmp_path):
    file = tmp_path / "cells.csv"
    next(run(file))
    with pytest.raises(RunError, match=r"holds cells of .* float32, asked for .* float32, first 410 rows: name"):
        list(run(file, limit=410))
