"""Contenders of a benchmark, each in a process of its own.

TensorFlow and PyTorch crash where both are in one process (TensorFlow 2.21 with torch 2.14), so that a contender
with PyTorch gets its batches from a file that this library wrote before.
"""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np


def describe_processor() -> str:
    """The processor's name, its cores, and which of its flags decide the speed of matrix products."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = [flag for flag in ("avx2", "avx512f", "amx_bf16") if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.processor())}, {os.cpu_count()} cores, {' '.join(flags) or 'no AVX2'}"


def run_contender(name: str, command: Sequence[str]) -> object:
    """What a contender prints last, as JSON; ends the benchmark with a line where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        sys.exit(f"{name} was killed by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        sys.exit(f"{name} failed: {lines[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_apart(script: str, arguments: Sequence[str]) -> None:
    """Runs a part of a benchmark in a process of its own, as `python SCRIPT ARGUMENTS`."""
    done = subprocess.run([sys.executable, script, *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:2])} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")


def write_batches(file: Path, batches: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Batches of arrays by name, for `read_batches` in another process."""
    np.savez(file, **{f"{place}/{name}": value for place, one in enumerate(batches) for name, value in one.items()})


def read_batches(file: Path) -> list[dict[str, np.ndarray]]:
    """What `write_batches` wrote, in its order."""
    batches: dict[int, dict[str, np.ndarray]] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            place, _, name = key.partition("/")
            batches.setdefault(int(place), {})[name] = arrays[key]
    return [batches[place] for place in sorted(batches)]
