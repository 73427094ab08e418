import random
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf import get_task, load_run, train
from bertvision_tf.random_states import keep_random_states, keeps_random_states


def draw():
    return random.random(), np.random.rand(), float(tf.random.uniform(())), float(keras.random.uniform(()))  # noqa: NPY002


@pytest.mark.parametrize("seed", [None, 7])
def test_draws_go_on_as_if_nothing_had_been_seeded(seed):
    if seed is None:
        keras.utils.set_random_seed(3)
        draw()
    else:
        keras.utils.set_random_seed(seed)
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with keep_random_states():
        keras.utils.set_random_seed(0)
        inside = draw()
    after = draw()
    assert inside != after
    keras.utils.set_random_seed(0)
    assert draw() == inside
    random.setstate(states[0])
    assert random.random() == after[0]


def test_before_tensorflow_has_begun():
    code = (
        "from bertvision_tf.random_states import keep_random_states as keep\n"
        "import keras, random\n"
        "with keep(): keras.utils.set_random_seed(0)\n"
        "from tensorflow.python.eager import context\n"
        "print(context.context()._seed, random.random() != 0.8444218515250481)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "None True\n"


def test_they_are_put_back_after_an_error():
    random.seed(5)
    expected = random.random()
    random.seed(5)

    @keep_random_states()
    def fail():
        random.seed(1)
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert random.random() == expected


def test_training_leaves_the_callers_draws_alone(tiny_encoder, tmp_path):
    def run(epochs):
        return train(
            get_task("starter"), tiny_encoder, head="learned_pooling", seeds=1, limit=40, store=tmp_path / "states",
            output=tmp_path / "run", baselines=False, fit={"epochs": 1}, fine_tune_epochs=epochs,
            fine_tune={"batch_size": 16},
        ).results["scores"]  # fmt: skip

    draw()  # Keras's generator is seeded from Python's when it is first asked
    random.seed(11)
    np.random.seed(11)  # noqa: NPY002
    tf.random.set_seed(11)
    expected = [draw() for _ in range(3)]
    random.seed(11)
    np.random.seed(11)  # noqa: NPY002
    tf.random.set_seed(11)
    found = []
    for epochs in (0, 0.5, 0):
        run(epochs)
        found.append(draw())
    finished = load_run(tmp_path / "run")
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert finished.predict(["She has eaten."]).labels and finished.explain("She has eaten.").tokens
    assert finished.load_head(0).count_params()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # noqa: NPY002
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert len({one[0] for one in found}) == 3


def test_steps_of_a_generator_leave_them_too():
    @keeps_random_states
    def steps():
        for _ in range(3):
            keras.utils.set_random_seed(0)
            yield random.random()

    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for _ in steps():
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_keras_counts_on_from_where_it_was():
    keras.utils.set_random_seed(1)
    expected = [float(keras.random.uniform(())) for _ in range(2)]
    keras.utils.set_random_seed(1)
    found = [float(keras.random.uniform(()))]
    with keep_random_states():
        keras.random.uniform(())
    assert [*found, float(keras.random.uniform(()))] == expected
