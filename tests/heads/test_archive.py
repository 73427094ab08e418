"""Heads' files that were made to do harm: nothing that they name is built."""

import io
import json
import shutil
import zipfile

import h5py
import keras
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.heads import HeadConfig, build_head, list_presets
from bertvision_tf.heads.archive import check_archive
from bertvision_tf.heads.load import load_head


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    file = tmp_path_factory.mktemp("head") / "head.keras"
    build_head(HeadConfig(), num_hidden_states=3, hidden_dim=8, num_outputs=2).save(file)
    return file


def rewrite(whole, file, change=None, more=(), packed=False):
    """Copies a head's file with another description or other parts."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w") as target:
        for one in source.infolist():
            content = source.read(one)
            if one.filename == "config.json" and change is not None:
                config = json.loads(content)
                found = change(config)
                content = found if isinstance(found, (bytes, str)) else json.dumps(config)
            kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            target.writestr(one.filename, content, kind)
        for name in more:
            target.writestr(name, b"")
    return file


def refuse(file, says):
    with pytest.raises(RunError) as raised:
        load_head(file)
    message = str(raised.value)
    assert "\n" not in message and message.startswith(f"{file} cannot be read: ") and says in message


@pytest.mark.parametrize("name", [*list_presets(), "vision_MobileNetV3Small_hidden"])
def test_every_head_that_there_is_can_be_loaded(name, tmp_path):
    head = build_head(name, num_hidden_states=3, hidden_dim=16, num_outputs=2, num_tokens=8)
    head.save(tmp_path / "a.keras")
    check_archive(tmp_path / "a.keras")


def write_weights(whole, file, build):
    """Copies a head's file with other weights."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w") as target:
        for one in source.infolist():
            content = source.read(one)
            if one.filename == "model.weights.h5":
                held = io.BytesIO(content)
                with h5py.File(held, "r+") as weights:
                    build(weights)
                content = held.getvalue()
            target.writestr(one.filename, content)


def test_weights_lie_in_the_file(whole, tmp_path):
    file, other = tmp_path / "a.keras", tmp_path / "other"
    other.write_bytes(bytes(64))
    for build in (
        lambda weights: weights.__setitem__("more", h5py.ExternalLink(str(other), "a")),
        lambda weights: weights.create_dataset("more", (8,), "f8", external=[(str(other), 0, 64)]),
        lambda weights: weights.create_dataset("more", (2**30,), "f8", chunks=True, compression="gzip"),
        lambda weights: weights.create_dataset("more", (2**40,), "f8"),
    ):
        write_weights(whole, file, build)
        refuse(file, "more ")
    write_weights(whole, file, lambda weights: weights.create_group("a").__setitem__("b", weights["a"]))  # a circle
    check_archive(file)


def add_layer(part):
    def change(config):
        config["config"]["layers"].append(part)

    return change


def test_a_head_is_loaded(whole, tmp_path):
    assert isinstance(load_head(rewrite(whole, tmp_path / "a.keras", lambda config: None)), keras.Model)


@pytest.mark.parametrize(
    "part",
    [
        {"module": "os", "class_name": "system", "config": "touch harm", "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.utils", "class_name": "get_file", "config": {}, "registered_name": None},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {}}, "registered_name": None},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}, "registered_name": None},
        {"module": "keras", "class_name": "Lambda", "config": {}, "registered_name": None},
        {"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda", "config": {}},
        {"module": "bertvision_tf.paths", "class_name": "read_path", "config": {}, "registered_name": None},
        {"module": "bertvision_tf.layers", "class_name": "X", "config": {}, "registered_name": "bertvision_tf>X"},
        {"module": None, "class_name": "__lambda__", "config": {"value": "abc"}},
        {"module": None, "class_name": "Lambda", "config": {}, "registered_name": "Lambda"},
        {"class_name": "Lambda", "config": {}},
        {"class_name": "__typespec__", "spec_name": "os.system", "module": "os", "spec_args": [], "config": {}},
        {"module": ["os"], "class_name": "system", "config": {}},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "bertvision_tf>Head", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": ""}},
        {"module": "keras.src.ops.numpy", "class_name": "backend", "config": {}},
        {"module": "keras.initializers", "class_name": "get", "config": {}},
        {"module": "keras_hub.x", "class_name": "WhisperTokenizer", "registered_name": "keras_hub>WhisperTokenizer"},
    ],
)
def test_what_is_no_part_of_a_head_is_not_built(whole, tmp_path, part, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("Keras was asked"))
    for change in (add_layer(part), lambda config: config["config"]["layers"][0]["config"].update(function=part)):
        refuse(rewrite(whole, tmp_path / "a.keras", change), "of which no head is made; nothing was loaded")


def test_archives_that_are_none_of_keras(whole, tmp_path):
    refuse(rewrite(whole, tmp_path / "a.keras", more=["../../harm.py"]), "../../harm.py")
    refuse(rewrite(whole, tmp_path / "b.keras", packed=True), "its parts are packed")
    refuse(
        rewrite(whole, tmp_path / "c.keras", lambda config: " " * (17 * 2**20)), "its description has 17825792 bytes"
    )
    refuse(rewrite(whole, tmp_path / "d.keras", lambda config: "[" * 100_000), "")
    refuse(rewrite(whole, tmp_path / "e.keras", lambda config: "[]"), "its description is no object")
    refuse(rewrite(whole, tmp_path / "f.keras", lambda config: '{"a": 1, "a": 1}'), "'a' stands there twice")
    (tmp_path / "g.keras").write_bytes(b"")
    refuse(tmp_path / "g.keras", "it is no archive of Keras")
    shutil.copyfile(__file__, tmp_path / "h.keras")
    refuse(tmp_path / "h.keras", "it is no archive of Keras")
    refuse(tmp_path / "none.keras", "")
