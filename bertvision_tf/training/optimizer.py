"""AdamW with warm-up and decay, whose clipping means the same on one device and on many, and whose gradients may be
computed in float16."""

import keras
import tensorflow as tf

from ..errors import RunError
from ..notes import note
from ..settings import FineTuneConfig

FIRST_SCALE, SCALES = 2.0**15, (1.0, 2.0**24)  # of a loss, where gradients are computed in float16
GROWTH_STEPS = 2000  # without an overflow, until a scale is doubled
SKIPPED_SHARE = 0.02  # of the steps, up to which nothing is said of them


class ReplicaSafeAdamW(keras.optimizers.AdamW):
    """Keras's AdamW, but clipping the sum of the replicas' gradients.

    Keras clips each replica's share before it sums them, so that a norm limit of 1 would be twice as loose on two
    devices, and the result would depend on their number.

    Attributes:
        scales: whether the loss is scaled, so that gradients in float16 do not vanish; set before it is built. A step
            whose gradients overflow changes no weight, and halves the scale. Keras's own `LossScaleOptimizer` would
            decide on each replica's share, and takes no gradients of single rows.
        skipped: a variable, how many steps were left out so.

    Source of the scale: Micikevicius et al., 2018, arXiv 1710.03740.
    """

    scales = False
    _finite = None  # of the step that is being traced: whether its gradients are numbers

    def build(self, variables):
        super().build(variables)
        if self.scales:
            options = {"shape": (), "dtype": "float32", "aggregation": "only_first_replica"}
            self.loss_scale = self.add_variable(
                **options, initializer=keras.initializers.Constant(FIRST_SCALE), name="loss_scale"
            )
            self.finite_steps = self.add_variable(**options, initializer="zeros", name="finite_steps")
            self.skipped = self.add_variable(**options, initializer="zeros", name="skipped")

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        self._finite = None

    def scale_loss(self, loss):
        return loss * self.loss_scale if self.scales else loss

    def _clip_gradients(self, grads):
        return super()._clip_gradients(self._sum_replicas(grads))

    def _sum_replicas(self, grads):
        summed = [gradient for gradient, _ in super()._all_reduce_sum_gradients(list(zip(grads, grads, strict=True)))]
        return self._unscale(summed) if self.scales else summed

    def _unscale(self, grads):
        """Gradients of the loss itself, zeros where some are no numbers; the scale of the next step."""
        values = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in grads]
        self._finite = finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
        scale = tf.convert_to_tensor(self.loss_scale)
        values = [tf.where(finite, value / scale, 0.0) for value in values]
        grown = self.finite_steps + 1 >= GROWTH_STEPS
        scaled = tf.where(finite, tf.where(grown, 2 * scale, scale), scale / 2)
        self.loss_scale.assign(tf.clip_by_value(scaled, *SCALES))
        self.skipped.assign_add(tf.where(finite, 0.0, 1.0))
        self.finite_steps.assign(tf.where(finite & ~grown, self.finite_steps + 1, 0.0))
        return [
            tf.IndexedSlices(value, gradient.indices, gradient.dense_shape)
            if isinstance(gradient, tf.IndexedSlices)
            else value
            for value, gradient in zip(values, grads, strict=True)
        ]

    def _get_current_learning_rate(self):
        """0 in a step that is left out."""
        rate = super()._get_current_learning_rate()
        return rate if self._finite is None else rate * tf.cast(self._finite, tf.float32)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)  # summed before they were clipped


class RowAdamW(ReplicaSafeAdamW):
    """AdamW that touches only those rows of an embedding that a batch has read.

    A row's moments rest while no batch reads it, as in PyTorch's SparseAdam; a dense step would go through tens of
    thousands of rows for each batch. The norm that is clipped counts a row once, however often it was read.
    """

    def _clip_gradients(self, grads):
        summed = self._sum_replicas(grads)
        return tf.clip_by_global_norm([_add_up_rows(gradient) for gradient in summed], self.global_clipnorm)[0]

    def update_step(self, gradient, variable, learning_rate):
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        place, rows = self._get_variable_index(variable), gradient.indices
        moments = []
        values = tf.cast(gradient.values, variable.dtype)  # (rows, width)
        for moment, new, kept in (
            (self._momentums[place], values, self.beta_1),
            (self._velocities[place], tf.square(values), self.beta_2),
        ):
            old = tf.gather(moment.value, rows)
            moments.append(old + (1 - kept) * (new - old))
            self.assign(moment, tf.IndexedSlices(moments[-1], rows))
        step = tf.cast(self.iterations, variable.dtype) + 1
        rate = learning_rate * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        change = rate * moments[0] / (tf.sqrt(moments[1]) + self.epsilon)
        self.assign_sub(variable, tf.IndexedSlices(change, rows))


def _add_up_rows(gradient):
    """The gradient of an embedding with each row once; others as they are."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def attach_optimizer(model: keras.Model, optimizer: ReplicaSafeAdamW) -> None:
    """Builds an optimizer for a model, which scales the loss where layers compute in float16."""
    policies = {layer.compute_dtype for layer in model._flatten_layers()}
    optimizer.scales = "float16" in policies
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)


def check_skipped(optimizer: ReplicaSafeAdamW) -> None:
    """Says how many of an optimizer's steps were left out, where they are not few.

    Raises:
        RunError: all of them.
    """
    if not optimizer.scales:
        return
    skipped, steps = int(optimizer.skipped.numpy()), int(optimizer.iterations.numpy())
    if skipped == steps:
        raise RunError(f"the gradients of all {steps} steps overflow in float16: take bfloat16 or float32.")
    if skipped > SKIPPED_SHARE * steps:
        note(f"{skipped} of {steps} steps were left out, since their gradients overflow in float16.")


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises from 0 in `rising` steps, then stays, or falls in a line to 0 at step `end`."""

    def __init__(self, rate: float, rising: int, end: int | None = None):
        self.rate, self.rising, self.end = rate, rising, end

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        share = tf.minimum((step + 1) / max(self.rising, 1), 1.0)
        if self.end is not None:
            share = tf.minimum(share, (self.end - step) / max(self.end - self.rising, 1))
        return self.rate * share

    def get_config(self):
        return {"rate": self.rate, "rising": self.rising, "end": self.end}


def build_optimizer(
    steps: int, learning_rate: float, warmup: float, weight_decay: float, clip_norm: float
) -> keras.optimizers.Optimizer:
    """An optimizer for a known number of steps.

    Args:
        steps: of the whole training.
        learning_rate: the highest, reached after the warm-up; it then falls to 0 along a cosine.
        warmup: share of the steps, 0 to 1, in which it rises from 0.
        weight_decay: of kernels; biases, gains and layer weights have none.
        clip_norm: gradients of a larger norm, over all weights, are scaled down to it.
    """
    rising = int(warmup * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else learning_rate,
        decay_steps=max(steps - rising, 1),
        warmup_target=learning_rate if rising else None,
        warmup_steps=rising,
    )
    optimizer = ReplicaSafeAdamW(rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gain", "layer_logits"])
    return optimizer


def build_tuning_optimizer(
    config: FineTuneConfig, rising: int, end: int | None = None, kind: type[RowAdamW] = RowAdamW
) -> RowAdamW:
    """The optimizer that fine-tunes an encoder.

    Args:
        config: its rate, decay and clipping.
        rising: steps in which the rate rises from 0.
        end: the step at which it has fallen to 0; it stays with None.
        kind: the optimizer's class.
    """
    rate = WarmUp(config.learning_rate, rising, end)
    optimizer = kind(rate, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "embedding", "gain", "layer_logits"])
    return optimizer
