"""Several models' probabilities as one, element by element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MODES = ("maximum", "mean", "geometric_mean", "weighted")
STEPS = 200  # of fitting weights


def combine_log_probabilities(
    parts: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
) -> np.ndarray:
    """The logarithms of combined probabilities, which need not add up to 1.

    Args:
        parts: of each model the logarithms, arrays of one shape.
        mode: "maximum", "mean", "geometric_mean", or "weighted", the mean with `weights`.
        weights: float, (models,), shares that add up to 1.

    Source: BERTVision, 2022, arXiv 2202.12210, for the element-wise maximum.
    """
    from scipy.special import logsumexp

    if mode not in MODES:
        raise ValueError(f"ensemble mode {mode!r} is not known; known: {', '.join(MODES)}.")
    if mode == "maximum":
        return np.maximum.reduce(parts)
    if mode == "geometric_mean":
        return np.mean(parts, axis=0)
    shares = np.full(len(parts), 1 / len(parts)) if mode == "mean" else np.asarray(weights, float)
    return logsumexp(np.stack(parts, axis=-1), axis=-1, b=shares)


def fit_weights(log_likelihoods: np.ndarray) -> np.ndarray:
    """The shares of a mixture of models under which what was seen is most likely: float, (models,), they add up to 1.

    Args:
        log_likelihoods: (models, rows), of what was seen in each row.

    Source: expectation maximisation; Dempster, Laird and Rubin, 1977.
    """
    from scipy.special import softmax

    with np.errstate(divide="ignore"):
        shares = np.full(len(log_likelihoods), 1 / len(log_likelihoods))
        for _ in range(STEPS):
            shares = softmax(log_likelihoods + np.log(shares)[:, None], axis=0).mean(axis=1)
    return shares


def fit_score_weights(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The shares under which the mean of models' scores is nearest to the labels: float, (models,), at least 0, they
    add up to 1.

    Args:
        scores: (models, rows).
        labels: (rows,).
    """
    from scipy.optimize import minimize

    count = len(scores)
    found = minimize(
        lambda shares: float(((shares @ scores - labels) ** 2).mean()),
        np.full(count, 1 / count),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
    )
    return found.x
