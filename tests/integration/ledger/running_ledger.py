"""The real service on a free port, and callers of every kind."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import (
    budget_service_pb2_grpc,
    rate_card_service_pb2_grpc,
    suggestion_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import AgentExecutorError
from agent_executor.ledger.bootstrap import SERVICE_NAME, bootstrap
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.serving.grants import GRANT_METADATA_KEY, SERVICE_KEY_BYTES, ServiceKey
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from agent_executor.serving.server import RunningService, started
from tests.sqlite import migrated_file
from tests.unit.serving.tokens import Issuer

TIMEOUT_SECONDS = 60
MODEL = "claude-sonnet-4-20250514"
METHODS = {
    "reserve": "ReserveUsage",
    "reserve_amount": "ReserveAmount",
    "renew": "RenewReservation",
    "settle": "SettleUsage",
    "correct": "CorrectUsage",
    "void": "VoidReservation",
    "get": "GetReservation",
}


@dataclass
class RunningLedger:
    """The service, a channel and a multiplexed stream to it."""

    issuer: Issuer
    service_key: ServiceKey
    running: RunningService
    channel: grpc.aio.Channel
    stream: MultiplexedStream

    def grant(
        self,
        *permissions: str,
        audience: str = SERVICE_NAME,
        organization_id: str = "acme",
        user_id: str = "ada",
        lifetime_seconds: float = 60,
    ) -> grant_pb2.SignedGrant:
        """Returns a grant as the executor makes one."""
        return self.service_key.sign_grant(
            grant_pb2.Grant(
                audience=audience,
                security_context=grant_pb2.SecurityContext(
                    organization_id=organization_id, user_id=user_id, permissions=permissions
                ),
                expires_at_unix_ms=int((time.time() + lifetime_seconds) * 1000),
            )
        )

    async def write(
        self, path: str, method: str, request: Message, grant: grant_pb2.SignedGrant | None
    ) -> Any:
        """Calls a method for service peers over the ``unary`` or the ``stream`` path."""
        if path == "stream":
            return await self.stream.call(method, request, timeout_seconds=60, grant=grant)
        stub = usage_service_pb2_grpc.UsageServiceStub(self.channel)
        metadata = () if grant is None else ((GRANT_METADATA_KEY, grant.SerializeToString()),)
        return await _answer(getattr(stub, METHODS[method])(request, metadata=metadata, timeout=60))

    async def ask(self, method: str, request: Message, *permissions: str, **claims: Any) -> Any:
        """Calls a method of any of the services with a person's token."""
        claims = {"org": "acme", "sub": "ada", "permissions": permissions} | claims
        metadata = (("authorization", self.issuer.bearer(**claims)),)
        stubs = (
            usage_service_pb2_grpc.UsageServiceStub(self.channel),
            budget_service_pb2_grpc.BudgetServiceStub(self.channel),
            rate_card_service_pb2_grpc.RateCardServiceStub(self.channel),
            suggestion_service_pb2_grpc.SuggestionServiceStub(self.channel),
        )
        call = next(getattr(stub, method) for stub in stubs if hasattr(stub, method))
        return await _answer(call(request, metadata=metadata, timeout=TIMEOUT_SECONDS))


async def _answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raised: AgentExecutorError = from_rpc_error(error)
        raise raised from error


@asynccontextmanager
async def running_ledger(data_dir: Path, **changes: Any) -> AsyncIterator[RunningLedger]:
    """Runs the service on a data folder until the end of the block.

    Args:
        data_dir: The folder.
        changes: Other settings than the default.
    """
    keys = data_dir / "keys"
    issuer, secret = Issuer(), b"k" * SERVICE_KEY_BYTES
    _write_keys(keys, issuer, secret)
    settings = LedgerSettings(data_dir=data_dir, drain_seconds=0, **changes)
    if not settings.database_url:
        migrated_file(settings.database_file, MIGRATIONS)
    async with (
        started(SERVICE_NAME, settings, bootstrap) as running,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{running.grpc_port}", options=CHANNEL_OPTIONS
        ) as channel,
    ):
        stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        stream = MultiplexedStream(
            stub.StreamUsage, usage_service_pb2.StreamUsageRequest, name="ledger"
        )
        try:
            yield RunningLedger(issuer, ServiceKey(secret), running, channel, stream)
        finally:
            await stream.close()


def _write_keys(folder: Path, issuer: Issuer, secret: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jwks.json").write_bytes(issuer.key_set())
    key = folder / "service.key"
    key.write_bytes(secret)
    key.chmod(0o600)
