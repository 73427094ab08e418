"""Heads that are fitted at once, on all rows, instead of by steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..heads.build import list_groups
from ..heads.config import Solver
from ..heads.model import Head
from ..kinds import Kind
from ..layers import KernelReadout
from .fit import FitResult, build_predictor, choose_part
from .solvers import SOLVERS, Problem

FEATURES_BYTES = 4 * 2**30  # of the training rows; a fit holds them a few times
PATIENCE = 2  # penalties after the best, until no smaller one is tried
KERNEL_ROWS = 2**13  # whose likenesses to each other are held a few times too, 0.5 GiB each time


def check_features(head: keras.Model, rows: int) -> None:
    """Raises RunError where a head that is fitted at once cannot hold the features of so many rows."""
    last = head.get_layer("logits")
    if isinstance(last, KernelReadout) and rows > KERNEL_ROWS:
        raise RunError(
            f"a kernel head keeps all its {rows:,} training rows, and {KERNEL_ROWS:,} is the most: take fewer with "
            "`train_share` or `shots`, or another head."
        )
    needed = 4 * rows * last.input.shape[-1]
    if needed > FEATURES_BYTES:
        raise RunError(
            f"a head that is fitted at once needs the features of all {rows:,} training rows at once, "
            f"{needed / 2**30:.1f} GiB, and {FEATURES_BYTES / 2**30:.0f} GiB is the most: take fewer rows with "
            "`train_share`, or a head that is trained by steps."
        )


def fit_linear_head(
    head: keras.Model,
    training: tuple[tf.data.Dataset, np.ndarray],
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    solver: Solver = Solver.REGRESSION,
    kind: Kind,
    class_weights: Mapping[int, float] | None = None,
    measured: bool = False,
) -> FitResult:
    """Fits the last layer of a head with regularisations of all strengths, and keeps the one that is best on the
    selection rows.

    Args:
        head: of a config with `linear`, adapted; it is changed.
        solver: of the config.
        training: images of the rows that it is fitted on, and their labels, both in one order.
        selection, score, measured: as `fit_heads`'s.
        kind, class_weights: of the task, and what a row of each class counts; 1 with None.

    Returns:
        as `fit_head`; an "epoch" of it is one of the solver's readouts, in its order. The history of "groups" has the
        norm of each layer's weights too, as layer_0 and so on.
    """
    part, last = choose_part(head, measured), head.get_layer("logits")
    called = part.output._keras_history  # the layer is called in the head and in its part
    (tensor,) = last._inbound_nodes[called.node_index].input_tensors
    for name, own in part.input.items():
        own.name = name  # Keras wants the names of a dict's tensors to be its keys
    read = build_predictor(keras.Model(part.input, tensor))
    images, labels = training
    counts = None if class_weights is None else np.array([class_weights[label] for label in labels.tolist()])
    layers, sizes = zip(*list_groups(head), strict=True)
    problem = Problem(kind, read(images), labels, read(selection), last.units, counts, sizes)
    history: dict[str, list[float]] = {"loss": [], "selection_score": []}
    best = None
    for place, found in enumerate(SOLVERS[solver](problem)):
        history["loss"].append(kind.measure_loss(found.fitted, labels))
        history["selection_score"].append(float(score(found.chosen)))
        if found.norms is not None:
            squares = np.bincount(layers, np.square(found.norms))
            for layer, norm in enumerate(np.sqrt(squares).tolist()):
                history.setdefault(f"layer_{layer}", []).append(norm)
        if best is None or history["selection_score"][-1] > history["selection_score"][best[0]]:
            best = place, found  # of equals the first
        elif solver is Solver.GROUPS and place - best[0] >= PATIENCE:
            break
    assert best is not None
    place, found = best
    if found.gamma is not None:  # whose rows were not known before
        last = KernelReadout(last.units, len(labels), found.gamma, name=last.name)
        head = Head(head.input, last(head.get_layer("logits").input), name=head.name)
    last.set_weights(found.weights)
    return FitResult(head, history["selection_score"][place], found.chosen, place + 1, history)
