"""What may be chosen: the fields of `HeadConfig`, and how a head is trained, as Keras Tuner's hyperparameters."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..heads import HeadConfig
from ..heads.config import Pooling
from ..kinds import Kind

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

HEAD: Mapping[str, Sequence[Any]] = {
    "comparison": (True, False),
    "views_dropout": (0.6, 0.3, 0.0),
    "similarity": (8, 0, 16),
    "standardize": (True, False),
    "convolution": ("none", "conv1x1_adapter"),
    "convolution_dim": (16, 8, 32, 64),
    "token_cutout": (0.0, 0.1, 0.3),
    "layer_dropout": (0.0, 0.1, 0.3),
    "pooling": ("none", "learned", "average", "last"),
    "front": ("adapter", "none", "parts", "unshared_adapter", "adapter_pooled_branch"),  # of all layers
    "single_front": ("adapter", "none", "parts"),  # of one
    "front_dim": (64, 16, 32, 128, 256),
    "body": ("none", "cnn"),  # NETWORKS too, of minutes a trial
    "cnn_dim": (32, 16, 64),
    "cnn_kernel": (5, 3),
    "cnn_square": (False, True),
    "cnn_dilated": (False, True),
    "skip": (False, True),
    "token_pooling": ("mean", "max", "cls", "mean_max_cls", "attention"),
    "dropout": (0.0, 0.1, 0.3, 0.5),
}
FIT: Mapping[str, Sequence[Any]] = {
    "learning_rate": (1e-3, 3e-4, 3e-3, 1e-2, 3e-2),
    "batch_size": (32, 16, 64),
    "weight_decay": (0.01, 0.0, 0.1),
    "mixup": (0.0, 0.2),
}
NETWORKS = ("inception", "xception", "xception_abbreviated")  # each reads one layer; of all, learned pooling makes one
SEVERAL = ("none", "learned", "average")  # poolings that read all layers


@dataclasses.dataclass(frozen=True)
class HeadSpace:
    """The heads that are searched, and how each is trained.

    Attributes:
        kind: of the task.
        pairs: whether its texts are pairs.
        tokens: "all" or "cls", as the states are.
        only: fewer or other values by name, of HEAD and FIT.
    """

    kind: Kind
    pairs: bool = False
    tokens: str = "all"
    only: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        known = {**HEAD, **FIT}
        for name, values in self.only.items():
            if name not in known:
                raise RunError(f"a search chooses no {name!r}; it chooses {', '.join(known)}.")
            if name == "body" and self.kind.answers and "xception_abbreviated" in values:
                raise RunError("'xception_abbreviated' shrinks what it reads: it answers no questions.")
            if not values or len({type(value) for value in (*values, known[name][0])}) > 1:
                raise RunError(f"{name!r} needs values as {', '.join(map(str, known[name]))}, got {values!r}.")

    def check(self) -> None:
        """Tries every value of `only` once, beside the first of the others.

        Raises:
            HeadError, RunError: no head or fit has it.
        """
        from keras_tuner import HyperParameters

        from ..training import FitConfig

        for name, values in self.only.items():
            for value in values:
                hp, space = HyperParameters(), dataclasses.replace(self, only={**self.only, name: [value]})
                FitConfig.for_head(space.choose_head(hp), **space.choose_fit(hp))

    def choose_head(self, hp: HyperParameters) -> HeadConfig:
        """The head that a trial's values make; values that cannot go together are not asked for together.

        Raises:
            HeadError: there is no such head.
        """
        compares = self.pairs and self.tokens == "all" and not self.kind.answers
        with contextlib.ExitStack() as scope:
            if compares:
                self._ask(hp, "comparison")
                for name in ("views_dropout", "similarity"):
                    self._ask(hp, name, below=("comparison", [True]))
                scope.enter_context(hp.conditional_scope("comparison", [False]))
            self._ask(hp, "standardize")
            self._ask(hp, "convolution")
            self._ask(hp, "convolution_dim", below=("convolution", ["conv1x1_adapter"]))
            self._ask(hp, "pooling")
            self._ask(hp, "front", below=("pooling", ["none"]))
            self._ask(hp, "single_front", below=("pooling", [one for one in HEAD["pooling"] if one != "none"]))
            for name in ("skip", "layer_dropout"):
                self._ask(hp, name, below=("pooling", list(SEVERAL)))
            self._ask(hp, "body")
            for name in ("cnn_dim", "cnn_kernel", "cnn_square", "cnn_dilated"):
                self._ask(hp, name, below=("body", ["cnn"]))
            if self.tokens == "all":
                self._ask(hp, "token_cutout")
                if not self.kind.answers:
                    self._ask(hp, "token_pooling")
        self._ask(hp, "front_dim")
        self._ask(hp, "dropout")
        return _read_head({name: hp.get(name) for name in HEAD if name in hp})

    def choose_fit(self, hp: HyperParameters) -> dict[str, Any]:
        """How a trial's head is trained: fields of FitConfig, after `choose_head` has chosen it.

        Heads that compare two texts are searched without mixup: it makes one pair of two, whose tokens are of both, and
        what a head measures of a pair only once would have to be measured anew in every step.
        """
        names = [name for name in FIT if name != "mixup" or self.kind.single]
        compares = "mixup" not in self.only and "comparison" in hp
        found = {
            name: self._ask(hp, name, below=("comparison", [False]) if name == "mixup" and compares else (None, None))
            for name in names
        }
        return {name: value for name, value in found.items() if value is not None}

    def _ask(
        self, hp: HyperParameters, name: str, below: tuple[str, list[Any]] | tuple[None, None] = (None, None)
    ) -> Any:
        """A value of HEAD or FIT; None where what it stands below has another value than those named."""
        values = list(self.only.get(name) or {**HEAD, **FIT}[name])
        parent = {"parent_name": below[0], "parent_values": below[1]}
        if len(values) == 1:
            return hp.Fixed(name, values[0], **parent)
        if isinstance(values[0], bool):
            return hp.Boolean(name, values[0], **parent)
        return hp.Choice(name, values, ordered=isinstance(values[0], (int, float)), **parent)


def read_only(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Values by name, of texts as "front_dim=16,64".

    Raises:
        RunError: one cannot be read.
    """
    only = {}
    for text in texts:
        name, _, values = text.partition("=")
        kind = type({**HEAD, **FIT}.get(name, ("",))[0])
        try:
            read = {"true": True, "false": False}.__getitem__ if kind is bool else kind
            only[name] = [read(value) for value in values.split(",")]
        except (KeyError, ValueError):
            raise RunError(f"{name!r} needs values as in {text.split('=')[0]}=A,B, got {text!r}.") from None
    return only


def _read_head(chosen: dict[str, Any]) -> HeadConfig:
    front, width = chosen.pop("front", None) or chosen.pop("single_front", "adapter"), chosen.pop("front_dim")
    if chosen.get("comparison"):
        similarity = chosen.pop("similarity")
        return HeadConfig(pooling=Pooling.LEARNED, adapter_dim=width, similarity_dim=similarity or None, **chosen)
    if chosen["body"] in NETWORKS and chosen["pooling"] == "none":
        chosen["pooling"], front = "learned", front if front in HEAD["single_front"] else "adapter"
    return HeadConfig(
        adapter_dim=width if "adapter" in front else None,
        shared=front != "unshared_adapter",
        pooled_branch=front == "adapter_pooled_branch",
        parts_dim=width if front == "parts" else None,
        **chosen,
    )
