"""A finished run: its results, its heads, and what they say of new texts."""

from __future__ import annotations

import csv
import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from .folder import CONFIG, RESULTS

if TYPE_CHECKING:
    import keras

    from ..encoders import Encoder
    from ..store import Store
    from ..tasks import TaskKind

VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run says of some texts.

    Attributes:
        labels: of each text the name of its class, or its score; where several classes may hold, a tuple of names.
        probabilities: float32, (texts, classes), in the order of `label_names`; (texts, 0) for a regression.
        label_names: the classes.
    """

    labels: list[str] | list[float] | list[tuple[str, ...]]
    probabilities: np.ndarray
    label_names: tuple[str, ...]


class Run:
    """A finished run.

    Attributes:
        path: its folder.
        results: results.json.
        config: config.json.
    """

    def __init__(self, path: Path, results: dict[str, Any], config: dict[str, Any]):
        self.path, self.results, self.config = path, results, config
        self._encoder: Encoder | None = None

    @property
    def best_seed(self) -> int:
        """The seed whose head has the best selection score; the first of equals."""
        return self.results["seeds"][int(np.argmax(self.results["selection_scores"]))]

    def load_head(self, seed: int | None = None) -> keras.Model:
        """The head of a seed; by default of the one chosen on the selection rows."""
        import keras

        from ..heads import build as _registers_the_head_with_keras  # noqa: F401

        file = self.path / "heads" / f"seed-{self.best_seed if seed is None else seed}.keras"
        try:
            return keras.models.load_model(file, compile=False)
        except (OSError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None

    def load_encoder(self) -> Encoder:
        """The encoder whose states the head chosen on the selection rows was trained on.

        Raises:
            RunError: what has its name now is another.
        """
        if self._encoder is None:
            snapshot = self.config.get("snapshots", {}).get(str(self.best_seed))
            if snapshot:
                self._encoder = self._load(snapshot["path"], snapshot["fingerprint"])
            else:
                self._encoder = self.load_base_encoder()
        return self._encoder

    def load_base_encoder(self) -> Encoder:
        """The encoder that the run began with, before any fine-tuning.

        Raises:
            RunError: what has its name now is another.
        """
        return self._load(self.config["encoder"], self.config["encoder_fingerprint"])

    def _load(self, name: str, wanted: str) -> Encoder:
        from ..encoders import load_encoder

        encoder = load_encoder(name, self.config["dtype"])
        if encoder.fingerprint != wanted:
            raise RunError(
                f"{self.path} was trained on encoder {name} with fingerprint {wanted}, the one of that name here "
                f"has {encoder.fingerprint}."
            )
        return encoder

    def open_stores(self) -> list[Store]:
        """The stores that the heads were trained and scored on: train's, dev's, and a further dev split's."""
        from ..store import open_store

        return [open_store(path) for path in self.results["store"]["paths"]]

    @property
    def kind(self) -> TaskKind:
        """What the task's labels are."""
        from ..tasks import TaskKind

        return TaskKind(self.config["kind"])

    def read_dev_predictions(self) -> np.ndarray:
        """Class indices of the dev rows of a classification, by the head chosen on the selection rows."""
        with open(self.path / "predictions.csv", newline="", encoding="utf-8") as stream:
            names = [row["prediction"] for row in csv.DictReader(stream)]
        return np.array([self.config["label_names"].index(name) for name in names])

    def predict(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> Predictions:
        """Predicts new texts with the head chosen on the selection rows.

        Args:
            texts: the first, or only, text of each.
            text_pairs: the second text of each, for tasks on pairs.

        Returns:
            labels and probabilities, or scores, in the order of `texts`.

        Example:
            >>> load_run("runs/starter").predict(["She has eaten."]).labels
            ['acceptable']
        """
        from ..images import images_from_encoder
        from ..tasks import Examples
        from ..training import describe_predictions, predict_logits

        names = tuple(self.config["label_names"])
        if (text_pairs is not None) != (self.config["text_pair"] is not None):
            wanted = "pairs of texts" if self.config["text_pair"] else "single texts"
            raise RunError(f"{self.path} was trained on {wanted}.")
        if not len(texts):
            return Predictions([], np.zeros((0, len(names)), np.float32), names)
        examples = Examples(
            task=self.config["task"],
            split="new",
            ids=[str(row) for row in range(len(texts))],
            texts=texts,
            text_pairs=text_pairs,
            labels=np.full(len(texts), -1, np.int32),
        )
        states = {name: self.config[name] for name in ("max_length", "tokens", "pooler", "layers")}
        dataset = images_from_encoder(self.load_encoder(), examples, batch_size=32, **states)
        logits = predict_logits(self.load_head(), dataset)
        return Predictions(*describe_predictions(self.kind, names, logits), names)


def load_run(path: str | Path) -> Run:
    """Opens a finished run.

    Raises:
        RunError: the folder holds none.
    """
    path = Path(path)
    contents = []
    for name in (RESULTS, CONFIG):
        try:
            contents.append(json.loads((path / name).read_text(encoding="utf-8")))
        except OSError:
            raise RunError(f"no finished run at {path}: {path / name} cannot be read.") from None
        except ValueError:
            raise RunError(f"{path / name} is damaged: no JSON.") from None
    return Run(path, *contents)


def find_other_setting(path: Path, asked: Mapping[str, Any]) -> str | None:
    """In what a finished run in a folder differs from what is asked: "" if in nothing, None if there is no run."""
    if not (path / RESULTS).is_file():
        return None
    there = load_run(path)
    if there.results.get("versions") != describe_versions():
        return "other versions"
    for name, value in json.loads(json.dumps(asked)).items():
        if there.config.get(name) != value:
            return f"{name} {there.config.get(name)}, now it is {value}"
    return ""


def describe_versions() -> dict[str, str]:
    """Of Python, of this library, and of what its numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONED}
