"""The library and the platform are one engine: the same question gets the same run from both."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor import AgentExecutor, LLMModel
from tests.e2e.agents_and_runs import THREE_SUMS, execute
from tests.platforms import Client

CONFIG = {
    "name": "Math Assistant",
    "role": "math expert",
    "instructions": "You are a math expert. Use the calculator tool for arithmetic operations.",
    "tools": {"calculator": True},
    "custom_tools": {},
}


@pytest.mark.parametrize(
    ("config", "model", "text"),
    [
        (CONFIG, LLMModel.CLAUDE_SONNET_4, "What is 15 + 27?"),
        (CONFIG, LLMModel.CLAUDE_OPUS_4, THREE_SUMS),
        (CONFIG, LLMModel.CLAUDE_HAIKU_3_5, "What is 2 to the power of 100, and 1 / 0?"),
        (CONFIG, LLMModel.CLAUDE_SONNET_4, "Test the calculator tool"),
        (CONFIG, LLMModel.CLAUDE_SONNET_4, "Hello, who are you?"),
        ({**CONFIG, "tools": {}}, LLMModel.CLAUDE_SONNET_4, "What is 2 + 2?"),
        (
            {**CONFIG, "instructions": "Count well. " * 600},
            LLMModel.CLAUDE_SONNET_4,
            "What is (3 + 4) * 5 - 6?",
        ),
        ({**CONFIG, "max_model_turns": 1}, LLMModel.CLAUDE_SONNET_4, "What is 15 + 27?"),
        (CONFIG, "a-model-without-a-price", "What is 15 + 27?"),
    ],
)
def test_library_and_platform_agree(
    client: Client, config: dict[str, Any], model: LLMModel | str, text: str
) -> None:
    with AgentExecutor(config, model) as executor:
        library = executor.execute(text)
    agent = client.post("/api/v1/agents", {**config, "model": str(model)})
    answer = execute(client, agent.body["id"], text)
    platform = answer["output"]
    for name in ("response", "state", "tokens_used", "cost_usd"):
        assert library[name] == platform[name]
    assert library["cost_nano_usd"] == int(platform["cost_nano_usd"])
    assert (library["code"], library["error"]) == (
        answer.get("code", ""),
        answer.get("error", ""),
    )
    assert [_comparable(result) for result in library["tool_results"]] == [
        _comparable(result) for result in platform["tool_results"]
    ]
    assert library["conversation_history"] == platform["conversation_history"]


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what names one run and one moment."""
    return {
        name: value for name, value in result.items() if name not in {"tool_call_id", "timestamp"}
    }
