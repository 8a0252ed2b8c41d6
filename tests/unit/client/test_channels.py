"""Where a client goes, and what it never shows."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import grpc
import pytest

from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
from agent_executor.client.channels import Address, address_of
from agent_executor.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", Address("127.0.0.1:8080", is_encrypted=False)),
        ("http://localhost", Address("localhost:80", is_encrypted=False)),
        ("http://[::1]:8080/", Address("[::1]:8080", is_encrypted=False)),
        ("https://agents.example.com", Address("agents.example.com:443", is_encrypted=True)),
    ],
)
def test_a_url_is_an_address(url: str, address: Address) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port"),
        *("https://ada:secret@example.com", "https://example.com/path", "https://example.com?a=b"),
    ],
)
def test_what_is_no_url_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        address_of(url)
    assert "secret" not in caught.value.message


def test_another_machine_is_not_called_in_the_clear() -> None:
    with pytest.raises(InvalidArgumentError, match="allow_plaintext"):
        AgentExecutorClient("http://10.0.0.1:8080", "a-token")
    AgentExecutorClient("http://10.0.0.1:8080", "a-token", allow_plaintext=True).close()


@pytest.mark.parametrize("credential", ["a-secret-token", "aek_secret"])
def test_credentials_are_not_shown(credential: str) -> None:
    with AgentExecutorClient(
        "http://127.0.0.1:1", credential, metadata={"authorization": "secret"}
    ) as client:
        parts = (client, client.agents.caller, client.agents.caller.credential)
        shown = " ".join(map(repr, (*parts, client.agents.caller.options)))
    assert "secret" not in shown


def test_a_client_as_somebody_else_shares_the_connection() -> None:
    with AgentExecutorClient("http://127.0.0.1:1", "a-token") as client:
        other = client.with_credential("another").with_options(timeout_seconds=1)
        assert other.agents.caller.channels is client.agents.caller.channels
        assert other.agents.caller.credential is not client.agents.caller.credential
        assert client.agents.caller.options.timeout_seconds is None


def test_an_aio_client_can_use_channels_that_are_open() -> None:
    async def use() -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            client = AsyncAgentExecutorClient.over({"executor": channel}, metadata={"a": "b"})
            assert client.runs.caller.channels["executor"] is channel
            assert client.runs.caller.options.metadata == {"a": "b"}

    asyncio.run(use())


def test_the_root_gives_the_clients_and_loads_nothing_for_it() -> None:
    program = (
        "import sys, agent_executor; before = 'grpc' in sys.modules; "
        "print(before, agent_executor.AgentExecutorClient.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "AgentExecutorClient"]
