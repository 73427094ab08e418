"""Hidden states from other libraries: PyTorch transformers, ONNX Runtime, OpenVINO and sentence-transformers.

Each gets the batches that this library planned, from a file, in a process without TensorFlow, and returns a rate in
tokens a second. Those with int8 products also return how far their states are from float32's.
"""

import argparse
import contextlib
import inspect
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from contenders import read_batches

NAMES = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
COMPARED = 4  # batches on which int8 states are compared with float32 states


def time_calls(run: Callable[[], object], tokens: int) -> float:
    """Tokens a second: the median of three calls after a first one that is not counted."""
    run()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return tokens / statistics.median(seconds)


def count_tokens(batches: list[dict[str, np.ndarray]]) -> int:
    return int(sum(batch["padding_mask"].sum() for batch in batches))


def find_folder(options: argparse.Namespace) -> Path:
    return Path(options.batches.with_suffix(".folder").read_text(encoding="utf-8"))


def run_pytorch(options: argparse.Namespace) -> float:
    """The best of eager and sdpa attention, and with --compile of both compiled; all states stacked as float32."""
    import torch

    batches, device = read_batches(options.batches), "cuda" if torch.cuda.is_available() else "cpu"
    best = 0.0
    for attention, compiled in itertools.product(("eager", "sdpa"), (False, True) if options.compile else (False,)):
        try:
            model, known = load_model(find_folder(options), attention, getattr(torch, options.dtype))
        except ValueError:  # transformers has no sdpa for MPNet and DeBERTa
            continue
        model = model.to(device)
        if compiled:
            model = torch.compile(model, dynamic=True)

        def run(model: Any = model, known: dict[str, str] = known) -> None:
            with torch.inference_mode():
                for batch in batches:
                    inputs = {name: torch.from_numpy(batch[ours]).long().to(device) for ours, name in known.items()}
                    states = model(**inputs, output_hidden_states=True).hidden_states
                    torch.stack([state.float() for state in states], 1).cpu()

        best = max(best, time_calls(run, count_tokens(batches)))
    return best


def load_model(folder: Path, attention: str, dtype: Any) -> tuple[Any, dict[str, str]]:
    """A transformers model, and which of our inputs it takes, by its own names."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval()
    known = inspect.signature(model.forward).parameters
    return model, {ours: theirs for ours, theirs in NAMES.items() if theirs in known}


def export_onnx(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """The encoder as an ONNX file from token ids to the stacked states, made once; and the names of its inputs."""
    file = options.batches.with_name(f"{find_folder(options).name}.onnx")
    names = file.with_suffix(".names")
    if not names.exists():
        import torch

        # Attention of its own steps: the runtimes join them, and sdpa's are not exported for every family.
        model, known = load_model(find_folder(options), "eager", torch.float32)

        class States(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *values: Any) -> Any:
                inputs = dict(zip(known.values(), values, strict=True))
                return torch.stack(self.model(**inputs, output_hidden_states=True).hidden_states, 1)

        free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
        with contextlib.redirect_stdout(None):
            torch.onnx.export(
                States(),
                tuple(torch.ones(2, 9, dtype=torch.long) for _ in known),
                str(file),
                input_names=list(known.values()),
                output_names=["states"],
                dynamic_shapes=(tuple(free for _ in known),),
                dynamo=True,
            )
        names.write_text(json.dumps(list(known.values())), encoding="utf-8")
    return file, json.loads(names.read_text(encoding="utf-8"))


def read_inputs(options: argparse.Namespace, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
    for batch in read_batches(options.batches):
        yield {theirs: batch[ours].astype(np.int64) for ours, theirs in NAMES.items() if theirs in names}


def run_onnxruntime(options: argparse.Namespace) -> float:
    file, names = export_onnx(options)
    return time_model(open_onnxruntime(file), options, names)


def run_onnxruntime_int8(options: argparse.Namespace) -> tuple[float, float]:
    """Weights as int8, activations quantised batch by batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file, names = export_onnx(options)
    small = file.with_suffix(".int8.onnx")
    if not small.exists():
        quantize_dynamic(str(file), str(small), weight_type=QuantType.QInt8)
    model = open_onnxruntime(small)
    return time_model(model, options, names), compare(model, open_onnxruntime(file), options, names)


def open_onnxruntime(file: Path) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def run_openvino(options: argparse.Namespace) -> float:
    file, names = export_onnx(options)
    return time_model(open_openvino(str(file), options.dtype), options, names)


def run_openvino_int8(options: argparse.Namespace) -> tuple[float, float]:
    """Weights and activations as int8, with ranges that nncf measures on the first batches."""
    import nncf
    import openvino

    file, names = export_onnx(options)
    small = file.with_suffix(".int8.xml")
    if not small.exists():
        examples = nncf.Dataset(list(itertools.islice(read_inputs(options, names), 32)))
        found = nncf.quantize(
            openvino.Core().read_model(str(file)), examples, model_type=nncf.ModelType.TRANSFORMER, subset_size=32
        )
        openvino.save_model(found, str(small))
    model = open_openvino(str(small), options.dtype)
    return time_model(model, options, names), compare(model, open_openvino(str(file), "float32"), options, names)


def open_openvino(file: str, dtype: str) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import openvino

    kind = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": kind})
    return lambda inputs: model(inputs)[0]


def time_model(model: Callable[[dict[str, np.ndarray]], np.ndarray], options: argparse.Namespace, names: list) -> float:
    batches = list(read_inputs(options, names))

    def run() -> None:
        for batch in batches:
            assert model(batch).shape[::2] == (len(batch["input_ids"]), batch["input_ids"].shape[1])

    return time_calls(run, count_tokens(read_batches(options.batches)))


def compare(model: Callable, reference: Callable, options: argparse.Namespace, names: list[str]) -> float:
    """The root mean square of the difference of real tokens' states, in standard deviations of the reference's."""
    squares = norm = 0.0
    for batch in itertools.islice(read_inputs(options, names), COMPARED):
        real = batch["attention_mask"].astype(bool)
        wanted, found = (np.moveaxis(one(batch), 1, 2)[real].astype(np.float64) for one in (reference, model))
        squares += ((found - wanted) ** 2).sum()
        norm += ((wanted - wanted.mean()) ** 2).sum()
    return float(np.sqrt(squares / norm))


def run_sentence_transformers(options: argparse.Namespace) -> float:
    """Texts to one vector each: the mean of the last layer alone, tokenizing included."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    encoder = Transformer(str(find_folder(options)), max_seq_length=options.max_length)
    encoder.auto_model.to(getattr(torch, options.dtype))
    model = SentenceTransformer(modules=[encoder, Pooling(encoder.get_word_embedding_dimension())])
    texts = json.loads(options.batches.with_suffix(".texts").read_text(encoding="utf-8"))
    texts = [tuple(one) if isinstance(one, list) else one for one in texts]
    return time_calls(
        lambda: model.encode(texts, batch_size=32, show_progress_bar=False), count_tokens(read_batches(options.batches))
    )


PEERS: dict[str, tuple[Callable[[argparse.Namespace], Any], *tuple[str, ...]]] = {  # and the packages it needs
    "pytorch": (run_pytorch, "torch"),
    "onnxruntime": (run_onnxruntime, "onnxruntime", "torch"),
    "onnxruntime-int8": (run_onnxruntime_int8, "onnxruntime", "torch"),
    "openvino": (run_openvino, "openvino", "torch"),
    "openvino-int8": (run_openvino_int8, "nncf", "openvino", "torch"),
    "sentence-transformers": (run_sentence_transformers, "sentence_transformers"),
}
