"""The last blocks of an encoder on the states below them: the states that the whole encoder has."""

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.encoders.trainable import UpperBlocks

from .test_parity import VARIANTS, largest_difference, read_golden

ALONE = [folder for folder in VARIANTS if not folder.name.startswith("albert")]  # whose layers share no block


@pytest.mark.parametrize("folder", ALONE, ids=lambda path: path.name)
@pytest.mark.parametrize("count", [1, 2])
def test_states_equal_pytorch(folder, count):
    encoder = load_encoder(str(folder))
    tokens, expected, _ = read_golden(folder / "golden.npz")
    mask = tokens["padding_mask"]
    upper = UpperBlocks(encoder.architecture, encoder.weights, count)
    states = np.asarray(upper(expected[:, : expected.shape[1] - count] * mask[:, None, :, None], mask))
    assert states.shape == expected.shape
    assert largest_difference(states, expected, mask) < 1e-4
    assert not states[np.broadcast_to(mask[:, None, :, None] == 0, states.shape)].any()


@pytest.mark.parametrize("folder", ALONE, ids=lambda path: path.name)
def test_weights_are_those_of_the_encoder(folder):
    encoder = load_encoder(str(folder))
    upper = UpperBlocks(encoder.architecture, encoder.weights, 1)
    found = upper.read_weights()
    last = f"block_{encoder.architecture.num_layers - 1}."
    assert {*found} == {name for name in encoder.weights if name.startswith((last, "final_norm."))}
    for name, value in found.items():
        np.testing.assert_array_equal(value, encoder.weights[name])
    trained = {variable.path for variable in upper.trainable_variables}
    assert len(trained) == len(found)  # neither a table of positions nor what the embeddings read


def test_dropout_draws_only_in_training():
    folder = next(folder for folder in ALONE if folder.name == "mpnet")
    encoder = load_encoder(str(folder))
    tokens, expected, _ = read_golden(folder / "golden.npz")
    upper = UpperBlocks(encoder.architecture, encoder.weights, 1)
    lower, mask = expected[:, :-1], tokens["padding_mask"]
    still, drawn = (np.asarray(upper(lower, mask, training=training)) for training in (False, True))
    np.testing.assert_array_equal(still[:, :-1], drawn[:, :-1])
    assert np.abs(still - drawn)[:, -1].max() > 1e-2
