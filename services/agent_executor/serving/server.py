"""A service: builds the gRPC server, serves until told to stop, and stops in order.

Starting: the ports are bound, the service is built, the server starts, and only then health says
SERVING. Stopping: health says NOT_SERVING, calls are accepted a little longer so that load balancers
notice, then calls in flight get their grace; what the service opened is closed, the last first, and
spans are flushed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.interceptors import PipelineInterceptor
from agent_executor.serving.metrics import Metrics, metrics_served
from agent_executor.serving.multiplex_frames import SERVER_OPTIONS
from agent_executor.serving.pipeline import CallPipeline
from agent_executor.serving.process import (
    flush,
    run_process,
    spare_the_collector,
    stop_on_signals,
)
from agent_executor.serving.process_metrics import process_told
from agent_executor.serving.settings import ServiceSettings
from agent_executor.serving.startup import StartupError
from agent_executor.serving.telemetry import Telemetry, configure_telemetry
from agent_executor.serving.tls import server_credentials

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

_METADATA_MAX_BYTES: Final = 64 * 1024

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceRuntime(Generic[SettingsT]):
    """What a service's bootstrap builds on.

    Attributes:
        settings: The service's settings.
        server: Where it registers its servicers.
        pipeline: What frames of its multiplexed streams pass.
        service_key: Signs grants for peers and verifies theirs.
        metrics: Where it counts.
        telemetry: Makes its spans.
        health: Answers health checks; a part that can fail alone has a name of its own there.
        resources: What it opens goes here, to be closed in reverse when the service has stopped.
        drain_callbacks: Called when the server takes no more calls; streams, which have no end of
            their own, are to end then.
    """

    settings: SettingsT
    server: grpc.aio.Server
    pipeline: CallPipeline
    service_key: ServiceKey
    metrics: Metrics
    telemetry: Telemetry
    health: health.aio.HealthServicer
    resources: AsyncExitStack
    drain_callbacks: list[Callable[[], None]] = field(default_factory=list)


Bootstrap: TypeAlias = Callable[[ServiceRuntime[SettingsT]], Awaitable[Sequence[str]]]
"""Registers a service's servicers and returns their full names, as ``package.Service``."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that answers.

    Attributes:
        grpc_port: The port that it serves gRPC on.
        metrics_port: The port that it serves ``/metrics`` on.
    """

    grpc_port: int
    metrics_port: int


def run_service(
    service_name: str, load_settings: Callable[[], SettingsT], bootstrap: Bootstrap[SettingsT]
) -> int:
    """Runs a service until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        service_name: The name that grants, spans and logs know it by.
        load_settings: Reads its settings, as ``ServiceSettings.load`` does.
        bootstrap: Builds the service.

    Returns:
        The exit code: 0 after an orderly stop, 1 if the service cannot start or breaks.
    """
    return run_process(
        service_name, load_settings, lambda settings: serve(service_name, settings, bootstrap)
    )


async def serve(service_name: str, settings: SettingsT, bootstrap: Bootstrap[SettingsT]) -> None:
    """Serves until the process gets SIGTERM or SIGINT.

    Raises:
        StartupError: The service cannot start.
    """
    stop = stop_on_signals()
    async with started(service_name, settings, bootstrap):
        spare_the_collector()
        await stop.wait()
        _LOGGER.info("stopping")
    _LOGGER.info("stopped")


@asynccontextmanager
async def started(
    service_name: str, settings: SettingsT, bootstrap: Bootstrap[SettingsT]
) -> AsyncIterator[RunningService]:
    """Starts a service, yields once it answers, and stops it in order.

    Args:
        service_name: The name that grants, spans and logs know it by.
        settings: The service's settings.
        bootstrap: Builds the service.

    Raises:
        StartupError: A port is taken, the service key or a file of TLS cannot be used, or the bootstrap
            refuses.
    """
    async with AsyncExitStack() as plumbing:
        metrics = Metrics(max_names=settings.metrics_max_names)
        telemetry = configure_telemetry(service_name, settings)
        plumbing.push_async_callback(flush, telemetry)
        metrics_port = plumbing.enter_context(
            metrics_served(metrics, settings.metrics_host or settings.host, settings.metrics_port)
        )
        plumbing.enter_context(process_told(metrics, service_name))
        runtime, grpc_port = _build(service_name, settings, metrics, telemetry)
        await plumbing.enter_async_context(runtime.resources)
        service_names = await bootstrap(runtime)
        async with _served(runtime, service_names):
            _LOGGER.info("serving gRPC on %s:%d", settings.host, grpc_port)
            yield RunningService(grpc_port, metrics_port)


def _build(
    service_name: str, settings: SettingsT, metrics: Metrics, telemetry: Telemetry
) -> tuple[ServiceRuntime[SettingsT], int]:
    """Makes the server with its pipeline and binds its port."""
    service_key = ServiceKey.load(settings.service_key_file)
    pipeline = CallPipeline(
        service_name=service_name,
        token_verifier=TokenVerifier.from_settings(settings),
        service_key=service_key if settings.accepts_grants else None,
        metrics=metrics,
        tracer=telemetry.tracer,
    )
    server = grpc.aio.server(
        interceptors=[PipelineInterceptor(pipeline)], options=_server_options(settings)
    )
    port = _bind(server, settings)
    runtime = ServiceRuntime(
        settings=settings,
        server=server,
        pipeline=pipeline,
        service_key=service_key,
        metrics=metrics,
        telemetry=telemetry,
        health=health.aio.HealthServicer(),
        resources=AsyncExitStack(),
    )
    return runtime, port


@asynccontextmanager
async def _served(
    runtime: ServiceRuntime[SettingsT], service_names: Sequence[str]
) -> AsyncIterator[None]:
    """Starts the server, tells health so, and drains it at the end."""
    settings, servicer = runtime.settings, runtime.health
    health_pb2_grpc.add_HealthServicer_to_server(servicer, runtime.server)
    if settings.reflection:
        shown = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, runtime.server)
    for name in ("", *service_names):
        await servicer.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
    await runtime.server.start()
    try:
        for name in ("", *service_names):
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        yield
        await servicer.enter_graceful_shutdown()
        await asyncio.sleep(settings.drain_seconds)
    finally:
        for drain in runtime.drain_callbacks:
            drain()
        await runtime.server.stop(settings.shutdown_grace_seconds)


def _server_options(settings: ServiceSettings) -> list[tuple[str, int]]:
    options = {
        **dict(SERVER_OPTIONS),
        "grpc.max_receive_message_length": settings.max_message_bytes,
        "grpc.max_send_message_length": settings.max_message_bytes,
        # What the gateway lets through. Of more than 8 KiB gRPC refuses some at random, by default, with
        # a status that says to try again.
        "grpc.max_metadata_size": _METADATA_MAX_BYTES,
        # Otherwise a second process could bind the same port and take half of the calls.
        "grpc.so_reuseport": 0,
    }
    return list(options.items())


def _bind(server: grpc.aio.Server, settings: ServiceSettings) -> int:
    """Binds the port and returns it.

    Raises:
        StartupError: It is taken or may not be used, or the files of TLS cannot be used.
    """
    host, port = settings.host, settings.grpc_port
    tls_files = settings.tls_files
    credentials = server_credentials(tls_files) if tls_files is not None else None
    try:
        _try_port(host, port)
        if credentials is not None:
            return server.add_secure_port(_address(host, port), credentials)
        return server.add_insecure_port(_address(host, port))
    except OSError as error:
        reason = error.strerror or str(error)
    except RuntimeError:
        reason = "it cannot be bound"
    raise StartupError(f"gRPC cannot be served on {_address(host, port)}: {reason}.")


def _try_port(host: str, port: int) -> None:
    """Binds the port for a moment, since gRPC itself does not say why it cannot."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
