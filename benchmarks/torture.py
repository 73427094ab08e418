"""Kills extraction at random moments, starts it again, and compares what comes of it with a run left alone.

Each store is extracted by processes of their own that end by SIGKILL. Some are killed at a random moment, others the
moment a shard has its name, before the manifest can have it too. Then a last process finishes the store, and the
SHA-256 of every file must be that of an undisturbed run. Then two workers of a Ray cluster extract the store again and
again, and one of them is killed each time. Exits with 1 where anything is otherwise.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CODECS = ("int8", "int4", "float32", "bfloat16")  # a store of each
BATCH_TOKENS, SHARD_ROWS = 256, 512  # some 40 shards of the starter task's training rows
PATIENCE = 120.0  # seconds that one process may take


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
    command = [sys.executable, __file__, "--child", str(folder), *codecs]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(folder: Path) -> None:
    """Runs all extractions to their end."""
    child = start_child(folder, *CODECS)
    errors = child.communicate(timeout=PATIENCE)[1]
    if child.returncode:
        sys.exit(f"extraction into {folder} failed with {child.returncode}:\n{errors}")


def wait_until_named(child: subprocess.Popen, shard: Path) -> None:
    """Returns the moment a shard has its final name."""
    last = time.monotonic() + PATIENCE
    while not os.path.exists(shard):
        if child.poll() is not None or time.monotonic() > last:
            child.kill()
            sys.exit(f"extraction ended before {shard}:\n{child.communicate()[1]}")
        time.sleep(0.0002)  # less than it takes to enter the shard in the manifest


def look(path: Path) -> Kill:
    manifest = json.loads((path / "manifest.json").read_text())
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
            print(f"  {codec}: {seen[-1]}", flush=True)
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
        print(f"  worker killed when {moment:.0%} was done", flush=True)
    ray.shutdown()
    return seen


def compute_digests(path: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())}


def check(wrong: list[str], fine: bool, claim: str) -> None:
    print(("ok    " if fine else "WRONG ") + claim)
    if not fine:
        wrong.append(claim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cluster-kills", type=int, default=10, help="of workers of a Ray cluster; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return run_child(Path(options.child[0]), options.child[1:])
    if options.kills < len(CODECS):
        parser.error(f"--kills needs {len(CODECS)} or more")

    start = time.monotonic()
    chance = random.Random(options.seed)
    wrong: list[str] = []
    seen: list[Kill] = []
    with tempfile.TemporaryDirectory() as folder:
        left_alone, killed = Path(folder) / "left-alone", Path(folder) / "killed"
        finish(left_alone)
        for number, codec in enumerate(CODECS):
            kills = options.kills // len(CODECS) + (number < options.kills % len(CODECS))
            seen += torture(killed, codec, kills, look(left_alone / codec).total, chance)
        finish(killed)
        for codec in CODECS:
            found, expected = compute_digests(killed / codec), compute_digests(left_alone / codec)
            check(wrong, found == expected, f"{codec}: all {len(expected)} files have the SHA-256 of a run left alone")
            check(wrong, not look(killed / codec).partials, f"{codec}: no temporary file is left")
        for number in range(torture_cluster(Path(folder) / "cluster", options.cluster_kills, chance)):
            found = compute_digests(Path(folder) / "cluster" / str(number))
            expected = compute_digests(left_alone / CODECS[0])
            check(wrong, found == expected, f"a worker killed, {number + 1}: the SHA-256 of a run left alone")
    amid = sum(0 < kill.shards < kill.total for kill in seen)
    between = sum(kill.shards > kill.entries for kill in seen)
    most, few = options.kills * 3 // 4, max(options.kills // 7, 1)
    check(wrong, len(seen) == options.kills, f"{len(seen)} of {options.kills} kills")
    check(wrong, amid >= most, f"{amid} after the first shard and before the last (need {most})")
    check(wrong, between >= few, f"{between} between a shard's name and its entry in the manifest (need {few})")
    print(f"{sum(kill.partials > 0 for kill in seen)} left a temporary file; {time.monotonic() - start:.0f} seconds")
    if wrong:
        sys.exit("failed: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
