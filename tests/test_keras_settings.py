"""Keras's global settings never change a result: refused from Python, pinned in the command."""

import json
import os
import subprocess
import sys

import keras
import pytest

from bertvision_tf import build_head, load_encoder
from bertvision_tf.errors import BertvisionError

from .conftest import TINY


@pytest.fixture
def kept():
    """Puts back what a test sets."""
    yield
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: keras.config.set_floatx("float64"), r"Keras's floatx is 'float64'.*set_floatx\('float32'\)"),
        (lambda: keras.config.set_dtype_policy("float64"), "Keras's variable dtype is 'float64'"),
        (lambda: keras.config.set_image_data_format("channels_first"), "Keras's image data format is 'channels_first'"),
    ],
)
def test_a_setting_that_changes_results_is_refused(kept, change, message):
    change()
    for build in (
        lambda: build_head("learned_pooling", num_hidden_states=3, hidden_dim=8, num_outputs=2),
        lambda: load_encoder(str(TINY)),
    ):
        with pytest.raises(BertvisionError, match=message) as error:
            build()
        assert "\n" not in str(error.value)


def run(code, home, **variables):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(home), **variables}
    environment = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"KERAS_BACKEND": "jax"}, "KERAS_BACKEND is 'jax', and this library runs on TensorFlow"),
        ({"TF_USE_LEGACY_KERAS": "1"}, "TF_USE_LEGACY_KERAS asks for Keras 2"),
    ],
)
def test_variables_are_refused_in_one_line(tmp_path, variables, message):
    code = "import bertvision_tf as bv\ntry: bv.build_head\nexcept bv.errors.BertvisionError as error: print(error)"
    found = run("import bertvision_tf.errors\n" + code, tmp_path, **variables)
    assert found.stdout.startswith(message) and found.stdout.count("\n") == 1, found.stderr


@pytest.mark.parametrize("variables", [{}, {"KERAS_BACKEND": "jax"}, {"TF_USE_LEGACY_KERAS": "1"}])
def test_the_command_has_its_own_settings(tmp_path, variables):
    (tmp_path / ".keras").mkdir()
    settings = {"floatx": "float64", "epsilon": 1e-3, "backend": "jax", "image_data_format": "channels_first"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    code = (
        "import sys; sys.argv = ['bertvision', 'heads', 'average_pooling']\n"
        "from bertvision_tf.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code)\n"
        "import keras\n"
        "print(keras.config.floatx(), keras.config.backend(), keras.config.image_data_format(), keras.config.epsilon())"
    )
    found = run(code, tmp_path, **{"KERAS_BACKEND": None, **variables})
    assert found.stdout.splitlines()[-2:] == ["0", "float32 tensorflow channels_last 1e-07"], found.stderr
