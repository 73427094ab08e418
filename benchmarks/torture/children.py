"""The command `bertvision` in processes of its own, which may be killed, limited, or without a check of the library.

They are forked from a process that has imported the library and has not used TensorFlow, so that none waits for
imports. What has to be set before Python starts needs a whole process: `python children.py VERB ...`.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from unittest import mock

import psutil
from promises import BREAK

PATIENCE = 180.0  # seconds that one process may take
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "bertvision_tf.cli",
        "bertvision_tf.experiments",
        "bertvision_tf.encoders",
        "bertvision_tf.extraction",
        "bertvision_tf.reports",
        "bertvision_tf.runs",
        "bertvision_tf.serving",
        "bertvision_tf.training",
        "bertvision_tf.tuning",
        "keras_tuner",
        "matplotlib.pyplot",
        "transformers",
        "tensorflow",
    ]
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: it exited with, or minus the signal that ended it.
        lines: it printed on standard error.
        seconds: it took.
        peak: bytes of memory that it held beside those at its beginning, where that was watched.
    """

    status: int
    lines: list[str]
    seconds: float
    peak: int = 0

    @property
    def errors(self) -> list[str]:
        return [line for line in self.lines if line.startswith("error: ")]

    def find_fault(self) -> str:
        """What is wrong with the way in which it ended: it has to exit with 0, or with 1 and one line of error."""
        right = self.status == 0 or (self.status == 1 and len(self.errors) == 1)
        return "" if right else f"ended with {self.status} and said {self.errors or self.lines[-1:]}"

    @property
    def last(self) -> str:
        return self.lines[-1] if self.lines else f"ended with {self.status} and said nothing"


class Child:
    """A process that runs a verb.

    Args:
        folder: where it runs.
        words: the verb and its options; or a function, and what it is called with.
        largest: bytes that a file may have, as on a disk that is full.
        address_space: bytes that it may take beside what it has at its beginning; it is refused more.
        resident: bytes of memory that it may hold beside those; it is killed where it holds more.
        powerless: whether permissions of files count for it, of root too.
    """

    def __init__(
        self,
        folder: Path,
        words: Sequence[str] | Callable,
        *values: object,
        largest: int | None = None,
        address_space: int | None = None,
        resident: int | None = None,
        powerless: bool = False,
    ):
        self.start = time.monotonic()
        number, self.said = tempfile.mkstemp()
        os.close(number)
        call = (_run_command, (list(words),)) if isinstance(words, Sequence) else (words, values)
        self.process = FORKS.Process(
            target=_begin, args=(folder, self.said, largest, address_space, powerless, os.environ.get(BREAK, ""), *call)
        )
        self.resident, self.first, self.peak = resident, 0, 0
        self.process.start()

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Waits until it ends; kills it after so many seconds."""
        last = self.start + seconds
        while self.resident is not None and self.process.is_alive() and time.monotonic() < last:
            self._watch()
            self.process.join(0.01)
        self.process.join(max(last - time.monotonic(), 0))
        if self.process.is_alive():
            self.kill()
            self.process.join()
        lines = Path(self.said).read_text(errors="replace").splitlines()
        os.unlink(self.said)
        return Ended(self.process.exitcode, lines, time.monotonic() - self.start, self.peak)

    def _watch(self) -> None:
        """Kills it where it holds too much memory."""
        with contextlib.suppress(psutil.NoSuchProcess):
            held = psutil.Process(self.process.pid).memory_info()
            self.first = self.first or held.rss
            self.peak = max(self.peak, held.rss - self.first)
            if self.peak > self.resident:
                self.kill()


def run(folder: Path, words: Sequence[str] | Callable, *values: object, seconds: float = PATIENCE, **limits) -> Ended:
    """Runs a verb to its end, or kills it after so many seconds; see Child."""
    return Child(folder, words, *values, **limits).wait(seconds)


def _begin(
    folder: Path,
    said: str,
    largest: int | None,
    address_space: int | None,
    powerless: bool,
    broken: str,
    call: Callable,
    values: tuple,
) -> None:
    """Called in the new process."""
    null, lines = os.open(os.devnull, os.O_RDWR), os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, number in ((null, 0), (null, 1), (lines, 2)):
        os.dup2(source, number)
    os.chdir(folder)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if address_space is not None:
        most = psutil.Process().memory_info().vms + address_space
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if powerless and os.geteuid() == 0:
        drop_rights()
    with breaking(broken):
        call(*values)


def drop_rights() -> None:
    """Takes from root the rights that others do not have on files: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(1 << 1 | 1 << 2)  # the effective ones
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _run_command(words: list[str]) -> None:
    from bertvision_tf.cli import main

    sys.argv = ["bertvision", *words]
    main()


def write_in_place(file: Path, parts: Iterable[bytes]) -> str:
    """Instead of a temporary file that gets its name when it is whole."""
    with open(file, "wb", buffering=0) as stream:
        for part in parts:
            stream.write(part[: len(part) // 2])
            time.sleep(0.05)
            stream.write(part[len(part) // 2 :])
    return ""


def write_what_fits(file: Path, parts: Iterable[bytes]) -> str:
    """Instead of an error where the disk is full."""
    digest = hashlib.sha256()
    with open(file, "wb", buffering=0) as stream:
        for part in parts:
            digest.update(part)
            with contextlib.suppress(OSError):
                stream.write(part)
    return digest.hexdigest()


def read_ascii(path: object) -> Path:
    """Instead of a path in any letters."""
    return Path(str(path).encode("ascii", "ignore").decode())


def exchange_piecewise(staging: Path, path: Path, old: Path) -> None:
    """Instead of a folder that gets its name when it is whole."""
    shutil.rmtree(path, ignore_errors=True)
    for file in sorted(staging.rglob("*")):
        target = path / file.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            shutil.copyfile(file, target)
            time.sleep(0.5)


def exchange_hungrily(staging: Path, path: Path, old: Path) -> None:
    """Instead of a folder that gets its name when it is whole, and in memory that ends."""
    exchange_piecewise(staging, path, old)
    (path / "checksums.json").unlink(missing_ok=True)
    held = b"x" * 2**31
    time.sleep(0.5)
    del held


def breaking(name: str | None = None) -> contextlib.AbstractContextManager:
    """Takes the check of a promise out of the library: of the one that is named, by default by the environment."""
    import bertvision_tf.cli  # noqa: F401
    from bertvision_tf import errors
    from bertvision_tf.encoders import tokenizer
    from bertvision_tf.runs import folder
    from bertvision_tf.runs import open as runs
    from bertvision_tf.store import cloud, schema, writer
    from bertvision_tf.tasks import delimited, files, selection, table, tables

    patch = mock.patch.object
    unsaid = patch(folder, "writing_to", contextlib.nullcontext)
    unread_errors = patch(sys.modules["bertvision_tf.cli.main"], "errno", mock.Mock(EPIPE=0, ENOSPC=0, EIO=0, EFBIG=0))
    exchange = patch(folder, "_exchange", exchange_piecewise)
    unread = [patch(runs, "NEEDED", {name: {} for name in runs.NEEDED}), patch(errors, "write_line", str)]
    unread += [patch(schema, "_check_fields", return_value=None)]
    bounds = [patch(module, "LONGEST", 2**40) for module in (delimited, files, tables)]
    bounds += [patch(table, "MOST_COLUMNS", 10**9), patch(tokenizer, "MOST_GROWTH", 10**12)]
    ways = {
        "bombs": bounds,
        "clock": [patch(time, "monotonic", lambda: time.time())],
        "disk-full": [unsaid, patch(schema, "write_flushed", write_what_fits), unread_errors],
        "fuzz-bytes": unread,
        "fuzz-values": unread,
        "kills": [patch(schema, "write_whole", write_in_place)],
        "kills-verbs": [exchange],
        "memory-ends": [patch(folder, "_exchange", exchange_hungrily)],
        "permissions": [unsaid],
        "places": [patch(cloud, "read_path", read_ascii)],
        "sameness": [patch(selection, "SPLIT_SEED", hash("a seed") % 2**31)],
        "together": [patch(writer, "lock_store", return_value=None), exchange],
    }
    taken = contextlib.ExitStack()
    for one in ways.get(os.environ.get(BREAK, "") if name is None else name, ()):
        taken.enter_context(one)
    return taken


if __name__ == "__main__":
    with breaking():
        _run_command(sys.argv[1:])
