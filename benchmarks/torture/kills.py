"""Processes that are killed at random moments, and whatever goes on after them.

Extractions end by SIGKILL, some at a random moment, others the moment a shard has its name, before the manifest can
have it too. One of two workers of a Ray cluster is killed. Other verbs are killed at a random moment of the time that
they take. Then the same command is run to its end.
"""

import argparse
import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from child import breaking
from promises import Promise, Trial

CODECS = ("int8", "int4", "float32", "bfloat16")  # a store of each
BATCH_TOKENS, SHARD_ROWS = 256, 512  # some 40 shards of the starter task's training rows
PATIENCE = 180.0  # seconds that one process may take
CHILD = str(Path(__file__).with_name("child.py"))


@dataclasses.dataclass
class Kill:
    """What lay in the folder after one kill.

    Attributes:
        shards: with their final name.
        entries: shards in the manifest.
        partials: temporary files.
        total: shards of the whole store.
    """

    shards: int
    entries: int
    partials: int
    total: int


def run_child(folder: Path, codecs: list[str]) -> None:
    """Extracts a store of each codec, in a process that may be killed."""
    from bertvision_tf.encoders import load_encoder
    from bertvision_tf.extraction import extract
    from bertvision_tf.tasks import get_task

    encoder = load_encoder("minilm", dtype="bfloat16")
    examples = get_task("starter").load("train")
    for codec in codecs:
        extract(encoder, examples, folder / codec, codec=codec, batch_tokens=BATCH_TOKENS, shard_rows=SHARD_ROWS)


def start_child(folder: Path, *codecs: str) -> subprocess.Popen:
    command = [sys.executable, __file__, str(folder), *codecs]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, codecs: tuple[str, ...]) -> str:
    """Runs extractions to their end, and returns what went wrong."""
    child = start_child(folder, *codecs)
    errors = child.communicate(timeout=PATIENCE)[1].strip().rpartition("\n")[2]
    return f"extraction failed with {child.returncode}: {errors}" if child.returncode else ""


def wait_until_named(child: subprocess.Popen, shard: Path) -> None:
    """Returns the moment a shard has its final name."""
    last = time.monotonic() + PATIENCE
    while not os.path.exists(shard):
        if child.poll() is not None or time.monotonic() > last:
            return
        time.sleep(0.0002)  # less than it takes to enter the shard in the manifest


def look(path: Path) -> Kill:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except ValueError:  # half written
        manifest = {"shards": [], "num_shards": 0}
    shards, partials = list(path.glob("shard-*.h5")), list(path.glob(".*.partial"))
    return Kill(len(shards), len(manifest["shards"]), len(partials), manifest["num_shards"])


def torture(folder: Path, codec: str, kills: int, num_shards: int, chance: random.Random) -> list[Kill]:
    """Kills the extraction of one store, at places spread over all its shards."""
    seen = []
    places = sorted(chance.sample(range(num_shards - 2), kills))  # the shard that is waited for, before each kill
    for number, place in enumerate(places):
        child = start_child(folder, codec)
        wait_until_named(child, folder / codec / f"shard-{place:05d}.h5")
        if number % 2:  # every second one at a random moment, not the moment when it is named
            time.sleep(chance.uniform(0, 0.05))
        child.kill()
        child.communicate()
        if child.returncode == -signal.SIGKILL:  # else it was at its end already
            seen.append(look(folder / codec))
    return seen


def torture_cluster(folder: Path, kills: int, chance: random.Random) -> int:
    """Kills one of two workers of a cluster, at a random moment of each of some extractions, and counts the killed."""
    if not kills:
        return 0
    import psutil
    import ray

    from bertvision_tf.encoders import load_encoder
    from bertvision_tf.extraction import extract
    from bertvision_tf.tasks import get_task

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    encoder, rows = load_encoder("minilm", dtype="bfloat16"), get_task("starter").load("train")
    plan = {"codec": CODECS[0], "batch_tokens": BATCH_TOKENS, "shard_rows": SHARD_ROWS}
    seen = 0
    for number in range(kills):
        moment, killed = chance.uniform(0, 0.95), []

        def tell(done: int, total: int, moment: float = moment, killed: list = killed) -> None:
            if not killed and done >= moment * total:
                time.sleep(chance.uniform(0, 0.2))
                names = [(one, " ".join(one.info["cmdline"] or ())) for one in psutil.process_iter(["cmdline"])]
                killed.append(chance.choice([process for process, name in names if "ShardWorker" in name]))
                killed[0].kill()

        extract(encoder, rows, folder / str(number), ray="auto", workers=2, progress=tell, **plan)
        seen += len(killed)
    ray.shutdown()
    return seen


def compute_digests(path: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())}


def kill_extractions(trial: Trial) -> None:
    """Kills extractions into a store of each codec, and compares every file with that of one left alone."""
    left_alone, killed = trial.folder / "left-alone", trial.folder / "killed"
    codecs = CODECS[: max(min(len(CODECS), trial.count), 1)]
    wrong = finish(left_alone, codecs)
    trial.check(not wrong, wrong)
    seen: list[Kill] = []
    for number, codec in enumerate(codecs):
        kills = trial.count // len(codecs) + (number < trial.count % len(codecs))
        seen += torture(killed, codec, kills, look(left_alone / codec).total, trial.chance)
    wrong = finish(killed, codecs)
    for codec in codecs:
        same = not wrong and compute_digests(killed / codec) == compute_digests(left_alone / codec)
        trial.check(same, wrong or f"{codec}: a file has another SHA-256 than that of a run left alone")
    trial.tries = len(seen)
    trial.seen["amid the shards"] = sum(0 < kill.shards < kill.total for kill in seen)
    trial.seen["between a shard's name and its entry"] = sum(kill.shards > kill.entries for kill in seen)
    trial.seen["with a temporary file"] = sum(kill.partials > 0 for kill in seen)


def kill_workers(trial: Trial) -> None:
    """Kills a worker of a cluster in each of some extractions."""
    if importlib.util.find_spec("ray") is None:
        trial.check(True, "")
        trial.seen["without Ray, which is not installed"] = 1
        return
    left_alone = trial.folder / "left-alone"
    wrong = finish(left_alone, CODECS[:1])
    trial.check(not wrong, wrong)
    expected = compute_digests(left_alone / CODECS[0])
    trial.tries = 0
    for number in range(torture_cluster(trial.folder / "cluster", trial.count, trial.chance)):
        found = compute_digests(trial.folder / "cluster" / str(number))
        trial.check(found == expected, f"extraction {number}: another SHA-256 than that of a run left alone")


@dataclasses.dataclass(frozen=True)
class Work:
    """A verb that is killed.

    Attributes:
        verb: its name.
        words: of its command.
        result: what it writes, in the folder where it runs.
        prepare: makes the folder ready.
        same: whether two folders, after the verb, are as they have to be to each other.
    """

    verb: str
    words: tuple[str, ...]
    result: str
    prepare: Callable[[Path], None]
    same: Callable[[Path, Path], bool]


TRAIN = ("train", "--limit", "300", "--seeds", "1", "--head", "learned_pooling", "--no-baselines", "--epochs", "2")


def run_verb(folder: Path, *words: str, kill_after: float | None = None) -> tuple[int, str, float]:
    """Runs a verb in a folder; kills it after so many seconds. Returns its status, what it said, and its seconds."""
    start = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, CHILD, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        errors = child.communicate(timeout=PATIENCE if kill_after is None else kill_after)[1]
    except subprocess.TimeoutExpired:
        child.kill()
        errors = child.communicate()[1]
    return child.returncode, errors.strip().rpartition("\n")[2], time.monotonic() - start


def have_same_scores(one: Path, other: Path) -> bool:
    names = [Path("run") / name for name in ("results.json", "predictions.csv")]
    first, second = (json.loads((path / names[0]).read_text())["scores"] for path in (one, other))
    return first == second and (one / names[1]).read_bytes() == (other / names[1]).read_bytes()


def have_near_scores(one: Path, other: Path) -> bool:
    """Of fine-tuned encoders, whose sums come in another order after a kill."""
    first, second = (json.loads((path / "run" / "results.json").read_text())["scores"] for path in (one, other))
    return abs(first[0] - second[0]) < 0.02


def have_same_bytes(name: str, one: Path, other: Path) -> bool:
    return compute_digests(one / name) == compute_digests(other / name)


def is_whole(path: Path) -> str:
    """What is wrong with what a verb has given its name; "" where nothing is, or where there is none."""
    from bertvision_tf.checksums import SUMS, check_files
    from bertvision_tf.errors import BertvisionError, RunError

    if not path.exists():
        return ""
    if path.name == "page":
        names = {file.name for file in path.iterdir()}
        return "" if names == {"index.html", "report.json", "pictures"} else f"the page holds {sorted(names)} alone"
    if path.name == "store" or not any(path.iterdir()):
        return ""
    try:
        if not (path / SUMS).is_file():
            return f"{path.name} has its name and is not whole"
        check_files(path, RunError)
    except BertvisionError as error:
        return str(error)
    return ""


def list_works(root: Path) -> list[Work]:
    """The verbs, and what they need, which is made once."""
    source = root / "source"
    source.mkdir()
    words = (
        (*TRAIN, "--store", "states", "--output", "run"),
        ("extract", "--split", "dev", "--limit", "200", "--output", "store"),
        *(
            ("extract", "--split", "dev", "--limit", "200", "--output", "parts", "--shard", f"{part}/2")
            for part in "12"
        ),
    )
    for one in words:
        status, said, _ = run_verb(source, *one)
        if status:
            sys.exit(f"{' '.join(one)} failed: {said}")

    def damage(folder: Path) -> None:
        shutil.copytree(source / "store", folder / "store")
        file = folder / "store" / "shard-00000.h5"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    def copy(name: str, target: str, folder: Path) -> None:
        shutil.copytree(source / name, folder / target)

    run = functools.partial(copy, "run", "run")
    tune = ("--fine-tune-epochs", "1", "--fine-tune-dtype", "float32")
    return [
        Work("train", (*TRAIN, "--store", "states", "--output", "run"), "run", lambda _: None, have_same_scores),
        Work("fine-tune", (*TRAIN, *tune, "--store", "s", "--output", "run"), "run", lambda _: None, have_near_scores),
        Work("export", ("export", "run", "--output", "export"), "export", run, lambda *_: True),
        Work("report", ("report", "run", "--output", "page"), "page", run, lambda *_: True),
        Work("repair", ("repair", "store"), "store", damage, functools.partial(have_same_bytes, "store")),
        Work(
            *("merge", ("merge", "store"), "store", functools.partial(copy, "parts", "store")),
            functools.partial(have_same_bytes, "store"),
        ),
    ]


def kill_verbs(trial: Trial) -> None:
    """Kills each verb in turn at a random moment, looks at what it has left, and runs it to its end."""
    works = list_works(trial.folder)
    takes: dict[str, float] = {}
    for number in range(trial.count):
        work = works[number % len(works)]
        alone, folder = trial.folder / f"{work.verb}-alone", trial.folder / str(number)
        if work.verb not in takes:
            alone.mkdir()
            work.prepare(alone)
            status, said, takes[work.verb] = run_verb(alone, *work.words)
            if status:
                sys.exit(f"{work.verb} failed: {said}")
        folder.mkdir()
        work.prepare(folder)
        moment = trial.chance.uniform(0.3, 1) * takes[work.verb]
        killed, _, _ = run_verb(folder, *work.words, kill_after=moment)
        wrong = is_whole(folder / work.result)
        status, said, _ = run_verb(folder, *work.words)
        if status:
            wrong = wrong or said
        elif not wrong:
            wrong = is_whole(folder / work.result)
            if not wrong and not work.same(folder, alone):
                wrong = "the end is another than that of a run left alone"
            left = [file.name for file in folder.rglob(".*.partial")]
            wrong = wrong or (f"{left[0]} is left" if left else "")
        trial.check(not wrong, f"{work.verb}, killed after {moment:.1f} s: {wrong}")
        trial.seen[work.verb if killed == -signal.SIGKILL else "ended before"] += 1
        shutil.rmtree(folder)


def main() -> None:
    """Extracts in a process that may be killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("codecs", nargs="+")
    options = parser.parse_args()
    with breaking():
        run_child(options.folder, options.codecs)


PROMISES = [
    Promise("kills", "an extraction that is killed ends in the same bytes", kill_extractions, 60, 4, breaking),
    Promise("kills-cluster", "a worker of a cluster that is killed loses nothing", kill_workers, 10, 1),
    Promise("kills-verbs", "a verb that is killed leaves nothing by half", kill_verbs, 132, 6, breaking),
]

if __name__ == "__main__":
    main()
