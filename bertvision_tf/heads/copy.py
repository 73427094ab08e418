"""A head like another."""

from __future__ import annotations

import keras

from .model import Head


def copy_head(head: keras.Model, name: str, prefix: str = "") -> Head:
    """A head with the same layers and weights, which shares nothing with the first; without its optimizer.

    Args:
        head: a trained one.
        name: of the copy.
        prefix: before the names of its layers.
    """

    def rename(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "name": f"{prefix}{layer.name}"})

    plain = keras.Model(head.input, head.output)
    copy = keras.models.clone_model(plain, clone_function=rename)
    copy.set_weights(plain.get_weights())  # in the order of its own layers
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # or it would go on with the numbers that it was built with
    return Head(copy.input, copy.output, name=name)
