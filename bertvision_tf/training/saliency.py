"""Which cells of an image decide what a trained head says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..tasks import TaskKind
from .outputs import SPAN_LOGITS


def compute_saliency(head: keras.Model, images: Mapping[str, np.ndarray], kind: TaskKind) -> np.ndarray:
    """Gradient times input of the head's decision, added up over channels.

    saliency[layer, token] = sum over hidden of (d decision / d state) * state

    The decision is the log odds of the predicted class against all others; of several labels the logit of the most
    probable; of a regression the score; of a span the highest logits of a start and of an end together. Above 0 a
    cell speaks for it.

    Args:
        head: a trained one.
        images: by name, hidden_states (batch, num_hidden_states, tokens, hidden_dim), padding_mask and segment_ids
            (batch, tokens).
        kind: of the task.

    Returns:
        float32, (batch, num_hidden_states, tokens); 0 at padding.

    Source: Shrikumar et al., 2017, arXiv 1704.02685, section 2.3.
    """
    states = tf.convert_to_tensor(images["hidden_states"], tf.float32)
    others = {name: tf.convert_to_tensor(images[name]) for name in head.input if name != "hidden_states"}
    with tf.GradientTape() as tape:
        tape.watch(states)
        logits = head({"hidden_states": states, **others}, training=False)
        decision = _decide(logits, kind)  # (batch,)
    gradient = tape.gradient(decision, states)  # (batch, layers, tokens, hidden)
    saliency = tf.reduce_sum(gradient * states, axis=-1)
    return (saliency * tf.cast(images["padding_mask"][:, None] > 0, tf.float32)).numpy()


def _decide(logits: Any, kind: TaskKind) -> tf.Tensor:
    if kind is TaskKind.SPAN:
        return tf.add_n([tf.reduce_max(logits[name], axis=-1) for name in SPAN_LOGITS])
    if kind is not TaskKind.CLASSIFICATION:
        return tf.reduce_max(logits, axis=-1)  # a regression has one
    best = tf.one_hot(tf.argmax(logits, axis=-1), logits.shape[-1], True, False, dtype=tf.bool)
    others = tf.where(best, -np.inf, logits)
    return tf.reduce_max(logits, axis=-1) - tf.reduce_logsumexp(others, axis=-1)
