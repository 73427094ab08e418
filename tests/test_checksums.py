"""Runs, heads, fine-tuned encoders and exports that were damaged are not used."""

import json
import shutil

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.checksums import SUMS, check_file, check_files, check_folder, write_checksums
from bertvision_tf.encoders import load_encoder, save_encoder
from bertvision_tf.errors import EncoderError, RunError

from .command import run_here


@pytest.fixture(scope="module")
def run(tiny_encoder, tmp_path_factory):
    """A run of one seed, with an export of its head; not to be changed."""
    root = tmp_path_factory.mktemp("run")
    options = {"head": "learned_pooling", "seeds": 1, "limit": 300, "fit": {"epochs": 1}, "baselines": False}
    return bv.train("starter", tiny_encoder, output=root / "run", store=root / "states", export=True, **options)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.path, tmp_path / "run")


def flip(file, place, bit):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def list_files(folder):
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def test_every_file_has_a_checksum(run):
    files = {file.relative_to(run.path).as_posix() for file in list_files(run.path)} - {SUMS}
    assert set(json.loads((run.path / SUMS).read_text())["files"]) == files
    assert {"results.json", "config.json", "heads/seed-0.keras", "saved_model/saved_model.pb"} <= files
    assert check_files(run.path, RunError) == len(files)


def test_no_flipped_bit_of_a_run_is_silent(copy):
    random = np.random.default_rng(0)
    for file in list_files(copy):
        content = file.read_bytes()
        for _ in range(5):
            flip(file, int(random.integers(len(content))), int(random.integers(8)))
            with pytest.raises(RunError, match="is damaged") as raised:
                check_files(copy, RunError)
            assert "\n" not in str(raised.value)
            file.write_bytes(content)
    bv.load_run(copy).load_head()


@pytest.mark.parametrize("name", ["results.json", "config.json", SUMS])
def test_results_that_were_damaged_are_not_read(copy, name):
    random, file = np.random.default_rng(1), copy / name
    content = file.read_bytes()
    for _ in range(40):
        flip(file, int(random.integers(len(content))), int(random.integers(7)))
        with pytest.raises(RunError, match=rf"{name} is damaged"):
            bv.load_run(copy)
        file.write_bytes(content)


def test_a_head_that_was_damaged_is_not_loaded(copy):
    random, file = np.random.default_rng(2), copy / "heads" / "seed-0.keras"
    content, run = file.read_bytes(), bv.load_run(copy)
    for _ in range(20):
        flip(file, int(random.integers(len(content))), int(random.integers(8)))
        with pytest.raises(RunError, match=r"seed-0\.keras is damaged: its SHA-256 is not the one of checksums\.json"):
            run.load_head()
        file.write_bytes(content)
    run.load_head()


def test_predictions_that_were_damaged_are_not_read(copy):
    flip(copy / "predictions.csv", 200, 0)
    with pytest.raises(RunError, match=r"predictions\.csv is damaged"):
        bv.load_run(copy).read_dev_predictions()


def test_a_file_that_was_changed_on_purpose_is_read_and_said(copy):
    file = copy / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mean": 0.25}))
    with pytest.warns(match=r"results\.json was changed after it was written, and is used as it is\."):
        assert bv.load_run(copy).results["mean"] == 0.25
    (copy / "heads" / "seed-0.keras").write_bytes(b"another")
    with pytest.warns(match="was changed"), pytest.raises(RunError, match=r"seed-0\.keras is damaged"):
        bv.load_run(copy).load_head()


def test_a_run_of_an_earlier_version_is_read(copy):
    (copy / SUMS).unlink()
    bv.load_run(copy).load_head()
    with pytest.raises(RunError, match=r"has no checksums\.json"):
        check_files(copy, RunError)
    done = run_here("verify", copy)
    assert done.returncode == 1 and "has no checksums.json" in done.stderr


def test_a_file_that_was_cut_short_is_damaged(copy):
    file = copy / "predictions.csv"
    file.write_bytes(file.read_bytes()[:4096])
    with pytest.raises(RunError, match=r"predictions\.csv is damaged"):
        bv.load_run(copy).read_dev_predictions()
    file = copy / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    with pytest.raises(RunError, match=r"is damaged"):
        check_files(copy, RunError)


def test_a_fine_tuned_encoder_that_was_damaged_is_not_used(tiny_encoder, tmp_path):
    folder = tmp_path / "encoder"
    save_encoder(tiny_encoder, folder)
    assert load_encoder(folder).fingerprint == tiny_encoder.fingerprint
    random = np.random.default_rng(3)
    for file in list_files(folder):
        content = file.read_bytes()
        for _ in range(5):
            flip(file, int(random.integers(len(content))), int(random.integers(7)))
            with pytest.raises(EncoderError, match="is damaged"):
                load_encoder(folder)
            file.write_bytes(content)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(EncoderError, match=r"tokenizer_config\.json cannot be read: No such file"):
        load_encoder(folder)


def test_heads_that_were_fine_tuned_with_an_encoder(run, tiny_encoder, tmp_path):
    found = bv.train(
        *("starter", tiny_encoder),
        **{
            "fine_tune_from": run.path,
            "fine_tune_epochs": 1,
            "fine_tune": {"parts": "top_1"},
            "limit": 300,
            "seeds": 1,
        },
        **{"output": tmp_path / "top", "store": tmp_path / "states", "baselines": False},
    )
    (snapshot,) = found.config["snapshots"].values()
    (head,) = (tmp_path / "states" / "starter" / "encoders").glob("*/head.keras")
    flip(head, 500, 3)
    with pytest.raises(RunError, match=r"head\.keras is damaged"):
        check_file(head, RunError)
    flip(head, 500, 3)
    flip(next(head.parent.glob("epochs-*")) / "model.safetensors", -3, 3)
    with pytest.raises(EncoderError, match=r"model\.safetensors is damaged"):
        load_encoder(snapshot["path"])


def test_some_files_alone(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    check_folder(tmp_path, RunError)  # which has none
    write_checksums(tmp_path, "a")
    (tmp_path / "b").write_text("c")
    check_folder(tmp_path, RunError)
    check_file(tmp_path / "b", RunError)
    (tmp_path / "a").write_text("c")
    with pytest.raises(RunError, match="a is damaged"):
        check_folder(tmp_path, RunError)
    for content in ("", "[]", "{}", '{"files": [], "sha256": ""}', "[" * 100_000, '{"files": {"a": 1}, "sha256": ""}'):
        (tmp_path / SUMS).write_text(content)
        with pytest.raises(RunError, match=r"checksums\.json is damaged: make its folder again"):
            check_file(tmp_path / "a", RunError)


def test_the_command(copy, run, tmp_path):
    store = next((run.path.parent / "states" / "starter" / "dev").iterdir())
    flip(copy / "heads" / "seed-0.keras", 100, 0)
    done = run_here("verify", run.path, copy, store)
    assert done.returncode == 1
    whole, stored = done.stdout.splitlines()
    assert whole.startswith(f"{run.path}: whole (") and whole.endswith(" files)")
    assert stored.startswith(f"{store}: whole (1 shards")
    assert done.stderr.startswith(f"error: {copy}/heads/seed-0.keras is damaged: its SHA-256")
