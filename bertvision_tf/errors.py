"""The errors a caller may want to catch. Each message is one line: what was expected, what came, what to do."""

import unicodedata

LONGEST = 4000  # letters of a message


UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # kinds of letters that end lines, steer terminals, or cannot be written
TURNING = range(0x202A, 0x202F), range(0x2066, 0x206A)  # which turn the direction of what follows


def write_line(message: str) -> str:
    """A message as one line that a terminal shows as it is: what it quotes may hold line ends and worse."""
    if not message.isprintable():
        message = "".join(repr(letter)[1:-1] if _is_unseen(letter) else letter for letter in message)
    if len(message) <= LONGEST:
        return message
    return f"{message[: LONGEST * 3 // 4]} … {message[-LONGEST // 5 :]}"


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in UNSEEN or any(ord(letter) in turning for turning in TURNING)


def find_reason(error: BaseException) -> str:
    """What another library's error says first, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class BertvisionError(ValueError):
    """Any error of this library that its user can mend; the command line prints it as one line."""

    def __init__(self, message: str = ""):
        super().__init__(write_line(message))


class TaskError(BertvisionError):
    """A task, or the rows of one, cannot be used as asked."""


class EncoderError(BertvisionError):
    """An encoder cannot be found, read or run as asked."""


class StoreError(BertvisionError):
    """A store is damaged, incomplete, or made by something other than what asks for it."""


class HeadError(BertvisionError):
    """A head's configuration contradicts itself or the image it is to read."""


class RunError(BertvisionError):
    """A run folder cannot be written, read, or used for what was asked."""


class LossError(RunError):
    """The loss of a training is no number."""


class BusyError(StoreError, RunError):
    """What is asked for is being written by another process: `holder` is its number, None where that is not known."""

    def __init__(self, message: str, holder: int | None = None):
        super().__init__(message)
        self.holder = holder


class ServingError(BertvisionError):
    """A served model cannot be reached, or refuses what it is asked."""
