import importlib.util
import os
import shutil
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CHECKPOINTS = Path(__file__).parent / "checkpoints"
TINY = CHECKPOINTS / "bert-gelu-eps1e-12-segments2"


@pytest.fixture(scope="session")
def tiny_encoder():
    """A random BERT of 2 blocks, width 8, and 30 words."""
    from bertvision_tf.encoders import load_encoder

    return load_encoder(str(TINY))


@pytest.fixture(scope="session")
def minilm():
    """The packaged MiniLM in float32."""
    from bertvision_tf.encoders import load_encoder
    from bertvision_tf.encoders.packaged import MINILM_PACKAGE

    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        pytest.skip("the quickstart extra (MiniLM) is not installed")
    return load_encoder("minilm")


REAL_DATA = Path(os.environ.get("BERTVISION_DATA", Path(__file__).parents[2] / "shared" / "data"))


def has_real_data():
    return (REAL_DATA / "glue" / "CoLA" / "train.tsv").is_file()


@pytest.fixture(scope="session")
def real_data():
    """The folder of real GLUE and SQuAD samples."""
    if not has_real_data():
        pytest.skip(f"no real data at {REAL_DATA} (set BERTVISION_DATA)")
    return REAL_DATA


@pytest.fixture(scope="session")
def tiny_examples():
    """Forty texts of the tiny encoder's words, of 1 to 11 words, in no order of length."""
    import numpy as np

    from bertvision_tf.tasks import Examples

    random = np.random.default_rng(0)
    words = "the a cat cats dog dogs bird has have eat eats is can not run she he her him who what .".split()
    texts = [" ".join(random.choice(words, random.integers(1, 12))) for _ in range(40)]
    labels = random.integers(0, 2, 40).astype(np.int32)
    return Examples("cola", "train", [f"train-{i}" for i in range(40)], texts, None, labels)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium that tests click in."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium with its driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield found
    found.quit()
