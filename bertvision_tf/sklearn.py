"""scikit-learn's interface to hidden states: texts in, features out, for its pipelines and searches.

make_pipeline(HiddenStateTransformer("minilm"), StandardScaler(), LogisticRegression())
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .encoders import Encoder, load_encoder
from .errors import EncoderError, TaskError
from .extraction.devices import count_batch_tokens, count_workers
from .extraction.encode import map_in_order
from .extraction.plan import plan_batches
from .tasks.files import list_texts

POOLINGS = ("mean", "max", "cls")
KEPT = 2**28  # bytes of features that stay in memory, of all transformers of a process


class HiddenStateTransformer(TransformerMixin, BaseEstimator):
    """Texts → the pooled hidden states of chosen layers.

    The encoder stays as it is; `fit` only loads it. Features of a text are kept in memory, so that a search over layers
    or over what comes behind, and the folds of a cross-validation, run the encoder once over each text. The kept ones
    are of one process: with `n_jobs` each process runs it.

    Args:
        encoder: what `load_encoder` takes.
        layers: hidden states by their numbers, the embeddings' is 0 and the last is -1; or "all".
        pooling: over a text's tokens: "mean", "max", or "cls" for the first token.
        max_length: tokens of a text, special ones included; a longer text is cut.
        dtype: of the encoder's matrix products, "float32" or "bfloat16".

    Attributes:
        encoder_: the Encoder.
        layers_: the numbers of the hidden states, from 0.

    Raises:
        EncoderError: by `fit`: there is no such encoder or layer.
        TaskError: by `fit` and `transform`: X holds no texts, or `pooling` is none of these.

    Example:
        >>> features = HiddenStateTransformer("minilm", layers=[3, -1]).fit_transform(["She has eaten.", "No."])
        >>> features.shape
        (2, 768)
    """

    def __init__(
        self,
        encoder: str | Encoder = "minilm",
        *,
        layers: Sequence[int] | str = "all",
        pooling: str = "mean",
        max_length: int = 128,
        dtype: str = "float32",
    ):
        self.encoder = encoder
        self.layers = layers
        self.pooling = pooling
        self.max_length = max_length
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> HiddenStateTransformer:
        """Loads the encoder.

        Args:
            X: texts, as `transform` takes them; they are only checked.
            y: not used.
        """
        if self.pooling not in POOLINGS:
            raise TaskError(f"`pooling` needs {', '.join(POOLINGS[:-1])} or {POOLINGS[-1]}, got {self.pooling!r}.")
        _read_texts(X)
        self.encoder_ = _load(self.encoder, self.dtype) if isinstance(self.encoder, str) else self.encoder
        self.layers_ = _choose_layers(self.layers, self.encoder_.num_hidden_states)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The features of texts.

        Args:
            X: a list or a column of texts; or pairs of texts: a list of tuples, or an array or a data frame of two
                columns.

        Returns:
            float32, (texts, layers × hidden_dim), layer by layer.
        """
        check_is_fitted(self, "encoder_")
        texts, pairs = _read_texts(X)
        pooled = _pool_known(self.encoder_, texts, pairs, self.max_length, self.pooling)
        return pooled[:, self.layers_].reshape(len(texts), len(self.layers_) * self.encoder_.hidden_dim)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The features' names, as layer3_17."""
        check_is_fitted(self, "encoder_")
        width = range(self.encoder_.hidden_dim)
        return np.array([f"layer{layer}_{place}" for layer in self.layers_ for place in width], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags


@functools.lru_cache(maxsize=2)
def _load(name: str, dtype: str) -> Encoder:
    """An encoder that all clones of a transformer share."""
    return load_encoder(name, dtype)


def _choose_layers(layers: Sequence[int] | str, count: int) -> list[int]:
    if isinstance(layers, str) and layers == "all":
        return list(range(count))
    numbers = [] if isinstance(layers, str) else [layers] if isinstance(layers, (int, np.integer)) else list(layers)
    whole = all(isinstance(layer, (int, np.integer)) and not isinstance(layer, bool) for layer in numbers)
    if not numbers or not whole or not all(-count <= layer < count for layer in numbers):
        raise EncoderError(f"`layers` needs numbers from {-count} to {count - 1}, or 'all'; got {layers!r}.")
    return [int(layer) % count for layer in numbers]


def _read_texts(X: Any) -> tuple[list[str], list[str] | None]:
    """The texts, and the second texts of pairs.

    Raises:
        TaskError: they are none.
    """
    if hasattr(X, "iloc") and getattr(X, "ndim", 1) == 2:  # a data frame of pandas
        X = X.to_numpy()
    if hasattr(X, "ndim") and X.ndim == 2:
        if X.shape[1] not in (1, 2):
            raise TaskError(f"X has {X.shape[1]} columns, expected one of texts, or two of pairs.")
        columns = [list_texts(list(column), "X") for column in X.T]
        return list(columns[0]), list(columns[1]) if len(columns) == 2 else None
    rows = X if isinstance(X, str) else list(X) if hasattr(X, "__iter__") else X
    if isinstance(rows, list) and rows and isinstance(rows[0], (tuple, list)):
        if any(not isinstance(row, (tuple, list)) or len(row) != 2 for row in rows):
            raise TaskError("X needs texts, or pairs of two texts each.")
        firsts, seconds = zip(*rows, strict=True)
        return list(list_texts(firsts, "X")), list(list_texts(seconds, "X"))
    return list(list_texts(rows, "X")), None


class _Features:
    """Pooled hidden states of texts by what they were made of; the ones that were used last stay."""

    def __init__(self, limit: int = KEPT):
        self._limit, self._size = limit, 0
        self._rows: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def get(self, key: bytes) -> np.ndarray | None:
        if key in self._rows:
            self._rows.move_to_end(key)
        return self._rows.get(key)

    def put(self, key: bytes, row: np.ndarray) -> None:
        if key not in self._rows:
            self._rows[key] = row
            self._size += row.nbytes
        while self._size > self._limit:
            self._size -= self._rows.popitem(last=False)[1].nbytes


_FEATURES = _Features()


def _pool_known(
    encoder: Encoder, texts: list[str], pairs: list[str] | None, max_length: int, pooling: str
) -> np.ndarray:
    """float32, (texts, hidden states, hidden_dim); the encoder runs over what is not kept, each text once."""
    recipe = f"{encoder.fingerprint} {encoder.engine} {max_length} {pooling}"
    rows = [(text,) for text in texts] if pairs is None else list(zip(texts, pairs, strict=True))
    keys = [hashlib.sha256("\0".join((recipe, *map(repr, row))).encode()).digest() for row in rows]
    found = {key: row for key in keys if (row := _FEATURES.get(key)) is not None}
    missing = list({key: place for place, key in enumerate(keys) if key not in found}.values())
    if missing:
        second = None if pairs is None else [pairs[place] for place in missing]
        made = _pool(encoder, [texts[place] for place in missing], second, max_length, pooling)
        for place, row in zip(missing, made, strict=True):
            found[keys[place]] = row
            _FEATURES.put(keys[place], row)
    if not keys:
        return np.zeros((0, encoder.num_hidden_states, encoder.hidden_dim), np.float32)
    return np.stack([found[key] for key in keys])


def _pool(encoder: Encoder, texts: list[str], pairs: list[str] | None, max_length: int, pooling: str) -> np.ndarray:
    tokens = encoder.tokenize_rows(texts, pairs, max_length)
    pooled = np.zeros((len(texts), encoder.num_hidden_states, encoder.hidden_dim), np.float32)
    mode = "cls" if pooling == "cls" else "all"

    def run(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        states = encoder.hidden_state_rows(tokens.pad(batch), mode=mode)
        if pooling == "cls":
            return batch, states
        lengths = tokens.lengths[batch]
        starts = np.cumsum(lengths) - lengths
        if pooling == "max":
            return batch, np.maximum.reduceat(states, starts)
        return batch, np.add.reduceat(states, starts) / lengths[:, None, None].astype(np.float32)

    for batch, rows in map_in_order(run, plan_batches(tokens.lengths, count_batch_tokens(encoder)), count_workers()):
        pooled[batch] = rows
    return pooled
