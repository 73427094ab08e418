import dataclasses
import functools
import socket
import time

import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import GLUE, TASKS, Examples, TaskSpec, get_task
from bertvision_tf.tasks.readers import read_official

COLA = get_task("cola")
SPLITS_IN_TFDS = [
    (name, split, wanted)
    for name in GLUE
    for split, wanted in {
        "train": "train",
        "dev": "validation_matched" if name == "mnli" else "validation",
        "test": "test_matched" if name == "mnli" else "test",
    }.items()
] + [("mnli", "dev_mismatched", "validation_mismatched")]


@pytest.fixture
def read(tmp_path):
    def write_and_read(data: bytes, task=COLA, split="train") -> Examples:
        (tmp_path / f"{split}.tsv").write_bytes(data)
        return read_official(tmp_path / f"{split}.tsv", get_task(task), split)

    return write_and_read


def join(*rows: str) -> bytes:
    """Rows whose cells have " | " between → lines of a file."""
    return "".join("\t".join(row.split(" | ")) + "\n" for row in rows).encode()


# The official layouts

PARSES = "( A cat ) | ( It ) | (ROOT (NP A cat)) | (ROOT (NP It))"
MNLI = (
    "index | promptID | pairID | genre | sentence1_binary_parse | sentence2_binary_parse | sentence1_parse | "
    "sentence2_parse | sentence1 | sentence2"
)
STSB = "index | genre | filename | year | old_index | source1 | source2 | sentence1 | sentence2"
LAYOUTS = {
    "cola": (
        join("gj04 | 1 |  | Our friends came.", "bc01 | 0 | * | They drank the pub."),
        ["Our friends came.", "They drank the pub."],
        None,
        [1, 0],
    ),
    "sst2": (
        join("sentence | label", "hide new secretions  | 0", "a smile on your face  | 1"),
        ["hide new secretions ", "a smile on your face "],
        None,
        [0, 1],
    ),
    "mrpc": (
        b"\xef\xbb\xbf"
        + join(
            "Quality | #1 ID | #2 ID | #1 String | #2 String",
            '1 | 702876 | 702977 | He called it "fair. | "It was fair", he said.',
            '0 | 2108705 | 2108831 | Yucaipa owned it. | Yucaipa bought "it.',
        ),
        ['He called it "fair.', "Yucaipa owned it."],
        ['"It was fair", he said.', 'Yucaipa bought "it.'],
        [1, 0],
    ),
    "qqp": (
        join(
            "id | qid1 | qid2 | question1 | question2 | is_duplicate",
            "133273 | 213221 | 213222 | Is it far? | How far is it? | 0",
            '402555 | 536040 | 536041 | How do I "win"? | How can I win? | 1',
        ),
        ["Is it far?", 'How do I "win"?'],
        ["How far is it?", "How can I win?"],
        [0, 1],
    ),
    "stsb": (
        join(
            f"{STSB} | score",
            "0 | main-captions | MSRvid | 2012test | 0001 | none | none | A plane lands. | An air plane lands. | 5.000",
            "1 | main-news | headlines | 2016 | 1492 | EMM | EMM | Putin: no. | Rain in Texas | 0",
            "2 | main-captions | MSRvid | 2012test | 0004 | none | none | He plays. | He's playing. | 3.8",
        ),
        ["A plane lands.", "Putin: no.", "He plays."],
        ["An air plane lands.", "Rain in Texas", "He's playing."],
        [5, 0, 3.8],
    ),
    "mnli": (
        join(
            f"{MNLI} | label1 | gold_label",
            f"0 | 31193 | 31193n | government | {PARSES} | A cat sat. | It slept. | neutral | neutral",
            f"1 | 101457 | 101457e | telephone | {PARSES} | You lose it. | You lose. | entailment | entailment",
            f"2 | 134793 | 134793c | fiction | {PARSES} | One of us will. | Nobody will. | neutral | contradiction",
        ),
        ["A cat sat.", "You lose it.", "One of us will."],
        ["It slept.", "You lose.", "Nobody will."],
        [1, 0, 2],
    ),
    "qnli": (
        join(
            "index | question | sentence | label",
            '0 | When did it "begin"? | It began in 1901. | entailment',
            "1 | Who built it? | It is tall. | not_entailment",
        ),
        ['When did it "begin"?', "Who built it?"],
        ["It began in 1901.", "It is tall."],
        [0, 1],
    ),
    "rte": (
        join(
            "index | sentence1 | sentence2 | label",
            "0 | No weapons were found. | Weapons were found. | not_entailment",
            "1 | Pope Benedict XVI is new. | There is a new Pope. | entailment",
        ),
        ["No weapons were found.", "Pope Benedict XVI is new."],
        ["Weapons were found.", "There is a new Pope."],
        [1, 0],
    ),
    "wnli": (
        join(
            "index | sentence1 | sentence2 | label",
            "0 | I put a pin in a carrot; it had a hole. | The carrot had a hole. | 1",
            "1 | John couldn't see Billy as he is so short. | Billy is so short. | 0",
        ),
        ["I put a pin in a carrot; it had a hole.", "John couldn't see Billy as he is so short."],
        ["The carrot had a hole.", "Billy is so short."],
        [1, 0],
    ),
}


@pytest.mark.parametrize("name", GLUE)
def test_official_layout(name, read):
    data, texts, pairs, labels = LAYOUTS[name]
    examples = read(data, name)
    assert (examples.task, examples.split, examples.skipped) == (name, "train", 0)
    assert examples.ids == [f"train-{row}" for row in range(len(texts))]
    assert (examples.texts, examples.text_pairs) == (texts, pairs)
    dtype = np.float32 if name == "stsb" else np.int32
    assert examples.labels.dtype == dtype
    np.testing.assert_array_equal(examples.labels, np.array(labels, dtype))
    assert examples.groups is None
    assert examples.columns == ({"source": ["gj04", "bc01"]} if name == "cola" else {})


TESTS = {
    "cola": (join("index | sentence", "0 | Bill whistled past.", "1 | It came."), "Bill whistled past.", None),
    "sst2": (join("index | sentence", "0 | uneasy mishmash .", "1 | a sour taste ."), "uneasy mishmash .", None),
    "mrpc": (
        b"\xef\xbb\xbf"
        + join(
            "index | #1 ID | #2 ID | #1 String | #2 String",
            "0 | 1089874 | 1089925 | PCCW's \"chief. | Alex spoke.",
            "1 | 3019446 | 3019327 | No. | Yes.",
        ),
        "PCCW's \"chief.",
        "Alex spoke.",
    ),
    "qqp": (join("id | question1 | question2", "0 | Is it? | Was it? ", "1 | Why? | How?"), "Is it?", "Was it? "),
    "stsb": (
        join(
            STSB,
            "0 | main-captions | MSRvid | 2012test | 0024 | none | none | A girl sings. | She sings.",
            "1 | main-captions | MSRvid | 2012test | 0033 | none | none | A boy. | A man.",
        ),
        "A girl sings.",
        "She sings.",
    ),
    "mnli": (
        join(
            MNLI,
            f"0 | 31493 | 31493 | travel | {PARSES} | The hotel is old. | It is new.",
            f"1 | 92164 | 92164 | fiction | {PARSES} | He left. | He stayed.",
        ),
        "The hotel is old.",
        "It is new.",
    ),
    "qnli": (join("index | question | sentence", "0 | What? | This.", "1 | Who? | Me."), "What?", "This."),
    "rte": (join("index | sentence1 | sentence2", "0 | It is. | It was.", "1 | A. | B."), "It is.", "It was."),
    "wnli": (
        join("index | sentence1 | sentence2", "0 | Maude won. | Dora won.", "1 | A. | B."),
        "Maude won.",
        "Dora won.",
    ),
}


@pytest.mark.parametrize("name", GLUE)
def test_test_files_have_no_labels(name, tmp_path):
    data, text, pair = TESTS[name]
    task = get_task(name)
    (tmp_path / task.title).mkdir()
    (tmp_path / task.title / f"{'test_matched' if name == 'mnli' else 'test'}.tsv").write_bytes(data)
    examples = task.load("test", tmp_path)
    assert examples.ids == ["test-0", "test-1"]
    assert examples.texts[0] == text
    assert (examples.text_pairs[0] if pair else examples.text_pairs) == pair
    if name == "stsb":
        assert np.isnan(examples.labels).all() and examples.labels.dtype == np.float32
    else:
        assert examples.labels.tolist() == [-1, -1] and examples.labels.dtype == np.int32


def test_mnli_has_two_dev_files(tmp_path):
    header = f"{MNLI} | label1 | label2 | label3 | label4 | label5 | gold_label"
    names = "neutral | neutral | entailment | neutral | neutral | neutral"
    for name, genre in (("matched", "slate"), ("mismatched", "letters")):
        row = f"0 | 75290 | 75290c | {genre} | {PARSES} | From {genre}. | A {genre}. | {names}"
        (tmp_path / f"dev_{name}.tsv").write_bytes(join(header, row))
    mnli = get_task("mnli")
    assert mnli.splits == ("train", "dev", "dev_mismatched")
    dev, mismatched = (mnli.load(split, tmp_path) for split in mnli.splits[1:])
    assert (dev.split, dev.ids, dev.texts, dev.text_pairs) == ("dev", ["dev-0"], ["From slate."], ["A slate."])
    assert (mismatched.ids, mismatched.texts) == (["dev_mismatched-0"], ["From letters."])
    assert dev.labels.tolist() == mismatched.labels.tolist() == [1]
    with pytest.raises(TaskError) as raised:
        mnli.load("train", tmp_path)
    assert str(raised.value) == f"no train rows of MNLI: expected {tmp_path / 'MNLI' / 'train.tsv'}."


@pytest.mark.parametrize("name", [name for name in GLUE if name not in ("cola", "stsb", "mnli")])
def test_only_mnli_has_a_further_dev_split(name, tmp_path):
    assert get_task(name).splits == ("train", "dev")
    with pytest.raises(TaskError, match=rf"'dev_mismatched' of {name} is not known; known: train, dev, test\.$"):
        get_task(name).load("dev_mismatched", tmp_path)


@pytest.mark.parametrize(
    ("name", "cells", "labels"),
    [
        ("rte", ["entailment", "1", "not_entailment", "0"], [0, 1, 1, 0]),
        ("wnli", ["entailment", "1", "not_entailment", "0"], [1, 1, 0, 0]),
    ],
)
def test_labels_are_words_or_numbers_in_one_column(name, cells, labels, read):
    rows = [f"{row} | One. | Two. | {cell}" for row, cell in enumerate(cells)]
    assert read(join("index | sentence1 | sentence2 | label", *rows), name).labels.tolist() == labels
    words = join("a |  acceptable  |  | It came.", "a | 0 | * | It come.")
    assert read(words, "cola").labels.tolist() == [1, 0]


def test_columns_are_found_by_name_in_any_order(read):
    examples = read(join("label | sentence2 | more | sentence1", "entailment | Two. | x | One."), "rte")
    assert (examples.texts, examples.text_pairs, examples.labels.tolist()) == (["One."], ["Two."], [0])


# What differs between files


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
    assert examples.skipped == 0


def test_line_ends_of_windows_under_a_header(read):
    examples = read(b"index\tsentence1\tsentence2\tlabel\r\n0\tOne.\tTwo.\tentailment\r\n", "rte")
    assert (examples.texts, examples.text_pairs, examples.labels.tolist()) == (["One."], ["Two."], [0])
    assert read(b"index\tsentence\r\n0\tIt came.\r\n", split="test").texts == ["It came."]


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
    pairs = read(f"Quality\t#1 String\t#2 String\n1\t{sentence}\t{sentence}\n0\tYes.\tNo.\n".encode(), "mrpc")
    assert (pairs.texts, pairs.text_pairs) == ([sentence, "Yes."], [sentence, "No."])


# Rows with a field missing


@pytest.mark.parametrize(
    "broken", ["9 | 1 | 2 | Only one?", "9 | 1 | 2 | Is it? |   | 1", "9 | 1 | 2 | Is it? | Was it? | "]
)
def test_one_row_of_a_hundred_may_have_a_field_missing(broken, read):
    header = "id | qid1 | qid2 | question1 | question2 | is_duplicate"
    rows = [f"{row} | 1 | 2 | Is it {row}? | Was it {row}? | {row % 2}" for row in range(99)]
    examples = read(join(header, *rows[:40], broken, *rows[40:]), "qqp")
    assert (len(examples), examples.skipped) == (99, 1)
    assert examples.texts == [f"Is it {row}?" for row in range(99)]
    assert examples.text_pairs[40] == "Was it 40?"
    assert examples.labels.tolist() == [row % 2 for row in range(99)]
    with pytest.raises(TaskError) as raised:
        read(join(header, *rows[:40], broken, *rows[40:-1]), "qqp")
    assert "train.tsv, line 42: expected 6 columns with tabs between" in str(raised.value)
    assert str(raised.value).endswith("; 1 of 99 rows are like that.")


def test_a_row_of_another_width_is_left_out_of_a_large_cola_file(read):
    rows = [f"a | 1 |  | It came {row}." for row in range(198)]
    examples = read(join(*rows[:7], "a | 1 | It came.", *rows[7:], "a | 1 |  | It came. | extra"))
    assert (len(examples), examples.skipped) == (198, 2)
    assert examples.texts == [f"It came {row}." for row in range(198)]
    assert examples.take(3).skipped == 2


# Errors


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"a\t1\t\tIt came.\na\t0\tIt come.\n", "line 2: expected 4 columns with tabs between, "),
        (b"a\t1\t\tIt came.\na\t0\tIt come.\n", "got 3 columns; 1 of 2 rows are like that."),
        (b"a\t1\t\tIt came.\textra\n", "got 5 columns; 1 of 1 rows are like that."),
        (b"a\t1\t\tIt came.\n\n\na\n", "line 4: expected 4 columns with tabs between, "),
        (b"a\t1\t\tIt came.\na\t\t\tIt.\n", "line 2: expected 4 columns with tabs between, text and label not empty, "),
        (b"a\t1\t\tIt came.\na\t1\t\t  \n", "line 2: expected 4 columns with tabs between, text and label not empty, "),
        (b"\t\t\t\n", "line 1: expected 4 columns with tabs between, text and label not empty, "),
        (b"a\t2\t\tIt came.\n", "line 1: label '2' is not known; known: unacceptable, acceptable."),
        (b"a\t1\t\tIt came.\n\na\t-1\t\tIt.\n", "line 3: label '-1' is not known; known: unacceptable, acceptable."),
        (b"source\tlabel\tmark\tsentence\na\t1\t\tIt came.\n", "line 1: a header, and CoLA's train file has none"),
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


RTE_HEADER = "index | sentence1 | sentence2 | label"


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        (
            "rte",
            join("index | sentence1 | label", "0 | One. | entailment"),
            "line 1: RTE has a column 'sentence2', this file has 'index', 'sentence1', 'label'.",
        ),
        (
            "mrpc",
            join("Quality | #1 String | sentence2", "1 | One. | Two."),
            "line 1: MRPC has a column '#2 String', this file has 'Quality', '#1 String', 'sentence2'.",
        ),
        ("mnli", join(MNLI, f"0 | 1 | 1n | travel | {PARSES} | One. | Two."), "MNLI has a column 'gold_label', "),
        ("sst2", join("It came. | 1", "It went. | 0"), "SST-2 has a column 'sentence', this file has 'It came.', '1'."),
        (
            "rte",
            join(RTE_HEADER, "0 | One. | Two. | entailment", "1 | One. | Two. | neutral"),
            "line 3: label 'neutral' is not known; known: entailment, not_entailment.",
        ),
        (
            "mnli",
            join(f"{MNLI} | gold_label", f"0 | 1 | 1n | travel | {PARSES} | One. | Two. | -"),
            "line 2: label '-' is not known; known: entailment, neutral, contradiction.",
        ),
        (
            "stsb",
            join("sentence1 | sentence2 | score", "One. | Two. | 1.5", "One. | Two. | 1,5"),
            "line 3: expected a number as label, got '1,5'.",
        ),
        ("stsb", join("sentence1 | sentence2 | score", "One. | Two. | nan"), "expected a number as label, got 'nan'."),
        ("stsb", join("sentence1 | sentence2 | score", "One. | Two. | inf"), "expected a number as label, got 'inf'."),
        (
            "rte",
            join(RTE_HEADER, "0 | One. | entailment"),
            "line 2: expected 4 columns with tabs between, text and label not empty, got 3 columns; 1 of 1 rows",
        ),
        ("rte", join(RTE_HEADER) + b"0\tCaf\xe9.\tTwo.\tentailment\n", "line 2: not UTF-8"),
        ("rte", join(RTE_HEADER), " has no rows."),
    ],
)
def test_what_cannot_be_read_under_a_header_is_named(name, data, complaint, read, tmp_path):
    with pytest.raises(TaskError) as raised:
        read(data, name)
    message = str(raised.value)
    assert message.startswith(str(tmp_path / "train.tsv")) and "\n" not in message
    assert complaint in message


@pytest.mark.parametrize("name", GLUE)
def test_an_empty_file_has_no_rows(name, read, tmp_path):
    for data in (b"", b"\xef\xbb\xbf\n\r\n"):
        with pytest.raises(TaskError) as raised:
            read(data, name)
        assert str(raised.value) == f"{tmp_path / 'train.tsv'} has no rows."


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(TaskError, match=r"train\.tsv cannot be read: No such file or directory\.$"):
        read_official(tmp_path / "train.tsv", COLA, "train")


def test_folders_of_the_official_download(tmp_path):
    row = b"a\t1\t\tIt came.\n"
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "dev.tsv").write_bytes(row)
    assert COLA.load("dev", tmp_path).texts == ["It came."]
    assert COLA.load("dev", str(tmp_path / "CoLA")).texts == ["It came."]
    with pytest.raises(TaskError) as raised:
        COLA.load("train", tmp_path)
    assert str(raised.value) == f"no train rows of CoLA: expected {tmp_path / 'CoLA' / 'train.tsv'}."
    with pytest.raises(TaskError, match=r"^split 'validation' of cola is not known; known: train, dev, test\.$"):
        COLA.load("validation", tmp_path)


@pytest.mark.parametrize("name", GLUE)
def test_a_folder_may_have_the_title_or_the_name(name, tmp_path):
    task = get_task(name)
    for folder in (task.title, task.name):
        place = tmp_path / f"in-{folder}" / folder
        place.mkdir(parents=True)
        (place / "train.tsv").write_bytes(LAYOUTS[name][0])
        assert task.load("train", place.parent).texts == LAYOUTS[name][1]


# Real files


def read_plainly(path, column):
    """The cells of a named column, or of a numbered one where there is no header."""
    lines = [line for line in path.read_bytes().decode("utf-8-sig").split("\n") if line]
    rows = [line.split("\t") for line in lines]
    if isinstance(column, int):
        return [row[column] for row in rows]
    return [row[rows[0].index(column)] for row in rows[1:]]


@pytest.mark.parametrize(
    ("name", "split", "rows", "column", "first", "first_pair"),
    [
        (
            "cola",
            "train",
            8551,
            1,
            "Our friends won't buy this analysis, let alone the next one we propose.",
            None,
        ),
        ("cola", "dev", 1043, 1, "The sailors rode the breeze clear of the rocks.", None),
        (
            "mrpc",
            "train",
            3668,
            "Quality",
            'Amrozi accused his brother, whom he called "the witness", of deliberately distorting his evidence.',
            'Referring to him as only "the witness", Amrozi accused his brother of deliberately distorting his '
            "evidence.",
        ),
        (
            "mrpc",
            "dev",
            408,
            "Quality",
            "He said the foodservice pie business doesn't fit the company's long-term growth strategy.",
            '"The foodservice pie business does not fit our long-term growth strategy.',
        ),
        (
            "rte",
            "train",
            2490,
            "label",
            "No Weapons of Mass Destruction Found in Iraq Yet.",
            "Weapons of Mass Destruction Found in Iraq.",
        ),
        (
            "rte",
            "dev",
            277,
            "label",
            "Dana Reeve, the widow of the actor Christopher Reeve, has died of lung cancer at age 44, according to the "
            "Christopher Reeve Foundation.",
            "Christopher Reeve had an accident.",
        ),
        ("stsb", "train", 5749, "score", "A plane is taking off.", "An air plane is taking off."),
        ("stsb", "dev", 1500, "score", "A man with a hard hat is dancing.", "A man wearing a hard hat is dancing."),
    ],
)
def test_real_files(name, split, rows, column, first, first_pair, real_data):
    task = get_task(name)
    examples = task.load(split, real_data / "glue")
    assert (len(examples), examples.skipped) == (rows, 0)
    assert examples.texts[0] == first
    assert (examples.text_pairs[0] if first_pair else examples.text_pairs) == first_pair
    path = real_data / "glue" / task.title / f"{split}.tsv"
    numbers = {"entailment": 0, "not_entailment": 1}
    labels = [float(numbers.get(cell, cell)) for cell in read_plainly(path, column)]
    assert len(labels) == rows
    assert examples.labels.mean(dtype=np.float64) == pytest.approx(sum(labels) / rows, abs=1e-6)
    np.testing.assert_array_equal(examples.labels, np.array(labels, examples.labels.dtype))
    text = {"cola": 3, "mrpc": "#1 String"}.get(name, "sentence1")
    assert examples.texts == read_plainly(path, text)
    if first_pair:
        assert examples.text_pairs == read_plainly(path, "#2 String" if name == "mrpc" else "sentence2")


def test_means_of_real_labels(real_data):
    def mean(name, split):
        return get_task(name).load(split, real_data / "glue").labels.mean(dtype=np.float64)

    assert [mean("cola", split) for split in ("train", "dev")] == pytest.approx([0.70436, 0.69127], abs=1e-5)
    assert [mean("mrpc", split) for split in ("train", "dev")] == pytest.approx([2474 / 3668, 279 / 408], abs=1e-9)
    assert mean("rte", "dev") == pytest.approx(131 / 277, abs=1e-9)
    assert get_task("cola").load("train", real_data / "glue").columns["source"][0] == "gj04"


def test_starter_ships_with_the_package():
    starter = get_task("starter")
    train, dev = starter.load("train"), starter.load("dev")
    assert (len(train), len(dev), train.skipped, dev.skipped) == (2400, 800, 0, 0)
    assert train.groups.tolist() == [row // 2 for row in range(2400)]
    assert train.labels.mean() == dev.labels.mean() == 0.5
    with pytest.raises(TaskError, match=r"^split 'test' of starter is not known; known: train, dev\.$"):
        starter.load("test")


# tensorflow_datasets


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


@pytest.mark.parametrize(("name", "split", "wanted"), SPLITS_IN_TFDS)
def test_tfds_of_made_up_rows(name, split, wanted, monkeypatch):
    import tensorflow_datasets as tfds

    asked, load = [], tfds.load

    def listen(*args, **kwargs):
        asked.append((args, kwargs["split"]))
        return load(*args, **kwargs)

    monkeypatch.setattr(tfds, "load", listen)
    task = get_task(name)
    with tfds.testing.mock_data(num_examples=5):
        examples = task.load(split)
        rows = sorted(tfds.as_numpy(load(f"glue/{name}", split=wanted)), key=lambda row: row["idx"])
    assert asked == [((f"glue/{name}",), wanted)]
    assert (examples.task, examples.split, len(examples)) == (name, split, 5)
    assert examples.ids == [f"{split}-{row['idx']}" for row in rows]
    assert examples.texts == [row[task.text].decode() for row in rows]
    assert examples.text_pairs == ([row[task.text_pair].decode() for row in rows] if task.text_pair else None)
    assert examples.labels.dtype == (np.float32 if name == "stsb" else np.int32)
    without = np.nan if name == "stsb" else -1
    labels = [without if split == "test" else row["label"] for row in rows]
    np.testing.assert_array_equal(examples.labels, np.array(labels, examples.labels.dtype))


@pytest.mark.parametrize("name", GLUE)
def test_tfds_names_the_same_columns_and_classes(name):
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=1):
        features = tfds.builder(f"glue/{name}").info.features
    task = get_task(name)
    assert set(features) == {task.text, task.label, "idx"} | ({task.text_pair} if task.text_pair else set())
    assert tuple(getattr(features["label"], "names", ())) == task.label_names


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


@pytest.mark.parametrize("answer", ["refused", "silent", "no address"])
def test_a_download_without_a_network_is_one_line_at_once(answer, monkeypatch, tmp_path):
    """Of a server that refuses, of one that never accepts, and of a resolver that never answers."""
    import tensorflow_datasets as tfds

    def connect(self, address):
        if answer == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        if answer == "silent":
            time.sleep(self.gettimeout() or 60)
            raise TimeoutError("timed out")

    def resolve(host, port, *args, **options):
        if answer == "no address":
            time.sleep(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds, "load", functools.partial(tfds.load, data_dir=str(tmp_path)))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    start = time.monotonic()
    with pytest.raises(TaskError, match=r"^tensorflow_datasets cannot give glue/rte .*--data-dir\.$"):
        get_task("rte").load("train")
    assert time.monotonic() - start < 5


# Names


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("CoLA", "cola"),
        ("COLA", "cola"),
        ("SST-2", "sst2"),
        ("sst_2", "sst2"),
        ("SST", "sst2"),
        ("MRPC", "mrpc"),
        ("MSR", "mrpc"),
        ("QQP", "qqp"),
        ("STS-B", "stsb"),
        ("sts-b", "stsb"),
        ("STS", "stsb"),
        ("MNLI", "mnli"),
        ("mnli_matched", "mnli"),
        ("QNLI", "qnli"),
        ("RTE", "rte"),
        ("WNLI", "wnli"),
        ("Starter", "starter"),
        ("SQuAD", "squad2"),
        ("SQuAD 2.0", "squad2"),
        ("squad_1.1", "squad1"),
        ("squad2-answerable", "squad2_answerable"),
    ],
)
def test_names_of_tasks(spelling, name):
    assert get_task(spelling) is TASKS[name]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_names_and_titles_of_all_tasks(task):
    assert get_task(task) is get_task(task.name) is get_task(task.title) is task


def test_a_task_of_ones_own_is_returned_as_it_is():
    own = TaskSpec(name="mine", title="Mine")
    assert get_task(own) is own


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(TaskError) as raised:
        get_task("colla")
    assert str(raised.value) == (
        "task 'colla' is not known; known: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, starter, squad2, "
        "squad1, starter_qa, squad2_answerable."
    )


def test_outputs_of_each_task():
    assert {name: task.num_outputs for name, task in TASKS.items()} == {
        **dict.fromkeys(TASKS, 2),
        "stsb": 1,
        "mnli": 3,
    }
    assert [name for name, task in TASKS.items() if task.kind != "classification"] == [
        "stsb",
        "squad2",
        "squad1",
        "starter_qa",
    ]
    assert (TASKS["stsb"].kind, TASKS["squad2"].kind) == ("regression", "span")


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
