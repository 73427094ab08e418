"""SQuAD's JSON files, tensorflow_datasets' SQuAD, and the user's own table of questions → `Examples` with answers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TaskError
from ..kinds.cells import SWITCH, is_no_value
from ..notes import note
from ..paths import read_object
from .examples import Answer, Examples
from .files import read_text
from .readers import MISSING_AT_MOST, load_tfds_rows
from .tables import Table, find_column, read_table
from .values import NESTED

if TYPE_CHECKING:
    from .spec import TaskSpec

PRINTED = re.compile(r"""[\[{(].*[\]})]|[\w.]+\(.*\)|(["']).*\1""", re.DOTALL)  # a value as a program writes it
Question = Mapping[str, Any]  # id, question, context, title, answers, has_answer
COLUMNS = {
    "id": ("id",),
    "title": ("title",),
    "question": ("question",),
    "context": ("context", "passage"),
    "answers": ("answers", "answer"),
    "answer_start": ("answer_start", "start"),
    "is_impossible": ("is_impossible",),
}
IMPOSSIBLE = {"": False} | SWITCH


def read_squad(path: Path, task: TaskSpec, split: str) -> Examples:
    """Reads a file in SQuAD's JSON format, 1.1 or 2.0.

    Raises:
        TaskError: it is no such file, an id stands there twice, or answers do not stand in their contexts; it names
            the place.
    """
    try:
        content = json.loads(read_text(path), object_pairs_hook=read_object)
    except json.JSONDecodeError as error:
        raise TaskError(f"{path}, line {error.lineno}: no JSON ({error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} cannot be read: {error}.") from None
    return build_questions(list(_walk(content, path)), task, split, str(path))


def _walk(content: Any, path: Path) -> Iterator[Question]:
    place = "the file"
    try:
        for number, article in enumerate(content["data"]):
            place = f"article {number}"
            for part, paragraph in enumerate(article["paragraphs"]):
                place = f"article {number}, paragraph {part}"
                context = paragraph["context"]
                for question in paragraph["qas"]:
                    place = f"article {number}, paragraph {part}, question {question.get('id')!r}"
                    answers = [Answer(answer["text"], int(answer["answer_start"])) for answer in question["answers"]]
                    texts = (context, question["question"], *(answer.text for answer in answers))
                    if not all(isinstance(text, str) for text in texts):
                        raise TypeError("something is no text")
                    yield {
                        "id": str(question["id"]),
                        "question": question["question"],
                        "context": context,
                        "title": str(article.get("title", number)),
                        "answers": [] if question.get("is_impossible") else answers,
                        "has_answer": question.get("is_impossible") is False,
                    }
    except KeyError as error:
        raise TaskError(f"{path}: {place} has no {error.args[0]!r}: expected SQuAD's JSON.") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise TaskError(f"{path}: {place} is not as in SQuAD's JSON ({error}).") from None


def load_squad_from_tfds(task: TaskSpec, split: str) -> Examples:
    """Reads SQuAD through tensorflow_datasets, which downloads it once.

    Raises:
        TaskError: it cannot be had, as without a network.
    """
    questions = []
    for row in load_tfds_rows(task.tfds, {"dev": "validation"}.get(split, split), task.find_name(split)):
        answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=False)
        questions.append(
            {
                **{name: row[name].decode("utf-8") for name in ("id", "question", "context", "title")},
                "answers": [Answer(text.decode("utf-8"), int(start)) for text, start in answers],
            }
        )
    return build_questions(questions, task, split, task.tfds, check=False)


def build_questions(
    questions: Sequence[Question], task: TaskSpec, split: str, name: str, check: bool = True
) -> Examples:
    """Questions as rows, checked: each answer stands in its context, where it says or else at the nearest place.

    Of train, questions none of whose answers stands in the context are left out and counted, if they are few; other
    splits keep the texts of such answers, since they are scored by them.

    Args:
        questions: each with id, question, context, title and answers; has_answer where that was said.
        task, split: whose they are.
        name: of the file, for errors.
        check: whether train answers must stand in their contexts.

    Raises:
        TaskError: there are none, an id stands there twice, a question is empty, or more than one of a hundred train
            answers does not stand in its context.
    """
    if not questions:
        raise TaskError(f"{name} has no questions.")
    seen: set[str] = set()
    kept, lost = [], []
    for question in questions:
        where = f"question {question['id']!r}"
        if question["id"] in seen:
            raise TaskError(f"{name}: the id {question['id']!r} stands there twice.")
        seen.add(question["id"])
        if not question["question"].strip():
            raise TaskError(f"{name}, {where}: the question is empty.")
        answers = [_place_answer(answer, question["context"]) for answer in question["answers"] if answer.text.strip()]
        if check and split == "train" and answers and all(answer.start < 0 for answer in answers):
            lost.append(f"{where}: its answer {answers[0].text!r} does not stand in its context")
        else:
            kept.append({**question, "answers": tuple(answers)})
    if len(lost) > MISSING_AT_MOST * len(questions):
        hint = " If the answers are classes, name the --kind." if task.source == "rows" else ""
        raise TaskError(f"{name}, {lost[0]}; so with {len(lost)} of {len(questions)} questions.{hint}")
    _say_doubts(kept, f"of {len(questions)} questions of {split}", name)
    titles = [question["title"] for question in kept]
    return Examples(
        task=task.name,
        split=split,
        ids=[question["id"] for question in kept],
        texts=[question["question"] for question in kept],
        text_pairs=[question["context"] for question in kept],
        labels=np.array([bool(question["answers"]) for question in kept], np.int32),
        columns={"title": titles},
        groups=_group(titles, [question["context"] for question in kept]),
        skipped=len(lost),
        answers=[question["answers"] for question in kept] if task.kind.answers else None,
    )


def _say_doubts(questions: Sequence[Question], among: str, name: str) -> None:
    """Says how many answers cannot be found, or are missing."""
    absent = sum(all(answer.start < 0 for answer in one["answers"]) for one in questions if one["answers"])
    if absent:
        note(f"{name}: {absent} {among} have no answer that stands in its context: none of them can be found.")
    claimed = sum(bool(one.get("has_answer")) and not one["answers"] for one in questions)
    if claimed:
        note(f"{name}: {claimed} {among} are said to have an answer and none is given: they are taken to have none.")


def _group(titles: Sequence[str], contexts: Sequence[str]) -> np.ndarray:
    """Rows of one title, or of one context, together: int32, (rows,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(titles)
    named = [text or f"no context {row}" for row, text in enumerate(contexts)]
    of_title = np.unique(titles, return_inverse=True)[1]
    of_context = np.unique(np.array(named, object), return_inverse=True)[1]
    joined = coo_array((np.ones(count), (of_title, count + of_context)), shape=(2 * count, 2 * count))
    return connected_components(joined, directed=False)[1][of_title]


def read_question_table(source: Any, task: TaskSpec, split: str) -> Examples:
    """Reads a table of the user's: columns question, context and answers (or answer); id, title, answer_start and
    is_impossible if there are any.

    A cell of answers is a text; or JSON, as lists in other formats become: a list of texts, a list of objects with
    text and answer_start, or an object of two lists, text and answer_start. One that is empty says that there is no
    answer; so does a column is_impossible, where it is true. Without a start an answer is taken where it stands first.
    Rows of one title, or of one context where there are no titles, stay together when train is split.

    Raises:
        TaskError: a column is missing, a cell cannot be read, or what `build_questions` finds.
    """
    table = read_table(source, lists_as_json=True)
    found = find_columns(table.header)
    for what in ("question", "context", "answers"):
        if found[what] is None:
            raise TaskError(f"{table.name} has no column {what!r}; it has {', '.join(map(repr, table.header))}.")
    count = len(table)
    nested = ("answers", "answer_start")
    cells = {
        what: table.column(name, NESTED if what in nested else ()) if name else [""] * count
        for what, name in found.items()
    }
    questions, known = [], dict[str, str]()  # so that equal contexts are one text in memory
    for row, texts in enumerate(zip(*cells.values(), strict=True)):
        cell = dict(zip(cells, texts, strict=True))
        cell["context"] = known.setdefault(cell["context"], cell["context"])
        questions.append(
            {
                "id": cell["id"] or f"{split}-{row}",
                "question": cell["question"],
                "context": cell["context"],
                "title": cell["title"] or cell["context"],
                "answers": _read_row(table, row, cell),
                "has_answer": SWITCH.get(cell["is_impossible"].strip().lower()) is False,
            }
        )
    rows = build_questions(questions, task, split, table.name)
    return rows if found["title"] else dataclasses.replace(rows, columns={})


def find_columns(header: Sequence[str]) -> dict[str, str | None]:
    """Which column of a table is which of COLUMNS; None of those that are not there."""
    return {what: find_column(header, names) for what, names in COLUMNS.items()}


def is_question_table(header: Sequence[str]) -> bool:
    """Whether columns of these names hold questions, contexts and answers, and none holds labels."""
    labelled = find_column(header, ("label", "labels")) is not None
    return not labelled and all(find_column(header, COLUMNS[what]) for what in ("question", "context", "answers"))


def _read_row(table: Table, row: int, cells: Mapping[str, str]) -> list[Answer]:
    """The answers of one row, whose cells are named as COLUMNS. What looks like a value of a program and no text is one
    only where it stands in the context."""
    place = f"{table.name}, line {table.lines[row]}"
    impossible = IMPOSSIBLE.get(cells["is_impossible"].strip().lower())
    if impossible is None:
        raise TaskError(f"{place}: is_impossible needs true or false, got {cells['is_impossible'][:40]!r}.")
    cell, start, text = cells["answers"], cells["answer_start"], cells["answers"].strip()
    if impossible or not text:
        return []
    shown, stands, content = repr(cell if len(cell) <= 80 else f"{cell[:80]}…"), text in cells["context"], None
    if text[0] in "[{":
        with contextlib.suppress(ValueError):
            content = json.loads(text)
    if is_no_value(text):  # even where the context has it: nothing tells a mark from an answer
        raise TaskError(
            f"{place}: answers {shown} may say that there is none; leave the cell empty, or write a list of JSON, as "
            f"{json.dumps([text])}, if it is an answer."
        )
    if content is None and not stands and PRINTED.fullmatch(text):
        raise TaskError(
            f"{place}: answers {shown} are no text of the context, but a value as Python prints it; write them as "
            "JSON, or nothing where there is no answer."
        )
    for answers in ([cell],) if content is None else (content, [cell]) if stands else (content,):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return _pair_answers(answers, start)
    raise TaskError(f"{place}: answers {shown} with start {start!r} cannot be read.")


def _pair_answers(content: Any, start: str) -> list[Answer]:
    """Answers of JSON's forms; `start` holds a number, or a list of them, for those that are texts alone."""
    if isinstance(content, dict):
        found = list(zip(_as_list(content["text"]), _as_list(content["answer_start"]), strict=True))
    elif any(isinstance(one, dict) for one in content):
        found = [(one["text"], one.get("answer_start", 0)) for one in content]
    else:
        found = list(zip(content, _as_list(json.loads(start)) if start else [0] * len(content), strict=True))
    if not all(isinstance(text, str) and float(at).is_integer() for text, at in found):
        raise ValueError("an answer is no text, or its start no whole number")
    return [Answer(text, int(float(at))) for text, at in found]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _place_answer(answer: Answer, context: str) -> Answer:
    """The answer with a start at which it stands, the nearest to what it says; −1 where there is none."""
    if answer.start >= 0 and context.startswith(answer.text, answer.start):
        return answer
    said = max(answer.start, 0)
    before, after = context.rfind(answer.text, 0, said + len(answer.text)), context.find(answer.text, said)
    found = [start for start in (before, after) if start >= 0]
    return Answer(answer.text, min(found, key=lambda start: abs(start - said), default=-1))
