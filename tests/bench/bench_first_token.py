"""Time to the first streamed token: what the platform adds to the bare provider.

A mock of the Messages API answers over HTTP on loopback, slowly, piece by piece. Measured are, in
turns so that each meets the same load:

- bare: the provider alone, from the call to its first piece of text;
- grpc: StreamAgent at the executor's own port, from the call to its first `text_delta`;
- rest: the same through the gateway, as server-sent events.

Each includes connecting to the mock as the provider does it. Of a stream, the gaps between pieces are
shown as well: they are the model's own, and what batching adds to them.

    python -m tests.bench.bench_first_token [--streams N] [--concurrent N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from statistics import median

import grpc
import uvloop

from agent_executor.api.executor.v1 import run_service_pb2, run_service_pb2_grpc
from agent_executor.executor.models.anthropic.client import AnthropicAccounts
from agent_executor.executor.models.anthropic.provider import AnthropicProvider
from agent_executor.executor.models.model import Message, ModelDelta, ModelRequest, TextBlock
from agent_executor.executor.models.provider_networks import ProviderNetworks
from tests.platforms import COMMAND, RunningPlatform, running_platform

QUESTION = "Hello there, my friend. How are you?"
MODEL = "claude-sonnet-4-20250514"
PIECE_SECONDS = 0.03
ROUNDS = 5

Stream = Callable[[], Awaitable[list[float]]]
"""Makes one call and returns after how many seconds each piece of text came."""


@contextlib.contextmanager
def slow_model() -> Iterator[str]:
    """Yields the address of a mock that waits before each piece."""
    command = [*COMMAND, "mock-claude", "--port", "0", "--token-delay-seconds", str(PIECE_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.kill()


def bare(provider: AnthropicProvider) -> Stream:
    """Returns what calls the provider alone."""
    request = ModelRequest(MODEL, "", (Message("user", (TextBlock(QUESTION),)),), (), 1_000)

    async def stream() -> list[float]:
        began, times = time.perf_counter(), list[float]()

        def note(delta: ModelDelta) -> None:
            if delta.text:
                times.append(time.perf_counter() - began)

        await provider.generate(request, on_delta=note)
        return times

    return stream


def over_grpc(channel: grpc.aio.Channel, agent_id: str, token: str) -> Stream:
    """Returns what calls StreamAgent."""
    stub = run_service_pb2_grpc.RunServiceStub(channel)
    request = run_service_pb2.StreamAgentRequest(agent_id=agent_id, input=QUESTION)
    metadata = (("authorization", f"Bearer {token}"),)

    async def stream() -> list[float]:
        began, times = time.perf_counter(), list[float]()
        last = ""
        async for update in stub.StreamAgent(request, metadata=metadata):
            last = update.type
            if last == "text_delta":
                times.append(time.perf_counter() - began)
        assert last == "done"
        return times

    return stream


def over_rest(port: int, agent_id: str, token: str) -> Stream:
    """Returns what calls the route, on a connection of its own, as `curl` does."""
    body = json.dumps({"input": QUESTION}).encode()
    request = (
        f"POST /api/v1/agents/{agent_id}/execute/stream HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body

    async def stream() -> list[float]:
        began, times = time.perf_counter(), list[float]()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        last = b""
        async for line in reader:
            if line.startswith(b"event: "):
                last = line
                if line == b"event: text_delta\n":
                    times.append(time.perf_counter() - began)
        writer.close()
        assert last == b"event: done\n", last
        return times

    return stream


async def measure(stream: Stream, streams: int, concurrent: int) -> list[list[float]]:
    """Makes so many calls, so many at once."""
    places = asyncio.Semaphore(concurrent)

    async def one() -> list[float]:
        async with places:
            return await stream()

    return await asyncio.gather(*(one() for _ in range(streams)))


def show(name: str, results: list[list[float]], base_ms: float | None) -> float:
    """Prints a row and returns the median time to the first piece, in milliseconds."""
    firsts = sorted(1000 * times[0] for times in results)
    gaps = sorted(
        1000 * (later - earlier) for times in results for earlier, later in pairwise(times)
    )
    added = "" if base_ms is None else f"  added {median(firsts) - base_ms:6.2f} ms"
    print(
        f"{name}: first token p50 {median(firsts):7.2f} ms  p99 {firsts[int(len(firsts) * 0.99)]:7.2f} ms"
        f"{added}  gaps p50 {median(gaps):6.2f} ms  p99 {gaps[int(len(gaps) * 0.99)]:6.2f} ms"
    )
    return median(firsts)


@contextlib.asynccontextmanager
async def bare_provider() -> AsyncIterator[AnthropicProvider]:
    """Yields the provider as the executor builds it, against the mock that the environment names."""

    def no_key(ciphertext: bytes, agent_id: str) -> str:
        del ciphertext, agent_id
        return ""

    networks = ProviderNetworks((ipaddress.ip_network("127.0.0.0/8"),), ())
    provider = AnthropicProvider(AnthropicAccounts(no_key, networks))
    try:
        yield provider
    finally:
        await provider.close()


async def compare(platform: RunningPlatform, streams: int, concurrent: int) -> None:
    """Measures the three ways in turns, and prints a row for each."""
    client = platform.client()
    agent_id = client.post("/api/v1/agents", {"name": "Chat", "model": MODEL}).body["id"]
    address = f"127.0.0.1:{platform.grpc_ports['executor']}"
    async with bare_provider() as provider, grpc.aio.insecure_channel(address) as channel:
        ways = {
            "bare": bare(provider),
            "grpc": over_grpc(channel, agent_id, platform.token()),
            "rest": over_rest(platform.http_port, agent_id, platform.token()),
        }
        results: dict[str, list[list[float]]] = {name: [] for name in ways}
        for stream in ways.values():
            await measure(stream, concurrent, concurrent)
        for _ in range(ROUNDS):
            for name, stream in ways.items():
                results[name] += await measure(stream, max(1, streams // ROUNDS), concurrent)
    base = show("bare", results["bare"], None)
    show("grpc", results["grpc"], base)
    show("rest", results["rest"], base)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="per way")
    parser.add_argument("--concurrent", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with slow_model() as url:
        os.environ.update(ANTHROPIC_API_KEY="any", ANTHROPIC_BASE_URL=url)  # noqa: TID251 -- the SDK itself reads it
        with running_platform(
            EXECUTOR_MODEL_PROVIDER="anthropic",
            EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]',
            ANTHROPIC_API_KEY="any",
            ANTHROPIC_BASE_URL=url,
        ) as platform:
            for concurrent in options.concurrent:
                print(f"{concurrent} at once, a piece every {1000 * PIECE_SECONDS:.0f} ms")
                uvloop.run(compare(platform, options.streams, concurrent))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
