"""What the command sets up in its process: streams, interrupts and TensorFlow."""

import os
import signal
import sys
import threading
from types import FrameType

from ..keras_settings import pin_keras

SHOW_CURSOR = b"\x1b[?25h"


class Interrupt:
    """Ctrl-C: the first raises KeyboardInterrupt, and does so again where Python could not pass it on, as from inside a
    finalizer; the second ends at once."""

    came = False

    @classmethod
    def install(cls) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a shell's job in the background
            return
        signal.signal(signal.SIGINT, cls._receive)
        usual = sys.unraisablehook
        sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, KeyboardInterrupt) else usual(lost)

    @classmethod
    def check(cls) -> None:
        if cls.came and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    @classmethod
    def _receive(cls, number: int, frame: FrameType | None) -> None:
        if cls.came:
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)  # which a progress bar hides
            os._exit(130)
        cls.came = True
        raise KeyboardInterrupt


def open_closed_streams() -> None:
    """Gives a stream that was closed, as by 2>&-, the null device: else the next file that is opened would take its
    number, and what is printed would go into that file."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def expand_home(argument: str) -> str:
    """What a shell does not expand: ~ behind an option's name, as in --output=~/runs."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{os.path.expanduser(value)}" if value == "~" or value.startswith("~/") else argument


def start_tensorflow(share_gpus: bool = False) -> None:
    """Imports TensorFlow with standard error shut: its libraries report there on GPUs that are not found, before any
    log level counts.

    Args:
        share_gpus: leave the memory of GPUs to other processes of this machine until it is needed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if share_gpus:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it counts a head's new shapes as a user's mistake
        tf.config.list_logical_devices()
        pin_keras()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
