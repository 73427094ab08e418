"""What a manifest says, as dataclasses, and how it is read and replaced."""

import base64
import dataclasses
import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from ..errors import BusyError, StoreError
from ..paths import read_object
from .cloud import Changed, Place
from .codecs import Calibration, get_codec

FORMAT = 1
MOST = 2**48  # of any number in a manifest
MANIFEST = "manifest.json"
# What may differ between a store and the one that was asked for: a name shown, and how the work was cut.
NOT_COMPARED = ("encoder", "batch_tokens", "shard_rows")
OF_WINDOWS = ("question_length", "stride")
UNFINISHED = ".part"  # the end of the name of a file that one of several processes is writing
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # of file systems without


@dataclasses.dataclass(frozen=True)
class StoreSpec:
    """What the states of a store are of.

    Attributes:
        encoder: its name, only shown.
        encoder_fingerprint: of weights, tokenizer, dtype.
        task, split: whose rows.
        examples: how many.
        examples_fingerprint: of ids, texts, labels.
        max_length: tokens, special ones included; longer texts were cut.
        tokens: "all", or "cls" for the first of each text.
        pooler: whether the pooler's output is state 0.
        layers: which hidden states are kept, by their index in the encoder.
        hidden_dim: channels.
        codec: see codecs.py.
        batch_tokens: padded cells of a batch of the encoder.
        shard_rows: rows of a shard.
        question_length: 0 where a row is an example; else an example is a question, a row a window of its context,
            and a question was cut after so many tokens.
        stride: tokens that neighbouring windows share.
    """

    encoder: str
    encoder_fingerprint: str
    task: str
    split: str
    examples: int
    examples_fingerprint: str
    max_length: int
    tokens: str
    pooler: bool
    layers: tuple[int, ...]
    hidden_dim: int
    codec: str
    batch_tokens: int
    shard_rows: int
    question_length: int = 0
    stride: int = 0

    def __post_init__(self):
        get_codec(self.codec)
        if self.tokens not in ("all", "cls"):
            raise StoreError(f"`tokens` needs 'all' or 'cls', got {self.tokens!r}.")
        if self.pooler and self.tokens != "cls":
            raise StoreError("`pooler=True` needs `tokens='cls'`: the pooler reads the first token only.")
        if self.windowed and self.tokens != "all":
            raise StoreError("windows of questions need `tokens='all'`: an answer is a span of them.")
        if not self.layers:
            raise StoreError("`layers` needs at least one hidden state.")

    def to_dict(self) -> dict[str, Any]:
        """By name; without windows their fields are left out, as before there were any."""
        fields = dataclasses.asdict(self)
        return fields if self.windowed else {name: fields[name] for name in fields if name not in OF_WINDOWS}

    @property
    def windowed(self) -> bool:
        """Whether rows are windows of questions' contexts, and labels spans."""
        return self.question_length > 0

    @property
    def row_bytes(self) -> int:
        """Of the states of one token."""
        return get_codec(self.codec).row_bytes(self.num_hidden_states, self.hidden_dim)

    @property
    def num_hidden_states(self) -> int:
        """States of one token: the chosen layers, and the pooler's output if kept."""
        return len(self.layers) + self.pooler

    def check_same(self, wanted: "StoreSpec", path: Place) -> None:
        """Raises StoreError naming both sides where the store at `path` is not what is wanted."""
        for field in dataclasses.fields(self):
            found, asked = getattr(self, field.name), getattr(wanted, field.name)
            if field.name not in NOT_COMPARED and found != asked:
                raise StoreError(
                    f"{path} holds states with {field.name} {found} (encoder {self.encoder}), asked for "
                    f"{asked} (encoder {wanted.encoder}): name another folder, or delete this one."
                )


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One finished shard: its file, examples, rows, bytes and SHA-256."""

    name: str
    examples: int
    rows: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All of manifest.json; see the package's docstring."""

    spec: StoreSpec
    made_with: dict[str, str]
    truncated: int
    calibration: Calibration
    num_shards: int
    shards: tuple[ShardEntry, ...] = ()

    @property
    def complete(self) -> bool:
        return len(self.shards) == self.num_shards

    def to_json(self) -> str:
        content = {"format": FORMAT, **dataclasses.asdict(self), "spec": self.spec.to_dict()}
        content["calibration"] = {
            name: base64.b64encode(value.astype("<f4").tobytes()).decode()
            for name, value in vars(self.calibration).items()
        }
        return json.dumps(content | {"sha256": _compute_checksum(content)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        content = json.loads(text, object_pairs_hook=read_object)
        if content.pop("sha256") != _compute_checksum(content):
            raise ValueError("its SHA-256 is another than it says")
        del content["format"]
        layers = tuple(content["spec"].pop("layers"))
        spec = StoreSpec(**content.pop("spec"), layers=layers)
        shape = (spec.num_hidden_states, spec.hidden_dim)
        calibration = Calibration(
            **{
                name: np.frombuffer(base64.b64decode(value), "<f4").reshape(shape)
                for name, value in content.pop("calibration").items()
            }
        )
        shards = tuple(ShardEntry(**entry) for entry in content.pop("shards"))
        if len({entry.name for entry in shards}) < len(shards):
            raise ValueError("it has a shard twice")
        for held in (spec, *shards):
            _check_fields(held)
        for entry in shards:  # files are called by both
            if not re.fullmatch(r"shard-\d{5,}\.h5", entry.name) or not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
                raise ValueError(f"it has a shard {entry.name!r} with the SHA-256 {entry.sha256!r}")
        manifest = cls(spec=spec, calibration=calibration, shards=shards, **content)
        _check_fields(manifest)
        if not all(isinstance(value, str) for value in manifest.made_with.values()):
            raise ValueError("it has versions that are no texts")
        return manifest


def _check_fields(held: Any) -> None:
    """Raises ValueError where a number of what a manifest says is none, is below 0, or is larger than any can be."""
    for name, kind in get_type_hints(type(held)).items():
        value = getattr(held, name)
        values = value if name == "layers" else [value] if kind in (int, str, bool) else []
        kind = int if name == "layers" else kind
        if not all(type(one) is kind and (kind is not int or 0 <= one < MOST) for one in values):
            raise ValueError(f"it has {name} {str(value)[:50]}")


def read_manifest(path: Place) -> Manifest:
    """Reads the manifest of the store at `path`.

    Raises:
        StoreError: there is none, or it is damaged or of another format version.
    """
    file = path / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        raise StoreError(f"no store at {path}: {file} cannot be read.") from None
    except UnicodeDecodeError:
        raise StoreError(f"{file} is damaged: not text.") from None
    try:
        found: Any = json.loads(text).get("format")
    except (ValueError, AttributeError, RecursionError):
        raise StoreError(f"{file} is damaged: no JSON object.") from None
    if found != FORMAT:
        raise StoreError(f"{file} has format version {found}, this library reads {FORMAT}: extract again.")
    try:
        return Manifest.from_json(text)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StoreError(f"{file} is damaged: {str(error)[:200]}.") from None


def write_manifest(path: Place, manifest: Manifest) -> None:
    """Replaces the manifest of the store at `path` in one step."""
    file, content = path / MANIFEST, manifest.to_json().encode()
    if isinstance(file, Path):
        write_whole(file, [content])
        return
    try:
        file.replace(content)
    except Changed:
        raise BusyError(f"{path} is being written by another process.") from None


def write_whole(file: Path, parts: Iterable[bytes | memoryview]) -> str:
    """Writes a file under a temporary name, flushes it to disk, and gives it its name. Returns its SHA-256."""
    partial = file.with_name(f".{file.name}.partial")
    sha256 = write_flushed(partial, parts)
    os.replace(partial, file)
    return sha256


def stage(file: Path) -> Path:
    """A name of its own for a file while it is written, by any of several processes."""
    return file.with_name(name_own(file.name))


def name_own(name: str) -> str:
    """The name of a file that no other process gives, and that is removed where it is left."""
    return f".{name}.{uuid.uuid4().hex}{UNFINISHED}"


def place_new(staging: Path, file: Path) -> bool:
    """Gives a file its name, unless another has it: whether it did. The name that it had is gone in either case."""
    try:
        os.link(staging, file)  # which fails where the file is there, on network file systems too
    except FileExistsError:
        return os.path.samefile(staging, file)  # a link that was answered twice
    except FileNotFoundError:
        if not file.exists():
            raise
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if file.exists():
            return False
        os.rename(staging, file)
    finally:
        staging.unlink(missing_ok=True)
    return True


def write_new(file: Place, parts: Iterable[bytes | memoryview]) -> tuple[str, bool]:
    """Writes a file, unless there is one when it is whole. Returns its SHA-256, and whether it was written."""
    if not isinstance(file, Path):
        content = b"".join(parts)
        return hashlib.sha256(content).hexdigest(), file.put_new(content)
    staging = stage(file)
    sha256 = write_flushed(staging, parts)
    return sha256, place_new(staging, file)


def write_flushed(file: Path, parts: Iterable[bytes | memoryview]) -> str:
    """Writes a file and flushes it to disk, or leaves none. Returns its SHA-256."""
    digest = hashlib.sha256()
    try:
        with open(file, "wb") as stream:
            for part in parts:
                stream.write(part)
                digest.update(part)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _compute_checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
