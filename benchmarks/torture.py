"""Kills extraction at random moments, starts it again, and compares what comes of it with a run left alone.

Each store is extracted by processes of their own that end by SIGKILL. Some are killed at a random moment, others the
moment a shard has its name, before the manifest can have it too. Then a last process finishes the store, and the
SHA-256 of every file must be that of an undisturbed run. Exits with 1 where anything is otherwise.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
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
    """

    shards: int
    entries: int
    partials: int


def run_child(path: str, codec: str) -> None:
    """One extraction, in a process that may be killed."""
    from bertvision_tf.encoders import load_encoder
    from bertvision_tf.extraction import extract
    from bertvision_tf.tasks import get_task

    encoder = load_encoder("minilm", dtype="bfloat16")
    examples = get_task("starter").load("train")
    extract(encoder, examples, path, codec=codec, batch_tokens=BATCH_TOKENS, shard_rows=SHARD_ROWS)


def start_child(path: Path, codec: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--child", str(path), codec]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(path: Path, codec: str) -> None:
    """Runs an extraction to its end."""
    child = start_child(path, codec)
    errors = child.communicate(timeout=PATIENCE)[1]
    if child.returncode:
        sys.exit(f"extraction into {path} failed with {child.returncode}:\n{errors}")


def wait_until_named(child: subprocess.Popen, shard: Path) -> None:
    """Returns the moment a shard has its final name."""
    last = time.monotonic() + PATIENCE
    while not os.path.exists(shard):
        if child.poll() is not None or time.monotonic() > last:
            child.kill()
            sys.exit(f"extraction ended before {shard}:\n{child.communicate()[1]}")


def look(path: Path) -> Kill:
    manifest = path / "manifest.json"
    entries = json.loads(manifest.read_text())["shards"] if manifest.is_file() else []
    return Kill(len(list(path.glob("shard-*.h5"))), len(entries), len(list(path.glob(".*.partial"))))


def torture(path: Path, codec: str, kills: int, num_shards: int, chance: random.Random) -> list[Kill]:
    """Kills the extraction of one store, at places spread over all its shards, and then finishes it."""
    seen = []
    places = sorted(chance.sample(range(num_shards - 2), kills))  # the shard that is waited for, before each kill
    for number, place in enumerate(places):
        child = start_child(path, codec)
        wait_until_named(child, path / f"shard-{place:05d}.h5")
        if number % 2:  # every second one at a random moment, not the moment when it is named
            time.sleep(chance.uniform(0, 0.05))
        child.kill()
        child.communicate()
        seen.append(look(path))
        print(f"  {codec}: killed at {seen[-1]}", flush=True)
    finish(path, codec)
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
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return run_child(*options.child)
    if options.kills < len(CODECS):
        parser.error(f"--kills needs {len(CODECS)} or more")

    start = time.monotonic()
    chance = random.Random(options.seed)
    wrong: list[str] = []
    seen: list[Kill] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, codec in enumerate(CODECS):
            left_alone, killed = Path(folder) / f"{codec}-left-alone", Path(folder) / codec
            finish(left_alone, codec)
            num_shards = look(left_alone).shards
            kills = options.kills // len(CODECS) + (number < options.kills % len(CODECS))
            found = torture(killed, codec, kills, num_shards, chance)
            amid = sum(0 < kill.shards < num_shards for kill in found)
            check(wrong, amid == kills, f"{codec}: {amid} of {kills} kills after the first and before the last shard")
            same = compute_digests(killed) == compute_digests(left_alone)
            check(wrong, same, f"{codec}: {num_shards} shards and the manifest have the SHA-256 of a run left alone")
            check(wrong, not look(killed).partials, f"{codec}: no temporary file is left")
            seen += found
    between = sum(kill.shards > kill.entries for kill in seen)
    few = max(options.kills // 7, 1)
    check(wrong, len(seen) == options.kills, f"{len(seen)} kills")
    check(wrong, between >= few, f"{between} of them between a shard's name and its entry in the manifest (need {few})")
    print(f"{sum(kill.partials > 0 for kill in seen)} left a temporary file; {time.monotonic() - start:.0f} seconds")
    if wrong:
        sys.exit("failed: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
