"""Files and answers of which a fuzzer has changed bytes or values: each is read, or refused with one line.

Hypothesis draws the changes, and atheris where it is installed, which looks for changes that reach new lines of the
code. An input that breaks the promise is printed with its path; tests/found/ keeps those that once did.
"""

import contextlib
import copy
import dataclasses
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from children import Child, breaking, run
from promises import Promise, Trial
from verbs import make_folder

CHECKPOINTS = Path(__file__).parents[2] / "tests" / "checkpoints"
FOUND = Path(__file__).parents[2] / "tests" / "found"
FEW = 5  # seconds for each target, in which no page is made
SMALL = "small"  # the folder of `make_small`, inside that of a target
SLOWEST = 20  # seconds that an input may take
MOST = 2**30  # bytes of memory that it may take
LARGEST = 2**16  # bytes of an input
WORDS = (
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"[]",
    b"{}",
    b'""',
    b"9" * 30,
    b"\0",
    b"\xff",
    b'"',
    b"\n",
    b",",
    b"[" * 200,
)
VALUES = (None, True, -1, 0, 1.5, 10**30, float("inf"), "", "x", "../x", "\0", "\ud800", [], [[]], {}, {"": None})


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that reads.

    Attributes:
        prepare: makes what lies beside the input in an empty folder, and returns inputs to begin with.
        use: reads an input, in that folder.
        modules: of this library, that atheris watches.
    """

    prepare: Callable[[Path], list[bytes]]
    use: Callable[[Path, bytes], object]
    modules: tuple[str, ...]


def judge(target: Target, folder: Path, content: bytes) -> str:
    """What is wrong with how an input was taken; "" where it was read, or refused with one line."""
    from bertvision_tf.errors import LONGEST, BertvisionError

    late = []

    def stop(*_: object) -> None:
        late.append(True)
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SLOWEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.use(folder, content)
    except BertvisionError as error:
        line = str(error)
        if isinstance(error.__context__, MemoryError):
            return f"more than {MOST} bytes of memory"
        return (
            ""
            if "\n" not in line and len(line) <= 1.1 * LONGEST
            else f"said {len(line)} letters, {line.count(chr(10))} line ends"
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Rust's panics are none of Exception
        places = [place for place in traceback.extract_tb(error.__traceback__) if "bertvision_tf" in place.filename]
        where = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "elsewhere"
        return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:200]}"
    finally:
        signal.alarm(0)
        if late:
            return f"longer than {SLOWEST} seconds"  # noqa: B012 (whatever the library has made of it)
    return ""


def change_bytes(seeds: list[bytes], draw: Callable[[int], int]) -> bytes:
    """One of the seeds with a few bytes changed, cut, repeated, or put in; `draw(n)` is below n."""
    content = bytearray(seeds[draw(len(seeds))])
    for _ in range(1 + draw(6)):
        place, length = draw(len(content) + 1), 1 + draw(16)
        kind = draw(5)
        if kind == 0:
            del content[place : place + length]
        elif kind == 1:
            content[place:place] = WORDS[draw(len(WORDS))]
        elif kind == 2:
            content[place : place + length] = WORDS[draw(len(WORDS))]
        elif kind == 3:
            content[place:place] = content[place : place + length] * (1 + draw(4))
        elif place < len(content):
            content[place] = draw(256)
    return bytes(content[:LARGEST])


def change_values(seeds: list[bytes], draw: Callable[[int], int]) -> bytes:
    """One of the seeds, of JSON, with a few values changed, left out, or given twice."""
    try:
        content = json.loads(seeds[draw(len(seeds))])
    except ValueError:
        return change_bytes(seeds, draw)
    for _ in range(1 + draw(3)):
        places = list(walk(content))
        if not places:
            break
        inside, name = places[draw(len(places))]
        kind = draw(4)
        if kind == 0:
            del inside[name]
        elif kind == 1 and isinstance(inside, dict):
            inside[("", "x", "\0", "__class__")[draw(4)]] = inside.pop(name)
        elif kind == 1:
            inside.append(inside[name])
        else:
            inside[name] = copy.deepcopy(VALUES[draw(len(VALUES))])
    return json.dumps(content).encode()[: 2 * LARGEST]


def walk(content: object) -> Iterator[tuple[dict | list, str | int]]:
    """Each value of a JSON document, as what holds it and its name or number there."""
    for name in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, name
        yield from walk(content[name])


@dataclasses.dataclass
class Notes:
    """What a fuzzer has found, in files: a process that crashes has no other way to say it."""

    folder: Path

    def __post_init__(self):
        self.known, self.last = set(), 0.0
        self.count = 0

    def begin(self, content: bytes) -> None:
        (self.folder / "current").write_bytes(content)

    def end(self, wrong: str, content: bytes) -> bool:
        """Keeps an input that is wrong in a way that none was before; whether it did."""
        self.count += 1
        if self.count < 50 or self.count % 50 == 0:
            (self.folder / "count").write_text(str(self.count))
        kind = wrong.partition(": ")[0]
        if not wrong or kind in self.known:
            return False
        self.known.add(kind)
        name = hashlib.sha256(content).hexdigest()[:12]
        (self.folder / f"{name}.input").write_bytes(content)
        (self.folder / f"{name}.wrong").write_text(wrong)
        return True


def limit_memory() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST, held + MOST))


def fuzz(name: str, engine: str, folder: Path, small: Path, seconds: float, seed: int) -> None:
    """Called in a process of its own: tries inputs until the time is over."""
    target, notes = TARGETS[name], Notes(folder)
    inside = folder / "inside"
    inside.mkdir()
    (inside / SMALL).symlink_to(small)
    seeds = target.prepare(inside)
    for content in seeds:
        wrong = judge(target, inside, content)
        assert not wrong, f"a seed of {name}: {wrong}"
    if not name.startswith("page"):  # which TensorFlow and Matplotlib draw, in threads of their own
        limit_memory()

    def attempt(content: bytes) -> str:
        notes.begin(content)
        wrong = judge(target, inside, content)
        return wrong if notes.end(wrong, content) else ""

    run_engine = run_atheris if engine == "atheris" else run_hypothesis
    run_engine(target, seeds, attempt, folder, seconds, seed)
    (folder / "count").write_text(str(notes.count))


def run_hypothesis(
    target: Target, seeds: list[bytes], attempt: Callable, folder: Path, seconds: float, seed: int
) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as begin
    from hypothesis import strategies as st

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seed += 1

        @begin(seed)
        @settings(
            max_examples=50,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def check(data) -> None:
            change = data.draw(st.sampled_from((change_values, change_bytes)))
            content = change(seeds, lambda below: data.draw(st.integers(0, max(below - 1, 0))))
            if time.monotonic() < until:
                attempt(content)

        check()


def run_atheris(target: Target, seeds: list[bytes], attempt: Callable, folder: Path, seconds: float, seed: int) -> None:
    import atheris

    for name in target.modules:
        for value in vars(importlib.import_module(name)).values():
            for one in vars(value).values() if isinstance(value, type) else (value,):
                if isinstance(one, types.FunctionType) and one.__module__ == name:
                    with contextlib.suppress(Exception):
                        atheris.instrument_func(one)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds):
        (corpus / str(number)).write_bytes(content)
    options = [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-seed={seed + 1}",
        f"-max_len={LARGEST}",
        "-rss_limit_mb=0",
        "-timeout=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda content: attempt(bytes(content)) and None)
    atheris.Fuzz()


def refuse_all(trial: Trial, names: tuple[str, ...], engine: str) -> None:
    """Fuzzes some targets one after the other, so many seconds each."""
    small = prepare_small()
    for name in names:
        folder = trial.folder / name
        folder.mkdir()
        ended = Child(folder, fuzz, name, engine, folder, small, trial.count, trial.chance.randrange(2**30)).wait(
            trial.count * 2 + 120
        )
        count = folder / "count"
        tries = int(count.read_text()) if count.exists() else 0
        trial.tries += tries
        trial.seen[name] = tries
        if not tries:
            trial.broken.append(f"{name}: nothing was tried")
        for found in sorted(folder.glob("*.wrong")):
            kept = keep(name, found.with_suffix(".input"))
            trial.broken.append(f"{name}: {found.read_text()} ({kept})")
        if ended.status:
            current = folder / "current"
            kept = keep(name, current) if current.exists() else "before the first input"
            trial.broken.append(f"{name}: ended with {ended.status}: {ended.lines[-8:]} ({kept})")


@functools.cache
def prepare_small() -> Path:
    folder = make_folder()
    ended = run(folder, make_small, folder)
    if ended.status:
        sys.exit(f"a small run failed: {ended.last}")
    return folder


def keep(name: str, file: Path) -> Path:
    """Copies an input to where it outlives the table."""
    folder = Path(tempfile.gettempdir()) / "bertvision-found" / name
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, folder / hashlib.sha256(file.read_bytes()).hexdigest()[:12]))


def read_table(suffix: str, folder: Path, content: bytes) -> None:
    import bertvision_tf as bv

    file = folder / f"table{suffix}"
    file.write_bytes(content)
    bv.task_from_table(file).load("train")


def write_tables(suffix: str, folder: Path) -> list[bytes]:
    rows = [(f"the {word} one", f"{number}.5", ("yes", "no")[number % 2]) for number, word in enumerate("abcdefghijkl")]
    header = ("text", "score", "label")
    if suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        streams = [io.BytesIO() for _ in range(2)]
        parquet.write_table(pyarrow.table(columns), streams[0])
        parquet.write_table(pyarrow.table(columns), streams[1], compression="none", use_dictionary=False)
        return [stream.getvalue() for stream in streams]
    if suffix == ".jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
    else:
        between = "," if suffix == ".csv" else "\t"
        lines = [between.join(header), *(between.join(row) for row in rows), between.join(('"a ""b"""', "1", "no"))]
    return ["\n".join(lines).encode(), "\r\n".join(lines).encode("utf-8-sig")]


def write_questions(folder: Path) -> list[bytes]:
    questions = [
        {"id": "1", "question": "Who came?", "answers": [{"text": "Ann", "answer_start": 0}], "is_impossible": False},
        {"id": "2", "question": "Who left?", "answers": [], "is_impossible": True, "plausible_answers": []},
    ]
    paragraphs = [{"context": "Ann came to the house.", "qas": questions}]
    return [json.dumps({"version": "v2.0", "data": [{"title": "Ann", "paragraphs": paragraphs}]}).encode()]


def read_questions(folder: Path, content: bytes) -> None:
    import bertvision_tf as bv
    from bertvision_tf.tasks.squad import read_squad

    file = folder / "train.json"
    file.write_bytes(content)
    read_squad(file, bv.get_task("squad2"), "train")


def write_checkpoint(kind: str, name: str, folder: Path) -> list[bytes]:
    shutil.copytree(CHECKPOINTS / kind, folder / "checkpoint")
    return [(folder / "checkpoint" / name).read_bytes()]


def read_checkpoint(name: str, folder: Path, content: bytes) -> None:
    from bertvision_tf.encoders.checkpoint import read_architecture
    from bertvision_tf.encoders.tokenizer import Tokenizer
    from bertvision_tf.encoders.weights import read_weights

    checkpoint = folder / "checkpoint"
    (checkpoint / name).write_bytes(content)
    if name == "tokenizer.json":
        Tokenizer.read(checkpoint).tokenize(["a house", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"], None, 32)
    else:
        architecture = read_architecture(checkpoint)
        if name == "model.safetensors":
            read_weights(checkpoint, architecture)


def write_state(folder: Path) -> list[bytes]:
    from bertvision_tf.training.state import write_state as write

    write(folder / "state", [np.ones((4, 4), np.float32), np.zeros(9, np.int64)], 7, 1.5)
    return [(folder / "state").read_bytes()]


def read_state(folder: Path, content: bytes) -> None:
    from bertvision_tf.training.state import read_state as read

    (folder / "state").write_bytes(content)
    read(folder / "state")


def make_small(folder: Path) -> None:
    """Makes a small store in `store`, and a run in `run`."""
    import bertvision_tf as bv
    from bertvision_tf.encoders import load_encoder
    from bertvision_tf.extraction import extract

    rows = bv.get_task("starter").load("dev").take(8)
    encoder = load_encoder("minilm")
    extract(encoder, rows, folder / "store", tokens="cls")
    options = {"head": "learned_pooling", "seeds": 1, "limit": 100, "fit": {"epochs": 1}, "baselines": False}
    bv.train("starter", encoder, output=folder / "run", store=folder / "states", **options)


def write_store(name: str, folder: Path) -> list[bytes]:
    shutil.copytree(folder / SMALL / "store", folder / "store")
    return [(folder / "store" / name).read_bytes()]


def read_store(folder: Path) -> None:
    from bertvision_tf.store import open_store

    store = open_store(folder / "store", check="never")
    store.decode(store.gather(range(min(len(store), 8))).states)


def read_manifest(folder: Path, content: bytes) -> None:
    """With the checksum that a forger would give it."""
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(content)
        if isinstance(values, dict) and "sha256" in values:
            del values["sha256"]
            digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
            content = json.dumps(values | {"sha256": digest}).encode()
    (folder / "store" / "manifest.json").write_bytes(content)
    read_store(folder)


def read_shard(folder: Path, content: bytes) -> None:
    """With the checksum that a forger would give it."""
    from bertvision_tf.store import schema

    path = folder / "store"
    (path / "shard-00000.h5").write_bytes(content)
    whole = schema.read_manifest(folder / SMALL / "store")
    entry = dataclasses.replace(whole.shards[0], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    schema.write_manifest(path, dataclasses.replace(whole, shards=(entry,)))
    read_store(folder)


def read_sums(folder: Path, content: bytes) -> None:
    from bertvision_tf.store import open_store

    (folder / "store" / "shard-00000.sums").write_bytes(content)
    open_store(folder / "store", check="always").gather(range(8))


def write_run(name: str, folder: Path) -> list[bytes]:
    shutil.copytree(folder / SMALL / "run", folder / "run")
    return [(folder / "run" / name).read_bytes()]


def read_run(name: str, folder: Path, content: bytes) -> None:
    """Without checksums, as a run of an earlier version."""
    import bertvision_tf as bv

    path = folder / "run"
    (path / name).write_bytes(content)
    (path / "checksums.json").unlink(missing_ok=True)
    found = bv.load_run(path)
    str(found)
    found.read_dev_predictions()


def read_page(name: str, folder: Path, content: bytes) -> None:
    import bertvision_tf as bv

    read_run(name, folder, content)
    bv.write_report([folder / "run"], folder / "page")


def read_sums_of_run(folder: Path, content: bytes) -> None:
    import bertvision_tf as bv

    (folder / "run" / "checksums.json").write_bytes(content)
    bv.load_run(folder / "run")


def write_head(folder: Path) -> list[bytes]:
    import bertvision_tf as bv

    bv.build_head("learned_pooling", num_hidden_states=3, hidden_dim=8, num_outputs=2).save(folder / "head.keras")
    with zipfile.ZipFile(folder / "head.keras") as file:
        return [file.read("config.json")]


def read_head(folder: Path, content: bytes) -> None:
    from bertvision_tf.heads.load import load_head

    with zipfile.ZipFile(folder / "head.keras") as source:
        whole = {one.filename: source.read(one) for one in source.infolist()}
    with zipfile.ZipFile(folder / "changed.keras", "w") as file:
        for name, held in whole.items():
            file.writestr(name, content if name == "config.json" else held)
    load_head(folder / "changed.keras")


def read_head_options(folder: Path, content: bytes) -> None:
    from bertvision_tf.heads.presets import read_head as read
    from bertvision_tf.settings.checks import build
    from bertvision_tf.settings.fit import FitConfig

    (folder / "head.json").write_bytes(content)
    _, fit = read(folder / "head.json")
    build(FitConfig, fit)


def write_settings(suffix: str, folder: Path) -> list[bytes]:
    import yaml

    options = {"task": "starter", "head": "learned_pooling", "seeds": [0, 1], "fit": {"epochs": 2}, "limit": 100}
    return [json.dumps(options).encode() if suffix == ".json" else yaml.dump(options).encode()]


def read_settings(suffix: str, folder: Path, content: bytes) -> None:
    from bertvision_tf.settings import RunSettings

    (folder / f"options{suffix}").write_bytes(content)
    RunSettings.from_file(folder / f"options{suffix}")


METADATA = {
    "metadata": {
        "signature_def": {
            "signature_def": {"serving_default": {"inputs": {"text": {}}, "outputs": {"label": {}, "score": {}}}}
        }
    }
}
ANSWER = {"outputs": {"label": ["a", "b"], "score": [[0.5, 0.5], [0.1, 0.9]]}}


def read_answer(folder: Path, content: bytes) -> None:
    """An answer that begins with a blank is one to a question for the signatures."""
    from bertvision_tf.serving import client

    answers = [content] if content[:1] == b" " else [json.dumps(METADATA).encode(), content]
    with mock.patch.object(
        client, "_open", side_effect=map(io.BytesIO, itertools.chain(answers, itertools.repeat(b"{}")))
    ):
        client.ServedModel("http://localhost:1/v1/models/x").predict({"text": ["a", "b"]})


STORE = ("bertvision_tf.store.schema", "bertvision_tf.store.opening", "bertvision_tf.store.shard", "bertvision_tf.hdf5")
TABLES = tuple(f"bertvision_tf.tasks.{name}" for name in ("tables", "delimited", "files", "custom", "values", "labels"))
RUNS = tuple(
    f"bertvision_tf.{name}" for name in ("runs.open", "runs.run", "runs.folder", "runs.predictions", "checksums")
)
ENCODERS = tuple(f"bertvision_tf.encoders.{name}" for name in ("checkpoint", "weights", "tokenizer"))
RUN_FILES = ("results.json", "config.json", "predictions.csv")
BERT, ROBERTA = "bert-gelu-eps1e-12-segments2", "roberta"
TARGETS = {
    **{
        suffix[1:]: Target(functools.partial(write_tables, suffix), functools.partial(read_table, suffix), TABLES)
        for suffix in (".csv", ".tsv", ".jsonl", ".parquet")
    },
    "squad": Target(write_questions, read_questions, ("bertvision_tf.tasks.squad", "bertvision_tf.paths")),
    **{
        label: Target(
            functools.partial(write_checkpoint, kind, name), functools.partial(read_checkpoint, name), ENCODERS
        )
        for label, kind, name in (
            ("encoder", BERT, "config.json"),
            ("weights", BERT, "model.safetensors"),
            ("tokenizer", ROBERTA, "tokenizer.json"),
        )
    },
    "state": Target(write_state, read_state, ("bertvision_tf.training.state",)),
    "manifest": Target(functools.partial(write_store, "manifest.json"), read_manifest, STORE),
    "shard": Target(functools.partial(write_store, "shard-00000.h5"), read_shard, STORE),
    "sums": Target(
        functools.partial(write_store, "shard-00000.sums"),
        read_sums,
        ("bertvision_tf.store.blocks", "bertvision_tf.store.check"),
    ),
    **{name: Target(functools.partial(write_run, name), functools.partial(read_run, name), RUNS) for name in RUN_FILES},
    **{
        f"page of {name}": Target(functools.partial(write_run, name), functools.partial(read_page, name), RUNS)
        for name in RUN_FILES
    },
    "checksums": Target(functools.partial(write_run, "checksums.json"), read_sums_of_run, RUNS),
    "head.json": Target(
        lambda _: [json.dumps({"head": {"pooling": "learned"}, "fit": {"epochs": 2}}).encode(), b'{"front": "parts"}'],
        read_head_options,
        ("bertvision_tf.heads.presets", "bertvision_tf.heads.config"),
    ),
    "head": Target(write_head, read_head, ("bertvision_tf.heads.archive", "bertvision_tf.heads.load")),
    **{
        f"options{suffix}": Target(
            functools.partial(write_settings, suffix),
            functools.partial(read_settings, suffix),
            ("bertvision_tf.settings.run",),
        )
        for suffix in (".json", ".yaml")
    },
    "answers": Target(
        lambda _: [json.dumps(ANSWER).encode(), b" " + json.dumps(METADATA).encode()],
        read_answer,
        ("bertvision_tf.serving.client",),
    ),
}

QUICK = tuple(name for name in TARGETS if not name.startswith("page"))  # a page takes seconds


def change_all(trial: Trial) -> None:
    refuse_all(trial, QUICK if trial.count <= FEW else tuple(TARGETS), "hypothesis")


def cover_all(trial: Trial) -> None:
    if importlib.util.find_spec("atheris") is None:
        trial.check(True, "")
        trial.seen["without atheris, which is not installed"] = 1
    else:
        refuse_all(trial, QUICK if trial.count <= FEW else tuple(TARGETS), "atheris")


LINE = "a file or an answer that is changed is read, or refused in one line"
PROMISES = [
    Promise("fuzz-values", f"{LINE} (hypothesis; seconds a target)", change_all, 300, 2, breaking),
    Promise("fuzz-bytes", f"{LINE} (atheris; seconds a target)", cover_all, 300, 1, breaking),
]
