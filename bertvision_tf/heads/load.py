"""A head from its file."""

from __future__ import annotations

from pathlib import Path

import keras

from ..checksums import check_file
from ..errors import RunError
from ..random_states import keeps_random_states
from . import build, mean  # noqa: F401  # which register their classes with Keras


@keeps_random_states
def load_head(file: Path) -> keras.Model:
    """The head that a run or a fine-tuning kept in a .keras file.

    Raises:
        RunError: it cannot be read, or is not what was written.
    """
    check_file(file, RunError)
    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
