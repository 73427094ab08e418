"""Checksums of the files of a folder, which stand beside them and are compared before a file is used.

`checksums.json`: the bytes and the SHA-256 of each file by its path in the folder, and the SHA-256 of all this as JSON
with sorted keys. A folder without it, as one of an earlier version, is used as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import BertvisionError
from .notes import note

SUMS = "checksums.json"
EDITED = (".json", ".md")  # the ends of files that people change by hand


def write_checksums(folder: Path, *only: str) -> None:
    """Writes the checksums of all files that are in a folder and below, or of some.

    Args:
        folder: of the files.
        only: their paths in it.
    """
    files = [folder / one for one in only] or [file for file in sorted(folder.rglob("*")) if file.is_file()]
    found = {file.relative_to(folder).as_posix(): _describe(file) for file in files if file.name != SUMS}
    text = json.dumps({"files": found, "sha256": _sum(found)}, indent=1) + "\n"
    staging = folder / f".{SUMS}.partial"
    staging.write_text(text, encoding="utf-8")
    os.replace(staging, folder / SUMS)


def check_files(folder: Path, error: type[BertvisionError]) -> int:
    """Compares all files of a folder that have checksums, and returns how many.

    Raises:
        BertvisionError: of the kind `error`: one is damaged or missing, or there are no checksums.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise error(f"{folder} has no {SUMS}: nothing says what its files were.")
    found = _read_sums(sums, error)
    for name, known in found.items():
        _compare(folder / name, known, sums, error)
    return len(found)


def check_folder(folder: Path, error: type[BertvisionError]) -> None:
    """Compares the files of a folder where it has checksums; see `check_files`."""
    if (folder / SUMS).is_file():
        check_files(folder, error)


def check_file(file: Path, error: type[BertvisionError]) -> None:
    """Compares a file, where its folder or the one above has its checksum.

    A file that people edit, and that has another size than it had, is taken as changed on purpose: a line says so.

    Raises:
        BertvisionError: of the kind `error`: it is not what was written.
    """
    for folder in file.absolute().parents[:2]:
        sums = folder / SUMS
        if sums.is_file():
            known = _read_sums(sums, error).get(file.absolute().relative_to(folder).as_posix())
            if known is not None and file.is_file():
                _compare(file, known, sums, error, edited=True)
            return


def _compare(file: Path, known: dict[str, Any], sums: Path, error: type[BertvisionError], edited: bool = False) -> None:
    try:
        found = _describe(file)
    except OSError as reason:
        raise error(f"{file} cannot be read: {reason.strerror or reason}.") from None
    if found == known:
        return
    if edited and file.suffix in EDITED and found["bytes"] != known["bytes"]:
        note(f"{file} was changed after it was written, and is used as it is.")
        return
    raise error(
        f"{file} is damaged: its SHA-256 is not the one of {sums.name}. Make {sums.parent} again; or delete {sums}, if "
        "you have changed the file."
    )


def _read_sums(sums: Path, error: type[BertvisionError]) -> dict[str, Any]:
    try:
        content = json.loads(sums.read_text(encoding="utf-8"))
        found = content["files"]
        whole = content["sha256"] == _sum(found) and all(set(one) == {"bytes", "sha256"} for one in found.values())
        whole &= not any(name.startswith(("/", "\\")) or ".." in Path(name).parts or "\0" in name for name in found)
    except OSError as reason:
        raise error(f"{sums} cannot be read: {reason.strerror or reason}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise error(f"{sums} is damaged: make its folder again; or delete the file, to use the others as they are.")
    return found


def _describe(file: Path) -> dict[str, Any]:
    if not file.is_file() and file.exists():
        raise OSError("it is no file")
    with open(file, "rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _sum(files: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
