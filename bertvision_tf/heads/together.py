"""Several heads run side by side on one batch: what gives all of them the same is computed once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Any

import keras

from ..layers import StandardizeStates

Tensor = Any
FIXED = (StandardizeStates, keras.layers.Normalization)  # whose weights are set before training


class HeadsTogether:
    """Calls heads on one batch; each gives what it gives alone, within float32's noise.

    The heads are walked in step. A layer that several of them have, on the same tensor, is called once where it trains
    nothing and draws nothing. Layers that train are one matrix product or convolution where their class has
    `call_together`, they are of one `kin`, and they read the same tensor. All others are called head by head, so that
    heads of any kind can stand together.

    Args:
        heads: models, built and adapted. Functional ones are walked; another is called as a whole.
        stacked: whether layers are called with `call_together`, which symbolic tensors do not allow.

    Example:
        >>> heads = [build_head("adapter_8_shared", num_hidden_states=3, hidden_dim=6) for _ in range(5)]
        >>> images = {"hidden_states": np.ones((2, 3, 4, 6), "float32"), "padding_mask": np.ones((2, 4), "int32")}
        >>> len(HeadsTogether(heads)(images))
        5
    """

    def __init__(self, heads: Sequence[keras.Model], stacked: bool = True):
        self.heads, self._stacked = list(heads), stacked
        several = self.heads if len(self.heads) > 1 else []  # one shares nothing: its weights need not be read
        self._signs = {id(layer): _sign(layer) for head in several for layer in head.layers}

    def __call__(
        self, images: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]], training: bool = False
    ) -> list[Any]:
        """The output of each head.

        Args:
            images: a batch: images, or what `split_head` measures of them, by name; or the batch of each head.
            training: whether dropout draws.
        """
        batches = [images] * len(self.heads) if isinstance(images, Mapping) else list(images)
        if len(self.heads) == 1:
            return [self.heads[0](batches[0], training=training)]
        kinds = {name: symbol.dtype for head in self.heads for name, symbol in head.input.items()}
        cast = {  # one that several heads read is cast once
            id(batch): {name: _cast(batch[name], kind) for name, kind in kinds.items() if name in batch}
            for batch in batches
        }
        outputs: list[Any] = [None] * len(self.heads)
        walks = [_walk(head, cast[id(batch)], training) for head, batch in zip(self.heads, batches, strict=True)]
        calls = {place: next(walk) for place, walk in enumerate(walks)}
        known: dict[Hashable, tuple[_Call, Any]] = {}  # with the call, whose tensors keep their ids so
        while calls:
            groups: dict[Hashable, list[int]] = {}
            for place, call in calls.items():
                groups.setdefault(self._name(call), []).append(place)
            for name, places in groups.items():
                results = self._run([calls[place] for place in places], name, known)
                for place, result in zip(places, results, strict=True):
                    try:
                        calls[place] = walks[place].send(result)
                    except StopIteration as end:
                        outputs[place] = end.value
                        del calls[place]
        return outputs

    def _name(self, call: _Call) -> Hashable:
        """The same for calls that are one."""
        tensors = keras.tree.flatten((call.args, dict(call.kwargs)))
        return self._signs.get(id(call.layer), id(call.layer)), *map(id, tensors)

    def _run(self, calls: Sequence[_Call], name: Hashable, known: dict[Hashable, tuple[_Call, Any]]) -> Sequence[Any]:
        """What each of these calls gives."""
        first = calls[0]
        if len(calls) > 1 and hasattr(first.layer, "call_together"):
            if not self._stacked:
                return [call.layer(*call.args, **call.kwargs) for call in calls]
            return type(first.layer).call_together([call.layer for call in calls], *first.args, **first.kwargs)
        if name not in known:
            known[name] = first, first.layer(*first.args, **first.kwargs)
        return [known[name][1]] * len(calls)


@dataclasses.dataclass(frozen=True)
class _Call:
    """A layer of a head, and what it is about to read."""

    layer: Any
    args: tuple
    kwargs: Mapping[str, Any]


def _cast(tensor: Tensor, kind: str) -> Tensor:
    """A tensor in a dtype; itself if it is of it."""
    return tensor if keras.backend.standardize_dtype(tensor.dtype) == kind else keras.ops.cast(tensor, kind)


def _walk(head: keras.Model, images: Mapping[str, Tensor], training: bool) -> Generator[_Call, Any, Any]:
    """Yields the calls of a head's layers one after the other, is sent what each gives, and returns the output."""
    if not hasattr(head, "_nodes_by_depth"):
        return (yield _Call(head, (images,), {"training": training}))
    tensors = {id(symbol): images.get(name) for name, symbol in head.input.items()}
    for depth in sorted(head._nodes_by_depth, reverse=True):
        for node in head._nodes_by_depth[depth]:
            if node.is_input or any(id(symbol) not in tensors for symbol in node.input_tensors):
                continue
            args, kwargs = node.arguments.fill_in(tensors)
            if getattr(node.operation, "_call_has_training_arg", False):
                kwargs = {**kwargs, "training": training}
            result = yield _Call(node.operation, args, kwargs)
            tensors |= {id(symbol): part for symbol, part in zip(node.outputs, keras.tree.flatten(result), strict=True)}
    return keras.tree.map_structure(lambda symbol: tensors[id(symbol)], head.output)


def _sign(layer: keras.layers.Layer) -> Hashable:
    """The same for layers that give the same of the same tensor, or that are called together; else one of its own."""
    kin = getattr(layer, "kin", None)
    if kin is not None:
        return type(layer), kin
    draws = len(layer.variables) > len(layer.weights)
    fixed = not layer.weights or isinstance(layer, FIXED)
    if draws or not fixed or layer.trainable_variables or isinstance(layer, keras.Model):
        return id(layer)
    settings = {name: value for name, value in layer.get_config().items() if name not in ("name", "trainable")}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for weight in layer.get_weights():
        digest.update(weight.tobytes())
    return type(layer), digest.hexdigest()
