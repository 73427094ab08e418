import struct

import numpy as np

from bertvision_tf.reports.plots import draw_group_scores, draw_layer_weights, write_png
from bertvision_tf.reports.table import build_rows, format_markdown


def read_size(file):
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


MIB = 2**20


def make_results(head, mean, baselines, fine_tune=None):
    return {
        "head": head, "mean": mean, "std": 0.0123, "trainable_parameters": 1234, "seeds": [0, 1],
        "encoder_parameters": 123_400, "baselines": baselines, "fine_tune": fine_tune,
        "seconds": {"train": 5.0, "extract": 2.0}, "memory_bytes": {"extract": 700 * MIB, "train": 800 * MIB},
        "store": {"bytes": 30 * MIB},
    }  # fmt: skip


def make_rival(mean, **more):
    rival = {"mean": mean, "std": None, "trainable_parameters": 0, "seconds": 0.04}
    return rival | {"memory_bytes": None, "disk_bytes": None} | more


def test_table_puts_the_rivals_first():
    majority = {"majority": make_rival(0.5)}
    tuned = {"full": make_rival(0.6, trainable_parameters=123_400, epochs=[2, 1], disk_bytes=2048 * MIB)}
    rows = build_rows([make_results("one", 0.6666, tuned), make_results("two", 0.7, majority)])
    assert [row.cells() for row in rows] == [
        ("majority", "0.500", "0", "0.0", "", ""),
        ("full", "0.600", "123,400 (100.00%)", "0.0", "", "2.0 GiB"),
        ("one", "0.667 ± 0.012", "1,234 (1.00%)", "4.5", "800.0 MiB", "30.0 MiB"),
        ("two", "0.700 ± 0.012", "1,234 (1.00%)", "4.5", "800.0 MiB", "30.0 MiB"),
    ]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in format_markdown(rows).splitlines()]
    assert lines[0] == ["", "score", "weights", "seconds", "memory", "disk"]
    assert [tuple(line) for line in lines[2:]] == [row.cells() for row in rows]


def test_an_encoder_costs_what_its_head_costs_and_its_own():
    """Two seeds, each with an encoder of its own: its states are half of the bytes, and half of the seconds."""
    tuned = {
        "mean": 0.6, "std": 0.1, "ensemble": {"mean": 0.65, "std": 0.05}, "epochs": 0.5, "seconds": [8.0, 10.0],
        "trainable_parameters": 61_700, "memory_bytes": 900 * MIB, "disk_bytes": 7 * MIB,
    }  # fmt: skip
    assert [row.cells() for row in build_rows([make_results("one", 0.7, {}, tuned)])] == [
        ("encoder, 0.5 epoch", "0.600 ± 0.100", "61,700 (50.00%)", "9.0", "900.0 MiB", "7.0 MiB"),
        ("one, 0.5 epoch", "0.700 ± 0.012", "62,934 (51.00%)", "12.5", "900.0 MiB", "22.0 MiB"),
        ("ensemble, 0.5 epoch", "0.650 ± 0.050", "62,934 (51.00%)", "12.5", "900.0 MiB", "22.0 MiB"),
    ]


def test_plots_are_written(tmp_path):
    write_png(draw_layer_weights(np.full((2, 25), 0.04), [str(layer) for layer in range(25)]), tmp_path / "a.png")
    heat = draw_group_scores(np.full((3, 2), 0.6), ["x_y", "b", "c"], ["l", "m"], "title", "accuracy")
    write_png(heat, tmp_path / "b.png")
    assert read_size(tmp_path / "a.png")[0] > 1000
    assert read_size(tmp_path / "b.png")[1] > 200
