"""Starting and stopping a service in this process."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from agent_executor.serving.server import ServiceRuntime, started
from agent_executor.serving.settings import ServiceSettings
from agent_executor.serving.startup import StartupError
from tests.integration.serving.conftest import Sample
from tests.integration.serving.sample_service import NAME, READY_FILE, SERVICE, asking, bootstrap

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    return int(answer.status)


async def services_of(channel: grpc.aio.Channel) -> set[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(timeout=60)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await call.done_writing()
    answer = await call.read()
    return {service.name for service in answer.list_services_response.service}


class TestRunning:
    async def test_health_answers_for_the_service_and_the_whole(self, sample: Sample) -> None:
        assert await health_of(sample.channel, "") == SERVING
        assert await health_of(sample.channel, SERVICE) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health_of(sample.channel, "another.Service")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND

    async def test_as_much_metadata_as_the_gateway_lets_through_is_taken(
        self, sample: Sample
    ) -> None:
        # By default gRPC refuses at random from 8 KiB on, so that once would say little.
        for _ in range(8):
            await sample.unary(asking("x"), (*sample.authorized(), ("x-large", "a" * 50_000)))

    async def test_reflection_lists_the_service_without_credentials(self, sample: Sample) -> None:
        assert SERVICE in await services_of(sample.channel)

    async def test_reflection_can_be_switched_off(self, settings: ServiceSettings) -> None:
        closed = settings.model_copy(update={"reflection": False})
        async with (
            started(NAME, closed, bootstrap) as running,
            grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await services_of(channel)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_calls_are_on_the_metrics_page(self, sample: Sample) -> None:
        await sample.unary(asking("x"), sample.authorized())
        url = f"http://127.0.0.1:{sample.running.metrics_port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=60).read())
        method = f"/{SERVICE}/Unary"
        expected = f'agent_executor_rpc_requests_total{{code="OK",method="{method}"}} 1.0'
        assert expected.encode() in page

    async def test_metrics_can_be_on_an_address_of_their_own(
        self, settings: ServiceSettings
    ) -> None:
        apart = settings.model_copy(update={"metrics_host": "127.0.0.2"})
        async with started(NAME, apart, bootstrap) as running:
            url = f"http://127.0.0.2:{running.metrics_port}/metrics"
            page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
            assert page
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", running.metrics_port), timeout=10)

    async def test_a_message_as_large_as_allowed_passes_and_a_larger_one_does_not(
        self, sample: Sample, settings: ServiceSettings
    ) -> None:
        request = asking("x")
        request.reservation_id = "r" * (settings.max_message_bytes - 1000)
        # It reaches validation, which refuses it by its own rule.
        with pytest.raises(grpc.aio.AioRpcError) as invalid:
            await sample.unary(request, sample.authorized())
        assert invalid.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        request.reservation_id += "r" * 2000
        with pytest.raises(grpc.aio.AioRpcError) as too_large:
            await sample.unary(request, sample.authorized())
        assert too_large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestStarting:
    @pytest.mark.parametrize("setting", ["grpc_port", "metrics_port"])
    async def test_a_taken_port_is_one_sentence(
        self, settings: ServiceSettings, setting: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            blocked = settings.model_copy(update={setting: port})
            with pytest.raises(StartupError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
                async with started(NAME, blocked, bootstrap):
                    pass

    async def test_two_services_do_not_share_a_port(self, settings: ServiceSettings) -> None:
        async with started(NAME, settings, bootstrap) as running:
            second = settings.model_copy(update={"grpc_port": running.grpc_port})
            with pytest.raises(StartupError, match="Address already in use"):
                async with started(NAME, second, bootstrap):
                    pass

    async def test_an_address_that_is_not_here_is_one_sentence(
        self, settings: ServiceSettings
    ) -> None:
        elsewhere = settings.model_copy(update={"host": "192.0.2.1"})
        with pytest.raises(StartupError, match=r"192\.0\.2\.1:0: Cannot assign"):
            async with started(NAME, elsewhere, bootstrap):
                pass

    async def test_without_the_service_key_it_does_not_start(
        self, settings: ServiceSettings, data_dir: Path
    ) -> None:
        (data_dir / "keys" / "service.key").unlink()
        with pytest.raises(StartupError, match=r"service\.key cannot be read"):
            async with started(NAME, settings, bootstrap):
                pass

    async def test_what_a_failed_bootstrap_opened_is_closed(
        self, settings: ServiceSettings
    ) -> None:
        closed: list[str] = []

        async def fail(runtime: ServiceRuntime[ServiceSettings]) -> Sequence[str]:
            runtime.resources.callback(closed.append, "database")
            raise StartupError("The journal cannot be opened.")

        with pytest.raises(StartupError, match="journal"):
            async with started(NAME, settings, fail):
                pass
        assert closed == ["database"]


class TestStopping:
    async def test_it_says_so_then_drains_then_closes_the_last_first(
        self, settings: ServiceSettings
    ) -> None:
        events: list[str] = []

        async def build(runtime: ServiceRuntime[ServiceSettings]) -> Sequence[str]:
            runtime.resources.callback(events.append, "database closed")
            runtime.resources.callback(events.append, "client closed")
            runtime.drain_callbacks.append(lambda: events.append("drained"))
            return await bootstrap(runtime)

        draining = settings.model_copy(update={"drain_seconds": 0.2})
        service = started(NAME, draining, build)
        running = await service.__aenter__()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watch.read()).status == SERVING
            stopping = asyncio.create_task(service.__aexit__(None, None, None))
            assert (await watch.read()).status == NOT_SERVING
            # Load balancers have not noticed yet, so calls are still taken.
            assert await health_of(channel, "") == NOT_SERVING
            assert events == []
            watch.cancel()
            await stopping
        assert events == ["drained", "client closed", "database closed"]

    async def test_a_call_that_outlives_its_grace_is_cut_off(
        self, settings: ServiceSettings, issuer: Any
    ) -> None:
        service = started(NAME, settings, bootstrap)
        running = await service.__aenter__()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
            call: Any = channel.unary_unary(f"/{SERVICE}/Unary")
            answer = call(
                asking("wait long").SerializeToString(),
                metadata=(("authorization", issuer.bearer()),),
                timeout=60,
            )
            async with asyncio.timeout(60):
                while not (settings.data_dir / READY_FILE).exists():  # noqa: ASYNC110 -- nothing tells of it
                    await asyncio.sleep(0.005)
            await service.__aexit__(None, None, None)
            with pytest.raises(grpc.aio.AioRpcError) as cut_off:
                await answer
        assert cut_off.value.code() is grpc.StatusCode.UNAVAILABLE
