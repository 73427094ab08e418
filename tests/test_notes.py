import warnings

import pytest

import bertvision_tf as bv
from bertvision_tf import task_from_table
from bertvision_tf.errors import BertvisionError
from bertvision_tf.notes import Note, note


def test_a_note_is_a_warning_of_the_callers_line():
    table = {"text": [f"colour {row}" for row in range(20)], "label": ["a", "b"] * 10}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        note("one")
        task_from_table(table)
    assert [one.category for one in said] == [Note, Note]
    assert {one.filename for one in said} == {__file__}


def test_notes_can_be_silenced():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore", Note)
        note("one")
    assert said == []


def test_a_note_of_train_points_at_the_callers_line(tiny_encoder, tmp_path):
    table = {"text": [f"the cat {row}" for row in range(60)], "label": sorted(["a", "b", "c"] * 20)}
    task = bv.task_from_table(table, table, text="text", label="label", kind="classification", name="mine")
    with pytest.warns(Note) as said, pytest.raises(BertvisionError):
        bv.train(task, "/nowhere", limit=40, output=tmp_path / "run")
    assert {one.filename for one in said} == {__file__}
