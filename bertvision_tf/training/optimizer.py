"""AdamW with warm-up and decay, whose clipping means the same on one device and on many."""

import keras


class ReplicaSafeAdamW(keras.optimizers.AdamW):
    """Keras's AdamW, but clipping the sum of the replicas' gradients.

    Keras clips each replica's share before it sums them, so that a norm limit of 1 would be twice as loose on two
    devices, and the result would depend on their number.
    """

    def _clip_gradients(self, grads):
        summed = super()._all_reduce_sum_gradients(list(zip(grads, grads, strict=True)))
        return super()._clip_gradients([gradient for gradient, _ in summed])

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)  # summed before they were clipped


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
