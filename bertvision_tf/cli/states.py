"""`bertvision extract`, `merge`, `plan`, `verify` and `repair`: stores of hidden states."""

import functools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..errors import RunError, StoreError
from ..progress import prefix
from ..settings import RunSettings, StateSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_bytes, show_estimate, show_scales

if TYPE_CHECKING:
    from ..store import Store


@app.command
@takes_settings("task", "table", "encoder", "data_dir", "limit", "negatives", "states", "cluster")
def extract(
    *, output: str | None = None, split: str = "train", shard: str | None = None, settings: RunSettings
) -> None:
    """Run an encoder once over a split and keep every hidden state in a store.

    Args:
        output: The store's folder, or its URL in object storage, as s3://BUCKET/cola. Default: where train looks, in
            states.
        split: train or dev.
        shard: Write one part of the store, as 2/8 for the second of eight: other processes write the others, on
            machines that see the folder, and `bertvision merge` makes them one.
    """
    part, cluster = read_part(shard), settings.cluster
    if part is not None and cluster.ray is not None:
        raise StoreError("--shard is for machines that are no Ray cluster: leave it out, or --ray.")
    start_tensorflow(share_gpus=cluster.ray is not None)
    from ..encoders import load_encoder
    from ..experiments.preparation import read_task
    from ..extraction import extract as run_extraction
    from ..extraction import extract_part, find_store_path
    from ..store import read_place
    from ..tasks.doubts import load_rows

    states = settings.states
    with show_progress() as progress:
        task = read_task(settings)
        rows = settings.rows
        examples = load_rows(task, split, rows.data_dir, rows.limit, rows.negatives)
        encoder = load_encoder(settings.encoder, states.dtype, states.engine)
        choices = states.choose(encoder, task.max_length) | {"layers": _read_layers(states)}
        path = output or find_store_path(read_place(settings.places.store), encoder, examples, cluster, **choices)

        tell = functools.partial(progress, f"extract {split}")
        if part is not None:
            written = extract_part(encoder, examples, path, *part, **choices, progress=tell)
        else:
            more = {"progress": tell, "worker_progress": prefix(progress, f"extract {split}"), **vars(cluster)}
            store = run_extraction(encoder, examples, path, **choices, **more)
    if part is not None:
        print(f"{path}: part {shard}, {written} shards written; when all parts are done: bertvision merge {path}")
        return
    print(
        f"{store.path}: {len(store):,} examples, {store.rows:,} tokens, {store.num_hidden_states} states, "
        f"{show_bytes(store.bytes)} in {states.codec}; {store.manifest.truncated} texts cut"
    )


@app.command
@takes_settings(
    *("task", "table", "encoder", "data_dir", "limit", "negatives", "dtype", "engine", "max_length", "layers"),
    *("codec", "tokens", "store"),
)
def plan(
    *,
    seconds: Annotated[float, Parameter(validator=Number(gte=0.1))] = 10.0,
    device_rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    disk_rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    settings: RunSettings,
) -> None:
    """Say what extraction costs: tokens, hours, bytes of each codec, and room on the disk; and when a store takes less
    time than running the encoder anew for each pass, on 1, 8 and 64 devices.

    Args:
        seconds: Of the trial.
        device_rate: Tokens a second of each device, as plan measured it on one. Default: of the trial here.
        disk_rate: Megabytes a second that all devices together write to the stores and read from them. Default: of a
            trial here.
    """
    start_tensorflow()
    from ..encoders import load_encoder
    from ..experiments.preparation import read_task
    from ..extraction import estimate, plan_spec
    from ..tasks.doubts import load_rows

    task, states, rows = read_task(settings), settings.states, settings.rows
    splits = [load_rows(task, split, rows.data_dir, rows.limit, rows.negatives) for split in task.splits]
    encoder = load_encoder(settings.encoder, states.dtype, states.engine)
    length = encoder.choose_length(states.max_length, task.max_length)
    layers = _read_layers(states)
    # Refuses a codec or tokens that there are not, before the trial.
    plan_spec(encoder, splits[0], max_length=length, layers=layers, codec=states.codec, tokens=states.tokens)
    found = estimate(
        encoder,
        splits,
        settings.places.store,
        max_length=length,
        layers=layers,
        seconds=seconds,
        try_disk=disk_rate is None,
    )
    show_estimate(task.name, settings.encoder, found)
    show_scales(found, states.codec, states.tokens, device_rate, disk_rate)


def _read_layers(states: StateSettings) -> Sequence[int] | None:
    """The layers that are named, all of them with None."""
    if isinstance(states.layers, str):
        raise StoreError("--layers auto chooses layers for a run of train: name them here, as in 0,3,6.")
    return states.layers


def read_part(text: str | None) -> tuple[int, int] | None:
    """Which part of how many, as in 2/8; None of None.

    Raises:
        StoreError: it is written in another way.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise StoreError(f"--shard needs a part and how many there are, as 2/8; 1/8 is the first; got {text!r}.")
    return int(found[1]), int(found[2])


@app.command
def merge(stores: list[str], /) -> int:
    """Make one store of the parts that `extract --shard` wrote. Every byte is read, and checksums compared.

    Args:
        stores: Folders or URLs of stores.
    """
    from ..store import merge_store

    return _go_through(stores, lambda path: _describe_store(merge_store(path)))


@app.command
def verify(stores: list[str], /) -> int:
    """Read every byte of stores, runs, exports and fine-tuned encoders, and compare checksums.

    Args:
        stores: Their folders, or URLs of stores.
    """
    from ..checksums import SUMS, check_files
    from ..store import open_store, read_place

    def read(path: str) -> str:
        place = read_place(path)
        if isinstance(place, Path) and any((place / name).is_file() for name in (SUMS, "results.json")):
            return f"{check_files(place, RunError)} files"
        store = open_store(place, check="never")
        store.verify()
        return _describe_store(store)

    return _go_through(stores, read)


@app.command
@takes_settings("table", "data_dir", "limit", "negatives")
def repair(
    store: str,
    /,
    *,
    task: str | None = None,
    encoder: str | None = None,
    dtype: str | None = None,
    engine: str | None = None,
    settings: RunSettings,
) -> None:
    """Make the damaged and missing shards of a store again, to the same bytes. Every byte of the store is read.

    Args:
        store: Its folder or URL.
        task: Whose rows it is of. Default: as its manifest says.
        encoder: Whose states it has. Default: as its manifest says.
        dtype: Of the encoder's matrix products. Default: as its manifest says.
        engine: Which runs the encoder. Default: as its manifest says.
    """
    start_tensorflow()
    from ..encoders import load_encoder
    from ..experiments.repair import find_engine, load_store_rows
    from ..extraction import repair_store
    from ..store import read_place
    from ..store.schema import read_manifest

    place = read_place(store)
    manifest = read_manifest(place)
    rows = load_store_rows(manifest.spec, settings, task)
    runs_with = dtype or manifest.made_with.get("dtype", "float32"), engine or find_engine(manifest)
    loaded = load_encoder(encoder or manifest.spec.encoder, *runs_with)
    with show_progress() as progress:
        made = repair_store(loaded, rows, place, progress=functools.partial(progress, f"repair {manifest.spec.split}"))
    print(f"{store}: " + (f"made again: {', '.join(made)}" if made else "whole, nothing was made again"))
    if not manifest.complete:
        shards = f"{len(manifest.shards)} of {manifest.num_shards} shards"
        print(f"{store}: unfinished ({shards}): run the same extraction again, it goes on from there")


def _describe_store(store: "Store") -> str:
    return f"{len(store.manifest.shards)} shards, {show_bytes(store.bytes)}"


def _go_through(paths: Sequence[str], check: Callable[[str], str]) -> int:
    """Checks what is at some paths, says of each whether it is whole, and returns whether one is not."""
    damaged = 0
    for path in paths:
        try:
            what = check(path)
        except (StoreError, RunError) as error:
            damaged += 1
            print(f"error: {error}", file=sys.stderr)
        else:
            print(f"{path}: whole ({what})")
    return int(damaged > 0)
