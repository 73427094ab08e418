import dataclasses

import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import TASKS, Examples, TaskSpec, get_task
from bertvision_tf.tasks.readers import read_cola_tsv

COLA = get_task("cola")


@pytest.fixture
def read(tmp_path):
    def write_and_read(data: bytes) -> Examples:
        (tmp_path / "train.tsv").write_bytes(data)
        return read_cola_tsv(tmp_path / "train.tsv", COLA, "train")

    return write_and_read


def test_plain_rows(read):
    examples = read(b"gj04\t1\t\tOur friends came.\nbc01\t0\t*\tThey drank the pub.\n")
    assert (examples.task, examples.split) == ("cola", "train")
    assert examples.ids == ["train-0", "train-1"]
    assert examples.texts == ["Our friends came.", "They drank the pub."]
    assert examples.text_pairs is None
    assert examples.labels.tolist() == [1, 0] and examples.labels.dtype == np.int32
    assert examples.columns == {"source": ["gj04", "bc01"]}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfgj04\t1\t\tIt came.\ngj04\t0\t*\tIt come.\n",  # byte-order mark
        b"gj04\t1\t\tIt came.\r\ngj04\t0\t*\tIt come.\r\n",  # Windows
        b"gj04\t1\t\tIt came.\ngj04\t0\t*\tIt come.",  # no newline at the end
        b"gj04\t1\t\tIt came.\n\n\r\ngj04\t0\t*\tIt come.\n\n",  # empty lines
    ],
)
def test_other_line_ends_and_marks(data, read):
    examples = read(data)
    assert examples.texts == ["It came.", "It come."]
    assert examples.columns["source"] == ["gj04", "gj04"]


@pytest.mark.parametrize(
    "sentence",
    [
        'He said "no.',  # quotes are letters here, balanced or not
        "\"Quoted\" and 'quoted'.",
        "Next line \x85 and \u2028 separator \x0b inside.",  # str.splitlines would break these
        "Zoë’s café.",
        " spaces around ",
    ],
)
def test_sentences_are_kept_as_they_are(sentence, read):
    assert read(f"gj04\t1\t\t{sentence}\ngj04\t0\t*\tNo.\n".encode()).texts == [sentence, "No."]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"a\t1\t\tIt came.\na\t0\tIt come.\n", "line 2: expected 4 columns with tabs between, got 3."),
        (b"a\t1\t\tIt came.\textra\n", "line 1: expected 4 columns with tabs between, got 5."),
        (b"a\t1\t\tIt came.\n\n\na\n", "line 4: expected 4 columns with tabs between, got 1."),
        (b"a\t2\t\tIt came.\n", "line 1: expected the label 0 or 1 in column 2, got '2'."),
        (b"source\tlabel\tmark\tsentence\n", "line 1: expected the label 0 or 1 in column 2, got 'label'."),
        (b"a\t1\t\tIt came.\na\t\t\tIt.\n", "line 2: expected the label 0 or 1 in column 2, got ''."),
        (b"a\t1\t\tIt came.\na\t1\t\t  \n", "line 2: the sentence is empty."),
        (b"a\t1\t\tIt came.\na\t1\t\tCaf\xe9.\n", "line 2: not UTF-8"),
        ("a\t1\t\tIt came.\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"", " has no rows."),
        (b"\xef\xbb\xbf\n\n", " has no rows."),
    ],
)
def test_what_cannot_be_read_is_named(data, complaint, read, tmp_path):
    with pytest.raises(TaskError) as raised:
        read(data)
    message = str(raised.value)
    assert message.startswith(str(tmp_path / "train.tsv")) and "\n" not in message
    assert complaint in message


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(TaskError, match=r"train\.tsv cannot be read: No such file or directory\.$"):
        read_cola_tsv(tmp_path / "train.tsv", COLA, "train")


def test_folders_of_the_official_download(tmp_path):
    row = b"a\t1\t\tIt came.\n"
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "dev.tsv").write_bytes(row)
    assert COLA.load("dev", tmp_path).texts == ["It came."]
    assert COLA.load("dev", str(tmp_path / "CoLA")).texts == ["It came."]
    with pytest.raises(TaskError) as raised:
        COLA.load("train", tmp_path)
    assert str(raised.value) == f"no train rows of CoLA: expected {tmp_path / 'CoLA' / 'train.tsv'}."
    with pytest.raises(TaskError, match=r"^split 'test' of cola is not known; known: train, dev\.$"):
        COLA.load("test", tmp_path)


def test_real_cola(real_data):
    train, dev = (COLA.load(split, real_data / "glue") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (8551, 1043)
    assert (train.labels.mean(), dev.labels.mean()) == (
        pytest.approx(0.70436, abs=1e-5),
        pytest.approx(0.69127, abs=1e-5),
    )
    assert train.texts[0] == "Our friends won't buy this analysis, let alone the next one we propose."
    assert train.columns["source"][0] == "gj04"
    assert dev.texts[0] == "The sailors rode the breeze clear of the rocks."


def test_starter_ships_with_the_package():
    assert len(get_task("starter").load("train")) == 2400
    assert len(get_task("starter").load("dev")) == 800


def test_tfds(tmp_path):
    import tensorflow_datasets as tfds

    def two_rows(self, *args, **kwargs):
        import tensorflow as tf

        rows = {"idx": [1, 0], "label": [0, 1], "sentence": ["They drank the pub.", "Zoë came."]}
        return tf.data.Dataset.from_tensor_slices({name: tf.constant(column) for name, column in rows.items()})

    with tfds.testing.mock_data(num_examples=2, as_dataset_fn=two_rows):
        for split in ("train", "dev"):
            examples = COLA.load(split)
            assert examples.ids == [f"{split}-0", f"{split}-1"]  # by idx, whatever the order they come in
            assert examples.texts == ["Zoë came.", "They drank the pub."]
            assert examples.labels.tolist() == [1, 0] and examples.labels.dtype == np.int32


def test_tfds_of_made_up_rows():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=5):
        examples = COLA.load("train")
    assert len(examples) == 5
    assert set(examples.labels) <= {0, 1}
    assert all(isinstance(text, str) for text in examples.texts)


def test_tfds_that_fails_is_one_line(monkeypatch):
    import tensorflow_datasets as tfds

    def fail(*args, **kwargs):
        raise ConnectionError("no route to host\nand a long story")

    monkeypatch.setattr(tfds, "load", fail)
    with pytest.raises(TaskError) as raised:
        COLA.load("train")
    assert str(raised.value) == (
        "tensorflow_datasets cannot give glue/cola (no route to host); offline, name the folder of the official "
        "download with --data-dir."
    )


def test_names_of_tasks():
    assert get_task("CoLA") is get_task("cola") is get_task("COLA") is TASKS["cola"]
    own = TaskSpec(name="mine", title="Mine")
    assert get_task(own) is own
    with pytest.raises(TaskError, match=r"^task 'colla' is not known; known: cola, starter\.$"):
        get_task("colla")


# Examples


def make_examples(**changes):
    plain = {"ids": ["a", "b"], "texts": ["x", "y"], "text_pairs": None, "labels": np.array([0, 1], np.int32)}
    return Examples("cola", "train", **plain | changes)


def test_fingerprint_sees_every_change():
    changes = [
        {},
        {"ids": ["a", "c"]},
        {"texts": ["x", "z"]},
        {"texts": ["xy", ""]},
        {"text_pairs": ["x", "y"]},
        {"text_pairs": ["", ""]},
        {"labels": np.array([0, 0], np.int32)},
        {"labels": np.array([0, 1], np.float32)},
        {"ids": ["b", "a"], "texts": ["y", "x"], "labels": np.array([1, 0], np.int32)},
    ]
    assert len({make_examples(**change).fingerprint for change in changes}) == len(changes)
    assert make_examples().fingerprint == dataclasses.replace(make_examples(), split="dev").fingerprint
    assert make_examples().fingerprint == "03e9ce94d59197617ef70126ffa53429"


def test_select_and_take():
    examples = make_examples(text_pairs=["p", "q"], columns={"source": ["s", "t"]})
    turned = examples.select(np.array([1, 0, 1])[:2])
    assert (turned.ids, turned.texts, turned.text_pairs) == (["b", "a"], ["y", "x"], ["q", "p"])
    assert turned.labels.tolist() == [1, 0] and turned.columns == {"source": ["t", "s"]}
    assert examples.take(1).ids == ["a"]
    assert examples.take(None) is examples.take(2) is examples.take(9) is examples


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"texts": ["x"]}, "2 ids, 1 texts and 2 labels: one of each a row."),
        ({"text_pairs": ["p"]}, "2 texts and 1 text pairs: one of each a row."),
        ({"ids": ["a", "a"]}, "ids of cola train are not unique."),
    ],
)
def test_examples_that_do_not_fit(changes, complaint):
    with pytest.raises(TaskError) as raised:
        make_examples(**changes)
    assert str(raised.value) == complaint
