"""The entry point: arguments in, an exit status out."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cyclopts import CycloptsError

from ..errors import BertvisionError, write_line
from ..keras_settings import pin_environment
from ..notes import Note
from . import (  # noqa: F401  # each adds its verbs
    doctor,
    encoders,
    ensemble,
    heads,
    injection,
    predict,
    quickstart,
    reports,
    search,
    serving,
    states,
    train,
)
from .app import app
from .process import Interrupt, expand_home, open_closed_streams

INTERRUPTED = "interrupted; states that are finished are kept and found again"


def main() -> None:
    """The entry point of the installed command and of scripts/."""
    open_closed_streams()
    Interrupt.install()
    pin_environment()
    try:
        try:
            status = run([expand_home(argument) for argument in sys.argv[1:]])
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG) or error.filename is not None:
            raise  # none of standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain of it once more
        if error.errno != errno.EPIPE:  # whoever read it has gone, as `head` does
            tell(f"error: the output cannot be written: {error.strerror}")
        status = 1
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Runs a verb in this process.

    Returns:
        0; 1 for what the library refuses, with one line on standard error; 2 for arguments that cannot be read; 130
        where it was interrupted.
    """
    try:
        with _notes_as_lines():
            status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return status or 0
    except CycloptsError as error:
        tell(f"error: {' '.join(str(error).split())}")
        return 2
    except BertvisionError as error:
        tell(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        tell(INTERRUPTED)
        return 130
    except MemoryError:
        tell("error: the memory is too small for this.")
        return 1
    except Exception as error:
        reason = _find_failure(error)
        if reason is None:
            raise
        tell(f"error: {reason}")
        return 1


def _find_failure(error: Exception) -> BertvisionError | None:
    """What the library has raised inside of TensorFlow, as where a batch could not be read."""
    module = sys.modules.get("bertvision_tf.images.dataset")
    return None if module is None else module.read_failure(error)


def tell(line: str) -> None:
    """Prints a line on standard error."""
    print(write_line(line), file=sys.stderr)


@contextmanager
def _notes_as_lines() -> Iterator[None]:
    """One line for each note of the library; other warnings as Python has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Note)
        usual = warnings.showwarning
        warnings.showwarning = lambda message, category, *where: (
            tell(f"note: {message}") if issubclass(category, Note) else usual(message, category, *where)
        )
        yield
