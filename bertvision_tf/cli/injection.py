"""`bertvision inject-weights` and `inject-layers`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..settings import FitConfig, RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .readers import read_names, read_numbers, reading
from .settings import takes_settings
from .show import show_written

Names = Annotated[Sequence[str], reading(read_names)]
Shares = Annotated[Sequence[float], reading(partial(read_numbers, kind=float, least=0))]
Blocks = Annotated[Sequence[int] | None, reading(partial(read_numbers, kind=int, least=0), show_default=False)]
Counts = Annotated[Sequence[int], reading(partial(read_numbers, kind=int, least=0))]


@app.command
@takes_settings("data_dir")
def inject_weights(
    run: Path,
    /,
    *,
    output: Path = Path("weight-injection.csv"),
    groups: Names = ("all", "embeddings", "attention", "feed_forward", "norms"),
    shares: Shares = (0, 0.25, 0.5, 0.75, 0.9, 1),
    draws: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    epochs: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    settings: RunSettings,
) -> None:
    """Set fine-tuned weights back to their values before fine-tuning, and score the encoder's own head.

    Args:
        run: Folder of a finished run with a fine-tuned encoder.
        output: A CSV file, one line for each score; the plots are written beside it.
        groups: all, embeddings, attention, feed_forward, norms or block_N, separated by commas.
        shares: Shares of a group's weights to set back, separated by commas.
        draws: Number of random draws of the weights for each share.
        epochs: Epochs for which the other weights are then trained; 0 for none.
    """
    start_tensorflow()
    from ..experiments import injection
    from ..experiments.cells import read_cells
    from ..runs import load_run, writing_to

    asked = injection.WeightInjection(groups, shares, draws, epochs)
    with show_progress() as progress:
        opened = injection.open_fine_tuned(load_run(run), settings.rows.data_dir)
        for cell in injection.inject_weights(output, *opened, asked, progress=progress):
            line = f"{cell.group} {cell.share:g} seed {cell.seed} draw {cell.draw}: {cell.score:.3f}"
            print(line, file=sys.stderr)
        pictures = [output.with_name(f"{output.stem}-{kind}.png") for kind in ("lines", "ridges")]
        with writing_to(output.parent):
            injection.plot_weight_injection(read_cells(output, injection.WeightCell), *pictures)
    show_written(output, *pictures)


@app.command
@takes_settings("task", "encoder", "data_dir", "limit", "dtype", "codec", "max_length", "store")
def inject_layers(
    *,
    output: Path = Path("layer-injection.csv"),
    blocks: Annotated[
        Sequence[int] | None, reading(partial(read_numbers, kind=int, least=0), show_default=False)
    ] = None,
    layers: Counts = (0, 1, 3),
    bottlenecks: Counts = (16, 64),
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 2,
    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    learning_rate: float = 1e-3,
    settings: RunSettings,
) -> None:
    """Feed the outputs of lower layers of a frozen encoder through a bottleneck into one of its later blocks.

    Args:
        output: A CSV file, one line for each score; the plot is written beside it.
        blocks: Blocks before which the injection is made, as in 2,4. Default: all.
        layers: Numbers of hidden states below the block that are read, as in 1,3; 0 for all.
        bottlenecks: Widths of the bottleneck, as in 16,64.
        seeds: Number of seeds, from seed 0.
        epochs: Maximum number of epochs.
        learning_rate: The highest learning rate.
    """
    start_tensorflow()
    from ..encoders import load_encoder
    from ..experiments import injection
    from ..experiments.cells import read_cells
    from ..runs import writing_to

    encoder, rows = load_encoder(settings.encoder, settings.states.dtype), settings.rows
    fit = FitConfig(epochs=epochs, learning_rate=learning_rate)
    places = [
        injection.InjectionPlace(block, count or None, bottleneck)
        for block in (blocks or range(encoder.num_hidden_states - 1))
        for count in layers
        for bottleneck in bottlenecks
    ]
    with show_progress() as progress:
        for cell in injection.inject_layers(
            *(output, encoder, settings.task, places, range(seeds)),
            codec=settings.states.codec,
            fit=fit,
            store=settings.places.store,
            data_dir=rows.data_dir,
            limit=rows.limit,
            max_length=settings.states.max_length,
            progress=progress,
        ):
            what = f"block {cell.block}, {cell.layers or 'all'} layers, bottleneck {cell.bottleneck}, seed {cell.seed}"
            print(f"{what}: {cell.score:.3f}", file=sys.stderr)
        picture = output.with_suffix(".png")
        with writing_to(output.parent):
            injection.plot_layer_injection(read_cells(output, injection.LayerCell), picture)
    show_written(output, picture)
