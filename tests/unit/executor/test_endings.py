"""How a model's answer ends, and what a run makes of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_executor.executor.log.run import fold, response_text
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    Message,
    ModelAccess,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ProviderBlock,
    ResponseBlock,
    StopReason,
    TextBlock,
)
from tests.unit.executor.worlds import World, use

SEARCH = ProviderBlock({"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}})


class EndingModel:
    """A provider whose answers end as a test says."""

    name = "ending"

    def __init__(self, *answers: tuple[StopReason, tuple[ResponseBlock, ...]]) -> None:
        self.answers = list(answers)
        self.requests: list[ModelRequest] = []
        self.accesses: list[ModelAccess] = []

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        self.requests.append(request)
        self.accesses.append(access)
        stop_reason, content = self.answers.pop(0)
        usage = ModelUsage(10, 5)
        detail = "cyber: Not this." if stop_reason == "refusal" else ""
        return ModelResponse("msg", "m", content, stop_reason, usage, stop_detail=detail)


async def test_a_paused_turn_goes_on_with_the_answer_so_far() -> None:
    model = EndingModel(
        ("pause_turn", (TextBlock("I look that up. "), SEARCH)),
        ("pause_turn", (TextBlock("And that. "),)),
        ("end_turn", (TextBlock("It rains."),)),
    )
    world = World(model)
    state = await world.drive()
    assert state.finished is not None
    assert (state.state, state.finished.response) == (
        "completed",
        "I look that up. And that. It rains.",
    )
    # The provider is given back exactly what it said, as the last messages.
    assert model.requests[2].messages[1:] == (
        Message("assistant", (TextBlock("I look that up. "), SEARCH)),
        Message("assistant", (TextBlock("And that. "),)),
    )
    # Each is a model call of its own, which is held and paid for.
    assert len(world.ledger.settled) == 3
    assert state.tokens_used == 45


async def test_a_turn_that_is_paused_for_ever_ends_with_the_runs_turns() -> None:
    answers = [("pause_turn", (SEARCH,))] * 9
    model = EndingModel(*answers)  # type: ignore[arg-type]  # the literal is widened in a list
    state = await World(model, max_model_turns=4).drive()
    assert state.finished is not None
    assert (state.state, state.finished.code) == ("failed", "LIMIT_EXCEEDED")
    assert len(model.requests) == 4


async def test_tools_after_a_pause() -> None:
    model = EndingModel(
        ("pause_turn", (SEARCH,)),
        ("tool_use", (use(),)),
        ("end_turn", (TextBlock("Done."),)),
    )
    state = await World(model).drive()
    assert state.finished is not None
    assert (state.state, state.finished.response) == ("completed", "Done.")
    assert [message.role for message in state.messages] == [
        "user",
        "assistant",
        "assistant",
        "user",
        "assistant",
    ]


@pytest.mark.parametrize(
    ("stop_reason", "state", "response", "error", "code"),
    [
        ("end_turn", "completed", "Well.", "", ""),
        ("stop_sequence", "completed", "Well.", "", ""),
        (
            "refusal",
            "failed",
            "",
            "The model refused to answer: cyber: Not this.",
            "MODEL_ERROR",
        ),
        (
            "max_tokens",
            "failed",
            "Well.",
            "The model's answer was cut at its output limit (max_output_tokens).",
            "LIMIT_EXCEEDED",
        ),
        (
            "model_context_window_exceeded",
            "failed",
            "Well.",
            "The model's answer was cut at the end of its context window.",
            "CONTEXT_LENGTH_EXCEEDED",
        ),
    ],
)
async def test_what_a_run_makes_of_it(
    stop_reason: StopReason, state: str, response: str, error: str, code: str
) -> None:
    world = World(EndingModel((stop_reason, (TextBlock("Well."),))))
    ended = (await world.drive()).finished
    assert ended is not None
    assert (ended.state, ended.response, ended.error, ended.code) == (state, response, error, code)
    # What was said is in the history in any case, it is paid for, and replay gives the same.
    stored = await world.stored()
    assert stored.messages[-1].content == (TextBlock("Well."),)
    assert len(world.ledger.settled) == 1
    assert fold(await world.journal.events("run")) == stored


async def test_what_a_provider_does_not_count_is_settled_as_an_estimate() -> None:
    class Uncounted(EndingModel):
        async def generate(
            self,
            request: ModelRequest,
            *,
            access: ModelAccess = OPERATOR_ACCESS,
            on_delta: DeltaListener | None = None,
        ) -> ModelResponse:
            response = await super().generate(request, access=access, on_delta=on_delta)
            return msgspec.structs.replace(response, is_usage_estimated=True)

    world = World(Uncounted(("end_turn", (TextBlock("Well."),))))
    await world.drive()
    assert [settled.estimated for settled in world.ledger.settled.values()] == [True]


def test_the_response_is_what_the_model_said_last() -> None:
    def said(role: Any, text: str) -> Message:
        return Message(role, (TextBlock(text),))

    assert response_text(()) == ""
    assert response_text((said("user", "a"),)) == ""
    assert response_text((said("assistant", "a"), said("user", "b"), said("assistant", "c"))) == "c"
    assert (
        response_text((said("user", "a"), said("assistant", "b"), said("assistant", "c"))) == "bc"
    )


@pytest.mark.parametrize(("budget", "thinking"), [(0, "off"), (1_024, "on")])
async def test_thinking_and_access_are_the_agents(budget: int, thinking: str) -> None:
    model = EndingModel(("end_turn", (TextBlock("Well."),)))
    await World(
        model,
        thinking_budget_tokens=budget,
        api_key_ciphertext=b"secret",
        base_url="https://llm.example.com",
    ).drive()
    (request,) = model.requests
    assert (request.thinking, request.thinking_budget_tokens) == (thinking, budget)
    assert model.accesses == [ModelAccess("agent", b"secret", "https://llm.example.com")]
