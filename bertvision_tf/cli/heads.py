"""`bertvision heads` and `compare`: what heads there are, and which is best."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from ..errors import HeadError
from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import print_table

Count = Annotated[int, Parameter(validator=Number(gte=1))]


@app.command
@takes_settings("encoder", "pooler")
def heads(
    names: list[str] | None = None,
    /,
    *,
    tokens: Count = 128,
    outputs: Count = 2,
    kind: str = "classification",
    settings: RunSettings,
) -> None:
    """List heads: what each is, its number of weights, and its multiply-adds for one example.

    Args:
        names: Names of heads; by default all the listed ones.
        tokens: Number of tokens of an example; 1 for states of --tokens cls.
        outputs: Number of classes.
        kind: classification, regression or span.
    """
    start_tensorflow()
    from rich.table import Table

    from ..encoders import load_encoder
    from ..heads import describe_head, get_preset, list_presets, measure_head
    from ..heads.config import Solver
    from ..heads.presets import SOLVED

    encoder = load_encoder(settings.encoder)
    states = encoder.num_hidden_states + settings.states.pooler
    sizes = {"num_hidden_states": states, "hidden_dim": encoder.hidden_dim, "num_tokens": tokens}
    table = Table(
        title=f"heads for {kind} on {settings.encoder} ({encoder.num_parameters:,} weights): images of {states} x "
        f"{tokens} x {encoder.hidden_dim}"
    )
    for column in ("name", "weights", "of the encoder", "multiply-adds", "what it is"):
        table.add_column(column, justify="left" if column in ("name", "what it is") else "right")
    for name in names or [*list_presets(), *SOLVED]:
        try:
            size = measure_head(name, kind=kind, num_outputs=outputs if kind == "classification" else None, **sizes)
        except HeadError as error:
            if names:
                raise
            table.add_row(name, "", "", "", f"not here: {error}")
            continue
        words = describe_head(name)
        if get_preset(name).solver is Solver.KERNEL:
            table.add_row(name, "grow with the rows", "", "", words)
            continue
        share = f"{size.trainable_parameters / encoder.num_parameters:.3%}"
        table.add_row(name, f"{size.trainable_parameters:,}", share, f"{size.multiply_adds:,}", words)
    print_table(table, 180)


@app.command
@takes_settings("encoder", "dtype", "engine", "data_dir", "limit", "store", "cache", "cache_bytes", "check")
def compare(
    *,
    output: Path = Path("comparison.csv"),
    heads: Annotated[list[str] | None, Parameter(name="--head")] = None,
    tasks: Annotated[list[str] | None, Parameter(name="--task")] = None,
    seeds: Count = 3,
    only_print: Annotated[bool, Parameter(name="--print")] = False,
    settings: RunSettings,
) -> int:
    """Compare heads over tasks. A cell is one head on one task; after a stop, the same command continues.

    Args:
        output: A CSV file, one line for each cell; cells that are in it are not run again.
        heads: May be given several times; by default all the listed heads.
        tasks: May be given several times; by default cola, mrpc, rte and stsb.
        seeds: Number of heads in each cell; heads of over a million weights are trained once.
        only_print: Run nothing: print the table of the cells in the file.
    """
    start_tensorflow()
    from ..encoders import load_encoder
    from ..experiments.cells import read_cells
    from ..experiments.compare import (
        TASKS,
        Cell,
        Failure,
        compare_heads,
        describe_setting,
        format_comparison,
        plan_cells,
    )
    from ..heads import list_presets
    from ..heads.presets import SOLVED

    failed, states, rows = 0, settings.states, settings.rows
    encoder = load_encoder(settings.encoder, states.dtype, states.engine)
    planned = plan_cells(encoder, heads or [*list_presets(), *SOLVED], tasks or TASKS, seeds)
    if not only_print:
        with show_progress() as progress:
            places = {name: getattr(settings.places, name) for name in ("store", "cache", "cache_bytes", "check")}
            options: dict[str, Any] = {**places, "data_dir": rows.data_dir, "limit": rows.limit}
            for cell in compare_heads(output, encoder, planned, progress=progress, **options):
                failed += isinstance(cell, Failure)
                what = f"error: {cell.reason}" if isinstance(cell, Failure) else f"{cell.mean:.3f}"
                print(f"{cell.task} {cell.head}: {what}", file=sys.stderr)
    print(format_comparison(read_cells(output, Cell, describe_setting(encoder, rows.limit)), planned))
    return int(failed > 0)
