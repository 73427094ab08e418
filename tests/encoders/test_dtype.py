"""The type that is chosen for a machine."""

import pytest
import tensorflow as tf

from bertvision_tf.encoders import choose_dtype


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
