"""A finished run: its results, its heads, and what they say of new texts.

Over 300 lines, since all that a user asks a run for is one class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..kinds import Kind, find_kind
from ..random_states import keeps_random_states
from .explain import Explanation, choose_window, compute_norms, compute_similarities
from .folder import MEAN_FILE, read_csv
from .predictions import FoundAnswer, Predictions

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ..encoders import Encoder
    from ..store import Store
    from ..tasks import Examples, TaskSpec


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

    def __getstate__(self) -> dict[str, Any]:
        """A run can be pickled: another process loads encoder and head for itself."""
        return {"path": self.path, "results": self.results, "config": self.config, "_encoder": None}

    @property
    def best_seed(self) -> int:
        """The seed whose head has the best selection score; the first of equals."""
        return self.results["seeds"][int(np.argmax(self.results["selection_scores"]))]

    @property
    def together(self) -> dict[str, Any] | None:
        """What results.json says of all heads as one model; None where the best alone predicts."""
        return self.results.get("together")

    @property
    def threshold(self) -> float:
        """Up to which null odds what predicts answers questions; 0 of a run on labels, which has none."""
        if self.together:
            return self.together.get("threshold", 0.0)
        thresholds = self.results.get("thresholds")
        return thresholds[self.results["seeds"].index(self.best_seed)] if thresholds else 0.0

    def load_head(self, seed: int | None = None) -> keras.Model:
        """The head of a seed; by default what predicts: the one chosen on the selection rows, or all as one model."""
        from ..heads.load import load_head

        whole = seed is None and self.together
        return load_head(
            self.path / "heads" / (MEAN_FILE if whole else f"seed-{self.best_seed if seed is None else seed}.keras")
        )

    @keeps_random_states
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

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder that `load_encoder` loads."""
        snapshot = self.config.get("snapshots", {}).get(str(self.best_seed))
        return snapshot["fingerprint"] if snapshot else self.config["encoder_fingerprint"]

    @keeps_random_states
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

    def load_rows(self, task: TaskSpec, data_dir: str | Path | None) -> list[Examples]:
        """Train and dev of the run's task, read anew.

        Raises:
            RunError: they are not those of the run.
        """
        from ..tasks.doubts import load_rows

        limit, share = self.config["limit"], self.config.get("negatives")
        splits = [load_rows(task, split, data_dir, limit, share) for split in ("train", "dev")]
        for rows in splits:
            if rows.fingerprint != self.config["examples"].get(rows.split):
                raise RunError(f"the {rows.split} rows of {task.name} are not those of {self.path}.")
        return splits

    def open_stores(self, seed: int | None = None) -> list[Store]:
        """The stores that the head of a seed was trained and scored on: train's, dev's, and a further dev split's; with
        None those of all encoders, which the seeds took in turn. A run that began with another's heads has the
        selection rows' instead of train's.

        Raises:
            StoreError: they are not there any more.
            RunError: the run kept none.
        """
        from ..store import open_store

        paths, splits = self.results["store"]["paths"], len(self.config["examples"])
        if not paths:
            raise RunError(f"the run at {self.path} kept no states (`store` none): train it with a folder for them.")
        if seed is not None:
            first = self.results["seeds"].index(seed) % (len(paths) // splits) * splits
            paths = paths[first : first + splits]
        return [open_store(path) for path in paths]

    @property
    def kind(self) -> Kind:
        """What the task's labels are."""
        return find_kind(self.config["kind"])

    def read_dev_predictions(self) -> np.ndarray:
        """Class indices of the dev rows of a classification, by what predicts: see `load_head`.

        Raises:
            RunError: predictions.csv is damaged.
        """
        file, places = self.path / "predictions.csv", {str(n): i for i, n in enumerate(self.config["label_names"])}
        found = [str(row.get("prediction")) for row in read_csv(file)]
        unknown = [name for name in found if name not in places]
        if unknown:
            raise RunError(f"{file} is damaged: {unknown[0]!r} is none of the classes {', '.join(places)}.")
        return np.array([places[name] for name in found])

    def find_confidence(self, coverage: float) -> float:
        """The least probability of a prediction among the surest rows of the selection rows; 0 of all.

        Args:
            coverage: the share of the selection rows that are the surest, 0.05 to 1.

        Raises:
            RunError: the run has no probabilities.
        """
        found = self.results.get("calibration")
        if not found:
            raise RunError(
                f"`coverage` needs the probabilities of classes, which {self.path} does not have"
                + (": train it anew." if self.kind.single or self.kind.several else f": its task is a {self.kind}.")
            )
        shares, thresholds = ([one[name] for one in found["coverage"][::-1]] for name in ("share", "threshold"))
        if not shares[0] <= coverage <= 1:
            raise RunError(f"`coverage` needs {shares[0]:g} to 1, got {coverage}.")
        if coverage == 1:
            return 0.0
        return float(np.interp(coverage, shares, thresholds))

    def predict(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, coverage: float | None = None
    ) -> Predictions:
        """Predicts new texts with the head chosen on the selection rows, or with all together.

        Args:
            texts: the first, or only, text of each: a list, a generator, or a column of a data frame.
            text_pairs: the second text of each, for tasks on pairs.
            coverage: the share of the selection rows that would be predicted. Labels of less sure texts are None. With
                None every text is predicted.

        Returns:
            labels and probabilities, or scores, in the order of `texts`; for questions on contexts the answers.

        Example:
            >>> load_run("runs/starter").predict(["She has eaten."]).labels
            ['acceptable']
        """
        from ..images import images_from_encoder
        from ..tasks.files import list_texts

        names = tuple(self.config["label_names"])
        least = 0.0 if coverage is None else self.find_confidence(coverage)
        if (text_pairs is not None) != (self.config["text_pair"] is not None):
            wanted = "pairs of texts" if self.config["text_pair"] else "single texts"
            raise RunError(f"{self.path} was trained on {wanted}.")
        texts = list_texts(texts, "texts", RunError)
        if text_pairs is not None:
            text_pairs = list_texts(text_pairs, "text_pairs", RunError)
        if not len(texts):
            return Predictions([], np.zeros((0, len(names)), np.float32), names)
        if self.kind.answers:
            found = [answer.text for answer in self.answer_all(texts, text_pairs or ())]
            return Predictions(found, np.zeros((len(found), 0), np.float32), ())
        labels = np.full(len(texts), -1, np.int32)
        dataset = images_from_encoder(
            self.load_encoder(), self._build_examples(texts, text_pairs, labels), batch_size=32, **self._states
        )
        logits = self._predict_images(dataset)
        told, shares = self.kind.tell(logits, names), self.kind.compute_probabilities(logits)
        if coverage is not None:
            sure = self.kind.measure_confidence(shares) >= least
            told = [one if kept else None for one, kept in zip(told, sure, strict=True)]
        return Predictions(told, shares, names)

    def answer(self, question: str, context: str) -> FoundAnswer:
        """Answers a question from a context of any length, as `predict`.

        Example:
            >>> load_run("runs/starter_qa").answer("Who has eaten?", "The cat has eaten.").text
            'The cat'
        """
        for what, text in (("question", question), ("context", context)):
            if not isinstance(text, str):
                raise RunError(f"`{what}` needs a text, got {text!r}.")
        return self.answer_all([question], [context])[0]

    def answer_all(self, questions: Sequence[str], contexts: Sequence[str]) -> list[FoundAnswer]:
        """Answers questions, each from its context, as `answer`."""
        from ..encoders import Windows
        from ..images import images_from_tokens, tokenize_examples
        from ..spans import decode_answers
        from ..tasks.files import list_texts

        if not self.kind.answers:
            raise RunError(f"{self.path} was trained on labels, it answers no questions: use `predict`.")
        if isinstance(questions, str) or isinstance(contexts, str):
            raise RunError("`answer_all` needs lists of texts; one question is for `answer`.")
        questions = list_texts(questions, "questions", RunError)
        contexts = list_texts(contexts, "contexts", RunError)
        if not all(question.strip() for question in questions):
            raise RunError("a question is empty.")
        if not len(questions):
            return []
        unanswered = [()] * len(questions)
        examples = self._build_examples(questions, contexts, np.zeros(len(questions), np.int32), unanswered)
        encoder, states = self.load_encoder(), self._states
        windows, spans = tokenize_examples(encoder, examples, states.pop("max_length"))
        assert isinstance(windows, Windows)
        dataset = images_from_tokens(encoder, windows, spans, batch_size=8, **states)
        logits = self._predict_images(dataset)
        found = decode_answers(logits, windows.offsets, windows.questions, windows.char_offsets, contexts)
        return [
            FoundAnswer.choose(answer.list_texts(context), answer.null_score, self.threshold)
            for answer, context in zip(found, contexts, strict=True)
        ]

    def explain(self, text: str, text_pair: str | None = None) -> Explanation:
        """The pictures of one text, (layers, tokens): how long its states are, how like those below them, and which
        cells decide what is predicted of it.

        Args:
            text: a text, or a question.
            text_pair: its second text, or the context; of a long one the window is shown that the answer is read from.

        Example:
            >>> load_run("runs/starter").explain("She has eaten.").plot().savefig("picture.png")
        """
        from ..encoders import Windows
        from ..images import images_from_tokens, tokenize_examples
        from ..training.saliency import compute_saliency

        pairs, span = None if text_pair is None else [text_pair], self.kind.answers
        found = self.predict([text], pairs).labels[0]
        examples = self._build_examples([text], pairs, np.zeros(1, np.int32), [()] if span else None)
        encoder, states = self.load_encoder(), self._states
        tokenized, labels = tokenize_examples(encoder, examples, states.pop("max_length"))
        build = functools.partial(images_from_tokens, encoder, tokenized, labels, batch_size=1, **states)
        logits = []
        for element in build():  # one window in memory at a time
            logits.append(self._predict_images([element]))
        if text_pair is not None and isinstance(tokenized, Windows):
            place, target = choose_window(logits, tokenized, text_pair, bool(found))
        else:
            place, target = 0, self.kind.decode(logits[0])[0]
        if place < len(logits) - 1:  # the last is still there
            element = next(iter(build(rows=np.array([place]))))
        image = {name: tensor.numpy() for name, tensor in element[0].items()}
        cells = image["hidden_states"][0]  # (layers, tokens, hidden)
        kept = states["layers"] or range(encoder.num_hidden_states)
        said = self.kind.tell_one(found)
        return Explanation(
            said,
            encoder.tokenizer.to_words(tokenized.pad([place])["token_ids"][0, : cells.shape[1]].tolist()),
            ["pooler"] * states["pooler"] + [str(layer) for layer in kept],
            compute_norms(cells),
            compute_similarities(cells, states["pooler"]),
            compute_saliency(self._head, image, self.kind, target),
            f"raises (red) or lowers (blue) {said}" if self.kind.numeric else f"for (red) and against (blue) {said!r}",
        )

    @functools.cached_property
    def _head(self) -> keras.Model:
        """What predicts, loaded once."""
        return self.load_head()

    @functools.cached_property
    def _predict_images(self) -> Callable[[tf.data.Dataset], np.ndarray]:
        """Logits of images by what predicts; traced once."""
        from ..training.fit import build_predictor

        return build_predictor(self._head)

    @property
    def _states(self) -> dict[str, Any]:
        """Which hidden states the heads read."""
        return {name: self.config[name] for name in ("max_length", "tokens", "pooler", "layers")}

    def _build_examples(self, texts, text_pairs, labels: np.ndarray, answers=None) -> Examples:
        from ..tasks import Examples

        ids = [str(row) for row in range(len(texts))]
        return Examples(self.config["task"], "new", ids, texts, text_pairs, labels, answers=answers)
