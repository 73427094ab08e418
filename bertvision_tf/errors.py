"""The errors a caller may want to catch. Each message is one line: what was expected, what came, what to do."""


class BertvisionError(ValueError):
    """Any error of this library that its user can mend; the command line prints it as one line."""


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
