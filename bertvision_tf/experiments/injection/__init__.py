"""The research's injections: weights put back into a fine-tuned encoder, and layers fed into blocks of a frozen one."""

from ...reports.injections import plot_layer_injection, plot_weight_injection
from .layers import InjectionPlace, LayerCell, build_injected, inject_layers
from .weights import WeightCell, WeightInjection, choose_weights, inject_weights, open_fine_tuned, put_back

__all__ = [
    "InjectionPlace",
    "LayerCell",
    "WeightCell",
    "WeightInjection",
    "build_injected",
    "choose_weights",
    "inject_layers",
    "inject_weights",
    "open_fine_tuned",
    "plot_layer_injection",
    "plot_weight_injection",
    "put_back",
]
