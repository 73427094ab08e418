"""The type that is chosen for a machine."""

from pathlib import Path

import pytest
import tensorflow as tf

from bertvision_tf.encoders import choose_dtype, dtype, load_encoder, measure_dtype

TINY = str(Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments2")


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU is fast in bfloat16")
@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("fpu avx2 avx512f", "float32"),
        ("fpu avx512f avx512_bf16 xsave", "bfloat16"),
        ("amx_bf16 amx_tile", "bfloat16"),
        ("not_avx512_bf16", "float32"),
    ],
)
def test_processors_that_multiply_bfloat16_are_known_by_their_flags(tmp_path, flags, chosen):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 4890.80\n")
    assert choose_dtype(info) == chosen
    assert choose_dtype(tmp_path / "none") == "float32"


def test_the_faster_type_is_measured(monkeypatch):
    monkeypatch.setattr(dtype, "choose_dtype", lambda: "bfloat16")
    encoder = load_encoder(TINY)
    rates, count = {"float32": 2.0, "bfloat16": 3.0}, dtype._count_batches
    assert count(encoder, 0.0) > 0
    monkeypatch.setattr(dtype, "_count_batches", lambda one, seconds: rates[one.dtype])
    assert measure_dtype(encoder) == "bfloat16" == load_encoder(TINY, "auto").dtype
    assert load_encoder(TINY, "auto").fingerprint == load_encoder(TINY, "bfloat16").fingerprint
    rates["float32"] = 3.0
    assert load_encoder(TINY, "auto").dtype == "float32"


def test_nothing_is_measured_where_bfloat16_is_imitated(monkeypatch):
    monkeypatch.setattr(dtype, "choose_dtype", lambda: "float32")
    monkeypatch.delattr(dtype, "_count_batches")
    assert load_encoder(TINY, "auto").dtype == "float32"
