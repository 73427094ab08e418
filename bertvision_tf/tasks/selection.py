"""Selection rows: the part of train that no encoder and no head is trained on, and where every choice is made."""

import numpy as np

from ..errors import TaskError

FRACTION = 0.1
AT_LEAST = 200
SPLIT_SEED = 20220224  # fixed, so that no run's seed moves a row from one side to the other


def split_selection(
    labels: np.ndarray, groups: np.ndarray | None = None, stratify: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Splits row indices into training and selection rows: a tenth, at least 200 (at most half of a small file).

    Args:
        labels: (rows,), integer classes, or scores with `stratify=False`.
        groups: integer, (rows,); rows of one group stay on one side, and groups instead of classes give their share.
        stratify: whether each class gives its share.

    Returns:
        training and selection indices, each sorted int64.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    rows = len(labels)
    count = min(max(round(FRACTION * rows), AT_LEAST), rows // 2)
    if count < 1:
        raise TaskError(f"{rows} rows are too few to set selection rows aside.")
    if groups is not None and len(np.unique(groups)) > 1:
        splitter = GroupShuffleSplit(1, test_size=count / rows, random_state=SPLIT_SEED)
        training, selection = next(splitter.split(np.arange(rows), groups=groups))
        return np.sort(training), np.sort(selection)
    counts = np.unique(labels, return_counts=True)[1]
    stratify = stratify and counts.min() >= 2 and count >= len(counts)
    training, selection = train_test_split(
        np.arange(rows), test_size=count, random_state=SPLIT_SEED, stratify=labels if stratify else None
    )
    return np.sort(training), np.sort(selection)


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
