"""KerasHub's backbone of an encoder: the reference for its hidden states, and what fine-tuning trains."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from .checkpoint import Architecture
from .families import FAMILIES

ACTIVATIONS = {
    "gelu_exact": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}


def build_backbone(
    architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str = "float32"
) -> keras.Model:
    """Builds KerasHub's backbone with a checkpoint's weights, and with its own activation, epsilon and
    number of segments, which KerasHub's converters leave at their defaults.

    Args:
        architecture: sizes and settings.
        weights: what `read_weights` gives.
        dtype: of its products, or a Keras dtype policy.
    """
    from keras_hub import models

    family = FAMILIES[architecture.family]
    sizes = {theirs: getattr(architecture, ours) for theirs, ours in family.keras_sizes.items()}
    backbone = getattr(models, family.backbone)(**sizes, dtype=dtype, name="backbone")
    backbone.embeddings_layer_norm.epsilon = architecture.layer_norm_epsilon
    for block in get_blocks(backbone):
        block._self_attention_layer_norm.epsilon = architecture.layer_norm_epsilon
        block._feedforward_layer_norm.epsilon = architecture.layer_norm_epsilon
        block._feedforward_intermediate_dense.activation = ACTIVATIONS[architecture.activation]
    write_backbone(backbone, architecture, weights)
    return backbone


def write_backbone(backbone: keras.Model, architecture: Architecture, weights: Mapping[str, np.ndarray]) -> None:
    """Puts a checkpoint's weights into a backbone; `read_backbone` is the way back."""
    values = dict(weights)
    if FAMILIES[architecture.family].pads_positions and architecture.num_segments:
        # These backbones have no segments: every token is in the first.
        values["position_embedding"] = values["position_embedding"] + values["segment_embedding"][0]
    for name, variable in find_variables(backbone).items():
        if name in values or not name.startswith("pooler"):  # a checkpoint may have none; it stays as it was drawn
            variable.assign(np.reshape(values[name], variable.shape))


def read_backbone(backbone: keras.Model) -> dict[str, np.ndarray]:
    """The backbone's weights by our names and in our shapes, float32."""
    weights = {}
    for name, variable in find_variables(backbone).items():
        value = np.asarray(variable, np.float32)
        if name.endswith(".kernel") and value.ndim == 3:  # (hidden, heads, head) or (heads, head, hidden)
            value = value.reshape(-1, value.shape[-1]) if "attention_output" in name else value.reshape(len(value), -1)
        weights[name] = value.ravel() if name.endswith(".bias") else value
    return weights


def build_states_model(backbone: keras.Model) -> keras.Model:
    """The backbone as a model of all its hidden states, a list of (batch, tokens, hidden_dim), embeddings first."""
    blocks = get_blocks(backbone)
    if is_deberta(backbone):  # its blocks read the relative positions too; each is called once
        return keras.Model(backbone.input, [backbone.embeddings_dropout.output, *(block.output for block in blocks)])
    names = ("embedding_projection", "embeddings_projection", "embeddings_dropout")
    layers = {layer.name: layer for layer in backbone.layers}
    x = next(layers[name] for name in names if name in layers).output
    states = [x]
    for layer in range(backbone.num_layers):  # run anew, since ALBERT's layers share blocks
        x = blocks[layer * len(blocks) // backbone.num_layers](x, padding_mask=backbone.input["padding_mask"])
        states.append(x)
    return keras.Model(backbone.input, states)


class BackboneForward:
    """The backbone with the call of `forward.Forward`, for the families that have no lean forward pass."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str):
        self._states = build_states_model(build_backbone(architecture, weights, dtype))

    def __call__(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, lengths: tf.Tensor, num_blocks: int):
        """As `Forward`'s: the embeddings' output and those of the first blocks, each (batch · tokens, hidden_dim)."""
        mask = tf.sequence_mask(lengths, tf.shape(token_ids)[1], tf.int32)
        model = keras.Model(self._states.input, self._states.output[: num_blocks + 1])
        states = model({"token_ids": token_ids, "padding_mask": mask}, training=False)
        return [tf.reshape(state, (-1, state.shape[-1])) for state in states]


def is_deberta(backbone: keras.Model) -> bool:
    """Whether this backbone's blocks are none of BERT's, and its variables have their own names."""
    return type(backbone).__name__ == FAMILIES["deberta-v3"].backbone


def get_blocks(backbone: keras.Model) -> list[keras.layers.Layer]:
    """The transformer blocks, each once."""
    blocks = []
    for layer in backbone.transformer_layers:
        blocks += layer if isinstance(layer, list) else [layer]
    return blocks


def find_variables(backbone: keras.Model) -> dict[str, keras.Variable]:
    """The variables by our names."""
    if is_deberta(backbone):
        return {variable.path: variable for variable in backbone.weights}
    layers = {layer.name: layer for layer in backbone.layers}
    both = layers.get("embeddings") or layers.get("token_and_position_embedding")
    position = both.position_embedding if both else layers["position_embedding"]
    found = {
        "token_embedding": backbone.token_embedding.embeddings,
        "position_embedding": position.position_embeddings,
        "embeddings_norm.gamma": backbone.embeddings_layer_norm.gamma,
        "embeddings_norm.beta": backbone.embeddings_layer_norm.beta,
    }
    if "segment_embedding" in layers:
        found["segment_embedding"] = layers["segment_embedding"].embeddings
    dense = {"projection": layers.get("embedding_projection") or layers.get("embeddings_projection")}
    if not type(backbone).__name__.startswith("Electra"):  # whose checkpoints have none
        dense["pooler"] = layers.get("pooled_dense")
    for index, block in enumerate(get_blocks(backbone)):
        attention = block._self_attention_layer
        dense |= {
            f"block_{index}.query": attention.query_dense,
            f"block_{index}.key": attention.key_dense,
            f"block_{index}.value": attention.value_dense,
            f"block_{index}.attention_output": attention.output_dense,
            f"block_{index}.intermediate": block._feedforward_intermediate_dense,
            f"block_{index}.output": block._feedforward_output_dense,
        }
        norms = {"attention_norm": block._self_attention_layer_norm, "output_norm": block._feedforward_layer_norm}
        for part, layer in norms.items():
            found[f"block_{index}.{part}.gamma"] = layer.gamma
            found[f"block_{index}.{part}.beta"] = layer.beta
    for name, layer in dense.items():
        if layer is not None:
            found |= {f"{name}.kernel": layer.kernel, f"{name}.bias": layer.bias}
    return found
