"""Two processes on one store: the second waits, and says for whom."""

import os
import subprocess
import sys
import warnings

import pytest

from bertvision_tf.errors import BusyError
from bertvision_tf.extraction.find import extract_once, find_store_path
from bertvision_tf.notes import Note
from bertvision_tf.store.waiting import build_busy_error, wait_for
from bertvision_tf.store.writer import check_free, lock_folder
from bertvision_tf.training import FineTuneConfig
from bertvision_tf.training.fine_tuning import fine_tune

HOLD = (
    "import sys, time; from pathlib import Path; from bertvision_tf.store.writer import lock_folder\n"
    "lock_folder(Path(sys.argv[1])); print('held', flush=True); time.sleep(float(sys.argv[2]))"
)


def hold(path, seconds):
    """A process that writes a folder for so long."""
    path.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def listen(function):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = function()
    return [str(one.message) for one in said if one.category is Note], found


def test_an_extraction_waits_and_says_for_whom(tiny_encoder, tiny_examples, tmp_path):
    path = find_store_path(tmp_path, tiny_encoder, tiny_examples, max_length=16)
    holder = hold(path, 1.5)
    said, store = listen(lambda: extract_once(tiny_encoder, tiny_examples, tmp_path, lambda *_: None, max_length=16))
    assert holder.wait() == 0 and len(store) == 40
    assert said == [f"{path} is being written by another process: waiting until process {holder.pid} ends."]


def test_a_killed_writer_is_waited_for_no_longer(tmp_path):
    holder = hold(tmp_path / "store", 600)
    with pytest.raises(BusyError, match="is being written by another process") as error:
        check_free(tmp_path / "store")
    assert error.value.holder == holder.pid
    holder.kill()
    holder.wait()
    check_free(tmp_path / "store")


def test_a_process_does_not_wait_for_itself(tmp_path):
    lock = lock_folder(tmp_path)
    with pytest.raises(BusyError, match="by another process"):
        wait_for(lambda: check_free(tmp_path))
    os.close(lock)
    wait_for(lambda: check_free(tmp_path))


def test_a_fine_tuning_waits(tiny_encoder, tiny_examples, tmp_path):
    from bertvision_tf import get_task

    def tune():
        return fine_tune(
            tiny_encoder, get_task("cola"), tiny_examples, range(40), tmp_path, epochs=0.5, max_length=16,
            config=FineTuneConfig(batch_size=16),
        )  # fmt: skip

    first = tune()
    holder = hold(first.path.parent, 1.5)
    (first.path / "config.json").rename(first.path / "kept")
    first.path.rename(first.path.with_name("away"))
    said, again = listen(tune)
    assert holder.wait() == 0 and again.encoder.fingerprint == first.encoder.fingerprint
    assert said == [
        f"{first.path.parent} is being written by another process: waiting until process {holder.pid} ends."
    ]


def test_who_holds_a_folder_is_found(tmp_path):
    lock = lock_folder(tmp_path)
    try:
        assert build_busy_error(tmp_path, tmp_path).holder == os.getpid()
    finally:
        os.close(lock)
