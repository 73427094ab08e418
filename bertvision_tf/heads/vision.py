"""An image backbone of Keras or KerasHub as the body of a head: transfer from vision."""

from typing import Any

import keras

from ..errors import HeadError, find_reason
from .bodies import MOMENTUM

Tensor = Any  # a keras.KerasTensor; Keras has no types of its own to check by


def build_vision(picture: Tensor, network: str, weights: str | None) -> Tensor:
    """Runs a backbone over pictures.

    Args:
        picture: (batch, height, width, 3).
        network: a name of keras.applications, as in "MobileNetV3Small", or a KerasHub preset of an image backbone.
        weights: "imagenet" or a weights file for the first; "imagenet" for the preset's own; None for random ones.

    Returns:
        (batch, features), the mean over the places of the last map.

    Raises:
        HeadError: no such network, pictures that are too small for it, or weights that cannot be had.
    """
    shape = picture.shape[1:]
    try:
        if network in list_networks():
            net = _build_application(network, weights, shape)
        else:
            net = _build_preset(network, weights)
        for layer in net._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, MOMENTUM)
        return _pool(net(picture))
    except HeadError:
        raise
    except Exception as error:  # each network, the hub and the file have their own
        reason = find_reason(error)
        raise HeadError(f"the vision network {network} cannot be built: {reason}") from None


def list_networks() -> list[str]:
    """The names of keras.applications."""
    return [name for name in dir(keras.applications) if name[0].isupper()]


def _build_application(network: str, weights: str | None, shape: tuple[int, ...]) -> keras.Model:
    build = getattr(keras.applications, network)
    options = {"include_top": False, "weights": weights, "input_shape": shape}
    if "include_preprocessing" in build.__code__.co_varnames:  # the image is on its own scale
        options["include_preprocessing"] = False
    return build(**options)


def _build_preset(network: str, weights: str | None) -> keras.Model:
    from keras_hub.models import Backbone

    if weights not in (None, "imagenet"):
        raise HeadError(f"the preset {network} has its own weights: `vision_weights` needs 'imagenet' or none.")
    try:
        return Backbone.from_preset(network, load_weights=weights == "imagenet")
    except ValueError as error:
        if "preset" not in str(error):
            raise
        raise HeadError(
            f"no vision network {network!r}: expected a KerasHub preset or one of {', '.join(list_networks())}."
        ) from None


def _pool(features: Tensor) -> Tensor:
    places = tuple(range(1, len(features.shape) - 1))  # (height, width), or the patches of a transformer
    return keras.ops.mean(features, axis=places) if places else features
