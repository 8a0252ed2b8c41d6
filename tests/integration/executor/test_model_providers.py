"""Each agent has the provider that it names, loaded when it is first called, and closed in the end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from agent_executor import AsyncAgentExecutor
from agent_executor.errors import FailedPreconditionError, InvalidArgumentError, ModelError
from agent_executor.executor.models.model import Message, ModelAccess, ModelRequest, TextBlock
from agent_executor.executor.models.model_providers import LateProvider, model_providers
from agent_executor.executor.models.provider_networks import ProviderNetworks
from agent_executor.serving.startup import StartupError
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from tests.mock_claude import LOOPBACK, mock_claude_server
from tests.raw_server import raw_server

ENCRYPTION = Encryption(bytes(KEY_BYTES))
REQUEST = ModelRequest(
    "claude-sonnet-4-6", "", (Message("user", (TextBlock("Hello"),)),), (), 1_000
)
NAMES = ("ANTHROPIC", "OPENAI")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves nothing of the machine that the tests run on."""
    for name in NAMES:
        for variable in ("API_KEY", "BASE_URL", "CUSTOM_HEADERS"):
            monkeypatch.delenv(f"{name}_{variable}", raising=False)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.mark.parametrize("name", ["anthropic", "openai"])
async def test_a_provider_is_built_once_and_closed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mock_claude_server() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        async with AsyncExitStack() as resources:
            providers = model_providers(ENCRYPTION, LOOPBACK, resources)
            assert set(providers) == {"mock", "anthropic", "openai"}
            access = ModelAccess("agent", ENCRYPTION.encrypt("key", "agent"))
            answers = await asyncio.gather(
                *(providers[name].generate(REQUEST, access=access) for _ in range(5))
            )
            assert providers[name].name == name
            mocked = await providers["mock"].generate(REQUEST)
            assert {answer.content for answer in answers} == {mocked.content}
            assert server.api.calls.billed == 5
        await server.wait_until_alone()


@pytest.mark.parametrize(
    ("name", "variable"), [("anthropic", "ANTHROPIC_BASE_URL"), ("openai", "OPENAI_BASE_URL")]
)
async def test_a_base_url_that_is_none_is_found_at_the_start_or_at_the_call(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "ftp://nowhere")
    async with AsyncExitStack() as resources:
        with pytest.raises(StartupError, match="cannot be called"):
            model_providers(ENCRYPTION, ProviderNetworks(), resources, eager=name)
        provider = model_providers(ENCRYPTION, ProviderNetworks(), resources)[name]
        for _ in range(2):
            with pytest.raises(ModelError, match="cannot be called") as raised:
                await provider.generate(REQUEST)
            assert raised.value.retry_after_seconds is None


async def test_a_late_provider_that_was_never_called_has_nothing_to_close() -> None:
    def build() -> None:
        raise AssertionError

    await LateProvider("it", build, "json").close()  # type: ignore[arg-type]  # never built


async def test_a_retired_model_names_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed's own model has reached its end at the provider."""
    body = b'{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    async with raw_server(head % len(body) + body) as (url, _), AsyncExitStack() as resources:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
        provider = model_providers(ENCRYPTION, LOOPBACK, resources)["anthropic"]
        for model, successor in (
            ("claude-sonnet-4-20250514", "claude-sonnet-4-6"),
            ("claude-of-my-own", ""),
        ):
            request = ModelRequest(model, "", REQUEST.messages, (), 100)
            with pytest.raises(ModelError, match="model: claude-x") as raised:
                await provider.generate(request)
            assert raised.value.message.endswith(
                f"its successor is {successor}." if successor else "x."
            )
            assert raised.value.retry_after_seconds is None


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_program_chooses_its_provider(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mock_claude_server(api_key="sk-mine") as server:
        monkeypatch.setenv("EXECUTOR_EGRESS_ALLOWED_CIDRS", '["127.0.0.1/32"]')
        config = {
            "name": "Agent",
            "provider": provider,
            "api_key": "sk-mine",
            "base_url": server.url if provider == "anthropic" else f"{server.url}/v1",
            "tools": {"calculator": True},
        }
        async with AsyncAgentExecutor(config, "claude-sonnet-4-6") as executor:
            answer = await executor.execute("What is 15 + 27?")
        assert answer["state"] == "completed", answer
        assert "42" in answer["response"]
        assert server.api.calls.billed == 2
        assert "sk-mine" not in repr(vars(executor))


async def test_a_program_without_a_word_has_the_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncAgentExecutor({"name": "Agent"}, "auto") as executor:
        assert executor.model == "auto"
        answer = await executor.execute("Hello")
    # Haiku's price, not that of a model that nobody knows.
    assert (answer["state"], answer["cost_nano_usd"] > 0) == ("completed", True)
    monkeypatch.setenv("EXECUTOR_MODEL_PROVIDER", "llama")
    with pytest.raises(FailedPreconditionError, match="EXECUTOR_MODEL_PROVIDER"):
        AsyncAgentExecutor({"name": "Agent"}, "auto")


async def test_what_a_program_may_not_say() -> None:
    for config, words in (
        ({"provider": "llama"}, "provider"),
        ({"api_key": 5}, "api_key"),
        ({"provider": "openai", "base_url": "https://10.0.0.1"}, "may not be called"),
        ({"thinking_budget_tokens": 5}, "thinking_budget_tokens"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            AsyncAgentExecutor({"name": "Agent", **config}, "claude-sonnet-4-6")
