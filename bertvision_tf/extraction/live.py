"""States that nothing keeps: an encoder makes them each time that a batch asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders import Encoder
from ..errors import StoreError
from ..store import Store
from ..store.check import ShardCheck
from ..store.plan import plan_batches
from ..store.schema import Manifest, ShardEntry
from ..tasks import Examples
from .encode import BatchEncoder, describe_versions
from .extract import _choose_sample as choose_sample
from .plan import ShardPlan, plan_spec

NOWHERE = Path("none")


class LiveStore(Store):
    """What `extract` would store, read as a store is; the encoder runs anew for each batch.

    The states go through the codec, with the calibration of the store that there would be. They differ from that
    store's within the encoder's noise, since texts are padded to other lengths.

    Args:
        encoder, examples, **choices: as `extract`'s.

    Raises:
        StoreError: states are not finite.

    Example:
        >>> store = LiveStore(load_encoder("minilm"), get_task("starter").load("dev"))
        >>> images, labels = next(iter(store.as_dataset(batch_size=32)))
    """

    kept = False

    def __init__(self, encoder: Encoder, examples: Examples, **choices: Any):
        spec = plan_spec(encoder, examples, **choices)
        plan = ShardPlan(encoder, examples, spec)
        self._tokens, self._encoder = plan.tokens, BatchEncoder(encoder, spec)
        sample = choose_sample(plan.batches, plan.tokens.lengths)
        self._calibration = self._encoder.calibrate(plan.tokens, sample, keep=False)  # a view has that of its states
        self._rows = plan.describe_rows(np.arange(len(plan.tokens)))
        self._grid = self._encoder.find_grid(self._calibration)
        entry = ShardEntry("none", len(self._rows.lengths), len(self._rows.token_ids), 0, "")
        made_with = describe_versions(encoder)
        manifest = Manifest(spec, made_with, plan.tokens.truncated, self._calibration, 1, (entry,))
        super().__init__(NOWHERE, manifest, check="never")

    def _begin_checks(self) -> list[ShardCheck]:
        """None: there is no file."""
        return []

    def _read_shard(self, entry: ShardEntry) -> dict[str, Any]:
        return self._rows.datasets()

    def _map_shard(self, number: int) -> dict[str, np.ndarray]:
        return self._rows.datasets()

    def _read_states(self, indices: np.ndarray) -> Iterable[np.ndarray]:
        """In batches no larger than an extraction's, whatever is asked for at a time."""
        indices, found = np.arange(len(self))[indices], [np.zeros(0)] * len(indices)
        for batch in plan_batches(
            self._tokens.lengths[indices], self.spec.batch_tokens
        ):  # no more than an extraction's
            states = self._encoder.encode_batch(self._tokens, indices[batch], self._calibration, self._grid)
            ends = np.cumsum(self.lengths[indices[batch]])[:-1]
            for place, rows in zip(batch.tolist(), np.split(states, ends), strict=True):
                found[place] = rows
        return found

    def __getstate__(self) -> dict[str, Any]:
        raise StoreError("states that an encoder makes cannot be pickled: name a folder for them, and open that store.")

    def verify(self) -> None:
        """Nothing: no byte is kept."""
