"""A Keras model of an encoder, which fine-tuning trains: KerasHub's backbone, which is the reference for hidden states
too, and `trainable.Backbone` of the families that KerasHub does not have.
"""

from collections.abc import Mapping

import keras
import numpy as np

from .architecture import Architecture
from .families import FAMILIES
from .trainable import Backbone

ACTIVATIONS = {
    "gelu_exact": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}


KERAS_DEBERTA = "DebertaV3Backbone"  # one DeBERTa of those that are read, with blocks and variables of its own


def build_backbone(
    architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str = "float32"
) -> keras.Model:
    """Builds a backbone with a checkpoint's weights; KerasHub's with its own activation, epsilon and number of
    segments, which KerasHub's converters leave at their defaults.

    Args:
        architecture: sizes and settings.
        weights: what `read_weights` gives.
        dtype: of its products, or a Keras dtype policy.
    """
    from keras_hub import models

    preset = FAMILIES[architecture.family].preset
    if preset is None or preset.backbone == KERAS_DEBERTA:
        return Backbone(architecture, weights, dtype)
    sizes = {theirs: getattr(architecture, ours) for theirs, ours in preset.sizes.items()}
    backbone = getattr(models, preset.backbone)(**sizes, dtype=dtype, name="backbone")
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
    if isinstance(backbone, Backbone):
        return keras.Model(backbone.input, backbone.states)
    blocks = get_blocks(backbone)
    if type(backbone).__name__ == KERAS_DEBERTA:  # its blocks read the relative positions too; each is called once
        return keras.Model(backbone.input, [backbone.embeddings_dropout.output, *(block.output for block in blocks)])
    names = ("embedding_projection", "embeddings_projection", "embeddings_dropout")
    layers = {layer.name: layer for layer in backbone.layers}
    x = next(layers[name] for name in names if name in layers).output
    states = [x]
    for layer in range(backbone.num_layers):  # run anew, since ALBERT's layers share blocks
        x = blocks[layer * len(blocks) // backbone.num_layers](x, padding_mask=backbone.input["padding_mask"])
        states.append(x)
    return keras.Model(backbone.input, states)


def get_blocks(backbone: keras.Model) -> list[keras.layers.Layer]:
    """The transformer blocks, each once."""
    if isinstance(backbone, Backbone):
        return list(backbone.blocks)
    blocks = []
    for layer in backbone.transformer_layers:
        blocks += layer if isinstance(layer, list) else [layer]
    return blocks


def find_variables(backbone: keras.Model) -> dict[str, keras.Variable]:
    """The variables by our names."""
    if isinstance(backbone, Backbone):
        return backbone.find_variables()
    if type(backbone).__name__ == KERAS_DEBERTA:
        return _find_deberta_variables(backbone)
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


def _find_deberta_variables(backbone: keras.Model) -> dict[str, keras.Variable]:
    """Those of KerasHub's DeBERTa v3 by our names."""
    parts = {
        "query": "self_attention_layer/query",
        "key": "self_attention_layer/key",
        "value": "self_attention_layer/value",
        "attention_output": "self_attention_layer/attention_output",
        "attention_norm": "self_attention_layer_norm",
        "intermediate": "feedforward_intermediate_dense",
        "output": "feedforward_output_dense",
        "output_norm": "feedforward_layer_norm",
    }
    names = {
        "token_embedding/embeddings": "token_embedding",
        "rel_embedding/rel_embedding": "distance_embedding",
        "embeddings_layer_norm": "embeddings_norm",
        "rel_embedding/rel_embeddings_layer_norm": "distance_norm",
    }
    for layer in range(backbone.num_layers):
        start = f"disentangled_attention_encoder_layer_{layer}"
        names |= {f"{start}/{theirs}": f"block_{layer}.{ours}" for ours, theirs in parts.items()}
    found = {}
    for variable in backbone.weights:
        stem, _, end = variable.path.rpartition("/")
        found[names.get(variable.path) or f"{names[stem]}.{end}"] = variable
    return found
