"""Which rows of train select and which are trained on; which of these a seed draws: all, a share of them, or a few of
each class; and what each counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ..errors import RunError
from ..settings import RowSettings
from ..tasks import Examples, TaskSpec, split_selection, take_shots


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """The training rows of a task, and what of them a seed draws. The fewer are part of the more.

    Attributes:
        labels: of all train rows.
        training: indices of the training rows.
        share: of them that a seed draws, above 0 and up to 1.
        shots: rows of each class that a seed draws instead; None for the share.
    """

    labels: np.ndarray
    training: np.ndarray
    share: float = 1.0
    shots: int | None = None

    @property
    def differs(self) -> bool:
        """Whether seeds draw different rows."""
        return self.shots is not None or self.share < 1

    def rows(self, seed: int) -> np.ndarray:
        """Indices of the rows that a seed is trained on, sorted."""
        if self.shots is not None:
            return take_shots(self.labels, self.training, self.shots, seed)
        if self.share == 1:
            return self.training
        count = max(round(self.share * len(self.training)), 1)
        return np.sort(np.random.default_rng(seed).permutation(self.training)[:count])


def check_draw(task: TaskSpec, share: float, shots: int | None) -> None:
    """Raises RunError where a task's training rows cannot be drawn so."""
    RowSettings(train_share=share, shots=shots)
    if shots is not None and not task.kind.single:
        raise RunError(f"`shots` needs a task of single classes, {task.name} is a {task.kind}.")


def check_rows(task: TaskSpec, draw: Draw, seeds: Iterable[int]) -> None:
    """Raises RunError where a seed draws training rows of fewer than two classes."""
    for seed in seeds if task.kind.single else ():
        rows = draw.rows(seed)
        held = sorted({label for label in draw.labels[rows].tolist() if label >= 0})
        if len(held) < 2:
            which = f" that seed {seed} draws" if draw.differs else ""
            classes = f"one class only, {task.label_names[held[0]]!r}" if held else "no class"
            raise RunError(
                f"the training rows of {task.name}{which} ({len(rows)}) hold {classes}: there is nothing to learn; "
                "take more rows."
            )


def balance(labels: np.ndarray, classes: int) -> dict[int, float]:
    """Weights with which every class that occurs counts the same, and a row counts 1 in the mean."""
    counts = np.bincount(labels, minlength=classes)
    return {place: len(labels) / ((counts > 0).sum() * count) if count else 1.0 for place, count in enumerate(counts)}


def split_task(task: TaskSpec, train: Examples) -> tuple[np.ndarray, np.ndarray]:
    """The training and the selection rows of a task: stratified by label where it has classes, or by whether there is
    an answer."""
    if task.kind.single:
        held = np.unique(train.labels[train.labels >= 0])
        if len(held) < 2:
            raise RunError(
                f"the {len(train)} rows of {task.name} {train.split} hold {len(held)} of {len(task.label_names)} "
                "classes: there is nothing to tell apart; take more rows with --limit, or shuffle the file."
            )
    return split_selection(train.labels, train.kept_together, task.kind.stratified, train.repeats)


def draw_sample(roles: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Draws rows of train, of each role its share, always the same.

    Args:
        roles: the training and the selection rows.
        count: how many; all if there are no more.

    Returns:
        the rows, sorted, and the places among them of the training and of the selection rows.
    """
    whole, random = sum(map(len, roles)), np.random.default_rng(0)
    shares = [min(-(-count * len(role) // whole), len(role)) for role in roles]
    parts = [random.permutation(role)[:share] for role, share in zip(roles, shares, strict=True)]
    drawn = np.sort(np.concatenate(parts))
    training, selection = (np.flatnonzero(np.isin(drawn, part)) for part in parts)
    return drawn, (training, selection)
