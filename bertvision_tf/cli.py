"""The `bertvision` command: the only place that prints.

Nothing heavy is imported until a verb runs, so that --help answers at once. Over 300 lines, since every verb spells
out its options: they are its help.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import BertvisionError
from .keras_settings import pin_environment, pin_keras
from .notes import Note
from .reports.table import show_bytes

LISTED = 5  # trials of a search
FIT_OPTIONS = {name: name for name in ("epochs", "batch_size", "learning_rate", "mixup")}
TUNING_OPTIONS = ("parts", "learning_rate", "batch_size", "dtype")
TABLE_OPTIONS = ("dev", "text_column", "text_pair_column", "label_column", "kind")
SHOW_CURSOR = b"\x1b[?25h"
INTERRUPTED = "interrupted; states that are finished are kept and found again"

app = typer.Typer(
    help="Small Keras heads on every hidden state of a BERT.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

EncoderOption = Annotated[
    str, typer.Option(help="minilm, hf://OWNER/NAME, a checkpoint's folder, or a KerasHub preset.")
]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder of GLUE's or SQuAD's official download. Left out: tensorflow_datasets.")
]
StoreOption = Annotated[Path, typer.Option(help="Root of all stores; states that are there are found again.")]
DtypeOption = Annotated[str, typer.Option(help="Type of the encoder's matrix products: float32 or bfloat16.")]
CodecOption = Annotated[str, typer.Option(help="float32, float16, bfloat16, int8, int4 or int2.")]
TokensOption = Annotated[str, typer.Option(help="all, or cls for the first token of each text.")]
PoolerOption = Annotated[bool, typer.Option(help="Keep the pooler's output too, before the others; with --tokens cls.")]
LayersOption = Annotated[str, typer.Option(help="Hidden states to keep, as in 0,3,6; or all.")]
AutoLayersOption = Annotated[
    str, typer.Option(help="Hidden states to keep, as in 0,3,6; all; or auto for the few that matter.")
]
TASK_NAMES = (
    "cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, squad2, squad1, squad2_answerable, starter, starter_qa"
)
TaskOption = Annotated[str, typer.Option(help=f"{TASK_NAMES}.")]
TrainOption = Annotated[
    Path | None, typer.Option(help="Instead of --task: a .csv, .tsv, .jsonl or .parquet file of your own.")
]
DevOption = Annotated[Path | None, typer.Option(help="Its dev rows. Left out: a fifth of --train.")]
TextOption = Annotated[str | None, typer.Option(help="Column of the text. Left out: guessed by name.")]
PairOption = Annotated[str | None, typer.Option(help="Column of the second text of a pair.")]
LabelOption = Annotated[
    list[str] | None, typer.Option(help="Column of the label; several times for columns of 0 and 1.")
]
KindOption = Annotated[
    str | None, typer.Option(help="classification, regression, multilabel or span. Left out: by the columns.")
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first rows of each split.")]
LengthOption = Annotated[int | None, typer.Option(min=3, help="Tokens a text. Left out: the task's own.")]


@app.command("train")
def train_heads(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="A JSON file of options, as a run's config.json; options that are given come first."),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help=f"{TASK_NAMES}; all for GLUE's nine."),
    ] = "starter",
    train: TrainOption = None,
    dev: DevOption = None,
    text_column: TextOption = None,
    text_pair_column: PairOption = None,
    label_column: LabelOption = None,
    kind: KindOption = None,
    encoder: EncoderOption = "minilm",
    data_dir: DataOption = None,
    head: Annotated[
        str | None, typer.Option(help="Name of a preset, or a JSON file: of a HeadConfig, or a search's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many heads are trained, from seed 0.")] = 5,
    store: StoreOption = Path("states"),
    output: Annotated[Path | None, typer.Option(help="The run's folder. Left out: runs/TASK-HEAD.")] = None,
    codec: CodecOption = "int8",
    dtype: DtypeOption = "float32",
    tokens: TokensOption = "all",
    pooler: PoolerOption = False,
    layers: AutoLayersOption = "all",
    max_length: LengthOption = None,
    limit: LimitOption = None,
    fine_tune_epochs: Annotated[
        str, typer.Option(help="Fine-tune the encoder so long first, as in 0.3,1,2: a run each; 0 leaves it frozen.")
    ] = "0",
    fine_tune_seeds: Annotated[
        int | None, typer.Option(min=1, help="Encoders that are fine-tuned. Left out: one for each head.")
    ] = None,
    fine_tune_parts: Annotated[
        str | None, typer.Option(help="all, no_embeddings, top_K (its last K blocks) or lora_R (rank R).")
    ] = None,
    fine_tune_learning_rate: Annotated[float | None, typer.Option(help="Left out: the paper's for the task.")] = None,
    fine_tune_batch_size: Annotated[int | None, typer.Option(min=1, help="Left out: the paper's.")] = None,
    fine_tune_dtype: Annotated[str | None, typer.Option(help="Of its products: float32 or bfloat16.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="constant (fractions are snapshots of one training) or each (with its own decay)."),
    ] = None,
    train_share: Annotated[
        str | None, typer.Option(help="Train on this share of the training rows, as in 0.1,0.3,1: a run each.")
    ] = None,
    shots: Annotated[
        str | None, typer.Option(help="Train on this many rows of each class, as in 8,16,32: a run each.")
    ] = None,
    balance_classes: Annotated[bool, typer.Option(help="Let every class count the same.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its highest value.")] = None,
    mixup: Annotated[float | None, typer.Option(min=0.0, help="Mix training examples; 0.2 to 1.")] = None,
    strategy: Annotated[str, typer.Option(help="one_device or mirrored.")] = "one_device",
    baselines: Annotated[bool, typer.Option(help="Fit simple rivals on the same rows.")] = True,
    baseline_parts: Annotated[
        str | None,
        typer.Option(
            help="Fine-tuned rivals: all for full fine-tuning, lora_R, top_K, no_embeddings; as in all,lora_8."
        ),
    ] = None,
    baseline_epochs: Annotated[
        str, typer.Option(help="Epochs of them to choose from, on the selection rows.")
    ] = "1,2,3",
    export: Annotated[bool, typer.Option(help="Save the chosen head as a SavedModel too.")] = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Gets TensorBoard's logs of the heads.")] = None,
) -> None:
    """Train heads on every hidden state of an encoder, frozen or a little fine-tuned, and score them on dev."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .grid import Grid, plot_grid, train_grid
        from .reports.table import choose_most_rows
        from .settings import GROUP_OF, RunSettings

        given = {
            name: value
            for name, value in context.params.items()
            if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
        }
        settings = RunSettings() if config is None else RunSettings.from_file(config)
        own: dict[str, Any] = {name: value for name, value in given.items() if name in GROUP_OF}
        chosen, searched = _read_head(head) if head else (settings.head.head, {})
        own |= {"head": chosen, "fit": _change(settings.head.fit, **searched, **_pick(given, **FIT_OPTIONS))}
        own["fine_tune"] = _change(
            settings.tuning.fine_tune,
            **_pick(given, schedule="schedule", **{f"fine_tune_{name}": name for name in TUNING_OPTIONS}),
        )
        if "layers" in given:
            own["layers"] = layers if layers == "auto" else _read_layers(layers)
        if "baseline_parts" in given:
            own["baseline_parts"] = baseline_parts.split(",") if baseline_parts else ()
        if "baseline_epochs" in given:
            own["baseline_epochs"] = _read_numbers("--baseline-epochs", baseline_epochs, float, 0)
        for name in ("fine_tune_epochs", "train_share", "shots"):
            own.pop(name, None)  # cells of the grid
        settings = settings.change(**own)
        tasks = _choose_tasks(settings, given, task, train, dev, text_column, text_pair_column, label_column, kind)
        grid = Grid(tasks, *_choose_axes(settings, given))
        runs = []
        for run in train_grid(
            grid, encoder if "encoder" in given else settings.encoder, settings=settings, progress=progress
        ):
            runs.append(run)
        pictures = plot_grid(grid, runs, settings.places.output or Path("runs"))
    each = len(runs) // len(tasks)
    if len(tasks) > 1 and each == 1:
        _print_tasks([run.results for run in runs])
    else:
        for start in range(0, len(runs), each):
            _print_table([run.results for run in runs[start : start + each]])
    _print_notes(runs[-1].results)
    if len(tasks) == 1:
        for found in choose_most_rows([run.results for run in runs]):
            for difference in found["significance"]:
                typer.echo(difference["words"])
    for run in runs:
        typer.echo(f"run: {run.path}")
    for file in pictures:
        typer.echo(f"picture: {file}")


@app.command()
def extract(
    output: Annotated[
        Path | None, typer.Option(help="The store's folder. Left out: where train looks, in states.")
    ] = None,
    task: TaskOption = "starter",
    train: TrainOption = None,
    dev: DevOption = None,
    text_column: TextOption = None,
    text_pair_column: PairOption = None,
    label_column: LabelOption = None,
    kind: KindOption = None,
    split: Annotated[str, typer.Option(help="train or dev.")] = "train",
    encoder: EncoderOption = "minilm",
    data_dir: DataOption = None,
    codec: CodecOption = "int8",
    dtype: DtypeOption = "float32",
    tokens: TokensOption = "all",
    pooler: PoolerOption = False,
    layers: LayersOption = "all",
    max_length: LengthOption = None,
    limit: LimitOption = None,
) -> None:
    """Run an encoder once over a split and keep every hidden state in a store."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .encoders import load_encoder
        from .extraction import extract as run_extraction
        from .extraction import find_store_path

        spec = _choose_task(task, train, dev, text_column, text_pair_column, label_column, kind)
        examples = spec.load(split, data_dir).take(limit)
        loaded = load_encoder(encoder, dtype)
        choices: dict[str, Any] = {
            "max_length": loaded.choose_length(max_length, spec.max_length),
            "tokens": tokens,
            "pooler": pooler,
            "layers": _read_layers(layers),
            "codec": codec,
        }
        store = run_extraction(
            loaded,
            examples,
            output or find_store_path(Path("states"), loaded, examples, **choices),
            **choices,
            progress=lambda done, total: progress(f"extract {split}", done, total),
        )
    typer.echo(
        f"{store.path}: {len(store):,} examples, {store.rows:,} tokens, {store.num_hidden_states} states, "
        f"{show_bytes(store.bytes)} in {codec}; {store.manifest.truncated} texts cut"
    )


@app.command()
def plan(
    task: TaskOption = "starter",
    train: TrainOption = None,
    dev: DevOption = None,
    text_column: TextOption = None,
    text_pair_column: PairOption = None,
    label_column: LabelOption = None,
    kind: KindOption = None,
    encoder: EncoderOption = "minilm",
    data_dir: DataOption = None,
    store: StoreOption = Path("states"),
    dtype: DtypeOption = "float32",
    layers: LayersOption = "all",
    max_length: LengthOption = None,
    limit: LimitOption = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of the trial.")] = 10.0,
) -> None:
    """Say what extraction would cost: tokens, hours, bytes of each codec, and room on the disk."""
    with _errors_as_lines():
        _start_tensorflow()
        from .encoders import load_encoder
        from .extraction import estimate

        spec = _choose_task(task, train, dev, text_column, text_pair_column, label_column, kind)
        splits = [spec.load(split, data_dir).take(limit) for split in spec.splits]
        loaded = load_encoder(encoder, dtype)
        found = estimate(
            loaded,
            splits,
            store,
            max_length=loaded.choose_length(max_length, spec.max_length),
            layers=_read_layers(layers),
            seconds=seconds,
        )
    _print_estimate(spec.name, encoder, found)


@app.command()
def verify(stores: Annotated[list[Path], typer.Argument(help="Folders of stores.")]) -> None:
    """Read every byte of stores and compare checksums."""
    with _errors_as_lines():
        from .errors import StoreError
        from .store import open_store

        damaged = 0
        for path in stores:
            try:
                store = open_store(path)
                store.verify()
            except StoreError as error:
                damaged += 1
                typer.echo(f"error: {error}", err=True)
            else:
                typer.echo(f"{path}: whole ({len(store.manifest.shards)} shards, {show_bytes(store.bytes)})")
    if damaged:
        raise typer.Exit(1)


@app.command()
def predict(
    run: Annotated[Path | None, typer.Argument(help="Folder of a finished run; or --url instead.")] = None,
    input: Annotated[Path, typer.Option(help="A .csv, .tsv, .jsonl or .parquet file.")] = ...,  # type: ignore[assignment]
    output: Annotated[
        Path,
        typer.Option(help="A .csv or .tsv file: the same rows, a prediction, and how sure it is."),
    ] = ...,  # type: ignore[assignment]
    text_column: Annotated[str | None, typer.Option(help="Left out: the task's own, as in 'sentence'.")] = None,
    text_pair_column: Annotated[str | None, typer.Option(help="For tasks on pairs.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A served model: http://HOST:8501/v1/models/NAME, or grpc://HOST:8500/NAME."),
    ] = None,
    signature: Annotated[str, typer.Option(help="Of the served model.")] = "serving_default",
    timeout: Annotated[float, typer.Option(min=0.1, max=86400, help="Seconds that a served model may take.")] = 60.0,
) -> None:
    """Predict the rows of a table with a run's head, or with a model behind TensorFlow Serving."""
    with _errors_as_lines():
        from .errors import TaskError
        from .tasks.tables import check_writable, read_table, write_table

        if (run is None) == (url is None):
            raise TaskError("name a run or a --url, one of both.")
        if input.resolve() == output.resolve():
            raise TaskError(f"--output {output} is the input: name another file.")
        _start_tensorflow()
        table = read_table(input)
        check_writable(output)
        if run is not None:
            columns = _predict_with_run(run, table, text_column, text_pair_column)
        else:
            columns = _predict_with_url(url, signature, timeout, table, text_column, text_pair_column)
        added = zip(*columns.values(), strict=True)
        names = []
        for name in columns:
            while name in table.header:
                name = f"predicted_{name}"
            names.append(name)
        write_table(
            output, [*table.header, *names], ([*row, *more] for row, more in zip(table.rows, added, strict=True))
        )
    typer.echo(f"{output}: {len(table.rows)} rows")


def _predict_with_run(run: Path, table: Any, text: str | None, text_pair: str | None) -> dict[str, Sequence[Any]]:
    from .runs import load_run
    from .tasks import TaskKind
    from .tasks.labels import SEPARATOR
    from .tasks.squad import find_columns

    found = load_run(run)
    spans = find_columns(table.header) if found.kind is TaskKind.SPAN else {}
    texts = _read_texts(table, text or spans.get("question") or found.config["text"])
    pair = text_pair or spans.get("context") or found.config["text_pair"]
    pairs = table.column(pair) if pair else None
    columns: dict[str, Sequence[Any]]
    if found.kind is TaskKind.SPAN:
        answers = found.answer_all(texts, pairs or [])
        columns = {"prediction": [answer.text for answer in answers]}
        for name in ("score", "null_odds"):
            numbers = [getattr(answer, name) for answer in answers]
            columns[name] = ["" if number is None else f"{number:.6f}" for number in numbers]
        return columns
    predictions = found.predict(texts, pairs)
    columns = {"prediction": [SEPARATOR.join(one) if isinstance(one, tuple) else one for one in predictions.labels]}
    for name, shares in zip(predictions.label_names, predictions.probabilities.T, strict=True):
        columns[f"p_{name}"] = [f"{share:.6f}" for share in shares]
    return columns


def _predict_with_url(
    url: Any, signature: str, timeout: float, table: Any, text: str | None, text_pair: str | None
) -> dict[str, Sequence[Any]]:
    """A column for each output; of a matrix one for each of its columns, by number."""
    from .serving.client import ServedModel
    from .tasks.squad import find_columns

    model = ServedModel(url, signature, timeout)
    spans = find_columns(table.header) if "question" in model.inputs else {}
    named = {"text": text or "text", "question": text or spans.get("question") or "question"}
    others = {"text_pair": text_pair or "text_pair", "context": text_pair or spans.get("context") or "context"}
    given = {
        name: _read_texts(table, named[name]) if name in named else table.column(others.get(name, name))
        for name in model.inputs
    }
    columns: dict[str, Sequence[Any]] = {}
    for name, values in model.predict(given).items():
        parts = {name: values} if values.ndim == 1 else {f"{name}_{place}": one for place, one in enumerate(values.T)}
        columns |= {
            part: [f"{one:.6f}" for one in own] if own.dtype.kind == "f" else own.tolist()
            for part, own in parts.items()
        }
    return columns


def _read_texts(table: Any, column: str) -> list[str]:
    """The texts of a column, none of them empty."""
    from .errors import TaskError

    texts = table.column(column)
    for row, text in enumerate(texts):
        if not text.strip():
            raise TaskError(f"{table.name}, line {table.lines[row]}: the text is empty.")
    return texts


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs whose heads read the same states.")],
    output: Annotated[Path, typer.Option(help="The folder of this version, as in models/cola/1.")],
    dtype: Annotated[
        str | None, typer.Option(help="Of the encoder's products: float32 or bfloat16. Left out: the runs' own.")
    ] = None,
) -> None:
    """Write an encoder with the heads of runs as one SavedModel for TensorFlow Serving: text in, what each says out."""
    with _errors_as_lines():
        _start_tensorflow()
        from .serving import export_runs

        folder = export_runs(runs, output, dtype=dtype, notice=lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {folder}")


@app.command()
def demo(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs that read the same kind of texts.")],
    host: Annotated[str, typer.Option(help="What is listened on; this machine alone unless told otherwise.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Left out: 7860, or the next that is free.")
    ] = None,
) -> None:
    """Serve a local page where one pastes text and sees what each head says, and why."""
    with _errors_as_lines():
        _start_tensorflow()
        from .runs import load_run
        from .serving import launch_demo

        launch_demo([load_run(run) for run in runs], host, port, lambda address: typer.echo(f"page: {address}"))


@app.command()
def submit(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs on GLUE's tasks, one a task.")],
    output: Annotated[Path, typer.Option(help="Folder of the leaderboard's files.")] = Path("submission"),
    data_dir: DataOption = None,
) -> None:
    """Predict GLUE's test rows: a TSV for each file that the leaderboard takes."""
    with _errors_as_lines():
        _start_tensorflow()
        from .runs import load_run
        from .runs.submission import write_submission

        for file in write_submission([load_run(run) for run in runs], output, data_dir):
            typer.echo(f"wrote {file}")


@app.command()
def heads(
    names: Annotated[list[str] | None, typer.Argument(help="Names of heads; all the listed ones by default.")] = None,
    encoder: EncoderOption = "minilm",
    tokens: Annotated[int, typer.Option(min=1, help="Of an example; 1 as with --tokens cls.")] = 128,
    pooler: PoolerOption = False,
    outputs: Annotated[int, typer.Option(min=1, help="Classes.")] = 2,
    kind: Annotated[str, typer.Option(help="classification, regression or span.")] = "classification",
) -> None:
    """List heads: what each is, its weights beside the encoder's, and its multiply-adds an example."""
    with _errors_as_lines():
        _start_tensorflow()
        from rich.console import Console
        from rich.table import Table

        from .encoders import load_encoder
        from .errors import HeadError
        from .heads import describe_head, list_presets, measure_head

        loaded = load_encoder(encoder)
        states = loaded.num_hidden_states + pooler
        sizes = {"num_hidden_states": states, "hidden_dim": loaded.hidden_dim, "num_tokens": tokens}
        table = Table(
            title=f"heads for {kind} on {encoder} ({loaded.num_parameters:,} weights): images of {states} x {tokens} x "
            f"{loaded.hidden_dim}"
        )
        for column in ("name", "weights", "of the encoder", "multiply-adds", "what it is"):
            table.add_column(column, justify="left" if column in ("name", "what it is") else "right")
        for name in names or list_presets():
            try:
                size = measure_head(name, kind=kind, num_outputs=outputs if kind == "classification" else None, **sizes)
            except HeadError as error:
                if names:
                    raise
                table.add_row(name, "", "", "", f"not here: {error}")
                continue
            share = f"{size.trainable_parameters / loaded.num_parameters:.3%}"
            cost = f"{size.multiply_adds:,}"
            table.add_row(name, f"{size.trainable_parameters:,}", share, cost, describe_head(name))
    Console(width=None if sys.stdout.isatty() else 180).print(table)


@app.command()
def compare(
    output: Annotated[Path, typer.Option(help="A CSV file, a line a cell; what it has is not run again.")] = Path(
        "comparison.csv"
    ),
    heads: Annotated[
        list[str] | None, typer.Option("--head", help="Several times; all the listed ones by default.")
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="Several times; cola, mrpc, rte and stsb by default.")
    ] = None,
    encoder: EncoderOption = "minilm",
    dtype: DtypeOption = "float32",
    data_dir: DataOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Heads of a cell; one of those over a million weights.")] = 3,
    store: StoreOption = Path("states"),
    limit: LimitOption = None,
    only_print: Annotated[bool, typer.Option("--print", help="Run nothing: print the table of what there is.")] = False,
) -> None:
    """Compare heads over tasks, cell by cell: killed, it goes on where it was."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .cells import read_cells
        from .compare import (
            TASKS,
            Cell,
            Failure,
            compare_heads,
            describe_setting,
            format_comparison,
            plan_cells,
        )
        from .encoders import load_encoder
        from .heads import list_presets

        failed, loaded = 0, load_encoder(encoder, dtype)
        planned = plan_cells(loaded, heads or list_presets(), tasks or TASKS, seeds)
        if not only_print:
            options: dict[str, Any] = {"store": store, "data_dir": data_dir, "limit": limit, "progress": progress}
            for cell in compare_heads(output, loaded, planned, **options):
                failed += isinstance(cell, Failure)
                what = f"error: {cell.reason}" if isinstance(cell, Failure) else f"{cell.mean:.3f}"
                typer.echo(f"{cell.task} {cell.head}: {what}", err=True)
        table = format_comparison(read_cells(output, Cell, describe_setting(loaded, limit)), planned)
    typer.echo(table)
    if failed:
        raise typer.Exit(1)


@app.command()
def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs on the same rows.")],
    output: Annotated[
        Path | None, typer.Option(help="Gets results.json and the predictions. Left out: runs/TASK-ensemble.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="As for train. Left out: the first run's.")] = None,
    train: Annotated[Path | None, typer.Option(help="The table of your own that the runs are on.")] = None,
    dev: DevOption = None,
    text_column: TextOption = None,
    text_pair_column: PairOption = None,
    label_column: LabelOption = None,
    kind: KindOption = None,
) -> None:
    """Combine runs: the maximum, mean and geometric mean of their probabilities, and a mean weighted on the selection
    rows."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .ensemble import ensemble_runs
        from .runs import load_run

        task = _choose_task("starter", train, dev, text_column, text_pair_column, label_column, kind)
        found = ensemble_runs(
            [load_run(path) for path in runs],
            output,
            task=task if train else None,
            data_dir=data_dir,
            progress=progress,
        )
    _print_ensemble(found)
    typer.echo(f"wrote {found.path}")


@app.command()
def search(
    task: TaskOption = "starter",
    train: TrainOption = None,
    dev: DevOption = None,
    text_column: TextOption = None,
    text_pair_column: PairOption = None,
    label_column: LabelOption = None,
    kind: KindOption = None,
    encoder: EncoderOption = "minilm",
    data_dir: DataOption = None,
    tuner: Annotated[str, typer.Option(help="hyperband, random, bayesian or grid.")] = "hyperband",
    trials: Annotated[int, typer.Option(min=1, help="At most this many; more than were asked for before go on.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Of the choices, and of each head.")] = 0,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Parts of train that take turns as selection rows. Left out: these alone.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Values to choose among, as in front_dim=16,64; several times.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each head, at most.")] = None,
    train_share: Annotated[float, typer.Option(help="Share of the training rows for each trial.")] = 1.0,
    store: StoreOption = Path("states"),
    output: Annotated[Path | None, typer.Option(help="The search's folder. Left out: runs/search-TASK.")] = None,
    codec: CodecOption = "int8",
    dtype: DtypeOption = "float32",
    tokens: TokensOption = "all",
    pooler: PoolerOption = False,
    layers: LayersOption = "all",
    max_length: LengthOption = None,
    limit: LimitOption = None,
    fine_tune_epochs: Annotated[float, typer.Option(min=0.0, help="Fine-tune the encoder so long first.")] = 0.0,
    strategy: Annotated[str, typer.Option(help="one_device or mirrored.")] = "one_device",
) -> None:
    """Search the head that scores best on the selection rows; a search that was stopped goes on where it was."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .tuning import read_only
        from .tuning import search as run_search

        found = run_search(
            _choose_task(task, train, dev, text_column, text_pair_column, label_column, kind),
            encoder,
            tuner=tuner,
            trials=trials,
            seed=seed,
            folds=folds,
            only=read_only(only or []),
            fit=_given(epochs=epochs),
            train_share=train_share,
            dtype=dtype,
            store=store,
            output=output,
            data_dir=data_dir,
            limit=limit,
            max_length=max_length,
            tokens=tokens,
            pooler=pooler,
            layers=_read_layers(layers),
            codec=codec,
            fine_tune_epochs=fine_tune_epochs,
            strategy=strategy,
            progress=progress,
        )
    if found is None:
        typer.echo("the chief has what was found.")
        return
    _print_search(found)


@app.command("inject-weights")
def put_weights_back(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run with a fine-tuned encoder.")],
    output: Annotated[Path, typer.Option(help="A CSV file, a line a cell; the pictures lie beside it.")] = Path(
        "weight-injection.csv"
    ),
    data_dir: DataOption = None,
    groups: Annotated[
        str, typer.Option(help="all, embeddings, attention, feed_forward, norms or block_N, with commas between.")
    ] = "all,embeddings,attention,feed_forward,norms",
    shares: Annotated[str, typer.Option(help="Of a group's weights that are put back.")] = "0,0.25,0.5,0.75,0.9,1",
    draws: Annotated[int, typer.Option(min=1, help="How often they are drawn.")] = 3,
    epochs: Annotated[float, typer.Option(min=0, help="Train the rest on so long, while they stay as they are.")] = 0.0,
) -> None:
    """Put fine-tuned weights back to what they were, and see what the encoder's own head loses."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .cells import read_cells
        from .injection import WeightCell, WeightInjection, inject_weights, open_fine_tuned, plot_weight_injection
        from .runs import load_run, writing_to

        injection = WeightInjection(groups.split(","), _read_numbers("--shares", shares, float, 0), draws, epochs)
        for cell in inject_weights(output, *open_fine_tuned(load_run(run), data_dir), injection, progress=progress):
            typer.echo(f"{cell.group} {cell.share:g} seed {cell.seed} draw {cell.draw}: {cell.score:.3f}", err=True)
        pictures = [output.with_name(f"{output.stem}-{kind}.png") for kind in ("lines", "ridges")]
        with writing_to(output.parent):
            plot_weight_injection(read_cells(output, WeightCell), *pictures)
    for file in (output, *pictures):
        typer.echo(f"wrote {file}")


@app.command("inject-layers")
def feed_layers(
    task: TaskOption = "starter",
    encoder: EncoderOption = "minilm",
    data_dir: DataOption = None,
    output: Annotated[Path, typer.Option(help="A CSV file, a line a cell; the picture lies beside it.")] = Path(
        "layer-injection.csv"
    ),
    store: StoreOption = Path("states"),
    blocks: Annotated[str | None, typer.Option(help="Before which it is injected, as in 2,4. Left out: all.")] = None,
    layers: Annotated[str, typer.Option(help="How many of the outputs below are read; 0 for all.")] = "0,1,3",
    bottlenecks: Annotated[str, typer.Option(help="Widths.")] = "16,64",
    seeds: Annotated[int, typer.Option(min=1, help="From seed 0.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="At most this many.")] = 3,
    learning_rate: Annotated[float, typer.Option(help="Its highest value.")] = 1e-3,
    dtype: DtypeOption = "float32",
    codec: CodecOption = "int8",
    max_length: LengthOption = None,
    limit: LimitOption = None,
) -> None:
    """Feed what the lower layers of a frozen encoder say through a bottleneck into one of its later blocks."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .cells import read_cells
        from .encoders import load_encoder
        from .injection import InjectionPlace, LayerCell, inject_layers, plot_layer_injection
        from .runs import writing_to
        from .training import FitConfig

        loaded = load_encoder(encoder, dtype)
        places = [
            InjectionPlace(block, count or None, bottleneck)
            for block in (_read_numbers("--blocks", blocks, int, 0) if blocks else range(loaded.num_hidden_states - 1))
            for count in _read_numbers("--layers", layers, int, 0)
            for bottleneck in _read_numbers("--bottlenecks", bottlenecks, int, 1)
        ]
        fit = FitConfig(epochs=epochs, learning_rate=learning_rate)
        options: dict[str, Any] = {"store": store, "data_dir": data_dir, "limit": limit, "max_length": max_length}
        for cell in inject_layers(
            output, loaded, task, places, range(seeds), codec=codec, fit=fit, progress=progress, **options
        ):
            what = f"block {cell.block}, {cell.layers or 'all'} layers, bottleneck {cell.bottleneck}, seed {cell.seed}"
            typer.echo(f"{what}: {cell.score:.3f}", err=True)
        picture = output.with_suffix(".png")
        with writing_to(output.parent):
            cells = read_cells(output, LayerCell)
            plot_layer_injection(cells, picture)
    for file in (output, picture):
        typer.echo(f"wrote {file}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    output: Annotated[Path, typer.Option(help="Gets index.html, its pictures as PNGs, and report.json.")] = Path(
        "report"
    ),
    examples: Annotated[
        int, typer.Option(min=0, help="Rows of each task shown as images; their encoder runs for it.")
    ] = 2,
) -> None:
    """Write runs as one page: scores, costs, significance, curves, layers, and every wrong row."""
    with _errors_as_lines(), _show_progress() as progress:
        if examples:
            _start_tensorflow()
        from .report import write_report

        page = write_report(runs, output, examples=examples, progress=progress)
    typer.echo(f"wrote {page}")


@app.command()
def table(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    format: Annotated[str, typer.Option(help="markdown, csv or latex.")] = "markdown",
) -> None:
    """Print runs as tables, one a task with its rivals first; as CSV all in one, with numbers in full."""
    with _errors_as_lines():
        from .reports.table import format_runs
        from .runs import load_run, name_runs

        opened = [load_run(run) for run in runs]
        shown = format_runs(dict(zip(name_runs(opened), opened, strict=True)), format)
    typer.echo(shown, nl=False)


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option(help="Where the table, the pictures, the runs and the states go.")] = Path(
        "quickstart"
    ),
    encoder: EncoderOption = "minilm",
    seeds: Annotated[int, typer.Option(min=1, help="Heads trained of each kind.")] = 5,
) -> None:
    """Run the starter task: which hidden states know grammar, and what a tiny head makes of them."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .quickstart import run_quickstart

        result = run_quickstart(output, encoder=encoder, seeds=seeds, progress=progress)
    _print_table([run.results for run in result.runs])
    _print_notes(result.runs[0].results)
    for file in result.files:
        typer.echo(f"wrote {file}")


@app.command("quickstart-qa")
def quickstart_questions(
    output: Annotated[Path, typer.Option(help="Where the table, the run and the states go.")] = Path("quickstart-qa"),
    encoder: EncoderOption = "minilm",
    seeds: Annotated[int, typer.Option(min=1, help="Heads.")] = 3,
) -> None:
    """Run the starter questions: fine-tune for two epochs, train heads on the states, and answer."""
    with _errors_as_lines(), _show_progress() as progress:
        _start_tensorflow()
        from .quickstart import run_quickstart_qa
        from .tasks import get_task

        result = run_quickstart_qa(output, encoder=encoder, seeds=seeds, progress=progress)
        run, dev = result.runs[0], get_task("starter_qa").load("dev").take(3)
        found = run.answer_all(dev.texts, dev.text_pairs or ())
    _print_table([run.results])
    _print_notes(run.results)
    for question, answer in zip(dev.texts, found, strict=True):
        typer.echo(f"{question} {answer.text or '(no answer)'}")
    for file in (*result.files, run.path):
        typer.echo(f"wrote {file}")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bertvision-tf {version('bertvision-tf')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Small Keras heads on every hidden state of a BERT."""


def main() -> None:
    """The entry point of the installed command and of scripts/."""
    _open_closed_streams()
    _Interrupt.install()
    pin_environment()
    sys.argv[1:] = [_expand_home(argument) for argument in sys.argv[1:]]
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG) or error.filename is not None:
            raise  # none of standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain of it once more
        if error.errno != errno.EPIPE:  # whoever read it has gone, as `head` does
            typer.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


class _Interrupt:
    """Ctrl-C: the first raises KeyboardInterrupt, and does so again where Python could not pass it on, as from inside a
    finalizer; the second ends at once."""

    came = False

    @classmethod
    def install(cls) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a shell's job in the background
            return
        signal.signal(signal.SIGINT, cls._receive)
        usual = sys.unraisablehook
        sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, KeyboardInterrupt) else usual(lost)

    @classmethod
    def check(cls) -> None:
        if cls.came and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    @classmethod
    def _receive(cls, *_: Any) -> None:
        if cls.came:
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR)  # which a progress bar hides
            os._exit(130)
        cls.came = True
        raise KeyboardInterrupt


def _open_closed_streams() -> None:
    """Gives a stream that was closed, as by 2>&-, the null device: else the next file that is opened would take its
    number, and what is printed would go into that file."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _expand_home(argument: str) -> str:
    """What a shell does not expand: ~ behind an option's name, as in --output=~/runs."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{os.path.expanduser(value)}" if value == "~" or value.startswith("~/") else argument


@contextlib.contextmanager
def _errors_as_lines() -> Iterator[None]:
    """One line and exit status 1 for what a user can mend; one line for each note."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", Note)
            usual = warnings.showwarning
            warnings.showwarning = lambda message, category, *where: (
                typer.echo(f"note: {message}", err=True)
                if issubclass(category, Note)
                else usual(message, category, *where)
            )
            yield
    except BertvisionError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(130) from None


@contextlib.contextmanager
def _show_progress() -> Iterator[Any]:
    """A bar for each thing that is done, with rate and time left; on a terminal only."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else "")

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        known: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            _Interrupt.check()
            if what not in known:
                known[what] = bars.add_task(what, total=total)
            bars.update(known[what], completed=done, total=total)

        yield progress


def _start_tensorflow() -> None:
    """Imports TensorFlow with standard error shut: its libraries report there on GPUs that are not found, before any
    log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it counts a head's new shapes as a user's mistake
        tf.config.list_logical_devices()
        pin_keras()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read_head(head: str) -> tuple[Any, dict[str, Any]]:
    """A preset's name stays a name; a JSON file becomes a HeadConfig, and where a search wrote it how it is trained."""
    if not head.endswith(".json"):
        return head, {}
    from .errors import HeadError
    from .heads import HeadConfig

    try:
        text = Path(head).read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise HeadError(f"{head} cannot be read as a HeadConfig: {error}.") from None
    if isinstance(content, dict) and isinstance(content.get("head"), dict) and isinstance(content.get("fit"), dict):
        return HeadConfig.from_dict(content["head"]), content["fit"]
    return HeadConfig.from_json(text), {}


def _pick(given: dict[str, Any], **names: str) -> dict[str, Any]:
    """The options that were given, by other names."""
    return {theirs: given[ours] for ours, theirs in names.items() if given.get(ours) is not None}


def _change(base: Any, **changes: Any) -> Any:
    """What differs from the defaults of a configuration: that of a file of settings, and what is given beside it."""
    return {**(base or {}), **changes}


def _choose_tasks(settings: Any, given: dict[str, Any], task: str, *table: Any) -> list[Any]:
    """The tasks of the options, or of the settings where no option names one."""
    from .tasks import GLUE, get_task, task_from_table

    train = table[0]
    if train is None and not any(name in given for name in ("task", *TABLE_OPTIONS)):
        return [get_task(settings.task) if settings.table is None else task_from_table(**settings.table)]
    if train is not None or task.lower() != "all":
        return [_choose_task(task, *table)]
    for spec in map(get_task, GLUE):  # all are there before the first is begun
        for split in spec.splits:
            if settings.rows.data_dir is not None:
                spec.find_file(split, settings.rows.data_dir)
    return list(GLUE)


def _choose_axes(settings: Any, given: dict[str, Any]) -> tuple[list[float], list[float], list[int]]:
    """Epochs, shares and shots of a grid."""
    epochs, few, shares = [settings.tuning.fine_tune_epochs], [], []
    if "fine_tune_epochs" in given:
        epochs = _read_numbers("--fine-tune-epochs", given["fine_tune_epochs"], float, 0)
    if "shots" in given:
        few = _read_numbers("--shots", given["shots"], int, 1)
    if "train_share" in given:
        shares = _read_numbers("--train-share", given["train_share"], float, 0)
    if not few and not shares:
        few = [settings.rows.shots] if settings.rows.shots else []
        shares = [] if few else [settings.rows.train_share]
    return epochs, shares, few


def _given(**options: Any) -> dict[str, Any]:
    """The options that the user gave; the others are left to their owner's default."""
    return {name: value for name, value in options.items() if value is not None}


def _read_numbers(option: str, text: str, kind: Callable[[str], Any], least: float) -> list[Any]:
    """Numbers with commas between, in rising order."""
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not min(numbers) >= least or len(set(numbers)) != len(numbers):
        raise typer.BadParameter(f"{option} needs numbers from {least} on with commas between, each once; got {text!r}")
    return sorted(numbers)


def _read_layers(text: str) -> list[int] | None:
    if text == "all":
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--layers needs numbers with commas between, or all; got {text!r}") from None


def _choose_task(task: str, train: Path | None, dev: Path | None, text, text_pair, label, kind):
    """The task of a name, or the one that a table of the user's makes."""
    from .errors import TaskError
    from .tasks import get_task, task_from_table

    if train is None:
        given = {"--dev": dev, "--text-column": text, "--text-pair-column": text_pair, "--label-column": label}
        for option, value in (given | {"--kind": kind}).items():
            if value:
                raise TaskError(f"{option} goes with --train, a table of your own.")
        return get_task(task)
    if task != "starter":
        raise TaskError(f"--task {task} and --train {train} are two tasks: leave one out.")
    return task_from_table(train, dev, text=text, text_pair=text_pair, label=label, kind=kind)


def _print_estimate(task: str, encoder: str, found: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(
        f"{task} with {encoder}: {found.examples:,} texts, {found.tokens:,} tokens, the longest {found.longest}; "
        f"{found.truncated} texts cut.\n"
        f"{found.tokens_per_second:,.0f} tokens a second in a trial here: {found.hours:.2f} hours "
        f"({found.hours * 60:.1f} minutes). {show_bytes(found.free_bytes)} free on the disk."
    )
    table = Table(title=f"bytes of {found.states} states a token (* does not fit)")
    table.add_column("--codec")
    for mode in next(iter(found.bytes.values())):
        table.add_column(f"--tokens {mode}", justify="right")
    for codec, sizes in found.bytes.items():
        table.add_row(
            codec, *(show_bytes(size) + ("" if found.fits(codec, mode) else " *") for mode, size in sizes.items())
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    typer.echo(
        "Cheaper: a codec of fewer bits; --tokens cls; some of the --layers; a shorter --max-length; fewer rows with "
        "--limit; --dtype bfloat16 for time; or no store at all, with images_from_encoder."
    )
    if not found.fits("int8", "all"):
        typer.echo("warning: int8, the default, does not fit with all tokens.", err=True)


def _print_tasks(results: list[dict[str, Any]]) -> None:
    """One table over several tasks: a row for each task, a column for each rival and the head."""
    from rich.console import Console
    from rich.table import Table

    from .reports.table import build_task_rows

    header, rows = build_task_rows(results)
    heads = " and ".join(dict.fromkeys(run["head"] for run in results))
    table = Table(title=f"dev; {_describe_encoder(results)}; heads {heads}")
    for column in header:
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _print_ensemble(found: Any) -> None:
    from .reports.table import choose_further, count_places

    shown, rows = [found.metric, *choose_further(found.members[0].metrics)], []
    places = count_places(found.members[0].metrics)
    for one in (*found.members, *found.modes):
        numbers = [f"{value:.{places}f}" for value in (one.selection_score, *(one.metrics[name] for name in shown))]
        chosen = " *" if one is found.chosen else ""
        rows.append([one.name + chosen, *numbers, ", ".join(f"{weight:.2f}" for weight in one.weights)])
    _print_cells(f"dev, {found.metric}", ["", "selection", *shown, "weights"], rows)
    typer.echo("* chosen on the selection rows.")


def _print_search(found: Any) -> None:
    ended = [one for one in found.trials if one.score is not None]
    failed = [one for one in found.trials if one.score is None]
    for one in sorted(ended, key=lambda one: -one.score)[:LISTED]:
        values = ", ".join(f"{name} {value}" for name, value in one.values.items())
        typer.echo(
            f"trial {one.name}: {found.metric} {one.score:.3f} on the selection rows, {one.seconds:.1f} s: {values}"
        )
    for one in failed[:LISTED]:
        typer.echo(f"trial {one.name} failed: {one.reason}")
    seconds = sum(one.seconds for one in found.trials)
    typer.echo(f"{len(found.trials)} trials, {len(failed)} of them failed, {seconds:.0f} s")
    typer.echo(f"head: {found.path / 'best.json'}")


def _describe_encoder(results: list[dict[str, Any]]) -> str:
    tuned = [f"{run['fine_tune']['epochs']:g}" if run["fine_tune"] else "0" for run in results]
    epochs = ", ".join(dict.fromkeys(tuned))
    return f"encoder {results[0]['encoder']}, " + ("frozen" if epochs == "0" else f"fine-tuned {epochs} epochs")


def _print_table(results: list[dict[str, Any]]) -> None:
    """One task: a row for each model, and a column for each draw of training rows, where there are several."""
    from .reports.table import build_draw_rows, build_header, build_rows, group_by_draw

    first = results[0]
    if len(group_by_draw(results)) > 1:
        header, rows = build_draw_rows(results)
    else:
        models = build_rows(results)
        header, rows = build_header(models), [list(row.cells()) for row in models]
    _print_cells(f"{first['task']} dev, {first['metric']}; {_describe_encoder(results)}", header, rows)


def _print_cells(title: str, header: list[str], rows: list[list[str]]) -> None:
    """A table of names, in the column without one above it, and numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in header:
        table.add_column(column, justify="left" if not column else "right", no_wrap=bool(column))
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _print_notes(results: dict[str, Any]) -> None:
    rows, store = results["rows"], results["store"]
    typer.echo(
        f"Mean ± sample deviation over {len(results['seeds'])} seeds, seconds a seed, memory of the whole process, "
        f"weights beside the encoder's {results['encoder_parameters']:,}. {rows['training']:,} training rows; "
        f"{rows['selection']:,} selection rows chose epoch and regularisation; {rows['dev']:,} dev rows were read "
        f"once.\n"
        f"States: {store['tokens']:,} tokens of {store['examples']:,} texts in {show_bytes(store['bytes'])} "
        f"({store['codec']}), had in {results['seconds']['extract']:.1f} s; {rows['truncated']} texts cut."
    )
    chosen = results["layers"]["chosen"]
    if chosen:
        scores, kept, every = chosen["scores"], len(chosen["kept"]), len(chosen["ranking"])
        typer.echo(
            f"Layers {', '.join(map(str, chosen['kept']))} of {every} kept, {kept / every:.0%} of the bytes: on the "
            f"selection rows of {chosen['examples']:,} examples they score {scores[str(kept)]:.3f}, all "
            f"{scores[str(every)]:.3f} with a standard error of {chosen['standard_error']:.3f}."
        )
