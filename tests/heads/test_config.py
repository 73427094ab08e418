import dataclasses
import json

import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import PRESETS, HeadConfig
from bertvision_tf.heads.config import Body, Convolution, Pooling, TokenPoolingMode
from bertvision_tf.layers.token_pooling import MODES

FULL = HeadConfig(
    standardize=True,
    convolution="conv1x1_adapter",
    convolution_dim=16,
    layer_dropout=0.1,
    pooling="learned",
    adapter_dim=8,
    skip=True,
    token_pooling="mean_max_cls",
    dropout=0.5,
)


def test_defaults():
    assert HeadConfig().to_dict() == {
        "comparison": False,
        "views_dropout": 0.0,
        "similarity_dim": None,
        "standardize": False,
        "convolution": "none",
        "convolution_dim": None,
        "token_cutout": 0.0,
        "layer_dropout": 0.0,
        "pooling": "none",
        "adapter_dim": None,
        "shared": True,
        "parts_dim": None,
        "body": "none",
        "cnn_dim": None,
        "cnn_kernel": None,
        "cnn_square": False,
        "cnn_dilated": False,
        "vision": None,
        "vision_weights": None,
        "vision_view": "layers_tokens",
        "vision_size": 96,
        "pooled_branch": False,
        "skip": False,
        "token_pooling": "mean",
        "dropout": 0.0,
    }


def test_strings_become_choices():
    assert FULL.convolution is Convolution.CONV1X1_ADAPTER
    assert FULL.pooling is Pooling.LEARNED
    assert FULL.token_pooling is TokenPoolingMode.MEAN_MAX_CLS
    assert tuple(TokenPoolingMode) == (*MODES, "attention")  # layers of their own, of which this room knows nothing
    assert HeadConfig(body="inception").body is Body.INCEPTION


@pytest.mark.parametrize("config", [FULL, *PRESETS.values()], ids=["full", *PRESETS])
def test_json_round_trip(config):
    assert HeadConfig.from_json(config.to_json()) == config
    assert HeadConfig.from_dict(config.to_dict()) == config
    assert json.loads(config.to_json()) == config.to_dict()
    assert hash(HeadConfig.from_json(config.to_json())) == hash(config)


def test_fields_left_out_take_their_defaults():
    assert HeadConfig.from_json('{"adapter_dim": 4, "dropout": 0}') == HeadConfig(adapter_dim=4)


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.skip = False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "sum"}, "`pooling` needs one of none, last, average, learned, got 'sum'."),
        ({"convolution": None}, "`convolution` needs one of none, conv1x1_adapter, got None."),
        ({"token_pooling": 1}, "`token_pooling` needs one of mean, max, cls, flat, mean_max_cls, attention, got 1."),
        ({"adapter_dim": 0}, "`adapter_dim` needs a whole number above 0, or none, got 0."),
        ({"adapter_dim": 2.0}, "`adapter_dim` needs a whole number above 0, or none, got 2.0."),
        ({"convolution_dim": True}, "`convolution_dim` needs a whole number above 0, or none, got True."),
        ({"dropout": 1}, "`dropout` needs a share from 0 up to (and without) 1, got 1."),
        ({"layer_dropout": "0.1"}, "`layer_dropout` needs a share from 0 up to (and without) 1, got '0.1'."),
        ({"skip": 1}, "`skip` needs true or false, got 1."),
        ({"body": "vgg"}, f"`body` needs one of {', '.join(Body)}, got 'vgg'."),
        ({"parts_dim": 0}, "`parts_dim` needs a whole number above 0, or none, got 0."),
        ({"cnn_kernel": 1.5}, "`cnn_kernel` needs a whole number above 0, or none, got 1.5."),
        ({"cnn_square": "yes"}, "`cnn_square` needs true or false, got 'yes'."),
    ],
)
def test_a_bad_value_is_named(fields, message):
    with pytest.raises(HeadError) as error:
        HeadConfig(**fields)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"convolution": "conv1x1_adapter"}, ["convolution='conv1x1_adapter'", "convolution_dim"]),
        ({"convolution_dim": 16}, ["convolution_dim=16", "convolution='conv1x1_adapter'"]),
        ({"shared": False}, ["shared=False", "adapter_dim"]),
        ({"shared": False, "adapter_dim": 2, "pooling": "learned"}, ["shared=False", "pooling='learned'"]),
        ({"skip": True, "pooling": "last"}, ["skip=True", "pooling='last'"]),
        ({"layer_dropout": 0.1, "pooling": "last"}, ["layer_dropout=0.1", "pooling='last'"]),
        ({"body": "cnn"}, ["body='cnn'", "cnn_dim", "cnn_kernel"]),
        ({"body": "cnn", "cnn_dim": 4}, ["body='cnn'", "cnn_dim", "cnn_kernel"]),
        ({"cnn_kernel": 5}, ["body='cnn'", "cnn_dim", "cnn_kernel"]),
        ({"body": "inception", "cnn_dim": 4, "cnn_kernel": 5}, ["body='cnn'", "cnn_dim", "cnn_kernel"]),
        ({"cnn_square": True}, ["cnn_square", "body='cnn'"]),
        ({"body": "xception", "cnn_dilated": True}, ["cnn_dilated", "body='cnn'"]),
        ({"body": "xception", "token_pooling": "flat"}, ["body='xception'", "token_pooling", "'flat'"]),
        ({"body": "xception_abbreviated", "token_pooling": "flat"}, ["body='xception_abbreviated'", "'flat'"]),
        ({"parts_dim": 4, "adapter_dim": 4}, ["parts_dim", "adapter_dim"]),
        ({"parts_dim": 4, "shared": False}, ["shared=False", "adapter_dim"]),
        ({"pooled_branch": True}, ["pooled_branch=True", "adapter_dim"]),
        ({"pooled_branch": True, "adapter_dim": 4, "pooling": "average"}, ["pooled_branch=True", "pooling='none'"]),
    ],
)
def test_a_contradiction_names_both_sides_in_one_line(fields, named):
    with pytest.raises(HeadError) as error:
        HeadConfig(**fields)
    assert all(name in str(error.value) for name in named)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("between", [{"parts_dim": 4}, {"body": "inception"}, {"adapter_dim": 4}])
def test_skip_beside_the_last_layer_needs_something_between(between):
    assert HeadConfig(skip=True, pooling="last", **between).skip


def test_unknown_keys_are_refused_by_name():
    with pytest.raises(HeadError, match=r"A head has no field 'adaptor', 'depth'\. Its fields: comparison, "):
        HeadConfig.from_dict({"adaptor": 4, "skip": True, "depth": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "this is no JSON"), ("[1]", r"needs a JSON object, got '\[1\]'"), ('"x"', "needs a JSON object")],
)
def test_broken_json(text, message):
    with pytest.raises(HeadError, match=message):
        HeadConfig.from_json(text)
