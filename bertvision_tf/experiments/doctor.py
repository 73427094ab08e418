"""What this machine has for the library, what is missing for which verb, and a short trial of the whole way.

text → tokens → hidden states → store → head → scores
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import tensorflow as tf

from ..encoders import load_encoder
from ..encoders.find import find_checkpoint
from ..errors import BertvisionError, find_reason
from ..extraction import extract
from ..extraction.devices import count_workers, list_gpus
from ..paths import find_cache
from ..reports.table import show_bytes
from ..runs.open import describe_versions
from ..store import open_store
from ..tasks import get_task
from .experiment import train

EXTRAS = {  # a package: what needs it, and how it is installed
    "pyarrow": ("Parquet files", "pip install pyarrow"),
    "openvino": ("--engine openvino", "pip install 'bertvision-tf[openvino]'"),
    "obstore": ("stores at s3://, gs:// and az://", "pip install 'bertvision-tf[cloud]'"),
    "ray": ("--ray", "pip install 'bertvision-tf[ray]'"),
    "tensorflow_text": ("export and serve", "pip install 'bertvision-tf[serving]'"),
    "tensorflow_serving": ("a client at grpc://", "pip install 'bertvision-tf[serving]'"),
    "gradio": ("demo", "pip install 'bertvision-tf[demo]'"),
}
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")  # that matrix products use
LEAST_FREE, LEAST_MEMORY = 5 * 2**30, 4 * 2**30  # bytes on a disk, and of memory, below which little can be done
ROWS = 100  # of each split of the trial


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        topic: what it belongs to, as "versions".
        name: of it.
        found: what it is.
        remedy: what to do; "" where nothing has to be done.
        broken: whether the library does not work because of it.
    """

    topic: str
    name: str
    found: str
    remedy: str = ""
    broken: bool = False


def examine(trial: bool = True) -> Iterator[Finding]:
    """Looks at versions, processor, GPUs, memory, disks, caches, the hub, encoders and packages.

    Args:
        trial: also go the whole way once, from texts to scores, with MiniLM and rows of the starter task; ten seconds.

    Example:
        >>> [finding.name for finding in examine(trial=False) if finding.broken]
        []
    """
    yield from (Finding("versions", name, version) for name, version in describe_versions().items())
    yield from _examine_machine()
    yield from _examine_places()
    yield from _examine_encoders()
    for package, (what, remedy) in EXTRAS.items():
        there = importlib.util.find_spec(package) is not None
        yield Finding(
            "packages", package, f"{'installed' if there else 'missing'}, for {what}", "" if there else remedy
        )
    if trial:
        yield from _try_all()


def _examine_machine() -> Iterator[Finding]:
    yield Finding("machine", "processor", _describe_processor())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("machine", "cores", f"{cores}; {count_workers()} batches of the encoder at a time")
    gpus = list_gpus()
    built = tf.test.is_built_with_cuda()
    why = "" if gpus or not _has_nvidia() else "pip install 'tensorflow[and-cuda]'"
    yield Finding(
        "machine", "GPUs", ", ".join(gpus) or f"none; TensorFlow is built {'with' if built else 'without'} CUDA", why
    )
    memory = psutil.virtual_memory()
    few = memory.available < LEAST_MEMORY
    yield Finding(
        "machine",
        "memory",
        f"{show_bytes(memory.available)} free of {show_bytes(memory.total)}",
        "close other programs, or take a smaller encoder" if few else "",
    )


def _describe_processor() -> str:
    """Its name, and which of FEATURES it has, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {name.strip(): value.strip() for name, value in told.items()}
    features = [name for name in FEATURES if name in told.get("flags", "").split()]
    return ", ".join([told.get("model name", platform.machine()), *features])


def _has_nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None


def _examine_places() -> Iterator[Finding]:
    for name, path, variable in (
        ("this folder", Path(), ""),
        ("cache", find_cache(), "BERTVISION_CACHE"),
        ("temporary files", Path(tempfile.gettempdir()), "TMPDIR"),
    ):
        there = next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())
        free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
        other = f"set {variable} to another folder" if variable else "work in another folder"
        yield Finding(
            "places",
            name,
            f"{path.absolute()}, {show_bytes(free)} free{'' if writable else ', cannot be written'}",
            other if free < LEAST_FREE or not writable else "",
            broken=not writable,
        )
    from huggingface_hub import constants, get_token

    offline = constants.HF_HUB_OFFLINE
    access = "offline (HF_HUB_OFFLINE)" if offline else "with a token" if get_token() else "without a token"
    yield Finding("places", "hub", f"{constants.ENDPOINT}, {access}; its cache: {constants.HF_HUB_CACHE}")


def _examine_encoders() -> Iterator[Finding]:
    for name, needed in (("minilm", True), ("mpnet", False)):
        try:
            yield Finding("encoders", name, str(find_checkpoint(name)))
        except BertvisionError as error:
            yield Finding("encoders", name, "missing", str(error), broken=needed)


def _try_all() -> Iterator[Finding]:
    """Each step of the way once, with its seconds; the first that fails is the last."""
    with tempfile.TemporaryDirectory(prefix="bertvision-") as folder:
        way = _Way(Path(folder))
        steps = {"extract": way.extract, "read": way.read, "train": way.train, "predict": way.predict}
        for name, step in steps.items():
            start = time.monotonic()
            try:
                found = step()
            except Exception as error:  # whatever it is, it is what was asked for
                kind = "" if isinstance(error, BertvisionError) else f"{type(error).__name__}: "
                yield Finding("trial", name, "failed", f"{kind}{find_reason(error)}", broken=True)
                return
            yield Finding("trial", name, f"{found}, {time.monotonic() - start:.1f} s")


class _Way:
    """The steps from texts to scores; each says what came of it."""

    def __init__(self, folder: Path):
        self._folder = folder

    def extract(self) -> str:
        self._encoder = load_encoder("minilm")
        store = extract(self._encoder, get_task("starter").load("train").take(ROWS), self._folder / "states")
        return f"{len(store)} texts in {self._encoder.num_hidden_states} hidden states"

    def read(self) -> str:
        path = self._folder / "states"
        open_store(path, check="always").gather(range(ROWS))
        return f"{show_bytes(sum(file.stat().st_size for file in path.iterdir()))}, as they were written"

    def train(self) -> str:
        self._run = train(
            "starter",
            self._encoder,
            output=self._folder / "run",
            store="none",
            head="learned_pooling",
            limit=ROWS,
            seeds=1,
            baselines=False,
            fit={"epochs": 2},
        )
        return f"{self._run.results['metric']} {self._run.results['scores'][0]:.2f} on {ROWS} dev rows"

    def predict(self) -> str:
        return ", ".join(map(str, self._run.predict(["She has eaten.", "She have eat."]).labels))
