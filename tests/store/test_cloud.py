"""Stores in object storage, against a real S3 server: the bytes and the scores of those on disk."""

import contextlib
import dataclasses
import fcntl
import gc
import http.client
import http.server
import itertools
import logging
import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError, BusyError, RunError, StoreError
from bertvision_tf.extraction import extract, extract_part, repair_store
from bertvision_tf.store import CloudPath, StoreWriter, cloud, cloud_reader, merge_store, open_store, read_place
from bertvision_tf.store.blocks import name_sums
from bertvision_tf.store.schema import read_manifest

from ..command import run_here

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("obstore")

OPTIONS = {"batch_tokens": 64, "shard_rows": 100}
TURN = itertools.count()


@pytest.fixture(scope="module")
def server():
    """An S3 server on this machine, and the environment that names it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    found = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    found.start()
    host, port = found.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        use_server(patch, f"http://{host}:{port}")
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="states")
        yield host, port
    cloud._open_bucket.cache_clear()
    found.stop()


def use_server(patch, url):
    own = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    for name, value in {**own, "AWS_ENDPOINT_URL": url}.items():
        patch.setenv(name, value)
    cloud._open_bucket.cache_clear()


@pytest.fixture
def url(server):
    """A place where nothing is."""
    return f"s3://states/some/{next(TURN)}"


@pytest.fixture(scope="module")
def rows():
    return bv.get_task("starter").load("train").take(300)


@pytest.fixture(scope="module")
def whole(rows, tiny_encoder, tmp_path_factory):
    """The store on disk."""
    return extract(tiny_encoder, rows, tmp_path_factory.mktemp("whole") / "store", **OPTIONS)


@pytest.fixture(scope="module")
def stored(server, rows, tiny_encoder):
    """The same in object storage; no test changes it."""
    return extract(tiny_encoder, rows, "s3://states/stored", **OPTIONS)


def list_objects(url):
    return {one.name: one for one in read_place(url).iterdir()}


def assert_same(url, whole):
    """Byte by byte, and nothing beside."""
    found = list_objects(url)
    assert sorted(found) == sorted(file.name for file in whole.path.iterdir())
    for name, one in found.items():
        assert one.read_bytes() == (whole.path / name).read_bytes(), name


def assert_reads_alike(store, whole):
    assert len(store) == len(whole)
    assert store.ids == whole.ids
    for index in (0, 7, -1):
        for name, value in whole[index].items():
            np.testing.assert_array_equal(store[index][name], value)
    some = np.random.default_rng(0).permutation(len(whole))[:50]
    for name, value in dataclasses.asdict(whole.gather(some)).items():
        np.testing.assert_array_equal(getattr(store.gather(some), name), value)


def test_the_bytes_and_the_rows_of_a_store_on_disk(stored, whole):
    assert_same("s3://states/stored", whole)
    assert str(stored.path) == "s3://states/stored"
    assert_reads_alike(stored, whole)
    stored.verify()
    assert len(stored.gather(np.zeros(0, int)).states) == 0
    assert_reads_alike(stored.select([0, 2]), whole.select([0, 2]))
    for (found, label), (expected, wanted) in zip(
        *(store.as_dataset(batch_size=32, shuffle=True, seed=3) for store in (stored, whole)), strict=True
    ):
        np.testing.assert_array_equal(label, wanted)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_view_copies_nothing(stored, whole, monkeypatch):
    monkeypatch.setattr(CloudPath, "read_start", None)
    view = stored.select([0, 2])
    assert view._pool is stored._pool
    assert_reads_alike(view, whole.select([0, 2]))


def test_downloads_of_processes_that_have_ended_take_no_room(stored, whole, tmp_path):
    limit = max(entry.bytes for entry in whole.manifest.shards)
    left, live = (tmp_path / f".shard-{'0' * 64}.h5.{one * 32}.part" for one in "ab")
    for file in (left, live):
        file.write_bytes(bytes(limit))
        os.utime(file, (time.time() - 60, time.time() - 60))
    with open(live, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        store = open_store("s3://states/stored", cache=tmp_path, cache_bytes=limit)
        assert_reads_alike(store, whole)  # by ranges
        assert [file.name for file in tmp_path.iterdir()] == [live.name]
    store._refused -= 100  # seconds ago
    assert_reads_alike(store, whole)
    assert list(tmp_path.glob("shard-*.h5"))


def test_another_process_reads_it_too(stored, whole):
    assert_reads_alike(pickle.loads(pickle.dumps(stored)), whole)
    view = pickle.loads(pickle.dumps(stored.select([1])))
    assert_reads_alike(view, whole.select([1]))


def test_it_is_found_again(stored, rows, tiny_encoder, monkeypatch):
    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", None)
    assert len(extract(tiny_encoder, rows, "s3://states/stored", **OPTIONS)) == 300
    with pytest.raises(StoreError, match="holds states with max_length 128"):
        extract(tiny_encoder, rows, "s3://states/stored", max_length=64)


@pytest.mark.parametrize("check", ["never", "always"])
def test_states_come_by_ranges_alone(server, stored, check, monkeypatch):
    """A batch reads its own rows, not whole shards; or the blocks that they are in, which it compares."""
    stored = open_store("s3://states/stored", check=check)
    read, taken = CloudPath.read_range, []

    def count(self, start, end, version):
        taken.append(end - start)
        return read(self, start, end, version)

    monkeypatch.setattr(CloudPath, "read_range", count)
    monkeypatch.setattr(cloud_reader, "NEAR", 0)
    states = stored.gather([5, 200]).states
    rows = states.shape[1] * states.shape[3]
    if check == "never":
        assert sum(taken) == stored.lengths[[5, 200]].sum() * rows
    else:  # shards of one block
        assert sum(taken) == sum(stored.manifest.shards[number].rows * rows for number in stored._shard[[5, 200]])


def test_a_cache_keeps_whole_shards_and_its_bound(stored, whole, tmp_path, monkeypatch):
    sizes = [entry.bytes for entry in whole.manifest.shards]
    cached = open_store("s3://states/stored", cache=tmp_path / "all")
    assert_reads_alike(cached, whole)
    for index in range(len(whole)):
        cached.gather([index])
    assert sum(file.stat().st_size for file in (tmp_path / "all").iterdir()) == sum(sizes)
    with monkeypatch.context() as patch:
        patch.setattr(CloudPath, "stream", None)  # nothing is read twice
        assert_reads_alike(open_store("s3://states/stored", cache=tmp_path / "all"), whole)
    limit = 3 * max(sizes)
    small = open_store("s3://states/stored", cache=str(tmp_path / "small"), cache_bytes=limit)
    for index in np.random.default_rng(1).permutation(len(whole)).tolist():
        small.gather([index])
        assert sum(file.stat().st_size for file in (tmp_path / "small").iterdir()) <= limit
    assert_reads_alike(small, whole)
    with monkeypatch.context() as patch:
        patch.setattr(CloudPath, "stream", None)  # what is kept stays, other shards' rows come by ranges
        assert_reads_alike(small, whole)
    other = open_store("s3://states/stored", cache=tmp_path / "small", cache_bytes=limit)
    del small, cached
    gc.collect()
    for file in (tmp_path / "small").iterdir():
        os.utime(file, (0, 0))
    last = int(np.flatnonzero(other._shard == len(sizes) - 1)[0])
    other.gather([last])  # of what no process uses any more there is room
    assert (tmp_path / "small" / f"shard-{whole.manifest.shards[-1].sha256}.h5").exists()
    assert_reads_alike(other, whole)
    with pytest.raises(StoreError, match=r"the cache .* is for 10: give it more"):
        open_store("s3://states/stored", cache=tmp_path / "none", cache_bytes=10)[0]


def test_near_rows_come_in_one_request(stored, whole, monkeypatch):
    read, count = CloudPath.read_range, []
    monkeypatch.setattr(CloudPath, "read_range", lambda self, *range_: count.append(1) or read(self, *range_))
    some = np.random.default_rng(2).permutation(len(whole))[:100]
    np.testing.assert_array_equal(stored.gather(some).states, whole.gather(some).states)
    assert len(count) == len(np.unique(stored._shard[some]))


def test_a_cache_leaves_other_files_alone_and_finds_what_was_damaged(stored, whole, tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"mine" * 1000)
    limit = 2 * max(entry.bytes for entry in whole.manifest.shards)
    old, new = (tmp_path / f".shard-{'0' * 64}.h5.{one * 32}.part" for one in "ab")
    for file in (old, new):
        file.write_bytes(b"left")
    os.utime(old, (0, 0))
    first = open_store("s3://states/stored", cache=tmp_path, cache_bytes=limit)
    for index in range(0, len(whole), 7):
        first.gather([index])
    assert (tmp_path / "weights.h5").exists()
    assert new.exists()
    assert not old.exists()
    for file in tmp_path.glob("shard-*.h5"):
        file.write_bytes(bytes(file.stat().st_size))  # as after a power cut
    assert_reads_alike(open_store("s3://states/stored", cache=tmp_path, cache_bytes=limit), whole)
    with pytest.raises(StoreError, match="cannot be kept in"):
        open_store("s3://states/stored", cache=tmp_path / "weights.h5")[0]


def test_a_shard_that_is_replaced_after_it_was_opened(rows, tiny_encoder, url):
    store = extract(tiny_encoder, rows, url, **OPTIONS)
    shard = read_place(url) / "shard-00000.h5"
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.put(bytes(content))
    with pytest.raises(StoreError, match=r"shard-00000\.h5 has changed since it was opened"):
        store.gather(range(len(store)))
    with pytest.raises(StoreError, match=r"shard-00000\.h5 has changed since it was opened"):
        pickle.loads(pickle.dumps(store))


def test_a_server_that_goes_away_while_heads_are_trained(server, tiny_encoder, url, tmp_path, monkeypatch):
    words = ("train", "--encoder", tiny_encoder.name, "--limit", 300, "--seeds", 1, "--store", url, "--no-baselines")
    read, count = CloudPath.read_range, []

    def fail(self, *range_):
        count.append(1)
        if len(count) > 20:
            raise StoreError(f"{self} cannot be reached: it went away.")
        return read(self, *range_)

    monkeypatch.setattr(CloudPath, "read_range", fail)
    done = run_here(*words, "--output", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {url}/starter/")
    assert done.stderr.endswith("cannot be reached: it went away.\n")
    assert not (tmp_path / "run").exists()


def test_conditions_that_a_server_does_not_know(server, rows, tiny_encoder, url, monkeypatch):
    put = CloudPath._put
    with monkeypatch.context() as patch:
        patch.setattr(CloudPath, "_put", lambda self, content, mode, lost: put(self, content, "overwrite", ()))
        with pytest.raises(StoreError, match="puts an object over another where it must not"):
            extract(tiny_encoder, rows, url, **OPTIONS)
    monkeypatch.setattr(cloud, "_read_tag", lambda meta: {})
    with pytest.raises(StoreError, match=r"does not say which version it is \(ETag\)"):
        extract(tiny_encoder, rows, f"{url}/other", **OPTIONS)


def test_versions_of_objects_go_along(server, url, monkeypatch):
    """As Google's storage needs them."""
    found = {"e_tag": "a", "version": "7"}
    assert cloud._read_tag(found) == found
    assert cloud._read_tag({"e_tag": "a", "version": None}) == {"e_tag": "a"}


def test_a_forked_process_is_refused(stored):
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe()

    def ask():
        try:
            read_place("s3://states/stored").is_file()
        except StoreError as error:
            send.send(str(error))

    process = context.Process(target=ask)
    process.start()
    assert receive.poll(30)
    assert receive.recv().startswith("s3://states was used by the process that this one was forked from")
    process.join(30)


def test_an_object_for_the_folder_itself(server, rows, tiny_encoder, url):
    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).put_object(
        Bucket="states", Key=url.removeprefix("s3://states/") + "/", Body=b""
    )
    assert len(extract(tiny_encoder, rows.take(20), url, **OPTIONS)) == 20


def test_a_damaged_shard_is_found(whole, rows, tiny_encoder, url, tmp_path):
    extract(tiny_encoder, rows, url, **OPTIONS)
    shard = read_place(url) / "shard-00001.h5"
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.put(bytes(content))
    store = open_store(url, cache=tmp_path / "cache")
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged: its SHA-256 is not the manifest's"):
        store.verify()
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged: its SHA-256 is not the manifest's"):
        store.gather(range(len(store)))
    assert not list((tmp_path / "cache").glob(".*"))
    shard.put(bytes(content[:-9]))
    with pytest.raises(StoreError, match=r"shard-00001\.h5 has \d+ bytes, the manifest says \d+"):
        open_store(url)
    shard.unlink()
    with pytest.raises(StoreError, match=r"shard-00001\.h5 cannot be read: no such object"):
        store.verify()
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is missing"):
        open_store(url)


def test_a_damaged_block_is_found_and_made_again(whole, rows, tiny_encoder, url):
    extract(tiny_encoder, rows, url, **OPTIONS)
    shard = read_place(url) / "shard-00001.h5"
    content = shard.read_bytes()
    shard.put(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    store = open_store(url)
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged: block \d+ of \d+ .* `bertvision repair s3://"):
        store.gather(range(len(store)))
    assert len(open_store(url, check="never").gather(range(len(store))).states) == 300
    assert repair_store(tiny_encoder, rows, url) == ["shard-00001.h5"]
    assert shard.read_bytes() == content
    assert_reads_alike(open_store(url), whole)
    name_sums(shard).unlink()
    assert_reads_alike(open_store(url), whole)
    assert repair_store(tiny_encoder, rows, url) == ["shard-00001.sums"]
    assert_same(url, whole)


def test_what_was_stopped_is_gone_on_with(whole, rows, tiny_encoder, url):
    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_encoder, rows, url, progress=stop, **OPTIONS)
    assert 0 < len(read_manifest(read_place(url)).shards) < len(whole.manifest.shards)
    with pytest.raises(StoreError, match="is unfinished"):
        open_store(url)
    first = read_place(url) / "shard-00000.h5"
    later = read_place(url) / f"shard-{len(whole.manifest.shards) - 1:05d}.h5"
    later.put((whole.path / later.name).read_bytes())  # as one that was killed before it was entered
    before = first.read_bytes()
    extract(tiny_encoder, rows, url, **OPTIONS)
    assert first.read_bytes() == before
    assert_same(url, whole)


def test_parts_and_their_merge(whole, rows, tiny_encoder, url):
    parts = [(1, 3), (2, 3), (3, 3), (2, 3)]  # one of them twice
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: extract_part(tiny_encoder, rows, url, *part, **OPTIONS), parts[:1]))
        with pytest.raises(StoreError, match=r"lacks .* run parts 2/3, 3/3 first"):
            merge_store(url)
        list(pool.map(lambda part: extract_part(tiny_encoder, rows, url, *part, **OPTIONS), parts[1:]))
    merge_store(url)
    assert_same(url, whole)


def test_of_two_writers_the_slower_takes_what_the_faster_has_entered(whole, rows, tiny_encoder, url, monkeypatch):
    told, written = [], []
    write = StoreWriter.write_shard

    def interfere(done, total):
        if not told and done > 0:
            told.append(1)
            with contextlib.suppress(KeyboardInterrupt):  # another process, which is killed half way
                extract(tiny_encoder, rows, url, progress=stop, **OPTIONS)

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(StoreWriter, "write_shard", lambda self, *shard: written.append(1) or write(self, *shard))
    assert_reads_alike(extract(tiny_encoder, rows, url, progress=interfere, **OPTIONS), whole)
    assert_same(url, whole)
    assert len(written) <= len(whole.manifest.shards) + 2  # one is made twice, and one was not finished


def test_two_writers_at_once(whole, rows, tiny_encoder, url):
    with ThreadPoolExecutor(2) as pool:
        for store in pool.map(lambda _: extract(tiny_encoder, rows, url, **OPTIONS), range(2)):
            assert_reads_alike(store, whole)
    assert_same(url, whole)


def test_a_manifest_of_other_shards_is_no_other_writer_of_the_same(whole, rows, tiny_encoder, url):
    def interfere(done, total):
        if done == total:
            file = read_place(url) / "manifest.json"
            found = read_manifest(read_place(url))
            wrong = dataclasses.replace(found.shards[0], sha256="0" * 64)
            file.put(dataclasses.replace(found, shards=(wrong, *found.shards[1:])).to_json().encode())

    with pytest.raises(BusyError, match=f"{url} is being written by another process"):
        extract(tiny_encoder, rows, url, progress=interfere, **OPTIONS)


def test_a_place_that_holds_something_else(server, rows, tiny_encoder, url):
    (read_place(url) / "notes.txt").put(b"mine")
    with pytest.raises(StoreError, match=r"holds .notes\.txt. and no manifest"):
        extract(tiny_encoder, rows, url, **OPTIONS)


def test_train_gives_the_scores_of_a_store_on_disk(server, tiny_encoder, url, tmp_path):
    common = {"head": "learned_pooling", "seeds": 1, "limit": 300, "fit": {"epochs": 2}}
    places = {"disk": {"store": tmp_path / "states"}, "cloud": {"store": url}}
    places["cached"] = {"store": url, "cache": tmp_path / "cache"}
    runs = {
        name: bv.train("starter", tiny_encoder, output=tmp_path / name, **place, **common)
        for name, place in places.items()
    }
    for name in ("cloud", "cached"):
        assert runs[name].results["scores"] == runs["disk"].results["scores"]
        for rival, one in runs["disk"].results["baselines"].items():
            assert runs[name].results["baselines"][rival]["scores"] == one["scores"]
    assert all(path.startswith(f"{url}/starter/") for path in runs["cloud"].results["store"]["paths"])
    assert len(runs["cloud"].open_stores()[0]) == 300
    assert list((tmp_path / "cache").glob("*.h5"))
    with pytest.raises(RunError, match=r"fine-tuned encoders are kept in the folder of the stores, and s3://"):
        bv.train("starter", tiny_encoder, output=tmp_path / "no", store=url, fine_tune_epochs=1)


def test_ranks_and_comparisons_read_shards_through_a_cache(server, tiny_encoder, url, tmp_path):
    common = ("--limit", 200, "--store", url, "--cache-bytes", 2**30)
    words = {
        "rank": (tiny_encoder.name, "--task", "starter"),
        "compare": ("--encoder", tiny_encoder.name, "--task", "starter", "--head", "learned_pooling", "--seeds", 1),
    }
    for verb, own in words.items():
        output, cache = tmp_path / f"{verb}.csv", tmp_path / f"cache-{verb}"
        done = run_here(verb, *own, *common, "--cache", cache, "--output", output)
        assert done.returncode == 0, done.stderr
        assert output.read_text().count("\n") > 1 and list(cache.glob("*.h5"))


def test_the_commands(server, tiny_encoder, url):
    words = ("--encoder", tiny_encoder.name, "--limit", 100)
    assert run_here("extract", *words, "--output", f"{url}/a").returncode == 0
    done = run_here("verify", f"{url}/a")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{url}/a: whole (1 shards")
    assert run_here("verify", f"{url}/nothing").stderr == (
        f"error: no store at {url}/nothing: {url}/nothing/manifest.json cannot be read.\n"
    )


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a server; fails every tenth, or answers late."""

    protocol_version = "HTTP/1.1"
    target, delay, lock, count, failed = None, 0.0, threading.Lock(), 0, 0
    after = False  # whether a request that fails has been carried out

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        with self.lock:
            type(self).count += 1
            fails = self.count % 10 == 0
            type(self).failed += fails
        time.sleep(self.delay)
        status, headers, content = 503, [], b""
        if not fails or self.after:
            connection = http.client.HTTPConnection(*self.target)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            if not fails:
                status, headers = answer.status, answer.getheaders()
            else:
                content = b""
            connection.close()
        self.send_response(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), len(content))
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("after", "delay"), [(False, 0.0), (True, 0.0), (False, 0.05)])
def test_a_server_that_fails_or_is_slow(server, whole, rows, tiny_encoder, url, monkeypatch, after, delay):
    """Every tenth request fails, before it is carried out or after."""
    handler = type("Own", (Proxy,), {"target": server, "after": after, "delay": delay, "lock": threading.Lock()})
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        use_server(monkeypatch, f"http://127.0.0.1:{proxy.server_port}")
        store = extract(tiny_encoder, rows, url, **OPTIONS)
        assert_reads_alike(store, whole)
        store.verify()
        assert_same(url, whole)
        assert handler.failed > 3
    finally:
        cloud._open_bucket.cache_clear()
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("ftp://here/states", r"ftp://here/states is no place of a store: known are folders and s3://"),
        ("s3://", "it needs a bucket and a path"),
        ("s3://bucket/states?version=2", "it needs a bucket and a path"),
        (Path("s3://bucket/states"), "it is a url"),
    ],
)
def test_places_that_are_none(place, message):
    with pytest.raises(BertvisionError, match=message):
        open_store(place)


def test_a_url_of_a_folder_is_the_folder(whole):
    assert open_store(whole.path.as_uri()).path == whole.path


def test_no_other_place_takes_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bv.errors.BertvisionError, match="'s3://states/run' is no path: it is a url"):
        bv.train("starter", output="s3://states/run")
    for words in (["--output", "s3://states/run"], ["--cache", "s3://states/run"], ["--tensorboard", "gs://a/b"]):
        done = run_here("train", *words)
        assert done.returncode == 1
        assert "is no path: it is a url, and this needs a folder" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_server_that_is_not_there(monkeypatch, rows, tiny_encoder):
    use_server(monkeypatch, "http://127.0.0.1:1")
    monkeypatch.setattr(cloud, "RETRIES", {"max_retries": 1})
    with pytest.raises(StoreError, match=r"s3://states/x.* cannot be reached: ") as caught:
        open_store("s3://states/x")
    assert "\n" not in str(caught.value)
    cloud._open_bucket.cache_clear()


def test_without_obstore(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    cloud._open_bucket.cache_clear()
    with pytest.raises(StoreError, match=r"pip install 'bertvision-tf\[cloud\]'"):
        open_store("s3://states/x")
