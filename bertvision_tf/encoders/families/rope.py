"""What config.json says of rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...settings.checks import is_number


def read_base(parameters: Any, old: Any, entry: str, usual: float) -> float:
    """The base of the rotation.

    Args:
        parameters: `rope_parameters`, or its part of a kind of layers; None where it is not said.
        old: the value of the older entry, which counts where `parameters` has none; None where it is not said.
        entry: the older entry's name.
        usual: where neither says it.

    Raises:
        ValueError: the rotation is scaled, or the base is none.
    """
    own = {} if parameters is None else parameters
    if not isinstance(own, Mapping):
        raise ValueError(f"rope_parameters needs an object of settings, got {own!r}.")
    kind = own.get("rope_type", own.get("type", "default"))
    if kind not in ("default", None):
        raise ValueError(f"rope_parameters says {kind!r}, which scales the rotation; only 'default' is read.")
    base = own.get("rope_theta", old)
    base = usual if base is None else base
    if not is_number(base) or not base > 1:
        raise ValueError(f"{entry} needs a number above 1, got {base!r}.")
    return float(base)


def check_head_dim(config: Mapping[str, Any]) -> None:
    """Raises ValueError where attention's heads have no even width, halves of which are rotated, or another than the
    hidden size leaves them."""
    width = config["hidden_size"] // config["num_attention_heads"]
    if width % 2 or config.get("head_dim") not in (None, width):
        raise ValueError(
            f"head_dim needs to be hidden_size / num_attention_heads, and even; got {config.get('head_dim', width)}."
        )
