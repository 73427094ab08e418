"""Image backbones of Keras and KerasHub as heads."""

import keras
import keras_hub
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import HeadConfig, build_head, get_preset

RANDOM = np.random.default_rng(0)
LAYERS, TOKENS, HIDDEN = 3, 6, 8
BATCH = {
    "hidden_states": RANDOM.normal(size=(4, LAYERS, TOKENS, HIDDEN)).astype("float32"),
    "padding_mask": np.array([[1] * 6, [1] * 3 + [0] * 3, [1] * 5 + [0], [1] * 6]),
}
NAME = "vision_MobileNetV3Small"


def build(head, **options):
    return build_head(head, num_hidden_states=LAYERS, hidden_dim=HIDDEN, **options)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A tiny random ResNet of KerasHub, as a preset's folder."""
    folder = str(tmp_path_factory.mktemp("vision") / "resnet")
    keras_hub.models.ResNetBackbone(
        [64], [3], [64], [1], [1], "basic_block", use_pre_activation=False, image_shape=(None, None, 3)
    ).save_to_preset(folder)
    return folder


@pytest.mark.parametrize("view", ["", "_hidden"])
def test_padding_changes_nothing(view):
    head = build(NAME + view, num_outputs=3)
    expected = np.asarray(head(BATCH))
    assert expected.shape == (4, 3)
    real = BATCH["padding_mask"][:, None, :, None] > 0
    noisy = BATCH | {"hidden_states": np.where(real, BATCH["hidden_states"], 1e3).astype("float32")}
    np.testing.assert_allclose(head(noisy), expected, atol=1e-5)
    longer = {
        "hidden_states": np.pad(BATCH["hidden_states"], [(0, 0), (0, 0), (0, 3), (0, 0)]),
        "padding_mask": np.pad(BATCH["padding_mask"], [(0, 0), (0, 3)]),
    }
    np.testing.assert_allclose(head(longer), expected, atol=1e-4)


def test_the_projection_is_trained_with_the_backbone():
    head = build(NAME)
    net = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(96, 96, 3))
    weights = sum(int(np.prod(weight.shape)) for weight in net.trainable_weights)
    features = net.output.shape[-1]
    assert sum(int(np.prod(w.shape)) for w in head.trainable_weights) == HIDDEN * 3 + 3 + weights + features * 2 + 2


def test_weights_from_a_file(tmp_path):
    net = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(96, 96, 3))
    net.save_weights(tmp_path / "mine.weights.h5")
    head = build(HeadConfig(body="vision", vision="MobileNetV3Small", vision_weights=str(tmp_path / "mine.weights.h5")))
    (inner,) = (layer for layer in head.layers if isinstance(layer, keras.Model))
    for found, expected in zip(inner.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_a_preset_of_kerashub(preset, weights, tmp_path):
    head = build(HeadConfig(body="vision", vision=preset, vision_weights=weights, vision_size=32))
    assert head(BATCH).shape == (4, 2)
    head.save(tmp_path / "head.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "head.keras")(BATCH), head(BATCH), atol=1e-6)


def test_names():
    assert get_preset("vision_ResNet50_hidden_pretrained") == HeadConfig(
        body="vision", vision="ResNet50", vision_view="hidden_layers", vision_weights="imagenet"
    )
    assert get_preset("standardized_vision_resnet_18_imagenet") == HeadConfig(
        standardize=True, body="vision", vision="resnet_18_imagenet"
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vision": "NoNet"}, "no vision network 'NoNet': expected a KerasHub preset or one of"),
        ({"vision": "Xception", "vision_size": 32}, "the vision network Xception cannot be built: "),
        ({"vision": "resnet_18_imagenet", "vision_weights": "mine.h5"}, "has its own weights: `vision_weights` needs"),
        ({"vision": "MobileNetV3Small", "vision_weights": "nowhere.h5"}, "MobileNetV3Small cannot be built: "),
    ],
)
def test_what_cannot_be_built(config, message):
    with pytest.raises(HeadError) as error:
        build(HeadConfig(body="vision", **config))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_contradictions():
    with pytest.raises(HeadError, match="is no span head"):
        build(NAME, kind="span")
    with pytest.raises(HeadError, match="go together: set both"):
        HeadConfig(body="vision")
    with pytest.raises(HeadError, match="go with `body='vision'`"):
        HeadConfig(vision_weights="imagenet")
    with pytest.raises(HeadError, match="choose another `token_pooling`"):
        get_preset(f"{NAME}_flat")
