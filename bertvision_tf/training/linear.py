"""Heads that are fitted at once, by regularised regression on all rows, instead of by steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..kinds import Kind
from .fit import FitResult, build_predictor, choose_part

FEATURES_BYTES = 4 * 2**30  # of the training rows; a fit holds them a few times


def check_features(head: keras.Model, rows: int) -> None:
    """Raises RunError where the features of so many rows do not fit into memory."""
    needed = 4 * rows * head.get_layer("logits").kernel.shape[0]
    if needed > FEATURES_BYTES:
        raise RunError(
            f"a linear head needs the features of all {rows:,} training rows at once, {needed / 2**30:.1f} GiB, and "
            f"{FEATURES_BYTES / 2**30:.0f} GiB is the most: take fewer rows with `train_share`, or a head that is not "
            "linear."
        )


def fit_linear_head(
    head: keras.Model,
    training: tuple[tf.data.Dataset, np.ndarray],
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    kind: Kind,
    class_weights: Mapping[int, float] | None = None,
    measured: bool = False,
) -> FitResult:
    """Fits the last layer of a head with each of the kind's regularisations, and keeps the one that is best on the
    selection rows.

    Args:
        head: of a config with `linear`, adapted; it is changed.
        training: images of the rows that it is fitted on, and their labels, both in one order.
        selection, score, measured: as `fit_heads`'s.
        kind, class_weights: of the task, and what a row of each class counts; 1 with None.

    Returns:
        as `fit_head`; an "epoch" of it is one of `kind.layer_strengths`, the most regularised first.
    """
    part, last = choose_part(head, measured), head.get_layer("logits")
    called = part.output._keras_history  # the layer is called in the head and in its part
    (tensor,) = last._inbound_nodes[called.node_index].input_tensors
    for name, own in part.input.items():
        own.name = name  # Keras wants the names of a dict's tensors to be its keys
    read = build_predictor(keras.Model(part.input, tensor))
    (images, labels), outputs = training, last.units
    features, chosen = read(images), read(selection)
    counts = None if class_weights is None else np.array([class_weights[label] for label in labels.tolist()])
    history: dict[str, list[float]] = {"loss": [], "selection_score": []}
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for strength in kind.layer_strengths:
        kernel, bias = kind.fit_linear(features, labels, outputs, strength, counts)
        logits = (chosen @ kernel + bias).astype(np.float32)
        history["loss"].append(kind.measure_loss(features @ kernel + bias, labels))
        history["selection_score"].append(float(score(logits)))
        found.append((kernel, bias, logits))
    best = int(np.argmax(history["selection_score"]))  # of equals the most regularised
    kernel, bias, logits = found[best]
    last.set_weights([kernel, bias])
    return FitResult(head, history["selection_score"][best], logits, best + 1, history)
