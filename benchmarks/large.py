"""A table of many rows on its way to batches, and the anonymous memory (RssAnon) of each step.

Rows are made words, four to twenty-four each, half of them of either label. The table is read, an extraction is
planned, states are extracted, every byte is verified, and two epochs are fed: shuffled, without a head. Mapped files do
not count, since the system takes their pages back when it needs them.

    python benchmarks/large.py --rows 1000000 --tokens cls
    python benchmarks/large.py --rows 60000 --encoder FOLDER --dtype bfloat16      # 20 GB with BERT-large's shape
    python benchmarks/large.py --rows 10000000 --until tokens                      # no encoder runs
"""

import argparse
import random
import threading
import time
from pathlib import Path

from memory import read_anonymous

WORDS = """the a cat dog runs eats sees bird house tree small big red blue old new quickly often never very movie film
story good bad great boring actor scene plot ending music camera light dark people world life time year day""".split()
STEPS = ("table", "tokens", "extraction")
INTERVAL = 0.2  # seconds between two looks at the memory


class Watch:
    """Tells what each step took, and its memory at the start, at most, and at fifths of its time."""

    def __init__(self) -> None:
        self._seen: list[float] = []
        self._start = time.perf_counter()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._seen.append(read_anonymous())
            time.sleep(INTERVAL)

    def tell(self, step: str, what: str) -> None:
        """A line for the step that has just ended."""
        seen, seconds = [*self._seen, read_anonymous()], time.perf_counter() - self._start
        fifths = [f"{seen[place * (len(seen) - 1) // 5]:,.0f}" for place in range(6)]
        print(f"{step}: {what}; {seconds:,.0f} s; MiB {' '.join(fifths)}, at most {max(seen):,.0f}", flush=True)
        self._seen, self._start = [], time.perf_counter()


def write_rows(file: Path, rows: int) -> None:
    """A CSV file of made rows, the same each time."""
    chance = random.Random(0)
    with open(file, "w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        for row in range(rows):
            words = " ".join(chance.choices(WORDS, k=chance.randint(4, 24)))
            stream.write(f"{words} {row},{chance.choice(('pos', 'neg'))}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--tokens", choices=("all", "cls"), default="all")
    parser.add_argument("--codec", default="int8")
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1])
    parser.add_argument("--folder", type=Path, default=Path("large"), help="for the table and the store, which stay")
    parser.add_argument("--quick", action="store_true", help="of 20,000 rows, [CLS] alone")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.tokens = 20_000, "cls"
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"{options.rows}.csv"
    if not file.exists():
        write_rows(file, options.rows)

    import bertvision_tf as bv
    from bertvision_tf.extraction import estimate
    from bertvision_tf.extraction.plan import ShardPlan, plan_spec

    encoder = bv.load_encoder(options.encoder, options.dtype)
    watch = Watch()
    watch.tell("start", f"{options.encoder} in {options.dtype}")
    rows = bv.task_from_table(file).load("train")
    watch.tell("table", f"{len(rows):,} training rows of {file.stat().st_size / 1e6:,.0f} MB; {rows.fingerprint}")
    if options.until == "table":
        return
    choices = {"tokens": options.tokens, "codec": options.codec}
    plan = ShardPlan(encoder, rows, plan_spec(encoder, rows, **choices))
    watch.tell("tokens", f"{sum(plan.count_tokens()):,} in {len(plan):,} shards")
    del plan
    if options.until == "tokens":
        return
    found = estimate(encoder, [rows], options.folder)
    watch.tell("plan", f"{found.hours * 3600:,.0f} s at {found.tokens_per_second:,.0f} tokens a second")
    store = bv.extract(encoder, rows, options.folder / f"{options.rows}-{options.tokens}", **choices)
    watch.tell("extraction", f"{store.bytes / 1e9:,.2f} GB, {store.rows:,} stored tokens")
    store.verify()
    watch.tell("verified", f"{len(store.manifest.shards):,} shards")
    for epoch in range(2):
        fed = sum(len(labels) for _, labels in store.as_dataset(batch_size=32, shuffle=True, seed=epoch))
        watch.tell("epoch", f"{fed:,} rows in batches of 32")


if __name__ == "__main__":
    main()
