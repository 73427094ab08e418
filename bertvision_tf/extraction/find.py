"""Where states lie under a root, and how they are found again there."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from ..encoders import Encoder
from ..errors import StoreError
from ..notes import note
from ..progress import Progress, prefix
from ..settings import ClusterSettings
from ..store import Place, Store, StoreSpec, open_store
from ..store.schema import MANIFEST, read_manifest
from ..store.waiting import wait_for
from ..store.writer import check_free
from ..tasks import Examples
from .extract import extract
from .live import LiveStore
from .plan import plan_spec

HERE = ClusterSettings()


def find_store_path(
    root: Place, encoder: Encoder, examples: Examples, cluster: ClusterSettings = HERE, **choices
) -> Place:
    """Where the states of these choices lie under a root: root/task/split/recipe, known before any work."""
    spec = _plan_spec(encoder, examples, cluster, **choices).to_dict()
    del spec["encoder"]  # a name only shown; its fingerprint counts
    recipe = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return root / examples.task / examples.split / recipe


def extract_once(
    encoder: Encoder,
    examples: Examples,
    root: Place | None,
    progress: Progress,
    cluster: ClusterSettings = HERE,
    **choices,
) -> Store:
    """The states of these choices under a root, found again where they are there, or where another process is writing
    them, once it has. With no root nothing keeps them, and the encoder makes them for each batch."""
    if root is None:
        return LiveStore(encoder, examples, **choices)
    path = find_store_path(root, encoder, examples, cluster, **choices)
    if not (path / MANIFEST).is_file():
        found = _find_other(path, _plan_spec(encoder, examples, cluster, **choices))
        if found is not None:
            return found
    told = functools.partial(progress, f"extract {examples.split}")
    tell = prefix(progress, f"extract {examples.split}")

    def extract_when_free() -> Store:
        check_free(path)  # before anything is tokenized
        return extract(encoder, examples, path, progress=told, worker_progress=tell, **vars(cluster), **choices)

    return wait_for(extract_when_free)


def _plan_spec(encoder: Encoder, examples: Examples, cluster: ClusterSettings, **choices) -> StoreSpec:
    return plan_spec(encoder, examples, gpu=cluster.on_gpu, **choices)


def _find_other(path: Place, wanted: StoreSpec) -> Store | None:
    """A finished store beside `path` of the same states in other batches, as of a GPU, whose are larger."""
    if not isinstance(path, Path):
        return None
    for file in sorted(path.parent.glob(f"*/{MANIFEST}")):
        try:
            found = read_manifest(file.parent)
            found.spec.check_same(wanted, path)
        except StoreError:
            continue
        if found.complete:
            note(
                f"{file.parent} is used: its states were made on a {found.made_with.get('device')} in batches of "
                f"{found.spec.batch_tokens} tokens, and would be in batches of {wanted.batch_tokens} here."
            )
            return open_store(file.parent, wanted)
    return None
