"""A model behind TensorFlow Serving, asked over REST or gRPC."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np

from ..errors import ServingError

ROWS, QUESTIONS = 32, 4  # of a request; a context is many windows
SECONDS = 60.0  # that an answer may take
MOST_BYTES = 256 * 2**20  # that an answer may have
PIECE = 2**16  # bytes of it at a time
BUSY = (429, 503)  # what a server says that may answer later
TRIES = 4  # of a request to such a server, in three seconds
DEFAULT = "serving_default"


class _Signature(NamedTuple):
    """Names of what a signature reads and says."""

    inputs: list[str]
    outputs: list[str]


class ServedModel:
    """A served model: what its signature reads, and what it says of rows.

    Args:
        url: http://HOST:8501/v1/models/NAME for REST, or grpc://HOST:8500/NAME.
        signature: which one.
        seconds: that the answer to a request of some rows may take.

    Attributes:
        inputs: names of what it reads.

    Raises:
        ServingError: the server cannot be reached, or has no such model or signature.

    Example:
        >>> model = ServedModel("http://localhost:8501/v1/models/cola")
        >>> model.predict({"text": ["She has eaten."]})["label"]
        array(['acceptable'], dtype=object)
    """

    def __init__(self, url: str, signature: str = DEFAULT, seconds: float = SECONDS):
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https", "grpc") and parts.port != 0 and parts.path.strip("/")
        except ValueError:
            usable = False
        if not usable or not parts.hostname or any(character.isspace() for character in url):
            raise ServingError(
                f"{url} is no address of a model: http://HOST:8501/v1/models/NAME, or grpc://HOST:8500/NAME."
            )
        self._wire: _Wire = (_Grpc if parts.scheme == "grpc" else _Rest)(url, seconds)
        self._signature = signature
        signatures = self._wire.list_signatures()
        if signature not in signatures:
            raise ServingError(f"{url} has no signature {signature!r}; it has {', '.join(sorted(signatures))}.")
        self.inputs, self._outputs = map(sorted, signatures[signature])

    def predict(self, texts: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """What the model says, by the names of its outputs; texts as str.

        Args:
            texts: by the names of its inputs, as many of each.

        Raises:
            ServingError: the server refuses, or cannot be reached any more.
        """
        if sorted(texts) != self.inputs:
            raise ServingError(f"the model reads {', '.join(self.inputs)}, got {', '.join(sorted(texts))}.")
        rows = {len(column) for column in texts.values()}
        if len(rows) != 1:
            raise ServingError("the model's inputs need as many texts each.")
        size = QUESTIONS if "context" in texts else ROWS
        parts = [
            self._wire.predict(
                self._signature,
                {name: column[start : start + size] for name, column in texts.items()},
                self._outputs,
            )
            for start in range(0, max(rows), size)
        ]
        for part, start in zip(parts, range(0, max(rows), size), strict=True):
            self._check(part, min(size, max(rows) - start))
        return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}

    def _check(self, part: Mapping[str, np.ndarray], rows: int) -> None:
        """Raises ServingError where an answer is not one of so many rows."""
        if sorted(part) != self._outputs:
            raise ServingError(
                f"the model says {', '.join(sorted(part)) or 'nothing'}, not {', '.join(self._outputs)}."
            )
        for name, values in part.items():
            if values.shape[:1] != (rows,):
                raise ServingError(f"the model says {name} of shape {values.shape} of {rows} rows.")


class _Wire(Protocol):
    def list_signatures(self) -> dict[str, _Signature]:
        """By name."""

    def predict(
        self, signature: str, texts: Mapping[str, Sequence[str]], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """One request."""


class _Rest:
    """TensorFlow Serving's REST API, version 1, with columns.

    Source: https://www.tensorflow.org/tfx/serving/api_rest.
    """

    def __init__(self, url: str, seconds: float):
        self._url, self._seconds = url.rstrip("/"), seconds

    def list_signatures(self) -> dict[str, _Signature]:
        found = self._ask(f"{self._url}/metadata")
        try:
            signatures = found["metadata"]["signature_def"]["signature_def"]
            return {
                name: _Signature(list(one.get("inputs", {})), list(one.get("outputs", {})))
                for name, one in signatures.items()
            }
        except (KeyError, TypeError, AttributeError):
            raise ServingError(
                f"{self._url} is no model of TensorFlow Serving: its metadata names no signatures."
            ) from None

    def predict(
        self, signature: str, texts: Mapping[str, Sequence[str]], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        asked = {"signature_name": signature, "inputs": {name: list(column) for name, column in texts.items()}}
        found = self._ask(f"{self._url}:predict", asked).get("outputs")
        if not isinstance(found, dict):  # a single output has no name there
            found = {name: found for name in outputs[:1]}
        try:
            return {name: _read_array(values) for name, values in found.items()}
        except ValueError:
            raise ServingError(f"{self._url} answers with rows of several lengths.") from None

    def _ask(self, url: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with _open(request, self._seconds) as answer:
                found = json.loads(_read(answer, self._seconds))
        except urllib.error.HTTPError as error:
            raise ServingError(f"{url} says: {_read_message(error) or error.reason}") from None
        except RecursionError:
            raise ServingError(f"{url} answers with no object.") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise ServingError(f"{url} did not answer within {self._seconds:g} seconds.") from None
            raise ServingError(f"{url} cannot be reached: {' '.join(str(reason).split()) or repr(reason)}") from None
        if not isinstance(found, dict):
            raise ServingError(f"{url} answers with no object.")
        return found


def _open(request: urllib.request.Request, seconds: float) -> http.client.HTTPResponse:
    """The answer to a request, which is sent again where the server is busy."""
    for attempt in range(TRIES - 1):
        try:
            return urllib.request.urlopen(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            if error.code not in BUSY:
                raise
        time.sleep(0.4 * 2**attempt)
    return urllib.request.urlopen(request, timeout=seconds)


def _read(answer: http.client.HTTPResponse, seconds: float) -> bytes:
    """The bytes of an answer.

    Raises:
        TimeoutError: they have not come in time; a server may send one after the other for ever.
        ValueError: there are too many.
    """
    found, until = bytearray(), time.monotonic() + seconds
    while piece := answer.read1(PIECE):
        found += piece
        if len(found) > MOST_BYTES:
            raise ValueError(f"the answer has more than {MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(found)


def _read_array(values: Any) -> np.ndarray:
    found = np.array(values)
    return found.astype(object) if found.dtype.kind == "U" else found


def _read_message(refusal: urllib.error.HTTPError) -> str:
    """The message of a refusal, on one line."""
    try:
        return " ".join(str(json.loads(refusal.read(PIECE))["error"]).split())[:1000]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, http.client.HTTPException):
        return ""


class _Grpc:
    """TensorFlow Serving's PredictionService."""

    def __init__(self, url: str, seconds: float):
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError:
            raise ServingError("grpc:// needs tensorflow-serving-api: pip install 'bertvision-tf[serving]'.") from None
        parts = urlsplit(url)
        self._url, self._model, self._seconds = url, parts.path.strip("/"), seconds
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(parts.netloc))

    def list_signatures(self) -> dict[str, _Signature]:
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        answer = self._call(self._service.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {name: _Signature(list(one.inputs), list(one.outputs)) for name, one in signatures.signature_def.items()}

    def predict(
        self, signature: str, texts: Mapping[str, Sequence[str]], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._model, signature
        for name, column in texts.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(list(column), shape=[len(column)]))
        answer = self._call(self._service.Predict, request)
        found = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
        decode = np.vectorize(lambda value: value.decode(), otypes=[object])
        return {name: decode(values) if values.dtype == object else values for name, values in found.items()}

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ServingError(f"{self._url} did not answer within {self._seconds:g} seconds.") from None
            said = " ".join((error.details() or "").split())
            raise ServingError(f"{self._url} says: {said or error.code().name}") from None
