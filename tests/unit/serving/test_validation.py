from __future__ import annotations

import pytest
from google.protobuf.empty_pb2 import Empty

from agent_executor.api.call.v1 import call_pb2
from agent_executor.api.ledger.v1 import usage_service_pb2
from agent_executor.api.tool_runner.v1 import tool_call_service_pb2
from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.validation import RequestValidator

VALIDATOR = RequestValidator()


def test_a_request_that_keeps_the_rules_passes() -> None:
    VALIDATOR.check(
        tool_call_service_pb2.ExecuteToolCallRequest(tool_call_id="a", tool_name="calculator")
    )


def test_a_message_without_rules_passes() -> None:
    VALIDATOR.check(Empty())


def test_every_field_that_breaks_a_rule_is_named_as_the_contract_names_it() -> None:
    request = tool_call_service_pb2.StreamToolCallsRequest()
    request.frames.add(header=call_pb2.CallHeader(id=1, timeout_ms=1))
    frame = request.frames.add(header=call_pb2.CallHeader(id=-1, timeout_ms=1))
    frame.execute.tool_name = "calculator"
    frame.execute.rate_limits["http_request"] = -1
    with pytest.raises(InvalidArgumentError) as refusal:
        VALIDATOR.check(request)
    assert [path for path, _ in refusal.value.field_violations] == [
        "frames[1].header.id",
        "frames[1].execute.tool_call_id",
        'frames[1].execute.rate_limits["http_request"]',
    ]


def test_the_message_shows_the_first_violations_and_counts_the_rest() -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        VALIDATOR.check(usage_service_pb2.ReserveUsageRequest(ttl_seconds=-1))
    assert refusal.value.message.startswith("The request is invalid: reservation_id: must be")
    assert refusal.value.message.endswith("; and 3 more.")
    assert len(refusal.value.field_violations) == 6


def test_a_list_item_is_named_by_its_index() -> None:
    request = usage_service_pb2.SummarizeUsageRequest(group_by=["day", "moon"])
    with pytest.raises(InvalidArgumentError) as refusal:
        VALIDATOR.check(request)
    ((path, _),) = refusal.value.field_violations
    assert path == "group_by[1]"
