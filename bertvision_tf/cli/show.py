"""What verbs print of what the library has done: tables and the lines below them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ..reports.calibration import tell_calibration
from ..reports.table import (
    build_draw_rows,
    build_header,
    build_rows,
    build_task_rows,
    choose_further,
    count_places,
    group_by_draw,
    show_bytes,
    tell_tuning,
)

if TYPE_CHECKING:
    from ..experiments.ensemble import Ensemble
    from ..experiments.rank import Rank
    from ..extraction.estimate import Estimate
    from ..tuning import Search

LISTED = 5  # trials of a search
LINEAR = ("all layers mean", "kept layers mean")  # what the name of the rival begins with that is a linear head


def show_written(*files: Path) -> None:
    """A line for each file or folder that was written."""
    for file in files:
        print(f"wrote {file}")


def show_cells(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], width: int = 150) -> None:
    """A table of names, in the columns without one above them, and numbers."""
    table = Table(title=title)
    for column in header:
        table.add_column(column, justify="left" if not column else "right", no_wrap=bool(column))
    for row in rows:
        table.add_row(*row)
    print_table(table, width)


def print_table(table: Table, width: int) -> None:
    """Prints a table as wide as the terminal, or as so many characters where there is none."""
    Console(width=None if sys.stdout.isatty() else width).print(table)


def show_run(results: Sequence[dict[str, Any]]) -> None:
    """One task: a row for each model, and a column for each draw of training rows, where there are several."""
    first = results[0]
    if len(group_by_draw(results)) > 1:
        header, rows = build_draw_rows(results)
    else:
        models = build_rows(results)
        header, rows = build_header(models), [list(row.cells()) for row in models]
    show_cells(f"{first['task']} dev, {first['metric']}; {_describe_encoder(results)}", header, rows)


def show_tasks(results: Sequence[dict[str, Any]]) -> None:
    """One table over several tasks: a row for each task, a column for each rival and the head."""
    header, rows = build_task_rows(results)
    heads = " and ".join(dict.fromkeys(run["head"] for run in results))
    table = Table(title=f"dev; {_describe_encoder(results)}; heads {heads}")
    for column in header:
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for row in rows:
        table.add_row(*row)
    print_table(table, 150)


def _describe_encoder(results: Sequence[dict[str, Any]]) -> str:
    if all("from" in (run["fine_tune"] or {}) for run in results):
        return f"encoder {results[0]['encoder']}, {tell_tuning(results[0]['fine_tune'])}"
    tuned = [f"{run['fine_tune']['epochs']:g}" if run["fine_tune"] else "0" for run in results]
    epochs = ", ".join(dict.fromkeys(tuned))
    return f"encoder {results[0]['encoder']}, " + ("frozen" if epochs == "0" else f"fine-tuned {epochs} epochs")


def show_notes(results: dict[str, Any]) -> None:
    """What a run's table means, and what its states cost."""
    rows, store = results["rows"], results["store"]
    training, selection = f"{rows['training']:,} training rows", f"{rows['selection']:,} selection rows"
    if results.get("folds"):
        each, chosen_by = "fold", f"{training} and {selection} of the first fold, which chose its epoch"
    else:
        each, chosen_by = "seed", f"{training}; {selection} chose epoch and regularisation"
    where = f"{show_bytes(store['bytes'])} ({store['codec']}), extracted in {results['seconds']['extract']:.1f} s"
    if not store["paths"]:
        where = f"no store (through {store['codec']}): the encoder ran anew for each batch"
    print(
        f"Mean ± sample deviation over {len(results['seeds'])} {each}s, seconds per {each}, memory of the whole "
        f"process, weights beside the encoder's {results['encoder_parameters']:,}. {chosen_by}; {rows['dev']:,} "
        f"dev rows were read once.\n"
        f"States: {store['tokens']:,} tokens of {store['examples']:,} texts in {where}; {rows['truncated']} texts cut."
    )
    if results.get("calibration"):
        print(tell_calibration(results["calibration"]))
    linear = next((one for name, one in results["baselines"].items() if name.startswith(LINEAR)), None)
    if linear and not results["head_config"].get("linear"):
        selected, head = linear["selection_score"], sum(results["selection_scores"]) / len(results["selection_scores"])
        if selected >= head:
            print(
                f"On the selection rows a linear model on the means of all layers is as good ({selected:.3f}, heads "
                f"{head:.3f}), in {linear['seconds']:.0f} s: --head linear_all_layers."
            )
    choice = results.get("head_choice")
    if choice and len(choice["scores"]) > 1:
        taken = choice["taken"]
        others = [
            f"{score:.3f} of {name} (standard error of the difference {choice['standard_errors'][name]:.3f})"
            for name, score in choice["scores"].items()
            if name != taken
        ]
        print(
            f"Head {taken}: on the selection rows {choice['scores'][taken]:.3f}, against {', '.join(others)}; chosen "
            f"in {choice['seconds']:.0f} s."
        )
    chosen = results["layers"]["chosen"]
    if chosen:
        scores, kept, every = chosen["scores"], len(chosen["kept"]), len(chosen["ranking"])
        print(
            f"Layers {', '.join(map(str, chosen['kept']))} of {every} kept, {kept / every:.0%} of the bytes: on the "
            f"selection rows of {chosen['examples']:,} examples they score {scores[str(kept)]:.3f}, all "
            f"{scores[str(every)]:.3f} with a standard error of {chosen['standard_error']:.3f}."
        )


def show_estimate(task: str, encoder: str, found: Estimate) -> None:
    """What extraction costs."""
    print(
        f"{task} with {encoder}: {found.examples:,} texts, {found.tokens:,} tokens, the longest {found.longest}; "
        f"{found.truncated} texts cut.\n"
        f"{found.tokens_per_second:,.0f} tokens a second in a trial here: {found.hours:.2f} hours "
        f"({found.hours * 60:.1f} minutes). {show_bytes(found.free_bytes)} free on the disk."
    )
    modes = list(next(iter(found.bytes.values())))
    table = Table(title=f"bytes of {found.states} states a token (* does not fit)")
    for column in ("--codec", *(f"--tokens {mode}" for mode in modes)):
        table.add_column(column, justify="left" if column == "--codec" else "right")
    for codec, sizes in found.bytes.items():
        table.add_row(
            codec, *(show_bytes(size) + ("" if found.fits(codec, mode) else " *") for mode, size in sizes.items())
        )
    print_table(table, 110)
    print(
        "Cheaper: a codec of fewer bits; --tokens cls; some of the --layers; a shorter --max-length; fewer rows with "
        "--limit; --dtype bfloat16 for time; or no store at all, with train --store none or images_from_encoder."
    )
    if not found.fits("int8", "all"):
        print("warning: int8, the default, does not fit with all tokens.", file=sys.stderr)


def show_scales(
    found: Estimate, codec: str, mode: str, device_rate: float | None = None, disk_rate: float | None = None
) -> None:
    """When a store takes less time than running the encoder anew.

    Args:
        found: what `estimate` has measured.
        codec, mode: of the store.
        device_rate: tokens a second of each device; the trial's with None.
        disk_rate: megabytes a second of the disk; the trial's with None.
    """
    from ..extraction.scaling import ON_A_MACHINE, Rates, scale

    if mode not in found.bytes[codec]:
        mode = "all"
    disk = (disk_rate * 1e6, disk_rate * 1e6) if disk_rate else found.disk
    if disk is None:
        print("The disk was not tried: it is full, or cannot be written or measured. Name its rate with --disk-rate.")
        return
    rates = Rates(device_rate or found.tokens_per_second, *disk)
    table = Table(title=f"a store of {show_bytes(found.bytes[codec][mode])} (--codec {codec} --tokens {mode}), or none")
    for column in ("devices", "to make it", "a pass over it", "a pass with --store none", "a store is faster from"):
        table.add_column(column, justify="right")
    for one in scale(found.tokens, found.bytes[codec][mode], rates):
        made = show_time(one.making) + (" (disk)" if one.disk_bound else "")
        pays = "never" if one.pays_from is None else f"{one.pays_from} pass{'es' * (one.pays_from > 1)}"
        table.add_row(str(one.devices), made, show_time(one.reading), show_time(one.running), pays)
    print_table(table, 110)
    own = "given" if device_rate else "of the trial here"
    whose = "given" if disk_rate else "of a trial here, of one file that was flushed and then read"
    print(
        f"Worked out, not measured, from {rates.encoder:,.0f} tokens a second and device ({own}), and a disk that "
        f"writes {rates.write / 1e6:,.0f} and reads {rates.read / 1e6:,.0f} MB a second ({whose}), which all devices "
        f"share. Assumed: devices make equal shares of the store, each at that rate; without a store those of one "
        f"machine, {ON_A_MACHINE} at most, run the encoder; a pass is an epoch of one seed over these texts; "
        "nothing of a store stays in memory from pass to pass; the head's own time is left out. (disk): the disk takes "
        "longer than the encoders."
    )


def show_time(seconds: float) -> str:
    """In the largest unit of which there is one or more."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def show_ranks(ranks: Sequence[Rank]) -> None:
    """A row for each encoder, the best first by its best layer: that layer, and the mean of all."""
    by_encoder: dict[str, list[Rank]] = {}
    for rank in ranks:
        by_encoder.setdefault(rank.encoder, []).append(rank)
    best = {name: max(own, key=lambda one: one.log_me) for name, own in by_encoder.items()}
    header = ["", "best layer", "LogME", "H-score", "mean of layers: LogME", "H-score", "seconds", "of states"]
    rows = []
    for name, one in sorted(best.items(), key=lambda item: -item[1].log_me):
        own = by_encoder[name]
        mean = own[-1]
        cells = [str(one.layer), *_show_measures(one), *_show_measures(mean)]
        rows.append([name, *cells, f"{sum(rank.seconds for rank in own):.1f}", f"{mean.extraction_seconds:.1f}"])
    show_cells("encoders by LogME on the training rows", header, rows)


def _show_measures(rank: Rank) -> tuple[str, str]:
    return f"{rank.log_me:.4f}", "-" if rank.h_score is None else f"{rank.h_score:.4f}"


def show_ensemble(found: Ensemble) -> None:
    """The members' scores, and each combination's."""
    shown, rows = [found.metric, *choose_further(found.members[0].metrics)], []
    places = count_places(found.members[0].metrics)
    for one in (*found.members, *found.modes):
        numbers = [f"{value:.{places}f}" for value in (one.selection_score, *(one.metrics[name] for name in shown))]
        chosen = " *" if one is found.chosen else ""
        rows.append([one.name + chosen, *numbers, ", ".join(f"{weight:.2f}" for weight in one.weights)])
    show_cells(f"dev, {found.metric}", ["", "selection", *shown, "weights"], rows)
    print("* chosen on the selection rows.")


def show_search(found: Search) -> None:
    """The best trials, those that failed, and what it took."""
    ended = [(one.score, one) for one in found.trials if one.score is not None]
    failed = [one for one in found.trials if one.score is None]
    for score, one in sorted(ended, key=lambda pair: -pair[0])[:LISTED]:
        values = ", ".join(f"{name} {value}" for name, value in one.values.items())
        print(f"trial {one.name}: {found.metric} {score:.3f} on the selection rows, {one.seconds:.1f} s: {values}")
    for one in failed[:LISTED]:
        print(f"trial {one.name} failed: {one.reason}")
    seconds = sum(one.seconds for one in found.trials)
    print(f"{len(found.trials)} trials, {len(failed)} of them failed, {seconds:.0f} s")
    print(f"head: {found.path / 'best.json'}")
