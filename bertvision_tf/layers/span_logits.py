"""The start and the end of a span, scored at every token that can be one."""

import keras
from keras import ops

from ..errors import HeadError
from .shapes import Shape

PADDING_LOGIT = -1e9  # its softmax is 0 in float32, and a whole row of it still has a softmax without NaN


@keras.saving.register_keras_serializable(package="bertvision_tf")
class SpanLogits(keras.layers.Layer):
    """Splits two numbers a token into start and end logits, and closes with -1e9 what can be no part of an answer.

    That is padding; and where it is known which text a token is of, the first text and special tokens too. Position 0
    stays open: it says "no answer". The layer computes in float32 whatever the dtype policy, and trains nothing.

    Call arguments:
        logits: float, (batch, tokens, 2).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token.
        segment_ids: int, (batch, tokens), 1 from the second text on to the special token that ends it; or None.
    Output: {"start_logits", "end_logits"}, each float32, (batch, tokens).
    Raises:
        HeadError (a ValueError): logits are not (batch, tokens, 2).
    Example:
        >>> SpanLogits()(np.ones((1, 3, 2), "float32"), np.array([[1, 1, 0]]))["start_logits"].numpy()
        array([[ 1.e+00,  1.e+00, -1.e+09]], dtype=float32)
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, logits_shape: Shape, padding_mask_shape=None, segment_ids_shape=None) -> None:
        if len(logits_shape) != 3 or logits_shape[2] != 2:
            raise HeadError(f"`logits` needs 3 axes (batch, tokens, 2), got shape {tuple(logits_shape)}.")

    def call(self, logits, padding_mask, segment_ids=None):
        allowed = ops.cast(padding_mask, "bool")  # (batch, tokens)
        if segment_ids is not None:
            following = ops.pad(ops.cast(allowed[:, 1:], "int32"), ((0, 0), (0, 1)))  # the last real token is special
            context = ops.logical_and(ops.cast(following, "bool"), ops.equal(segment_ids, 1))
            first = ops.equal(ops.cumsum(ops.ones_like(following), axis=1), 1)
            allowed = ops.logical_and(allowed, ops.logical_or(context, first))
        start = ops.where(allowed, logits[..., 0], PADDING_LOGIT)  # (batch, tokens)
        end = ops.where(allowed, logits[..., 1], PADDING_LOGIT)  # (batch, tokens)
        return {"start_logits": start, "end_logits": end}

    def compute_output_shape(self, logits_shape: Shape, padding_mask_shape=None, segment_ids_shape=None) -> dict:
        shape = tuple(logits_shape[:2])
        return {"start_logits": shape, "end_logits": shape}
