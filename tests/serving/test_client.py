"""The client against a server that speaks TensorFlow Serving's REST and gRPC."""

import contextlib
import csv
import http.server
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import ServingError
from bertvision_tf.serving import ServedModel, client, export_runs
from tests.serving.server import serve

WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()


def make_texts(count, seed):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(1, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_encoder):
    folder, texts = tmp_path_factory.mktemp("client"), make_texts(260, 0)
    task = bv.task_from_table({"text": texts, "label": ["cat" in text for text in texts]}, name="cats")
    return train(task, tiny_encoder, folder)


def train(task, encoder, folder):
    return bv.train(
        *(task, encoder),
        **{"head": "learned_pooling", "seeds": 1, "fit": {"epochs": 2}, "baselines": False},
        store=folder / "states",
        output=folder / task.name,
    )


@pytest.fixture(scope="module")
def addresses(run):
    with serve(export_runs([run], run.path.parent / "models" / "1"), "cats") as found:
        yield found


@pytest.mark.parametrize("wire", [0, 1], ids=["rest", "grpc"])
def test_a_served_model_says_what_the_run_says(run, addresses, wire):
    """More texts than go into one request, with characters beyond ASCII."""
    texts = [*make_texts(70, 1), "Übermut \U0001f426 ' \" \\"]
    model = ServedModel(addresses[wire])
    assert model.inputs == ["text"]
    said, wanted = model.predict({"text": texts}), run.predict(texts)
    assert said["label"].tolist() == list(wanted.labels)
    np.testing.assert_allclose(said["probabilities"], wanted.probabilities, atol=1e-5)
    with pytest.raises(ServingError, match=r"has no signature 'other'; it has .*serving_default"):
        ServedModel(addresses[wire], "other")
    with pytest.raises(ServingError, match="the model reads text, got question"):
        model.predict({"question": ["a"]})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rest, remote: rest.replace("cats", "dogs"), "Malformed request"),
        (lambda rest, remote: remote.replace("cats", "dogs"), "Servable not found"),
        (lambda rest, remote: "http://127.0.0.1:9/v1/models/cats", "cannot be reached"),
        (lambda rest, remote: "grpc://127.0.0.1:9/cats", "says:"),
        (lambda rest, remote: remote.replace("grpc", "http"), "cannot be reached"),
        (lambda rest, remote: "http://localhost:abc/v1/models/cats", "is no address of a model"),
        (lambda rest, remote: "http://[::1/cats", "is no address of a model"),
        (lambda rest, remote: "http://local host/cats", "is no address of a model"),
        (lambda rest, remote: "cats", "is no address of a model"),
        (lambda rest, remote: "grpc://127.0.0.1:9", "is no address of a model"),
    ],
)
def test_what_cannot_be_reached(addresses, change, says):
    with pytest.raises(ServingError, match=says) as caught:
        ServedModel(change(*addresses))
    assert "\n" not in str(caught.value)


def test_a_refusal_is_one_line(addresses):
    model = ServedModel(addresses[0], "serve_tokens")
    with pytest.raises(ServingError, match="says: ") as caught:
        model.predict({name: ["text"] for name in model.inputs})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wire", [0, 1], ids=["rest", "grpc"])
def test_what_takes_too_long(addresses, wire):
    model = ServedModel(addresses[wire], seconds=30)
    model._wire._seconds = 0.001
    with pytest.raises(ServingError, match=r"did not answer within 0\.001 seconds"):
        model.predict({"text": ["the cat"] * 20})


@pytest.mark.parametrize("wire", [0, 1], ids=["rest", "grpc"])
def test_a_score_has_its_name_on_both_wires(wire, tiny_encoder, tmp_path):
    texts = make_texts(260, 0)
    task = bv.task_from_table({"text": texts, "label": [len(text) / 10 for text in texts]}, name="lengths")
    run = train(task, tiny_encoder, tmp_path)
    with serve(export_runs([run], tmp_path / "models" / "1"), "lengths") as found:
        said = ServedModel(found[wire]).predict({"text": texts[:5]})
    np.testing.assert_allclose(said["score"], run.predict(texts[:5]).labels, atol=1e-5)


def test_the_command(run, addresses, tmp_path):
    with open(tmp_path / "in.csv", "w", newline="") as stream:
        rows = ([place, text, "mine"] for place, text in enumerate(make_texts(5, 3)))
        csv.writer(stream).writerows([["id", "text", "label"], *rows])
    for name, where in (("run", [run.path]), ("rest", ["--url", addresses[0]]), ("grpc", ["--url", addresses[1]])):
        command = ["predict", *map(str, where), "--input", "in.csv", "--output", f"{name}.csv"]
        done = subprocess.run(
            [sys.executable, "-m", "bertvision_tf", *command], cwd=tmp_path, capture_output=True, text=True, timeout=200
        )
        assert (done.returncode, done.stdout) == (0, f"{name}.csv: 5 rows\n"), done.stderr
    own, *served = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text(encoding="utf-8").splitlines()))
        for name in ("run", "rest", "grpc")
    )
    names = [column for column in own[0] if column.startswith("p_")]
    for rows in served:
        assert [row["predicted_label"] for row in rows] == [row["prediction"] for row in own]
        for place, column in enumerate(names):
            both = ([float(row[key]) for row in one] for one, key in ((rows, f"probabilities_{place}"), (own, column)))
            np.testing.assert_allclose(*both, atol=1e-5)


class Odd(http.server.BaseHTTPRequestHandler):
    """A server that answers with what a test says, a list of (status, bytes, seconds between two bytes)."""

    answers: list

    def do_GET(self):
        metadata = {"inputs": {"text": {}}, "outputs": {"label": {}, "probabilities": {}}}
        self.say(200, json.dumps({"metadata": {"signature_def": {"signature_def": {"serving_default": metadata}}}}))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say(*self.answers.pop(0))

    def say(self, status, content, pause=0.0):
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for start in range(0, len(content), 1 if pause else len(content)):
                self.wfile.write(content[start : start + (1 if pause else len(content))])
                time.sleep(pause)

    def log_message(self, *_):
        pass


@pytest.fixture
def odd():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/cats"
        server.shutdown()


RIGHT = json.dumps({"outputs": {"label": ["a"], "probabilities": [[0.5, 0.5]]}})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"outputs": {"label": ["a"]}}', "the model says label, not label, probabilities"),
        ('{"outputs": {"label": ["a", "b"], "probabilities": [[1], [1]]}}', r"label of shape \(2,\) of 1 rows"),
        ('{"outputs": {"label": ["a"], "probabilities": [[1], [1, 2]]}}', "rows of several lengths"),
        ('{"outputs": {"label": "a", "probabilities": 1}}', r"label of shape \(\) of 1 rows"),
        ('{"outputs": 3}', "not label, probabilities"),
        ("[" * 100_000, "answers with no object"),
        ('"a"', "answers with no object"),
        ("", "cannot be reached"),
        (b"\xff\xfe", "cannot be reached"),
    ],
)
def test_answers_that_are_none(odd, content, says):
    Odd.answers = [(200, content)]
    with pytest.raises(ServingError, match=says) as raised:
        ServedModel(odd).predict({"text": ["a"]})
    assert "\n" not in str(raised.value)


def test_answers_have_bounds(odd, monkeypatch):
    monkeypatch.setattr(client, "MOST_BYTES", 1000)
    Odd.answers = [(200, "[" + "1," * 1000)]
    with pytest.raises(ServingError, match="the answer has more than 1000 bytes"):
        ServedModel(odd).predict({"text": ["a"]})
    Odd.answers = [(200, RIGHT, 0.2)]  # a byte now and then, within each wait
    start = time.monotonic()
    with pytest.raises(ServingError, match="did not answer within 1 seconds"):
        ServedModel(odd, seconds=1).predict({"text": ["a"]})
    assert time.monotonic() - start < 3
    Odd.answers = [(400, json.dumps({"error": "x" * 10**6}))]
    with pytest.raises(ServingError) as raised:
        ServedModel(odd).predict({"text": ["a"]})
    assert len(str(raised.value)) < 1200


def test_a_busy_server_is_asked_again(odd):
    Odd.answers = [(503, "{}"), (429, "{}"), (200, RIGHT)]
    assert ServedModel(odd).predict({"text": ["a"]})["label"].tolist() == ["a"]
    Odd.answers = [(503, '{"error": "too many"}')] * 5
    with pytest.raises(ServingError, match="says: too many"):
        ServedModel(odd).predict({"text": ["a"]})
    assert len(Odd.answers) == 1  # after four tries
    Odd.answers = [(400, '{"error": "no such text"}'), (200, RIGHT)]
    with pytest.raises(ServingError, match="says: no such text"):
        ServedModel(odd).predict({"text": ["a"]})
