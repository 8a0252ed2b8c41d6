"""Whether the platform's processes do their work, asked from outside as a caller would."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_executor.cli.rest import RestClient, RestError
from agent_executor.serving.startup import StartupError
from agent_executor.serving.tls import peer_channel
from agent_executor.serving.tls_files import TlsFiles

PROBE_TIMEOUT_SECONDS = 1.0
_DRAIN_INTERVAL_SECONDS = 0.05
_OK = 200

# One small request to each service, as callers make them.
_REQUESTS = (
    "/healthz",
    "/api/v1/agents?page_size=1",
    "/api/v1/tools?page_size=1",
    "/api/v1/budgets?page_size=1",
)


async def service_is_healthy(port: int, tls_files: TlsFiles | None = None) -> bool:
    """Whether the gRPC service on a port of 127.0.0.1 says that it is serving.

    Args:
        port: Its port.
        tls_files: What it is shown over TLS, which its certificate must be signed by; None if it
            serves without.
    """
    # A channel waits a second after a refused connection, so connecting is tried without one.
    if not await _accepts_connections(port):
        return False
    options = (("grpc.use_local_subchannel_pool", 1),)
    try:
        channel = peer_channel(f"127.0.0.1:{port}", tls_files, "", options)
    except StartupError:
        # The files are being replaced; the service itself would say if they are no good.
        return False
    async with channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def web_is_healthy(port: int) -> bool:
    """Whether the web process on a port of 127.0.0.1 says that it takes requests."""
    return await asyncio.to_thread(_page, port, "GET", "/web/healthz") is not None


async def gateway_is_healthy(admin_port: int) -> bool:
    """Whether Envoy has loaded its configuration and is accepting connections."""
    return await asyncio.to_thread(_page, admin_port, "GET", "/ready") is not None


async def why_not_ready(client: RestClient) -> str:
    """Makes a request through the gateway to each service.

    Returns:
        What is wrong, for a person; the empty string if every request succeeds.
    """
    return await asyncio.to_thread(_first_failure, client)


async def drain_gateway(admin_port: int, timeout_seconds: float) -> None:
    """Stops accepting connections and waits for the requests under way, at most for a time."""
    await asyncio.to_thread(_drain, admin_port, timeout_seconds)


def _drain(admin_port: int, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    # Failing the health check makes Envoy close each connection with its next answer.
    _page(admin_port, "POST", "/healthcheck/fail")
    _page(admin_port, "POST", "/drain_listeners")
    while time.monotonic() < deadline and _requests_under_way(admin_port):
        time.sleep(_DRAIN_INTERVAL_SECONDS)


def _requests_under_way(admin_port: int) -> bool:
    stats = _page(admin_port, "GET", "/stats?filter=^http.gateway.downstream_rq_active$") or ""
    return any(not line.endswith(": 0") for line in stats.splitlines())


def _page(port: int, method: str, path: str) -> str | None:
    """Calls a page of 127.0.0.1; None if it does not answer 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if response.status == _OK else None


def _first_failure(client: RestClient) -> str:
    for path in _REQUESTS:
        try:
            client.get(path)
        except (OSError, RestError, ValueError) as error:
            return str(error)
    return ""


async def _accepts_connections(port: int) -> bool:
    try:
        # Python 3.11's wait_for() loses a cancellation that comes together with the refusal.
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
