"""The starter questions: what the package ships, and what makes them a fair test of reading."""

import re

import pytest

from bertvision_tf.tasks import get_task
from bertvision_tf.tasks.starter_qa import SPLITS, generate, write


@pytest.fixture(scope="module")
def rows():
    task = get_task("starter_qa")
    return {split: task.load(split) for split in SPLITS}


def test_the_shipped_files_are_what_the_generator_writes(tmp_path):
    from bertvision_tf import tasks

    write(tmp_path)
    for split in SPLITS:
        name = f"{split}-v2.0.json"
        shipped = next(iter(tasks.__path__)) + f"/data/starter_qa/{name}"
        with open(shipped, "rb") as stream:
            assert stream.read() == (tmp_path / name).read_bytes()
    assert generate("dev", seed=1) != generate("dev")


def test_sizes_and_shares(rows):
    assert len(rows["train"]) + len(rows["dev"]) >= 2000
    for part in rows.values():
        assert part.labels.mean() == pytest.approx(2 / 3)
        assert part.skipped == 0 and part.groups is not None


def test_every_answer_stands_where_it_says(rows):
    for part in rows.values():
        for context, answers in zip(part.text_pairs, part.answers, strict=True):
            for answer in answers:
                assert context[answer.start :].startswith(answer.text)
                assert len(re.findall(rf"\b{re.escape(answer.text)}\b", context)) >= 1


def test_no_name_stands_in_both(rows):
    """Capitalised words that are no beginnings of sentences and no months."""
    found = {}
    for split, part in rows.items():
        words = {word for context in part.text_pairs for word in re.findall(r"(?<![.] )(?<!^)\b[A-Z][a-z]+", context)}
        found[split] = words
    months = set("January February March April May June July August September October November December".split())
    assert found["train"] & found["dev"] <= months | {"Bridge", "Sons", "Daughters", "The"}


def test_no_question_is_asked_twice_of_a_passage(rows):
    for part in rows.values():
        asked = list(zip(part.texts, part.text_pairs, strict=True))
        assert len(set(asked)) == len(asked)


def test_what_cannot_be_answered_names_someone_of_the_passage(rows):
    part = rows["dev"]
    for question, context, answers in zip(part.texts, part.text_pairs, part.answers, strict=True):
        if not answers:
            names = re.findall(r"[A-Z][a-z]+(?: [A-Z&][a-z]*)*", question.replace("'s", ""))
            assert any(name in context for name in names[1:] or names), question
