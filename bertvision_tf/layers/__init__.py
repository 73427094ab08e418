"""The Keras layers a head is made of; each reads the image (batch, num_hidden_states, tokens, hidden_dim)."""

from bertvision_tf.layers.adapter_pooler import AdapterPooler
from bertvision_tf.layers.conv1x1_adapter import Conv1x1Adapter
from bertvision_tf.layers.layer_average_pooling import LayerAveragePooling
from bertvision_tf.layers.layer_dropout import LayerDropout
from bertvision_tf.layers.layer_weight_pooling import LayerWeightPooling
from bertvision_tf.layers.select_layer import SelectLayer
from bertvision_tf.layers.span_logits import SpanLogits
from bertvision_tf.layers.standardize_states import StandardizeStates
from bertvision_tf.layers.token_pooling import TokenPooling

__all__ = [
    "AdapterPooler",
    "Conv1x1Adapter",
    "LayerAveragePooling",
    "LayerDropout",
    "LayerWeightPooling",
    "SelectLayer",
    "SpanLogits",
    "StandardizeStates",
    "TokenPooling",
]
