"""Engines: what runs the graph of an encoder's forward pass. TensorFlow as it is, compiled by XLA, or OpenVINO.

Each takes numpy arrays and returns one. All read TensorFlow's graph, so that a family is written once for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import tensorflow as tf

from ..errors import EncoderError
from .architecture import Architecture

Run = Callable[..., np.ndarray]

TENSORFLOW, OPENVINO, XLA = ENGINES = ("tensorflow", "openvino", "xla")
TITLES = {TENSORFLOW: "TensorFlow", OPENVINO: "OpenVINO", XLA: "XLA"}
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.3}  # of the largest difference, in standard deviations of the states
BUCKETS = (1, 2, 3, *(count << shift for shift in range(28) for count in (4, 5, 6, 7)))  # at most a quarter apart


def check_engine(name: str, dtype: str) -> None:
    """Raises EncoderError where there is no such engine, it is not installed, or it would not serve here."""
    if name not in ENGINES:
        raise EncoderError(f"engine {name!r} is not known; known: {', '.join(ENGINES)}.")
    if name != OPENVINO:
        return
    if find_spec("openvino") is None:
        raise EncoderError("engine 'openvino' needs a package: pip install 'bertvision-tf[openvino]'.")
    if tf.config.list_physical_devices("GPU"):
        raise EncoderError("OpenVINO runs on the processor, and TensorFlow sees a GPU: take engine tensorflow.")
    from openvino import Core

    if dtype == "bfloat16" and "BF16" not in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EncoderError("OpenVINO does not multiply bfloat16 on this processor: take dtype float32.")


def run_tensorflow(function: tf.types.experimental.PolymorphicFunction) -> Run:
    """A graph of one output, run by TensorFlow."""

    def run(*inputs: np.ndarray) -> np.ndarray:
        found = function(*map(tf.constant, inputs))
        return found.numpy() if "GPU" in found.device else np.from_dlpack(found)  # which does not copy

    return run


def run_openvino(function: tf.types.experimental.PolymorphicFunction, dtype: str) -> Run:
    """A float32 graph of one output, run by OpenVINO on the processor.

    Args:
        function: with an input signature.
        dtype: of the matrix products.
    """
    import openvino

    concrete = function.get_concrete_function()
    model = openvino.convert_model(concrete)
    # An activation with a gradient of its own, as silu, adds outputs to the converted graph: one is taken by its name.
    inputs = [model.input(spec.name).get_node() for spec in concrete.structured_input_signature[0]]
    model = openvino.Model([model.output(concrete.outputs[0].name)], inputs)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": PRECISIONS[dtype]})
    request, one_at_a_time = compiled.create_infer_request(), threading.Lock()  # it uses all cores by itself

    def run(*inputs: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return request.infer(inputs)[0].copy()  # or the next call would overwrite it

    return run


def pad_to_bucket(
    token_ids: tf.Tensor, segment_ids: tf.Tensor, lengths: tf.Tensor, longest: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Pads a batch to one of few shapes, since XLA compiles each shape for seconds.

    Args:
        token_ids, segment_ids: int32, (batch, tokens).
        lengths: int32, (batch,).
        longest: tokens that the encoder takes at most.

    Returns:
        the same, of BUCKETS texts (those added have 0 tokens) and 8 · BUCKETS tokens, or `longest`.
    """
    sizes = tf.constant(BUCKETS)
    batch, tokens = tf.unstack(tf.shape(token_ids))
    texts, eighths = tf.unstack(tf.gather(sizes, tf.searchsorted(sizes, [batch, (tokens + 7) // 8])))
    rows, columns = [0, texts - batch], [0, tf.minimum(8 * eighths, longest) - tokens]
    return tf.pad(token_ids, [rows, columns]), tf.pad(segment_ids, [rows, columns]), tf.pad(lengths, [rows])


def check_equal(engine: str, run: Run, reference: Run, inputs: list[np.ndarray], dtype: str, name: str) -> None:
    """Raises EncoderError where an engine's states are not TensorFlow's.

    Args:
        engine: one of ENGINES.
        run, reference: the graph in this engine, and in TensorFlow.
        inputs: of both.
        dtype: of the first one's products.
        name: the encoder's, for the error.
    """
    found, wanted = run(*inputs), reference(*inputs)
    if found.shape != wanted.shape:
        what = f"of shape {found.shape}, TensorFlow's {wanted.shape}"
    else:
        difference = float(np.abs(found - wanted).max(initial=0.0) / max(float(wanted.std()), 1e-6))
        if difference <= TOLERANCES[dtype]:
            return
        what = f"{difference:.2g} standard deviations from TensorFlow's"
    raise EncoderError(f"hidden states of {name} by {TITLES[engine]} are {what}: take engine tensorflow.")


def make_inputs(architecture: Architecture) -> list[np.ndarray]:
    """Token ids, segment ids and lengths of three texts, the second with padding; to try an engine on."""
    tokens = min(12, architecture.max_positions)
    ids = np.random.default_rng(0).integers(architecture.vocabulary_size, size=(3, tokens), dtype=np.int32)
    segments = np.zeros_like(ids)
    if architecture.num_segments > 1:
        segments[:, tokens // 2 :] = 1
    return [ids, segments, np.array([tokens, tokens // 2, tokens], np.int32)]
