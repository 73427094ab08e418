"""A head from its file."""

from __future__ import annotations

from pathlib import Path

import keras

from ..checksums import check_file
from ..errors import RunError, find_reason
from ..random_states import keeps_random_states
from . import build, mean  # noqa: F401  # which register their classes with Keras
from .archive import check_archive


@keeps_random_states
def load_head(file: Path) -> keras.Model:
    """The head that a run or a fine-tuning kept in a .keras file.

    Raises:
        RunError: it cannot be read, is not what was written, or names anything but layers of Keras and of this library.
    """
    check_file(file, RunError)
    try:
        check_archive(file)
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises of many kinds where a file is not what it wrote
        reason = find_reason(error)
        raise RunError(f"{file} cannot be read: {reason.rstrip('.')}.") from None
