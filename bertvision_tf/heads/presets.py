"""Names for heads: a grammar that reads any width, and the rows of the published tables. No Keras in here."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..checksums import check_file
from ..errors import HeadError
from ..paths import read_object, read_path
from .config import Body, Convolution, HeadConfig, Pooling, Solver, TokenPoolingMode, VisionView

_POOLINGS = {
    "last_layer": Pooling.LAST,
    "average_pooling": Pooling.AVERAGE,
    "learned_pooling": Pooling.LEARNED,
}
_SOLVERS = {"linear": Solver.REGRESSION, "sparse": Solver.GROUPS, "kernel": Solver.KERNEL}
_SOLVED = re.compile(
    rf"(?P<solver>{'|'.join(_SOLVERS)})_"
    r"(?:comparison|(?P<layers>all_layers|last_layer)(?:_(?P<tokens>max|mean_max_cls|cls))?)"
)
SOLVED = (
    *("linear_last_layer", "linear_all_layers", "linear_all_layers_mean_max_cls", "linear_comparison"),
    *("sparse_all_layers", "sparse_comparison", "kernel_all_layers", "kernel_comparison"),
)
"""Heads that are fitted at once; those of layers may end in `_max`, `_mean_max_cls` or `_cls`."""
_DIM = r"[1-9][0-9]*"
_STANDARDIZED = "standardized_"
_ENDINGS = {"_cls": TokenPoolingMode.CLS, "_flat": TokenPoolingMode.FLAT, "_attention": TokenPoolingMode.ATTENTION}


class _Family(NamedTuple):
    """A kind of name: how it is read, how it is shown to a user, and the fields that it sets."""

    pattern: str
    shown: str
    fields: Callable[[Mapping[str, str | None]], dict]


def _pooled(parts: Mapping[str, str | None]) -> dict:
    dim = parts["dim"]
    return {
        "pooling": _POOLINGS[str(parts["pooling"])],
        "adapter_dim": int(dim) if dim else None,
        "skip": bool(parts["skip"]),
    }


def _adapted(parts: Mapping[str, str | None]) -> dict:
    return {
        "adapter_dim": int(str(parts["dim"])),
        "shared": parts["sharing"] == "shared",
        "skip": bool(parts["skip"]),
        "pooled_branch": bool(parts["branch"]),
    }


def _convolved(parts: Mapping[str, str | None]) -> dict:
    return {
        "convolution": Convolution.CONV1X1_ADAPTER,
        "convolution_dim": int(str(parts["dim"])),
        "pooling": Pooling.LEARNED,
    }


def _compared(parts: Mapping[str, str | None]) -> dict:
    return {
        "comparison": True,
        "pooling": Pooling.LEARNED,
        "adapter_dim": int(str(parts["dim"])),
        "similarity_dim": int(parts["similarity"]) if parts["similarity"] else None,
        "views_dropout": 0.6,
        "dropout": 0.3,
    }


def _solved(solver: str, layers: str | None, tokens: str | None) -> HeadConfig:
    """A head that is fitted at once: on a comparison, or on layers and what is read of their tokens."""
    if layers is None:
        return HeadConfig(linear=True, solver=_SOLVERS[solver], comparison=True)
    pooling = Pooling.LAST if layers == "last_layer" else Pooling.NONE
    tokens = TokenPoolingMode(tokens or "mean")
    return HeadConfig(linear=True, solver=_SOLVERS[solver], pooling=pooling, token_pooling=tokens)


def _cnn(parts: Mapping[str, str | None]) -> dict:
    dim, pooling = parts["dim"], parts["pooling"]
    return {
        "pooling": _POOLINGS[pooling] if pooling else Pooling.NONE,
        "adapter_dim": int(dim) if dim else None,
        "body": Body.CNN,
        "cnn_kernel": int(str(parts["size"] or parts["square"])),
        "cnn_dim": int(str(parts["width"])),
        "cnn_square": bool(parts["square"]),
        "cnn_dilated": bool(parts["dilated"]),
    }


def _network(parts: Mapping[str, str | None]) -> dict:
    dim, pooling = parts["dim"], parts["pooling"]
    return {
        "pooling": _POOLINGS[pooling] if pooling else Pooling.NONE,
        "adapter_dim": int(dim) if dim else None,
        "body": Body(str(parts["body"])),
        "skip": bool(parts["skip"]),
    }


def _parts(parts: Mapping[str, str | None]) -> dict:
    return {"parts_dim": int(parts["dim"] or 128), "dropout": 0.3}


def _vision(parts: Mapping[str, str | None]) -> dict:
    return {
        "body": Body.VISION,
        "vision": parts["network"],
        "vision_view": VisionView.HIDDEN_LAYERS if parts["view"] else VisionView.LAYERS_TOKENS,
        "vision_weights": "imagenet" if parts["weights"] else None,
    }


_FRONT = rf"((?P<pooling>{'|'.join(_POOLINGS)})_)?(adapter_(?P<dim>{_DIM})_)?"
_FAMILIES = (
    _Family(
        rf"(?P<pooling>{'|'.join(_POOLINGS)})(_adapter_(?P<dim>{_DIM}))?(?P<skip>_skip)?",
        f"{'|'.join(_POOLINGS)}[_adapter_D][_skip]",
        _pooled,
    ),
    _Family(
        rf"adapter_(?P<dim>{_DIM})_(?P<sharing>shared|unshared)(?P<skip>_skip)?(?P<branch>_pooled_branch)?",
        "adapter_D_shared|unshared[_skip][_pooled_branch]",
        _adapted,
    ),
    _Family(rf"conv1x1_adapter_(?P<dim>{_DIM})_residual", "conv1x1_adapter_D_residual", _convolved),
    _Family(
        _FRONT + rf"cnn_(1x(?P<size>[1-9])|(?P<square>[2-9])x(?P=square))_(?P<width>{_DIM})(?P<dilated>_dilated)?",
        "[POOLING_][adapter_D_]cnn_1xN|NxN_D[_dilated]",
        _cnn,
    ),
    _Family(
        _FRONT + r"(?P<body>xception|xception_abbreviated|inception)(?P<skip>_skip)?",
        "[POOLING_][adapter_D_]xception|xception_abbreviated|inception[_skip]",
        _network,
    ),
    _Family(
        r"vision_(?P<network>[A-Za-z][A-Za-z0-9_]*?)(?P<view>_hidden)?(?P<weights>_pretrained)?",
        "vision_NETWORK[_hidden][_pretrained]",
        _vision,
    ),
    _Family(rf"detect_parts(_(?P<dim>{_DIM}))?", "detect_parts[_D]", _parts),
    _Family(
        rf"comparison_adapter_(?P<dim>{_DIM})(_similarity_(?P<similarity>{_DIM}))?",
        "comparison_adapter_D[_similarity_D]",
        _compared,
    ),
)
GRAMMAR = (
    "; ".join(family.shown for family in _FAMILIES)
    + f"; each may begin with {_STANDARDIZED} and end in _cls, _flat or _attention; D is any width"
)


def get_preset(name: str) -> HeadConfig:
    """Returns the head that a name stands for.

    `adapter_386_shared_skip` is a shared adapter of 386 with the final block's state beside it, and so on for
    any width. One name serves classification, scores and spans. Tokens are pooled by their masked mean unless
    the name ends in `_cls`, `_flat` or `_attention`; a span head keeps its tokens. `standardized_` before a name puts
    each (layer, channel) of the image on one scale first. `comparison_adapter_64` reads pairs of texts only.
    `linear_all_layers`, `sparse_all_layers` and `kernel_all_layers` are fitted at once.

    Raises:
        HeadError: no such name; the message has near ones and the grammar.
    Example:
        >>> get_preset("learned_pooling_cls") == HeadConfig(pooling="learned", token_pooling="cls")
        True
    """
    if not isinstance(name, str):
        raise HeadError(f"A head is a preset's name or a HeadConfig, got {type(name).__name__}.")
    solved = _SOLVED.fullmatch(name)
    if solved:
        return _solved(**solved.groupdict())
    stem, token_pooling = name, TokenPoolingMode.MEAN
    for ending, mode in _ENDINGS.items():
        if name.endswith(ending):
            stem, token_pooling = name.removesuffix(ending), mode
    standardize = stem.startswith(_STANDARDIZED)
    stem = stem.removeprefix(_STANDARDIZED)
    for family in _FAMILIES:
        found = re.fullmatch(family.pattern, stem)
        if found:
            fields = family.fields(found.groupdict())
            return HeadConfig(**fields, standardize=standardize, token_pooling=token_pooling)
    raise HeadError(
        f"No head is named {name!r}.{_near(name)} Fitted at once: {', '.join(SOLVED)}. Names are read as {GRAMMAR}."
    )


def list_presets() -> list[str]:
    """The names of PRESETS, in the order of the published tables; the grammar reads any other width too."""
    return list(PRESETS)


def _near(name: str) -> str:
    """The listed names nearest to this one, at the width that it asks for."""
    width = re.search(_DIM + r"(?=_|$)", name)
    listed = [re.sub(r"(?<=adapter_)" + _DIM, width[0], preset) if width else preset for preset in PRESETS]
    near = difflib.get_close_matches(name, list(dict.fromkeys([*listed, *SOLVED])), n=3, cutoff=0.5)
    return f" Near it: {', '.join(near)}." if near else ""


PRESETS: Mapping[str, HeadConfig] = MappingProxyType(
    {
        name: get_preset(name)
        for name in (
            "last_layer",
            "average_pooling",
            "learned_pooling",
            "adapter_64_shared",
            "adapter_64_shared_skip",
            "adapter_64_unshared",
            "adapter_64_unshared_skip",
            "adapter_386_shared",
            "adapter_386_shared_skip",
            "adapter_386_unshared",
            "adapter_386_unshared_skip",
            "adapter_386_shared_skip_pooled_branch",
            "learned_pooling_adapter_386_skip",
            "average_pooling_adapter_386_skip",
            "cnn_1x5_64",
            "cnn_1x5_64_dilated",
            "learned_pooling_cnn_1x5_60",
            "average_pooling_cnn_1x5_60",
            "learned_pooling_adapter_386_cnn_1x5_154",
            "learned_pooling_adapter_386_cnn_3x3_206",
            "learned_pooling_adapter_386_xception",
            "learned_pooling_adapter_386_inception",
            "xception",
            "xception_abbreviated",
            "xception_abbreviated_skip",
            "adapter_16_shared_flat",
            "detect_parts",
            "standardized_vision_MobileNetV3Small",
            "standardized_vision_MobileNetV3Small_hidden",
            "conv1x1_adapter_16_residual",
            "conv1x1_adapter_64_residual",
            "standardized_adapter_64_shared",
            "comparison_adapter_64",
            "comparison_adapter_64_similarity_8",
        )
    }
)


def read_head(file: str | Path) -> tuple[HeadConfig, dict[str, Any]]:
    """A head of a JSON file, and how it is trained, where a search wrote the file.

    Raises:
        HeadError: it cannot be read, is damaged, or holds no HeadConfig.
    """
    try:
        check_file(read_path(file), HeadError)
        text = read_path(file).read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=read_object)
    except HeadError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise HeadError(f"{file} cannot be read as a HeadConfig: {error}.") from None
    if isinstance(content, dict) and isinstance(content.get("head"), dict) and isinstance(content.get("fit"), dict):
        return HeadConfig.from_dict(content["head"]), content["fit"]
    return HeadConfig.from_json(text), {}
