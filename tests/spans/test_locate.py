"""Answers in characters → spans of tokens."""

import numpy as np
import pytest

from bertvision_tf.spans import locate_answers

# One question of two windows over "abc def ghi jkl": [CLS] q [SEP] … [SEP], with tokens abc, def, ghi and ghi, jkl.
CHAR_OFFSETS = np.array(
    [[-1, -1]] * 3 + [[0, 3], [4, 7], [8, 11], [-1, -1]] + [[-1, -1]] * 3 + [[8, 11], [12, 15]] + [[-1, -1]]
)
OFFSETS, QUESTIONS = np.array([0, 7, 13]), np.array([0, 0])


@pytest.mark.parametrize(
    ("answer", "spans"),
    [
        ((0, 3), [[3, 3], [0, 0]]),
        ((4, 11), [[4, 5], [0, 0]]),
        ((8, 11), [[5, 5], [3, 3]]),  # where windows overlap, both have it
        ((8, 15), [[0, 0], [3, 4]]),  # the first window ends inside it
        ((5, 6), [[4, 4], [0, 0]]),  # inside a token
        ((3, 7), [[4, 4], [0, 0]]),  # it begins with the space before a token
        (None, [[0, 0], [0, 0]]),
    ],
)
def test_each_window_says_where(answer, spans):
    found = locate_answers(OFFSETS, QUESTIONS, CHAR_OFFSETS, [answer])
    assert found.dtype == np.int32
    assert found.tolist() == spans


def test_an_empty_context_has_no_answer():
    nothing = np.full((4, 2), -1)
    assert locate_answers(np.array([0, 4]), np.array([0]), nothing, [(0, 3)]).tolist() == [[0, 0]]
