"""The Keras model that a head is."""

from typing import Any

import keras

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
