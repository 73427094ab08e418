"""The Keras layers a head is made of; each reads the image (batch, num_hidden_states, tokens, hidden_dim).

Padding is masked by each layer that mixes tokens: those whose `call` takes `padding_mask`, such as TokenPooling and
ImageConvolution. MaskTokens sets padded cells to 0 before another layer reads them.
"""

from .adapter_pooler import AdapterPooler
from .conv1x1_adapter import Conv1x1Adapter
from .detect_parts import DetectParts
from .image_convolution import ImageConvolution
from .kernel_readout import KernelReadout
from .layer_average_pooling import LayerAveragePooling
from .layer_dropout import LayerDropout
from .layer_injection import LayerInjection
from .layer_weight_pooling import LayerWeightPooling
from .mask_tokens import MaskTokens
from .masked_batch_normalization import MaskedBatchNormalization
from .pair_comparison import PairSimilarities, PairViews
from .resize_image import ResizeImage
from .select_layer import SelectLayer
from .similarity_image import SimilarityImage, SimilarityReader
from .span_logits import SpanLogits
from .standardize_states import StandardizeStates
from .token_attention import TokenAttention
from .token_cutout import TokenCutout
from .token_pooling import TokenPooling

__all__ = [
    "AdapterPooler",
    "Conv1x1Adapter",
    "DetectParts",
    "ImageConvolution",
    "KernelReadout",
    "LayerAveragePooling",
    "LayerDropout",
    "LayerInjection",
    "LayerWeightPooling",
    "MaskTokens",
    "MaskedBatchNormalization",
    "PairSimilarities",
    "PairViews",
    "ResizeImage",
    "SelectLayer",
    "SimilarityImage",
    "SimilarityReader",
    "SpanLogits",
    "StandardizeStates",
    "TokenAttention",
    "TokenCutout",
    "TokenPooling",
]
