"""One text as the image that a run's head reads, and what of it decides."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..reports.plots import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """The (layers, tokens) pictures of one text, or of the window of a context that the answer is read from.

    Attributes:
        prediction: what the run says of the text.
        tokens: the text's tokens, special ones among them.
        layers: what each hidden state is called: its index in the encoder, or "pooler".
        norms: float32, (layers, tokens), the length of each hidden state.
        similarities: float32, (layers, tokens), each state's cosine with that of the same token one layer below; of
            the lowest layer 1.
        saliency: float32, (layers, tokens), as `compute_saliency` gives it.
    """

    prediction: str
    tokens: list[str]
    layers: list[str]
    norms: np.ndarray
    similarities: np.ndarray
    saliency: np.ndarray

    def plot(self) -> Figure:
        """The three pictures one above the other, the lowest layer at the bottom."""
        return draw_image(
            {
                "length of each state": self.norms,
                "cosine with the layer below": self.similarities,
                f"for (red) and against (blue) {self.prediction!r}": self.saliency,
            },
            self.layers,
            self.tokens,
        )


def show_found(found: str | float | tuple[str, ...]) -> str:
    """A prediction as text: a class, several, or a score."""
    if isinstance(found, tuple):
        return ", ".join(found) or "no label"
    return f"{found:.3f}" if isinstance(found, float) else found


def compute_norms(states: np.ndarray) -> np.ndarray:
    """Length of each state: (layers, tokens, hidden) → float32 (layers, tokens)."""
    return np.linalg.norm(states.astype(np.float32), axis=-1)


def compute_similarities(states: np.ndarray) -> np.ndarray:
    """Each state's cosine with that of the same token one layer below: (layers, tokens, hidden) → float32 (layers,
    tokens); 1 in the lowest layer."""
    directions = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
    cosines = np.ones(states.shape[:2], np.float32)
    cosines[1:] = (directions[1:] * directions[:-1]).sum(axis=-1)
    return cosines
