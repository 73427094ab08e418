"""From a head's config to its Keras model.

Over 300 lines, since all that a config may ask for stands here, each a few lines, in the order an image meets them.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from ..errors import HeadError
from ..keras_settings import check_keras
from ..layers import (
    AdapterPooler,
    Conv1x1Adapter,
    DetectParts,
    ImageConvolution,
    KernelReadout,
    LayerAveragePooling,
    LayerDropout,
    LayerWeightPooling,
    PairSimilarities,
    PairViews,
    ResizeImage,
    SelectLayer,
    SimilarityImage,
    SimilarityReader,
    SpanLogits,
    StandardizeStates,
    TokenAttention,
    TokenCutout,
    TokenPooling,
)
from ..layers.shapes import check_size
from .bodies import build_abbreviated_xception, build_token_inception, build_token_xception, build_xception
from .config import Body, Convolution, HeadConfig, HeadKind, Pooling, Solver, TokenPoolingMode, VisionView, choose
from .model import Head
from .presets import get_preset
from .vision import build_vision

SMALLEST_PICTURE = 9  # wide: Xception's stem leaves one column of it
SCALE_POOLED = "scale_layers"  # the layer that brings a linear head's features to one scale
FLATTENED = ("flatten", "flat_similarities")  # the layers whose outputs, side by side, a readout reads
Tensor = Any  # a keras.KerasTensor; Keras has no types of its own to check by


def build_head(
    head: str | HeadConfig,
    *,
    num_hidden_states: int,
    hidden_dim: int,
    num_tokens: int | None = None,
    num_outputs: int | None = None,
    kind: str = "classification",
    name: str | None = None,
) -> keras.Model:
    """Builds the model of a head: an image in, logits out.

    hidden_states -> [standardize] -> [convolution] -> [layer dropout] -> [pool layers] -> [adapter | parts]
    -> [cnn] -> pool tokens (a span head keeps them) -> flatten (layers, channels) | xception | inception
    -> [pooled branch] -> [skip] -> [dropout] -> dense

    Where only layers are pooled, tokens are pooled before them, which gives the same.

    A linear head: pool tokens -> standardize -> [pool layers] -> flatten -> dense.

    A comparison instead: three views of a pair, each pooled over layers and adapted, and five similarities a layer.

    Skip puts the final block beside them: index -1 of the standardized image, pooled over tokens in the same
    way. What stands in a padded cell never changes an output; a span's padded positions have logits of -1e9.
    Logits are float32 under any dtype policy.

    Args:
        head: a preset's name, or a HeadConfig.
        num_hidden_states: int, layers of the image (num_layers + 1, one more with the pooler kept).
        hidden_dim: int, width of a hidden state.
        num_tokens: int, or None for any number. Token pooling "flat" needs a number.
        num_outputs: int, classes; by default 2, or 1 for scores. A span has 2: its start and its end.
        kind: "classification", "regression" or "span".
        name: the model's name; by default the preset's.
    Returns:
        keras.Model. Inputs: a dict of `hidden_states`, (batch, num_hidden_states, tokens, hidden_dim), and
        `padding_mask`, (batch, tokens); for a comparison also `segment_ids`, (batch, tokens), and for a span too
        where it is known: the first text and special tokens are no answers then. Other keys are left alone.
        Output: (batch, num_outputs), or for a span {"start_logits", "end_logits"}, each (batch, tokens).
    Raises:
        HeadError: no such preset, or a config and sizes that contradict each other.
    Example:
        >>> head = build_head("adapter_386_shared_skip", num_hidden_states=25, hidden_dim=1024, kind="span")
        >>> head.count_params()
        417000
    """
    check_keras()
    config = head if isinstance(head, HeadConfig) else get_preset(head)
    kind = choose(HeadKind, "kind", kind)
    outputs_wanted = _check_outputs(kind, num_outputs)
    _check_sizes(config, kind, num_hidden_states, hidden_dim, num_tokens)
    image_shape = (num_hidden_states, num_tokens, hidden_dim)
    hidden_states = keras.Input(image_shape, name="hidden_states", dtype="float32")
    padding_mask = keras.Input((num_tokens,), name="padding_mask", dtype="int32")  # (batch, tokens)
    inputs = {"hidden_states": hidden_states, "padding_mask": padding_mask}
    if config.comparison:
        inputs["segment_ids"] = keras.Input((num_tokens,), name="segment_ids", dtype="int32")  # (batch, tokens)
        features = _compare(inputs, config)
    elif config.linear:
        features = _scale_pooled(hidden_states, padding_mask, config, kind)
    else:
        picture = _standardize(hidden_states, config)  # (batch, layers, tokens, hidden)
        features = _read_picture(picture, padding_mask, config, kind)  # (batch[, tokens], features)
    outputs = _read_out(features, config, outputs_wanted)  # (batch[, tokens], num_outputs)
    if kind is HeadKind.SPAN:
        segment_ids = keras.Input((num_tokens,), name="segment_ids", dtype="int32", optional=True)  # (batch, tokens)
        inputs["segment_ids"] = segment_ids
        outputs = SpanLogits(name="span_logits")(outputs, padding_mask, segment_ids)  # twice (batch, tokens)
    return Head(inputs, outputs, name=name or (head if isinstance(head, str) else "head"))


def _check_sizes(
    config: HeadConfig, kind: HeadKind, num_hidden_states: int, hidden_dim: int, num_tokens: int | None
) -> None:
    """Raises HeadError where an image cannot have such sizes, or a head cannot read it."""
    check_size("num_hidden_states", num_hidden_states)
    check_size("hidden_dim", hidden_dim)
    if num_tokens is not None:
        check_size("num_tokens", num_tokens)
    elif kind is not HeadKind.SPAN and config.token_pooling is TokenPoolingMode.FLAT:
        raise HeadError("A head that flattens its tokens needs their number: set `num_tokens`.")
    if config.comparison and (kind is HeadKind.SPAN or num_tokens == 1):
        raise HeadError("A comparison reads all tokens of a pair of texts: it is no span head, nor for [CLS] stores.")


def _read_picture(picture: Tensor, padding_mask: Tensor, config: HeadConfig, kind: HeadKind) -> Tensor:
    """The features of an image, (batch, features), or of a span's tokens (batch, tokens, features)."""
    flatten = _flatten_tokens if kind is HeadKind.SPAN else _flatten_examples
    if kind is not HeadKind.SPAN and _weighs_layers_alone(config):
        picture, flatten = _pool_tokens_first(picture, padding_mask, config), _flatten_pooled
    image = picture
    for step in _STEPS:
        image = step(image, padding_mask, config)  # (batch, layers, tokens, channels)
    if config.body is Body.NONE or config.body is Body.CNN:
        features = flatten(image, padding_mask, config, "")
    else:
        features = _run_body(image, padding_mask, config, kind)
    if config.parts_dim is not None:
        features = keras.layers.Activation("gelu", name="parts_gelu")(features)
    beside = []
    if config.pooled_branch and config.adapter_dim:
        branch = LayerWeightPooling(name="branch_pooling")(picture)  # (batch, tokens, hidden)
        branch = AdapterPooler(config.adapter_dim, name="branch_adapter")(_as_image(branch, "branch"))
        beside.append(flatten(branch, padding_mask, config, "branch_"))  # (batch[, tokens], adapter_dim)
    if config.skip:
        final_block = SelectLayer(-1, name="final_block")(picture)  # (batch, tokens, hidden)
        final_block = _as_image(final_block, "final_block")  # (batch, 1, tokens, hidden)
        beside.append(flatten(final_block, padding_mask, config, "final_block_"))  # (batch[, tokens], hidden)
    if beside:
        features = keras.layers.Concatenate(name="beside" if config.pooled_branch else "skip")([features, *beside])
    return features


def _scale_pooled(image: Tensor, padding_mask: Tensor, config: HeadConfig, kind: HeadKind) -> Tensor:
    """The features of a linear head, (batch, layers * channels)."""
    if kind is HeadKind.SPAN:
        raise HeadError("`linear=True` reads pooled tokens: it is no span head.")
    pooled = _pool_tokens(image, padding_mask, config, "")  # (batch, layers, channels)
    pooled = keras.layers.Normalization(axis=(1, 2), name=SCALE_POOLED, dtype="float32")(pooled)
    column = keras.layers.Reshape((pooled.shape[1], 1, pooled.shape[2]), name="token_pooling_image")(pooled)
    if config.pooling is not Pooling.NONE:
        column = _merge_layers(column, config)
    return keras.layers.Flatten(name="flatten")(column)


def _weighs_layers_alone(config: HeadConfig) -> bool:
    """Whether only a pooling of layers, or nothing, lies between the image and its pooled tokens, and either order of
    the two gives the same.

    Tokens first leaves an image of one column, which `split_head` measures once for all epochs and seeds, and which
    heads on one encoder share.
    """
    if config.convolution is not Convolution.NONE or config.body is not Body.NONE or config.token_cutout:
        return False
    if config.adapter_dim is not None or config.parts_dim is not None:
        return False
    linear = (TokenPoolingMode.MEAN, TokenPoolingMode.CLS)
    unmixed = (TokenPoolingMode.MAX, TokenPoolingMode.MEAN_MAX_CLS)
    mixes = config.pooling in (Pooling.AVERAGE, Pooling.LEARNED)
    return config.token_pooling in linear or (config.token_pooling in unmixed and not mixes)


def _pool_tokens_first(picture: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    """The picture as an image of one column, (batch, layers, 1, hidden)."""
    pooled = _pool_tokens(picture, padding_mask, config, "")
    return keras.layers.Reshape((pooled.shape[1], 1, pooled.shape[2]), name="token_pooling_image")(pooled)


def _run_body(image: Tensor, padding_mask: Tensor, config: HeadConfig, kind: HeadKind) -> Tensor:
    """The features of a published network: of a span's tokens (batch, tokens, channels), else (batch, channels)."""
    if config.body is Body.VISION:
        return _see(image, padding_mask, config, kind)
    if config.body is Body.INCEPTION or kind is HeadKind.SPAN:
        if config.body is Body.XCEPTION_ABBREVIATED:
            raise HeadError("`body='xception_abbreviated'` shrinks what it reads: it is no span head.")
        if image.shape[1] != 1:
            raise HeadError(f"`body='{config.body}'` reads the tokens of one layer here: set `pooling`.")
        build = build_token_inception if config.body is Body.INCEPTION else build_token_xception
        image = build(image, padding_mask)  # (batch, 1, tokens, channels)
        flatten = _flatten_tokens if kind is HeadKind.SPAN else _flatten_examples
        return flatten(image, padding_mask, config, "")
    turned = _turn(image, padding_mask, config)  # (batch, channels, layers)
    if turned.shape[1] < SMALLEST_PICTURE:
        raise HeadError(f"`body='{config.body}'` needs {SMALLEST_PICTURE} channels or more, got {turned.shape[1]}.")
    picture = keras.layers.Reshape((1, *turned.shape[1:]), name="picture")(turned)  # (batch, 1, channels, layers)
    return build_xception(picture) if config.body is Body.XCEPTION else build_abbreviated_xception(picture)


def _see(image: Tensor, padding_mask: Tensor, config: HeadConfig, kind: HeadKind) -> Tensor:
    """The features of a vision backbone, (batch, features)."""
    if kind is HeadKind.SPAN:
        raise HeadError("`body='vision'` stretches the tokens to a picture: it is no span head.")
    picture, masks = image, [padding_mask]
    if config.vision_view is VisionView.HIDDEN_LAYERS:
        turned = _turn(image, padding_mask, config)  # (batch, channels, layers)
        picture, masks = keras.layers.Reshape((*turned.shape[1:], 1), name="picture")(turned), []
    colours = keras.layers.Dense(3, name="projection")(picture)  # (batch, height, width, 3)
    colours = ResizeImage(config.vision_size, config.vision_size, name="resize")(colours, *masks)
    return build_vision(colours, str(config.vision), config.vision_weights)


def _turn(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    """The pooled tokens with the layers last, (batch, channels, layers)."""
    return keras.layers.Permute((2, 1), name="layers_last")(_pool_tokens(image, padding_mask, config, ""))


def list_groups(head: keras.Model) -> list[tuple[int, int]]:
    """What the features of a head that is fitted at once belong to, in their order.

    Returns:
        of each group of features the layer, counted from 0, and their number. A comparison has a group for each layer
        and view, and one for each layer's similarities.
    """
    groups = []
    names = {layer.name for layer in head.layers}
    for flat in [name for name in FLATTENED if name in names]:
        layers, *parts, size = head.get_layer(flat).input.shape[1:]
        groups += [(place, size) for place in range(layers) for _ in range(math.prod(parts))]
    return groups


def _read_out(features: Tensor, config: HeadConfig, num_outputs: int) -> Tensor:
    if config.solver is Solver.KERNEL:
        return KernelReadout(num_outputs, name="logits")(features)
    if config.dropout:
        features = keras.layers.Dropout(config.dropout, name="dropout")(features)
    return keras.layers.Dense(num_outputs, dtype="float32", name="logits")(features)


def _compare(inputs: dict[str, Tensor], config: HeadConfig) -> Tensor:
    """The features of a pair, (batch, features): its views, an image of three columns, and its similarities."""
    views = PairViews(name="views", dtype="float32")(**inputs)  # (batch, layers, 3, hidden)
    image = keras.layers.Normalization(axis=(1, 2, 3), name="scale_views", dtype="float32")(views)
    if config.pooling is not Pooling.NONE:
        image = _merge_layers(image, config)
    if config.views_dropout:
        image = keras.layers.Dropout(config.views_dropout, name="views_dropout")(image)
    image = _adapt(image, inputs["padding_mask"], config)  # (batch, layers or 1, 3, channels)
    similarities = PairSimilarities(name="similarities", dtype="float32")(**inputs)  # (batch, layers, 5)
    similarities = keras.layers.Normalization(axis=(1, 2), name="scale_similarities", dtype="float32")(similarities)
    parts = [keras.layers.Flatten(name="flatten")(image), keras.layers.Flatten(name="flat_similarities")(similarities)]
    if config.similarity_dim:
        picture = SimilarityImage(name="similarity_image", dtype="float32")(**inputs)  # (batch, 40, 24, layers + 1)
        parts.append(SimilarityReader(config.similarity_dim, name="similarity_reader")(picture))
    return keras.layers.Concatenate(name="compared")(parts)


def _check_outputs(kind: HeadKind, num_outputs: int | None) -> int:
    """The number of outputs that a kind has; HeadError for another."""
    fixed = {HeadKind.REGRESSION: 1, HeadKind.SPAN: 2}.get(kind)
    if num_outputs is None:
        return fixed or 2
    check_size("num_outputs", num_outputs)
    if fixed is not None and num_outputs != fixed:
        raise HeadError(f"A {kind} head has `num_outputs={fixed}`, got {num_outputs}. Leave it out.")
    return num_outputs


def _standardize(image: Tensor, config: HeadConfig) -> Tensor:
    if not config.standardize:
        return image
    # In float32 under any policy: a few channels lie far from 0, and half precision would lose their detail.
    return StandardizeStates(name="standardize", dtype="float32")(image)


def _convolve(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.convolution is Convolution.NONE or config.convolution_dim is None:
        return image
    return Conv1x1Adapter(config.convolution_dim, name="convolution")(image)


def _cut_tokens(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.token_cutout == 0:
        return image
    return TokenCutout(config.token_cutout, name="token_cutout")(image, padding_mask)


def _drop_layers(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.layer_dropout == 0:
        return image
    return LayerDropout(config.layer_dropout, name="layer_dropout")(image)


def _pool_layers(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.pooling is Pooling.NONE or config.cnn_square:
        return image
    return _merge_layers(image, config)


def _adapt(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.adapter_dim is None:
        return image
    return AdapterPooler(config.adapter_dim, config.shared, name="adapter")(image)


def _detect_parts(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    return image if config.parts_dim is None else DetectParts(config.parts_dim, name="parts")(image)


def _run_cnn(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    if config.cnn_dim is None or config.cnn_kernel is None:
        return image
    dilations = (1, 2, 4, 8, 16) if config.cnn_dilated else (1,)
    layer = ImageConvolution(config.cnn_dim, config.cnn_kernel, config.cnn_square, dilations, name="cnn")
    return layer(image, padding_mask)


def _pool_square(image: Tensor, padding_mask: Tensor, config: HeadConfig) -> Tensor:
    """What a convolution over layers and tokens has read is pooled after it."""
    return _merge_layers(image, config) if config.cnn_square and config.pooling is not Pooling.NONE else image


def _merge_layers(image: Tensor, config: HeadConfig) -> Tensor:
    return _as_image(_POOLINGS[config.pooling](name="layer_pooling")(image), "layer_pooling")


_POOLINGS: dict[Pooling, type[keras.layers.Layer]] = {
    Pooling.LAST: SelectLayer,
    Pooling.AVERAGE: LayerAveragePooling,
    Pooling.LEARNED: LayerWeightPooling,
}
# What an image passes through in this order, each step (batch, layers, tokens, channels) to the same axes.
_STEPS: tuple[Callable[[Tensor, Tensor, HeadConfig], Tensor], ...] = (
    _convolve,
    _cut_tokens,
    _drop_layers,
    _pool_layers,
    _adapt,
    _detect_parts,
    _run_cnn,
    _pool_square,
)


def _as_image(states: Tensor, name: str) -> Tensor:
    """One layer, (batch, tokens, hidden), as an image of one: (batch, 1, tokens, hidden)."""
    return keras.layers.Reshape((1, -1, states.shape[-1]), name=f"{name}_image")(states)


def _flatten_examples(image: Tensor, padding_mask: Tensor, config: HeadConfig, prefix: str) -> Tensor:
    """An image as one vector an example, (batch, layers * channels)."""
    return keras.layers.Flatten(name=f"{prefix}flatten")(_pool_tokens(image, padding_mask, config, prefix))


def _flatten_pooled(image: Tensor, padding_mask: Tensor, config: HeadConfig, prefix: str) -> Tensor:
    """An image of one column as one vector an example, (batch, layers * hidden)."""
    return keras.layers.Flatten(name=f"{prefix}flatten")(image)


def _pool_tokens(image: Tensor, padding_mask: Tensor, config: HeadConfig, prefix: str) -> Tensor:
    """One vector a layer, (batch, layers, channels)."""
    name = f"{prefix}token_pooling"
    if config.token_pooling is TokenPoolingMode.ATTENTION:
        return TokenAttention(name=name)(image, padding_mask)
    # In float32 under any policy, as what `split_head` measures is kept.
    return TokenPooling(str(config.token_pooling), name=name, dtype="float32")(image, padding_mask)


def _flatten_tokens(image: Tensor, padding_mask: Tensor, config: HeadConfig, prefix: str) -> Tensor:
    """An image as one vector a token, (batch, tokens, layers * channels)."""
    _, layers, _, channels = image.shape
    turn = keras.layers.Permute((2, 1, 3), name=f"{prefix}columns")
    columns = turn(image)  # (batch, tokens, layers, channels)
    return keras.layers.Reshape((-1, layers * channels), name=f"{prefix}flatten")(columns)
