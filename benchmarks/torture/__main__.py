"""Tries to break each promise of the library, and prints a table with a line for each.

python benchmarks/torture [--quick] [--only flips-store kills ...] [--prove] [--seed 0]

A line has how often the promise was tried, how often it was broken, and the seconds. With --prove each is tried once
more with its check taken out of the library: then it has to be broken, or what tries it cannot fail. Exits with 1 where
a promise was broken, or held without its check.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import bombs
import disk
import flips
import fuzz
import hostile
import kills
import processes
import sameness
import verbs
from promises import BREAK, Promise, Trial

ROOMS = (flips, hostile, bombs, fuzz, kills, verbs, disk, processes, sameness)
PROMISES = [promise for room in ROOMS for promise in room.PROMISES]
SHOWN = 5  # broken tries of a promise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less often, in some minutes")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in PROMISES], metavar="NAME")
    parser.add_argument("--prove", action="store_true", help="take each check out, and see the promise broken")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [one for one in PROMISES if options.only is None or one.name in options.only]
    failed = []
    print("| promise | tried | broken | seen | seconds |\n| --- | ---: | ---: | --- | ---: |", flush=True)
    for promise in chosen:
        trial, seconds = run(promise, promise.quick if options.quick else promise.whole, options.seed)
        seen = ", ".join(f"{count} {what}" for what, count in sorted(trial.seen.items()))
        print(f"| {promise.text} | {trial.tries} | {len(trial.broken)} | {seen} | {seconds:.0f} |", flush=True)
        failed += [f"{promise.name}: {line}" for line in trial.broken[:SHOWN]]
        if not trial.tries:
            failed.append(f"{promise.name}: nothing was tried")
    if options.prove:
        failed += prove(chosen, options.seed)
    for line in failed:
        print(line, file=sys.stderr)
    sys.exit(bool(failed))


def prove(promises: list[Promise], seed: int) -> list[str]:
    """Tries promises without their checks, and returns a line for each that held."""
    held = []
    print("\n| without its check | tried | broken | seconds |\n| --- | ---: | ---: | ---: |", flush=True)
    for promise in promises:
        if promise.without is None:
            print(f"| {promise.name}: there is no single check to take out | | | |", flush=True)
            continue
        os.environ[BREAK] = promise.name
        with promise.without():
            trial, seconds = run(promise, promise.quick, seed)
        del os.environ[BREAK]
        print(f"| {promise.name} | {trial.tries} | {len(trial.broken)} | {seconds:.0f} |", flush=True)
        if not trial.broken:
            held.append(f"{promise.name}: held without its check")
    return held


def run(promise: Promise, count: int, seed: int) -> tuple[Trial, float]:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), count, f"{seed} {promise.name}")
        promise.keep(trial)
        return trial, time.monotonic() - start


if __name__ == "__main__":
    main()
