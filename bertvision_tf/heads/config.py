"""A head as data: what it is made of, checked, to and from JSON. No Keras in here.

Over 300 lines, since each choice stands beside its check, and what contradicts what stands below.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, TypeVar

from ..errors import HeadError


class Convolution(StrEnum):
    """What edits the image before anything is pooled."""

    NONE = "none"
    CONV1X1_ADAPTER = "conv1x1_adapter"


class Body(StrEnum):
    """What reads the image after the adapter, if anything does."""

    NONE = "none"
    CNN = "cnn"
    XCEPTION = "xception"
    XCEPTION_ABBREVIATED = "xception_abbreviated"
    INCEPTION = "inception"
    VISION = "vision"


class Solver(StrEnum):
    """How the readout of a head that is fitted at once is found."""

    REGRESSION = "regression"
    GROUPS = "groups"
    KERNEL = "kernel"


class VisionView(StrEnum):
    """What a vision backbone sees as height and width."""

    LAYERS_TOKENS = "layers_tokens"
    HIDDEN_LAYERS = "hidden_layers"


class Pooling(StrEnum):
    """How the layers become one, if they do."""

    NONE = "none"
    LAST = "last"
    AVERAGE = "average"
    LEARNED = "learned"


class TokenPoolingMode(StrEnum):
    """How the tokens become one vector; a span head, which keeps its tokens, does not read it."""

    MEAN = "mean"
    MAX = "max"
    CLS = "cls"
    FLAT = "flat"
    MEAN_MAX_CLS = "mean_max_cls"
    ATTENTION = "attention"


class HeadKind(StrEnum):
    """What a head is asked for: labels, scores, or a span of the tokens."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    SPAN = "span"


Choice = TypeVar("Choice", bound=StrEnum)
Check = Callable[[str, Any], object]


def choose(choices: type[Choice], name: str, value: object) -> Choice:
    """Returns the member of `choices` that `value` names, or raises HeadError with those there are."""
    try:
        return choices(value)  # type: ignore[arg-type]
    except ValueError:
        raise HeadError(f"`{name}` needs one of {', '.join(choices)}, got {value!r}.") from None


def _one_of(choices: type[StrEnum]) -> dict[str, Check]:
    return {"check": lambda name, value: choose(choices, name, value)}


def _check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise HeadError(f"`{name}` needs true or false, got {value!r}.")
    return value


def _check_size(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise HeadError(f"`{name}` needs a whole number above 0, or none, got {value!r}.")
    return value


def _check_rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise HeadError(f"`{name}` needs a share from 0 up to (and without) 1, got {value!r}.")
    return float(value)


def _check_name(name: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise HeadError(f"`{name}` needs a name, or none, got {value!r}.")
    return value


# How a field is checked: a function of its name and value that returns the value, or raises HeadError.
_FLAG: dict[str, Check] = {"check": _check_flag}
_SIZE: dict[str, Check] = {"check": _check_size}
_NAME: dict[str, Check] = {"check": _check_name}
_RATE: dict[str, Check] = {"check": _check_rate}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """One head, in the order an image passes through it. Choices may be given as strings.

    Args:
        comparison: for pairs: the image becomes three views of the two texts (mean, |a - b|, a * b of their means),
            and five similarities a layer go beside them into the last dense layer; all on one scale, by statistics
            set from data. Pooling and adapter read the views as they would tokens.
        views_dropout: in a comparison, the share of the views' channels dropped in training before the adapter,
            0 <= views_dropout < 1.
        similarity_dim: int > 0: in a comparison, the width of a small convolutional network on the picture of cosines
            between tokens of the one text and of the other, whose features go beside them too.
        standardize: bring every (layer, channel) to mean 0 and deviation 1, by statistics set from data.
        convolution: "none", or "conv1x1_adapter": a bottleneck of `convolution_dim` with a residual.
        convolution_dim: int > 0, the width of that bottleneck; None without one.
        token_cutout: share of neighbouring tokens missing in training, 0 <= token_cutout < 1.
        layer_dropout: share of whole layers dropped in training, 0 <= layer_dropout < 1.
        pooling: "none", "last", "average" or "learned": how the layers become one, if they do.
        adapter_dim: int > 0, the width every cell is projected to; None leaves the cells as they are.
        shared: one adapter for all layers, or (False) one for each.
        parts_dim: int > 0: instead of an adapter, a learned vector is added to each layer, then dense to this width,
            SiLU and layer normalisation; the flattened features pass a GELU.
        body: "none"; "cnn", convolutions that keep the tokens; "inception", which keeps them too; "xception" or
            "xception_abbreviated", which read the pooled tokens as a picture of width hidden with the layers as
            channels, and the tokens themselves in a span head, whose layers must be pooled.
        cnn_dim, cnn_kernel: int > 0, the width of the "cnn" and its N.
        cnn_square: N x N over layers and tokens, before the layers are pooled, instead of 1 x N.
        cnn_dilated: four more convolutions, of dilations 2, 4, 8 and 16.
        vision: the network of body "vision": a name of keras.applications, or a KerasHub preset of an image backbone.
        vision_weights: "imagenet", a weights file, or None for random ones.
        vision_view: "layers_tokens", each cell projected to three channels; or "hidden_layers", the pooled tokens.
        vision_size: int > 0, height and width that the picture is stretched to.
        pooled_branch: beside the features those of an adapter of its own over the learned pooling of the layers.
        skip: concatenate the final block's hidden state before the last dense layer.
        token_pooling: "mean", "max", "cls", "flat", "mean_max_cls" or "attention" (a learned query a layer); a span
            head does not read it.
        dropout: share of features dropped in training before the last dense layer, 0 <= dropout < 1.
        linear: only the last layer is trained, at once. It reads the pooled tokens of the layers, each (layer, channel)
            on one scale. In a comparison it reads the views and the similarities.
        solver: how, with `linear`: "regression", regularised; "groups", regression that drops whole layers (in a
            comparison, views of layers); or "kernel", ridge regression on likenesses to the training rows.
    Raises:
        HeadError: a value out of bounds, or two that contradict each other; the message names them.
    Example:
        >>> HeadConfig(adapter_dim=386, skip=True) == get_preset("adapter_386_shared_skip")
        True
    """

    comparison: bool = field(default=False, metadata=_FLAG)
    views_dropout: float = field(default=0.0, metadata=_RATE)
    similarity_dim: int | None = field(default=None, metadata=_SIZE)
    standardize: bool = field(default=False, metadata=_FLAG)
    convolution: Convolution = field(default=Convolution.NONE, metadata=_one_of(Convolution))
    convolution_dim: int | None = field(default=None, metadata=_SIZE)
    token_cutout: float = field(default=0.0, metadata=_RATE)
    layer_dropout: float = field(default=0.0, metadata=_RATE)
    pooling: Pooling = field(default=Pooling.NONE, metadata=_one_of(Pooling))
    adapter_dim: int | None = field(default=None, metadata=_SIZE)
    shared: bool = field(default=True, metadata=_FLAG)
    parts_dim: int | None = field(default=None, metadata=_SIZE)
    body: Body = field(default=Body.NONE, metadata=_one_of(Body))
    cnn_dim: int | None = field(default=None, metadata=_SIZE)
    cnn_kernel: int | None = field(default=None, metadata=_SIZE)
    cnn_square: bool = field(default=False, metadata=_FLAG)
    cnn_dilated: bool = field(default=False, metadata=_FLAG)
    vision: str | None = field(default=None, metadata=_NAME)
    vision_weights: str | None = field(default=None, metadata=_NAME)
    vision_view: VisionView = field(default=VisionView.LAYERS_TOKENS, metadata=_one_of(VisionView))
    vision_size: int = field(default=96, metadata=_SIZE)
    pooled_branch: bool = field(default=False, metadata=_FLAG)
    skip: bool = field(default=False, metadata=_FLAG)
    token_pooling: TokenPoolingMode = field(default=TokenPoolingMode.MEAN, metadata=_one_of(TokenPoolingMode))
    dropout: float = field(default=0.0, metadata=_RATE)
    linear: bool = field(default=False, metadata=_FLAG)
    solver: Solver = field(default=Solver.REGRESSION, metadata=_one_of(Solver))

    def __post_init__(self) -> None:
        for own in dataclasses.fields(self):
            object.__setattr__(self, own.name, own.metadata["check"](own.name, getattr(self, own.name)))
        for contradiction in _find_contradictions(self):
            raise HeadError(contradiction)

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain Python, choices as strings; `linear` and `solver` only where they are set, as older
        configs lack them."""
        values = dataclasses.asdict(self)
        for own in dataclasses.fields(self):
            if own.name in ("linear", "solver") and values[own.name] == own.default:
                del values[own.name]
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in values.items()}

    def to_json(self) -> str:
        """One line of JSON with every field, in the order of the fields."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HeadConfig":
        """The config of `values`; a key that is no field is refused by name."""
        fields = [own.name for own in dataclasses.fields(cls)]
        unknown = [repr(key) for key in values if key not in fields]
        if unknown:
            raise HeadError(f"A head has no field {', '.join(unknown)}. Its fields: {', '.join(fields)}.")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> "HeadConfig":
        """The config written by `to_json`; fields left out take their defaults."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise HeadError(f"A head needs a JSON object, and this is no JSON: {error}.") from None
        if not isinstance(values, dict):
            raise HeadError(f"A head needs a JSON object, got {text.strip()[:60]!r}.")
        return cls.from_dict(values)


_ONE_VECTOR = (Body.XCEPTION, Body.XCEPTION_ABBREVIATED, Body.VISION)


def _find_contradictions(config: HeadConfig) -> Iterator[str]:
    """One line for each pair of fields that cannot both be meant."""
    convolved = config.convolution is not Convolution.NONE
    last = config.pooling is Pooling.LAST
    branches = config.skip or config.pooled_branch or config.parts_dim or config.body is not Body.NONE
    trained = config.layer_dropout or config.token_cutout or config.views_dropout or config.dropout
    if config.linear and (
        convolved
        or branches
        or trained
        or config.standardize
        or config.adapter_dim
        or config.similarity_dim
        or config.pooling is Pooling.LEARNED
        or config.token_pooling in (TokenPoolingMode.FLAT, TokenPoolingMode.ATTENTION)
    ):
        yield (
            "`linear=True` trains nothing but the last layer: it goes with `comparison`, a fixed `pooling`, and a "
            "`token_pooling` of mean, max, cls or mean_max_cls alone."
        )
    if config.solver is not Solver.REGRESSION and not config.linear:
        yield f"`solver='{config.solver}'` fits a head at once: set `linear=True`, or leave it out."
    if config.solver is Solver.GROUPS and config.comparison and config.pooling is not Pooling.NONE:
        yield "`solver='groups'` drops layers, and `pooling` leaves one of a comparison: leave one of the two out."
    if config.comparison and (
        config.standardize or convolved or branches or config.layer_dropout or config.token_cutout
    ):
        yield "`comparison=True` goes with `pooling`, `adapter_dim` and `dropout` alone: leave the others out."
    if (config.similarity_dim or config.views_dropout) and not config.comparison:
        yield "`similarity_dim` and `views_dropout` go with pairs: set `comparison=True`, or leave them out."
    if config.comparison and (not config.shared or config.token_pooling is not TokenPoolingMode.MEAN):
        yield "`comparison=True` has views instead of tokens: leave `shared` and `token_pooling` out."
    if convolved and config.convolution_dim is None:
        yield f"`convolution='{config.convolution}'` needs its width: set `convolution_dim`."
    if config.convolution_dim is not None and not convolved:
        yield (
            f"`convolution_dim={config.convolution_dim}` has no convolution to widen: "
            "set `convolution='conv1x1_adapter'`, or leave it out."
        )
    cnn = config.body is Body.CNN
    if cnn != (config.cnn_dim is not None) or cnn != (config.cnn_kernel is not None):
        yield "`body='cnn'`, `cnn_dim` and `cnn_kernel` go together: set all three, or leave all out."
    if (config.cnn_square or config.cnn_dilated) and not cnn:
        yield "`cnn_square` and `cnn_dilated` go with `body='cnn'`: set it, or leave them out."
    if (config.body is Body.VISION) != (config.vision is not None):
        yield "`body='vision'` and the name of its network, `vision`, go together: set both, or leave both out."
    if config.vision is None and (config.vision_weights or config.vision_view is not VisionView.LAYERS_TOKENS):
        yield "`vision_weights` and `vision_view` go with `body='vision'`: set it, or leave them out."
    if config.body in _ONE_VECTOR and config.token_pooling is TokenPoolingMode.FLAT:
        yield f"`body='{config.body}'` reads pooled tokens: choose another `token_pooling` than 'flat'."
    if config.parts_dim is not None and config.adapter_dim is not None:
        yield "`parts_dim` stands in an adapter's place: leave `adapter_dim` out, or it."
    if config.pooled_branch and (config.adapter_dim is None or config.pooling is not Pooling.NONE):
        yield "`pooled_branch=True` goes beside an adapter over all layers: set `adapter_dim`, and `pooling='none'`."
    if not config.shared and config.adapter_dim is None:
        yield "`shared=False` has no adapter to share or not: set `adapter_dim`, or leave it out."
    if not config.shared and config.pooling is not Pooling.NONE:
        yield (
            f"`shared=False` needs many layers, and `pooling='{config.pooling}'` leaves one: "
            "set `pooling='none'` or `shared=True`."
        )
    plain = config.adapter_dim is None and config.parts_dim is None and config.body is Body.NONE
    if config.skip and last and plain and not convolved:
        yield (
            "`skip=True` puts the final block's state beside itself where `pooling='last'` and no adapter or "
            "convolution stands between: set `adapter_dim`, or leave `skip` out."
        )
    if config.layer_dropout > 0 and last:
        yield (
            f"`layer_dropout={config.layer_dropout}` drops layers that `pooling='last'` never reads: "
            "choose another pooling, or leave it out."
        )
