"""What a head is, in words and numbers."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from ..layers import KernelReadout
from .build import build_head
from .config import Body, Convolution, HeadConfig, Pooling, Solver, TokenPoolingMode, VisionView
from .presets import get_preset


@dataclasses.dataclass(frozen=True)
class HeadSize:
    """What a head weighs and costs.

    Attributes:
        trainable_parameters: numbers that are trained.
        multiply_adds: of its products of matrices and its convolutions, for one example of `num_tokens` tokens.
    """

    trainable_parameters: int
    multiply_adds: int


def measure_head(
    head: str | HeadConfig,
    *,
    num_hidden_states: int,
    hidden_dim: int,
    num_tokens: int,
    num_outputs: int | None = None,
    kind: str = "classification",
) -> HeadSize:
    """Builds a head for images of these sizes and counts.

    Raises:
        HeadError: as `build_head`.

    Example:
        >>> measure_head("learned_pooling", num_hidden_states=26, hidden_dim=1024, num_tokens=1)
        HeadSize(trainable_parameters=2077, multiply_adds=28672)
    """
    model = build_head(
        head,
        num_hidden_states=num_hidden_states,
        hidden_dim=hidden_dim,
        num_tokens=num_tokens,
        num_outputs=num_outputs,
        kind=kind,
    )
    return HeadSize(count_trainable(model), count_multiply_adds(model))


def count_trainable(model: keras.Model) -> int:
    """The numbers that are trained, or kept of the training rows."""
    kept = [layer.kept for layer in model._flatten_layers() if isinstance(layer, KernelReadout)]
    return sum(int(np.prod(weight.shape)) for weight in [*model.trainable_weights, *kept])


def count_multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of all products and convolutions for one example; every axis but the batch must be known."""
    inputs = {name: tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for name, tensor in model.input.items()}
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(inputs).graph
    functions = [graph, *(function.graph for function in graph._functions.values() if hasattr(function, "graph"))]
    return sum(_count_operation(operation) for part in functions for operation in part.get_operations())


def _count_operation(operation: tf.Operation) -> int:
    shapes = [tuple(tensor.shape.as_list()) for tensor in operation.inputs if tensor.shape.rank is not None]
    if operation.type == "MatMul":
        first, inner = shapes[0], shapes[0][0 if operation.get_attr("transpose_a") else 1]
        return math.prod(operation.outputs[0].shape) * inner if first else 0
    if operation.type.startswith("BatchMatMul"):
        return math.prod(operation.outputs[0].shape) * shapes[0][-2 if operation.get_attr("adj_x") else -1]
    if operation.type == "Conv2D":
        return math.prod(operation.outputs[0].shape) * math.prod(shapes[1][:3])
    if operation.type == "DepthwiseConv2dNative":
        return math.prod(operation.outputs[0].shape) * math.prod(shapes[1][:2])
    if operation.type == "Einsum":
        letters = operation.get_attr("equation").decode().split("->")[0].split(",")
        sizes = {letter: size for part, shape in zip(letters, shapes, strict=True) for letter, size in zip(part, shape)}  # noqa: B905
        return math.prod(sizes.values())
    return 0


def describe_head(head: str | HeadConfig) -> str:
    """What a head does with an image, in a line.

    Example:
        >>> describe_head("learned_pooling_adapter_386_skip")
        'learned weights over the layers, an adapter of 386, the final block beside'
    """
    config = get_preset(head) if isinstance(head, str) else head
    return ", ".join(_describe(config))


_SOLVED = {
    Solver.REGRESSION: "a linear model, fitted at once",
    Solver.GROUPS: "a linear model of few layers, fitted at once",
    Solver.KERNEL: "ridge regression on likenesses to the training rows, which it keeps, fitted at once",
}


def _describe(config: HeadConfig):
    if config.linear:
        yield _SOLVED[config.solver]
    if config.comparison:
        yield "the two texts of a pair compared: means, difference, product, cosines"
    if config.similarity_dim:
        yield f"a convolutional network of {config.similarity_dim} on the picture of cosines"
    if config.standardize:
        yield "each (layer, channel) on one scale"
    if config.convolution is not Convolution.NONE:
        yield f"a residual 1x1 bottleneck of {config.convolution_dim}"
    if config.token_cutout:
        yield f"neighbouring tokens cut out ({config.token_cutout:.0%})"
    if config.layer_dropout:
        yield f"whole layers dropped ({config.layer_dropout:.0%})"
    if config.pooling is not Pooling.NONE:
        yield _POOLINGS[config.pooling]
    if config.adapter_dim:
        yield f"an adapter of {config.adapter_dim}" + ("" if config.shared else " for each layer")
    if config.parts_dim:
        yield f"a vector for each layer, dense to {config.parts_dim}"
    if config.cnn_dim:
        size = f"{config.cnn_kernel if config.cnn_square else 1}x{config.cnn_kernel}"
        yield f"{size} convolution{'s, dilated,' if config.cnn_dilated else ''} to {config.cnn_dim}"
    elif config.vision:
        view = "hidden by layers" if config.vision_view is VisionView.HIDDEN_LAYERS else "layers by tokens"
        yield f"{config.vision} on the picture of {view}" + (", with ImageNet's weights" * bool(config.vision_weights))
    elif config.body is not Body.NONE:
        yield _BODIES[config.body]
    if config.pooled_branch:
        yield "a pooled branch"
    if config.skip:
        yield "the final block beside"
    if config.token_pooling is not TokenPoolingMode.MEAN:
        yield _TOKENS[config.token_pooling]


_POOLINGS = {
    Pooling.LAST: "the last layer alone",
    Pooling.AVERAGE: "the mean over the layers",
    Pooling.LEARNED: "learned weights over the layers",
}
_BODIES = {
    Body.XCEPTION: "Xception with the layers as channels",
    Body.XCEPTION_ABBREVIATED: "the first part of Xception with the layers as channels",
    Body.INCEPTION: "four Inception blocks",
}
_TOKENS = {
    TokenPoolingMode.MAX: "the largest over the tokens",
    TokenPoolingMode.CLS: "the first token",
    TokenPoolingMode.FLAT: "all tokens side by side",
    TokenPoolingMode.MEAN_MAX_CLS: "mean, largest and first token",
    TokenPoolingMode.ATTENTION: "attention over the tokens",
}
