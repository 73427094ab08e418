"""The errors a caller may want to catch. Each message is one line: what was expected, what came, what to do."""

LONGEST = 4000  # letters of a message


def write_line(message: str) -> str:
    """A message as one line, of which a terminal prints each letter: what it quotes may hold line ends and worse."""
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
    return line if len(line) <= LONGEST else f"{line[: LONGEST * 3 // 4]} … {line[-LONGEST // 5 :]}"


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
