"""A gRPC server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from agent_executor.error_status import to_status
from agent_executor.errors import AgentExecutorError, UnavailableError

CUT = UnavailableError("cut")


@dataclass(frozen=True)
class Asked:
    """One call: its method as `Service/Method`, the bytes of its request, and what went with it."""

    method: str
    request: bytes
    metadata: dict[str, str]
    timeout_seconds: float | None


@dataclass
class FakePlatform:
    """Answers by method; of several answers each is given once, and the last one again and again.

    Attributes:
        url: Where it is.
        headers: What goes with each answer.
        ended: Of calls that the client broke off.
    """

    url: str = ""
    answers: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    headers: tuple[tuple[str, str], ...] = ()
    ended: list[str] = field(default_factory=list)

    def will_answer(self, method: str, *answers: Any) -> None:
        """Tells what to answer.

        Args:
            method: As `AgentService/GetAgent`.
            answers: Each a message, an error, a status code (with its details or without), or a
                list of them, which is a stream.
        """
        self.answers[method] = list(answers)

    def requests(self, kind: type[Message]) -> list[Any]:
        """Returns everything that was asked, as messages of a type."""
        return [kind.FromString(each.request) for each in self.asked]

    def given(self, method: str, request: bytes, metadata: dict[str, str]) -> Any:
        """Returns the next answer to a method."""
        del request, metadata
        answers = self.answers.get(method, [grpc.StatusCode.UNIMPLEMENTED])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Handles a call of any method; a unary one is a stream of one message."""
        method = details.method.rpartition(".")[2]

        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            metadata = {key: str(value) for key, value in context.invocation_metadata()}
            self.asked.append(Asked(method, request, metadata, context.time_remaining()))
            context.add_callback(lambda: self.ended.append(method))
            context.send_initial_metadata(self.headers)
            given = self.given(method, request, metadata)
            for part in given if isinstance(given, list) else [given]:
                if isinstance(part, AgentExecutorError):
                    context.abort_with_status(rpc_status.to_status(to_status(part)))
                elif isinstance(part, grpc.StatusCode):
                    context.abort(part, "secret internals")
                elif isinstance(part, tuple):
                    context.abort(*part)
                elif callable(part):
                    part()
                else:
                    yield part.SerializeToString()

        return grpc.unary_stream_rpc_method_handler(answer)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, platform: FakePlatform) -> None:
        self._platform = platform

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        return self._platform.service(handler_call_details)


@contextlib.contextmanager
def fake_platform(
    platform: FakePlatform, credentials: grpc.ServerCredentials | None = None
) -> Iterator[FakePlatform]:
    """Serves a platform on a free port, with credentials over TLS."""
    with futures.ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, [_Handler(platform)], options=(("grpc.so_reuseport", 0),))
        if credentials is None:
            platform.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
            platform.url = f"https://127.0.0.1:{port}"
        server.start()
        try:
            yield platform
        finally:
            server.stop(None).wait()
