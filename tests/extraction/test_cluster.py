"""Extraction over a Ray cluster: the bytes of one process, whatever becomes of workers, machines and the driver."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError, StoreError
from bertvision_tf.extraction import cluster as module
from bertvision_tf.extraction import extract, extract_part
from bertvision_tf.extraction.worker import ShardWorker
from bertvision_tf.notes import Note
from bertvision_tf.settings import ClusterSettings
from bertvision_tf.store import open_store
from bertvision_tf.store.schema import read_manifest

from ..command import run_here

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
cloudpickle = pytest.importorskip("ray.cloudpickle")

OPTIONS = {"batch_tokens": 64, "shard_rows": 100}
OVER_RAY = {"ray": "auto", "workers": 2, **OPTIONS}
SCRIPT = """
import sys
import bertvision_tf as bv
from bertvision_tf.extraction import extract

rows = bv.get_task("starter").load("train").take(300)
tell = lambda done, total: print(done, flush=True)
extract(bv.load_encoder(sys.argv[1]), rows, sys.argv[2], ray=sys.argv[3], workers=2, batch_tokens=64, shard_rows=100,
    progress=tell)
"""


@pytest.fixture(scope="module")
def rows():
    return bv.get_task("starter").load("train").take(300)


@pytest.fixture(scope="module")
def whole(rows, tiny_encoder, tmp_path_factory):
    """The store as one process writes it."""
    return extract(tiny_encoder, rows, tmp_path_factory.mktemp("whole") / "store", **OPTIONS)


@pytest.fixture(scope="module")
def machines():
    """A cluster of two simulated machines, and this process connected to it."""
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=2)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def assert_same(store, whole):
    """Byte by byte, and nothing beside."""
    names = sorted(file.name for file in whole.path.iterdir())
    assert sorted(file.name for file in store.path.iterdir()) == names
    for name in names:
        assert (store.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def list_workers():
    """The processes of workers of the cluster that this process has made."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("ShardWorker" in part for part in process.cmdline()):
                found.append(process)
    return found


@pytest.fixture
def change_worker(monkeypatch):
    """Gives workers another method, which goes to their processes with their class."""
    worker = sys.modules[ShardWorker.__module__]
    cloudpickle.register_pickle_by_value(worker)
    yield lambda name, method: monkeypatch.setattr(ShardWorker, name, method)
    cloudpickle.unregister_pickle_by_value(worker)


def kill_one(share):
    """Progress that kills a worker when about so much is done."""
    killed = []

    def tell(done, total):
        if not killed and done >= share * total:
            killed.append(random.choice(list_workers()))
            killed[0].send_signal(signal.SIGKILL)

    return tell, killed


def test_a_cluster_writes_the_bytes_of_one_process(machines, whole, rows, tiny_encoder, tmp_path):
    seen, workers = [], {}
    store = extract(
        *(tiny_encoder, rows, tmp_path / "store"),
        progress=lambda done, total: seen.append((done, total)),
        worker_progress=lambda worker, done, total: workers.update({worker: done}),
        **OVER_RAY,
    )
    assert_same(store, whole)
    assert seen == sorted(seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] == whole.rows
    assert workers
    assert all(name.startswith("worker ") and " on " in name for name in workers)
    assert max(workers.values()) > 0
    deadline = time.monotonic() + 30
    while list_workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list_workers()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_killed_worker_loses_nothing(machines, whole, rows, tiny_encoder, tmp_path, share):
    tell, killed = kill_one(share)
    with pytest.warns(Note, match=r"worker [12].* is lost: .*\."):
        store = extract(tiny_encoder, rows, tmp_path / "store", progress=tell, **OVER_RAY)
    assert killed
    assert_same(store, whole)


@pytest.mark.parametrize("entry", [True, False])
def test_a_damaged_shard_is_made_anew(machines, whole, rows, tiny_encoder, tmp_path, entry):
    """Not the one that its process has finished, but one that was damaged since."""
    path = tmp_path / "store"
    extract_part(tiny_encoder, rows, path, 1, 3, **OPTIONS)
    shard = path / "shard-00003.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2 if entry else 0] ^= 4
    shard.write_bytes(content)
    if not entry:
        shard.with_suffix(".json").unlink()
    assert_same(extract(tiny_encoder, rows, path, **OVER_RAY), whole)


@pytest.mark.parametrize("placed", [True, False])
def test_a_worker_that_is_lost_with_its_shard_placed(
    machines, whole, rows, tiny_encoder, tmp_path, placed, monkeypatch
):
    """What it has placed is taken; what it has not is made by another one."""
    path, wait, ended = tmp_path / "store", module.Workers.wait, []

    def lose(self):
        answers = wait(self)
        worker = next((one for one in self._all if one.shards), None)
        if ended or worker is None:
            return answers
        number = worker.shards[0]
        if placed:
            shutil.copy(whole.path / f"shard-{number:05d}.h5", path)
        ended.append(number)
        self._lose(worker, "it was taken away")
        return module.Answers([one for one in answers.results if one[0] is not worker], [(worker, "it was taken away")])

    monkeypatch.setattr(module.Workers, "wait", lose)
    with pytest.warns(Note, match="is lost: it was taken away"):
        store = extract(tiny_encoder, rows, path, **OVER_RAY)
    assert ended
    assert_same(store, whole)


def test_workers_that_are_lost_with_the_first_batches(
    machines, rows, tiny_encoder, tmp_path, monkeypatch, change_worker
):
    monkeypatch.setattr(module, "LOST", 2)
    change_worker("calibrate", lambda self, *_: os._exit(1))
    with pytest.raises(StoreError, match=r"2 workers were lost with the first batches, the last one: "):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)
    assert not list((tmp_path / "store").iterdir())


def test_workers_that_cannot_start(machines, rows, tiny_encoder, tmp_path, monkeypatch, change_worker):
    monkeypatch.setattr(module, "LOST", 2)
    monkeypatch.setattr(module, "PAUSE", 0.1)
    change_worker("start", lambda self: os._exit(1))
    with pytest.raises(StoreError, match=r"no worker could start; of the last of \d this is known: "):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)


def test_an_error_of_a_worker_is_a_line(machines, rows, tiny_encoder, tmp_path, change_worker):
    change_worker("start", lambda self: {}["no-such-package"])
    with pytest.raises(StoreError, match=r"^worker \d: KeyError: 'no-such-package'$"):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)


def test_nothing_is_left_of_what_was_stopped(machines, whole, rows, tiny_encoder, tmp_path):
    path = tmp_path / "store"

    def stop(done, total):
        if done > total / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_encoder, rows, path, progress=stop, **OVER_RAY)
    assert not list(path.glob(".*"))
    assert_same(extract(tiny_encoder, rows, path, **OPTIONS), whole)


@pytest.mark.slow
def test_a_machine_that_is_removed_loses_nothing(machines, whole, rows, tiny_encoder, tmp_path):
    node = machines.add_node(num_cpus=2)
    removed = []

    def tell(done, total):
        if not removed and done > 0.2 * total:
            removed.append(1)
            machines.remove_node(node)

    with pytest.warns(Note, match="is lost"):
        store = extract(tiny_encoder, rows, tmp_path / "store", progress=tell, ray="auto", workers=5, **OPTIONS)
    assert removed
    assert_same(store, whole)


@pytest.mark.slow
def test_a_driver_that_is_killed_is_gone_on_with(machines, whole, rows, tiny_encoder, tmp_path):
    path = tmp_path / "store"
    command = [sys.executable, "-c", SCRIPT, tiny_encoder.name, str(path), machines.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) > 0.3 * whole.rows:
            time.sleep(random.uniform(0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
            break
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors[-2000:]
    seen = []
    store = extract(*(tiny_encoder, rows, path), progress=lambda done, total: seen.append(done), **OVER_RAY)
    assert seen[0] > 0  # what was there is not made again
    assert_same(store, whole)


def test_what_one_process_has_begun(machines, whole, rows, tiny_encoder, tmp_path):
    path, begun = tmp_path / "store", []

    def stop(done, total):
        if done > total / 2:
            begun.append(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_encoder, rows, path, progress=stop, **OPTIONS)
    assert 0 < len(read_manifest(path).shards) < len(whole.manifest.shards)
    assert_same(extract(tiny_encoder, rows, path, **OVER_RAY), whole)
    assert extract(tiny_encoder, rows, path, **OVER_RAY).rows == whole.rows  # which starts no worker


def test_nothing_to_run(machines, rows, tiny_encoder, tmp_path):
    expected = extract(tiny_encoder, rows.take(0), tmp_path / "one", **OPTIONS)
    assert_same(extract(tiny_encoder, rows.take(0), tmp_path / "store", **OVER_RAY), expected)


def test_a_tuned_encoder_needs_no_folder(machines, rows, tiny_encoder, tmp_path):
    """Workers get its weights, which have no name that they could load."""
    weights = {name: value + 0.01 for name, value in tiny_encoder.weights.items()}
    tuned = type(tiny_encoder)("tuned", tiny_encoder.architecture, tiny_encoder.tokenizer, weights)
    expected = extract(tuned, rows, tmp_path / "one", **OPTIONS)
    assert_same(extract(tuned, rows, tmp_path / "store", **OVER_RAY), expected)


def test_train_over_a_cluster(machines, tiny_encoder, tmp_path):
    common = {"head": "learned_pooling", "seeds": 1, "limit": 300, "fit": {"epochs": 2}, "baselines": False}
    runs = [
        bv.train("starter", tiny_encoder, store=tmp_path / name, output=tmp_path / f"run-{name}", **common, **more)
        for name, more in [("one", {}), ("ray", {"ray": "auto", "workers": 2})]
    ]
    assert runs[0].results["scores"] == runs[1].results["scores"]
    again = bv.train("starter", tiny_encoder, store=tmp_path / "ray", output=runs[1].path, resume=True, **common)
    assert again.results == runs[1].results  # where states were made makes no other run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gpus_per_worker": 1},
            r"no machine of the cluster has 1 CPU and 1 GPU for a worker; all have 3 CPU and 0 GPU",
        ),
        ({"cpus_per_worker": 64}, r"no machine of the cluster has 64 CPU and 0 GPU for a worker"),
    ],
)
def test_a_cluster_without_room(machines, rows, tiny_encoder, tmp_path, options, message):
    with pytest.raises(StoreError, match=message):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY | options)
    assert not (tmp_path / "store").exists()


def test_what_a_worker_cannot_do_is_said_in_a_line(machines, rows, tiny_encoder, tmp_path, monkeypatch):
    versions = module.describe_versions(tiny_encoder)
    monkeypatch.setattr(module, "describe_versions", lambda encoder: versions | {"numpy": "1.0"})
    with pytest.raises(
        StoreError, match=r"worker \d on .* has numpy .*, this process has 1\.0: the two would not"
    ) as error:
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    broken = type(tiny_encoder)(
        *("broken", tiny_encoder.architecture, tiny_encoder.tokenizer),
        {name: value * float("nan") for name, value in tiny_encoder.weights.items()},
    )
    with pytest.raises(StoreError, match=r"worker \d on .*: hidden states of broken are not finite"):
        extract(broken, rows, tmp_path / "store", **OVER_RAY)


def test_a_folder_that_others_do_not_see(machines, rows, tiny_encoder, tmp_path, monkeypatch):
    """As on a machine that has a store of its own at that path."""
    hand_out, moved = module._Handing._hand_out, []

    def move_first(self, place):
        if not moved:
            moved.append(os.rename(tmp_path / "store", tmp_path / "elsewhere"))
            shutil.copytree(tmp_path / "elsewhere", tmp_path / "store", ignore=shutil.ignore_patterns(".*"))
        hand_out(self, place)

    monkeypatch.setattr(module._Handing, "_hand_out", move_first)
    with pytest.raises(StoreError, match=r"worker \d on .*: .* does not see the store at .*store"):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)


def test_a_shard_that_takes_every_worker_with_it(machines, rows, tiny_encoder, tmp_path, monkeypatch, change_worker):
    monkeypatch.setattr(module, "LOST", 2)

    change_worker("write", lambda self, *_: os._exit(1))
    with pytest.raises(StoreError, match=r"2 workers were lost with shard \d+, the last one: "):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 2}, "`workers` is of a Ray cluster: give its address as `ray`"),
        ({"gpus_per_worker": 1}, "`gpus_per_worker` is of a Ray cluster"),
        ({"ray": "auto", "workers": 0}, "`workers` needs 1 or more"),
        ({"ray": "auto", "cpus_per_worker": 0}, "`cpus_per_worker` needs more than 0"),
        ({"ray": "auto", "gpus_per_worker": -1}, "`gpus_per_worker` needs at least 0"),
        ({"ray": "auto", "gpus_per_worker": 1.5}, "`gpus_per_worker` above 1 needs a whole number, got 1.5"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(RunError, match=message):
        ClusterSettings(**settings)


def test_without_ray(rows, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StoreError, match=r"a cluster needs Ray: pip install 'bertvision-tf\[ray\]'"):
        extract(tiny_encoder, rows, tmp_path / "store", **OVER_RAY)


def test_clients_and_addresses_of_no_cluster_are_refused(rows, tiny_encoder, tmp_path):
    code = (
        "import sys, bertvision_tf as bv\nfrom bertvision_tf.extraction import extract\n"
        "rows, encoder = bv.get_task('starter').load('dev'), bv.load_encoder(sys.argv[1])\n"
        "for address in ('ray://here:10001', '127.0.0.1:1', 'nonsense'):\n"
        "    try:\n        extract(encoder, rows, sys.argv[2], ray=address)\n"
        "    except bv.errors.StoreError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_encoder.name, str(tmp_path / "store")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr[-2000:]
    assert "is the address of a Ray client" in lines[0]
    assert lines[1] == "no Ray cluster at 127.0.0.1:1: Connection refused (`--ray local` starts one here)."
    assert lines[2].startswith("no Ray cluster at nonsense: ")


def test_the_command(machines, whole, tiny_encoder, tmp_path):
    path = tmp_path / "store"
    done = run_here(
        *("extract", "--encoder", tiny_encoder.name, "--limit", "300", "--output", str(path)),
        *("--ray", "auto", "--workers", "2"),
    )
    assert done.returncode == 0, done.stderr
    assert len(open_store(path)) == 300
    refused = run_here(
        "extract", "--encoder", tiny_encoder.name, "--output", str(path), "--ray", "auto", "--shard", "1/2"
    )
    assert refused.returncode == 1
    assert refused.stderr == "error: --shard is for machines that are no Ray cluster: leave it out, or --ray.\n"
