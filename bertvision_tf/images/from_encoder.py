"""A live encoder as images, with no store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ..encoders import Encoder, Tokens, Windows
from ..tasks import Examples
from .dataset import build_dataset, choose_layers
from .plan import BatchPlan
from .tokenize import tokenize_examples


def images_from_encoder(
    encoder: Encoder,
    examples: Examples,
    *,
    max_length: int = 128,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    stride: int | None = None,
    question_length: int | None = None,
    **plan,
) -> tf.data.Dataset:
    """The same elements straight from an encoder, with no store.

    Equal to a float32 store's, bit for bit, where the batches are those of its extraction (`batch_tokens`); else
    within float32's noise.

    Args:
        encoder, examples: what is run over what.
        max_length: tokens, special ones included.
        tokens: "all", or "cls" for the first of each text.
        pooler: with "cls", the pooler's output first.
        layers: hidden states of the encoder to keep, −1 the last; all by default.
        stride, question_length: of windows, where the examples are questions with answers; as `extract`'s.
        **plan: `BatchPlan`'s.
    """
    tokenized, all_labels = tokenize_examples(encoder, examples, max_length, stride, question_length)
    return images_from_tokens(encoder, tokenized, all_labels, tokens=tokens, pooler=pooler, layers=layers, **plan)


def images_from_tokens(
    encoder: Encoder,
    tokenized: Tokens,
    all_labels: np.ndarray,
    *,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    **plan,
) -> tf.data.Dataset:
    """As `images_from_encoder`, of what `tokenize_examples` gives."""
    chosen = choose_layers(layers, encoder.num_hidden_states)

    def gather(encoder: Encoder, batch: np.ndarray):
        padded = tokenized.pad(batch)
        states = encoder.hidden_state_rows(padded, mode=tokens, pooler=pooler, layers=chosen)
        mask = padded["padding_mask"] if tokens == "all" else np.ones((len(batch), 1), np.int32)
        image = np.zeros((*mask.shape, *states.shape[1:]), np.float32)
        image[mask > 0] = states
        segments = padded["segment_ids"][:, : mask.shape[1]]
        return image.transpose(0, 2, 1, 3), mask, segments, all_labels[batch]

    shape = (None, len(chosen) + pooler, None, encoder.hidden_dim)
    return build_dataset(
        encoder,
        BatchPlan(tokenized.lengths, **plan),
        gather,
        None,
        tf.float32,
        shape,
        all_labels,
        encoder.hidden_dim,
        isinstance(tokenized, Windows),
    )
