"""An encoder and heads on its states as one model, from text to what each head says: what a SavedModel holds.

Over 300 lines, since a SavedModel is one module: each signature is a method that calls the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..encoders import Encoder
from ..encoders.blocks import LONG
from ..errors import EncoderError, RunError
from ..kinds import SPAN_LOGITS, Kind
from .answers import find_answers
from .graph_tokenizer import GraphTokenizer

STEP = 16  # tokens between the lengths that batches are padded to
CELLS = 8192  # tokens that run at a time, padding included
CONSTANT = 4_000_000  # weights of all heads together, up to which they are constants of the graph
TOKENS = ("token_ids", "segment_ids", "padding_mask")


@dataclasses.dataclass(frozen=True, eq=False)
class ServedHead:
    """A head and what its logits mean.

    Attributes:
        name: letters, digits and underscores.
        model: the Keras head.
        kind: of its task.
        label_names: its classes.
        threshold: of questions, up to which null odds are answered.
    """

    name: str
    model: keras.Model
    kind: Kind
    label_names: Sequence[str] = ()
    threshold: float = 0.0

    def compute_logits(self, inputs: Mapping[str, tf.Tensor], *, constant: bool) -> tf.Tensor:
        """(rows, outputs), or (rows, tokens, 2) of a span's.

        Args:
            inputs: as the model reads them.
            constant: whether the weights become constants of the graph, which TensorFlow folds: half a head's time.
        """
        scope = contextlib.nullcontext() if not constant else keras.StatelessScope(state_mapping=self._read_weights())
        with scope:
            logits = self.model(dict(inputs), training=False)
        return tf.stack([logits[name] for name in SPAN_LOGITS], -1) if isinstance(logits, dict) else logits

    def _read_weights(self) -> list[tuple[keras.Variable, tf.Tensor]]:
        with tf.init_scope():  # a graph that is being traced cannot read values
            values = [variable.numpy() for variable in self.model.variables]
        return [(variable, tf.constant(value)) for variable, value in zip(self.model.variables, values, strict=True)]

    def describe(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """What a client is told: label and probabilities, labels and probabilities where several may hold, a score, or
        the logits of starts and ends."""
        return self.kind.serve(logits, self.label_names)


class Servable(tf.Module):
    """One encoder pass, and any number of heads on its states.

    Args:
        encoder: whose states the heads read.
        heads: all of one kind of input: texts, pairs of texts, or questions with contexts.
        layers: the hidden states that they read; blocks above the highest are not there.
        tokens: "all" or "cls", as the heads' images.
        pooler: whether the pooler's output is their first state.
        pairs: whether they read two texts.
        max_length: tokens of a text or window.
        dtype: of the encoder's products, "float32" or "bfloat16".

    Attributes:
        heads, dtype: as given.
        tokenizer: the tokenizer's twin in the graph; None where it has none.
        why_no_tokenizer: the reason then.
    """

    def __init__(
        self,
        encoder: Encoder,
        heads: Sequence[ServedHead],
        *,
        layers: Sequence[int],
        tokens: str,
        pooler: bool,
        pairs: bool,
        max_length: int,
        dtype: str,
    ):
        super().__init__(name="servable")
        self._layers, self._cls, self._pooler = tuple(layers), tokens == "cls", pooler
        self._pairs, self._max_length = pairs, max_length
        self._num_blocks = encoder.architecture.num_layers if pooler else max(layers)
        self._forward = encoder.build_forward(dtype, portable=True)
        self._vocabulary_size = encoder.architecture.vocabulary_size
        self._hidden_dim, self.heads, self.dtype = encoder.hidden_dim, tuple(heads), dtype
        self._constant = sum(head.model.count_params() for head in heads) <= CONSTANT
        self._kept: list[tf.Variable] = []
        self.why_no_tokenizer = ""
        try:
            self.tokenizer: GraphTokenizer | None = GraphTokenizer(encoder.tokenizer)
        except EncoderError as error:
            self.tokenizer, self.why_no_tokenizer = None, str(error)
        matrix = tf.TensorSpec((None, None), tf.int32)
        self._encode = tf.function(self._run_encoder, input_signature=[matrix] * 3, autograph=False)

    @property
    def reads_questions(self) -> bool:
        """Whether the heads answer questions."""
        return self.heads[0].kind.answers

    @property
    def text_inputs(self) -> tuple[str, ...]:
        """What the texts are called."""
        if self.reads_questions:
            return "question", "context"
        return ("text", "text_pair") if self._pairs else ("text",)

    def build_signatures(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """The functions of a SavedModel by name.

        serving_default      texts → what every head says; the outputs of several have the head's name before theirs
        NAME                 texts → what that head says, where there are several
        serve_tokens         token_ids, segment_ids, padding_mask, each int32 (batch, tokens) → the same; of questions
                             the logits of starts and ends
        serve_hidden_states  hidden_states, float32 (batch, states, tokens, hidden), and the two masks → the same

        Where the tokenizer has no twin, the first two read what serve_tokens reads.

        Args:
            names: of those to build; all with None.

        Raises:
            RunError: there is no such signature; or names of heads, with those of outputs behind them, are not told
                apart.
        """
        texts = {name: tf.TensorSpec((None,), tf.string, name) for name in self.text_inputs}
        matrices = {name: tf.TensorSpec((None, None), tf.int32, name) for name in TOKENS}
        width = 1 if self._cls else None
        states = tf.TensorSpec((None, len(self._layers) + self._pooler, width, self._hidden_dim), name="hidden_states")
        images = {"hidden_states": states} | {name: matrices[name] for name in TOKENS[1:]}
        read, inputs = (self._read_texts, texts) if self.tokenizer is not None else (self._read_tokens, matrices)
        parts: dict[str, tuple[Callable, Sequence[ServedHead], Mapping[str, tf.TensorSpec]]] = {
            "serve_tokens": (self._read_tokens, self.heads, matrices),
            "serve_hidden_states": (self._read_images, self.heads, images),
            "serving_default": (read, self.heads, inputs),
            **({head.name: (read, [head], inputs) for head in self.heads} if len(self.heads) > 1 else {}),
        }
        unknown = [name for name in names or () if name not in parts]
        if unknown:
            raise RunError(f"there is no signature {unknown[0]!r}; there are {', '.join(parts)}.")
        found = {
            name: _trace(lambda given, read=part[0], heads=part[1]: self._join(read, heads, given), part[2])
            for name, part in parts.items()
            if names is None or name in names
        }
        self._kept += _list_captured(found.values())
        return found

    def _join(self, read: Callable, heads: Sequence[ServedHead], given: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        described = read(heads, given)
        if len(heads) == 1:
            return described[heads[0].name]
        named = [(f"{head.name}_{name}", value) for head in heads for name, value in described[head.name].items()]
        names = [name for name, _ in named]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise RunError(f"two outputs would be called {twice}, by the runs' folders: rename one.")
        return dict(named)

    def _read_texts(self, heads: Sequence[ServedHead], texts: Mapping[str, tf.Tensor]) -> dict[str, dict]:
        assert self.tokenizer is not None
        given, buckets = [texts[name] for name in self.text_inputs], range(STEP, self._max_length, STEP)
        sizes = tf.stack([tf.size(one) for one in given])
        with _requiring(
            (tf.reduce_all(sizes == sizes[0]), f"{' and '.join(self.text_inputs)} need as many texts each")
        ):
            given = [tf.identity(one) for one in given]
        if not self.reads_questions:
            return self._run_heads(heads, self.tokenizer.tokenize(*given, max_length=self._max_length, buckets=buckets))
        given[1] = tf.strings.unicode_transcode(given[1], "UTF-8", "UTF-8")  # characters are counted in what is cut
        windows = self.tokenizer.tokenize_windows(*given, max_length=self._max_length, buckets=buckets)
        found = self._run_heads(heads, windows)
        return {
            head.name: find_answers(
                **found[head.name],
                char_offsets=windows["char_offsets"],
                questions=windows["questions"],
                contexts=given[1],
                threshold=head.threshold,
            )
            for head in heads
        }

    def _run_heads(self, heads: Sequence[ServedHead], tokens: Mapping[str, tf.Tensor]) -> dict[str, dict]:
        """What heads say of tokens, CELLS at a time: the memory of a request does not grow with its rows."""
        given = [tokens[name] for name in TOKENS]
        rows, width = tf.shape(given[0])[0], tf.shape(given[0])[1]
        size = tf.maximum(CELLS // tf.maximum(width, 1), 1)
        spans = self.reads_questions
        counts = [2 if spans else head.model.output.shape[-1] for head in heads]
        shape = [None] * (1 + spans) + [sum(counts)]
        written = tf.TensorArray(tf.float32, 1, dynamic_size=True, infer_shape=False, element_shape=shape)

        def run(place: tf.Tensor, written: tf.TensorArray) -> tuple:
            part = [matrix[place * size : (place + 1) * size] for matrix in given]
            logits = self._compute_logits(heads, dict(zip(TOKENS[1:], part[1:], strict=True)), self._encode(*part))
            return place + 1, written.write(place, tf.concat(logits, axis=-1))

        wanted = tf.maximum((rows + size - 1) // size, 1)  # once where there are no rows
        _, written = tf.while_loop(
            lambda place, _: place < wanted, run, (0, written), parallel_iterations=1, maximum_iterations=wanted
        )
        logits = tf.split(written.concat(), counts, axis=-1)
        return {head.name: head.describe(own) for head, own in zip(heads, logits, strict=True)}

    def _read_tokens(self, heads: Sequence[ServedHead], tokens: Mapping[str, tf.Tensor]) -> dict[str, dict]:
        ids, mask = tokens["token_ids"], tokens["padding_mask"]
        fits = tf.shape(mask)[1] <= self._max_length
        with _requiring(
            (tf.reduce_all(tf.shape(ids) == tf.shape(mask)), "token_ids and padding_mask need one shape"),
            (fits, f"rows of ids are at most {self._max_length} wide"),
            (tf.reduce_all((ids >= 0) & (ids < self._vocabulary_size)), f"ids lie below {self._vocabulary_size}"),
            *_check_masks(tokens),
        ):
            return self._run_heads(heads, {name: tf.identity(tokens[name]) for name in TOKENS})

    def _read_images(self, heads: Sequence[ServedHead], images: Mapping[str, tf.Tensor]) -> dict[str, dict]:
        states, mask = images["hidden_states"], images["padding_mask"]
        same = (tf.shape(states)[0] == tf.shape(mask)[0]) & (self._cls or tf.shape(states)[2] == tf.shape(mask)[1])
        with _requiring((same, "hidden_states and padding_mask need as many rows and tokens"), *_check_masks(images)):
            images = {name: tf.identity(tensor) for name, tensor in images.items()}
        logits = self._compute_logits(heads, {name: images[name] for name in TOKENS[1:]}, images["hidden_states"])
        return {head.name: head.describe(one) for head, one in zip(heads, logits, strict=True)}

    def _compute_logits(
        self, heads: Sequence[ServedHead], masks: Mapping[str, tf.Tensor], states: tf.Tensor
    ) -> list[tf.Tensor]:
        """(rows, outputs) of each head, or (rows, tokens, 2) of a span's."""
        if self._cls:
            masks = {
                "segment_ids": masks["segment_ids"][:, :1],
                "padding_mask": tf.ones_like(masks["segment_ids"][:, :1]),
            }
        inputs = {"hidden_states": states, **masks}
        return [head.compute_logits(inputs, constant=self._constant) for head in heads]

    def _run_encoder(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """float32, (batch, states, tokens, hidden), padded cells 0."""
        rows, width = tf.shape(token_ids)[0], tf.shape(token_ids)[1]
        lengths, long = tf.reduce_sum(padding_mask, axis=1), self._max_length > LONG
        states = self._forward(token_ids, segment_ids, lengths, self._num_blocks, long)
        cells = [tf.reshape(state, (rows, width, self._hidden_dim)) for state in states]
        if self._cls:
            cells = [state[:, :1] for state in cells]
        chosen = [cells[layer] for layer in self._layers]
        if self._pooler:
            chosen.insert(0, self._forward.pool(cells[-1][:, 0])[:, None])
        image = tf.cast(tf.stack(chosen, axis=1), tf.float32)
        return image if self._cls else image * tf.cast(padding_mask[:, None, :, None], tf.float32)


def clean_name(name: str) -> str:
    """A name of letters, digits and underscores, as signatures have it."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "head"


def _check_masks(given: Mapping[str, tf.Tensor]) -> list[tuple[tf.Tensor, str]]:
    """What `_requiring` asks of the masks of tokens."""
    segments, mask = given["segment_ids"], given["padding_mask"]
    real = tf.reduce_sum(mask, axis=1)
    wanted = tf.sequence_mask(real, tf.shape(mask)[1], tf.int32)
    return [
        (tf.reduce_all(tf.shape(segments) == tf.shape(mask)), "segment_ids and padding_mask need one shape"),
        (tf.reduce_all(real > 0) & tf.reduce_all(mask == wanted), "padding_mask needs ones, then zeros"),
        (tf.reduce_all((segments == 0) | (segments == 1)), "segment_ids are 0 or 1"),
    ]


def _requiring(*required: tuple[tf.Tensor, str]) -> Any:
    """A block whose operations run only where all conditions hold; else the request fails with a message."""
    return tf.control_dependencies([tf.debugging.Assert(condition, [message]) for condition, message in required])


def _list_captured(signatures: Iterable[Any]) -> list[tf.Variable]:
    """The variables that functions read, each once: weights that became constants are named by them too, but unread."""
    kept: dict[int, tf.Variable] = {}
    for signature in signatures:
        captured = {id(tensor) for tensor in signature.captured_inputs}
        kept |= {id(one): one for one in signature.variables if id(one.handle) in captured}
    return list(kept.values())


def _trace(run: Callable, inputs: Mapping[str, tf.TensorSpec]) -> Any:
    """A function of inputs by name, traced once for all batches and lengths."""
    traced = tf.function(lambda **given: run(given), autograph=False)
    return traced.get_concrete_function(**inputs)
