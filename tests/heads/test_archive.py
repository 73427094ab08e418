"""Heads' files that were made to do harm: nothing that they name is built."""

import json
import shutil
import zipfile

import keras
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.heads import HeadConfig, build_head
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
