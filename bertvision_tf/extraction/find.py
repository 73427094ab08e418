"""Where states lie under a root, and how they are found again there."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from ..encoders import Encoder
from ..progress import Progress
from ..store import Store
from ..store.waiting import wait_for
from ..store.writer import check_free
from ..tasks import Examples
from .extract import extract
from .plan import plan_spec


def find_store_path(root: Path, encoder: Encoder, examples: Examples, **choices) -> Path:
    """Where the states of these choices lie under a root: root/task/split/recipe, known before any work."""
    spec = plan_spec(encoder, examples, **choices).to_dict()
    del spec["encoder"]  # a name only shown; its fingerprint counts
    recipe = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return root / examples.task / examples.split / recipe


def extract_once(encoder: Encoder, examples: Examples, root: Path, progress: Progress, **choices) -> Store:
    """The states of these choices under a root, found again where they are there, or where another process is writing
    them, once it has."""
    path = find_store_path(root, encoder, examples, **choices)
    told = functools.partial(progress, f"extract {examples.split}")

    def extract_when_free() -> Store:
        check_free(path)  # before anything is tokenized
        return extract(encoder, examples, path, progress=told, **choices)

    return wait_for(extract_when_free)
