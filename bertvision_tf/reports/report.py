"""Finished runs as one page: how good they are, what they cost, whether they differ, and what they get wrong."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import reports
from ..checksums import SUMS
from ..errors import BertvisionError, RunError
from ..paths import read_path
from ..progress import Progress, ignore
from ..runs import Run, group_by_rows, name_runs, open_runs, write_folder, writing_to
from ..runs.folder import write_json
from .figures import draw_run, draw_runs
from .mistakes import choose_examples, collect_mistakes, show_label, show_prediction
from .plots import to_svg, write_png
from .rows import DevRows, read_dev_rows
from .slices import slice_rows
from .table import build_header, build_named_rows, tell_tuning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA, PAGE, PICTURES = "report.json", "index.html", "pictures"
HELD = (DATA, PAGE, f"{PICTURES}/task-*.png")
ALL_PAIRS = 5  # runs of one task that are compared each with each; more only with the chosen one


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the page: its file's name without suffix, its caption, and itself."""

    name: str
    caption: str
    svg: str


@dataclasses.dataclass(frozen=True)
class RunPart:
    """What the page says of one run.

    Attributes:
        name: as shown.
        facts: by what they are called.
        pictures: of its training, layers and errors.
        examples: of single rows.
        no_examples: why there are none, where they were asked for.
        words: whether it differs from its rivals.
    """

    name: str
    facts: dict[str, str]
    pictures: list[Picture]
    examples: list[Picture]
    no_examples: str
    words: list[str]


@dataclasses.dataclass(frozen=True)
class TaskPart:
    """What the page says of runs on the same dev rows.

    Attributes:
        key: what no other part is called, of letters, digits and dashes.
        title, metric: of the task.
        header, table: of all models, cells as text.
        pictures: of all runs together.
        comparisons: whether runs differ, in words.
        score: what slices are scored by.
        slices: by what divides the rows: of each its name, its rows, and the score and its standard error of each run.
        spans_right: of each run on questions, by name, of how many answerable ones the best span and the second-best
            one are right.
        mistakes: as `collect_mistakes` gives them.
        runs: each alone.
        ranked: whether the first of them is the one that the selection rows chose; not where these differ.
    """

    key: str
    title: str
    metric: str
    header: list[str]
    table: list[list[str]]
    pictures: list[Picture]
    comparisons: list[str]
    score: str
    slices: dict[str, list[dict[str, Any]]]
    spans_right: dict[str, dict[str, float]]
    mistakes: dict[str, Any]
    runs: list[RunPart]
    ranked: bool


def write_report(
    runs: Sequence[Run | str | Path],
    output: str | Path = "report",
    *,
    examples: int = 2,
    progress: Progress = ignore,
) -> Path:
    """Writes finished runs as one page that needs nothing beside itself, its pictures as PNGs, and its numbers as JSON.

    Args:
        runs: or their folders, on any tasks; those on the same dev rows are compared.
        output: the folder, which gets index.html, pictures/ and report.json; a report that is there is replaced.
        examples: rows of each task that are shown as images, read by the run that the selection rows chose, for which
            its encoder runs; 0 for none.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        the page.

    Raises:
        RunError: a folder holds no run, or something that is no report stands at `output`.

    Example:
        >>> write_report(["runs/cola-learned_pooling", "runs/cola-cnn_1x5_64"], "report")
    """
    opened = open_runs(runs)
    if not opened:
        raise RunError("a report needs a run or more.")
    if examples < 0:
        raise RunError(f"`examples` needs 0 or more, got {examples}.")
    names = dict(zip(name_runs(opened), opened, strict=True))
    output = read_path(output)
    with write_folder(output, DATA, "report", HELD) as folder, writing_to(output):
        (folder / PICTURES).mkdir()
        groups = group_by_rows(names)
        progress("report", 0, len(groups))
        parts = []
        for done, group in enumerate(groups, start=1):
            with _reading(group):
                parts.append(_describe_task(folder / PICTURES, f"task-{done}", group, examples))
            progress("report", done, len(groups))
        (folder / PAGE).write_text(_render(parts), encoding="utf-8")
        write_json(folder / DATA, {"tasks": [_describe_data(part) for part in parts]})
    return output / PAGE


@contextlib.contextmanager
def _reading(runs: Mapping[str, Run]) -> Iterator[None]:
    """One line for files without checksums that are not as runs have them: they may be damaged in many ways."""
    try:
        yield
    except (BertvisionError, OSError):
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if all((run.path / SUMS).is_file() for run in runs.values()):
            raise
        where = ", ".join(str(run.path) for run in runs.values())
        raise RunError(f"{where} cannot be shown, and may be damaged: {type(error).__name__}: {error}") from error


def _rank_runs(runs: Mapping[str, Run]) -> tuple[dict[str, Run], bool]:
    """Runs on the same dev rows, the one that the selection rows chose first, and whether they have all the same."""
    same = len({run.config.get("selection_rows") for run in runs.values()}) == 1
    order = sorted(runs, key=lambda name: -float(np.mean(runs[name].results["selection_scores"]))) if same else runs
    return {name: runs[name] for name in order}, same


def _describe_task(folder: Path, key: str, runs: Mapping[str, Run], examples: int) -> TaskPart:
    runs, ranked = _rank_runs(runs)
    names, results = list(runs), [run.results for run in runs.values()]
    rows = {name: read_dev_rows(run.path, run.config, run.results["metric"]) for name, run in runs.items()}
    first, table = rows[names[0]], build_named_rows(results, names)
    for name in names:
        if not rows[name].has_rows_of(first):
            raise RunError(f"the dev rows of {name} are not those of {names[0]}, though both say so.")
    described = []
    for place, (name, run) in enumerate(runs.items()):
        own = [_write(folder, f"{key}-run-{place + 1}", *one) for one in draw_run(run.path, run.results, rows[name])]
        shown, no_examples = [] if place else choose_examples(first, examples), ""
        pictures = []
        try:
            for rank, row in enumerate(shown, start=1):
                pictures.append(_write(folder, f"{key}-example", str(rank), *_draw_example(run, first, row)))
        except BertvisionError as error:  # the encoder is gone
            no_examples = str(error)
        words = [one["words"] for one in run.results["significance"]]
        described.append(RunPart(name, _list_facts(run), own, pictures, no_examples, words))
    task, metric = results[0]["task"], results[0]["metric"]
    several = len(runs[names[0]].config["examples"]) > 2
    return TaskPart(
        key=key,
        title=f"{task}, {len(first):,} dev rows" + (" of its first dev split" if several else ""),
        metric=metric,
        header=build_header(table),
        table=[list(row.cells()) for row in table],
        pictures=[_write(folder, key, *one) for one in draw_runs(results, names, table)],
        comparisons=[
            rows[one].compare(rows[other]).describe(one, other)
            for one, other in itertools.combinations(names, 2)
            if len(names) <= ALL_PAIRS or one == names[0]
        ],
        score=first.kind.score_name,
        slices=_score_slices(rows),
        spans_right={name: _share_spans(own) for name, own in rows.items() if own.answers is not None},
        mistakes=collect_mistakes(rows),
        runs=described,
        ranked=ranked,
    )


def _score_slices(rows: dict[str, DevRows]) -> dict[str, list[dict[str, Any]]]:
    first = next(iter(rows.values()))
    return {
        what: [
            {
                "name": one.name,
                "rows": len(one.rows),
                "scores": [one.score(own) for own in rows.values()],
                "errors": [one.measure_error(own) for own in rows.values()],
            }
            for one in slices
        ]
        for what, slices in slice_rows(first)
    }


def _share_spans(rows: DevRows) -> dict[str, float]:
    assert rows.answers is not None and rows.spans_right is not None
    answerable = [place for place, answers in enumerate(rows.answers) if answers]
    best, second = rows.spans_right[answerable].mean(axis=0) if answerable else (0.0, 0.0)
    return {"questions": len(answerable), "best": float(best), "second": float(second)}


def _draw_example(run: Run, rows: DevRows, place: int) -> tuple[str, Figure]:
    """A row's caption and image."""
    pair = None if rows.text_pairs is None else rows.text_pairs[place]
    figure = run.explain(rows.texts[place], pair).plot()
    said, label = show_prediction(rows, place), show_label(rows, place)
    verdict = "wrong" if rows.wrong[place] else "right"
    text = rows.texts[place] if pair is None else f"{rows.texts[place]} / {pair}"
    return f"{rows.ids[place]}, {verdict}: label {label}, prediction {said}. {text}", figure


def _list_facts(run: Run) -> dict[str, str]:
    results, config = run.results, run.config
    tuned = results["fine_tune"]
    return {
        "folder": str(run.path),
        "encoder": f"{results['encoder']}, {results['encoder_parameters']:,} weights, " + tell_tuning(tuned),
        "hidden states": f"{', '.join(map(str, results['layers']['names']))}; {config['tokens']} tokens, "
        f"{config['codec']}",
        "head": f"{results['head']}, {results['trainable_parameters']:,} weights",
        "rows": ", ".join(f"{count:,} {what}" for what, count in results["rows"].items()),
        "seeds": ", ".join(map(str, results["seeds"])),
        "seconds": ", ".join(f"{what} {count:.1f}" for what, count in results["seconds"].items()),
        "versions": ", ".join(f"{what} {version}" for what, version in results["versions"].items()),
    }


def _write(folder: Path, key: str, name: str, caption: str, figure: Figure) -> Picture:
    """Writes a picture as PNG, and keeps it for the page."""
    name = f"{key}-{name}"
    write_png(figure, folder / f"{name}.png")
    return Picture(name, caption, to_svg(figure, name))


def _describe_data(part: TaskPart) -> dict[str, Any]:
    """The numbers of a part."""
    kept = {name: getattr(part, name) for name in ("title", "metric", "header", "table", "comparisons", "score")}
    runs = [one.name for one in part.runs]
    return kept | {"runs": runs, "slices": part.slices, "spans_right": part.spans_right, "mistakes": part.mistakes}


def _render(parts: Sequence[TaskPart]) -> str:
    """The page. Every text in it is escaped; its policy forbids it to load anything, and to run another script than its
    own."""
    from jinja2 import Environment, StrictUndefined

    sources = {
        name: (files(reports) / "page" / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(sources["page.html"])
    script = sources["page.js"]
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(parts=parts, style=sources["page.css"], script=script, script_hash=script_hash)
