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
ADAPTED = {"adapter_dim": 386, "pooling": "learned"}


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
        ("adapter_386_shared_skip_pooled_branch", {"adapter_dim": 386, "skip": True, "pooled_branch": True}),
        ("adapter_8_unshared_pooled_branch", {"adapter_dim": 8, "shared": False, "pooled_branch": True}),
        ("cnn_1x5_64", {"body": "cnn", "cnn_kernel": 5, "cnn_dim": 64}),
        ("cnn_1x5_64_dilated", {"body": "cnn", "cnn_kernel": 5, "cnn_dim": 64, "cnn_dilated": True}),
        ("average_pooling_cnn_1x5_60", {"pooling": "average", "body": "cnn", "cnn_kernel": 5, "cnn_dim": 60}),
        (
            "adapter_9_cnn_1x1_7_cls",
            {"adapter_dim": 9, "body": "cnn", "cnn_kernel": 1, "cnn_dim": 7, "token_pooling": "cls"},
        ),
        ("learned_pooling_adapter_386_cnn_1x5_154", {**ADAPTED, "body": "cnn", "cnn_kernel": 5, "cnn_dim": 154}),
        (
            "learned_pooling_adapter_386_cnn_3x3_206",
            {**ADAPTED, "body": "cnn", "cnn_kernel": 3, "cnn_dim": 206, "cnn_square": True},
        ),
        ("learned_pooling_adapter_386_xception", {**ADAPTED, "body": "xception"}),
        ("learned_pooling_adapter_386_inception", {**ADAPTED, "body": "inception"}),
        ("last_layer_inception_skip", {"pooling": "last", "body": "inception", "skip": True}),
        ("xception", {"body": "xception"}),
        ("xception_abbreviated", {"body": "xception_abbreviated"}),
        ("xception_abbreviated_skip", {"body": "xception_abbreviated", "skip": True}),
        ("detect_parts", {"parts_dim": 128, "dropout": 0.3}),
        ("detect_parts_7_flat", {"parts_dim": 7, "dropout": 0.3, "token_pooling": "flat"}),
        ("learned_pooling_attention", {"pooling": "learned", "token_pooling": "attention"}),
        (
            "standardized_cnn_2x2_3_attention",
            {
                "standardize": True,
                "body": "cnn",
                "cnn_kernel": 2,
                "cnn_dim": 3,
                "cnn_square": True,
                "token_pooling": "attention",
            },
        ),
    ],
)
def test_a_name_stands_for_one_config(name, fields):
    assert get_preset(name) == HeadConfig(**fields)


def test_the_table():
    assert list_presets() == list(PRESETS)
    assert len(set(PRESETS.values())) == len(PRESETS) == 34
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
        "learned_pooling_attention_cls",
        "cnn",
        "cnn_5_64",
        "cnn_3x5_64",
        "cnn_1x0_64",
        "cnn_1x5",
        "cnn_1x5_64_skip",
        "adapter_8_shared_cnn_1x5_64",
        "detect_parts_0",
        "learned_pooling_detect_parts",
        "adapter_8_shared_pooled_branch_skip",
        "xception_adapter_8",
    ],
)
def test_an_unknown_name_shows_the_grammar(name):
    with pytest.raises(HeadError) as error:
        get_preset(name)
    assert str(error.value).startswith(f"No head is named {name!r}.")
    assert str(error.value).endswith(
        "Names are read as last_layer|average_pooling|learned_pooling[_adapter_D][_skip]; "
        "adapter_D_shared|unshared[_skip][_pooled_branch]; conv1x1_adapter_D_residual; "
        "[POOLING_][adapter_D_]cnn_1xN|NxN_D[_dilated]; "
        "[POOLING_][adapter_D_]xception|xception_abbreviated|inception[_skip]; vision_NETWORK[_hidden][_pretrained]; "
        "detect_parts[_D]; comparison_adapter_D[_similarity_D]; "
        "each may begin with standardized_ and end in _cls, _flat or _attention; D is any width."
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("adapter_32_shard", "adapter_32_shared"),
        ("learnt_pooling", "learned_pooling"),
        ("last", "last_layer"),
        ("xception_abbr", "xception_abbreviated"),
        ("cnn_1x5_64_dilatd", "cnn_1x5_64_dilated"),
        ("detect_part", "detect_parts"),
    ],
)
def test_near_names_come_first_at_the_width_asked_for(name, near):
    with pytest.raises(HeadError, match=rf"Near it: {near}[,.]"):
        get_preset(name)


def test_a_name_that_contradicts_itself_and_one_that_is_no_name():
    with pytest.raises(HeadError, match="pooling='last'"):
        get_preset("last_layer_skip")
    with pytest.raises(HeadError, match="token_pooling"):
        get_preset("xception_flat")
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


@pytest.mark.parametrize(
    "name", ["learned_pooling", "adapter_64_shared_skip", "conv1x1_adapter_16_residual_cls", "xception"]
)
def test_any_name_may_begin_with_standardized(name):
    assert not get_preset(name).standardize
    assert get_preset(f"standardized_{name}") == dataclasses.replace(get_preset(name), standardize=True)
