"""Keras's global settings, which the user may have in ~/.keras/keras.json, in variables, or set in a program.

The command pins them in its own process. From Python they are the caller's: one that would change a result, or end in a
traceback, is refused with one line. A mixed policy is taken as asked: heads compute in its type.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

from .errors import BertvisionError
from .forks import check_process

LEGACY = "TF_USE_LEGACY_KERAS"
BACKEND = "KERAS_BACKEND"


def prepare_import() -> None:
    """Chooses TensorFlow as Keras's backend, whatever keras.json says, where Keras is not imported yet.

    Raises:
        BertvisionError: a variable of the environment asks for another backend, or for the old Keras.
    """
    if os.environ.get(LEGACY) in ("1", "true", "True"):
        raise BertvisionError(
            f"{LEGACY} asks for Keras 2, and this library needs Keras 3: unset it before Python starts."
        )
    if "keras" not in sys.modules and os.environ.setdefault(BACKEND, "tensorflow") != "tensorflow":
        raise BertvisionError(
            f"{BACKEND} is {os.environ[BACKEND]!r}, and this library runs on TensorFlow: unset it before Python starts."
        )


def check_keras() -> None:
    """Raises BertvisionError where a global setting would change what a head or an encoder computes, or this process
    could compute nothing."""
    import keras

    check_process()
    prepare_import()
    policy = keras.config.dtype_policy()
    for name, found, wanted, remedy in (
        ("backend", keras.config.backend(), "tensorflow", f"set {BACKEND}=tensorflow before Keras is imported"),
        ("floatx", keras.config.floatx(), "float32", "keras.config.set_floatx('float32')"),
        ("variable dtype", policy.variable_dtype or "float32", "float32", "keras.config.set_dtype_policy('float32')"),
        ("epsilon", keras.config.epsilon(), 1e-7, "keras.config.set_epsilon(1e-7)"),
        (
            "image data format",
            keras.config.image_data_format(),
            "channels_last",
            "keras.config.set_image_data_format('channels_last')",
        ),
    ):
        if found != wanted:
            raise BertvisionError(
                f"Keras's {name} is {found!r}, set here or in ~/.keras/keras.json, and heads need {wanted!r}: {remedy}."
            )


def name_policy(precision: str) -> str:
    """Keras's dtype policy of a precision, in which products are computed; weights are float32."""
    return precision if precision == "float32" else f"mixed_{precision}"


@contextlib.contextmanager
def computing_in(precision: str | None) -> Iterator[None]:
    """Layers that are made in the block compute in a precision; in that of Keras's policy with None."""
    import keras

    before = keras.config.dtype_policy()
    if precision is not None:
        keras.config.set_dtype_policy(name_policy(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def pin_keras() -> None:
    """Sets the global settings to those of a fresh Keras; for a process of this library's own."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


def pin_environment() -> None:
    """What `prepare_import` looks at, for a process of this library's own."""
    os.environ[BACKEND] = "tensorflow"
    os.environ.pop(LEGACY, None)
