"""Xception and Inception as heads: against plain numpy, their widths as published, and what is padding."""

import functools
import itertools

import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import build_head, get_preset

LAYERS, TOKENS, HIDDEN = 3, 6, 40
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])
XCEPTION, INCEPTION = "learned_pooling_adapter_386_xception", "learned_pooling_adapter_386_inception"
VECTORS = [XCEPTION, INCEPTION, "xception", "xception_abbreviated", "xception_abbreviated_skip"]
CASES = [*[(name, "classification") for name in VECTORS], (XCEPTION, "span"), (INCEPTION, "span")]
BY_TOKEN = [(INCEPTION, "classification"), (XCEPTION, "span"), (INCEPTION, "span")]


def make_image(seed=0, tokens=TOKENS):
    return np.random.default_rng(seed).normal(size=(len(MASK), LAYERS, tokens, HIDDEN)).astype("float32")


@functools.cache
def make_head(name, kind):
    """The head of a name, with every weight drawn at random, kernels so that numbers keep their size."""
    head = build_head(name, num_hidden_states=LAYERS, hidden_dim=HIDDEN, kind=kind)
    rng = np.random.default_rng(1)
    for weight in head.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif len(weight.shape) == 4:
            inputs = weight.shape[1] if "depthwise" in weight.path else np.prod(weight.shape[:3])
            weight.assign(rng.normal(size=weight.shape) / np.sqrt(inputs))
        else:
            weight.assign(rng.normal(size=weight.shape))
    return head


def run(head, image, mask=MASK, training=False):
    outputs = head({"hidden_states": image, "padding_mask": mask}, training=training)
    if isinstance(outputs, dict):
        return np.stack([np.asarray(value) for value in outputs.values()], axis=-1)
    return np.asarray(outputs)


def windows(x, size, stride, padding, fill):
    """Of (width, channels) what each output sees, (outputs, size, channels); "same" as TensorFlow pads it."""
    outputs, outside = (len(x) - size) // stride + 1, 0
    if padding == "same":
        outputs = -(-len(x) // stride)
        outside = max((outputs - 1) * stride + size - len(x), 0)
    x = np.pad(x, ((outside // 2, outside - outside // 2), (0, 0)), constant_values=fill)
    return np.array([x[place * stride : place * stride + size] for place in range(outputs)])


def number(name):
    """The place of a layer in the order of their making."""
    return int(name.rpartition("_")[2])


def relu(x):
    return np.maximum(x, 0)


class Reference:
    """The published networks on one picture (width, channels) in plain numpy, from their weights in order."""

    def __init__(self, weights):
        self.weights = iter(weights)

    def take(self, count):
        return list(itertools.islice(self.weights, count))

    def norm(self, x):
        gamma, beta, mean, variance = self.take(4)
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    def conv(self, x, size, stride=1, padding="same"):
        (kernel,) = self.take(1)  # no bias
        assert kernel.shape[:2] == (1, size)
        seen = windows(x, size, stride, padding, 0)
        return self.norm(sum(seen[:, place] @ kernel[0, place] for place in range(size)))

    def separable(self, x):
        depthwise, pointwise = self.take(2)
        assert depthwise.shape == (1, 3, x.shape[1], 1)
        return self.norm(np.einsum("psc,sc->pc", windows(x, 3, 1, "same", 0), depthwise[0, ..., 0]) @ pointwise[0, 0])

    def entry(self, x, pool=None, relu_first=True):
        """Two separable convolutions beside one of 1 x 1; a pool halves the width."""
        beside = self.conv(x, 1, stride=2 if pool else 1)
        x = self.separable(relu(x) if relu_first else x)
        x = self.separable(relu(x))
        if pool:
            fold = {"average": np.nanmean, "max": np.nanmax}[pool]
            x = fold(windows(x, 3, 2, "same", np.nan), axis=1)
        return x + beside

    def middle(self, x):
        y = x
        for _ in range(3):
            y = self.separable(relu(y))
        return x + y

    def xception(self, x):
        x = relu(self.conv(x, 3, 3, "valid"))
        x = relu(self.conv(x, 3, 1, "valid"))
        x = self.entry(x, "average", relu_first=False)
        x = self.entry(self.entry(x, "average"), "max")
        for _ in range(8):
            x = self.middle(x)
        x = self.entry(x, "max")
        return relu(self.separable(relu(self.separable(x)))).mean(axis=0)

    def abbreviated(self, x):
        x = relu(self.conv(x, 3, 3, "valid"))
        x = relu(self.conv(x, 3, 1, "valid"))
        return self.entry(x, "average", relu_first=False).mean(axis=0)

    def token_xception(self, x):
        x = relu(self.conv(relu(self.conv(x, 3)), 3))
        x = self.entry(self.entry(self.entry(x, relu_first=False)))
        return relu(self.separable(self.entry(self.middle(x))))

    def token_inception(self, x):
        for _ in range(4):
            one = self.conv(x, 1)
            three = self.conv(relu(self.conv(x, 1)), 3)
            five = self.conv(relu(self.conv(x, 1)), 5)
            pooled = self.conv(windows(x, 3, 1, "same", 0).mean(axis=1), 1)
            x = relu(np.concatenate([one, three, five, pooled], axis=1))
        return x


def compute_reference(head, name, image, mask, kind):
    """A head of these in plain numpy, one example at a time, of its real tokens alone."""

    def get(layer):
        return [np.asarray(weight, "float64") for weight in head.get_layer(layer).get_weights()]

    kinds = ("convolution_", "separable_", "norm_")
    own = sorted((layer.name for layer in head.layers if layer.name.startswith(kinds)), key=number)
    weights_in_order = [weight for layer in own for weight in get(layer)]
    config, outputs = get_preset(name), []
    for states, real in zip(image.astype("float64"), mask, strict=True):
        states = states[:, real == 1]  # (layers, real tokens, hidden)
        final_block = states[-1]
        if config.pooling == "learned":
            weights, gain = get("layer_pooling")
            states = gain * np.einsum("l,lth->th", np.exp(weights) / np.exp(weights).sum(), states)[None]
        if config.adapter_dim:
            kernel, bias = get("adapter")
            x = states @ kernel + bias
            states = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        body = Reference(weights_in_order)
        if config.body == "inception":
            features = body.token_inception(states[0])
        elif kind == "span":
            features = body.token_xception(states[0])
        else:
            picture = states.mean(axis=1).T  # (channels, layers)
            features = body.xception(picture) if config.body == "xception" else body.abbreviated(picture)
        assert not body.take(1)  # every weight was read
        if config.body == "inception" and kind != "span":
            features = features.mean(axis=0)
        if config.skip:
            features = np.concatenate([features, final_block.mean(axis=0)])
        kernel, bias = get("logits")
        outputs.append(features @ kernel + bias)
    return outputs


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_against_numpy(name, kind):
    head = make_head(name, kind)
    outputs = run(head, make_image())
    expected = compute_reference(head, name, make_image(), MASK, kind)
    scale = max(np.abs(rows).max() for rows in expected)
    assert 0.1 < scale < 1e4  # neither died out nor blown up on the way
    for found, wanted, real in zip(outputs, expected, MASK, strict=True):
        if kind == "span":
            np.testing.assert_array_equal(found[real == 0], np.float32(-1e9))
            found = found[real == 1]
        np.testing.assert_allclose(found / scale, wanted / scale, atol=2e-5)


def test_xception_has_the_published_widths_at_bert_large():
    head = build_head("xception", num_hidden_states=26, hidden_dim=1024, num_tokens=1)
    assert head.get_layer("picture").output.shape == (None, 1, 1024, 26)

    def list_shapes(kind):
        own = sorted((layer.name for layer in head.layers if layer.name.startswith(f"{kind}_")), key=number)
        return [head.get_layer(name).output.shape[2:] for name in own]

    assert list_shapes("relu")[:2] == [(341, 32), (339, 64)]
    blocks = [(shape, len(list(group))) for shape, group in itertools.groupby(list_shapes("residual"))]
    assert blocks == [((170, 128), 1), ((85, 256), 1), ((43, 728), 9), ((22, 1024), 1)]
    assert list_shapes("relu")[-2:] == [(22, 1536), (22, 2048)]
    assert head.get_layer("xception_pool").output.shape == (None, 2048)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_stands_in_padded_cells_changes_nothing(name, kind):
    head = make_head(name, kind)
    clean = run(head, make_image())
    assert np.isfinite(clean).all()
    for noise in (make_image(seed=9) * 100, np.full_like(make_image(), np.nan)):
        noisy = np.where(MASK[:, None, :, None] == 1, make_image(), noise)
        np.testing.assert_array_equal(run(head, noisy), clean)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_more_padding_changes_nothing(name, kind):
    head = make_head(name, kind)
    wider = np.concatenate([make_image(), make_image(seed=5)], axis=2)
    clean = run(head, make_image())
    padded = run(head, wider, np.concatenate([MASK, np.zeros_like(MASK)], axis=1))
    if kind == "span":
        padded = padded[:, :TOKENS]
    np.testing.assert_allclose(padded, clean, rtol=1e-5, atol=1e-5 * np.abs(clean[clean > -1e8]).max())


@pytest.mark.filterwarnings("error::UserWarning")  # Keras would warn of layers that lose a mask
@pytest.mark.parametrize(("name", "kind"), BY_TOKEN)
def test_statistics_in_training_are_of_real_tokens_alone(name, kind):
    head = make_head.__wrapped__(name, kind)
    start = head.get_weights()

    def train_on(image, mask=MASK):
        head.set_weights(start)
        outputs = run(head, image, mask, training=True)[:, :TOKENS]
        norms = [layer for layer in head.layers if layer.name.startswith("norm_")]
        return outputs, np.concatenate([np.ravel(part) for layer in norms for part in layer.get_weights()[2:]])

    outputs, statistics = train_on(make_image())
    assert np.isfinite(outputs).all() and np.isfinite(statistics).all()
    for noise in (make_image(seed=9) * 100, np.full_like(make_image(), np.nan)):
        found = train_on(np.where(MASK[:, None, :, None] == 1, make_image(), noise))
        np.testing.assert_array_equal(found[0], outputs)
        np.testing.assert_array_equal(found[1], statistics)
    wider = np.concatenate([make_image(), make_image(seed=5)], axis=2)
    found = train_on(wider, np.concatenate([MASK, np.zeros_like(MASK)], axis=1))
    np.testing.assert_allclose(found[0], outputs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], statistics, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("xception_abbreviated_skip", "classification"), *BY_TOKEN])
def test_half_precision_gives_finite_float32_logits(name, kind):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        outputs = run(make_head.__wrapped__(name, kind), make_image(), training=True)
    finally:
        keras.config.set_dtype_policy(before)
    assert outputs.dtype == np.float32
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("xception", {"kind": "span"}, "`body='xception'` reads the tokens of one layer here: set `pooling`."),
        ("inception", {"kind": "span"}, "`body='inception'` reads the tokens of one layer here: set `pooling`."),
        ("inception", {}, "`body='inception'` reads the tokens of one layer here: set `pooling`."),
        ("xception", {"hidden_dim": 8}, "`body='xception'` needs 9 channels or more, got 8."),
        ("adapter_8_xception", {}, "`body='xception'` needs 9 channels or more, got 8."),
        *[
            (name, {"kind": "span"}, "`body='xception_abbreviated'` shrinks what it reads: it is no span head.")
            for name in ("xception_abbreviated", "xception_abbreviated_skip", "learned_pooling_xception_abbreviated")
        ],
    ],
)
def test_what_they_cannot_serve_is_refused_in_one_line(name, options, message):
    with pytest.raises(HeadError) as error:
        build_head(name, **{"num_hidden_states": LAYERS, "hidden_dim": HIDDEN, **options})
    assert str(error.value) == message


def test_the_narrowest_picture_they_read():
    for name in ("xception", "xception_abbreviated"):
        head = build_head(name, num_hidden_states=LAYERS, hidden_dim=9)
        assert np.isfinite(run(head, make_image()[..., :9])).all()
