"""Finished runs → a SavedModel in the layout of TensorFlow Serving."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, find_reason
from ..paths import read_path
from ..runs import Run, name_runs, open_runs, write_folder, writing_to
from ..settings import DTYPES
from .card import write_card
from .servable import Servable, ServedHead, clean_name

MARK = "saved_model.pb"
EXTRA = "assets.extra"  # the folder of what stands beside a model
CARD, WARM_UP, BATCHING = "MODEL_CARD.md", "tf_serving_warmup_requests", "batching_parameters.txt"
TEXT_OPS = frozenset({"FastWordpieceTokenizeWithOffsets"})  # of those of tensorflow_text that TensorFlow Serving links
# For texts. Requests of ids that have several widths cannot be put together: TensorFlow Serving pads with what stands
# first, which is no padding here, or refuses them.
BATCHES = """max_batch_size { value: 4096 }
max_execution_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 2 }
enable_large_batch_splitting { value: true }
"""
HELD = (
    MARK,
    "fingerprint.pb",
    "variables/variables.*",
    "assets/*",
    *(f"{EXTRA}/{one}" for one in (CARD, WARM_UP, BATCHING)),
)
SHARED = {  # what heads on one encoder pass have in common, and what it is called
    "tokens": "tokens",
    "pooler": "the pooler's output",
    "layers": "hidden states",
    "max_length": "tokens a text",
}


def export_runs(
    runs: Sequence[Run | str | Path],
    output: str | Path,
    *,
    dtype: str | None = None,
    notice: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes an encoder with the heads that the selection rows chose in each of some runs as one SavedModel.

    One encoder pass feeds all heads; `Servable.build_signatures` names the signatures. It loads with tensorflow and
    tensorflow_text alone. In `assets.extra` lie a model card, and of a model that reads texts requests that warm
    TensorFlow Serving up and a file for its batching.

    Args:
        runs: or their folders, whose heads read the same hidden states of the same encoder.
        output: the folder of this version, as in models/cola/1; a SavedModel that is there is replaced.
        dtype: of the encoder's products, "float32" or "bfloat16"; the runs' own with None.
        notice: gets a line where the model reads no texts, and why.

    Returns:
        the folder.

    Raises:
        RunError: the runs cannot share one encoder pass, something that is no SavedModel stands at `output`, or a
            package is missing.

    Example:
        >>> export_runs(["runs/cola", "runs/sst2"], "models/texts/1")
    """
    opened = open_runs(runs)
    if not opened:
        raise RunError("an export needs a run or more.")
    check_together(opened)
    if dtype not in (None, *DTYPES):
        raise RunError(f"`dtype` needs one of {', '.join(DTYPES)}, got {dtype!r}.")
    _check_packages()
    import tensorflow as tf

    output = read_path(output)
    with write_folder(output, MARK, "SavedModel", HELD, sums=True) as folder, writing_to(output):
        servable = build_servable(opened, dtype)
        signatures = servable.build_signatures()
        if servable.why_no_tokenizer:
            notice(f"it reads no texts: {servable.why_no_tokenizer}")
        (folder / EXTRA).mkdir()
        write_card(folder / EXTRA / CARD, opened, servable, signatures)
        if servable.tokenizer is not None:
            (folder / EXTRA / BATCHING).write_text(BATCHES, encoding="utf-8")
        try:
            _write_warm_up(folder / EXTRA / WARM_UP, signatures, servable.text_inputs)
            with _keeping_quiet():
                tf.saved_model.save(servable, str(folder), signatures=signatures)
        except tf.errors.OpError as error:  # as of a full disk
            raise RunError(f"{output} cannot be written: {find_reason(error)}") from None
        check_ops(folder)
    return output


def _check_packages() -> None:
    """Raises RunError where a package is missing that an export needs."""
    for name, package in (("tensorflow_text", "tensorflow-text"), ("tensorflow_serving", "tensorflow-serving-api")):
        if importlib.util.find_spec(name) is None:
            raise RunError(f"an export needs {package}: pip install 'bertvision-tf[serving]'.")


@contextlib.contextmanager
def _keeping_quiet() -> Iterator[None]:
    """Keeps TensorFlow from saying where it writes assets."""
    import tensorflow as tf

    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def build_servable(runs: Sequence[Run], dtype: str | None = None) -> Servable:
    """The model of some runs that `check_together` lets pass."""
    first = runs[0]
    encoder, config = first.load_encoder(), first.config
    names = [clean_name(name) for name in name_runs(runs)]
    if len(set(names)) < len(names) or {"serving_default", "serve_tokens", "serve_hidden_states"} & set(names):
        raise RunError(f"signatures cannot be named by the runs' folders {', '.join(names)}: rename one.")
    return Servable(
        encoder,
        [
            ServedHead(name, run.load_head(), run.kind, run.config["label_names"], run.threshold)
            for name, run in zip(names, runs, strict=True)
        ],
        layers=config["layers"],
        tokens=config["tokens"],
        pooler=config["pooler"],
        pairs=config["text_pair"] is not None,
        max_length=config["max_length"],
        dtype=dtype or encoder.dtype,
    )


def check_together(runs: Sequence[Run]) -> None:
    """Raises RunError, with both sides, where heads cannot read the same states of one pass."""
    names = name_runs(runs)
    for name, run in zip(names[1:], runs[1:], strict=True):
        both = f"{names[0]} and {name} cannot share an encoder pass"
        if run.encoder_fingerprint != runs[0].encoder_fingerprint:
            sides = [
                f"{one.results['encoder']} in {one.config['dtype']} ({one.encoder_fingerprint})"
                for one in (runs[0], run)
            ]
            raise RunError(f"{both}: their encoders are {sides[0]} and {sides[1]}.")
        inputs = [describe_input(one) for one in (runs[0], run)]
        if inputs[0] != inputs[1]:
            raise RunError(f"{both}: they read {inputs[0]} and {inputs[1]}.")
        for field, what in SHARED.items():
            sides = [one.config[field] for one in (runs[0], run)]
            if sides[0] != sides[1]:
                hint = " Train one with --max-length of the other." if field == "max_length" else ""
                raise RunError(f"{both}: they read {what} {sides[0]} and {sides[1]}.{hint}")


def describe_input(run: Run) -> str:
    """What a run's heads read."""
    if run.kind.answers:
        return "questions with contexts"
    return "single texts" if run.config["text_pair"] is None else "pairs of texts"


def list_ops(model: Path) -> set[str]:
    """The operations of a SavedModel and of its functions."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    found = SavedModel.FromString((model / MARK).read_bytes())
    ops = set()
    for graph in found.meta_graphs:
        nodes = [*graph.graph_def.node, *(node for one in graph.graph_def.library.function for node in one.node_def)]
        functions = {one.signature.name for one in graph.graph_def.library.function}
        ops |= {node.op for node in nodes} - functions
    return ops


def check_ops(model: Path) -> None:
    """Raises RunError where a SavedModel has an operation that TensorFlow Serving does not link."""
    import tensorflow as tf

    python = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    unknown = {op for op in list_ops(model) if op in python or not (op in TEXT_OPS or hasattr(tf.raw_ops, op))}
    if unknown:
        raise RunError(
            f"TensorFlow Serving links TensorFlow's own operations, {', '.join(TEXT_OPS)}, and no "
            f"{', '.join(sorted(unknown))}: this head cannot be served."
        )


def _write_warm_up(file: Path, signatures: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Requests that a server runs before it says that it is ready: each signature of texts with one text and with some,
    short ones and long."""
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, signature in signatures.items():
            given = signature.structured_input_signature[1]
            if set(given) != set(inputs):
                continue
            for count, words in ((1, 4), (1, 100), (16, 20)):
                tensors: dict[str, Any] = {
                    one: tf.make_tensor_proto(["warm " * words + "up"] * count, shape=[count]) for one in inputs
                }
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(name="default", signature_name=name), inputs=tensors
                )
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
