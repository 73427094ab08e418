"""The readout of a kernel head."""

import keras
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from bertvision_tf.layers import KernelReadout

RANDOM = np.random.default_rng(0)
ROWS, NEW = (RANDOM.normal(size=(count, 8)).astype(np.float32) for count in (20, 7))

BIAS = np.array([1.0, 2.0, 3.0])


@pytest.fixture
def fitted():
    model = KernelRidge(alpha=0.5, kernel="rbf", gamma=0.3 / 8).fit(ROWS, RANDOM.normal(size=(20, 3)))
    layer = KernelReadout(units=3, rows=20, gamma=0.3)
    layer.build((None, 8))
    layer.set_weights([model.dual_coef_, BIAS, ROWS])
    return model, layer


def test_it_is_scikit_learns_kernel_with_a_bias(fitted):
    model, layer = fitted
    np.testing.assert_allclose(layer(NEW), model.predict(NEW) + BIAS, atol=1e-5)


def test_it_is_saved_with_its_rows(fitted, tmp_path):
    features = keras.Input((8,))
    head = keras.Model(features, fitted[1](features))
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_array_equal(again(NEW), head(NEW))


def test_before_it_is_fitted_it_says_the_same_of_every_row():
    assert (KernelReadout(units=2)(NEW).numpy() == np.zeros((7, 2))).all()


def test_distances_are_measured_in_float32_under_any_policy():
    layer = KernelReadout(units=2, dtype="bfloat16")
    assert layer(NEW.astype("bfloat16")).dtype == "float32" and layer.compute_dtype == "float32"
