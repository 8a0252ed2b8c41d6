"""Conversations in the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_executor import AgentExecutor, AsyncAgentExecutor, LLMModel
from agent_executor.errors import AgentExecutorError, InvalidArgumentError

CONFIG = {"name": "Math", "tools": {"calculator": True}}


def test_a_program_goes_on_with_a_conversation() -> None:
    with AgentExecutor(CONFIG, LLMModel.CLAUDE_SONNET_4) as executor:
        executor.execute("What is 15 + 27?", conversation_id="talk")
        second = executor.execute("Multiply that by 2.", conversation_id="talk")
        assert "84" in second["response"]
        alone = executor.execute("Multiply that by 2.")
        assert "84" not in alone["response"]


async def test_it_lasts_as_long_as_its_folder(tmp_path: Path) -> None:
    responses = []
    for text in ("What is 15 + 27?", "Multiply that by 2."):
        async with AsyncAgentExecutor(
            CONFIG, LLMModel.CLAUDE_SONNET_4, data_dir=tmp_path
        ) as executor:
            result = await executor.execute(text, conversation_id="talk")
            responses.append(result["response"])
    assert "84" in responses[1]


@pytest.mark.parametrize("conversation_id", ["x" * 129, "é" * 65, "a\0", "\ud800"])
def test_what_is_no_id_is_refused(conversation_id: str) -> None:
    with (
        AgentExecutor(CONFIG, LLMModel.CLAUDE_SONNET_4) as executor,
        pytest.raises(InvalidArgumentError, match="conversation_id"),
    ):
        executor.execute("Hello!", conversation_id=conversation_id)


def test_an_agent_has_a_context_policy() -> None:
    config = {**CONFIG, "context_policy": {"max_input_tokens": 100}}
    with AgentExecutor(config, LLMModel.CLAUDE_SONNET_4) as executor:
        result = executor.execute("x" * 4_000)
    assert (result["state"], result["code"]) == ("failed", "CONTEXT_LENGTH_EXCEEDED")


@pytest.mark.parametrize(
    "policy", [{"max_turns": 1}, {"max_history_turns": -1}, {"summarize": "yes"}, 5]
)
def test_a_policy_that_is_none_is_refused(policy: object) -> None:
    with pytest.raises(AgentExecutorError, match=r"context_policy|not valid"):
        AgentExecutor({**CONFIG, "context_policy": policy}, LLMModel.CLAUDE_SONNET_4)
