"""What fits a readout at once, against closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression

from bertvision_tf.kinds import find_kind
from bertvision_tf.training import solvers
from bertvision_tf.training.solvers import PENALTIES, Problem, solve_groups, solve_kernel

RANDOM = np.random.default_rng(0)
ROWS, SIZES = 120, (3, 4, 5)


def make_problem(kind, labels, features, outputs=1, counts=None, groups=SIZES):
    features = features.astype(np.float32)
    return Problem(find_kind(kind), features, labels, features[:10], outputs, counts, groups)


def make_features():
    """Columns of mean 0, at right angles, each of deviation 1: what a penalty does to them is known."""
    columns = RANDOM.normal(size=(ROWS, sum(SIZES)))
    columns -= columns.mean(axis=0)
    return np.linalg.qr(columns)[0] * np.sqrt(ROWS)


def test_groups_of_orthogonal_features_shrink_as_the_closed_form_says():
    features = make_features()
    labels = 3 * (features @ np.repeat([1.0, 0.4, 0.0], SIZES)) + RANDOM.normal(size=ROWS) + 10
    found = list(solve_groups(make_problem("regression", labels, features)))
    targets = (labels - labels.mean()) / labels.std()
    plain = np.split(features.T @ targets / ROWS, np.cumsum(SIZES)[:-1])  # of least squares
    roots = np.sqrt(SIZES)
    largest = max(np.linalg.norm(own) / root for own, root in zip(plain, roots, strict=True))
    assert len(found) == len(PENALTIES)
    for share, one in zip(PENALTIES, found, strict=True):
        shares = [
            max(1 - share * largest * root / np.linalg.norm(own), 0) for own, root in zip(plain, roots, strict=True)
        ]
        expected = np.concatenate([part * own for part, own in zip(shares, plain, strict=True)])
        np.testing.assert_allclose(one.weights[0][:, 0], expected * labels.std(), atol=2e-3)
        np.testing.assert_allclose(one.weights[1], labels.mean(), rtol=1e-4)
        sizes = [np.linalg.norm(part * own) for part, own in zip(shares, plain, strict=True)]
        np.testing.assert_allclose(one.norms, sizes, atol=2e-3)
    assert [np.count_nonzero(one.norms) for one in found[:1]] == [1]  # the strongest group is the first
    np.testing.assert_allclose(found[3].fitted[:10], found[3].chosen, atol=1e-4)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_the_group_that_says_the_class_is_the_first(kind):
    features = RANDOM.normal(size=(ROWS, sum(SIZES)))
    holds = (features[:, 4] > 0).astype(np.int32)
    labels = holds if kind == "classification" else np.stack([holds, 1 - holds], axis=1)
    found = list(solve_groups(make_problem(kind, labels, features, outputs=2)))
    first = next(one.norms for one in found if one.norms.any())
    assert (first > 0).tolist() == [False, True, False]
    last = found[-1].fitted
    right = last.argmax(axis=1) == holds if kind == "classification" else ((last > 0) == labels).all(axis=1)
    assert right.mean() > 0.95


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_each_penalty_is_solved_where_features_go_together(kind):
    """At an optimum no group's slope is larger than its penalty, and that of one with weights is as large."""
    random = np.random.default_rng(1)
    features = random.normal(size=(400, 60)) @ (np.linalg.qr(random.normal(size=(60, 60)))[0] * 0.9 ** np.arange(60))
    features = ((features - features.mean(axis=0)) / features.std(axis=0)).astype(np.float32)
    score = features[:, :3].sum(axis=1) + random.normal(size=400)
    labels = {
        "classification": np.digitize(score, [-1, 1]),
        "multilabel": np.stack([score > 0, score > 2], axis=1).astype(np.int32),
        "regression": score,
    }[kind]
    counts = np.where(score > 0, 2.0, 1.0) if kind == "classification" else None
    sizes, outputs = (10, 20, 30), {"classification": 3, "multilabel": 2, "regression": 1}[kind]
    problem = make_problem(kind, labels, features, outputs, counts, sizes)
    weighed = (np.ones(400) if counts is None else counts) / (400 if counts is None else counts.sum())
    targets, (mean, deviation), largest = problem.list_targets(), problem.scale, None
    for share, one in zip(PENALTIES, solve_groups(problem), strict=True):
        errors = weighed[:, None] * (problem.kind.expect((one.fitted - mean) / deviation) - targets)
        slopes = [np.linalg.norm(part) for part in np.split(features.T @ errors, np.cumsum(sizes)[:-1])]
        limits = np.array(slopes) / np.sqrt(sizes)
        largest = limits.max() / share if largest is None else largest
        assert (limits <= 1.2 * share * largest).all()
        np.testing.assert_allclose(limits[one.norms > 0], share * largest, rtol=0.2)
    assert (one.norms > 0).all()


def test_a_small_penalty_comes_near_to_none(monkeypatch):
    monkeypatch.setattr(solvers, "PENALTIES", [1e-6])
    monkeypatch.setattr(solvers, "SWEEPS", 1000)
    monkeypatch.setattr(solvers, "TOLERANCE", 1e-2)
    features = RANDOM.normal(size=(ROWS, 12))
    labels = (features[:, 0] + RANDOM.normal(size=ROWS) > 0.5).astype(int)
    counts = np.where(labels == 1, 3.0, 1.0)
    (found,) = solve_groups(make_problem("classification", labels, features, outputs=2, counts=counts))
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=5000).fit(features, labels, counts)
    np.testing.assert_allclose(found.fitted[:, 1] - found.fitted[:, 0], model.decision_function(features), atol=0.02)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_nothing_to_tell_apart_leaves_no_group(kind):
    labels = {"classification": np.ones(ROWS, int), "multilabel": np.ones((ROWS, 2), int), "regression": np.ones(ROWS)}
    features = RANDOM.normal(size=(ROWS, sum(SIZES)))
    outputs = 1 if kind == "regression" else 2
    problem = make_problem(kind, labels[kind], features, outputs)
    for solve in (solve_groups, solve_kernel):
        for one in solve(problem):
            assert np.isfinite(one.fitted).all()
            if kind == "classification":
                assert (one.fitted.argmax(axis=1) == 1).all()
            elif kind == "multilabel":
                assert (one.fitted > 0).all()
            else:
                np.testing.assert_allclose(one.fitted, 1, atol=1e-4)


def test_kernels_are_scikit_learns():
    features, new = RANDOM.normal(size=(ROWS, 6)), RANDOM.normal(size=(9, 6))
    scores, classes = 100 + 5 * np.sin(features[:, 0]), (features[:, 0] ** 2 > 0.5).astype(int)
    counts = np.where(classes == 1, 2.0, 0.5)
    grid = [(gamma, alpha) for gamma in solvers.GAMMAS for alpha in solvers.ALPHAS]
    for kind, labels, weights, target in (
        ("regression", scores, None, scores),
        ("classification", classes, counts, 2.0 * classes - 1),
    ):
        parts = features.astype(np.float32), labels, new.astype(np.float32), 1 if kind == "regression" else 2
        problem = Problem(find_kind(kind), *parts, weights, (6,))
        mean = np.average(target, weights=weights)
        for (gamma, alpha), one in zip(grid, solve_kernel(problem), strict=True):
            model = KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma / 6)
            expected = model.fit(features, target - mean, sample_weight=weights).predict(new) + mean
            np.testing.assert_allclose(one.chosen[:, -1], expected, rtol=1e-3, atol=1e-3)
            assert one.gamma == gamma and one.weights[2].shape == features.shape
