"""Which cells of an image decide what a trained head says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..kinds import Kind


def compute_saliency(head: keras.Model, image: Mapping[str, np.ndarray], kind: Kind, target: Any) -> np.ndarray:
    """Gradient times input of what a head was decided to say of one image, added up over channels.

    saliency[layer, token] = sum over hidden of (d decision / d state) * state

    The decision is the log odds of a class against all others; of several labels the log-probability of those that hold
    and of the others' absence; of a regression the score; of a span the logits of its start and its end together, both
    at the first token for "no answer". Above 0 a cell speaks for it, or raises the score.

    Args:
        head: a trained one.
        image: by name, hidden_states (1, num_hidden_states, tokens, hidden_dim), padding_mask and segment_ids
            (1, tokens).
        kind: of the task.
        target: what was decided: the class's index; 0 and 1, (classes,); the first and the last token; None of a
            regression.

    Returns:
        float32, (num_hidden_states, tokens); 0 at padding.

    Source: Shrikumar et al., 2017, arXiv 1704.02685, section 2.3.
    """
    states = tf.convert_to_tensor(image["hidden_states"], tf.float32)
    others = {name: tf.convert_to_tensor(image[name]) for name in head.input if name != "hidden_states"}
    with tf.GradientTape() as tape:
        tape.watch(states)
        decision = kind.decide(head({"hidden_states": states, **others}, training=False), target)
    saliency = tf.reduce_sum(tape.gradient(decision, states) * states, axis=-1)  # (1, layers, tokens)
    return (saliency * tf.cast(image["padding_mask"][:, None] > 0, tf.float32)).numpy()[0]
