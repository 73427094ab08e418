"""Whole runs on the tiny encoder for every kind of label, for few rows, for pairs, and for two dev splits."""

import csv
import dataclasses

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.tasks import split_selection, take_shots
from bertvision_tf.training.draw import balance

FIT = bv.FitConfig(epochs=2, patience=2, learning_rate=0.01)
OPTIONS = {"head": "learned_pooling", "seeds": 2, "fit": FIT}
WORDS = "the a cat cats dog dogs bird has have eat is can not run she he her him who what .".split()
TRAIN, DEV = 300, 60


def make_texts(count, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(count)]


def make_task(label, seed=0, **options):
    """A task whose rows have the label that a function gives their text."""
    texts = make_texts(TRAIN + DEV, seed)
    labels = [label(text.split()) for text in texts]
    parts = [{"text": texts[part], "label": labels[part]} for part in (slice(TRAIN), slice(TRAIN, None))]
    return bv.task_from_table(*parts, **options)


def read_csv(file):
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_column(run, name, file="predictions.csv"):
    return [row[name] for row in read_csv(run.path / file)]


def read_numbers(run, name):
    return np.array(read_column(run, name), float)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture
def load(tiny_encoder, monkeypatch):
    """Opens a run again, with the encoder that is in memory."""
    monkeypatch.setattr(bv.Run, "load_encoder", lambda self: tiny_encoder)
    return lambda run: bv.load_run(run.path)


# Scores


@pytest.fixture(scope="module")
def regression(root, tiny_encoder):
    task = make_task(lambda words: 1000 + 2.5 * words.count("cat") - len(words) / 3, name="scores")
    return bv.train(task, tiny_encoder, store=root / "states", output=root / "scores", **OPTIONS)


def test_scores_are_correlations_of_the_predictions(regression):
    results = regression.results
    assert (results["metric"], set(results["metrics"])) == (
        "pearson_and_spearman",
        {"pearson", "spearman", "pearson_and_spearman"},
    )
    assert results["trainable_parameters"] == 3 + 1 + 8 + 1
    assert results["rows"] == {"training": 150, "selection": 150, "dev": 60, "truncated": 0, "skipped": 0}
    labels = read_numbers(regression, "label")
    for place, seed in enumerate(results["seeds"]):
        predictions = read_numbers(regression, f"prediction_seed_{seed}")
        assert results["metrics"]["pearson"][place] == pytest.approx(pearsonr(labels, predictions)[0], abs=0.01)
        assert results["metrics"]["spearman"][place] == pytest.approx(spearmanr(labels, predictions)[0], abs=0.01)
        both = (results["metrics"]["pearson"][place] + results["metrics"]["spearman"][place]) / 2
        assert results["scores"][place] == pytest.approx(both)


def test_a_head_predicts_in_the_units_of_the_labels(regression):
    labels, predictions = (read_numbers(regression, name) for name in ("label", "prediction"))
    assert 990 < labels.mean() < 1001 and 1 < labels.std() < 4
    assert abs(predictions.mean() - labels.mean()) < labels.std()
    assert 0 < predictions.std() < 2 * labels.std()
    np.testing.assert_array_equal(predictions, read_numbers(regression, f"prediction_seed_{regression.best_seed}"))
    assert all(not name.startswith("p_") for name in read_csv(regression.path / "predictions.csv")[0])


def test_the_loss_is_that_of_labels_of_deviation_one(regression):
    losses = [float(row["loss"]) for row in read_csv(regression.path / "curves.csv")]
    assert len(losses) == 4 and max(losses) < 20


def test_rivals_of_a_regression(regression):
    table = regression.results["baselines"]
    assert list(table) == [
        "mean",
        "TF-IDF + ridge regression",
        "last layer mean + ridge regression",
        "all layers mean + ridge regression",
    ]
    assert table["mean"]["scores"] == [0.0]  # a constant correlates with nothing
    assert table["TF-IDF + ridge regression"]["scores"][0] > 0.5
    assert table["all layers mean + ridge regression"]["trainable_parameters"] == 3 * 8 + 1


def test_a_regression_predicts_floats(regression, load):
    texts = read_column(regression, "text")[:20]
    found = load(regression).predict(texts)
    assert {type(score) for score in found.labels} == {float}
    assert found.probabilities.shape == (20, 0) and found.label_names == ()
    stored = read_numbers(regression, "prediction")[:20]
    np.testing.assert_allclose(found.labels, stored, atol=0.1)  # the store rounds to eight bits
    assert load(regression).predict([]).labels == []


# Several classes


def test_several_classes_may_hold(root, tiny_encoder, load):
    task = make_task(
        lambda words: [word for word in ("cat", "dog", "bird") if word in words], name="animals", kind="multilabel"
    )
    assert task.label_names == ("bird", "cat", "dog")
    run = bv.train(task, tiny_encoder, store=root / "states", output=root / "animals", **OPTIONS)
    results = run.results
    assert (results["metric"], set(results["metrics"])) == ("f1_micro", {"f1_micro", "f1_macro", "accuracy"})
    assert results["trainable_parameters"] == 3 + 1 + 8 * 3 + 3

    def encode(name):
        return np.array([[c in cell.split(";") for c in task.label_names] for cell in read_column(run, name)], int)

    labels = encode("label")
    np.testing.assert_array_equal(labels, task.load("dev").labels)
    for place, seed in enumerate(results["seeds"]):
        found = encode(f"prediction_seed_{seed}")
        for average in ("micro", "macro"):
            expected = f1_score(labels, found, average=average, zero_division=0)
            assert results["metrics"][f"f1_{average}"][place] == pytest.approx(expected)
        assert results["metrics"]["accuracy"][place] == pytest.approx((labels == found).all(axis=1).mean())
    assert results["scores"] == results["metrics"]["f1_micro"]
    shares = np.stack([read_numbers(run, f"p_{name}") for name in task.label_names], axis=1)
    np.testing.assert_array_equal(encode("prediction"), shares > 0.5)
    assert list(results["baselines"])[:2] == ["majority", "TF-IDF + logistic regression"]
    assert results["baselines"]["TF-IDF + logistic regression"]["scores"][0] > 0.6  # it sees the words

    predicted = load(run).predict(read_column(run, "text"))
    assert all(isinstance(names, tuple) for names in predicted.labels)
    np.testing.assert_allclose(predicted.probabilities, shares, atol=0.02)
    for names, row in zip(predicted.labels, predicted.probabilities, strict=True):
        assert names == tuple(name for name, share in zip(task.label_names, row, strict=True) if share > 0.5)


def test_a_single_class_may_hold_or_not(root, tiny_encoder):
    task = make_task(lambda words: ["cat"] * ("cat" in words), name="cats", kind="multilabel")
    options = OPTIONS | {"seeds": 1, "fit": {"epochs": 1}}
    run = bv.train(task, tiny_encoder, store=root / "states", output=root / "cats", **options)
    labels, found = ([cell == "cat" for cell in read_column(run, name)] for name in ("label", "prediction"))
    assert run.results["scores"] == [pytest.approx(f1_score(labels, found, zero_division=0))]
    assert len(run.results["baselines"]) == 4


def test_three_classes_with_names(root, tiny_encoder, load):
    task = make_task(
        lambda words: "short" if len(words) < 6 else "long" if len(words) > 9 else "middling", name="length"
    )
    assert task.label_names == ("long", "middling", "short")
    run = bv.train(task, tiny_encoder, store=root / "states", output=root / "length", **OPTIONS)
    assert set(run.results["metrics"]) == {"accuracy", "f1_macro", "matthews"}
    assert run.results["trainable_parameters"] == 3 + 1 + 8 * 3 + 3
    labels, found = read_column(run, "label"), read_column(run, "prediction")
    assert np.mean(np.array(labels) == found) == pytest.approx(run.results["scores"][run.best_seed])
    macro = f1_score(labels, found, average="macro", zero_division=0)
    assert run.results["metrics"]["f1_macro"][run.best_seed] == pytest.approx(macro)
    shares = np.stack([read_numbers(run, f"p_{name}") for name in task.label_names], axis=1)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=3e-6)
    assert found == [task.label_names[place] for place in shares.argmax(axis=1)]
    assert [task.label_names[place] for place in run.read_dev_predictions()] == found
    predicted = load(run).predict(read_column(run, "text")[:10])
    assert predicted.label_names == task.label_names and set(predicted.labels) <= set(task.label_names)
    np.testing.assert_allclose(predicted.probabilities, shares[:10], atol=0.02)


# Few rows, and classes of unequal size


@pytest.fixture(scope="module")
def unequal():
    return make_task(lambda words: "rare" if "bird" in words and len(words) > 6 else "usual", name="unequal")


def test_few_shots_are_drawn_from_the_training_rows(root, tiny_encoder, unequal, monkeypatch):
    asked = []
    as_dataset = bv.Store.as_dataset

    def listen(self, *args, **options):
        if options.get("shuffle"):
            asked.append(options["rows"].tolist())
        return as_dataset(self, *args, **options)

    monkeypatch.setattr(bv.Store, "as_dataset", listen)
    options = OPTIONS | {"head": "adapter_2_shared", "shots": 4, "baselines": False}  # which reads images
    run = bv.train(unequal, tiny_encoder, store=root / "states", output=root / "few", **options)
    rows = unequal.load("train")
    training, selection = split_selection(rows.labels)
    assert asked == [take_shots(rows.labels, training, 4, seed).tolist() for seed in (0, 1)]
    assert [np.bincount(rows.labels[drawn]).tolist() for drawn in asked] == [[4, 4]] * 2
    assert not set(selection) & {row for drawn in asked for row in drawn}
    assert run.config["shots"] == 4 and run.results["rows"]["selection"] == 150


def test_every_class_counts_the_same_when_balanced():
    labels = np.array([0] * 30 + [2] * 10 + [3] * 20, np.int32)
    weights = balance(labels, 5)
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    assert [weights[label] for label in (0, 2, 3)] == pytest.approx(list(expected))
    assert weights[1] == weights[4] == 1
    assert sum(weights[label] for label in labels) == pytest.approx(60)


def test_balanced_classes_make_the_rare_one_likelier(root, tiny_encoder, unequal):
    assert 0.05 < (unequal.load("train").labels == 0).mean() < 0.3
    shares = {}
    for even in (False, True):
        options = OPTIONS | {"balance_classes": even, "seeds": 1, "baselines": False}
        run = bv.train(unequal, tiny_encoder, store=root / "states", output=root / f"balance-{even}", **options)
        assert run.config["balance_classes"] is even
        shares[even] = read_numbers(run, "p_rare").mean()
    assert shares[True] > shares[False] + 0.02


@pytest.mark.parametrize("options", [{"shots": 4}, {"balance_classes": True}])
@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_without_classes_there_are_no_shots_and_no_balance(kind, options, tiny_encoder, tmp_path):
    task = make_task(lambda words: len(words), name="t", kind=kind)
    with pytest.raises(RunError, match=rf"^`{next(iter(options))}` needs a task of single classes, t is a {kind}\.$"):
        bv.train(task, tiny_encoder, store=tmp_path / "s", output=tmp_path / "o", **OPTIONS, **options)
    assert not list(tmp_path.iterdir())


# Pairs


def make_pairs(count, seed):
    texts = make_texts(count, seed)
    same = np.random.default_rng(seed).integers(0, 2, count).astype(bool)
    return texts, [one if is_same else two for one, two, is_same in zip(texts, texts[::-1], same, strict=True)], same


def test_pairs_are_compared(root, tiny_encoder, load):
    first, second, same = make_pairs(TRAIN, seed=0)
    table = {"sentence1": first, "sentence2": second, "label": np.where(same, "same", "other")}
    task = bv.task_from_table(table, name="pairs")
    options = OPTIONS | {"head": None, "seeds": 1, "fit": {"epochs": 1}, "baselines": False}
    run = bv.train(task, tiny_encoder, store=root / "states", output=root / "pairs", **options)
    assert (run.results["head"], run.config["text_pair"]) == ("comparison_adapter_64_similarity_8", "sentence2")
    rows = read_csv(run.path / "predictions.csv")
    dev = task.load("dev")
    assert [(row["text"], row["text_pair"]) for row in rows] == list(zip(dev.texts, dev.text_pairs, strict=True))
    right = np.mean([row["label"] == row["prediction"] for row in rows])
    assert right == pytest.approx(run.results["scores"][0])
    found = load(run).predict(dev.texts[:10], dev.text_pairs[:10])
    np.testing.assert_allclose(found.probabilities[:, 1], read_numbers(run, "p_same")[:10], atol=0.05)
    with pytest.raises(RunError, match="was trained on pairs of texts"):
        load(run).predict(dev.texts)


def test_single_texts_have_nothing_to_compare(tiny_encoder, tmp_path, unequal):
    with pytest.raises(RunError, match=r"^a comparison head reads pairs of texts, unequal has single ones: ") as raised:
        bv.train(
            unequal,
            tiny_encoder,
            store=tmp_path / "s",
            output=tmp_path / "o",
            **OPTIONS | {"head": "comparison_adapter_64"},
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "s").exists() and not (tmp_path / "o").exists()


# Two dev splits


def test_two_dev_splits_are_scored_apart(root, tiny_encoder, load):
    names = ("entailment", "neutral", "contradiction")
    task = dataclasses.replace(bv.get_task("mnli"), name="two_devs", title="Two", max_length=30)
    (root / "data" / "Two").mkdir(parents=True)
    for seed, (file, count) in enumerate({"train": 300, "dev_matched": 40, "dev_mismatched": 30}.items()):
        first, second, same = make_pairs(count, seed)
        lines = [("index", "sentence1", "sentence2", "label1", "gold_label")]
        for row in range(count):
            lines.append((str(row), first[row], second[row], "neutral", names[0 if same[row] else 1 + row % 2]))
        text = "".join("\t".join(line) + "\n" for line in lines)
        (root / "data" / "Two" / f"{file}.tsv").write_text(text, encoding="utf-8")
    run = bv.train(task, tiny_encoder, store=root / "states", output=root / "two", data_dir=root / "data", **OPTIONS)
    results = run.results
    assert set(results["metrics"]) == {"accuracy", "accuracy_mismatched"}
    assert results["scores"] == results["metrics"]["accuracy"]
    assert results["rows"]["dev"] == 70 and len(run.open_stores()) == 3
    for suffix, split in (("", "dev"), ("_mismatched", "dev_mismatched")):
        rows = read_csv(run.path / f"predictions{suffix}.csv")
        examples = task.load(split, root / "data")
        assert [row["text_pair"] for row in rows] == examples.text_pairs
        assert [row["id"] for row in rows] == [f"{split}-{row}" for row in range(len(rows))]
        for place, seed in enumerate(results["seeds"]):
            right = np.mean([row["label"] == row[f"prediction_seed_{seed}"] for row in rows])
            assert results["metrics"][f"accuracy{suffix}"][place] == pytest.approx(right)
    assert [len(read_csv(run.path / f"predictions{suffix}.csv")) for suffix in ("", "_mismatched")] == [40, 30]
    assert all(len(row["scores"]) == 1 for row in results["baselines"].values())
