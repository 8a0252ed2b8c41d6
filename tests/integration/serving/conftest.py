from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.serving.grants import GRANT_METADATA_KEY, SERVICE_KEY_BYTES, ServiceKey
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.server import RunningService, ServiceRuntime, started
from agent_executor.serving.settings import ServiceSettings
from tests.integration.serving.sample_service import NAME, SERVICE, SampleServicer
from tests.unit.serving.tokens import Issuer

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass
class Sample:
    """The running sample and a channel to it."""

    issuer: Issuer
    service_key: ServiceKey
    servicer: SampleServicer
    metrics: Metrics
    running: RunningService
    channel: grpc.aio.Channel

    def authorized(self, **claims: object) -> Metadata:
        """Returns the metadata of a caller with a token."""
        return (("authorization", self.issuer.bearer(**claims)),)

    def granted(self, grant: grant_pb2.Grant) -> Metadata:
        """Returns the metadata of a service with a grant."""
        signed = self.service_key.sign_grant(grant)
        return ((GRANT_METADATA_KEY, signed.SerializeToString()),)

    async def unary(
        self, request: Message | bytes, metadata: Metadata = (), deadline_seconds: float | None = 10
    ) -> str:
        """Calls the unary RPC; bytes go as they are."""
        call: Any = self.channel.unary_unary(
            f"/{SERVICE}/Unary",
            request_serializer=serialize,
            response_deserializer=StringValue.FromString,
        )
        response = await call(request, metadata=metadata, timeout=deadline_seconds)
        return str(response.value)

    def stream(self, method: str, **arguments: Any) -> Any:
        """Begins a streaming RPC."""
        kinds: dict[str, Any] = {
            "ServerStream": self.channel.unary_stream,
            "ClientStream": self.channel.stream_unary,
        }
        make = kinds.get(method, self.channel.stream_stream)
        call = make(
            f"/{SERVICE}/{method}",
            request_serializer=serialize,
            response_deserializer=StringValue.FromString,
        )
        return call(timeout=60, **arguments)

    def counted(self, method: str, code: str) -> float:
        """Returns how many calls of the method ended with the code."""
        return (
            self.metrics.registry.get_sample_value(
                "agent_executor_rpc_requests_total",
                {"method": f"/{SERVICE}/{method}", "code": code},
            )
            or 0.0
        )


def serialize(request: Message | bytes) -> bytes:
    """Serializes a message; bytes are what a broken client would send."""
    return request if isinstance(request, bytes) else request.SerializeToString()


def make_data_dir(folder: Path, issuer: Issuer) -> Path:
    """Makes the keys that a service needs."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    (keys / "jwks.json").write_bytes(issuer.key_set())
    (keys / "service.key").touch(mode=0o600)
    (keys / "service.key").write_bytes(b"k" * SERVICE_KEY_BYTES)
    return folder


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def data_dir(tmp_path: Path, issuer: Issuer) -> Path:
    return make_data_dir(tmp_path, issuer)


@pytest.fixture
def settings(data_dir: Path) -> ServiceSettings:
    return ServiceSettings(data_dir=data_dir, drain_seconds=0, shutdown_grace_seconds=0.2)


@pytest.fixture
async def sample(settings: ServiceSettings, issuer: Issuer) -> AsyncIterator[Sample]:
    built: list[tuple[SampleServicer, ServiceRuntime[ServiceSettings]]] = []

    async def bootstrap(runtime: ServiceRuntime[ServiceSettings]) -> tuple[str, ...]:
        servicer = SampleServicer(settings.data_dir)
        runtime.server.add_generic_rpc_handlers((servicer.handlers(),))
        built.append((servicer, runtime))
        return (SERVICE,)

    async with (
        started(NAME, settings, bootstrap) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel,
    ):
        ((servicer, runtime),) = built
        yield Sample(issuer, runtime.service_key, servicer, runtime.metrics, running, channel)
