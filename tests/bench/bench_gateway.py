"""What the gateway costs: its CPU per REST call, and its latency against gRPC without it.

The service behind it answers at once and remembers nothing, so that what is measured is Envoy. Each
row is one kind of call with all that the gateway does by default, and again with a part switched
off. Latencies are of one call at a time; the ratio is to the same call by gRPC, straight to the
service, made in turns with it. Every answer is checked.

    python -m tests.bench.bench_gateway [--calls N] [--connections N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import uvloop

from agent_executor.api.executor.v1 import agent_service_pb2, agent_service_pb2_grpc
from tests.bench.bench_execute import cpu_seconds
from tests.bench.load import Load, post
from tests.integration.gateway.running_gateway import RunningGateway, running_gateway

WARM_UP_CALLS = 200
TIMED_CALLS = 300
LARGE_CALLS_SHARE = 20
MANY_FIELDS = {
    "name": "Math Assistant",
    "role": "math expert",
    "instructions": "Use the calculator tool for arithmetic operations.",
    "tools": {f"tool_{number}": True for number in range(20)},
    "custom_tools": {f"own_{number}": {"enabled": True} for number in range(10)},
}
# One caller calls more often here than one may by default.
COUNTED = {"rate_limit_per_caller": 1_000_000, "rate_limit_per_organization": 1_000_000}
NOT_COUNTED = {"rate_limit_per_caller": 0, "rate_limit_per_organization": 0}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "with everything": COUNTED,
    "unknown fields not refused": {**COUNTED, "refuse_unknown_fields": False},
    "no rate limits": NOT_COUNTED,
    "neither": {**NOT_COUNTED, "refuse_unknown_fields": False},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of call: its name, what goes over the wire, and the share of `--calls` it gets."""

    name: str
    request: bytes
    expected: bytes
    calls: int


def kinds(token: str, calls: int) -> list[Kind]:
    """Returns the calls that are measured."""
    large = {"name": "large", "instructions": "x" * (1 << 20)}
    # The service answers with the instructions: a large one would measure its answer, too.
    get = f"GET /api/v1/agents/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    create = "/api/v1/agents"
    return [
        Kind("GET", get.encode(), b'"id":"a"', calls),
        Kind(
            "POST, 64 bytes",
            _post(token, "/api/v1/agents/a/execute", {"input": "x" * 49}),
            b'"agent_id":"a"',
            calls,
        ),
        Kind(
            "POST, 900 bytes, 40 fields",
            _post(token, create, MANY_FIELDS),
            b"Math Assistant",
            calls,
        ),
        Kind(
            "POST, 1 MiB",
            _post(token, create, large),
            b'"large"',
            max(20, calls // LARGE_CALLS_SHARE),
        ),
    ]


def _post(token: str, path: str, body: Mapping[str, Any]) -> bytes:
    return post(path, token, json.dumps(body).encode())


def cpu_ms_per_call(gateway: RunningGateway, kind: Kind, connections: int) -> float:
    """Returns the CPU-milliseconds of Envoy for one call, health checks included."""
    uvloop.run(
        Load(kind.request, kind.expected, min(WARM_UP_CALLS, kind.calls)).run(
            gateway.port, connections
        )
    )
    before = cpu_seconds(gateway.envoy_pid)
    result = uvloop.run(
        Load(kind.request, kind.expected, kind.calls).run(gateway.port, connections)
    )
    assert result.failures == 0, f"{kind.name}: {result.failures} of {result.requests} failed"
    return 1000 * (cpu_seconds(gateway.envoy_pid) - before) / result.requests


def latencies_ms(gateway: RunningGateway) -> tuple[float, float]:
    """Returns the median latencies of GetAgent by REST through the gateway and by gRPC without."""
    headers = {"authorization": f"Bearer {gateway.token()}"}
    connection = HTTPConnection("127.0.0.1", gateway.port)
    channel = grpc.insecure_channel(f"127.0.0.1:{gateway.upstream_ports[0]}")
    stub = agent_service_pb2_grpc.AgentServiceStub(channel)
    request = agent_service_pb2.GetAgentRequest(agent_id="a")

    def by_rest() -> None:
        connection.request("GET", "/api/v1/agents/a", headers=headers)
        assert json.loads(connection.getresponse().read())["id"] == "a"

    def by_grpc() -> None:
        assert stub.GetAgent(request).id == "a"

    with contextlib.closing(connection), channel:
        pairs = [(_timed(by_rest), _timed(by_grpc)) for _ in range(TIMED_CALLS)]
    rest, direct = zip(*pairs, strict=True)
    return 1000 * statistics.median(rest), 1000 * statistics.median(direct)


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextlib.contextmanager
def gateway_with(settings: Mapping[str, Any]) -> Iterator[RunningGateway]:
    """Runs a gateway with these settings."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_gateway(Path(folder), **settings) as running,
    ):
        yield running


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}")
    for variant, settings in VARIANTS.items():
        with gateway_with(settings) as gateway:
            print(variant)
            for kind in kinds(gateway.token(), options.calls):
                cpu = cpu_ms_per_call(gateway, kind, options.connections)
                print(f"  {kind.name:28s} {cpu:7.3f} gateway CPU-ms per call")
            rest, direct = latencies_ms(gateway)
            print(
                f"  one GET at a time: REST {rest:.2f} ms, gRPC without the gateway {direct:.2f} ms, "
                f"added {rest - direct:.2f} ms, ratio {rest / direct:.2f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
