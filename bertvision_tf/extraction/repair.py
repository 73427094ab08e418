"""Makes what is damaged of a store again."""

from __future__ import annotations

from ..encoders import Encoder
from ..errors import StoreError
from ..store import Place, StoreSpec, read_place
from ..store.mending import StoreMender
from ..store.schema import read_manifest
from ..store.writer import hold_store
from ..tasks import Examples
from .extract import Extraction, Progress


def repair_store(
    encoder: Encoder,
    examples: Examples,
    path: str | Place,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Runs the encoder over the rows of the shards that are damaged or missing, and makes these again.

    A shard that is made again has the bytes that it had. What is whole is read and left alone.

    Args:
        encoder: whose states the store has.
        examples: the rows that it was made of.
        path: the store's folder, or its URL in object storage.
        workers, progress: as `extract`'s.

    Returns:
        the names of the files that were made again.

    Raises:
        StoreError: there is no store, its manifest is damaged, the encoder or the rows are others, or a shard comes
            out otherwise here than it was, as with other versions or on another processor.

    Example:
        >>> repair_store(load_encoder("minilm"), get_task("starter").load("train"), "states/starter-train")
        ['shard-00003.h5']
    """
    place = read_place(path)
    read_manifest(place)  # which says so where there is none
    with hold_store(place):
        manifest = read_manifest(place)  # as it is under the lock
        _check_encoder(manifest.spec, encoder, place)
        _check_rows(manifest.spec, examples, place)
        mender = StoreMender(place, manifest)
        if mender.damaged:
            Extraction(encoder, examples, manifest.spec, workers, progress).write_again(mender)
        return [manifest.shards[number].name for number in mender.damaged] + mender.mend_sums()


def _check_rows(spec: StoreSpec, examples: Examples, path: Place) -> None:
    """Raises StoreError where rows are not those of a store."""
    if examples.fingerprint != spec.examples_fingerprint:
        raise StoreError(
            f"{path} has states of {spec.examples} rows of {spec.task} {spec.split}, and these {len(examples)} rows "
            "have other texts, labels or names: name the same rows (--data-dir, --limit, --negatives, or the table)."
        )


def _check_encoder(spec: StoreSpec, encoder: Encoder, path: Place) -> None:
    if encoder.fingerprint != spec.encoder_fingerprint:
        raise StoreError(
            f"{path} has states of the encoder {spec.encoder} ({spec.encoder_fingerprint}), and this is {encoder.name} "
            f"({encoder.fingerprint}): name the same one, with the same dtype."
        )
