"""Questions that are asked of another paragraph have no answer there."""

import dataclasses
import json

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError, RunError, TaskError
from bertvision_tf.notes import Note
from bertvision_tf.settings import RunSettings
from bertvision_tf.tasks import split_selection
from bertvision_tf.tasks.negatives import MARK, add_negatives

SUBJECTS = "cat dog bird horse mouse fox hen cow pig goat".split()


def make_articles(count=8, paragraphs=4):
    """Each paragraph tells where an animal was seen; the last of an article names the places of all."""
    data, random = [], np.random.default_rng(0)
    for article in range(count):
        own, places = [], []
        for part in range(paragraphs):
            subject, place = SUBJECTS[(article + part) % len(SUBJECTS)], f"town {article}{part}"
            places.append(place)
            context = f"The {subject} was seen in {place} on day {random.integers(9)}."
            if part == paragraphs - 1:
                context += f" Others were in {places[0]}."
            start = context.index(place)
            answers = [{"text": place, "answer_start": start}]
            ids = (f"{article}-{part}", f"{article}-{part}-x")
            own.append(
                {
                    "context": context,
                    "qas": [
                        {"id": ids[0], "question": f"Where was the {subject}?", "answers": answers},
                        {"id": ids[1], "question": "Who slept?", "answers": [], "is_impossible": True},
                    ],
                }
            )
        data.append({"title": f"article {article}", "paragraphs": own})
    return {"version": "v2.0", "data": data}


@pytest.fixture
def rows(tmp_path):
    for split in ("train", "dev"):
        (tmp_path / f"{split}-v2.0.json").write_text(json.dumps(make_articles()), encoding="utf-8")
    return bv.get_task("squad2").load("train", tmp_path)


def test_each_follows_its_question_and_has_no_answer(rows):
    more = add_negatives(rows, 1.0)
    assert len(more) == len(rows) + 32
    made = [place for place, name in enumerate(more.ids) if name.endswith(f"-{MARK}")]
    for place in made:
        question, other = place - 1, place
        assert more.ids[other] == f"{more.ids[question]}-{MARK}" and more.texts[other] == more.texts[question]
        assert more.text_pairs[other] != more.text_pairs[question]
        assert more.answers[question][0].text not in more.text_pairs[other]
        assert (more.answers[other], more.labels[other], more.labels[question]) == ((), 0, 1)
        assert more.columns["title"][other] == more.columns["title"][question]
        assert more.groups[other] == more.groups[question]
    kept = [place for place in range(len(more)) if place not in made]
    assert more.select(kept).fingerprint == rows.fingerprint


def test_the_draw(rows):
    few, more = (set(add_negatives(rows, share).ids) for share in (0.25, 0.5))
    assert few < more and len(few) == len(rows) + 8
    assert add_negatives(rows, 0.5).fingerprint == add_negatives(rows, 0.5).fingerprint
    assert add_negatives(rows, 0).fingerprint == rows.fingerprint


def test_no_article_is_trained_on_and_selects(rows):
    more = add_negatives(rows, 1.0)
    training, selection = split_selection(more.labels, more.kept_together, False, more.repeats)
    titles = np.array(more.columns["title"])
    assert not {*titles[training]} & {*titles[selection]}


def test_an_answer_that_stands_everywhere(rows):
    """The first question of an article, whose place each of its paragraphs names."""
    contexts = [
        f"{context} Town 00 again." if title == "article 0" else context
        for context, title in zip(rows.text_pairs, rows.columns["title"], strict=True)
    ]
    changed = dataclasses.replace(rows, text_pairs=contexts)
    with pytest.warns(Note, match="1 of 32 questions of squad2 are not asked of another context"):
        more = add_negatives(changed, 1.0)
    assert f"0-0-{MARK}" not in more.ids and len(more) == len(rows) + 31


def test_articles_of_one_paragraph_and_rows_of_one_article(rows):
    alone = [place for place, name in enumerate(rows.ids) if name.split("-")[1] == "0"]
    with pytest.raises(TaskError, match="can be asked of another paragraph of its article"):
        add_negatives(rows.select(alone), 1.0)
    article = [place for place, title in enumerate(rows.columns["title"]) if title == "article 0"]
    with pytest.raises(TaskError, match="all rows of squad2 are of one article"):
        add_negatives(rows.select(article), 1.0)


def test_the_answer_is_looked_for_as_the_scorer_compares_it(rows):
    """In the last paragraph of an article its first answer stands in other words."""
    contexts = [
        context.replace("town 00", "the Town,  00") if "Others" in context else context for context in rows.text_pairs
    ]
    more = add_negatives(dataclasses.replace(rows, text_pairs=contexts), 1.0)
    assert "Others" not in more.text_pairs[more.ids.index(f"0-0-{MARK}")]


def test_other_tasks_have_none():
    for name in ("starter", "squad2_answerable"):
        rows = bv.get_task("starter").load("train")
        with pytest.raises(TaskError, match="`negatives` needs questions that a part of a text answers, and"):
            add_negatives(dataclasses.replace(rows, task=name), 0.5)
    with pytest.raises(RunError, match="`negatives` needs a share from 0 to 1, got 2"):
        RunSettings().change(negatives=2)


def test_a_run_trains_on_them_and_its_rows_are_found_again(rows, tmp_path, tiny_encoder):
    options = {"data_dir": tmp_path, "seeds": 1, "max_length": 40, "fit": {"epochs": 1}, "store": tmp_path / "states"}
    plain = bv.train("squad2", tiny_encoder, output=tmp_path / "plain", head="learned_pooling", **options)
    run = bv.train("squad2", tiny_encoder, output=tmp_path / "more", head="learned_pooling", negatives=1, **options)
    count = lambda run: run.results["rows"]["training"] + run.results["rows"]["selection"]  # noqa: E731
    assert count(run) == count(plain) + 32
    assert run.results["rows"]["dev"] == plain.results["rows"]["dev"]
    task = bv.get_task("squad2")
    assert len(run.load_rows(task, tmp_path)[0]) == count(run)
    with pytest.raises(BertvisionError, match="`negatives` needs questions"):
        bv.train("starter", tiny_encoder, negatives=0.5, output=tmp_path / "no", store=tmp_path / "states")
