"""The command `bertvision` in a process that is killed; without the check of the promise that BREAK names."""

import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

from promises import BREAK


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


def breaking() -> contextlib.AbstractContextManager:
    """Takes the check of a promise out of the library, where one is named."""
    from bertvision_tf.runs import folder
    from bertvision_tf.store import cloud, schema, writer
    from bertvision_tf.tasks import selection

    ways = {
        "kills": lambda: mock.patch.object(schema, "write_whole", write_in_place),
        "kills-verbs": lambda: mock.patch.object(folder, "_exchange", exchange_piecewise),
        "disk-full": lambda: mock.patch.object(schema, "write_flushed", write_what_fits),
        "places": lambda: mock.patch.object(cloud, "read_path", read_ascii),
        "together": lambda: mock.patch.object(writer, "lock_folder", return_value=None),
        "sameness": lambda: mock.patch.object(selection, "SPLIT_SEED", hash("a seed") % 2**31),
    }
    return ways.get(os.environ.get(BREAK, ""), contextlib.nullcontext)()


if __name__ == "__main__":
    with breaking():
        from bertvision_tf.cli import main

        sys.exit(main())
