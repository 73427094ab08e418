"""Processes that were forked from one in which TensorFlow had run: it may wait there, for ever, for threads that the
fork did not take along. A parent that runs TensorFlow before it imports this library is not noticed."""

import os
import sys

from .errors import BertvisionError

_may_hang = False


def check_process() -> None:
    """Raises BertvisionError where TensorFlow may hang in this process."""
    if _may_hang:
        raise BertvisionError(
            "this process was forked from one in which TensorFlow had run, and may hang: start it with "
            "multiprocessing.get_context('spawn'), or before TensorFlow is first used."
        )


def _note() -> None:
    """Called in a new process, whose memory is still its parent's."""
    global _may_hang
    module = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(module, "_context", None)
    _may_hang = _may_hang or bool(getattr(context, "_initialized", False))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_note)
