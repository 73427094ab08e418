"""The starter tasks from end to end: which layer knows which grammar, and answers to questions."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from ..encoders import choose_dtype, load_encoder
from ..kinds import CLASSIFICATION
from ..paths import read_path
from ..progress import Progress, prefix
from ..reports.plots import draw_group_scores, write_png
from ..reports.table import build_rows, format_markdown
from ..runs import Run, writing_to
from ..tasks import get_task, split_selection
from ..training import baselines
from .experiment import train

HEADS = ("learned_pooling", "standardized_adapter_64_shared")


@dataclasses.dataclass(frozen=True)
class QuickstartResult:
    """The runs, one a head, and the files written beside them."""

    runs: list[Run]
    files: list[Path]


def run_quickstart(
    output: str | Path,
    *,
    encoder: str = "minilm",
    seeds: int = 5,
    progress: Progress | None = None,
) -> QuickstartResult:
    """Trains the heads of the quickstart on the starter task.

    Args:
        output: gets table.md, layer_weights.png, grammar_by_layer.png, runs/ and states/.
        encoder: what `load_encoder` takes.
        seeds: heads of each kind.
        progress: as `train`'s.
    """
    output = read_path(output)
    loaded = load_encoder(encoder)
    runs: list[Run] = []
    for head in HEADS:
        run = train(
            "starter",
            loaded,
            head=head,
            seeds=seeds,
            store=output / "states",
            output=output / "runs" / head,
            baselines=not runs,
            progress=prefix(progress, head),
        )
        runs.append(run)
    table, weights, grammar = (output / name for name in ("table.md", "layer_weights.png", "grammar_by_layer.png"))
    with writing_to(output):
        table.write_text(format_markdown(build_rows([run.results for run in runs])), encoding="utf-8")
        shutil.copyfile(runs[0].path / "layer_weights.png", weights)
        _plot_grammar(grammar, runs)
    return QuickstartResult(runs, [table, weights, grammar])


def run_quickstart_qa(
    output: str | Path, *, encoder: str = "minilm", seeds: int = 3, progress: Progress | None = None
) -> QuickstartResult:
    """Fine-tunes an encoder for two epochs on the starter questions, in the type that is fast here, and trains heads on
    its states.

    Args:
        output: gets table.md, run/ and states/.
        encoder: what `load_encoder` takes.
        seeds: heads.
        progress: as `train`'s.
    """
    output, dtype = read_path(output), choose_dtype()
    run = train(
        "starter_qa",
        encoder,
        dtype=dtype,
        seeds=seeds,
        fine_tune_seeds=1,
        fine_tune_epochs=2,
        fine_tune={"learning_rate": 1e-4, "dtype": dtype},  # the rate chosen on the selection rows, for MiniLM
        store=output / "states",
        output=output / "run",
        progress=progress,
    )
    table = output / "table.md"
    with writing_to(output):
        table.write_text(format_markdown(build_rows([run.results])), encoding="utf-8")
    return QuickstartResult([run], [table])


def _plot_grammar(file: Path, runs: list[Run]) -> None:
    """Accuracy on dev by phenomenon: each layer alone, all together, and the last head."""
    train_store, dev_store = runs[0].open_stores()
    train_rows, dev_rows = (get_task("starter").load(split) for split in ("train", "dev"))
    training, selection = split_selection(train_rows.labels, train_rows.groups)
    rows = baselines.Rows(
        CLASSIFICATION,
        train_store.labels,
        training,
        selection,
        lambda labels, found: float((labels == found).mean()),
    )
    means = baselines.compute_token_means(train_store), baselines.compute_token_means(dev_store)
    states = range(train_store.num_hidden_states)
    columns = {f"layer {state}": baselines.fit_layers("", rows, means, [state]).predictions[0] for state in states}
    columns["all"] = baselines.fit_layers("", rows, means, states).predictions[0]
    columns["head"] = runs[-1].read_dev_predictions()
    phenomena = dev_rows.columns["source"]
    groups = sorted(set(phenomena))
    scores = np.zeros((len(groups) + 1, len(columns)))
    for place, predictions in enumerate(columns.values()):
        right = predictions == dev_store.labels
        scores[:-1, place] = [right[np.array(phenomena) == group].mean() for group in groups]
        scores[-1, place] = right.mean()
    title = "Grammar by layer: mean over tokens + logistic regression, and the head"
    write_png(draw_group_scores(scores, [*groups, "all phenomena"], list(columns), title, "accuracy"), file)
