"""Weights put back into a fine-tuned encoder, and layers fed into a frozen one."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.experiments.cells import read_cells
from bertvision_tf.experiments.injection import (
    InjectionPlace,
    LayerCell,
    WeightCell,
    WeightInjection,
    build_injected,
    choose_weights,
    inject_layers,
    inject_weights,
    open_fine_tuned,
    plot_layer_injection,
    plot_weight_injection,
    put_back,
)
from bertvision_tf.experiments.injection.weights import GROUPS

CHECKPOINTS = sorted(path.parent for path in (Path(__file__).parents[1] / "checkpoints").glob("*/golden.npz"))

FIT = bv.FitConfig(epochs=1, patience=1)
OPTIONS = {"head": "learned_pooling", "limit": 500, "fit": FIT, "baselines": False, "codec": "float32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_encoder):
    root = tmp_path_factory.mktemp("injection")
    options = OPTIONS | {"seeds": 1, "fine_tune_epochs": 1, "fine_tune": {"learning_rate": 1e-2}}
    return bv.train("starter", tiny_encoder, store=root / "states", output=root / "run", **options)


@pytest.fixture(scope="module")
def opened(run):
    return open_fine_tuned(run, None)


def test_put_back_takes_the_share_from_before(tiny_encoder):
    before = {name: np.zeros_like(value) for name, value in tiny_encoder.weights.items()}
    after = {name: np.ones_like(value) for name, value in tiny_encoder.weights.items()}
    names = choose_weights(list(before), "attention")
    few, back = put_back(before, after, names, 0.3, draw=1)
    more, _ = put_back(before, after, names, 0.6, draw=1)
    for name in before:
        assert (few[name] == 1).all() == (name not in names)
    share = np.mean(np.concatenate([few[name].ravel() == 0 for name in names]))
    assert share == pytest.approx(0.3, abs=0.05)
    assert all((more[name][few[name] == 0] == 0).all() for name in names)
    assert all((back[name] == (few[name] == 0)).all() for name in names)


def test_groups_part_the_weights(tiny_encoder):
    names = list(tiny_encoder.weights)
    every = choose_weights(names, "all")
    assert {name for name in names if name not in every} == {"pooler.kernel", "pooler.bias"}
    parts = [choose_weights(names, group) for group in ("attention", "feed_forward")]
    assert all(name.startswith("block_") for part in parts for name in part)
    assert not set(parts[0]) & set(parts[1])
    assert choose_weights(names, "block_0") == [name for name in names if name.startswith("block_0.")]
    for unknown in ("block_99", "heads", "block_0|all"):
        with pytest.raises(RunError, match="no weights are a group"):
            choose_weights(names, unknown)


def test_nothing_put_back_is_the_encoders_own_score(run, opened, tmp_path):
    injection = WeightInjection(groups=["all", "norms"], shares=(0.0, 0.5, 1.0), draws=2)
    file = tmp_path / "cells.csv"
    cells = list(inject_weights(file, *opened, injection))
    assert len(cells) == 2 * (1 + 2 + 1)
    scores = {(cell.group, cell.share, cell.draw): cell.score for cell in cells}
    own = run.results["encoder_scores"][0]
    assert scores["all", 0.0, 0] == scores["norms", 0.0, 0] == pytest.approx(own)
    assert read_cells(file, WeightCell) == cells
    assert list(inject_weights(file, *opened, injection)) == []
    file.write_text("\n".join(file.read_text().splitlines()[:-2]) + "\n" + "starter,cut")  # as after a kill
    assert list(inject_weights(file, *opened, injection)) == cells[-2:]
    plot_weight_injection(cells, tmp_path / "lines.png", tmp_path / "ridges.png")
    assert (tmp_path / "lines.png").stat().st_size and (tmp_path / "ridges.png").stat().st_size


def test_what_was_put_back_stays_while_the_rest_is_trained(opened):
    from bertvision_tf.experiments.injection.weights import _InjectedModel

    snapshots, base, task, splits, training = opened
    model = _InjectedModel(snapshots[0], task, splits, training)
    tuned = snapshots[0].encoder.weights
    weights, back = put_back(base.weights, tuned, choose_weights(list(tuned), "all"), 0.5, draw=0)
    model.write(weights)
    model.train_on(back, epochs=1, seed=0)
    now = model.trained.read_encoder("now").weights
    for name, mask in back.items():
        np.testing.assert_array_equal(now[name][mask], base.weights[name][mask])
    moved = [np.abs(now[name] - weights[name])[~mask].max() for name, mask in back.items() if "query.kernel" in name]
    assert min(moved) > 0


def test_what_is_trained_on_is_the_same_in_any_order(opened, tmp_path):
    whole = WeightInjection(groups=["all"], shares=(0.0, 0.5), draws=2, epochs=0.5)
    cells = list(inject_weights(tmp_path / "whole.csv", *opened, whole))
    list(inject_weights(tmp_path / "parts.csv", *opened, dataclasses.replace(whole, shares=(0.5,))))
    list(inject_weights(tmp_path / "parts.csv", *opened, whole))
    parts = read_cells(tmp_path / "parts.csv", WeightCell)
    assert sorted(parts, key=str) == sorted(cells, key=str)
    assert len(cells) == 4


def test_an_injection_begins_as_the_encoder_itself(tiny_encoder):
    """Its last dense layer is fed with the encoder's own last state, since the bottleneck begins at 0."""
    tokens = tiny_encoder.tokenize(["the cat has eaten", "a dog"], max_length=12)
    states = tiny_encoder.hidden_states(tokens)
    for place in (InjectionPlace(0), InjectionPlace(1, 1, 4), InjectionPlace(1, None, 4)):
        model = build_injected(tiny_encoder, place, 2, 12)
        images = {"hidden_states": states[:, place.states], "padding_mask": tokens["padding_mask"]}
        kernel, bias = model.get_layer("logits").get_weights()
        np.testing.assert_allclose(np.asarray(model(images)), states[:, -1, 0] @ kernel + bias, atol=1e-4)


def test_only_the_injection_is_trained(tiny_encoder):
    model = build_injected(tiny_encoder, InjectionPlace(1, 2, 4), 3, 12)
    hidden = tiny_encoder.hidden_dim
    expected = 2 * 12 + hidden + 2 * hidden * 4 + 4 + hidden + 3 * hidden + 3
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == expected
    assert InjectionPlace(1, 5).states == [0, 1] == InjectionPlace(1).states
    for place in (InjectionPlace(99), InjectionPlace(0, 0), InjectionPlace(0, 1, 0)):
        with pytest.raises(RunError, match="layer injection needs"):
            build_injected(tiny_encoder, place, 2, 12)


def test_injections_are_cells_that_are_found_again(tiny_encoder, tmp_path):
    places = [InjectionPlace(0, 1, 4), InjectionPlace(1, None, 4)]
    options = {"store": tmp_path / "states", "limit": 500, "fit": FIT, "codec": "float32"}
    file = tmp_path / "cells.csv"
    cells = list(inject_layers(file, tiny_encoder, "starter", places, [0, 1], **options))
    assert [(cell.block, cell.layers, cell.seed) for cell in cells] == [
        (0, 1, 0),
        (0, 1, 1),
        (1, None, 0),
        (1, None, 1),
    ]
    assert read_cells(file, LayerCell) == cells
    assert list(inject_layers(file, tiny_encoder, "starter", places, [0, 1], **options)) == []
    plot_layer_injection(cells, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(RunError, match="holds cells of"):
        list(inject_layers(file, tiny_encoder, "starter", places, [0], **(options | {"limit": 400})))


def test_runs_into_which_nothing_can_be_put_back(tiny_encoder, tmp_path):
    frozen = bv.train("starter", tiny_encoder, store=tmp_path / "s", output=tmp_path / "o", seeds=1, **OPTIONS)
    with pytest.raises(RunError, match="has a frozen encoder"):
        open_fine_tuned(frozen, None)
    assert Path(frozen.path).is_dir()


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_every_weight_of_every_family_is_in_a_group(folder):
    names = [name for name in bv.load_encoder(str(folder)).weights if not name.startswith("pooler")]
    parts = [pattern for group, pattern in GROUPS.items() if group != "all"]
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in parts)] == []
