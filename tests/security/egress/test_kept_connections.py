"""Connections that are kept go nowhere but to the origin and the addresses that were checked."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import httpx2
import pytest

from agent_executor.egress.addresses import Address
from agent_executor.egress.kept_transport import KeptEgressTransport
from agent_executor.egress.policy import EgressPolicy
from agent_executor.errors import PermissionDeniedError
from tests.mock_claude import MockClaudeServer, mock_claude_server

LOOPBACK = (ipaddress.ip_network("127.0.0.1/32"),)


class Names:
    """A resolver whose answers a test changes."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def resolve(self, host: str, port: int) -> list[Address]:
        self.lookups += 1
        return [ipaddress.ip_address(answer) for answer in self.answers]


@pytest.fixture
async def server() -> AsyncIterator[MockClaudeServer]:
    async with mock_claude_server() as running:
        yield running


def client_of(url: str, names: Names, body_bytes_max: int = 10_000) -> httpx2.AsyncClient:
    policy = EgressPolicy(None, allowed_networks=LOOPBACK)
    transport = KeptEgressTransport(
        url,
        policy,
        body_bytes_max=body_bytes_max,
        resolver=names.resolve,
        own=frozenset,
    )
    return httpx2.AsyncClient(transport=transport, trust_env=False)


def named(server: MockClaudeServer) -> str:
    return server.url.replace("127.0.0.1", "claude.test")


async def test_a_connection_that_is_used_again_was_checked(server: MockClaudeServer) -> None:
    names = Names("127.0.0.1")
    async with client_of(named(server), names) as client:
        for _ in range(5):
            assert (await client.get(f"{named(server)}/mock/calls")).status_code == 200
        assert (names.lookups, server.server.connections) == (1, 1)
    await server.wait_until_alone()


async def test_a_name_that_changes_its_address_is_checked_again(server: MockClaudeServer) -> None:
    names = Names("127.0.0.1")
    async with client_of(named(server), names) as client:
        await client.get(f"{named(server)}/mock/calls", headers={"connection": "close"})
        names.answers = ["127.0.0.1", "127.0.0.2"]
        with pytest.raises(PermissionDeniedError):
            await client.get(f"{named(server)}/mock/calls")
        names.answers = []
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"{named(server)}/mock/calls")
    assert server.server.connections == 1


async def test_another_origin_is_not_called(server: MockClaudeServer) -> None:
    names = Names("127.0.0.1")
    async with client_of(named(server), names) as client:
        for url in (named(server).replace("http:", "https:"), "http://claude.test:1/", server.url):
            with pytest.raises(PermissionDeniedError):
                await client.get(url)
    assert (names.lookups, server.server.connections) == (0, 0)


async def test_a_response_that_is_too_large_is_broken_off(server: MockClaudeServer) -> None:
    async with client_of(named(server), Names("127.0.0.1"), body_bytes_max=10) as client:
        with pytest.raises(httpx2.ReadError, match="larger"):
            await client.get(f"{named(server)}/mock/calls")
        await server.wait_until_alone()
