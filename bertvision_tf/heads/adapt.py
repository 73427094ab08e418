"""Statistics that a head takes from data before it is trained."""

from collections.abc import Iterable

import keras
import numpy as np

from ..layers import StandardizeStates
from .build import SCALE_POOLED
from .split import split_head

DEAD = 1e-3
DEAD_POOLED = 0.1  # of a linear head's features: int8's rounding moves the first token's states as much as texts do


def adapt_head(head: keras.Model, batches: Iterable[dict]) -> None:
    """Sets mean and deviation of the layers that bring features to one scale; other heads are left as they are.

    Args:
        head: what `build_head` gave.
        batches: dicts of images, or of what `split_head` measures of them, of training rows only.
    """
    standardizers = [layer for layer in head.layers if isinstance(layer, StandardizeStates)]
    scalers = [layer for layer in head.layers if isinstance(layer, keras.layers.Normalization)]
    if not standardizers and not scalers:
        return
    parts = split_head(head)
    tokens: list[np.ndarray] = []
    features: list[list[np.ndarray]] = [[] for _ in scalers]
    for images in batches:
        if standardizers:
            real = np.asarray(images["padding_mask"]) > 0  # (batch, tokens)
            tokens.append(np.asarray(images["hidden_states"]).swapaxes(1, 2)[real])  # (real tokens, layers, hidden)
        if parts is not None:
            measured = images if parts[1].input.keys() <= images.keys() else parts[0](images, training=False)
            for kept, layer in zip(features, scalers, strict=True):
                kept.append(np.asarray(measured[layer.input._keras_history.operation.name]))
    for layer in standardizers:
        states = np.concatenate(tokens)
        layer.set_statistics(states.mean(axis=0, dtype=np.float64), keep_dead_channels_dead(states.std(axis=0)))
    for layer, kept in zip(scalers, features, strict=True):
        layer.adapt(np.concatenate(kept))
        least = DEAD_POOLED if layer.name == SCALE_POOLED else DEAD
        layer.adapt_variance.assign(keep_dead_channels_dead(np.sqrt(layer.adapt_variance), least) ** 2)
        layer.finalize_state()


def keep_dead_channels_dead(deviation: np.ndarray, least: float = DEAD) -> np.ndarray:
    """Deviations of at least a thousandth, or another share, of their root mean square.

    Some channels hardly move (three of MiniLM's last layer, by 1e-32 to 1e-8; all of [CLS] in the embedding layer):
    brought to the others' scale they would be rounding alone, and any new text could lie many orders of magnitude
    beyond the sample.
    """
    return np.maximum(deviation, least * np.sqrt(np.mean(np.square(deviation))))
