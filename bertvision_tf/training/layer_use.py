"""Which layers a trained head uses, and which few would do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..layers import LayerWeightPooling
from ..progress import prefix
from .fit import FitResult, build_predictor
from .measured import read_in_order
from .trial import Trial

SEEDS = (0, 1)
REPORT_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class LayerChoice:
    """What was tried to find the layers that matter, all on the selection rows of a sample of train.

    Attributes:
        kept: the chosen layers, by their index in the encoder, in order.
        ranking: all layers, the one whose loss costs most first.
        scores: of the first k layers of the ranking, by k; the last is of all.
        standard_error: of the score of all layers, over resampled selection rows.
        examples: of the sample.
    """

    kept: tuple[int, ...]
    ranking: tuple[int, ...]
    scores: dict[int, float]
    standard_error: float
    examples: int


def measure_layer_losses(head: keras.Model, trial: Trial, rows: np.ndarray) -> list[float]:
    """How much of a head's score is lost when one layer in turn says nothing: every token has its mean state.

    Args:
        head: a trained one.
        trial: whose train store has its images.
        rows: selection rows.

    Returns:
        the loss of the main metric for each state of the store; below 0 where the head does better without.
    """
    store, gold, predict = trial.stores[0], trial.build_gold(0, rows), build_predictor(head)
    images = read_in_order(store, rows)
    means = tf.constant(store.manifest.calibration.mean)[:, None]  # (states, 1, hidden)
    muted = tf.Variable(0)

    def mute(batch: dict[str, tf.Tensor], label: tf.Tensor):
        one = tf.one_hot(muted, store.num_hidden_states, True, False)[None, :, None, None]
        real = tf.cast(batch["padding_mask"] > 0, tf.float32)[:, None, :, None]
        return batch | {"hidden_states": tf.where(one, means * real, batch["hidden_states"])}, label

    whole, muting, losses = gold.score(gold.read(predict(images))), images.map(mute), []
    for state in range(store.num_hidden_states):
        muted.assign(state)
        losses.append(whole - gold.score(gold.read(predict(muting))))
    return losses


def choose_layers(trial: Trial) -> LayerChoice:
    """The fewest layers whose heads score as those on all do, on the selection rows, over two seeds.

    Layers are ranked by what their loss costs heads on all of them; then heads are trained on the first, the first
    two, and so on, until they come within one standard error.

    Args:
        trial: of heads on all layers; its train store alone is read.

    Raises:
        RunError: heads on all layers predict a constant.
    """
    store = trial.stores[0]

    def fit(layers: Sequence[int] | None = None) -> tuple[Trial, list[FitResult]]:
        part = store if layers is None else store.select(layers)
        what = f"layers {','.join(map(str, part.spec.layers))}"
        own = dataclasses.replace(trial, stores=[part], progress=prefix(trial.progress, what))
        return own, own.fit_all(SEEDS)

    def score(fitted: Sequence[FitResult]) -> float:
        return float(np.mean([result.selection_score for result in fitted]))

    _, fitted = fit()
    losses = [measure_layer_losses(result.head, trial, trial.selection) for result in fitted]
    ranking = np.argsort(-np.mean(losses, axis=0), kind="stable").tolist()
    gold = trial.selection_gold
    found = gold.read(fitted[0].selection_logits)
    error = estimate_standard_error(lambda drawn: gold.score(found, drawn), len(gold))
    if not gold.differ(found):
        raise RunError("layers cannot be chosen: heads on all of them say the same of every selection row.")
    kept, scores = choose_fewest(ranking, lambda layers: score(fit(layers)[1]), score(fitted), error)
    layers = store.spec.layers
    return LayerChoice(
        tuple(layers[place] for place in kept),
        tuple(layers[place] for place in ranking),
        scores,
        error,
        len(trial.examples[0]),
    )


def read_layer_weights(head: keras.Model) -> np.ndarray | None:
    """The weights of learned pooling, (layers,), where a head has it."""
    pooling = [layer for layer in head.layers if isinstance(layer, LayerWeightPooling)]
    return pooling[0].layer_weights() if pooling else None


def choose_fewest(
    ranking: Sequence[int], fit: Callable[[tuple[int, ...]], float], whole: float, standard_error: float
) -> tuple[tuple[int, ...], dict[int, float]]:
    """The fewest layers whose score is within one standard error of that of all.

    Args:
        ranking: the layers, the one that matters most first.
        fit: layers in order → the score of heads trained on them.
        whole: the score of heads on all layers.
        standard_error: of `whole`.

    Returns:
        the layers in order, and the scores by the number of layers.

    Source: the one-standard-error rule of Breiman et al., 1984, "Classification and regression trees", section 3.4.3.
    """
    scores: dict[int, float] = {}
    for count in range(1, len(ranking)):
        kept = tuple(sorted(ranking[:count]))
        scores[count] = fit(kept)
        if scores[count] >= whole - standard_error:
            return kept, scores | {len(ranking): whole}
    return tuple(sorted(ranking)), scores | {len(ranking): whole}


def estimate_standard_error(score: Callable[[np.ndarray], float], count: int, draws: int = 200) -> float:
    """The deviation of a score over resampled rows.

    Args:
        score: indices of rows, some of them repeated → the main metric on them.
        count: how many rows there are.
        draws: how often they are resampled.

    Source: the bootstrap of Efron, 1979.
    """
    random = np.random.default_rng(0)
    scores = [score(random.integers(0, count, count)) for _ in range(draws)]
    return float(np.nanstd(scores, ddof=1))
