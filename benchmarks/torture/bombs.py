"""Small files that would fill the memory, or take for ever, if they were read as they ask for."""

import dataclasses
import json
import re
import shutil
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fuzz
from children import breaking, run
from promises import Promise, Trial

MOST = 2**31  # bytes of memory that one may take
SECONDS = 60.0


def write_safetensors(folder: Path, header: bytes, more: bytes = b"") -> None:
    (folder / "checkpoint" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + more)


def describe_tensors(count: int, start: int, end: int) -> bytes:
    part = {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]}
    return json.dumps({f"t{number}": part for number in range(count)}).encode()


def write_parquet(kind: str, file: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    if kind == "zeros":
        texts = pyarrow.array(["\0" * 2**28] * 4, pyarrow.large_string())
    elif kind == "numbers":
        texts = pyarrow.array([[0] * 2 * 10**7] * 4, pyarrow.list_(pyarrow.int8()))
    else:
        texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2000, pyarrow.int8()), ["a" * 2 * 10**7])
    table = {"text": texts, "label": ["01"[row % 2] for row in range(len(texts))]}
    parquet.write_table(pyarrow.table(table), file, compression="zstd", use_dictionary=kind == "dictionary")


def write_tokenizer(folder: Path, **parts: object) -> None:
    file = folder / "checkpoint" / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))


def split_by(expression: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


TABLES: dict[str, Callable[[Path], object]] = {
    "columns.csv": lambda file: file.write_text(",".join("abcd" * 10**6) + "\n" + ",".join("1234" * 10**6)),
    "a-quote-left-open.csv": lambda file: file.write_text('text,label\na,"' + "x,1\n" * 8_000_000),
    "a-cell.csv": lambda file: file.write_text(f"text,label\n{'a' * 40_000_000},1\nb,0\n"),
    "commas.tsv": lambda file: file.write_text("text\tlabel\n" + "\t" * 40_000_000),
    "returns.csv": lambda file: file.write_text("text,label\r" + "a" * 40_000_000),
    "depth.jsonl": lambda file: file.write_text('{"text": ' + "[" * 5_000_000),
    "names.jsonl": lambda file: file.write_text("{" + ",".join(f'"{number}": 1' for number in range(10**6)) + "}"),
    "digits.jsonl": lambda file: file.write_text('{"text": "a", "label": ' + "9" * 5_000_000 + "}"),
    "a-list.jsonl": lambda file: file.write_text('{"text": "a", "label": [' + "1," * 10**7 + "1]}"),
    "zeros.parquet": partial(write_parquet, "zeros"),
    "numbers.parquet": partial(write_parquet, "numbers"),
    "a-dictionary.parquet": partial(write_parquet, "dictionary"),
}
WEIGHTS: dict[str, Callable[[Path], object]] = {
    "a header of 100 MB": lambda folder: write_safetensors(folder, b"{" + b" " * 10**8 + b"}"),
    "a header longer than the file": lambda folder: (folder / "checkpoint" / "model.safetensors").write_bytes(
        struct.pack("<Q", 2**62) + b"{}"
    ),
    "ranges that overlap": lambda folder: write_safetensors(folder, describe_tensors(1000, 0, 4000), bytes(4000)),
    "ranges behind the end": lambda folder: write_safetensors(folder, describe_tensors(1, 0, 2**40), bytes(4000)),
    "a million tensors": lambda folder: write_safetensors(folder, describe_tensors(10**6, 0, 0)),
}
TOKENIZERS: dict[str, Callable[[Path], object]] = {
    "(a+)+$": lambda folder: write_tokenizer(folder, pre_tokenizer=split_by("(a+)+$")),
    "(([a-z])+.)+": lambda folder: write_tokenizer(folder, pre_tokenizer=split_by("^(([a-z])+.)+[A-Z]([a-z])+$")),
    "a million letters of one": lambda folder: write_tokenizer(
        folder, normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 10**6}
    ),
    "letters of letters": lambda folder: write_tokenizer(
        folder,
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 30}] * 8,
        },
    ),
}
LAUGHS = "\n".join(
    f"n{place}: &n{place} [{', '.join([f'*n{place - 1}' if place else 'x'] * 9)}]" for place in range(40)
)


def read_table(name: str, folder: Path) -> None:
    import bertvision_tf as bv

    bv.task_from_table(folder / name).load("train")


def read_weights(folder: Path) -> None:
    fuzz.read_checkpoint("model.safetensors", folder, (folder / "checkpoint" / "model.safetensors").read_bytes())


def read_tokenizer(folder: Path) -> None:
    from bertvision_tf.encoders.tokenizer import Tokenizer

    Tokenizer.read(folder / "checkpoint").tokenize(["a" * 1000 + "!"] * 100, None, 32)


def read_options(folder: Path) -> None:
    from bertvision_tf.settings import RunSettings

    RunSettings.from_file(folder / "options.yaml")


@dataclasses.dataclass(frozen=True)
class Bomb:
    """How it is made in a folder, and how it is read there."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]


def change(kind: str, make: Callable[[Path], object], folder: Path) -> None:
    """Makes a file of a checkpoint."""
    fuzz.write_checkpoint(kind, "config.json", folder)
    make(folder)


def name_table(name: str, make: Callable[[Path], object], folder: Path) -> None:
    make(folder / name)


BOMBS = {
    **{name: Bomb(partial(name_table, name, make), partial(read_table, name)) for name, make in TABLES.items()},
    **{name: Bomb(partial(change, fuzz.BERT, make), read_weights) for name, make in WEIGHTS.items()},
    **{name: Bomb(partial(change, fuzz.ROBERTA, make), read_tokenizer) for name, make in TOKENIZERS.items()},
    "options of options": Bomb(lambda folder: (folder / "options.yaml").write_text(LAUGHS), read_options),
}


def make(name: str, folder: Path) -> None:
    BOMBS[name].make(folder)


def read(name: str, folder: Path) -> None:
    """Has to end with one line of error."""
    from bertvision_tf.errors import BertvisionError

    try:
        BOMBS[name].read(folder)
    except BertvisionError as error:
        raise SystemExit(f"error: {error}") from None


def throw(trial: Trial) -> None:
    names = sorted(BOMBS)
    if trial.count < len(names):
        names = trial.chance.sample(names, trial.count)
    for name in names:
        folder = trial.folder / re.sub(r"\W", "-", name)
        folder.mkdir()
        made = run(folder, make, name, folder)
        if made.status:
            sys.exit(f"{name} cannot be made: {made.last}")
        ended = run(folder, read, name, folder, seconds=SECONDS, resident=MOST)
        wrong = ended.find_fault() or ("" if ended.status else "it was read")
        trial.check(not wrong, f"{name}: {wrong}, {ended.peak >> 20} MiB, {ended.seconds:.0f} s")
        trial.seen["MiB at most"] = max(trial.seen["MiB at most"], ended.peak >> 20)
        shutil.rmtree(folder)


PROMISES = [Promise("bombs", "a small file takes no more than 2 GiB of memory", throw, len(BOMBS), 6, breaking)]
