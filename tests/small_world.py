"""A small world in which the pages' commands run in seconds, as they are written.

"minilm" is an encoder of two blocks and width 8, tasks have a few rows, a run has one seed and one epoch, a search two
trials, a grid its first and last cells, and pictures are empty. Beside the commands lie the files that the pages name.
"""

import contextlib
import csv
import dataclasses
import functools
import inspect
import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from .command import run_here

ENCODER = Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2"
STARTERS = Path(__file__).parents[1] / "bertvision_tf" / "tasks" / "data"
ROWS = {"train": 32, "dev": 16, "test": 16}
TRIALS = 2
EPOCHS = 1
HEADS = ["learned_pooling", "adapter_64_shared", "cnn_1x5_64"]  # those that are listed

GLUE = {  # of each task the first line of its files, and a line of two sentences, as GLUE has them
    "CoLA": ("", "made\t{label}\t\t{one}"),
    "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{label}\t{row}\t{row}\t{one}\t{two}"),
    "RTE": ("index\tsentence1\tsentence2\tlabel", "{row}\t{one}\t{two}\t{name}"),
}
TESTS = {  # of those that a page submits
    "CoLA": ("index\tsentence", "{row}\t{one}"),
    "RTE": ("index\tsentence1\tsentence2", "{row}\t{one}\t{two}"),
}
RUNS = {  # what a page may suppose to be there, and the command that makes it
    "runs/cola": "train --task cola --data-dir glue",
    "runs/cola-standardized_adapter_64_shared": "train --task cola --data-dir glue",
    "runs/cola-learned_pooling": "train --task cola --data-dir glue --head learned_pooling",
    "runs/reviews": "train --train reviews.csv --text-column 'What they wrote' --label-column Verdict",
    "runs/rte-comparison_adapter_64": "train --task rte --data-dir glue --head comparison_adapter_64",
    "runs/rte-comparison_adapter_64_similarity_8": "train --task rte --data-dir glue",
    "runs/a": "train --task rte --data-dir glue --head comparison_adapter_64",
    "runs/b": "train --task rte --data-dir glue",
}


class World:
    """The files that pages suppose, made once, and a copy of them for each page.

    Attributes:
        home: where they are made.
        made: the folder of each run, by the command that made it.
    """

    def __init__(self, home: Path, real: Path | None):
        self.home, self.made = home, {}
        write_glue(home / "glue", real and real / "glue")
        write_squad(home / "squad", real and real / "squad" if real else STARTERS / "starter_qa")
        write_tables(home)
        (home / "states").mkdir()

    def furnish(self, folder: Path, runs: Sequence[str], patch: pytest.MonkeyPatch) -> None:
        """Puts into a page's folder what the page supposes. States are shared: a run finds those of another page."""
        for name in ("glue", "squad", "reviews.csv", "new.csv", "mine.csv", "sentences.csv"):
            source = self.home / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        (folder / "states").symlink_to(self.home / "states")
        for run in runs:
            shutil.copytree(self.make(RUNS[run], patch), folder / run)

    def make(self, command: str, patch: pytest.MonkeyPatch) -> Path:
        """The folder of the run that a command makes, once."""
        if command not in self.made:
            name = self.home / "runs" / str(len(self.made))
            with patch.context() as here:
                here.chdir(self.home)
                done = run_here(*shlex.split(command), "--output", name)
            assert done.returncode == 0, done.output
            self.made[command] = name
        return self.made[command]


def write_glue(folder: Path, real: Path | None) -> None:
    """Train and dev of three of GLUE's tasks, the real files where they are there, and made test rows."""
    lines = (STARTERS / "starter" / "train.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[3] for line in lines[: 2 * ROWS["train"]]]
    for title, form in GLUE.items():
        (folder / title).mkdir(parents=True)
        for split in ("train", "dev"):
            if real:
                shutil.copy(real / title / f"{split}.tsv", folder / title)
            else:
                write_lines(folder / title / f"{split}.tsv", *form, texts)
    for title, form in TESTS.items():
        write_lines(folder / title / "test.tsv", *form, texts)


def write_lines(file: Path, first: str, line: str, texts: Sequence[str]) -> None:
    """A file of two sentences a line."""
    lines = [first] if first else []
    for row, (one, two) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        name = "entailment" if row % 2 else "not_entailment"
        lines.append(line.format(row=row, label=row % 2, name=name, one=one, two=two))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_squad(folder: Path, source: Path) -> None:
    """The first questions of the first articles of SQuAD's files, or of the starter questions."""
    folder.mkdir()
    for split in ("train", "dev"):
        content = json.loads((source / f"{split}-v2.0.json").read_text(encoding="utf-8"))
        content["data"] = [
            article | {"paragraphs": [part | {"qas": part["qas"][:4]} for part in article["paragraphs"][:2]]}
            for article in content["data"][: ROWS[split] // 8]
        ]
        (folder / f"{split}-v2.0.json").write_text(json.dumps(content), encoding="utf-8")


def write_tables(folder: Path) -> None:
    """Tables of one's own: reviews, their new rows, questions on contexts, and sentences."""
    reviews = [
        (f"It {'works' if row % 2 else 'broke'} on day {row}.", "good" if row % 2 else "bad") for row in range(64)
    ]
    asked = [(f"Who lost ship {row}?", f"Ada Morley {row} lost ship {row} at sea.") for row in range(64)]
    write_table(folder / "reviews.csv", ("What they wrote", "Verdict"), reviews)
    new = [(review, *asked[row]) for row, (review, _) in enumerate(reviews[:8])]
    write_table(folder / "new.csv", ("What they wrote", "question", "context"), new)
    answers = [(*both, f"Ada Morley {row}" if row % 3 else "") for row, both in enumerate(asked)]
    write_table(folder / "mine.csv", ("question", "context", "answers"), answers)
    write_table(folder / "sentences.csv", ("sentence",), [(review,) for review, _ in reviews[:8]])


def write_table(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Caps what takes long, behind what the commands and the Python of the pages say."""
    from bertvision_tf import extraction, heads
    from bertvision_tf.encoders import find
    from bertvision_tf.experiments import compare, grid, injection
    from bertvision_tf.settings import HeadSettings
    from bertvision_tf.tasks import TaskSpec
    from bertvision_tf.training.encoder_trial import EncoderTrial
    from bertvision_tf.training.trial import Trial
    from bertvision_tf.tuning import head_search

    load, seeds, save = TaskSpec.load, HeadSettings.all_seeds.fget, Figure.savefig

    def load_few(task: TaskSpec, split: str, *rest: Any, **more: Any) -> Any:
        rows = load(task, split, *rest, **more)
        count = min(ROWS.get(split, ROWS["dev"]), len(rows))
        return rows.select(np.linspace(0, len(rows) - 1, count).round().astype(int))

    def save_empty(figure: Figure, *where: Any, **how: Any) -> None:
        figure.clear()
        save(figure, *where, **how)

    patch.setattr(Figure, "savefig", save_empty)
    patch.setattr(find, "find_packaged", lambda name: ENCODER)
    patch.setattr(TaskSpec, "load", load_few)
    patch.setattr(HeadSettings, "all_seeds", property(lambda settings: seeds(settings)[:1]))
    patch.setattr(heads, "list_presets", lambda: HEADS)
    patch_call(patch, extraction, "estimate", seconds=lambda _: 0.1)
    patch_call(patch, head_search, "build_oracle", trials=lambda trials: min(trials, TRIALS))
    patch_call(patch, Trial, "__init__", config=lambda fit: dataclasses.replace(fit, epochs=min(fit.epochs, EPOCHS)))
    patch_call(patch, EncoderTrial, "fit_best_epoch", epochs=lambda epochs: epochs[:1])
    patch_call(patch, compare, "plan_cells", seeds=lambda _: 1)
    patch_call(patch, injection, "inject_layers", places=lambda places: places[:1], seeds=lambda seeds: seeds[:1])
    patch_call(
        *(patch, injection, "inject_weights"),
        injection=lambda asked: dataclasses.replace(asked, groups=asked.groups[:2], shares=asked.shares[-2:], draws=1),
    )
    build = grid.build_grid

    def build_ends(*given: Any, **axes: Any) -> Any:
        whole = build(*given, **axes)
        return dataclasses.replace(
            whole, **{name: list(dict.fromkeys([*ends[:1], *ends[-1:]])) for name, ends in read_axes(whole).items()}
        )

    patch.setattr(grid, "build_grid", build_ends)


def read_axes(whole: Any) -> dict[str, Sequence[float]]:
    """What the cells of a grid differ in, but its tasks."""
    return {name: values for name, values in vars(whole).items() if name != "tasks"}


@contextlib.contextmanager
def running_eagerly() -> Iterator[None]:
    """Has TensorFlow trace no graphs, which takes longer here than all steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def patch_call(patch: pytest.MonkeyPatch, module: Any, name: str, **caps: Any) -> None:
    """Has a function called with some of its arguments changed."""
    usual = getattr(module, name)
    signature = inspect.signature(usual)

    @functools.wraps(usual)
    def run(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        bound.apply_defaults()
        for argument, cap in caps.items():
            bound.arguments[argument] = cap(bound.arguments[argument])
        return usual(*bound.args, **bound.kwargs)

    patch.setattr(module, name, run)
