"""The local page in a headless Chromium: types, clicks, and reads what is said."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.runs import FoundAnswer
from bertvision_tf.serving import build_demo
from bertvision_tf.serving.demo import hide_folders, mark_answer

WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_encoder):
    folder, random = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, random.integers(8, 20))) for _ in range(420)]
    contexts = [text.replace(" ", " bird ", 1) if place % 4 else text for place, text in enumerate(texts)]
    tables = {
        "cats": {"text": texts, "label": ["feline" if "cat" in text else "none" for text in texts]},
        "dogs": {"text": texts, "label": ["canine" if "dog" in text else "none" for text in texts]},
        "answers": {
            "id": [str(place) for place in range(420)],
            "question": ["what ?"] * 420,
            "context": contexts,
            "answers": [json.dumps(["bird"] if "bird" in context else []) for context in contexts],
        },
    }
    return {
        name: bv.train(
            *(bv.task_from_table(table, name=name), tiny_encoder),
            **{"head": "learned_pooling", "seeds": 1, "baselines": False, "codec": "float32"},
            fit={"epochs": 8, "learning_rate": 0.03, "batch_size": 16},
            store=folder / "states",
            output=folder / name,
        )
        for name, table in tables.items()
    }


@pytest.fixture
def serve():
    """Starts `bertvision demo`, and gives its address."""
    started = []

    def start(*paths):
        process = subprocess.Popen(
            [sys.executable, "-m", "bertvision_tf", "demo", *map(str, paths)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("page: http://127.0.0.1:"), line
        return line.split()[1]

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


def wait_for(find, seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come")


def test_texts_are_classified_by_every_head(runs, serve, browser):
    text = "she has cats ."
    browser.get(serve(runs["cats"].path, runs["dogs"].path))
    wait_for(lambda: browser.find_elements("css selector", "#first textarea"))[0].send_keys(text)
    browser.find_element("css selector", "#ask").click()
    wait_for(
        lambda: browser.find_elements("css selector", ".said .confidence-set, .said [data-testid$=confidence-set]")
    )
    said = " ".join(one.text for one in browser.find_elements("css selector", ".said"))
    for name in ("cats", "dogs"):
        found = runs[name].predict([text])
        assert found.labels[0] in said and f"{100 * found.probabilities.max():.0f}%" in said
    wait_for(lambda: browser.find_elements("css selector", "#picture img"))


def test_an_answer_is_marked_in_its_passage(runs, serve, browser):
    passages = [
        f"the dog has {words} a bird <script>" for words in ("", "eat", "not eat", "cats can not", "dogs can eat")
    ]
    answers = [runs["answers"].answer("what ?", passage) for passage in passages]
    passage, found = next(
        (passage, one) for passage, one in zip(passages, answers, strict=True) if one.text not in ("", passage)
    )
    browser.get(serve(runs["answers"].path))
    wait_for(lambda: browser.find_elements("css selector", "#first textarea"))[0].send_keys("what ?")
    browser.find_element("css selector", "#second textarea").send_keys(passage)
    browser.find_element("css selector", "#ask").click()
    read = "return [...document.querySelectorAll('.marked *')].map((one) => one.textContent.trim())"
    wait_for(lambda: found.text in browser.execute_script(read))
    said = browser.find_element("css selector", ".said textarea").get_attribute("value")
    assert said.startswith(found.text)
    assert "<script>" in browser.find_element("css selector", ".marked").text


def test_long_texts_are_refused(runs, serve):
    from gradio_client import Client

    address = serve(runs["cats"].path)
    client = Client(address, verbose=False)
    with pytest.raises(Exception, match="the page takes 5,000"):
        client.predict("cat " * 2000, "", "cats", api_name="/ask")
    with pytest.raises(Exception, match="text is missing"):
        client.predict("  ", "", "cats", api_name="/ask")
    file = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nmine\r\n--b--\r\n'
    upload = urllib.request.Request(
        f"{address}gradio_api/upload", file, {"Content-Type": "multipart/form-data; boundary=b"}
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(upload)
    assert json.load(urllib.request.urlopen(f"{address}config"))["stylesheets"] == []


@pytest.mark.parametrize("where", [["--port", "99999"], ["--host", "no.such.host.invalid"]])
def test_where_it_cannot_listen(runs, where):
    command = [sys.executable, "-m", "bertvision_tf", "demo", str(runs["cats"].path), *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and ("port" in done.stderr or "cannot listen" in done.stderr)


def test_runs_that_read_different_texts(runs):
    with pytest.raises(RunError, match="cats reads single texts, answers questions with contexts"):
        build_demo([runs["cats"], runs["answers"]])


def test_parts_of_a_passage():
    answer = FoundAnswer("bird", 2, 6, 1.0, 0.0, 0.0, [("bird", 1.0, 2, 6)])
    assert mark_answer("a bird.", answer) == [("a ", None), ("bird", "answer"), (".", None)]
    assert mark_answer("bird", FoundAnswer("bird", 0, 4, 1.0, 0.0, 0.0, [])) == [("bird", "answer")]
    assert mark_answer("none", FoundAnswer("", None, None, None, 0.0, 0.0, [])) == [("none", None)]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("/home/a/runs/cats/heads/seed-0.keras is damaged: its SHA-256", "seed-0.keras is damaged: its SHA-256"),
        ("`bertvision repair /srv/x/states` makes it again.", "`bertvision repair states` makes it again."),
        (r"C:\Users\a\runs\cats cannot be read.", "cats cannot be read."),
        ("1/2 of the rows, and 3/4 and/or none", "1/2 of the rows, and 3/4 and/or none"),
        ("s3://bucket/states is gone", "s3://bucket/states is gone"),
    ],
)
def test_messages_name_no_folder_of_the_machine(message, said):
    assert hide_folders(message) == said


def ask(address, path, content=None, **headers):
    """The status and the text of an answer of the page."""
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address.rstrip("/") + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_other_pages_may_not_ask_and_nothing_names_the_machine(runs, serve):
    address = serve(runs["cats"].path)
    texts = {"data": ["the cat", "", runs["cats"].path.name]}
    for path, content in (("/gradio_api/call/ask", texts), ("/config", None), ("/gradio_api/info", None)):
        status, headers, text = ask(address, path, content)
        assert status == 200 and str(runs["cats"].path.parent) not in text and str(Path.home()) + "/" not in text
        _, headers, _ = ask(address, path, content, Origin="https://elsewhere.example")
        found = {name.lower(): value for name, value in headers.items()}
        assert found.get("access-control-allow-origin") not in ("*", "https://elsewhere.example")
    for path in (runs["cats"].path / "results.json", "/etc/passwd", "..%2f..%2fetc/passwd"):
        status, _, text = ask(address, f"/gradio_api/file={path}")
        assert status in (403, 404) and "root:" not in text
    status, _, text = ask(address, "/gradio_api/call/ask", {"data": ["x" * 10**6, "", "cats"]})
    event = json.loads(text)["event_id"]
    assert "1,000,000 characters" in ask(address, f"/gradio_api/call/ask/{event}")[2] or status != 200
