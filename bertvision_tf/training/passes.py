"""Passes over batches in which several heads are trained side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..heads.together import HeadsTogether

STEPS = 64  # in one call of the graph; between two a key that interrupts is heard


class Passes:
    """Trains heads on batches, each batch read once for all of them.

    Args:
        training: batches of (images, labels), in one iteration all that are to come.
        loss: of an output and labels; of outputs by name one each, which are added.
        class_weights: what a row of each class counts; 1 with None.
        strategy: where; each replica has its part of every batch.
    """

    def __init__(
        self,
        training: tf.data.Dataset,
        loss: keras.losses.Loss | Mapping[str, keras.losses.Loss],
        class_weights: Mapping[int, float] | None,
        strategy: tf.distribute.Strategy,
    ):
        self.loss, self.class_weights, self.strategy = loss, class_weights, strategy
        self._batches = iter(strategy.experimental_distribute_dataset(training))

    def take(self, heads: Sequence[keras.Model]) -> None:
        """Sets the heads that are trained from now on, each with its own optimizer, built."""
        together = HeadsTogether(heads)

        def step(images: Any, labels: Any) -> list[tf.Tensor]:
            """Trains on a replica's part of a batch: the sum of its rows' losses for each head, and their number."""
            weights = self._weigh(labels)
            with tf.GradientTape() as tape:
                losses = [self._measure(labels, output, weights) for output in together(images, training=True)]
            gradients = tape.gradient(losses, [head.trainable_variables for head in heads])
            for head, own in zip(heads, gradients, strict=True):
                head.optimizer.apply_gradients(zip(own, head.trainable_variables, strict=True))
            rows = tf.cast(tf.shape(keras.tree.flatten(labels)[0])[0], tf.float32)
            share = rows * self.strategy.num_replicas_in_sync  # a loss is divided by the number of replicas
            return [tf.stack(losses) * share, rows]

        def run(batches: Any, steps: tf.Tensor) -> list[tf.Tensor]:
            def body(done: tf.Tensor, losses: tf.Tensor, rows: tf.Tensor) -> list[tf.Tensor]:
                found = self.strategy.run(step, args=next(batches))
                more = [self.strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in found]
                return [done + 1, losses + more[0], rows + more[1]]

            start = [tf.constant(0), tf.zeros(len(heads)), tf.constant(0.0)]
            return tf.while_loop(lambda done, *_: done < steps, body, start)[1:]

        self._run = tf.function(run, autograph=False)

    def run(self, steps: int) -> np.ndarray:
        """Trains for some steps, and returns the mean loss of each head over their rows."""
        losses, rows = np.zeros(()), 0.0
        for start in range(0, steps, STEPS):
            more = self._run(self._batches, tf.constant(min(STEPS, steps - start)))
            losses, rows = losses + more[0].numpy(), rows + float(more[1])
        return losses / rows

    def _measure(self, labels: Any, output: Any, weights: tf.Tensor | None) -> tf.Tensor:
        if not isinstance(self.loss, Mapping):
            return self.loss(labels, output, sample_weight=weights)
        return tf.add_n([loss(labels[name], output[name]) for name, loss in self.loss.items()])

    def _weigh(self, labels: Any) -> tf.Tensor | None:
        """What each row counts."""
        if self.class_weights is None:
            return None
        table = np.ones(max(self.class_weights) + 1, np.float32)
        table[list(self.class_weights)] = list(self.class_weights.values())
        classes = labels if labels.shape.rank == 1 else tf.argmax(labels, axis=-1)  # of mixup, shares of each
        return tf.gather(table, classes)
