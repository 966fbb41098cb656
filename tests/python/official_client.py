"""Clarifai's own stub on a channel to an emulator, and short names for its messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from clarifai_grpc.channel import clarifai_channel
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc

from clarifai_annotations.emulator import Emulator

# The stubs want to be told once that they are on gRPC; the package's own channels, which retry, do so.
clarifai_channel.wrap_response_deserializer = clarifai_channel._response_deserializer_for_grpc

USER_APP = resources_pb2.UserAppIDSet(user_id="emulator-user", app_id="emulator-app")
METADATA = (("authorization", "Key made-up"),)


@contextmanager
def official_stub(emulator: Emulator) -> Iterator[Any]:
    """The official stub on a channel of its own, without gRPC's retries."""
    target = emulator.base_url.partition("://")[2]
    # A pool of its own: what befell another channel's connection is not to be seen here.
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    if emulator.root_certificates_path is None:
        channel = grpc.insecure_channel(target, options)
    else:
        credentials = grpc.ssl_channel_credentials(emulator.root_certificates_path.read_bytes())
        channel = grpc.secure_channel(target, credentials, options)
    with channel:
        yield service_pb2_grpc.V2Stub(channel)


def delete(stub: Any, *pairs: tuple[str, str], timeout: float = 30) -> str:
    """Delete pairs; the answer's status by name, or gRPC's with a dot before it."""
    request = service_pb2.DeleteAnnotationsRequest(
        user_app_id=USER_APP, input_ids=[pair[0] for pair in pairs], ids=[pair[1] for pair in pairs]
    )
    return outcome(lambda: stub.DeleteAnnotations(request, metadata=METADATA, timeout=timeout))


def delete_one(stub: Any, input_id: str, annotation_id: str) -> str:
    """Delete one annotation by the method for one."""
    request = service_pb2.DeleteAnnotationRequest(
        user_app_id=USER_APP, input_id=input_id, annotation_id=annotation_id
    )
    return outcome(lambda: stub.DeleteAnnotation(request, metadata=METADATA, timeout=30))


def delete_inputs(stub: Any, *input_ids: str) -> str:
    """Delete everything on some inputs."""
    request = service_pb2.DeleteAnnotationsRequest(user_app_id=USER_APP, input_ids=input_ids)
    return outcome(lambda: stub.DeleteAnnotations(request, metadata=METADATA, timeout=30))


def listed(stub: Any, **filters: Any) -> list[tuple[str, str]]:
    """Pairs that a list of all shows, save the input-level annotations."""
    request = service_pb2.ListAnnotationsRequest(user_app_id=USER_APP, **filters)
    answer = stub.ListAnnotations(request, metadata=METADATA, timeout=30)
    return [(it.input_id, it.id) for it in answer.annotations if not it.input_level]


def outcome(call: Any) -> str:
    """The name of the status that a call ends with."""
    from clarifai_grpc.grpc.api.status import status_code_pb2

    try:
        return str(status_code_pb2.StatusCode.Name(call().status.code))
    except grpc.RpcError as error:
        return f".{error.code().name}"


def left(emulator: Emulator) -> list[str]:
    """What is there: pairs as text, save the input-level annotations."""
    return [f"{it.input_id}/{it.annotation_id}" for it in emulator.annotations() if not it.input_level]
