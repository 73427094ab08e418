"""A head in two parts: what only measures the image, once and for all, and what is trained on the measurements."""

import keras

from ..layers import TokenPooling
from ..layers.pair_comparison import PairLayer


def split_head(head: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Cuts a head where all it reads of the image comes from layers without weights or randomness.

    Epochs and seeds then need the image once. Both parts share their layers with the head: what is trained in the
    second is trained in the head.

    Args:
        head: what `build_head` gave.

    Returns:
        two models, images → a dict of measurements by layer, each (batch, …) without a token axis; and that dict →
        what the head gives. None for a head that reads the image itself.

    Example:
        >>> measure, trained = split_head(build_head("comparison_adapter_64", num_hidden_states=7, hidden_dim=384))
        >>> sorted(trained.input)
        ['similarities', 'views']
    """
    images = {id(tensor) for tensor in head.input.values()}
    readers = [
        layer
        for layer in head.layers
        if not isinstance(layer, keras.layers.InputLayer)
        and any(id(tensor) in images for tensor in keras.tree.flatten(layer.input))
    ]
    if not readers or not all(isinstance(layer, (PairLayer, TokenPooling)) for layer in readers):
        return None
    measurements = {layer.name: layer.output for layer in readers}
    for name, tensor in measurements.items():
        tensor.name = name  # Keras wants the names of a dict's tensors to be its keys
    measure = keras.Model(head.input, measurements, name="measure")
    return measure, keras.Model(measurements, head.output, name=f"{head.name}_trained")
