"""Where a head is trained."""

import functools

import tensorflow as tf

from ..errors import RunError

STRATEGIES = ("one_device", "mirrored")


def get_strategy(name: str) -> tf.distribute.Strategy:
    """Returns TensorFlow's distribution strategy of a name.

    Args:
        name: "one_device" (the first GPU, else the processor), or "mirrored" (a copy on each GPU, gradients summed;
            without a GPU, on each logical processor).

    Raises:
        RunError: the name is not known.
    """
    if name == "one_device":
        return tf.distribute.get_strategy()  # TensorFlow's default: the first device
    if name == "mirrored":
        return _mirror()
    raise RunError(f"strategy {name!r} is not known; known: {', '.join(STRATEGIES)}.")


@functools.cache  # a second one would number its sums over devices as the first did, and wait for the wrong ones
def _mirror() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
