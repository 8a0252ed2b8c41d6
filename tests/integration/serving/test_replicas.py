"""Calls to a peer of which there are several: who gets them, and what becomes of those of a lost one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2, usage_service_pb2_grpc
from agent_executor.errors import UnavailableError
from agent_executor.serving import replicas as replicas_module
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from agent_executor.serving.replicas import Address, Replica, Replicas
from tests.integration.serving.multiplex_peer import (
    GRANT,
    TIMEOUT_SECONDS,
    RunningPeer,
    find_free_port,
    make_request,
    running_peer,
    until,
)


class Pool:
    """The replicas under test.

    Attributes:
        opened: Where streams were opened to, in order.
    """

    def __init__(self, addresses: str) -> None:
        self.opened: list[Address] = []
        self._ids = itertools.count(1)
        self.replicas = Replicas(addresses, self._open, "ledger")

    def _open(self, address: Address, on_connection: Callable[[bool], None]) -> Replica:
        self.opened.append(address)
        channel = grpc.aio.insecure_channel(address.target, options=CHANNEL_OPTIONS)
        stream = MultiplexedStream(
            usage_service_pb2_grpc.UsageServiceStub(channel).StreamUsage,
            usage_service_pb2.StreamUsageRequest,
            name="ledger",
            ids=self._ids,
            on_connection=on_connection,
        )
        stream.start()
        return Replica(channel, stream)

    async def reserve(self, name: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        reservation: usage_pb2.Reservation = await self.replicas.call(
            "reserve", make_request(name), timeout_seconds=timeout_seconds, grant=GRANT
        )
        return reservation.id


@contextlib.asynccontextmanager
async def connected(*addresses: str) -> AsyncIterator[Pool]:
    pool = Pool(", ".join(addresses))
    await pool.replicas.start()
    try:
        yield pool
    finally:
        await pool.replicas.close()


@pytest.fixture
async def peers() -> AsyncIterator[list[RunningPeer]]:
    async with running_peer() as first, running_peer() as second:
        yield [first, second]


def at(peer: RunningPeer) -> str:
    return f"127.0.0.1:{peer.port}"


def begun(peers: list[RunningPeer]) -> list[list[str]]:
    return [peer.peer.begun for peer in peers]


async def all_serve(pool: Pool, peers: list[RunningPeer]) -> None:
    """Waits until every replica is connected."""

    async def hanging() -> bool:
        for peer in peers:
            peer.peer.begun.clear()
        calls = [asyncio.create_task(pool.reserve(f"hang-{n}")) for n in range(2 * len(peers))]
        await until(lambda: sum(map(len, begun(peers))) == len(calls))
        is_everywhere = all(begun(peers))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return is_everywhere

    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not await hanging():
            pass
    for peer in peers:
        peer.peer.begun.clear()


async def test_the_calls_are_shared_by_all_replicas(peers: list[RunningPeer]) -> None:
    async with connected(*map(at, peers)) as pool:
        await all_serve(pool, peers)
        calls = [asyncio.create_task(pool.reserve(f"hang-{number}")) for number in range(20)]
        await until(lambda: sum(map(len, begun(peers))) == 20)
        assert [len(each) for each in begun(peers)] == [10, 10]
        for peer in peers:
            peer.peer.release.set()
        assert sorted(await asyncio.gather(*calls)) == sorted(f"hang-{n}" for n in range(20))


async def test_calls_outside_of_the_streams_go_to_those_that_are_there_in_turn(
    peers: list[RunningPeer],
) -> None:
    away = f"127.0.0.1:{find_free_port()}"
    async with connected(away, *map(at, peers)) as pool:
        await all_serve(pool, peers)
        assert len({id(pool.replicas.channel) for _ in range(6)}) == 2
    async with connected(away) as pool:
        assert pool.replicas.channel is pool.replicas.channels[0]


async def test_calls_of_a_lost_replica_are_answered_by_another_one(
    peers: list[RunningPeer],
) -> None:
    first, second = peers
    async with connected(*map(at, peers)) as pool:
        await all_serve(pool, peers)
        calls = [asyncio.create_task(pool.reserve(f"hang-{number}")) for number in range(10)]
        await until(lambda: sum(map(len, begun(peers))) == 10)
        second.peer.release.set()
        await first.stop()
        assert sorted(await asyncio.gather(*calls)) == sorted(f"hang-{n}" for n in range(10))
        assert sorted(second.peer.begun) == sorted(f"hang-{n}" for n in range(10))


async def test_a_draining_replica_answers_what_it_has_begun_and_gets_nothing_more(
    peers: list[RunningPeer],
) -> None:
    first = peers[0]
    async with connected(*map(at, peers)) as pool:
        await all_serve(pool, peers)
        calls = [asyncio.create_task(pool.reserve(f"hang-{number}")) for number in range(4)]
        await until(lambda: sum(map(len, begun(peers))) == 4)
        first.peer.multiplexed.drain()
        more = [asyncio.create_task(pool.reserve(f"more-{number}")) for number in range(20)]
        for peer in peers:
            peer.peer.release.set()
        await asyncio.gather(*calls, *more)
        assert [name for name in first.peer.begun if name.startswith("more")] == []
        assert sum(name.startswith("hang") for name in first.peer.begun) == 2


async def test_calls_wait_for_whichever_replica_comes_first() -> None:
    ports = [find_free_port(), find_free_port()]
    async with connected(*(f"127.0.0.1:{port}" for port in ports)) as pool:
        calls = [asyncio.create_task(pool.reserve(f"some-{number}")) for number in range(10)]
        late = RunningPeer()
        late.port = ports[1]
        await late.start()
        assert len(await asyncio.gather(*calls)) == 10
        assert len(late.peer.begun) == 10
        await late.stop()


async def test_a_call_that_its_caller_gives_up_is_cancelled_where_it_runs_by_then(
    peers: list[RunningPeer],
) -> None:
    first, second = peers
    async with connected(*map(at, peers)) as pool:
        await all_serve(pool, peers)
        calls = [asyncio.create_task(pool.reserve(f"hang-on-{number}")) for number in range(2)]
        await until(lambda: all(begun(peers)))
        await first.stop()
        await until(lambda: len(second.peer.begun) == 2)
        for call in calls:
            call.cancel()
        await until(lambda: {"hang-on-0", "hang-on-1"} <= set(second.peer.cancelled))
        assert (await asyncio.gather(*calls, return_exceptions=True)) != []


async def test_without_any_replica_a_call_ends_with_its_time() -> None:
    async with connected(f"127.0.0.1:{find_free_port()}") as pool:
        with pytest.raises(UnavailableError, match="ledger cannot be reached"):
            await pool.reserve("some", timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("addresses", "targets"),
    [
        (["127.0.0.1"], ["127.0.0.1:7"]),
        # The service listens on one of them, and nobody knows which.
        (["::1", "127.0.0.1"], ["replica.test:7"]),
        (["fd00::2", "fd00::1"], ["[fd00::1]:7", "[fd00::2]:7"]),
        (["fd00::1", "fd00::2", "10.0.0.2", "10.0.0.1"], ["10.0.0.1:7", "10.0.0.2:7"]),
    ],
)
async def test_a_host_with_addresses_of_both_families_is_one_replica(
    addresses: list[str], targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked_up(host: str, port: str, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, int(port), 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
            for address in addresses
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up, raising=False)
    async with connected("replica.test:7") as pool:
        assert [address.target for address in pool.opened] == targets
        assert {address.host for address in pool.opened} == {"replica.test"}


async def test_replicas_of_a_name_come_and_go(
    peers: list[RunningPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name stands for one replica, then for two, then for the other one, as while they roll."""
    first, second = peers
    known = [first]
    names = asyncio.get_running_loop()

    async def looked_up(host: str, port: str, **_: Any) -> list[Any]:
        if host == "nowhere.test":
            raise socket.gaierror("no such name")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.1:{peer.port}", int(port)))
            for peer in known
        ]

    monkeypatch.setattr(replicas_module, "RESOLVE_SECONDS", 0.01)
    monkeypatch.setattr(names, "getaddrinfo", looked_up, raising=False)
    # The port is part of what the name stands for here, since all replicas are on this machine.
    monkeypatch.setattr(replicas_module, "_target", lambda ip, _port, _family: ip, raising=True)
    async with connected("ledger.test:1", "nowhere.test:1") as pool:
        assert await pool.reserve("a") == "a"
        known.append(second)
        await until(lambda: len(pool.opened) == 2)
        await all_serve(pool, peers)
        known.remove(first)
        await until(lambda: len(pool.replicas.channels) == 1)
        await pool.reserve("b")
        assert second.peer.begun[-1] == "b"
        known.clear()
        known.append(first)
        await until(lambda: len(pool.opened) == 3)
        await pool.reserve("c")
        assert {address.host for address in pool.opened} == {"ledger.test"}
