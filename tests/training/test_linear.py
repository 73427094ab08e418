"""Heads that are fitted at once."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression, Ridge

import bertvision_tf as bv
from bertvision_tf.errors import HeadError, RunError
from bertvision_tf.heads import HeadConfig, adapt_head, build_head, describe_head, get_preset
from bertvision_tf.heads.build import list_groups
from bertvision_tf.heads.presets import SOLVED
from bertvision_tf.kinds import find_kind
from bertvision_tf.kinds.label_sets import SEPARATOR
from bertvision_tf.training import linear
from bertvision_tf.training.linear import fit_linear_head
from bertvision_tf.training.solvers import PENALTIES

from .test_measured import make_pairs

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(60, 5))


@pytest.fixture(scope="module")
def train(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("linear")

    def run(name, task="starter", **options):
        common = {"limit": 300, "head": "linear_all_layers", "seeds": 1, "store": folder / "states"}
        return bv.train(task, tiny_encoder, output=folder / name, **common | options)

    return run


def test_it_is_the_baseline_of_all_layers_as_a_head(train):
    run = train("plain")
    baseline = next(one for name, one in run.results["baselines"].items() if name.startswith("all layers"))
    assert run.results["selection_scores"][0] == pytest.approx(baseline["selection_score"], abs=0.02)
    assert run.results["trainable_parameters"] == 2 * (3 * 8 + 1)
    task = bv.get_task("starter")
    rows = task.load("dev").take(300)
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
        written = [row["prediction"] for row in csv.DictReader(file)]
    same = [one == other for one, other in zip(run.predict(rows.texts).labels, written, strict=True)]
    assert np.mean(same) > 0.97  # those of int8 states
    assert len(run.results["layers"]["losses"]) == 3


def test_the_strength_is_chosen_on_the_selection_rows(train):
    run = train("strengths", baselines=False)
    with open(run.path / "curves.csv", encoding="utf-8") as file:
        lines = [line.split(",") for line in list(file)[1:]]
    scores = [float(line[3]) for line in lines]
    assert len(scores) == len(find_kind("classification").layer_strengths)
    assert run.results["best_epochs"] == [int(np.argmax(scores)) + 1]
    losses = [float(line[2]) for line in lines]
    assert losses == sorted(losses, reverse=True)  # the less regularised, the nearer to the training rows


def test_only_seeds_that_draw_rows_of_their_own_are_fitted_each(train):
    same = train("same", seeds=[3, 4], baselines=False)
    assert (same.results["seeds"], len(same.results["scores"])) == ([3], 1)
    drawn = train("drawn", seeds=2, baselines=False, train_share=0.3)
    weights = [drawn.load_head(seed).get_layer("logits").get_weights()[0] for seed in (0, 1)]
    assert not np.allclose(*weights)


@pytest.mark.parametrize("head", ["linear_comparison", "linear_all_layers_mean_max_cls", "linear_last_layer_cls"])
def test_pairs_and_other_features(train, head):
    task = bv.task_from_table(make_pairs(240, 0), make_pairs(60, 1), text="one", text_pair="two", name="pairs")
    run = train(head, task, head=head, limit=None)
    assert run.results["head"] == head and np.isfinite(run.results["mean"])
    features = {
        "linear_comparison": 3 * (3 * 8 + 5),
        "linear_all_layers_mean_max_cls": 9 * 8,
        "linear_last_layer_cls": 8,
    }
    assert run.results["trainable_parameters"] == 2 * (features[head] + 1)


def test_classes_that_no_training_row_has():
    kind, labels = find_kind("classification"), RANDOM.integers(0, 2, 60)
    kernel, bias = kind.fit_linear(FEATURES, 2 * labels, 3, 1.0)
    expected = LogisticRegression(C=1.0).fit(FEATURES, labels).predict_proba(FEATURES)
    found = kind.compute_probabilities(FEATURES @ kernel + bias)
    np.testing.assert_allclose(found[:, [0, 2]], expected, atol=1e-2)
    assert found[:, 1].max() < 1e-3
    kernel, bias = kind.fit_linear(FEATURES, np.ones(60, int), 3, 1.0)
    assert (kind.decode(FEATURES @ kernel + bias) == 1).all()


def test_several_labels_and_scores():
    sets, labels = (
        find_kind("multilabel"),
        np.stack([FEATURES[:, 0] > 0, np.ones(60), np.zeros(60)], axis=1).astype(int),
    )
    kernel, bias = sets.fit_linear(FEATURES, labels, 3, 1.0)
    assert (sets.decode(FEATURES @ kernel + bias) == labels).mean() > 0.95
    scores, targets = find_kind("regression"), FEATURES @ np.arange(5) + 2
    kernel, bias = scores.fit_linear(FEATURES, targets, 1, 1.0)
    np.testing.assert_allclose(
        FEATURES @ kernel[:, 0] + bias, Ridge(1.0).fit(FEATURES, targets).predict(FEATURES), atol=1e-6
    )


def test_rows_that_count_more():
    kind, labels = find_kind("classification"), (FEATURES[:, 0] > 1).astype(int)
    weights = np.where(labels == 1, 10.0, 1.0)
    plain, counted = (kind.fit_linear(FEATURES, labels, 2, 0.01, counts) for counts in (None, weights))
    assert counted[1][1] - counted[1][0] > plain[1][1] - plain[1][0]


@pytest.mark.parametrize("name", SOLVED)
def test_names(name):
    head = build_head(name, num_hidden_states=3, hidden_dim=8)
    assert "fitted at once" in describe_head(name)
    assert HeadConfig.from_json(get_preset(name).to_json()) == get_preset(name)
    assert head.count_params() > 0


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("sparse_all_layers", [(0, 8), (1, 8), (2, 8)]),
        ("sparse_all_layers_mean_max_cls", [(0, 24), (1, 24), (2, 24)]),
        ("sparse_last_layer", [(0, 8)]),
        ("sparse_comparison", [*[(layer, 8) for layer in (0, 0, 0, 1, 1, 1, 2, 2, 2)], (0, 5), (1, 5), (2, 5)]),
    ],
)
def test_groups_are_layers_and_views(name, groups):
    head = build_head(name, num_hidden_states=3, hidden_dim=8)
    assert list_groups(head) == groups
    assert sum(size for _, size in groups) == head.get_layer("logits").kernel.shape[0]


def test_a_sparse_head_tells_which_layers_survive(train, tmp_path):
    run = train("sparse", head="sparse_all_layers", baselines=False)
    path = run.results["layers"]["path"]
    norms = np.array(path["norms"])  # (layers, penalties)
    assert norms.shape == (3, len(path["penalties"])) and path["chosen"] + 3 >= len(path["penalties"])
    assert path["penalties"] == PENALTIES[: norms.shape[1]].tolist()
    assert (norms[:, -1] > 0).any() and (norms[:, 0] == 0).any()
    assert path["chosen"] == run.results["best_epochs"][0] - 1
    kernel = run.load_head().get_layer("logits").get_weights()[0].reshape(3, 8, 2)
    np.testing.assert_allclose(np.sqrt(np.square(kernel).sum(axis=(1, 2))), norms[:, path["chosen"]], rtol=1e-4)
    assert (run.path / "layer_path.png").stat().st_size > 1000
    report = bv.write_report([run], tmp_path / "report")
    assert "Which layers a sparse head keeps" in report.read_text(encoding="utf-8")
    last = train("sparse-last", head="sparse_last_layer", baselines=False)
    assert "path" not in last.results["layers"]  # there is nothing to choose from


@pytest.mark.parametrize("name", ["sparse_all_layers", "kernel_all_layers", "kernel_comparison"])
@pytest.mark.parametrize("kind", ["classes", "scores", "sets"])
def test_all_kinds_are_fitted_and_found_again(train, name, kind):
    random = np.random.default_rng(0)
    words = ["cat", "dog", "bird", "has", "eat", "the", "a", "not", "run"]
    rows = [" ".join(random.choice(words, random.integers(3, 9))) for _ in range(300)]
    labels = {
        "classes": ["xyz"[("cat" in text) + ("dog" in text)] for text in rows],
        "scores": [1000.0 + 10 * text.count("cat") for text in rows],
        "sets": [[word for word in ("cat", "dog") if word in text] for text in rows],
    }
    table = {"one": rows, "two": ["the bird can run", *rows[:-1]], "label": labels[kind]}
    pair = {"text_pair": "two"} if name == "kernel_comparison" else {}
    task = bv.task_from_table(table, text="one", label="label", name="table", **pair)
    run = train(f"{name}-{kind}", task, head=name, limit=None, baselines=False)
    head, dev = run.load_head(run.results["seeds"][0]), run.open_stores()[1]
    images = next(iter(dev.as_dataset(batch_size=len(dev))))[0]
    logits = head({name: images[name] for name in head.input}).numpy()
    assert np.isfinite(logits).all() and np.ptp(logits, axis=0).min() > 0
    assert run.results["scores"][0] > 0.45  # of correlation, accuracy or F1
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    said = run.predict([row["text"] for row in written], [row["text_pair"] for row in written] if pair else None)
    if kind == "scores":
        found = [float(row["prediction"]) for row in written]
        np.testing.assert_allclose([float(one) for one in said.labels], found, rtol=0.01)
    else:
        parts = [one if isinstance(one, str) else SEPARATOR.join(one) for one in said.labels]
        same = [one == row["prediction"] for one, row in zip(parts, written, strict=True)]
        assert np.mean(same) > 0.9  # those of int8 states


def test_a_kernel_head_counts_its_rows(train, tmp_path, monkeypatch):
    run = train("kernel", head="kernel_all_layers", baselines=False, shots=8, seeds=2)
    assert run.results["trainable_parameters"] == 16 * (3 * 8) + 16 * 2 + 2
    kept = [run.load_head(seed).get_layer("logits").kept.numpy() for seed in (0, 1)]
    assert kept[0].shape == (16, 24) and not np.allclose(*kept)
    together = train("together", head="kernel_all_layers", baselines=False, shots=8, seeds=2, predict_with="mean")
    assert together.results["together"] is not None
    monkeypatch.setattr(linear, "KERNEL_ROWS", 100)
    with pytest.raises(RunError, match="a kernel head keeps all its 150 training rows, and 100 is the most"):
        train("large-kernel", head="kernel_all_layers", baselines=False, store=tmp_path / "states")
    assert not (tmp_path / "states").exists()  # nothing was extracted for it


def test_a_solver_needs_a_head_that_is_fitted_at_once():
    with pytest.raises(HeadError, match="`solver='kernel'` fits a head at once: set `linear=True`"):
        HeadConfig(solver="kernel")
    assert "solver" not in HeadConfig(linear=True).to_dict() and HeadConfig.from_dict({"linear": True}).linear


def test_what_it_does_not_go_with():
    for fields in ({"adapter_dim": 8}, {"pooling": "learned"}, {"dropout": 0.1}, {"token_pooling": "attention"}):
        with pytest.raises(HeadError, match="`linear=True` trains nothing but the last layer"):
            HeadConfig(linear=True, **fields)
    with pytest.raises(HeadError, match="it is no span head"):
        build_head("linear_all_layers", num_hidden_states=3, hidden_dim=8, kind="span")


def test_selection_rows_are_not_fitted_on():
    random, kind, losses = np.random.default_rng(0), find_kind("classification"), []
    images, labels = random.normal(size=(60, 3, 4, 8)).astype(np.float32), random.integers(0, 2, 60)
    mask = np.ones((60, 4), np.int32)
    for part in (images, random.normal(size=images.shape).astype(np.float32)):
        head = build_head("linear_all_layers", num_hidden_states=3, hidden_dim=8)
        adapt_head(head, [{"hidden_states": images, "padding_mask": mask}])
        training, selection = (
            tf.data.Dataset.from_tensor_slices(({"hidden_states": own, "padding_mask": mask}, labels)).batch(30)
            for own in (images, part)
        )
        score = lambda logits: float(logits[:, 0].mean())  # noqa: E731
        found = fit_linear_head(head, (training, labels), selection, score, kind=kind)
        losses.append(found.history["loss"])
        assert found.selection_score == max(found.history["selection_score"])
    assert losses[0] == losses[1]


def test_features_that_do_not_fit_are_refused(train, monkeypatch):
    monkeypatch.setattr(linear, "FEATURES_BYTES", 1000)
    with pytest.raises(RunError, match="needs the features of all 150 training rows at once"):
        train("large", baselines=False)


def test_states_that_only_rounding_moves_decide_nothing(tmp_path):
    """The first token of lower layers is the same in all texts, but for what int8 rounds, another way in each store."""
    random, rows = np.random.default_rng(0), 200
    images = random.normal(size=(2, rows, 3, 4, 8)).astype(np.float32)
    labels = (images[:, :, 2].mean(axis=(2, 3)) > 0).astype(np.int32)
    for split, shift in enumerate((0.0, 0.01)):
        images[split, :, :2, 0] = 0.5 + shift + random.normal(size=(rows, 2, 8)) * 1e-4
    head = build_head("linear_all_layers_mean_max_cls", num_hidden_states=3, hidden_dim=8)
    mask = np.ones((rows, 4), np.int32)
    batches = [{"hidden_states": part, "padding_mask": mask} for part in images]
    adapt_head(head, batches[:1])
    datasets = [
        tf.data.Dataset.from_tensor_slices((batch, own)).batch(50) for batch, own in zip(batches, labels, strict=True)
    ]
    kind = find_kind("classification")
    score = lambda logits: float((logits.argmax(axis=1) == labels[0]).mean())  # noqa: E731
    fit_linear_head(head, (datasets[0], labels[0]), datasets[0], score, kind=kind)
    found = [(head(batch).numpy().argmax(axis=1) == own).mean() for batch, own in zip(batches, labels, strict=True)]
    assert found[0] > 0.85 and found[1] > 0.75
    plain, moved = head(batches[0]).numpy(), {**batches[0], "hidden_states": images[0].copy()}
    moved["hidden_states"][:, :2, 0] += 0.01
    assert np.abs(head(moved).numpy() - plain).max() < 0.2 * plain.std()
