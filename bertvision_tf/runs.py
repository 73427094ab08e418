"""A finished run as a folder.

results.json        what DESIGN's contract names; written last, so a folder without it holds no finished run
config.json         all that was asked for: task, encoder, head, states, fit
heads/seed-0.keras  one head a seed
predictions.csv     the dev rows: id, text, label, prediction, a probability for each class, a prediction a seed
curves.csv          seed, epoch, loss, selection_score
layer_weights.png   where the head pools layers by weights
saved_model/        on request: the head chosen on the selection rows, images in, logits out
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RunError

if TYPE_CHECKING:
    import keras

    from .encoders import Encoder
    from .store import Store

RESULTS = "results.json"
CONFIG = "config.json"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run says of some texts.

    Attributes:
        labels: the name of the class of each.
        probabilities: float32, (texts, classes), in the order of `label_names`.
        label_names: the classes.
    """

    labels: list[str]
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

        from .heads import build as _registers_the_head_with_keras  # noqa: F401

        file = self.path / "heads" / f"seed-{self.best_seed if seed is None else seed}.keras"
        try:
            return keras.models.load_model(file, compile=False)
        except (OSError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None

    def load_encoder(self) -> Encoder:
        """The encoder whose states the heads were trained on.

        Raises:
            RunError: what has its name now is another.
        """
        from .encoders import load_encoder

        if self._encoder is None:
            encoder = load_encoder(self.config["encoder"], self.config["dtype"])
            if encoder.fingerprint != self.config["encoder_fingerprint"]:
                raise RunError(
                    f"{self.path} was trained on encoder {self.config['encoder']} with fingerprint "
                    f"{self.config['encoder_fingerprint']}, the one of that name here has {encoder.fingerprint}."
                )
            self._encoder = encoder
        return self._encoder

    def open_stores(self) -> tuple[Store, Store]:
        """The train and the dev store that the heads were trained and scored on."""
        from .store import open_store

        train, dev = (open_store(path) for path in self.results["store"]["paths"])
        return train, dev

    def read_dev_predictions(self) -> np.ndarray:
        """Class indices of the dev rows, by the head chosen on the selection rows."""
        with open(self.path / "predictions.csv", newline="", encoding="utf-8") as stream:
            names = [row["prediction"] for row in csv.DictReader(stream)]
        return np.array([self.config["label_names"].index(name) for name in names])

    def predict(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> Predictions:
        """Predicts new texts with the head chosen on the selection rows.

        Args:
            texts: the first, or only, text of each.
            text_pairs: the second text of each, for tasks on pairs.

        Returns:
            labels and probabilities, in the order of `texts`.

        Example:
            >>> load_run("runs/starter").predict(["She has eaten."]).labels
            ['acceptable']
        """
        from .images import images_from_encoder
        from .tasks import Examples
        from .training import predict_logits

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
        probabilities = compute_softmax(predict_logits(self.load_head(), dataset))
        return Predictions([names[i] for i in probabilities.argmax(axis=1)], probabilities, names)


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


@contextlib.contextmanager
def write_run(path: Path) -> Iterator[Path]:
    """Gives a folder to write a run into, and puts it in the place of `path` when the block ends well.

    A run that is there already stays until then, and is found again where a kill fell into the exchange.

    Raises:
        RunError: the folder cannot be written, or holds something that is no run.
    """
    path = path.resolve()
    if not path.name:
        raise RunError(f"{path} cannot be an output folder: name one below it.")
    staging, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    with writing_to(path):
        if old.exists() and not path.exists():
            os.replace(old, path)
        _check_replaceable(path)
        made = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
    try:
        yield staging
        _check_replaceable(path)
        _exchange(staging, path, old)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:  # the innermost first; those that hold something now stay
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns what the file system says into one line."""
    try:
        yield
    except OSError as error:
        raise RunError(f"the output folder {path} cannot be written: {error.strerror or error}.") from None


def _check_replaceable(path: Path) -> None:
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / RESULTS).is_file())):
        raise RunError(f"{path} is there already and holds no run: name another output folder.")


def _exchange(staging: Path, path: Path, old: Path) -> None:
    """Puts the finished run in its place; where that fails, both it and the one before are kept."""
    try:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(staging, path)
    except OSError as error:
        kept = path.with_name(f"{path.name}-finished")
        os.replace(staging, kept)
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise RunError(f"{path} cannot be replaced ({error.strerror}): the finished run is at {kept}.") from None
    shutil.rmtree(old, ignore_errors=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(file, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def compute_softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits, along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
