"""Kinds of tasks: what differs between classes, scores, several labels and answers in a text, one object each."""

from collections.abc import Iterable

from ..errors import TaskError
from .answers import AnswerGold, AnswerPredictions
from .cells import SEPARATOR
from .classes import Classes
from .gold import Gold, LabelGold
from .kind import Kind
from .label_sets import LabelSets
from .scores import Scores
from .spans import SPAN_LOGITS, Spans

CLASSIFICATION = Classes("classification")
REGRESSION = Scores("regression")
MULTILABEL = LabelSets("multilabel")
SPAN = Spans("span")
KINDS: tuple[Kind, ...] = (CLASSIFICATION, REGRESSION, MULTILABEL, SPAN)


def find_kind(name: str, known: Iterable[Kind] = KINDS) -> Kind:
    """The kind of a name.

    Raises:
        TaskError: it is none of those known.
    """
    found = {str(kind): kind for kind in known}
    if not isinstance(name, str) or name not in found:
        raise TaskError(f"task kind {name!r} is not known; known: {', '.join(found)}.")
    return found[name]


__all__ = [
    "CLASSIFICATION",
    "KINDS",
    "MULTILABEL",
    "REGRESSION",
    "SEPARATOR",
    "SPAN",
    "SPAN_LOGITS",
    "AnswerGold",
    "AnswerPredictions",
    "Gold",
    "Kind",
    "LabelGold",
    "find_kind",
]
