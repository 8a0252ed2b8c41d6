"""Between domain and contracts: nothing is lost, nothing is shown that must not be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
)
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.agents.convert import agent_to_proto, created_fields, updated_fields
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.conversations.conversation import Conversation
from agent_executor.executor.conversations.conversations import ConversationView
from agent_executor.executor.conversations.convert import conversation_to_proto
from agent_executor.executor.convert import (
    EXACT_INTEGER_MAX,
    OUTPUT_BYTES_MAX,
    SHOWN_DEPTH_MAX,
    event_to_proto,
    message_to_proto,
    output_to_proto,
    write_json,
)
from agent_executor.executor.log.run import fold
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    CancelRequested,
    HistoryRange,
    HistoryTrimmed,
    ModelCallBatched,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    ModelSelected,
    Payload,
    RunContinued,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
    payload_type,
)
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import Message, ModelUsage, TextBlock, ToolUseBlock

AGENT = AgentVersion(
    "id",
    "acme",
    3,
    "Name",
    1_000,
    2_500,
    tools={"calculator": True, "slack": False},
    custom_tools={"mine": CustomTool("Mine", enabled=False, version="ab12")},
    api_key_ciphertext=b"secret bytes",
)

PAYLOADS: list[Payload] = [
    RunStarted(
        "agent",
        2,
        "model",
        "input",
        is_test=True,
        tool_versions={"mine": "ab12"},
        parent_run_id="parent",
        max_cost_nano_usd=5,
        parent_amount_id="parent",
        is_background=True,
        conversation_id="talk",
        history=HistoryRange("before", 2, 8),
    ),
    ModelSelected("model", "Small."),
    RunResumed(2),
    HistoryTrimmed(4, 99, "They spoke of numbers.", 5),
    ApprovalRequested("call", "use", "email", "{}", "It is sent.", 9_000),
    ApprovalResolved("call", "approved", "bob", "fine", '{"a":1}'),
    RunPaused(1, "too little", "BUDGET_EXCEEDED", "month", 1_000),
    RunContinued(1),
    ModelCallStarted("call", 1, CallPurpose("digest", 1, 2, is_background=True), is_unheld=True),
    ModelCallBatched("call", "msgbatch_1"),
    ModelCallCompleted(
        "call",
        (TextBlock("a"), ToolUseBlock("t", "calculator", {"a": 1, "b": None})),
        "tool_use",
        ModelUsage(1, 2, 3, 4, 5),
    ),
    ModelCallFailed("call", "no", "MODEL_ERROR", will_retry=True),
    ModelCallSettled("call", "call", 1_965_000),
    ToolCallStarted("id", "t", "calculator", '{"a":1}'),
    ToolCallCompleted("id", "calculator", True, '{"result":42}', "", "", 1_500),
    CancelRequested("ada", "too slow", ("child",)),
    RunFinished("completed", "42"),
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-EXACT_INTEGER_MAX, EXACT_INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("payload", PAYLOADS, ids=payload_type)
def test_every_event_has_its_message(payload: Payload) -> None:
    message = event_to_proto("run", RunEvent(7, 1_234, payload))
    assert (message.run_id, message.sequence, message.type) == ("run", 7, payload_type(payload))
    assert message.WhichOneof("payload") == message.type
    assert message.created_at.ToMilliseconds() == 1_234


def test_the_events_of_the_contract_are_those_of_the_domain() -> None:
    oneof = run_event_pb2.RunEvent.DESCRIPTOR.oneofs_by_name["payload"]
    assert {field.name for field in oneof.fields} == {payload_type(known) for known in PAYLOADS}


def test_a_run_says_which_conversation_it_continues() -> None:
    started = event_to_proto("run", RunEvent(1, 0, PAYLOADS[0])).run_started
    assert started.conversation_id == "talk"


def test_what_was_left_out_is_told_with_its_numbers() -> None:
    payload = HistoryTrimmed(4, 99, "They spoke of numbers.", 5, 7)
    told = event_to_proto("run", RunEvent(2, 0, payload)).history_trimmed
    assert (told.message_count, told.estimated_tokens) == (4, 99)
    assert told.summary == "They spoke of numbers."


def test_a_context_policy_is_shown_as_it_was_sent() -> None:
    policy = agent_pb2.ContextPolicy(
        max_history_turns=3, max_input_tokens=9_000, summarize=True, max_tool_result_bytes=1_000
    )
    created = agent_service_pb2.CreateAgentRequest(name="Name", context_policy=policy)
    fields = created_fields(created)
    assert fields["context_policy"] == ContextPolicy(3, 9_000, True, 1_000)
    agent = msgspec.structs.replace(AGENT, **fields)
    assert agent_to_proto(agent).context_policy == policy
    assert not agent_to_proto(AGENT).HasField("context_policy")


def test_a_context_policy_is_changed_as_a_whole_or_left_alone() -> None:
    left = agent_service_pb2.UpdateAgentRequest(agent_id="id", name="New")
    assert "context_policy" not in updated_fields(left)[0]
    named = agent_service_pb2.UpdateAgentRequest(agent_id="id")
    named.context_policy.max_history_turns = 3
    assert updated_fields(named)[0] == {"context_policy": ContextPolicy(3)}
    masked = agent_service_pb2.UpdateAgentRequest(agent_id="id")
    masked.update_mask.paths.append("context_policy")
    assert updated_fields(masked)[0] == {"context_policy": ContextPolicy()}


def test_costs_are_exact_beside_their_rounded_form() -> None:
    settled = event_to_proto("run", RunEvent(1, 0, ModelCallSettled("c", "c", 1_965_000)))
    assert settled.model_call_settled.cost_nano_usd == 1_965_000
    assert settled.model_call_settled.cost_usd == 0.001965


def test_an_agent_is_shown_without_its_key() -> None:
    message = agent_to_proto(AGENT)
    shown = json_format.MessageToJson(message)
    assert message.has_api_key
    assert "secret" not in shown
    assert json.loads(shown)["customTools"] == {"mine": {"class": "Mine", "version": "ab12"}}
    assert dict(message.tools) == {"calculator": True, "slack": False}


def test_what_a_request_leaves_out_has_its_default() -> None:
    request = agent_service_pb2.CreateAgentRequest(name="Name")
    assert created_fields(request) == {"name": "Name", "tools": {}, "custom_tools": {}}


def test_a_custom_tool_is_shown_as_it_was_sent() -> None:
    request = agent_service_pb2.CreateAgentRequest(name="Name")
    json_format.ParseDict({"class": "Mine", "version": "ab12"}, request.custom_tools["mine"])
    json_format.ParseDict({"class": "Old", "enabled": True}, request.custom_tools["old"])
    custom = created_fields(request)["custom_tools"]
    assert custom == {"mine": CustomTool("Mine", False, "ab12"), "old": CustomTool("Old")}
    shown = agent_to_proto(msgspec.structs.replace(AGENT, custom_tools=custom))
    assert dict(shown.custom_tools) == dict(request.custom_tools)


def test_the_versions_that_a_run_is_bound_to_are_shown() -> None:
    started = RunStarted("agent", 2, "model", "input", tool_versions={"mine": "ab12"})
    message = event_to_proto("run", RunEvent(1, 0, started))
    assert dict(message.run_started.tool_versions) == {"mine": "ab12"}


def test_what_is_shown_of_a_start_and_a_pause() -> None:
    started, paused = (
        event_to_proto("run", RunEvent(1, 0, payload))
        for payload in PAYLOADS
        if isinstance(payload, RunStarted | RunPaused)
    )
    assert started.run_started.parent_run_id == "parent"
    assert started.run_started.max_cost_nano_usd == 5
    assert paused.run_paused == run_event_pb2.RunPaused(
        turn=1, error="too little", code="BUDGET_EXCEEDED", budget_id="month"
    )


def test_limits_of_an_agent_are_shown_as_they_were_sent() -> None:
    request = agent_service_pb2.CreateAgentRequest(
        name="Name", on_budget_exceeded="pause", max_cost_usd=0.1, min_output_tokens=100
    )
    fields = created_fields(request)
    assert fields["max_cost_nano_usd"] == 100_000_000
    shown = agent_to_proto(msgspec.structs.replace(AGENT, **fields))
    assert shown.on_budget_exceeded == "pause"
    assert (shown.max_cost_usd, shown.min_output_tokens) == (0.1, 100)
    plain = agent_to_proto(AGENT)
    assert (plain.on_budget_exceeded, plain.max_cost_usd, plain.min_output_tokens) == ("end", 0, 0)


def test_limits_of_an_agent_can_be_changed_and_lifted() -> None:
    request = agent_service_pb2.UpdateAgentRequest(
        agent_id="id", on_budget_exceeded="end", max_cost_usd=0.0, min_output_tokens=0
    )
    changes = {"on_budget_exceeded": "end", "max_cost_nano_usd": 0, "min_output_tokens": 0}
    assert updated_fields(request) == (changes, None)
    masked = agent_service_pb2.UpdateAgentRequest(agent_id="id")
    masked.update_mask.paths.extend(["on_budget_exceeded", "max_cost_usd", "min_output_tokens"])
    assert updated_fields(masked) == (changes, None)


def test_what_an_agent_says_of_its_model_is_shown_as_it_was_sent() -> None:
    said: dict[str, Any] = {
        "model": "auto",
        "provider": "openai",
        "base_url": "https://llm.example.com/v1",
        "thinking_budget_tokens": 2_000,
        "response_cache_ttl_seconds": 60,
    }
    fields = created_fields(agent_service_pb2.CreateAgentRequest(name="Name", **said))
    assert fields.items() >= said.items()
    shown = agent_to_proto(msgspec.structs.replace(AGENT, **fields), ("Beware.",))
    assert {name: getattr(shown, name) for name in said} == said
    assert list(shown.warnings) == ["Beware."]
    changes: dict[str, Any] = {"provider": "", "base_url": "", "thinking_budget_tokens": 0}
    request = agent_service_pb2.UpdateAgentRequest(agent_id="id", **changes)
    assert updated_fields(request) == (changes, None)
    masked = agent_service_pb2.UpdateAgentRequest(agent_id="id")
    masked.update_mask.paths.extend(["response_cache_ttl_seconds", "provider"])
    assert updated_fields(masked) == ({"response_cache_ttl_seconds": 0, "provider": ""}, None)


def test_an_agent_can_be_created_switched_off() -> None:
    request = agent_service_pb2.CreateAgentRequest(name="Name", is_active=False)
    assert created_fields(request)["is_active"] is False


def test_an_update_changes_what_is_present() -> None:
    request = agent_service_pb2.UpdateAgentRequest(agent_id="id", description="", is_active=False)
    assert updated_fields(request) == ({"description": "", "is_active": False}, None)


def test_a_mask_can_empty_a_map_and_remove_the_key() -> None:
    request = agent_service_pb2.UpdateAgentRequest(agent_id="id", name="ignored")
    request.update_mask.paths.extend(["tools", "api_key"])
    assert updated_fields(request) == ({"tools": {}}, "")


def json_value(value: object) -> struct_pb2.Value:
    """Returns a JSON value as a message."""
    message = struct_pb2.Value()
    write_json(value, message)
    return message


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_what_is_nested_too_deep_for_a_message_is_shown_as_json_text(
    opening: str, closing: str
) -> None:
    text = opening * 90 + "1" + closing * 90
    block = ToolUseBlock("toolu_1", "calculator", {"b": json.loads(text)})
    shown = message_to_proto(Message("assistant", (block,)))
    # As a part of an answer it is some levels further down still.
    wire = run_service_pb2.ExecuteAgentResponse(
        output=run_pb2.RunOutput(conversation_history=[shown])
    ).SerializeToString()
    parsed = run_service_pb2.ExecuteAgentResponse.FromString(wire)
    found = json_format.MessageToDict(parsed.output.conversation_history[0].content[0].input)["b"]
    for _ in range(SHOWN_DEPTH_MAX - 1):
        found = found["a"] if isinstance(found, dict) else found[0]
    rest = 90 - SHOWN_DEPTH_MAX + 1
    assert found == opening * rest + "1" + closing * rest


@given(json_values)
def test_json_survives_the_way_through_a_message(value: object) -> None:
    assert json.loads(json_format.MessageToJson(json_value(value))) == value


@given(st.integers(min_value=EXACT_INTEGER_MAX + 1, max_value=10**400))
def test_an_integer_that_no_double_holds_becomes_its_digits(value: int) -> None:
    assert json_value(value).string_value == str(value)
    assert json_value(-value).string_value == str(-value)


@pytest.mark.parametrize(
    ("history_bytes", "result_bytes", "left_out"),
    [
        (OUTPUT_BYTES_MAX // 4, OUTPUT_BYTES_MAX // 4, []),
        (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX // 4, ["conversation_history"]),
        (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX, ["conversation_history", "tool_results"]),
    ],
)
def test_an_output_too_long_for_an_answer_says_what_is_left_out(
    history_bytes: int, result_bytes: int, left_out: list[str]
) -> None:
    call = ToolCallStarted("call", "toolu_1", "tool", "{}")
    asked = ToolUseBlock("toolu_1", "tool", {})
    payloads: list[Payload] = [
        RunStarted("agent", 1, "model", "x" * history_bytes, max_tool_result_bytes=100),
        ModelCallStarted("m", 1),
        ModelCallCompleted("m", (asked,), "tool_use", ModelUsage(1, 1)),
        call,
        ToolCallCompleted("call", "tool", True, json.dumps("y" * result_bytes), "", "", 1),
        RunFinished("completed", "done"),
    ]
    events = [RunEvent(number, 1, payload) for number, payload in enumerate(payloads, 1)]
    output = output_to_proto(fold(events))
    assert (list(output.left_out), output.response) == (left_out, "done")
    assert bool(output.conversation_history) == ("conversation_history" not in left_out)
    assert bool(output.tool_results) == ("tool_results" not in left_out)
    assert output.ByteSize() <= OUTPUT_BYTES_MAX


def test_a_conversation_shows_the_newest_messages_that_an_answer_holds() -> None:
    messages = tuple(Message("user", (TextBlock(f"{n}" * 1024 * 1024),)) for n in range(6))
    talk = Conversation("acme", "talk", "agent", "ada", "run", 1_000, 2_000)
    shown = conversation_to_proto(talk, ConversationView(talk, messages)).messages
    assert [message.content[0].text[0] for message in shown] == ["3", "4", "5"]
