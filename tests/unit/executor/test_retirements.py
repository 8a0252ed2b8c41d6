"""Whoever chooses a model that its provider ends is told so, in the operator's log."""

from __future__ import annotations

import logging

import pytest

from agent_executor.executor.agents.agent_models import AgentModels
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import KEY_BYTES, Encryption

NOW_MS = 1_795_860_000_000  # 28 November 2026
ADA = SecurityContext("acme", "ada", frozenset({"*"}))


def agents_of(provider: str) -> Agents:
    return Agents(
        MemoryAgentStore(), Encryption(bytes(KEY_BYTES)), lambda: NOW_MS, AgentModels(provider)
    )


async def test_at_creation_and_at_the_choice_of_another_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agents = agents_of("anthropic")
    agent = await agents.create({"name": "A", "model": "claude-opus-4-20250514"}, "", ADA)
    await agents.update(agent.agent_id, {"name": "B"}, None, ADA)
    await agents.update(agent.agent_id, {"model": "claude-opus-5-5"}, None, ADA)
    await agents.update(agent.agent_id, {"model": "claude-opus-4-5-20251101"}, None, ADA)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "claude-opus-4-8" in caplog.messages[0]
    assert "will be retired" in caplog.messages[1]


async def test_a_mock_outlives_every_model(caplog: pytest.LogCaptureFixture) -> None:
    await agents_of("mock").create({"name": "A"}, "", ADA)
    assert caplog.records == []
