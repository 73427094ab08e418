"""Where heads and encoders are trained."""

import functools

import keras
import tensorflow as tf

from ..errors import RunError

AUTO, ONE, MIRRORED = "auto", "one_device", "mirrored"
STRATEGIES = (AUTO, ONE, MIRRORED)


def get_strategy(name: str) -> tf.distribute.Strategy:
    """Returns TensorFlow's distribution strategy of a name.

    Args:
        name: "one_device" (the first GPU, else the processor), "mirrored" (a copy on each GPU, gradients summed;
            without a GPU, on each logical processor), or "auto" (see `choose_strategy`).

    Raises:
        RunError: the name is not known.
    """
    if choose_strategy(name) == MIRRORED:
        return _mirror()
    return tf.distribute.get_strategy()  # TensorFlow's default: the first device


def choose_strategy(name: str) -> str:
    """The strategy that a name stands for: "auto" is "mirrored" where there are several GPUs, else "one_device".

    Raises:
        RunError: the name is not known.
    """
    if name not in STRATEGIES:
        raise RunError(f"strategy {name!r} is not known; known: {', '.join(STRATEGIES)}.")
    if name != AUTO:
        return name
    return MIRRORED if len(tf.config.list_logical_devices("GPU")) > 1 else ONE


def check_replicas(head: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Raises RunError where a head would come to something else on several devices than on one."""
    if strategy.num_replicas_in_sync > 1:
        for layer in head._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                raise RunError(
                    f"head {head.name} normalizes over its batch, and {strategy.num_replicas_in_sync} devices would do "
                    "that over a part each: train it with strategy one_device."
                )


@functools.cache  # a second one would number its sums over devices as the first did, and wait for the wrong ones
def _mirror() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
