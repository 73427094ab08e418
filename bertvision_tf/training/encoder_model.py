"""The model that fine-tuning trains: a backbone, and the encoder's own head on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ..encoders import Classifier, Encoder, SpanClassifier
from ..encoders.backbone import build_backbone, find_variables, get_blocks, read_backbone, write_backbone
from ..errors import RunError
from ..heads.describe import count_trainable
from ..keras_settings import name_policy
from ..layers.span_logits import SpanLogits
from ..settings.fine_tune import check_parts

DROPOUT = 0.1  # as BERT's


class EncoderModel:
    """A trainable encoder.

    Args:
        encoder: whose weights it begins with.
        num_outputs: of its own head, which reads the first token; None for one that scores the start and the end of
            an answer at every token.
        parts: what is trained beside the head: "all"; "no_embeddings"; "top_K", the K blocks nearest to the head;
            "lora_R", changes of rank R to each block's query and value kernels, and their biases (KerasHub's).
        dtype: of products, one of PRECISIONS; weights are float32.

    Attributes:
        model: of token_ids, segment_ids and padding_mask, each (batch, tokens), to logits (batch, outputs), or
            {"start_logits", "end_logits"}, each (batch, tokens).
        trainable_parameters: how many weights are trained.

    Raises:
        RunError: the parts are not known, or not those of this encoder.
    """

    def __init__(self, encoder: Encoder, num_outputs: int | None, parts: str = "all", dtype: str = "float32"):
        self.encoder, policy = encoder, name_policy(dtype)
        self._backbone = build_backbone(encoder.architecture, encoder.weights, policy)
        # A table in bfloat16 would be cast as a whole at every step, for the few rows that are read.
        whole = keras.DTypePolicy("float32")
        self._backbone.token_embedding.dtype_policy = whole
        for layer in self._backbone.layers:  # KerasHub's that adds positions adds what is of one type
            if hasattr(layer, "token_embedding"):
                layer.dtype_policy = layer.position_embedding.dtype_policy = whole
        self._choose_parts(parts)
        output = self._backbone.output
        output = output if isinstance(output, dict) else {"sequence_output": output}
        self._dense: keras.layers.Dense | None = None
        self._norm: keras.layers.LayerNormalization | None = None
        self._spans = num_outputs is None
        if num_outputs is None:
            self._build_spans(output["sequence_output"], policy)
        else:
            self._build_labels(output, num_outputs, policy)
        self.trainable_parameters = count_trainable(self.model)

    def _build_spans(self, states: keras.KerasTensor, policy: str) -> None:
        """The output layer over all tokens (batch, tokens, hidden), and the model."""
        inputs = dict(self._backbone.input)
        if "segment_ids" not in inputs:  # of a RoBERTa, which has no use for them itself
            inputs["segment_ids"] = keras.Input((None,), name="segment_ids", dtype="int32")
        if self.encoder.family.head.norm:
            states = self._run_dense(states, policy)
        self._output = _build_output(2)
        logits = self._output(states)  # (batch, tokens, 2)
        spans = SpanLogits(name="span_logits")(logits, inputs["padding_mask"], inputs["segment_ids"])
        self.model = keras.Model(inputs, spans, name="encoder")
        if hasattr(self._backbone, "pooled_dense"):
            self._backbone.pooled_dense.trainable = False  # it is not read

    def _build_labels(self, output: Mapping[str, keras.KerasTensor], num_outputs: int, policy: str) -> None:
        """The layers over the first token, or after BERT's pooler, and the model."""
        encoder = self.encoder
        if "pooled_output" in output and encoder.family.head.in_pooler:
            x = output["pooled_output"]
        else:
            x = keras.layers.Dropout(DROPOUT, dtype=policy)(output["sequence_output"][:, 0])
            x = self._run_dense(x, policy)
        x = keras.layers.Dropout(DROPOUT, dtype=policy)(x)
        self._output = _build_output(num_outputs)
        self.model = keras.Model(self._backbone.input, self._output(x), name="encoder")

    def _run_dense(self, x: keras.KerasTensor, policy: str) -> keras.KerasTensor:
        """The first layer of the own head, over the last axis, and its norm where it has one."""
        head = self.encoder.family.head
        self._dense = keras.layers.Dense(
            self.encoder.hidden_dim,
            activation=head.activation,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=policy,
            name="classifier_dense",
        )
        x = self._dense(x)
        if head.norm:
            self._norm = keras.layers.LayerNormalization(
                epsilon=self.encoder.architecture.layer_norm_epsilon, center=False, dtype=policy, name="classifier_norm"
            )
            x = self._norm(x)
        return x

    def read_encoder(self, name: str) -> Encoder:
        """The encoder with the weights that it has now."""
        encoder = self.encoder
        weights = dict(encoder.weights) | read_backbone(self._backbone)
        if encoder.family.pads_positions and "segment_embedding" in weights:
            weights["segment_embedding"] = np.zeros_like(weights["segment_embedding"])  # the positions have it in them
        return Encoder(name, encoder.architecture, encoder.tokenizer, weights, encoder.dtype, encoder.engine)

    def read_classifier(self) -> Classifier | SpanClassifier:
        """Its own head with the weights that it has now; labels were scaled by nothing."""
        inner = [self._dense] if self._dense else []
        last = [self._norm] if self._norm else []
        if self._spans:
            layers = [self._output, *inner, *last]
        else:
            layers = [*(inner or [self._backbone.pooled_dense]), self._output, *last]
        parts: list[Any] = [np.array(variable, np.float32) for layer in layers for variable in layer.weights]
        kind = SpanClassifier if self._spans else Classifier
        epsilon: dict[str, Any] = {}
        if self._norm:
            epsilon["norm_epsilon"] = self.encoder.architecture.layer_norm_epsilon
        return kind(self.encoder.architecture.family, *parts, **epsilon)

    def write(
        self, weights: Mapping[str, np.ndarray], classifier: Classifier, scale: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        """Puts an encoder's weights and its own head in the place of those it has.

        Args:
            weights: an encoder's.
            classifier: its own head.
            scale: mean and deviation of the labels, if the model is to give them as 0 and 1.
        """
        write_backbone(self._backbone, self.encoder.architecture, weights)
        dense, (mean, deviation) = self._dense or self._backbone.pooled_dense, scale
        dense.set_weights([classifier.dense_kernel, classifier.dense_bias])
        if self._norm:
            self._norm.set_weights([classifier.norm_gamma])
        self._output.set_weights([classifier.output_kernel / deviation, (classifier.output_bias - mean) / deviation])

    def find_variables(self) -> dict[str, keras.Variable]:
        """The encoder's variables by our names."""
        return find_variables(self._backbone)

    def _choose_parts(self, parts: str) -> None:
        found, blocks = check_parts(parts), get_blocks(self._backbone)
        if found["top"] and int(found["top"]) > len(blocks):
            raise RunError(f"{parts} is more than the {len(blocks)} blocks of {self.encoder.name}.")
        if found["lora"]:
            self._backbone.enable_lora(int(found["lora"]))
        elif not found["all"]:
            trained = blocks[-int(found["top"]) :] if found["top"] else blocks
            for layer in self._backbone.layers:
                layer.trainable = any(layer is block for block in trained) or layer.name == "final"
        pooler = getattr(self._backbone, "pooled_dense", None)
        if pooler is not None:
            pooler.trainable = True


def _build_output(width: int) -> keras.layers.Dense:
    return keras.layers.Dense(
        width, kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02), dtype="float32", name="logits"
    )
