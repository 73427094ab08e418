import struct

import numpy as np

from bertvision_tf.reports.plots import plot_group_scores, plot_layer_weights
from bertvision_tf.reports.table import build_rows, format_markdown


def read_size(file):
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def make_results(head, mean, baselines):
    return {
        "head": head, "mean": mean, "std": 0.0123, "trainable_parameters": 1234, "seeds": [0, 1],
        "baselines": baselines, "seconds": {"train": 5.0},
    }  # fmt: skip


def test_table_puts_the_rivals_first():
    majority = {"majority": {"mean": 0.5, "std": None, "trainable_parameters": 0, "seconds": 0.04}}
    rows = build_rows([make_results("one", 0.6666, majority), make_results("two", 0.7, {})])
    assert [row.cells() for row in rows] == [
        ("majority", "0.500", "0", "0.0"),
        ("one", "0.667 ± 0.012", "1,234", "2.5"),
        ("two", "0.700 ± 0.012", "1,234", "2.5"),
    ]
    assert format_markdown(rows).splitlines()[3] == "| one | 0.667 ± 0.012 | 1,234 | 2.5 |"


def test_plots_are_written(tmp_path):
    plot_layer_weights(tmp_path / "a.png", np.full((2, 25), 0.04), [str(layer) for layer in range(25)])
    plot_group_scores(tmp_path / "b.png", np.full((3, 2), 0.6), ["x_y", "b", "c"], ["l", "m"], "title", "accuracy")
    assert read_size(tmp_path / "a.png")[0] > 1000
    assert read_size(tmp_path / "b.png")[1] > 200
