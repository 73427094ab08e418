"""Hidden states as features in scikit-learn's pipelines and searches."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from bertvision_tf import sklearn as ours
from bertvision_tf.errors import EncoderError, TaskError
from bertvision_tf.sklearn import HiddenStateTransformer
from bertvision_tf.tasks import get_task

TEXTS = ["She has eaten.", "no", "", "A longer text, which has more tokens than the others have."]
PAIRS = ["one", "two of them", "", "three"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(ours, "_FEATURES", ours._Features())


@pytest.fixture
def counted(tiny_encoder, monkeypatch):
    """How many texts the encoder has run over."""
    seen = []
    known = type(tiny_encoder).hidden_state_rows

    def run(self, tokens, **options):
        seen.append(len(tokens["token_ids"]))
        return known(self, tokens, **options)

    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", run)
    return seen


@pytest.mark.parametrize("pooling", ours.POOLINGS)
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_features_are_those_of_the_states(pooling, pairs, tiny_encoder):
    rows = TEXTS if pairs is None else list(zip(TEXTS, pairs, strict=True))
    found = HiddenStateTransformer(tiny_encoder, pooling=pooling, layers=[1, -1]).fit_transform(rows)
    for place, text in enumerate(TEXTS):
        tokens = tiny_encoder.tokenize([text], None if pairs is None else [pairs[place]])
        states = tiny_encoder.hidden_states(tokens)[0][[1, -1]]
        expected = {"mean": states.mean(axis=1), "max": states.max(axis=1), "cls": states[:, 0]}[pooling]
        assert found[place] == pytest.approx(expected.ravel(), abs=2e-5)
    assert found.dtype == np.float32


def test_texts_come_from_lists_arrays_and_frames(tiny_encoder):
    pandas = pytest.importorskip("pandas")
    transformer = HiddenStateTransformer(tiny_encoder)
    expected = transformer.fit_transform(TEXTS)
    for rows in (
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        pandas.Series(TEXTS),
        pandas.DataFrame({"text": TEXTS}),
        (text for text in TEXTS),
    ):
        np.testing.assert_array_equal(transformer.transform(rows), expected)
    pairs = transformer.transform(list(zip(TEXTS, PAIRS, strict=True)))
    np.testing.assert_array_equal(transformer.transform(pandas.DataFrame({"a": TEXTS, "b": PAIRS})), pairs)
    np.testing.assert_array_equal(transformer.transform(np.array([TEXTS, PAIRS]).T), pairs)
    assert transformer.transform([]).shape == (0, expected.shape[1])


def test_the_encoder_runs_once_over_each_text(counted, tiny_encoder):
    transformer = HiddenStateTransformer(tiny_encoder).fit(TEXTS)
    first = transformer.transform([*TEXTS, TEXTS[0]])
    assert sum(counted) == len(TEXTS)
    np.testing.assert_array_equal(first[0], first[-1])
    again = HiddenStateTransformer(tiny_encoder, layers=[0]).fit(TEXTS).transform(TEXTS[::-1])
    np.testing.assert_array_equal(again, first[:4][::-1, : tiny_encoder.hidden_dim])
    assert sum(counted) == len(TEXTS)
    HiddenStateTransformer(tiny_encoder, pooling="max").fit_transform(TEXTS)
    HiddenStateTransformer(tiny_encoder, max_length=5).fit_transform(TEXTS)
    assert sum(counted) == 3 * len(TEXTS)


def test_what_is_kept_is_bounded(counted, tiny_encoder, monkeypatch):
    monkeypatch.setattr(ours, "_FEATURES", ours._Features(limit=0))
    transformer = HiddenStateTransformer(tiny_encoder).fit(TEXTS)
    np.testing.assert_array_equal(transformer.transform(TEXTS), transformer.transform(TEXTS))
    assert sum(counted) == 2 * len(TEXTS)


def test_a_search_over_layers_and_models(counted, tiny_encoder):
    rows = get_task("starter").load("train").take(60)
    pipeline = make_pipeline(HiddenStateTransformer(tiny_encoder), StandardScaler(), LogisticRegression(max_iter=200))
    grid = {"hiddenstatetransformer__layers": ["all", [-1]], "logisticregression__C": [0.01, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(rows.texts, rows.labels)
    assert sum(counted) == len(set(rows.texts))
    assert search.best_score_ > 0.3
    assert set(search.predict(["She has eaten."])) <= {0, 1}
    assert search.predict_proba(["She has eaten."]).shape == (1, 2)


def test_cross_validation_of_a_regression(tiny_encoder):
    scores = cross_val_score(make_pipeline(HiddenStateTransformer(tiny_encoder), Ridge()), TEXTS * 3, np.arange(12.0))
    assert np.isfinite(scores).all()


def test_it_is_cloned_pickled_and_named(tiny_encoder):
    transformer = HiddenStateTransformer("minilm", layers=[0, 2], pooling="cls")
    assert clone(transformer).get_params() == transformer.get_params()
    fitted = HiddenStateTransformer(tiny_encoder, layers=[0, 2]).fit(TEXTS)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(loaded.transform(TEXTS), fitted.transform(TEXTS), atol=2e-5)
    names = fitted.get_feature_names_out()
    assert (names[0], names[-1]) == ("layer0_0", f"layer2_{tiny_encoder.hidden_dim - 1}")
    assert len(names) == fitted.transform(TEXTS).shape[1]


def test_scikit_learns_own_checks():
    failed = [
        one
        for one in check_estimator(HiddenStateTransformer(), on_fail=None, on_skip=None)
        if one["status"] == "failed"
    ]
    assert not [(one["check_name"], str(one["exception"])[:200]) for one in failed]


@pytest.mark.parametrize(
    ("options", "rows", "error", "said"),
    [
        ({"layers": [99]}, TEXTS, EncoderError, r"`layers` needs numbers from -\d+ to \d+, or 'all'; got \[99\]"),
        ({"layers": "last"}, TEXTS, EncoderError, "`layers` needs numbers"),
        ({"layers": []}, TEXTS, EncoderError, "`layers` needs numbers"),
        ({"pooling": "sum"}, TEXTS, TaskError, "`pooling` needs mean, max or cls, got 'sum'"),
        ({}, "one text", TaskError, "`X` needs a list of strings, got one string"),
        ({}, [1, 2], TaskError, "`X` needs strings, each one; row 0 is 1"),
        ({}, np.zeros((3, 4)), TaskError, "X has 4 columns, expected one of texts, or two of pairs"),
        ({}, [("a", "b"), ("a",)], TaskError, "X needs texts, or pairs of two texts each"),
        ({}, 7, TaskError, "`X` needs a list of strings, got int"),
    ],
)
def test_what_is_wrong_is_told(options, rows, error, said, tiny_encoder):
    with pytest.raises(error, match=said):
        HiddenStateTransformer(tiny_encoder, **options).fit(rows)
