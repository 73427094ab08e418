"""The Keras model that a head is."""

from typing import Any

import keras
import numpy as np

from ..errors import HeadError
from ..layers.shapes import check_matches


@keras.saving.register_keras_serializable(package="bertvision_tf")
class Head(keras.Model):
    """A functional model that reads the inputs it has by name, and leaves alone whatever else a batch holds.

    A dataset gives `hidden_states`, `padding_mask` and `segment_ids` to every head; Keras's own functional
    model would warn of the key it does not know, and could take one tensor for another.

    Raises:
        HeadError (a ValueError): the batch is no dict, lacks an input, or holds an image of another shape.
    """

    def __call__(self, inputs: dict[str, Any], *args, **kwargs):
        own = self.input
        if not isinstance(inputs, dict):
            raise HeadError(f"A head reads a dict of {', '.join(own)}, got {type(inputs).__name__}.")
        optional = [name for name, tensor in own.items() if tensor._keras_history.operation.optional]
        missing = [name for name in own if name not in inputs and name not in optional]
        if missing:
            raise HeadError(f"A head reads {', '.join(own)}; the batch has no {', '.join(missing)}.")
        image = inputs["hidden_states"]
        if getattr(getattr(image, "shape", None), "rank", 0) is not None:  # a graph may not know the rank yet
            check_matches(keras.ops.shape(image), own["hidden_states"].shape)
        return super().__call__({name: inputs.get(name) for name in own}, *args, **kwargs)


def scale_logits(head: keras.Model, scale: float | np.ndarray, shift: float = 0.0) -> None:
    """Makes a head give other logits: times `scale`, plus `shift`, by the weights of its last layer.

    Args:
        head: with one output, the layer "logits".
        scale: one number for all outputs, or one for each.
        shift: of all outputs.
    """
    last = head.get_layer("logits")
    kernel, bias = last.get_weights()
    last.set_weights([kernel * scale, bias * scale + shift])
