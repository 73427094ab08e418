"""Processes that were forked from one in which TensorFlow was already running: it would wait there for threads that the
fork did not take along, for ever."""

import os
import sys

from .errors import BertvisionError

_hangs = False


def check_process() -> None:
    """Raises BertvisionError where TensorFlow cannot run in this process."""
    if _hangs:
        raise BertvisionError(
            "this process was forked from one in which TensorFlow was already running, and would hang: start it with "
            "multiprocessing.get_context('spawn'), or before TensorFlow is first used."
        )


def _note() -> None:
    """Called in a new process, whose memory is still its parent's."""
    global _hangs
    module = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(module, "_context", None)
    _hangs = _hangs or bool(getattr(context, "_initialized", False))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_note)
