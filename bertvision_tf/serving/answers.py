"""Logits of starts and ends → the best answer of each question, inside a TensorFlow graph: `spans.decode` without its
further candidates."""

from __future__ import annotations

import tensorflow as tf

from ..spans.decode import LONGEST
from ..spans.locate import NO_ANSWER

MARKS = r"^(\p{Mn}*)(?s:.*)$"
SPACES = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"  # Python's


def find_answers(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    char_offsets: tf.Tensor,
    questions: tf.Tensor,
    contexts: tf.Tensor,
    threshold: float,
) -> dict[str, tf.Tensor]:
    """The best answer of each question over its windows, or none, as `Run.answer` gives it.

    Args:
        start_logits, end_logits: float32, (windows, tokens).
        char_offsets: int32, (windows, tokens, 2): characters of the context where a token begins and ends; −1 outside.
        questions: int32, (windows,), whose each is, in rising order.
        contexts: string, (questions,), UTF-8.
        threshold: up to which `null_score` − `score` is answered.

    Returns:
        answer: string, (questions,), "" for none; start, end: int32, its characters, −1 for none; score, null_score:
        float32, of the best span and of "no answer".
    """
    begins, ends = char_offsets[..., 0], char_offsets[..., 1]  # (windows, tokens)
    allowed = ends > begins
    lowest = start_logits.dtype.min
    starts = tf.where(allowed, start_logits, lowest)
    width = tf.shape(starts)[1]
    places = tf.range(width)[:, None] + tf.range(LONGEST)  # (tokens, LONGEST): the ends of each start
    inside = tf.gather(allowed, tf.minimum(places, width - 1), axis=1) & (places < width)  # (windows, tokens, LONGEST)
    last = tf.gather(end_logits, tf.minimum(places, width - 1), axis=1)
    scores = tf.where(inside & allowed[..., None], starts[..., None] + last, lowest)
    flat = tf.reshape(scores, (-1, width * LONGEST))
    best = tf.argmax(flat, axis=1, output_type=tf.int32)  # (windows,), the earliest of equals
    first = best // LONGEST
    second = tf.minimum(first + best % LONGEST, width - 1)
    per_window = tf.reduce_max(flat, axis=1)
    begin, end = tf.gather(begins, first, batch_dims=1), tf.gather(ends, second, batch_dims=1)

    count = tf.size(contexts)
    null_scores = tf.math.unsorted_segment_min(start_logits[:, NO_ANSWER] + end_logits[:, NO_ANSWER], questions, count)
    score = tf.math.unsorted_segment_max(per_window, questions, count)
    windows = tf.range(tf.size(questions))
    is_best = per_window >= tf.gather(score, questions)
    chosen = tf.math.unsorted_segment_min(tf.where(is_best, windows, tf.size(questions)), questions, count)
    chosen = tf.minimum(chosen, tf.maximum(tf.size(questions) - 1, 0))
    begin, end = tf.gather(begin, chosen), tf.gather(end, chosen)
    found = score > lowest  # an empty context has no span
    answers = found & (null_scores - score <= threshold)
    begin, end = _trim(contexts, tf.where(answers, begin, 0), tf.where(answers, end, 0))
    return {
        "answer": _cut(contexts, begin, tf.where(answers, end, begin)),
        "start": tf.where(answers, begin, -1),
        "end": tf.where(answers, end, -1),
        "score": score,
        "null_score": null_scores,
    }


def _trim(contexts: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A span with the marks that stand on its last letter, without white space around it, as `Candidate.find`."""
    after = _cut(contexts, end, _count(contexts))
    end += _count(tf.strings.regex_replace(after, MARKS, r"\1"))
    text = _cut(contexts, begin, end)
    begin += _count(text) - _count(tf.strings.regex_replace(text, f"^{SPACES}+", ""))
    end -= _count(text) - _count(tf.strings.regex_replace(text, f"{SPACES}+$", ""))
    return begin, end


def _cut(texts: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(texts, begin, tf.maximum(end - begin, 0), unit="UTF8_CHAR")


def _count(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(texts, unit="UTF8_CHAR")
