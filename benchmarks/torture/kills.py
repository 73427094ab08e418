"""Processes that are killed at random moments, and whatever goes on after them.

Extractions end by SIGKILL, some at a random moment, others the moment a shard has its name, before the manifest can
have it too. One of two workers of a Ray cluster is killed. Then the same is run to its end.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
import random
import signal
import time
from pathlib import Path

from children import PATIENCE, Child, breaking, run
from promises import Promise, Trial

CODECS = ("int8", "int4", "float32", "bfloat16")  # a store of each
BATCH_TOKENS, SHARD_ROWS = 256, 512  # some 40 shards of the starter task's training rows


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


def finish(folder: Path, codecs: tuple[str, ...]) -> str:
    """Runs extractions to their end, and returns what went wrong."""
    ended = run(folder, run_child, folder, codecs)
    return f"extraction failed: {ended.last}" if ended.status else ""


def wait_until_named(child: Child, shard: Path) -> None:
    """Returns the moment a shard has its final name."""
    last = time.monotonic() + PATIENCE
    while not os.path.exists(shard):
        if not child.is_alive or time.monotonic() > last:
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
        child = Child(folder, run_child, folder, [codec])
        wait_until_named(child, folder / codec / f"shard-{place:05d}.h5")
        if number % 2:  # every second one at a random moment, not the moment when it is named
            time.sleep(chance.uniform(0, 0.05))
        child.kill()
        if child.wait().status == -signal.SIGKILL:  # else it was at its end already
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
    left_alone.mkdir(), killed.mkdir()
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
    left_alone.mkdir()
    wrong = finish(left_alone, CODECS[:1])
    trial.check(not wrong, wrong)
    expected = compute_digests(left_alone / CODECS[0])
    trial.tries = 0
    for number in range(torture_cluster(trial.folder / "cluster", trial.count, trial.chance)):
        found = compute_digests(trial.folder / "cluster" / str(number))
        trial.check(found == expected, f"extraction {number}: another SHA-256 than that of a run left alone")


PROMISES = [
    Promise("kills", "an extraction that is killed ends in the same bytes", kill_extractions, 60, 4, breaking),
    Promise("kills-cluster", "a worker of a cluster that is killed loses nothing", kill_workers, 10, 1),
]
