"""Messages of errors."""

import pytest

from bertvision_tf.errors import LONGEST, BertvisionError, BusyError, StoreError, find_reason, write_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain, ä 名前 😀", "plain, ä 名前 😀"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("a\x1b[31mred\x07", r"a\x1b[31mred\x07"),
        ("half \ud83d", r"half \ud83d"),
        ("\u2028 and \u202e turned", r"\u2028 and \u202e turned"),
        (
            "no-break\u00a0space, wide\u3000space, joined\u200dletters",
            "no-break\u00a0space, wide\u3000space, joined\u200dletters",
        ),
    ],
)
def test_a_message_is_one_line_that_a_terminal_shows(message, line):
    assert write_line(message) == str(BertvisionError(message)) == str(StoreError(message)) == line


def test_a_long_message_keeps_its_beginning_and_its_end():
    line = write_line("begin " + "x" * 10 * LONGEST + " end")
    assert line.startswith("begin ")
    assert line.endswith(" end")
    assert LONGEST * 0.9 < len(line) < LONGEST


def test_another_error_says_its_first_line_or_its_name():
    assert find_reason(ValueError("\n one\ntwo")) == "one"
    assert find_reason(KeyError()) == "KeyError"
    assert BusyError("busy", holder=7).holder == 7
