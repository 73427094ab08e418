"""An encoder: texts in, every hidden state out."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import EncoderError
from ..forks import check_process
from ..keras_settings import check_keras
from ..random_states import keeps_random_states
from ..settings import DTYPES
from ..settings.checks import is_count
from .architecture import Architecture
from .blocks import LONG
from .engine import (
    OPENVINO,
    TENSORFLOW,
    XLA,
    Run,
    check_engine,
    check_equal,
    make_inputs,
    run_openvino,
    run_tensorflow,
)
from .families import FAMILIES, Family
from .forward import Forward
from .graph import Choice, build_graph
from .tokenizer import Tokenizer, Tokens, Windows, choose_windows

ONE_AT_A_TIME = threading.Lock()  # graphs are built


class Encoder:
    """A tokenizer and one model that returns every hidden state.

    Args:
        name: how it was asked for; only shown.
        architecture: sizes and settings.
        tokenizer: texts → token ids.
        weights: what `read_weights` gives.
        dtype: "float32", or "bfloat16" (two to four times as fast where the processor multiplies them; states are
            off by 0.7% in the mean, less than an int8 store rounds away).
        engine: what runs the graph: "tensorflow"; "openvino" where it is installed and there is no GPU; or "xla", which
            compiles it for each of a few shapes. In float32 states are equal but for float noise. Texts of more than
            512 tokens run in TensorFlow.

    Attributes:
        device: TensorFlow's name of where it runs; the default device with None.

    Example:
        >>> encoder = load_encoder("minilm")
        >>> tokens = encoder.tokenize(["She sleeps."], max_length=16)
        >>> encoder.hidden_states(tokens).shape      # (batch, num_hidden_states, tokens, hidden_dim)
        (1, 7, 5, 384)
    """

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        tokenizer: Tokenizer,
        weights: Mapping[str, np.ndarray],
        dtype: str = "float32",
        engine: str = "tensorflow",
    ):
        check_keras()
        if dtype not in DTYPES:
            raise EncoderError(f"encoder dtype {dtype!r} is not known; known: {', '.join(DTYPES)}.")
        check_engine(engine, dtype)
        if tokenizer.vocabulary_size > architecture.vocabulary_size:
            raise EncoderError(
                f"the tokenizer of {name} has {tokenizer.vocabulary_size} tokens, its embedding only "
                f"{architecture.vocabulary_size} rows: they are not of one checkpoint."
            )
        self.name = name
        self.architecture = architecture
        self.tokenizer = tokenizer
        self.weights = weights
        self.dtype, self.engine = dtype, engine
        self.device: str | None = None
        self._copies: dict[str, Encoder] = {}
        self._graphs: dict[Choice, Run] = {}

    def __getstate__(self) -> dict[str, Any]:
        """An encoder can be pickled: another process builds the graphs for itself."""
        own = ("name", "architecture", "tokenizer", "weights", "dtype", "engine")
        return {name: vars(self)[name] for name in own} | {"device": None, "_copies": {}, "_graphs": {}}

    def change(self, *, dtype: str | None = None, engine: str | None = None) -> "Encoder":
        """The same encoder with matrix products of another type, or run by another engine; it shares the weights."""
        dtype, engine = dtype or self.dtype, engine or self.engine
        if (dtype, engine) == (self.dtype, self.engine):
            return self
        return Encoder(self.name, self.architecture, self.tokenizer, self.weights, dtype, engine)

    def on_device(self, device: str) -> "Encoder":
        """A copy that runs on another device, by TensorFlow's name. It is made once, and shares the weights in this
        process's memory."""
        if device not in self._copies:
            copy = Encoder(self.name, self.architecture, self.tokenizer, self.weights, self.dtype, self.engine)
            copy.device = device
            self._copies[device] = copy
        return self._copies[device]

    @property
    def num_hidden_states(self) -> int:
        """The embedding layer's output and one for each block."""
        return self.architecture.num_layers + 1

    @property
    def family(self) -> Family:
        """What is peculiar to encoders of this kind."""
        return FAMILIES[self.architecture.family]

    @property
    def hidden_dim(self) -> int:
        return self.architecture.hidden_dim

    @property
    def num_parameters(self) -> int:
        return sum(value.size for value in self.weights.values())

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over weights, architecture, tokenizer and dtype; equal means equal states."""
        digest = hashlib.sha256()
        digest.update(json.dumps([vars(self.architecture), self.dtype, self.tokenizer.to_json()]).encode())
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value, np.float32).data)
        return digest.hexdigest()[:32]

    def choose_length(self, asked: int | None, usual: int) -> int:
        """The tokens a text may have: as asked, or a task's usual number as far as the positions go."""
        return asked or min(usual, self.architecture.max_positions)

    def tokenize(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, max_length: int = 128
    ) -> dict[str, np.ndarray]:
        """Returns token_ids, segment_ids and padding_mask, each int32 (batch, tokens) with zeros on the right."""
        return self.tokenize_rows(texts, text_pairs, max_length).pad()

    def tokenize_rows(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, max_length: int = 128
    ) -> Tokens:
        """As `tokenize`, with no padding: the tokens of all texts back to back."""
        self._check_length(max_length)
        return self.tokenizer.tokenize(texts, text_pairs, max_length)

    def tokenize_windows(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        max_length: int = 384,
        stride: int | None = None,
        question_length: int | None = None,
    ) -> Windows:
        """The tokens of questions with their contexts, a long context in windows that share `stride` tokens.

        Args:
            questions, contexts: one of each a row.
            max_length: tokens of a window, special ones included.
            stride: tokens of the context that neighbouring windows share; `choose_windows`'s with None.
            question_length: a longer question is cut after so many tokens; `choose_windows`'s with None.
        """
        self._check_length(max_length)
        stride, question_length = choose_windows(max_length, stride, question_length)
        return self.tokenizer.tokenize_windows(questions, contexts, max_length, stride, question_length)

    def _check_length(self, max_length: int) -> None:
        if not is_count(max_length) or not 3 <= max_length <= self.architecture.max_positions:
            raise EncoderError(
                f"`max_length` needs 3 to {self.architecture.max_positions} tokens for {self.name}, got {max_length!r}."
            )

    def hidden_states(self, tokens: Mapping[str, np.ndarray]) -> np.ndarray:
        """Runs the encoder on what `tokenize` gave.

        Returns:
            float32, (batch, num_hidden_states, tokens, hidden_dim): index 0 is the embedding layer's output, the
            last the final block's. Padded cells are 0.
        """
        rows = self.hidden_state_rows(tokens)
        mask = np.asarray(tokens["padding_mask"]).astype(bool)
        image = np.zeros((*mask.shape, self.num_hidden_states, self.hidden_dim), np.float32)
        image[mask] = rows
        return image.transpose(0, 2, 1, 3)

    def hidden_state_rows(
        self,
        tokens: Mapping[str, np.ndarray],
        *,
        mode: str = "all",
        pooler: bool = False,
        layers: Sequence[int] | None = None,
        grid: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Runs the encoder and returns the states of real tokens only, back to back as a store keeps them.

        Args:
            tokens: what `tokenize` gave, padding on the right.
            mode: "all" tokens, or "cls" for the first one of each text.
            pooler: with "cls", the pooler's output goes first.
            layers: indices of the hidden states to return, all by default. Blocks above the highest are not run.
            grid: factor and offset, each float32 (states, hidden_dim): states are rounded to steps on the device, as
                `store.codecs.round_to_grid` does, and a quarter of the bytes leaves it.

        Returns:
            float32, (rows, states, hidden_dim); with `grid` int8.
        """
        if not isinstance(tokens, Mapping) or not {"token_ids", "segment_ids", "padding_mask"} <= set(tokens):
            raise EncoderError("hidden states need token_ids, segment_ids and padding_mask, as `tokenize` gives them.")
        layers = tuple(range(self.num_hidden_states)) if layers is None else tuple(layers)
        mask = np.asarray(tokens["padding_mask"], np.int32)
        if mask.size == 0:
            return np.zeros((0, len(layers) + pooler, self.hidden_dim), np.float32 if grid is None else np.int8)
        if not (np.diff(mask, axis=1) <= 0).all():
            raise EncoderError("`padding_mask` needs its zeros on the right of each row.")
        ids = np.asarray(tokens["token_ids"])
        if ids.min() < 0 or ids.max() >= self.architecture.vocabulary_size:
            raise EncoderError(
                f"`token_ids` lie from 0 to {self.architecture.vocabulary_size - 1} for {self.name}, "
                f"got {ids.min()} to {ids.max()}."
            )
        if pooler and "pooler.kernel" not in self.weights:
            raise EncoderError(f"{self.name} has no pooler: leave `pooler` out.")
        check_process()
        inputs = (ids, tokens["segment_ids"], mask.sum(axis=1))
        with tf.device(self.device) if self.device else contextlib.nullcontext():
            run = self._graph(Choice(mode, pooler, layers, mask.shape[1] > LONG, grid is not None))
            return run(*(np.asarray(one, np.int32) for one in inputs), *(grid or ()))

    @functools.cached_property
    def backbone(self) -> keras.Model:
        """A Keras model with these weights, KerasHub's where it has one: the reference for the states, and what
        fine-tuning trains."""
        from .backbone import build_backbone

        return build_backbone(self.architecture, self.weights)

    @functools.cached_property
    @keeps_random_states
    def _forward(self) -> Forward:
        return Forward(self.architecture, self.weights, self.dtype, constants=self.engine != XLA)

    @functools.cached_property
    @keeps_random_states
    def _plain_forward(self) -> Forward:
        """The forward pass for OpenVINO, which multiplies in another dtype by itself."""
        return Forward(self.architecture, self.weights, "float32", plain=True)

    @keeps_random_states
    def build_forward(self, dtype: str, portable: bool = False) -> Forward:
        """The forward pass; for a SavedModel with `portable`, in any of DTYPES."""
        return Forward(self.architecture, self.weights, dtype, portable)

    def _graph(self, choice: Choice) -> Run:
        if choice not in self._graphs:
            with ONE_AT_A_TIME:
                if choice not in self._graphs:  # another thread may have built it meanwhile
                    self._graphs[choice] = self._build_graph(choice)
        return self._graphs[choice]

    def _build_graph(self, choice: Choice) -> Run:
        engine = TENSORFLOW if choice.long else self.engine  # the others have no loops of tensor lists
        forward = self._plain_forward if engine == OPENVINO else self._forward
        graph = build_graph(forward, choice)
        plain = run_tensorflow(graph)
        if engine == TENSORFLOW:
            return plain
        if engine == OPENVINO:
            found = run_openvino(graph, self.dtype)
        else:
            found = run_tensorflow(build_graph(forward, choice, compiled=True))
        if not choice.rounded:
            check_equal(engine, found, plain, make_inputs(self.architecture), self.dtype, self.name)
        elif not self._graphs:  # an extraction that is gone on with: what has not been checked before
            exact = dataclasses.replace(choice, rounded=False)
            self._graphs[exact] = self._build_graph(exact)
        return found
