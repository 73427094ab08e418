"""A store, or a live encoder, as a tf.data.Dataset of images.

Elements: `({"hidden_states", "padding_mask", "segment_ids"}, label)`, with hidden_states float32 (batch,
num_hidden_states, tokens, hidden_dim), the masks int32 (batch, tokens), label (batch,), or (batch, classes) where
several may hold; of a window of a context {"start", "end"}, each (batch,). Padding is on the right and 0.
"""

from .dataset import load_arrays
from .from_encoder import images_from_encoder, images_from_tokens
from .from_store import images_from_store, unpack_in_graph
from .plan import BatchPlan
from .tokenize import tokenize_examples

__all__ = [
    "BatchPlan",
    "images_from_encoder",
    "images_from_store",
    "images_from_tokens",
    "load_arrays",
    "tokenize_examples",
    "unpack_in_graph",
]
