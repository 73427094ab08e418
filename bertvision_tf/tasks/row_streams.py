"""Rows that come one by one → rows of Python values by the names of their columns.

They come from a list or a generator of mappings or tuples, a streamed Dataset of Hugging Face, or a `tf.data.Dataset`
of texts and labels, in batches or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import TaskError
from .frames import find_class_names, name_class

NAMES = {2: ("text", "label"), 3: ("text", "text_pair", "label")}  # of the parts of a row that has none


class RowStream:
    """Rows of any of these sources, each a mapping of its values by the names of their columns.

    Args:
        source: see the module; a generator is read once, and so is the stream.
    """

    def __init__(self, source: Any):
        self._rows = iter(_walk(source))

    @property
    def header(self) -> list[str]:
        """The names of the columns of the first row; none where there is no row."""
        first = next(self._rows, None)
        if first is None:
            return []
        self._rows = itertools.chain([first], self._rows)
        return list(first)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self._rows


def is_row_stream(source: Any) -> bool:
    """Whether something has rows that come one by one."""
    if is_tf_dataset(source) or _is_streamed(source):
        return True
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes)):
        return bool(len(source)) and isinstance(source[0], (Mapping, tuple))
    return isinstance(source, Iterator) and not hasattr(source, "read")


def hold_rows(source: Any, always: bool = False) -> Any:
    """A source that can be read as often as a task reads it: of questions twice.

    Args:
        source: any; what is read only once becomes a RowStream, or a list where its rows are questions.
        always: make it a list in any case.
    """
    from .squad import is_question_table

    if not isinstance(source, Iterator) or not is_row_stream(source):
        return source
    stream = RowStream(source)
    return list(stream) if always or is_question_table(stream.header) else stream


def is_tf_dataset(source: Any) -> bool:
    """Whether something is a `tf.data.Dataset`; TensorFlow is not imported for it."""
    return hasattr(source, "element_spec") and hasattr(source, "as_numpy_iterator")


def walk_texts(dataset: Any) -> Iterator[str]:
    """The texts of a `tf.data.Dataset` of texts alone.

    Raises:
        TaskError: it holds something else.
    """
    if not hasattr(dataset.element_spec, "dtype"):
        raise TaskError(
            "the tf.data.Dataset holds more than texts: map it to them, as dataset.map(lambda text, label: text)."
        )
    for row in _walk_tf_dataset(dataset):
        (text,) = row.values()
        if not isinstance(text, str):
            raise TaskError(f"the tf.data.Dataset holds {type(text).__name__}, expected texts.")
        yield text


def _is_streamed(source: Any) -> bool:
    """Whether it is a streamed Dataset of Hugging Face; a data frame that is not computed yet has other names."""
    return hasattr(source, "column_names") and hasattr(source, "features") and not hasattr(source, "__len__")


def _walk(source: Any) -> Iterator[Mapping[str, Any]]:
    if is_tf_dataset(source):
        return _walk_tf_dataset(source)
    if _is_streamed(source):
        return _walk_streamed(source)
    return (_name_parts(row, number) for number, row in enumerate(source, start=1))


def _name_parts(row: Any, number: int) -> Mapping[str, Any]:
    """A row as a mapping.

    Raises:
        TaskError: it is none, and no tuple of a text, a second text and a label.
    """
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return dict(zip(row._fields, row, strict=True))
    if isinstance(row, (tuple, list)):
        parts = [part for one in row for part in (one if isinstance(one, tuple) else [one])]
        if len(parts) in NAMES:
            return dict(zip(NAMES[len(parts)], parts, strict=True))
        raise TaskError(
            f"row {number} has {len(parts)} parts, expected a text, or two, and a label; or name them in a dict."
        )
    raise TaskError(f"row {number} is a {type(row).__name__}, expected a dict, or a tuple of a text and a label.")


def _walk_streamed(source: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a streamed Dataset, its classes by their names."""
    names = find_class_names(source.features or {})
    for row in source.with_format(None):
        yield {column: name_class(value, names[column]) if column in names else value for column, value in row.items()}


def _walk_tf_dataset(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a dataset of mappings, of tuples, or of texts alone; a batch has as many rows as its first part."""
    _check_parts(dataset.element_spec, "the element")
    for number, element in enumerate(dataset.as_numpy_iterator(), start=1):
        named = {"text": element} if not isinstance(element, (Mapping, tuple)) else _name_parts(element, number)
        values = {name: _to_python(value, name, number) for name, value in named.items()}
        if not isinstance(next(iter(values.values()), None), list):
            yield values
            continue
        lengths = {len(value) if isinstance(value, list) else 1 for value in values.values()}
        if len(lengths) > 1:
            raise TaskError(f"the parts of batch {number} of the tf.data.Dataset differ in length: {sorted(lengths)}.")
        for row in zip(*values.values(), strict=True):
            yield dict(zip(values, row, strict=True))


def _check_parts(spec: Any, name: str) -> None:
    """Raises TaskError where a part of what a dataset holds is no tensor, dense or ragged."""
    parts = spec.items() if isinstance(spec, Mapping) else enumerate(spec) if isinstance(spec, tuple) else ()
    for place, part in parts:
        _check_parts(part, repr(place))
    if not isinstance(spec, (Mapping, tuple)) and type(spec).__name__ not in ("TensorSpec", "RaggedTensorSpec"):
        raise TaskError(f"{name} of the tf.data.Dataset is a {type(spec).__name__}: make it dense first.")


def _to_python(value: Any, name: str, number: int) -> Any:
    """A value of numpy as Python's, bytes as text."""
    try:
        return _decode(value)
    except UnicodeDecodeError:
        raise TaskError(
            f"{name!r} of element {number} of the tf.data.Dataset holds bytes that are not UTF-8."
        ) from None


def _decode(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):  # of a ragged tensor it holds arrays
        return [_decode(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value
