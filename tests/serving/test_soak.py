"""Many requests of all lengths and sizes, some of them malformed: none of them stops the model, or makes it grow.

`BERTVISION_REQUESTS=10000 pytest tests/serving/test_soak.py` asks as many.
"""

import json
import os
import urllib.error
import urllib.request

import numpy as np
import psutil
import pytest

import bertvision_tf as bv
from bertvision_tf.serving import export_runs
from bertvision_tf.serving.servable import TOKENS
from tests.serving.server import serve

REQUESTS = int(os.environ.get("BERTVISION_REQUESTS", "400"))
WORDS = [*"the a cat cats dog dogs has have eat eats is can not run she he Über [SEP]".split(), "\U0001f426", "x" * 150]
MALFORMED = [
    b"",
    b"{",
    b"[]",
    b'{"inputs": {}}',
    b'{"inputs": {"text": [1, 2]}}',
    b'{"inputs": {"text": [["a"]]}}',
    b'{"inputs": {"text": ["a"], "other": ["b"]}}',
    b'{"inputs": {"words": ["a"]}}',
    b'{"signature_name": "none", "inputs": {"text": ["a"]}}',
    b'{"inputs": {"text": ["a\xff"]}}',
    *(
        json.dumps({"signature_name": "serve_tokens", "inputs": dict(zip(TOKENS, matrices, strict=True))}).encode()
        for matrices in (
            ([[1, 2]], [[0, 0]], [[0, 1]]),  # padded on the left
            ([[1, 2]], [[0, 0]], [[7, 7]]),
            ([[1, 2]], [[0, 3]], [[1, 1]]),
            ([[1, 10**6]], [[0, 0]], [[1, 1]]),
            ([[1] * 101], [[0] * 101], [[1] * 101]),  # too long
            ([[1, 2]], [[0, 0, 0]], [[1, 1]]),
        )
    ),
]


def ask(url, body):
    request = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_requests_of_all_kinds(tmp_path, tiny_encoder):
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, random.integers(1, 300))) for _ in range(260)]
    task = bv.task_from_table({"text": texts, "label": ["cat" in text for text in texts]}, name="cats")
    run = bv.train(
        *(task, tiny_encoder),
        **{"head": "learned_pooling", "seeds": 1, "fit": {"epochs": 1}, "baselines": False, "max_length": 100},
        store=tmp_path / "states",
        output=tmp_path / "cats",
    )
    refused, memory = 0, []
    with serve(export_runs([run], tmp_path / "models" / "1"), "cats") as (url, _):
        for place in range(REQUESTS):
            if place % 10 == 9:
                status, said = ask(url, MALFORMED[refused % len(MALFORMED)])
                assert status == 400 and said["error"], said
                refused += 1
                continue
            chosen = [texts[row] for row in random.integers(len(texts), size=random.integers(1, 33))]
            status, said = ask(url, json.dumps({"inputs": {"text": chosen}}).encode())
            assert status == 200 and len(said["outputs"]["label"]) == len(chosen)
            if place % 20 == 0:
                memory.append(psutil.Process().memory_info().rss)
    half = len(memory) // 2
    assert refused >= len(MALFORMED)
    assert max(memory[half:]) < 1.05 * max(memory[half // 2 : half]), [f"{one / 2**20:.0f}" for one in memory]
