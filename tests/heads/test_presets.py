import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bertvision_tf
from bertvision_tf.errors import HeadError
from bertvision_tf.heads import PRESETS, HeadConfig, get_preset, list_presets

CONV = {"convolution": "conv1x1_adapter", "pooling": "learned"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("last_layer", {"pooling": "last"}),
        ("average_pooling", {"pooling": "average"}),
        ("learned_pooling", {"pooling": "learned"}),
        ("learned_pooling_skip", {"pooling": "learned", "skip": True}),
        ("adapter_12_shared", {"adapter_dim": 12}),
        ("adapter_386_shared_skip", {"adapter_dim": 386, "skip": True}),
        ("adapter_64_unshared", {"adapter_dim": 64, "shared": False}),
        ("adapter_7_unshared_skip", {"adapter_dim": 7, "shared": False, "skip": True}),
        ("learned_pooling_adapter_386_skip", {"pooling": "learned", "adapter_dim": 386, "skip": True}),
        ("average_pooling_adapter_9", {"pooling": "average", "adapter_dim": 9}),
        ("last_layer_adapter_9_skip", {"pooling": "last", "adapter_dim": 9, "skip": True}),
        ("conv1x1_adapter_16_residual", {"convolution_dim": 16, **CONV}),
        ("conv1x1_adapter_64_residual_cls", {"convolution_dim": 64, "token_pooling": "cls", **CONV}),
        ("learned_pooling_cls", {"pooling": "learned", "token_pooling": "cls"}),
        ("adapter_16_shared_flat", {"adapter_dim": 16, "token_pooling": "flat"}),
        (
            "adapter_16_unshared_skip_cls",
            {"adapter_dim": 16, "shared": False, "skip": True, "token_pooling": "cls"},
        ),
    ],
)
def test_a_name_stands_for_one_config(name, fields):
    assert get_preset(name) == HeadConfig(**fields)


def test_the_table():
    assert list_presets() == list(PRESETS)
    assert len(set(PRESETS.values())) == len(PRESETS) == 16
    assert all(get_preset(name) == config for name, config in PRESETS.items())
    with pytest.raises(TypeError):
        PRESETS["mine"] = HeadConfig()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "adapter",
        "adapter_0_shared",
        "adapter_016_shared",
        "adapter_8",
        "adapter_8_shared_mean",
        "Learned_pooling",
        "conv1x1_adapter_16",
        "learned_pooling_cls_flat",
        "learned_pooling\n",
    ],
)
def test_an_unknown_name_shows_the_grammar(name):
    with pytest.raises(HeadError) as error:
        get_preset(name)
    assert str(error.value).startswith(f"No head is named {name!r}.")
    assert str(error.value).endswith(
        "Names are read as last_layer|average_pooling|learned_pooling[_adapter_D][_skip]; "
        "adapter_D_shared|unshared[_skip]; conv1x1_adapter_D_residual; comparison_adapter_D; "
        "each may begin with standardized_ and end in _cls or _flat; D is any width."
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("adapter_32_shard", "adapter_32_shared"),
        ("learnt_pooling", "learned_pooling"),
        ("last", "last_layer"),
    ],
)
def test_near_names_come_first_at_the_width_asked_for(name, near):
    with pytest.raises(HeadError, match=rf"Near it: {near}[,.]"):
        get_preset(name)


def test_a_name_that_contradicts_itself_and_one_that_is_no_name():
    with pytest.raises(HeadError, match="pooling='last'"):
        get_preset("last_layer_skip")
    with pytest.raises(HeadError, match="a preset's name or a HeadConfig, got int"):
        get_preset(7)


def test_names_and_configs_load_without_keras():
    code = (
        "import sys, bertvision_tf.heads.config, bertvision_tf.heads.presets\n"
        "heavy = {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert bertvision_tf.heads.get_preset('last_layer')\n"
    )
    root = str(Path(bertvision_tf.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})


@pytest.mark.parametrize("name", ["learned_pooling", "adapter_64_shared_skip", "conv1x1_adapter_16_residual_cls"])
def test_any_name_may_begin_with_standardized(name):
    assert not get_preset(name).standardize
    assert get_preset(f"standardized_{name}") == dataclasses.replace(get_preset(name), standardize=True)
