"""Selection rows: the part of train that no encoder and no head is trained on, and where every choice is made."""

import dataclasses
import hashlib
from bisect import bisect

import numpy as np

from ..errors import TaskError
from ..notes import note
from .examples import Examples

SELECTION = "selection"  # the split of these rows, where they stand alone

FRACTION = 0.1
AT_LEAST = 200
SPLIT_SEED = 20220224  # fixed, so that no run's seed moves a row from one side to the other
DRAWS = 100  # of groups, of which the one is taken that is most like the whole
NEAR = 0.1  # by how much of its size a single draw of groups may miss its size


def split_selection(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    stratify: bool = True,
    repeats: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Splits row indices into training and selection rows: a tenth, at least 200 (at most half of a small file).

    Args:
        labels: (rows,), integer classes, or scores with `stratify=False`.
        groups: integer, (rows,); rows of one group stay on one side, and groups instead of classes give their share.
            Where groups differ in their classes, as articles of few unanswerable questions do, both sides get each
            class if they can, in about the share that it has.
        stratify: whether each class gives its share.
        repeats: integer, (rows,), equal for rows of equal texts, which stay on one side.

    Returns:
        training and selection indices, each sorted int64.
    """
    from sklearn.model_selection import train_test_split

    rows = len(labels)
    count = min(max(round(FRACTION * rows), AT_LEAST), rows // 2)
    if count < 1:
        raise TaskError(f"{rows} rows are too few to set selection rows aside.")
    if groups is not None and len(np.unique(groups)) > 1:
        return split_groups(labels, groups, count / rows, stratify)
    counts = np.unique(labels, return_counts=True)[1]
    if stratify and not (counts.min() >= 2 and count >= len(counts)):
        note(
            f"the selection rows are drawn without regard to class: {(counts < 2).sum()} of {len(counts)} classes have "
            f"one row, and {count} rows are set aside."
        )
        stratify = False
    training, selection = train_test_split(
        np.arange(rows), test_size=count, random_state=SPLIT_SEED, stratify=labels if stratify else None
    )
    return join_repeats(labels, repeats, training, selection, stratify)


def join_repeats(
    labels: np.ndarray, repeats: np.ndarray | None, kept: np.ndarray, aside: np.ndarray, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Two sides that have no text in common: a row set aside whose text is on the other side too goes there, and one of
    its class whose text stands nowhere else takes its place. Where that would take many of those, whole groups of equal
    texts are drawn instead; a line says so where that sets fewer rows aside, or would lose a class.

    Args:
        labels: (rows,).
        repeats: integer, (rows,), equal for rows of equal texts; None where all differ.
        kept, aside: indices of the rows on each side.
        stratify: whether classes are looked at.

    Returns:
        both sides, each sorted int64.
    """
    if repeats is None:
        return np.sort(kept), np.sort(aside)
    shared = np.isin(repeats[aside], repeats[kept])
    single = (np.bincount(repeats)[repeats[kept]] == 1).sum()
    swapped = _swap(labels if stratify else np.zeros(len(labels)), repeats, kept, aside, shared)
    if len(swapped[1]) >= (1 - NEAR) * len(aside) and shared.sum() <= single / 2:
        return swapped
    apart = split_groups(labels, repeats, len(aside) / len(labels), stratify)
    if not stratify or all(len(np.unique(labels[side])) == len(np.unique(labels)) for side in apart):
        if len(apart[1]) < (1 - NEAR) * len(aside):
            note(f"{len(apart[1])} rows are set aside instead of {len(aside)}, since equal texts stay on one side.")
        return apart
    note(
        f"{shared.sum()} of {len(aside)} rows that are set aside have texts that stand among the others too: the "
        f"{len(np.unique(repeats))} different texts are too few to keep them apart."
    )
    return np.sort(kept), np.sort(aside)


def _swap(
    classes: np.ndarray, repeats: np.ndarray, kept: np.ndarray, aside: np.ndarray, shared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves the shared rows of one side to the other; the row of its class before it, if any, takes each's place."""
    single = kept[np.bincount(repeats)[repeats[kept]] == 1]
    free = {label: np.sort(single[classes[single] == label]).tolist() for label in np.unique(classes[aside])}
    moved, taken = aside[shared], []
    for row in np.sort(moved):
        if rows := free[classes[row]]:
            taken.append(rows.pop(max(bisect(rows, row) - 1, 0)))
    kept = np.concatenate([np.setdiff1d(kept, taken), moved])
    return np.sort(kept), np.sort(np.concatenate([aside[~shared], np.array(taken, np.int64)]))


def split_groups(
    labels: np.ndarray, groups: np.ndarray, share: float, stratify: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Sets whole groups aside: the draw, of many, that comes nearest to a share of the rows and of each class.

    Args:
        labels: (rows,).
        groups: integer, (rows,), of two values or more.
        share: of the rows.
        stratify: whether classes are looked at.

    Returns:
        the indices of the rows that stay, and of those set aside, each sorted.
    """
    from sklearn.model_selection import GroupShuffleSplit

    def draw(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        splitter = GroupShuffleSplit(count, test_size=share, random_state=SPLIT_SEED)
        return list(splitter.split(np.arange(len(labels)), groups=groups))

    kept, aside = draw(1)[0]
    wanted = share * len(labels)
    if (stratify and _differ_in_class(labels, groups)) or abs(len(aside) - wanted) > NEAR * wanted:
        classes = labels if stratify else np.zeros(len(labels))
        kept, aside = min(draw(DRAWS), key=lambda sides: _measure_unlikeness(classes, share, *sides))
    return np.sort(kept), np.sort(aside)


def split_folds(
    labels: np.ndarray, count: int, groups: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts of train that take turns as selection rows.

    Args:
        labels: (rows,), integer classes, or scores.
        count: of folds, 2 or more.
        groups: integer, (rows,), as for `split_selection`.

    Returns:
        of each fold training and selection indices, each sorted int64.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    units = len(labels) if groups is None else len(np.unique(groups))
    grouped, classes = groups is not None and units > 1, labels.ndim == 1 and labels.dtype.kind == "i"
    if (units if grouped else len(labels)) < count:
        raise TaskError(f"{len(labels)} rows are too few for {count} folds.")
    if classes and np.unique(labels, return_counts=True)[1].min() < count:
        note(f"the {count} folds are drawn without regard to class: some class has fewer rows than folds.")
        classes = False
    kind = {
        (True, True): StratifiedGroupKFold,
        (True, False): GroupKFold,
        (False, True): StratifiedKFold,
        (False, False): KFold,
    }[grouped, classes]
    splitter = kind(count, shuffle=True, random_state=SPLIT_SEED)
    parts = splitter.split(np.zeros(len(labels)), labels if classes else None, groups if grouped else None)
    return [(np.sort(training), np.sort(selection)) for training, selection in parts]


def take_selection(train: Examples, rows: np.ndarray) -> Examples:
    """The selection rows alone, as a split of their own.

    Args:
        train: the whole.
        rows: their indices.
    """
    return dataclasses.replace(train.select(rows), split=SELECTION)


def fingerprint_rows(rows: np.ndarray) -> str:
    """16 hexadecimal digits over row indices."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16]


def _differ_in_class(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Whether some group has another share of a class than another group."""
    sizes = np.bincount(groups)
    return any(np.ptp((np.bincount(groups, labels == label) / sizes.clip(1))[sizes > 0]) for label in np.unique(labels))


def _measure_unlikeness(labels: np.ndarray, share: float, kept: np.ndarray, aside: np.ndarray) -> float:
    """How far rows set aside are from a share of all, and from the classes' shares; more where a side lacks one."""
    classes = np.unique(labels)
    shares = [np.array([np.mean(labels[rows] == label) for label in classes]) for rows in (kept, aside)]
    lacking = sum(int((part == 0).sum()) for part in shares)
    return lacking + abs(len(aside) / len(labels) - share) + float(np.abs(shares[0] - shares[1]).max())


def take_shots(labels: np.ndarray, rows: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Draws `shots` of the rows of each class, or all of a class that has no more; sorted.

    Args:
        labels: integer, (rows,), of the whole file.
        rows: indices to draw from.
        shots: rows a class.
        seed: of the draw; the fewer are part of the more.
    """
    order = np.random.default_rng(seed).permutation(rows)
    drawn = [order[labels[order] == label][:shots] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(drawn))
