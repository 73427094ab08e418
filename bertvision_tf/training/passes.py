"""Passes over batches in which several heads are trained side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..heads.together import HeadsTogether

STEPS = 64  # in one call of the graph; between two a key that interrupts is heard


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingSet:
    """What heads are trained on.

    Attributes:
        batches: of (images, labels), shuffled, in one iteration all epochs that are to come.
        scale: mean and deviation of a regression's labels: a head is trained on labels of mean 0 and deviation 1, and
            its last layer then brought back to theirs.
        class_weights: what a row of each class counts; 1 with None.
    """

    batches: tf.data.Dataset
    scale: tuple[float, float] | None = None
    class_weights: Mapping[int, float] | None = None

    def weigh(self, labels: Any) -> tf.Tensor | None:
        """What each row counts."""
        if self.class_weights is None:
            return None
        table = np.ones(max(self.class_weights) + 1, np.float32)
        table[list(self.class_weights)] = list(self.class_weights.values())
        classes = labels if labels.shape.rank == 1 else tf.argmax(labels, axis=-1)  # of mixup, shares of each
        return tf.gather(table, classes)


class Passes:
    """Trains heads side by side; heads of the same training set read each of its batches once for all of them.

    Args:
        training: the sets, of as many batches each, and of as many rows in each batch.
        loss: of an output and labels; of outputs by name one each, which are added.
        strategy: where; each replica has its part of every batch, the last ones the least, or nothing.
    """

    def __init__(
        self,
        training: Sequence[TrainingSet],
        loss: keras.losses.Loss | Mapping[str, keras.losses.Loss],
        strategy: tf.distribute.Strategy,
    ):
        self.training, self.loss, self.strategy = list(training), loss, strategy
        batches = tf.data.Dataset.zip(tuple(one.batches for one in self.training))
        self._batches = iter(strategy.experimental_distribute_dataset(batches))

    def take(self, heads: Sequence[keras.Model], sets: Sequence[int]) -> None:
        """Sets the heads that are trained from now on, each with its own optimizer, built, and the place of the
        training set of each."""
        together = HeadsTogether(heads)

        def step(*batches: tuple[Any, Any]) -> list[tf.Tensor]:
            """Trains on a replica's part of a batch: the sum of its rows' losses for each head, and their number."""
            labels = [own for _, own in batches]
            rows, whole = self._count_rows(labels[0])
            weights = [one.weigh(own) for one, own in zip(self.training, labels, strict=True)]
            with tf.GradientTape() as tape:
                outputs = together([batches[place][0] for place in sets], training=True)
                losses = [
                    self._share(self._measure(labels[place], output, weights[place]), rows, whole)
                    for place, output in zip(sets, outputs, strict=True)
                ]
                scaled = [head.optimizer.scale_loss(loss) for head, loss in zip(heads, losses, strict=True)]
            gradients = tape.gradient(scaled, [head.trainable_variables for head in heads])
            if self.strategy.num_replicas_in_sync > 1:
                gradients = [[_keep_where(rows > 0, gradient) for gradient in own] for own in gradients]
            for head, own in zip(heads, gradients, strict=True):
                head.optimizer.apply_gradients(zip(own, head.trainable_variables, strict=True))
            return [tf.stack(losses) * whole, rows]

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

    def _count_rows(self, labels: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """How many rows this replica has of a batch, and how many all have."""
        rows = tf.cast(tf.shape(keras.tree.flatten(labels)[0])[0], tf.float32)
        if self.strategy.num_replicas_in_sync == 1:
            return rows, rows
        return rows, tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, rows)

    def _share(self, loss: tf.Tensor, rows: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
        """What a replica adds to the mean loss of a batch that replicas cannot share equally.

        Args:
            loss: the mean of its rows, which Keras has divided by the number of replicas.
            rows, whole: how many it has, and all have.
        """
        replicas = self.strategy.num_replicas_in_sync
        return loss if replicas == 1 else tf.where(rows > 0, loss * (rows * replicas / whole), 0.0)

    def _measure(self, labels: Any, output: Any, weights: tf.Tensor | None) -> tf.Tensor:
        if not isinstance(self.loss, Mapping):
            return self.loss(labels, output, sample_weight=weights)
        return tf.add_n([loss(labels[name], output[name]) for name, loss in self.loss.items()])


def _keep_where(there: tf.Tensor, gradient: Any) -> Any:
    """A gradient, or zeros: a layer may have none that is a number where it has read no row."""
    if gradient is None or isinstance(gradient, tf.IndexedSlices):  # of no rows, where none are read
        return gradient
    return tf.where(there, gradient, tf.zeros_like(gradient))
