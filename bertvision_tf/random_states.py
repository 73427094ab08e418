"""The random states of Python, numpy, TensorFlow and Keras, which belong to the caller."""

import contextlib
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])
KERAS_SEEDS = ("global_random_seed", "global_seed_generator")


@contextlib.contextmanager
def keep_random_states() -> Iterator[None]:
    """Puts the global seeds and generators back as they were, whatever the block seeds or draws. What single operations
    of TensorFlow count for themselves, those that were given a seed of their own, is out of reach. These states are the
    process's: what other threads draw meanwhile is drawn again.

    Example:
        >>> with keep_random_states():
        ...     keras.utils.set_random_seed(0)
        ...     head = build_head("learned_pooling", num_hidden_states=7, hidden_dim=384, num_outputs=2)
    """
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    tensorflow = context.context()
    drawn, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed, generator = tensorflow._seed, getattr(tensorflow, "_rng", None)  # there once the context has begun
    drawn_by_tensorflow = None if generator is None else generator.getstate()
    kept = {name: global_state.get_global_attribute(name) for name in KERAS_SEEDS}
    own = kept["global_seed_generator"]
    counted = None if own is None else own.state.numpy()
    try:
        yield
    finally:
        random.setstate(drawn)
        np.random.set_state(arrays)  # noqa: NPY002
        tensorflow._seed = seed
        if generator is not None:
            generator.setstate(drawn_by_tensorflow)
            tensorflow._rng = generator
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)
        if own is not None:
            own.state.assign(counted)


def keeps_random_states(function: Function) -> Function:
    """A function, or a generator of steps, around which `keep_random_states` stands."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with keep_random_states():
            return function(*arguments, **options)

    @functools.wraps(function)
    def step(*arguments: Any, **options: Any) -> Iterator[Any]:
        steps = function(*arguments, **options)
        while True:
            with keep_random_states():
                try:
                    value = next(steps)
                except StopIteration:
                    return
            yield value

    return step if inspect.isgeneratorfunction(function) else run  # type: ignore[return-value]
