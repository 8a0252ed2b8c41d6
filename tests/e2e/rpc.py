"""gRPC against a platform, by the names of the contracts' methods."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from agent_executor.api.error.v1 import error_pb2
from agent_executor.cli.gateway_files import gateway_files
from agent_executor.serving.grants import GRANT_METADATA_KEY
from tests.platforms import RunningPlatform

TIMEOUT_SECONDS = 60
DOMAIN = "agent-executor"
# Streams that end only by their caller; their first message says that the caller is let in.
ENDLESS = ("MonitorService/StreamActivity",)

# Which service serves the contracts of a package.
_PROCESSES = {
    "agent_executor.api.executor.v1": "executor",
    "agent_executor.api.tool_runner.v1": "tool-runner",
    "agent_executor.api.ledger.v1": "ledger",
    "envoy.service.auth.v3": "executor",
    "envoy.service.ratelimit.v3": "tool-runner",
}


def _services() -> Iterator[tuple[str, ServiceDescriptor]]:
    """Yields every service of the descriptor set, so that none can be forgotten, and who serves it."""
    contracts = FileDescriptorSet.FromString(gateway_files().descriptor.read_bytes())
    for file in contracts.file:
        if file.service and file.name.startswith("agent_executor/"):
            name = file.name.removesuffix(".proto").replace("/", ".")
            descriptor = importlib.import_module(f"{name}_pb2").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                yield _PROCESSES[file.package], service


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the contracts.

    Attributes:
        process: The service that serves it.
        descriptor: What the contract says of it.
    """

    process: str
    descriptor: MethodDescriptor

    @property
    def name(self) -> str:
        """Its name, as `Service/Method`."""
        return f"{self.descriptor.containing_service.name}/{self.descriptor.name}"

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    def request(self, **fields: Any) -> Any:
        """Makes its request."""
        return GetMessageClass(self.descriptor.input_type)(**fields)


METHODS: dict[str, Method] = {
    method.name: method
    for process, service in _services()
    for method in (Method(process, descriptor) for descriptor in service.methods)
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call was refused.

    Attributes:
        code: The name of the gRPC code.
        status: What came with it; empty if a proxy or gRPC itself refused.
    """

    code: str
    status: status_pb2.Status

    @property
    def reason(self) -> str:
        """The reason of its ErrorInfo, which must be of our domain; empty without one."""
        info = self.detail(error_details_pb2.ErrorInfo())
        assert info.domain in {"", DOMAIN}
        reason: str = info.reason
        return reason

    @property
    def fields(self) -> set[str]:
        """The fields that its BadRequest names."""
        violations = self.detail(error_details_pb2.BadRequest()).field_violations
        return {violation.field for violation in violations}

    def detail(self, empty: Any) -> Any:
        """Returns its detail of this type, or the empty one."""
        for packed in self.status.details:
            if packed.Unpack(empty):
                break
        return empty


@contextmanager
def channel_to(platform: RunningPlatform, process: str = "") -> Iterator[grpc.Channel]:
    """Opens a channel to a service's own port, or to the gateway."""
    port = platform.grpc_ports[process] if process else platform.http_port
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel


def call(
    channel: grpc.Channel,
    method: Method,
    request: Message,
    token: str = "",
    grant: bytes = b"",
    metadata: tuple[tuple[str, str | bytes], ...] = (),
) -> list[Any]:
    """Makes a call, unary or server-streaming, and returns its answers.

    Raises:
        grpc.RpcError: It was refused.
    """
    if token:
        metadata += (("authorization", f"Bearer {token}"),)
    if grant:
        metadata += ((GRANT_METADATA_KEY, grant),)
    response = GetMessageClass(method.descriptor.output_type)
    arguments: dict[str, Any] = {
        "request_serializer": type(request).SerializeToString,
        "response_deserializer": response.FromString,
    }
    if method.descriptor.server_streaming:
        stream = channel.unary_stream(method.path, **arguments)
        answers: Any = stream(request, metadata=metadata, timeout=TIMEOUT_SECONDS)
        if method.name in ENDLESS:
            first = next(answers)
            answers.cancel()
            return [first]
        return list(answers)
    unary = channel.unary_unary(method.path, **arguments)
    return [unary(request, metadata=metadata, timeout=TIMEOUT_SECONDS)]


def frames_of(
    platform: RunningPlatform, stream: Method, message: Message, count: int
) -> dict[int, Any]:
    """Sends one message on a multiplexed stream and returns so many of its answers' frames, by id."""
    frames: dict[int, Any] = {}
    with channel_to(platform, stream.process) as channel:
        rpc = channel.stream_stream(
            stream.path,
            request_serializer=type(message).SerializeToString,
            response_deserializer=GetMessageClass(stream.descriptor.output_type).FromString,
        )
        responses: Any = rpc(iter([message]), timeout=TIMEOUT_SECONDS)
        for response in responses:
            frames |= {frame.id: frame for frame in response.frames}
            if len(frames) == count:
                break
        responses.cancel()
    return frames


def refusal(
    channel: grpc.Channel,
    method: Method,
    request: Message,
    token: str = "",
    grant: bytes = b"",
    metadata: tuple[tuple[str, str | bytes], ...] = (),
) -> Refusal:
    """Makes a call, which must be refused, and says how it was."""
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, token, grant, metadata)
    # Every error that a stub raises is the call itself too.
    ended = cast("grpc.Call", caught.value)
    return Refusal(ended.code().name, rpc_status.from_call(ended) or status_pb2.Status())


def assert_refused(refused: Refusal, code: str, reason: str) -> None:
    """Holds a refusal by a service to be this one, with everything that belongs to it."""
    assert (refused.code, refused.reason) == (code, reason)
    body = refused.detail(error_pb2.ErrorBody())
    assert (body.success, body.code) == (False, reason)
    assert body.error == refused.status.message
    assert body.timestamp.seconds > 0
