"""The start and the end of a span, scored at every token."""

import keras
from keras import ops

from ..errors import HeadError
from .shapes import Shape

PADDING_LOGIT = -1e9  # its softmax is 0 in float32, and a whole row of it still has a softmax without NaN


@keras.saving.register_keras_serializable(package="bertvision_tf")
class SpanLogits(keras.layers.Layer):
    """Splits two numbers a token into start and end logits, and closes padded tokens with -1e9.

    It computes in float32 whatever the dtype policy, and trains nothing. "No answer" is position 0.

    Call arguments:
        logits: float, (batch, tokens, 2).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token.
    Output: {"start_logits", "end_logits"}, each float32, (batch, tokens).
    Raises:
        HeadError (a ValueError): logits are not (batch, tokens, 2).
    Example:
        >>> SpanLogits()(np.ones((1, 3, 2), "float32"), np.array([[1, 1, 0]]))["start_logits"].numpy()
        array([[ 1.e+00,  1.e+00, -1.e+09]], dtype=float32)
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, logits_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        if len(logits_shape) != 3 or logits_shape[2] != 2:
            raise HeadError(f"`logits` needs 3 axes (batch, tokens, 2), got shape {tuple(logits_shape)}.")

    def call(self, logits, padding_mask):
        real = ops.cast(padding_mask, "bool")  # (batch, tokens)
        start = ops.where(real, logits[..., 0], PADDING_LOGIT)  # (batch, tokens)
        end = ops.where(real, logits[..., 1], PADDING_LOGIT)  # (batch, tokens)
        return {"start_logits": start, "end_logits": end}

    def compute_output_shape(self, logits_shape: Shape, padding_mask_shape: Shape | None = None) -> dict:
        shape = tuple(logits_shape[:2])
        return {"start_logits": shape, "end_logits": shape}
