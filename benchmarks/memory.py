"""Anonymous memory of extraction and training on questions, at two sizes of the starter task.

Each size runs in a process of its own that watches RssAnon in /proc/self/status: mapped shards do not count, since the
system takes their pages back when it needs them.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def read_anonymous() -> float:
    """MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def run_child(count: int, encoder: str) -> None:
    """One run on the first questions; prints what it came to."""
    import bertvision_tf as bv

    loaded = bv.load_encoder(encoder, dtype="bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        highest = {"extract": 0.0, "train": 0.0}
        doing = ["extract"]

        def watch() -> None:
            while True:
                highest[doing[0]] = max(highest[doing[0]], read_anonymous())
                time.sleep(0.05)

        def follow(what: str, done: int, total: int) -> None:
            doing[0] = what.split()[0] if what.split()[0] in highest else doing[0]

        threading.Thread(target=watch, daemon=True).start()
        run = bv.train(
            *("starter_qa", loaded),
            **{"seeds": 1, "limit": count, "fit": {"epochs": 1}, "baselines": False, "progress": follow},
            **{"store": f"{folder}/states", "output": f"{folder}/run"},
        )
        store = run.results["store"]
        print(
            f"{count:,} questions: states {store['bytes'] / 2**20:,.0f} MiB; RssAnon at most "
            f"{highest['extract']:,.0f} MiB in extraction, {highest['train']:,.0f} MiB in training",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, nargs="+", default=[600, 2400])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--child", type=int)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options.encoder)
        return
    for count in options.questions:
        subprocess.run([sys.executable, __file__, "--child", str(count), "--encoder", options.encoder], check=True)


if __name__ == "__main__":
    main()
