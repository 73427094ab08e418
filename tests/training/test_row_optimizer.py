"""RowAdamW beside Keras's AdamW, and beside Adam written out in NumPy, row by row."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf.training.optimizer import RowAdamW

RATE, DECAY, EPSILON = 0.05, 0.1, 1e-7
SHAPE = (7, 3)
# Three steps over a table of seven rows: row 0 is read in the first only, 2 in each, 5 from the second on; 2 repeated.
READ = [[2, 0, 2], [5, 2, 5, 5], [2, 5]]


def make_table(seed=0, name="embeddings"):
    return keras.Variable(np.random.default_rng(seed).normal(size=SHAPE).astype("float32"), name=name)


def build(*variables, clip=1e9, excluded=("bias", "embedding"), rate=RATE):
    optimizer = RowAdamW(rate, weight_decay=DECAY, global_clipnorm=clip)
    optimizer.exclude_from_weight_decay(var_names=list(excluded))
    optimizer.build(list(variables))
    return optimizer


def draw_values(step):
    return np.random.default_rng(100 + step).normal(size=(len(READ[step]), SHAPE[1])).astype("float32")


def make_slices(values, rows):
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant(SHAPE))


def add_up(step):
    """The dense gradient of a step."""
    dense = np.zeros(SHAPE)
    np.add.at(dense, READ[step], draw_values(step))
    return dense


def refer(start, gradients, rows):
    """Adam on the given rows of each step, with the bias correction of the global step."""
    weights, first, second = start.astype(np.float64), np.zeros(SHAPE), np.zeros(SHAPE)
    for step, (gradient, read) in enumerate(zip(gradients, rows, strict=True), 1):
        for row in set(read):
            first[row] = 0.9 * first[row] + 0.1 * gradient[row]
            second[row] = 0.999 * second[row] + 0.001 * gradient[row] ** 2
            rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[row] -= rate * first[row] / (np.sqrt(second[row]) + EPSILON)
    return weights, first, second


@pytest.mark.parametrize("clip", [1e9, 0.5])
def test_dense_gradients_are_kerass(clip):
    ours, theirs = ([make_table(1, "kernel"), make_table(2, "bias")] for _ in range(2))
    rate = keras.optimizers.schedules.PolynomialDecay(RATE, 10, 0.01)
    optimizer = build(*ours, clip=clip, rate=rate)
    keras_optimizer = keras.optimizers.AdamW(rate, weight_decay=DECAY, global_clipnorm=clip)
    keras_optimizer.exclude_from_weight_decay(var_names=["bias", "embedding"])
    keras_optimizer.build(theirs)
    start = [np.array(variable) for variable in ours]
    for step in range(5):
        source = np.random.default_rng(step)
        gradients = [tf.constant(source.normal(size=SHAPE), tf.float32) for _ in ours]
        optimizer.apply(gradients)
        keras_optimizer.apply(gradients)
    for one, two, first in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)
        assert np.abs(np.array(one) - first).max() > 0.05
    assert int(optimizer.iterations) == 5


@pytest.mark.parametrize("in_graph", [False, True])
def test_rows_that_are_read_follow_adam_and_the_others_rest(in_graph):
    table = make_table()
    optimizer, start = build(table), np.array(table)
    apply = tf.function(optimizer.apply, reduce_retracing=True) if in_graph else optimizer.apply
    for step, rows in enumerate(READ):
        apply([make_slices(draw_values(step), rows)])
    weights, first, second = refer(start, [add_up(step) for step in range(3)], READ)
    np.testing.assert_allclose(table, weights, rtol=1e-4, atol=1e-6)
    moments = [np.array(parts[0]) for parts in (optimizer._momentums, optimizer._velocities)]
    np.testing.assert_allclose(moments[0], first, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(moments[1], second, rtol=1e-4, atol=1e-9)
    unread = [1, 3, 4, 6]
    np.testing.assert_array_equal(np.array(table)[unread], start[unread])
    for moment in moments:
        np.testing.assert_array_equal(moment[unread], 0)


def test_a_row_rests_between_two_reads_moments_too():
    table = make_table()
    optimizer = build(table)
    optimizer.apply([make_slices(draw_values(0), READ[0])])
    variables = (table, optimizer._momentums[0], optimizer._velocities[0])
    before = [np.array(variable)[0] for variable in variables]
    for step in (1, 2):  # neither reads row 0
        optimizer.apply([make_slices(draw_values(step), READ[step])])
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable)[0], value)
        assert np.all(value != 0)


def test_each_row_read_once_is_the_dense_step_where_all_are_read():
    sparse, dense = make_table(), make_table()
    ours, keras_optimizer = build(sparse), build(dense)
    for step in range(3):
        values = np.random.default_rng(step).normal(size=SHAPE).astype("float32")
        order = np.random.default_rng(step).permutation(len(values))
        ours.apply([make_slices(values[order], order)])
        keras_optimizer.apply([tf.constant(values)])
    np.testing.assert_allclose(sparse, dense, rtol=1e-5, atol=1e-6)


def test_the_norm_counts_repeated_rows_after_adding_them_up():
    table, kernel = make_table(), make_table(3, "kernel")
    optimizer = build(table, kernel, clip=1.0)
    values = np.array(
        [[3.0, 0, 0], [0, 2.0, 0], [1.0, 0, 0]], "float32"
    )  # row 4 is (4, 0, 0) together, row 1 (0, 2, 0)
    dense = np.zeros(SHAPE, "float32")
    dense[6, 2] = 4.0
    clipped = optimizer._clip_gradients([make_slices(values, [4, 1, 4]), tf.constant(dense)])
    norm = np.sqrt(16 + 4 + 16)  # 6; counted before it is added up, sqrt(9 + 4 + 1 + 16)
    together = dict(zip(clipped[0].indices.numpy(), clipped[0].values.numpy(), strict=True))
    assert sorted(together) == [1, 4]
    np.testing.assert_allclose(together[4], np.array([4, 0, 0]) / norm, rtol=1e-6)
    np.testing.assert_allclose(together[1], np.array([0, 2, 0]) / norm, rtol=1e-6)
    np.testing.assert_allclose(clipped[1], dense / norm, rtol=1e-6)


def test_opposite_reads_of_one_row_have_no_norm():
    table, kernel = make_table(), make_table(3, "kernel")
    values = np.array([[50.0, 50, 50], [-50.0, -50, -50]], "float32")
    dense = np.zeros(SHAPE, "float32")
    dense[0, 0] = 0.5
    clipped = build(table, kernel, clip=1.0)._clip_gradients([make_slices(values, [2, 2]), tf.constant(dense)])
    np.testing.assert_allclose(clipped[1], dense)


@pytest.mark.parametrize(("name", "decays"), [("embeddings", False), ("position_embeddings", False), ("kernel", True)])
def test_only_kernels_decay(name, decays):
    variable = make_table(name=name)
    optimizer, start = build(variable), np.array(variable)
    optimizer.apply([tf.zeros(SHAPE)])
    expected = start * (1 - RATE * DECAY) if decays else start
    np.testing.assert_allclose(variable, expected, rtol=1e-6)
