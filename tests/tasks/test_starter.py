"""The starter data: what the package ships, and what makes it a fair test of grammar."""

import os
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from types import SimpleNamespace

import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import starter

SHIPPED = files("bertvision_tf.tasks") / "data" / "starter"
FUNCTION_WORDS = {word.lower() for word in starter.FUNCTION_WORDS}


def read_words(sentence: str) -> list[str]:
    return re.findall(r"[a-z]+", sentence.lower())


def list_forms(entry: object) -> list[str]:
    """All forms of a word of the lexicon, and of the words that hang on it."""
    if isinstance(entry, str):
        return [entry.lower()]
    parts = vars(entry).values() if isinstance(entry, SimpleNamespace) else entry
    return [form for part in parts for form in list_forms(part)]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[starter.Row]]:
    return {split: starter.generate(split) for split in starter.SPLITS}


def test_shipped_files_are_the_generators(tmp_path):
    starter.write(tmp_path)
    for split in starter.SPLITS:
        assert (tmp_path / f"{split}.tsv").read_bytes() == (SHIPPED / f"{split}.tsv").read_bytes()


def test_sizes_and_balance(rows):
    assert {split: len(rows[split]) for split in rows} == {"train": 2400, "dev": 800}
    assert len(starter.PHENOMENA) == 9
    for column, split in enumerate(starter.SPLITS):
        counts = Counter((row.phenomenon, row.label) for row in rows[split])
        assert counts == {(p, label): starter.PAIRS[p][column] for p in starter.PHENOMENA for label in (0, 1)}


def test_sentences_are_unique_and_well_written(rows):
    sentences = [row.sentence for split in rows for row in rows[split]]
    assert len(set(sentences)) == 3200
    assert [s for s in sentences if not re.fullmatch(r"[A-Z][A-Za-z]*( [A-Za-z]+)+[.?]", s)] == []


def test_file_has_four_columns_of_cola():
    lines = (SHIPPED / "dev.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 800
    for line in lines:
        phenomenon, label, annotation, _ = line.split("\t")
        assert phenomenon in starter.PHENOMENA
        assert (label, annotation) in {("1", ""), ("0", "*")}


@pytest.mark.parametrize("split", starter.SPLITS)
def test_pairs_stand_together(rows, split):
    for first, second in zip(rows[split][::2], rows[split][1::2], strict=True):
        assert first.phenomenon == second.phenomenon
        assert {first.label, second.label} == {0, 1}
        one, other = Counter(read_words(first.sentence)), Counter(read_words(second.sentence))
        assert (one - other).total() <= 2 and (other - one).total() <= 2


def test_either_member_of_a_pair_may_come_first(rows):
    first_labels = [row.label for row in rows["train"][::2]]
    assert 0.45 < sum(first_labels) / len(first_labels) < 0.55


def test_splits_share_function_words_only(rows):
    train, dev = ({word for row in rows[split] for word in read_words(row.sentence)} for split in starter.SPLITS)
    assert train & dev <= FUNCTION_WORDS
    assert train | dev >= FUNCTION_WORDS


def test_lexicons_share_no_form(rows):
    forms = {}
    for split in starter.SPLITS:
        words = starter.read_lexicon(split)
        forms[split] = {form for kind in words if kind != "pronoun" for form in list_forms(words[kind])}
        assert {word for row in rows[split] for word in read_words(row.sentence)} <= forms[split] | FUNCTION_WORDS
        assert forms[split] & FUNCTION_WORDS == set()
    assert forms["train"] & forms["dev"] == set()


@pytest.mark.parametrize(
    ("category", "entry", "form", "expected"),
    [
        ("verb", "carry", "past", "carried"),
        ("verb", "carry", "s", "carries"),
        ("verb", "destroy", "s", "destroys"),
        ("verb", "take", "participle", "taken"),
        ("verb", "use", "ing", "using"),
        ("verb", "fix", "s", "fixes"),
        ("short", "happy", "more", "happier"),
        ("short", "brave", "more", "braver"),
    ],
)
def test_inflection(category, entry, form, expected):
    (word,) = {id(w): w for w in starter.read_lexicon("train")[category] if w.base == entry}.values()
    assert getattr(word, form) == expected


def test_seed_changes_the_rows_and_hash_seed_does_not(tmp_path):
    assert starter.generate("dev", seed=1) == starter.generate("dev", seed=1)
    assert starter.generate("dev", seed=1) != starter.generate("dev")
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        command = [sys.executable, "-m", "bertvision_tf.tasks.starter", str(folder)]
        done = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True)
        assert done.stdout == b""
        for split in starter.SPLITS:
            assert (folder / f"{split}.tsv").read_bytes() == (SHIPPED / f"{split}.tsv").read_bytes()


def test_unknown_split_names_the_known_ones():
    with pytest.raises(TaskError, match="train, dev, got 'test'"):
        starter.generate("test")
