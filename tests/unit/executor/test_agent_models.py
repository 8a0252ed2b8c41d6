"""What agents say about their models is checked when they say it, and no key goes astray."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.agent_models import AgentModels
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.executor.models.model import OPERATOR_ACCESS, ModelAccess
from agent_executor.executor.models.model_choice import DEFAULT_SIZES, ModelSizes
from agent_executor.executor.models.provider_networks import ProviderNetworks
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import KEY_BYTES, Encryption

ADA = SecurityContext("acme", "ada", frozenset({"*"}))
TODAY = dt.date(2026, 11, 28)
OWN = "https://llm.example.com/v1"


def agent_of(**fields: Any) -> AgentVersion:
    return AgentVersion("agent", "acme", 1, "Agent", 0, 0, **fields)


def agents_of(models: AgentModels | None = None) -> Agents:
    encryption = Encryption(bytes(KEY_BYTES))
    return Agents(MemoryAgentStore(), encryption, lambda: 0, models or AgentModels("anthropic"))


async def create(fields: dict[str, Any], key: str = "", models: AgentModels | None = None) -> str:
    agent = await agents_of(models).create({"name": "A"} | fields, key, ADA)
    return agent.agent_id


async def refusal(
    fields: dict[str, Any], key: str = "", models: AgentModels | None = None
) -> tuple[str, str]:
    with pytest.raises(InvalidArgumentError) as raised:
        await create(fields, key, models)
    ((field, message),) = raised.value.field_violations
    assert message == raised.value.message
    return field, message


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("llm.example.com", "like https://"),
        ("ftp://llm.example.com", "begins with https://"),
        ("https://ada:secret@llm.example.com", "without a user"),
        ("https://llm.example.com/v1?key=1", "no query"),
        ("http://llm.example.com/v1", "Only https is allowed"),
        ("https://llm.example.com:8443/v1", "The port 8443 is not allowed"),
        ("https://127.0.0.1/v1", "EXECUTOR_EGRESS_ALLOWED_CIDRS"),
        ("https://[::1]/v1", "may not be reached"),
        ("https://10.0.0.7/v1", "may not be reached"),
        ("https://169.254.169.254/latest", "may not be reached"),
        ("https://[::ffff:127.0.0.1]/v1", "may not be reached"),
    ],
)
async def test_a_base_url_that_cannot_be_called_is_refused_at_once(
    base_url: str, words: str
) -> None:
    field, message = await refusal({"provider": "openai", "base_url": base_url}, "key")
    assert field == "base_url"
    assert words in message
    assert "secret" not in message


async def test_the_operator_admits_networks() -> None:
    networks = ProviderNetworks((ipaddress.ip_network("127.0.0.0/8"),))
    local = {"provider": "openai", "base_url": "http://127.0.0.1:11434/v1"}
    assert await create(local, models=AgentModels(networks=networks))
    other = {"provider": "openai", "base_url": "http://10.0.0.1:11434/v1"}
    assert (await refusal(other, models=AgentModels(networks=networks)))[0] == "base_url"


async def test_what_does_not_go_together() -> None:
    mock = {"provider": "mock", "base_url": OWN}
    assert (await refusal(mock, "key"))[0] == "base_url"
    claude = {"provider": "anthropic", "base_url": OWN}
    field, message = await refusal(claude)
    assert (field, "operator's" in message) == ("api_key", True)
    assert await create(claude, "key")
    # vLLM and Ollama need no key.
    assert await create({"provider": "openai", "base_url": OWN})
    auto = {"provider": "openai", "base_url": OWN, "model": "auto"}
    assert (await refusal(auto))[0] == "model"
    assert await create({"provider": "anthropic", "base_url": OWN, "model": "auto"}, "key")
    # The executor's own provider holds for an agent that names none.
    assert (await refusal({"base_url": OWN}, "key", AgentModels("mock")))[0] == "base_url"


@pytest.mark.parametrize(
    ("budget", "is_taken"),
    [(0, True), (1_023, False), (1_024, True), (4_095, True), (4_096, False)],
)
async def test_the_bounds_of_a_thinking_budget(budget: int, is_taken: bool) -> None:
    fields = {"thinking_budget_tokens": budget, "max_output_tokens": 4_096}
    if is_taken:
        assert await create(fields)
    else:
        assert (await refusal(fields))[0] == "thinking_budget_tokens"


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "https://evil.example.com/v1"},
        {"base_url": ""},
        {"provider": "anthropic"},
        {"provider": ""},
        {"base_url": "https://llm.example.com/v1/more"},
    ],
)
async def test_a_stored_key_goes_nowhere_that_it_was_not_given_for(
    changes: dict[str, Any],
) -> None:
    """Who may change an agent may not learn its key by naming an address of theirs."""
    agents = agents_of()
    agent = await agents.create({"name": "A", "provider": "openai", "base_url": OWN}, "key", ADA)
    with pytest.raises(InvalidArgumentError) as raised:
        await agents.update(agent.agent_id, changes, None, ADA)
    assert raised.value.field_violations[0][0] == "api_key"
    # Given again it may; and what is no change of address needs no key.
    await agents.update(agent.agent_id, {"name": "B", "base_url": OWN}, None, ADA)
    updated = await agents.update(agent.agent_id, changes, "another", ADA)
    assert updated.model_access().api_key_ciphertext != agent.api_key_ciphertext
    assert updated.model_access().base_url == changes.get("base_url", OWN)


async def test_a_key_may_be_removed_with_a_change_of_address() -> None:
    agents = agents_of()
    agent = await agents.create({"name": "A", "provider": "openai", "base_url": OWN}, "key", ADA)
    updated = await agents.update(agent.agent_id, {"base_url": f"{OWN}/2"}, "", ADA)
    assert updated.model_access() == ModelAccess(agent.agent_id, b"", f"{OWN}/2")
    updated = await agents.update(agent.agent_id, {"base_url": ""}, None, ADA)
    assert updated.model_access() == OPERATOR_ACCESS


@pytest.mark.parametrize(
    ("provider", "fields", "words"),
    [
        ("anthropic", {"model": "claude-opus-5-5"}, ()),
        ("anthropic", {"model": "a-model-of-my-own"}, ()),
        ("anthropic", {}, ("was retired", "claude-sonnet-4-6")),
        ("openai", {}, ("was retired",)),
        ("mock", {}, ()),
        ("anthropic", {"provider": "mock"}, ()),
        ("mock", {"provider": "anthropic"}, ("was retired",)),
        (
            "anthropic",
            {"model": "claude-haiku-4-5-20251001", "max_output_tokens": 64_001},
            ("at most 64000 tokens",),
        ),
        (
            "anthropic",
            {"model": "claude-opus-5-5", "thinking_budget_tokens": 2_000},
            ("decides itself how much it thinks",),
        ),
        (
            "anthropic",
            {"model": "claude-haiku-4-5-20251001", "thinking_budget_tokens": 2_000},
            (),
        ),
    ],
)
def test_warnings(provider: str, fields: dict[str, Any], words: tuple[str, ...]) -> None:
    warnings = AgentModels(provider).warnings(agent_of(**fields), TODAY)
    assert len(warnings) == bool(words)
    assert all(word in warnings[0] for word in words)


def test_auto_is_chosen_for_the_agents_own_provider() -> None:
    models = AgentModels("mock", sizes={**DEFAULT_SIZES, "openai": ModelSizes("s", "m", "l")})
    assert models.select(agent_of(), "hello") is None
    choice = models.select(agent_of(model="auto"), "hello")
    assert choice is not None
    assert choice.model == "claude-haiku-5-5"
    for text, tools, history_bytes, expected in (
        ("hello", 0, 0, "s"),
        ("ü" * 2_001, 0, 0, "m"),
        ("hello", 4, 0, "m"),
        ("hello", 0, 200_001, "l"),
    ):
        agent = agent_of(
            model="auto",
            provider="openai",
            tools={f"tool_{number}": True for number in range(tools)} | {"off": False},
        )
        choice = models.select(agent, text, history_bytes)
        assert choice is not None
        assert choice.model == expected
