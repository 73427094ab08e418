"""Verbs that write something, and that are killed, or for which disk or memory end."""

import atexit
import csv
import dataclasses
import functools
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from children import breaking, run
from kills import compute_digests
from promises import Promise, Trial

TRAIN = ("train", "--limit", "300", "--seeds", "1", "--head", "learned_pooling", "--no-baselines", "--epochs", "2")
TUNE = ("--limit", "100", "--fine-tune-epochs", "1", "--fine-tune-dtype", "float32")
SEARCH = ("search", "--limit", "200", "--tuner", "random", "--trials", "2", "--only", "body=none")


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """A verb, and what it needs.

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
    prepare: Callable[[Path], object]
    same: Callable[[Path, Path], bool]

    @functools.cached_property
    def alone(self) -> tuple[Path, float]:
        """A folder in which the verb was left alone, and the seconds that it took."""
        folder = make_folder()
        self.prepare(folder)
        ended = run(folder, self.words)
        if ended.status:
            sys.exit(f"{self.verb} failed: {ended.last}")
        return folder, ended.seconds

    def find_fault(self, folder: Path) -> str:
        """Runs the verb to its end in a folder in which it was stopped; what is wrong then, or "" """
        ended = run(folder, self.words)
        if ended.status:
            return ended.last
        if wrong := find_half(folder / self.result):
            return wrong
        if not self.same(folder, self.alone[0]):
            return "the end is another than that of a run left alone"
        left = [file.name for file in folder.rglob(".*.partial")]
        return f"{left[0]} is left" if left else ""


def make_folder() -> Path:
    """Empty; deleted when Python ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def have_same_scores(one: Path, other: Path) -> bool:
    names = [Path("run") / name for name in ("results.json", "predictions.csv")]
    first, second = (json.loads((path / names[0]).read_text())["scores"] for path in (one, other))
    return first == second and (one / names[1]).read_bytes() == (other / names[1]).read_bytes()


def have_near_scores(one: Path, other: Path) -> bool:
    """Of fine-tuned encoders, whose sums come in another order after a kill."""
    first, second = (json.loads((path / "run" / "results.json").read_text())["scores"] for path in (one, other))
    return abs(first[0] - second[0]) < 0.02


def have_same_trials(one: Path, other: Path) -> bool:
    """Of searches: the same choices, scores and best head, whatever the seconds."""

    def read(path: Path) -> list[dict[str, str]]:
        with open(path / "search" / "trials.csv", newline="") as file:
            return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]

    best = [(path / "search" / "best.json").read_bytes() for path in (one, other)]
    return read(one) == read(other) and best[0] == best[1]


def have_same_files(name: str, one: Path, other: Path) -> bool:
    """The same names of files, none of them empty."""
    first, second = ({path.relative_to(at / name) for path in (at / name).rglob("*")} for at in (one, other))
    return first == second and all(path.stat().st_size for path in (one / name).rglob("*") if path.is_file())


def have_same_bytes(name: str, one: Path, other: Path) -> bool:
    return compute_digests(one / name) == compute_digests(other / name)


def find_half(path: Path) -> str:
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
        if path.name == "search" and not (path / SUMS).is_file():  # while its files are replaced
            return ""
        if not (path / SUMS).is_file():
            return f"{path.name} has its name and is not whole"
        check_files(path, RunError)
    except BertvisionError as error:
        return str(error)
    return ""


@functools.cache
def make_works() -> list[Work]:
    """The verbs, and what they need, which is made once."""
    source = make_folder()
    part = ("extract", "--split", "dev", "--limit", "200", "--output")
    for words in (
        (*TRAIN, "--store", "states", "--output", "run"),
        (*part, "store"),
        *((*part, "parts", "--shard", f"{number}/2") for number in "12"),
    ):
        ended = run(source, words)
        if ended.status:
            sys.exit(f"{' '.join(words)} failed: {ended.last}")

    def copy(name: str, target: str, folder: Path) -> None:
        shutil.copytree(source / name, folder / target)

    def damage(folder: Path) -> None:
        copy("store", "store", folder)
        file = folder / "store" / "shard-00000.h5"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    copy_run, copy_states = functools.partial(copy, "run", "run"), functools.partial(copy, "states", "states")
    parts, same_store = functools.partial(copy, "parts", "store"), functools.partial(have_same_bytes, "store")
    same_export, same_page = (functools.partial(have_same_files, name) for name in ("export", "page"))
    output = ("--store", "states", "--output", "run")
    return [
        Work("train", (*TRAIN, *output), "run", lambda _: None, have_same_scores),
        Work("export", ("export", "run", "--output", "export"), "export", copy_run, same_export),
        Work("report", ("report", "run", "--output", "page"), "page", copy_run, same_page),
        Work("repair", ("repair", "store"), "store", damage, same_store),
        Work("merge", ("merge", "store"), "store", parts, same_store),
        Work("search", (*SEARCH, "--store", "states", "--output", "search"), "search", copy_states, have_same_trials),
        Work("fine-tune", (*TRAIN, *TUNE, *output), "run", lambda _: None, have_near_scores),
    ]


def take_works(trial: Trial) -> Iterator[tuple[Work, Path]]:
    """So many works as there are tries, each in turn, and a folder that is ready for it."""
    works = make_works()
    order = trial.chance.sample(works, len(works))
    for number in range(trial.count):
        folder = trial.folder / str(number)
        folder.mkdir()
        order[number % len(order)].prepare(folder)
        yield order[number % len(order)], folder
        shutil.rmtree(folder)


def kill_verbs(trial: Trial) -> None:
    """Kills each verb in turn at a random moment, looks at what it has left, and runs it to its end."""
    for work, folder in take_works(trial):
        moment = trial.chance.uniform(0.3, 1.4) * work.alone[1]
        killed = run(folder, work.words, seconds=moment).status == -signal.SIGKILL
        wrong = find_half(folder / work.result) or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, killed after {moment:.1f} s: {wrong}")
        trial.seen[work.verb if killed else "ended before"] += 1


PROMISES = [Promise("kills-verbs", "a verb that is killed leaves nothing by half", kill_verbs, 133, 5, breaking)]
