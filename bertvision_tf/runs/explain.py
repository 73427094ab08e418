"""One text as the image that a run's head reads, and what of it decides."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..reports.plots import draw_image
from ..spans.decode import LONGEST, find_best
from ..spans.locate import NO_ANSWER, find_allowed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..encoders import Windows


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """The (layers, tokens) pictures of one text, or of the window of a context that the answer is read from.

    Attributes:
        prediction: what the run says of the text.
        tokens: the text's tokens, special ones among them.
        layers: what each hidden state is called: its index in the encoder, or "pooler".
        norms: float32, (layers, tokens), the length of each hidden state.
        similarities: float32, (layers, tokens), each state's cosine with that of the same token in the layer kept
            below; no number in the lowest layer and in the pooler's output.
        saliency: float32, (layers, tokens), as `compute_saliency` gives it.
        decision: what the saliency speaks for and against.
    """

    prediction: str
    tokens: list[str]
    layers: list[str]
    norms: np.ndarray
    similarities: np.ndarray
    saliency: np.ndarray
    decision: str

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        stream = io.BytesIO()
        self.plot().savefig(stream, format="png", dpi=80)
        return stream.getvalue()

    def plot(self) -> Figure:
        """The three pictures one above the other, the lowest layer at the bottom."""
        return draw_image(
            {
                "length of each state": self.norms,
                "cosine with the layer kept below": self.similarities,
                self.decision: self.saliency,
            },
            self.layers,
            self.tokens,
        )


def compute_norms(states: np.ndarray) -> np.ndarray:
    """Length of each state: (layers, tokens, hidden) → float32 (layers, tokens)."""
    return np.linalg.norm(states.astype(np.float32), axis=-1)


def compute_similarities(states: np.ndarray, pooler: bool) -> np.ndarray:
    """Each state's cosine with that of the same token in the layer below: (layers, tokens, hidden) → float32 (layers,
    tokens); no number where there is none below, as for the pooler's output, which is the first then."""
    directions = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    cosines = np.full(states.shape[:2], np.nan, np.float32)
    cosines[1 + pooler :] = (directions[1 + pooler :] * directions[int(pooler) : -1]).sum(axis=-1)
    return cosines


def choose_window(
    logits: Sequence[np.ndarray], windows: Windows, context: str, answered: bool
) -> tuple[int, tuple[int, int]]:
    """The window that an answer is read from, and its first and last token there; of "no answer" the window in which
    that scores least, which counts, and the first token.

    Args:
        logits: of each window, (tokens, 2).
        windows: of one question.
        context: its.
        answered: whether there is an answer.
    """
    if not answered:
        return int(np.argmin([part[NO_ANSWER].sum() for part in logits])), (NO_ANSWER, NO_ANSWER)
    allowed = find_allowed(windows.offsets, windows.questions, windows.char_offsets, [context])
    best = []
    for window, part in enumerate(logits):
        rows = slice(windows.offsets[window], windows.offsets[window + 1])
        starts, ends = part.astype(np.float64).T
        found = find_best(starts, ends, allowed[rows], 1, LONGEST)
        best += [(score, window, first, last) for score, first, last in found]
    _, window, first, last = max(best)
    return window, (first, last)
