"""Limits that two real Envoys, and two real tool-runners behind them, count together in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_executor.api.gateway.v1 import rate_limit_service_pb2 as gateway_pb2
from agent_executor.api.gateway.v1 import rate_limit_service_pb2_grpc as gateway_grpc
from agent_executor.cli.issuer import TokenClaims
from agent_executor.cli.keys import ensure_keys
from agent_executor.cli.ports import free_port
from agent_executor.tool_runner.schema import DATABASE_FILE, MIGRATIONS
from tests.integration.gateway.running_gateway import RunningGateway, running_gateway, until
from tests.integration.gateway.test_error_shape import assert_is_error
from tests.integration.tool_runner.running_tool_runner import Caller, Platform, make_request
from tests.redis_server import RedisServer
from tests.sqlite import migrated_file

AGENT = "/api/v1/agents/a"
PER_SECOND = 1
BURST = 20
TOOL_CALLS_PER_MINUTE = 60
TOOL_CALLS = 400
PATIENCE_SECONDS = "30"


@dataclass(frozen=True)
class World:
    """What runs."""

    redis: RedisServer
    platform: Platform
    tool_runner_ports: list[int]
    gateways: list[RunningGateway]


@contextlib.contextmanager
def tool_runner(folder: Path, redis_url: str) -> Iterator[int]:
    """Runs a tool-runner with a database of its own, and yields its port."""
    port = free_port()
    (folder / DATABASE_FILE).parent.mkdir(parents=True, exist_ok=True)
    migrated_file(folder / DATABASE_FILE, MIGRATIONS)
    environment = {
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        "REDIS_URL": redis_url,
        "REDIS_TIMEOUT_SECONDS": PATIENCE_SECONDS,
        "TOOL_RUNNER_DATA_DIR": str(folder),
        "TOOL_RUNNER_GRPC_PORT": str(port),
        "TOOL_RUNNER_ORGANIZATION_CALLS_PER_MINUTE": str(TOOL_CALLS_PER_MINUTE),
        "TOOL_RUNNER_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "agent_executor.tool_runner"]
    process = subprocess.Popen(command, env=environment)
    try:
        until(lambda: _serves(port))
        yield port
    finally:
        process.kill()
        process.wait()


def _serves(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest()
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory, redis_process: RedisServer
) -> Iterator[World]:
    redis_process.restore()
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    ensure_keys(folders[0])
    shutil.copytree(folders[0] / "keys", folders[1] / "keys")
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(tool_runner(folder, redis_process.url)) for folder in folders]
        gateways = [
            stack.enter_context(
                running_gateway(
                    folder,
                    tool_runner_addresses=tuple(f"127.0.0.1:{port}" for port in ports),
                    rate_limit_scope="shared",
                    rate_limit_timeout_seconds=10,
                    rate_limit_per_caller=PER_SECOND,
                    rate_limit_per_caller_burst=BURST,
                    rate_limit_per_organization=1_000,
                    rate_limit_per_organization_burst=2 * BURST,
                )
            )
            for folder in folders
        ]
        yield World(redis_process, Platform.in_folder(folders[0]), ports, gateways)


@pytest.fixture
def world(started: World) -> Iterator[World]:
    """Yields the world with all limits at rest, and Redis running."""
    started.redis.restore()
    until(lambda: all(_counts(port) for port in started.tool_runner_ports))
    yield started
    started.redis.restore()


def _ask(port: int, *descriptors: dict[str, str], hits: int = 0) -> gateway_pb2.RateLimitResponse:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = gateway_grpc.RateLimitServiceStub(channel)
        entry = gateway_pb2.RateLimitDescriptor.Entry
        request = gateway_pb2.RateLimitRequest(
            domain="gateway",
            hits_addend=hits,
            descriptors=[
                gateway_pb2.RateLimitDescriptor(
                    entries=[entry(key=key, value=value) for key, value in each.items()]
                )
                for each in descriptors
            ],
        )
        response: gateway_pb2.RateLimitResponse = stub.ShouldRateLimit(request, timeout=60)
        return response


def _counts(port: int) -> bool:
    try:
        return bool(_ask(port, {"organization": "probe", "limit": "1000000/1000000"}).overall_code)
    except grpc.RpcError:
        return False


def _call(gateway: RunningGateway, organization: str, user: str = "ada") -> Any:
    claims = TokenClaims(organization=organization, user=user)
    return gateway.call("GET", AGENT, token=gateway.token(claims))


def _unanswered(gateway: RunningGateway) -> int:
    """Returns how many requests passed because nobody counted them together with others."""
    lines = gateway.admin("/stats?filter=ratelimit.error$").content.decode().splitlines()
    return sum(int(line.rpartition(": ")[2]) for line in lines)


def _statuses(world: World, count: int, organization: str, users: int = 1) -> list[int]:
    """Makes calls at both gateways at once, in turn by each user."""

    def one(number: int) -> int:
        gateway = world.gateways[number % len(world.gateways)]
        status: int = _call(gateway, organization, f"user-{number % users}").status
        return status

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(one, range(count)))


def test_two_gateways_let_no_more_through_than_one(world: World) -> None:
    started = time.monotonic()
    statuses = _statuses(world, 5 * BURST, "one")
    seconds = time.monotonic() - started
    admitted = statuses.count(200)
    assert set(statuses) == {200, 429}
    assert BURST <= admitted <= BURST + math.ceil(seconds * PER_SECOND)
    answers = [_call(gateway, "one", "user-0") for gateway in world.gateways for _ in range(5)]
    refused = next(answer for answer in answers if answer.status != 200)
    assert_is_error(refused, 429, "RATE_LIMIT_EXCEEDED", "More requests came")
    assert "x-envoy-ratelimited" not in refused.headers
    # Another organization's user of that name is somebody else.
    assert _call(world.gateways[0], "two", "user-0").status == 200


def test_an_organizations_limit_is_counted_in_the_same_step(world: World) -> None:
    # So many users that none reaches its own limit.
    statuses = _statuses(world, 4 * BURST, "three", users=8 * BURST)
    assert statuses.count(200) >= 2 * BURST
    slow = {"organization": "four", "limit": "1/1000000"}
    own = {"caller_organization": "four", "caller": "a", "limit": "1/2"}
    port, other = world.tool_runner_ports
    answers = [_ask(each, own, slow).overall_code for each in (port, other, port, other)]
    assert answers[:3] == [1, 1, 2]


def test_a_refusal_says_by_which_limit_and_for_how_long(world: World) -> None:
    descriptors = ({"organization": "five", "limit": "1/100"}, {"caller": "a", "limit": "1/5"})
    port, other = world.tool_runner_ports
    assert _ask(port, *descriptors, hits=5).overall_code == gateway_pb2.RateLimitResponse.OK
    refused = _ask(other, *descriptors)
    assert refused.overall_code == gateway_pb2.RateLimitResponse.OVER_LIMIT
    assert [status.code for status in refused.statuses] == [1, 2]
    assert 0 < refused.statuses[1].duration_until_reset.ToMilliseconds() <= 1_000
    # More than ever come at once.
    assert _ask(port, {"caller": "b", "limit": "1/5"}, hits=6).overall_code == 2


@pytest.mark.parametrize(
    "descriptor", [{"caller": "a"}, {"limit": "0/5"}, {"limit": "5"}, {"limit": "1/2; x"}]
)
def test_who_says_no_limit_is_told_so(world: World, descriptor: dict[str, str]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _ask(world.tool_runner_ports[0], descriptor)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_without_redis_each_gateway_counts_for_itself(world: World) -> None:
    world.redis.kill()
    for gateway in world.gateways:
        errors = _unanswered(gateway)
        started = time.monotonic()
        statuses = [_call(gateway, "six").status for _ in range(BURST)]
        assert set(statuses) == {200}
        assert _unanswered(gateway) >= errors + BURST
        more = [_call(gateway, "six").status for _ in range(BURST)]
        seconds = time.monotonic() - started
        assert more.count(200) <= seconds * PER_SECOND + 1
    world.redis.start()
    until(lambda: all(_counts(port) for port in world.tool_runner_ports))
    statuses = _statuses(world, 3 * BURST, "seven")
    assert statuses.count(200) < 2 * BURST


def _hammer(world: World, ports: list[int], calls: int) -> tuple[int, float]:
    """Makes tool calls of one organization at all tool-runners at once; says how many were let in."""

    async def make() -> tuple[int, float]:
        callers = [Caller(port) for port in ports]
        started = time.monotonic()

        async def one(number: int) -> bool:
            call = make_request(tool_call_id=f"{started}-{number}")
            grant = world.platform.grant(call)
            caller = callers[number % len(callers)]
            result = await caller.execute("stream", call, grant)
            if not result.success:
                assert result.code == "RATE_LIMIT_EXCEEDED", result.error
            return bool(result.success)

        outcomes = await asyncio.gather(*(one(number) for number in range(calls)))
        seconds = time.monotonic() - started
        for caller in callers:
            await caller.close()
        return outcomes.count(True), seconds

    return asyncio.run(make())


def test_tool_runners_that_are_hammered_let_through_what_one_would(world: World) -> None:
    admitted, seconds = _hammer(world, world.tool_runner_ports, TOOL_CALLS)
    allowed = TOOL_CALLS_PER_MINUTE + math.floor(seconds * TOOL_CALLS_PER_MINUTE / 60)
    assert TOOL_CALLS_PER_MINUTE <= admitted <= allowed
