"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.model_server.predictor import SIGNATURE_DEF, Predictor, read_model_spec
from serving.model_server.statuses import Code, StatusError, invalid

_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def _abort(context: grpc.aio.ServicerContext, error: StatusError) -> None:
    await context.abort(_CODES[error.code], error.message)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the other methods answer UNIMPLEMENTED."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    async def Predict(self, request, context):
        """Runs a signature."""
        try:
            return await self._predictor.predict_message(request)
        except StatusError as error:
            await _abort(context, error)

    async def GetModelMetadata(self, request, context):
        """Tells a model's signatures."""
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for name in request.metadata_field:
                if name != SIGNATURE_DEF:
                    raise invalid(f"Metadata field {name} is not supported")
            return self._predictor.metadata(read_model_spec(request.model_spec))
        except StatusError as error:
            await _abort(context, error)

    async def _not_implemented(self, request, context):
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            "This server implements Predict and GetModelMetadata of the PredictionService only",
        )

    Classify = Regress = MultiInference = _not_implemented


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    async def GetModelStatus(self, request, context):
        """Tells the states of a model's versions."""
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return self._predictor.status(read_model_spec(request.model_spec))
        except StatusError as error:
            await _abort(context, error)

    async def HandleReloadConfigRequest(self, request, context):
        """Serves another configuration from now on."""
        try:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                    "ModelConfigList is currently supported"
                )
            await self._predictor.repository.reload(request.config)
        except StatusError as error:
            await _abort(context, error)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = int(Code.OK)
        return response


def make_grpc_server(predictor: Predictor, most_requests: int) -> grpc.aio.Server:
    """A server with both services, not started.

    Args:
        predictor: What answers.
        most_requests: Requests at the same time; the next ones get RESOURCE_EXHAUSTED.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", predictor.most_bytes),
            ("grpc.max_send_message_length", -1),
            # Else two servers could listen at one port, and each get half of the requests.
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=most_requests,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(predictor), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(predictor), server)
    return server
