"""Files that were made to do harm."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import flips
import h5py
import numpy as np
from promises import Promise, Trial

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError
from bertvision_tf.extraction import extract
from bertvision_tf.heads import load
from bertvision_tf.store import open_store, schema, shard
from bertvision_tf.store.schema import read_manifest, write_manifest

ROWS = 20
NAMES = ("labels", "lengths", "ids", "token_ids", "hidden_states")
NUMBERS = (-1, 10**30, 2**63, 1.5, "1", None, True, [], {}, float("inf"))


def refuse(trial: Trial, use: Callable[[], object], what: str) -> None:
    """Counts as kept where one line is said."""
    try:
        use()
    except BertvisionError as error:
        trial.check("\n" not in str(error) and len(str(error)) < 2000, f"{what}: said {str(error)[:200]!r}")
    except Exception as error:
        trial.check(False, f"{what}: {type(error).__name__}: {str(error)[:200]}")
    else:
        trial.check(False, f"{what}: was read")


def make_store(trial: Trial) -> Path:
    rows = bv.get_task("starter").load("dev").take(ROWS)
    return extract(flips.load_minilm(), rows, trial.folder / "store").path


def read_hdf5(trial: Trial) -> None:
    """Shards whose datasets are links, lie in other files, are virtual, packed, or larger than the file."""
    whole, secret = make_store(trial), trial.folder / "secret"
    secret.write_bytes(bytes(2**16))
    with h5py.File(trial.folder / "other.h5", "w") as other:
        other["held"] = np.zeros(ROWS, np.int32)
    layout = h5py.VirtualLayout((ROWS,), np.int32)
    layout[:] = h5py.VirtualSource(str(trial.folder / "other.h5"), "held", (ROWS,))
    ways = {
        "an external link": lambda file, name, kept: file.__setitem__(
            name, h5py.ExternalLink(str(trial.folder / "other.h5"), "held")
        ),
        "a soft link": lambda file, name, kept: file.__setitem__(name, h5py.SoftLink("/example_index")),
        "bytes of another file": lambda file, name, kept: file.create_dataset(
            name, kept.shape, kept.dtype, external=[(str(secret), 0, kept.nbytes)]
        ),
        "a virtual dataset": lambda file, name, kept: file.create_virtual_dataset(name, layout),
        "a packed dataset": lambda file, name, kept: file.create_dataset(name, data=kept, chunks=True, compression=9),
        "a terabyte": lambda file, name, kept: file.create_dataset(name, (*kept.shape, 10**12), np.int8),
        "texts": lambda file, name, kept: file.create_dataset(name, data=["a"] * ROWS, dtype=h5py.string_dtype()),
        "a group": lambda file, name, kept: file.create_group(name),
    }
    for _ in range(trial.count):
        way, name = trial.chance.choice(sorted(ways)), trial.chance.choice(NAMES)
        copy = shutil.copytree(whole, trial.folder / "copy")
        with h5py.File(copy / "shard-00000.h5", "r+") as file:
            kept = file[name][()]
            del file[name]
            ways[way](file, name, kept)
        manifest, content = read_manifest(copy), (copy / "shard-00000.h5").read_bytes()
        entry = dataclasses.replace(manifest.shards[0], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        write_manifest(copy, dataclasses.replace(manifest, shards=(entry,)))
        refuse(trial, lambda copy=copy: open_store(copy), f"{name} is {way}")
        trial.seen[way] += 1
        shutil.rmtree(copy)


def read_manifests(trial: Trial) -> None:
    """Manifests with a valid checksum, of which one entry is something else."""
    path = make_store(trial)
    file = path / "manifest.json"
    whole = json.loads(file.read_text())
    for _ in range(trial.count):
        content = json.loads(json.dumps(whole))
        del content["sha256"]
        place = trial.chance.choice([content, content["spec"], content["shards"][0]])
        name = trial.chance.choice(sorted(set(place) - {"format", "encoder", "task", "split"}))
        other = trial.chance.choice(NUMBERS)
        place[name] = other
        content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        file.write_text(json.dumps(content))
        is_text = isinstance(whole.get(name, whole["spec"].get(name)), str) and isinstance(other, str)
        if (name, other) != ("made_with", {}) and not is_text:  # a store may not say what it was made with
            refuse(trial, lambda: open_store(path), f"{name} is {other!r}")


def read_heads(trial: Trial) -> None:
    """Heads' files that name functions and classes which no head has."""
    head = trial.folder / "head.keras"
    bv.build_head("learned_pooling", num_hidden_states=3, hidden_dim=8, num_outputs=2).save(head)
    parts = [
        {"module": "os", "class_name": "system", "config": "true", "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///"}, "registered_name": None},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {}}, "registered_name": None},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}, "registered_name": None},
        {"class_name": "__lambda__", "config": {"value": "abc"}},
    ]
    with zipfile.ZipFile(head) as source:
        content = {one.filename: source.read(one) for one in source.infolist()}
    for number in range(trial.count):
        config = json.loads(content["config.json"])
        layers = config["config"]["layers"]
        part = parts[number % len(parts)]
        place = trial.chance.choice(layers)
        if trial.chance.random() < 0.5:
            layers.append(part)
        else:
            place["config"]["activation"] = part
        with zipfile.ZipFile(head, "w") as target:
            for name, held in content.items():
                target.writestr(name, json.dumps(config) if name == "config.json" else held)
        with mock.patch.object(load.keras.models, "load_model", side_effect=ValueError) as asked:
            refuse(trial, lambda: load.load_head(head), f"a head that names {part['class_name']}")
        if asked.called:
            trial.broken.append(f"a head that names {part['class_name']}: Keras was asked")


def without_datasets() -> contextlib.AbstractContextManager:
    return mock.patch.object(shard, "find_dataset", lambda content, name, size: content[name])


def without_fields() -> contextlib.AbstractContextManager:
    return mock.patch.object(schema, "_check_fields", return_value=None)


def without_archive() -> contextlib.AbstractContextManager:
    return mock.patch.object(load, "check_archive", return_value=None)


PROMISES = [
    Promise("hostile-shards", "a shard that HDF5 reads elsewhere is refused", read_hdf5, 400, 40, without_datasets),
    Promise("hostile-manifests", "a forged manifest is refused", read_manifests, 2000, 300, without_fields),
    Promise("hostile-heads", "a head builds nothing but layers", read_heads, 120, 12, without_archive),
]
