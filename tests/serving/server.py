"""A small server that speaks TensorFlow Serving's REST and gRPC over a real SavedModel."""

import contextlib
import json
import re
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text as _registers_an_operation  # noqa: F401
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc


class Model:
    """What both protocols ask of a SavedModel."""

    def __init__(self, folder, name):
        self.name, self.signatures = name, tf.saved_model.load(str(folder)).signatures

    def predict(self, signature, inputs):
        if signature not in self.signatures:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        function = self.signatures[signature]
        wanted = function.structured_input_signature[1]
        if set(inputs) != set(wanted):
            raise ValueError(f"input size does not match signature: {sorted(inputs)} != {sorted(wanted)}")
        tensors = {}
        for name, spec in wanted.items():
            values = np.array(inputs[name])
            if spec.dtype == tf.string and values.dtype.kind not in "USO":
                raise ValueError(f"JSON Value: {inputs[name]} Type: Number is not of expected type: string")
            tensors[name] = tf.constant(values.tolist(), spec.dtype)
            if not spec.shape.is_compatible_with(tensors[name].shape):
                raise ValueError(f"input {name} has shape {tensors[name].shape}, the signature {spec.shape}")
        return {name: value.numpy() for name, value in function(**tensors).items()}

    def describe(self):
        """A SignatureDefMap."""
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, function in self.signatures.items():
            for one, spec in function.structured_input_signature[1].items():
                found.signature_def[name].inputs[one].dtype = spec.dtype.as_datatype_enum
            for one, spec in function.structured_outputs.items():
                found.signature_def[name].outputs[one].dtype = spec.dtype.as_datatype_enum
        return found


@contextlib.contextmanager
def serve(folder, name="model"):
    """Serves a SavedModel; gives the addresses for REST and for gRPC."""
    model = Model(folder, name)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), _build_handler(model))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    remote = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Service(model), remote)
    port = remote.add_insecure_port("127.0.0.1:0")
    remote.start()
    try:
        yield f"http://127.0.0.1:{rest.server_port}/v1/models/{name}", f"grpc://127.0.0.1:{port}/{name}"
    finally:
        rest.shutdown()
        rest.server_close()
        remote.stop(0)


def _list(tensors):
    return {name: {"dtype": tf.as_dtype(one.dtype).name} for name, one in tensors.items()}


def _build_handler(model):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != f"/v1/models/{model.name}/metadata":
                return self._answer(404, {"error": f"Malformed request: GET {self.path}"})
            signatures = {
                name: {"inputs": _list(definition.inputs), "outputs": _list(definition.outputs)}
                for name, definition in model.describe().signature_def.items()
            }
            self._answer(200, {"metadata": {"signature_def": {"signature_def": signatures}}})

        def do_POST(self):
            if not re.fullmatch(f"/v1/models/{model.name}(/versions/\\d+)?:predict", self.path):
                return self._answer(404, {"error": f"Malformed request: POST {self.path}"})
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                found = model.predict(asked.get("signature_name", "serving_default"), asked["inputs"])
            except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
                return self._answer(400, {"error": str(error)})
            plain = {name: value.astype(str) if value.dtype == object else value for name, value in found.items()}
            shown = {name: value.tolist() for name, value in plain.items()}
            self._answer(200, {"outputs": shown if len(shown) > 1 else next(iter(shown.values()))})

        def _answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):
        self._check(request, context)
        inputs = {
            name: [one.decode() for one in tf.make_ndarray(tensor).ravel()] for name, tensor in request.inputs.items()
        }
        try:
            found = self._model.predict(request.model_spec.signature_name or "serving_default", inputs)
        except (ValueError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        answer = predict_pb2.PredictResponse()
        for name, value in found.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request, context):
        self._check(request, context)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(self._model.describe())
        return answer

    def _check(self, request, context):
        if request.model_spec.name != self._model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request.model_spec.name}")
