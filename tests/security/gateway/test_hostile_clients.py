"""Whatever some clients send, the others are served, memory comes back and nothing crashes.

By default each attack has a size for continuous integration; ``--full`` makes it thousands of
connections and lets it last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest

from tests.integration.gateway.running_gateway import RunningGateway, running_gateway, until
from tests.security.gateway.floods import FLOODS, Target, connection, read_to_end
from tests.security.gateway.malformed import malformed_http1, malformed_http2

LONGEST_ATTACK_SECONDS = 60
LONGEST_FULL_ATTACK_SECONDS = 120
# A legitimate client gives up after so long; a call of its own takes a millisecond or two.
PATIENCE_SECONDS = 30
KEPT_BYTES = 32 << 20
GOAWAY_FRAME = 7
RST_STREAM_FRAME = 3


@dataclass
class Served:
    """What became of the calls of a legitimate client."""

    successes: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The gateway of all attacks; it gives slow callers a second and has no other settings."""
    folder = tmp_path_factory.mktemp("attacked")
    with running_gateway(folder, request_arrival_timeout_seconds=1) as running:
        yield running
        assert running.upstreams[0].poll() is None


@pytest.fixture
def target(attacked: RunningGateway, full: bool) -> Target:
    return Target(attacked.port, attacked.token(), full)


@contextmanager
def legitimate_client(gateway: RunningGateway) -> Iterator[Served]:
    """Calls all the while, each time on a new connection, and is served each time.

    It has a thread of its own, so that it does not wait for the attacker.
    """
    served = Served()
    is_over = threading.Event()
    token = gateway.token()

    def call_on() -> None:
        # Once at least: some attacks are over in no time.
        while served.successes == 0 or not is_over.wait(0.005):
            began = time.monotonic()
            try:
                answer = gateway.call("GET", "/api/v1/agents/a", token=token)
            except (OSError, HTTPException) as error:
                served.failures.append(repr(error))
            else:
                if answer.status == 200:
                    served.successes += 1
                else:
                    served.failures.append(f"{answer.status} {answer.content!r}")
            if served.failures:
                return
            served.slowest_seconds = max(served.slowest_seconds, time.monotonic() - began)

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        yield served
    finally:
        is_over.set()
        thread.join()
    assert served.failures == []
    assert served.successes > 0
    assert served.slowest_seconds < PATIENCE_SECONDS


def assert_unharmed(gateway: RunningGateway) -> None:
    """The process is the same, and a call is served."""
    os.kill(gateway.envoy_pid, 0)
    assert gateway.admin("/server_info").body["state"] == "LIVE"
    assert gateway.call("GET", "/api/v1/agents/a").status == 200


def assert_recovers(gateway: RunningGateway, memory_bytes: int) -> None:
    """Everything that the attacker held is given back."""
    assert_unharmed(gateway)
    until(lambda: gateway.stat("http.gateway.downstream_rq_active") == 0)
    until(lambda: gateway.stat("cluster.executor.upstream_rq_active") == 0)
    until(lambda: gateway.stat("server.memory_allocated") < memory_bytes + KEPT_BYTES)


@pytest.mark.parametrize("attack", FLOODS, ids=lambda attack: attack.__name__)
async def test_others_are_served_during_a_flood(
    attack: Callable[[Target], Awaitable[None]], attacked: RunningGateway, target: Target
) -> None:
    memory_bytes = attacked.stat("server.memory_allocated")
    longest = LONGEST_FULL_ATTACK_SECONDS if target.full else LONGEST_ATTACK_SECONDS
    with legitimate_client(attacked) as served:
        async with asyncio.timeout(longest):
            await attack(target)
    logging.getLogger(__name__).info(
        "%d calls served, the slowest in %.2f s", served.successes, served.slowest_seconds
    )
    # In a thread, since this one still has the attacker's connections to close.
    await asyncio.to_thread(assert_recovers, attacked, memory_bytes)


async def test_malformed_requests_are_refused_once(target: Target) -> None:
    async def send(content: bytes) -> bytes:
        async with connection(target) as (reader, writer):
            writer.write(content)
            writer.write_eof()
            return await read_to_end(reader)

    answers = await _each(send, malformed_http1(target.token))
    wrong = {
        name: answer
        for name, answer in answers.items()
        if b"smuggled" in answer or answer.count(b"HTTP/1.1 ") > 1
    }
    assert wrong == {}
    # Nothing at all, or a refusal; 501 is for codings that are unknown.
    statuses = {answer[:12] for answer in answers.values()}
    assert {status[:10] for status in statuses} <= {b"", b"HTTP/1.1 4", b"HTTP/1.1 5"}
    assert {status for status in statuses if b" 5" in status} <= {b"HTTP/1.1 501"}


async def test_malformed_connections_end(target: Target) -> None:
    async def send(content: bytes) -> bytes:
        received = b""
        async with connection(target) as (reader, writer):
            writer.write(content)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not _has_ended(received) and (data := await reader.read(65_536)):
                        received += data
        return received

    answers = await _each(send, malformed_http2(target.token))
    # Where a good request went before, it may have been answered.
    served = {name for name, answer in answers.items() if b'"id"' in answer}
    assert served <= {"a stream that goes back"}


async def _each(
    send: Callable[[bytes], Awaitable[bytes]], contents: dict[str, bytes]
) -> dict[str, bytes]:
    answers = await asyncio.gather(*(send(content) for content in contents.values()))
    return dict(zip(contents, answers, strict=True))


def _has_ended(received: bytes) -> bool:
    """Whether a stream or the connection was given up, or a stream was refused."""
    at = 0
    while at + 9 <= len(received):
        length, kind, flags = (
            int.from_bytes(received[at : at + 3]),
            received[at + 3],
            received[at + 4],
        )
        if kind in {GOAWAY_FRAME, RST_STREAM_FRAME} or (kind in {0, 1} and flags & 1):
            return True
        at += 9 + length
    return False


def test_the_gateway_is_unharmed_by_all_of_it(attacked: RunningGateway) -> None:
    assert_unharmed(attacked)
