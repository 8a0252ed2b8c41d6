from __future__ import annotations

import pytest
from opentelemetry.context import Context

from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.baggage import (
    BAGGAGE_MAX_BYTES,
    baggage_value,
    format_baggage,
    parse_baggage,
    with_baggage,
)
from agent_executor.serving.telemetry import (
    NO_TRACE,
    CallTrace,
    context_from_trace,
    trace_of,
    with_call_trace,
)
from tests.unit.serving.trace_context import SPAN_ID, TRACE_ID, TRACEPARENT

RUN, ORGANIZATION = names.AGENT_EXECUTOR_RUN_ID, names.AGENT_EXECUTOR_ORGANIZATION_ID
UNRECORDED = f"00-{TRACE_ID}-{SPAN_ID}-00"


@pytest.mark.parametrize("organization", ["acme", "Ä, b=c; d%", "a b\t\n", "組織"])
def test_what_is_formatted_is_parsed(organization: str) -> None:
    held = {RUN: "run-1", ORGANIZATION: organization}
    text = format_baggage(with_baggage(held, Context()))
    assert text.isascii()
    assert parse_baggage(text) == held


def test_nothing_but_what_is_known_is_carried() -> None:
    context = with_baggage({RUN: "run-1", "password": "opensesame"}, Context())
    assert format_baggage(context) == f"{RUN}=run-1"
    assert parse_baggage(f"password=opensesame,{RUN}=run-1;ttl=1, ,=,x") == {RUN: "run-1"}


def test_what_is_empty_or_too_long_is_left_out() -> None:
    assert format_baggage(with_baggage({RUN: ""}, Context())) == ""
    assert format_baggage(with_baggage({RUN: "x" * BAGGAGE_MAX_BYTES}, Context())) == ""


def test_a_call_carries_the_baggage_of_a_trace_that_is_recorded_alone() -> None:
    baggage = f"{RUN}=run-1"
    recorded = context_from_trace(CallTrace(TRACEPARENT, baggage))
    assert baggage_value(RUN, recorded) == "run-1"
    assert trace_of(recorded) == CallTrace(TRACEPARENT, baggage)
    assert trace_of(context_from_trace(CallTrace(UNRECORDED, baggage))) == CallTrace(UNRECORDED)
    assert context_from_trace(CallTrace("", baggage)) == Context()
    assert trace_of(Context()) == NO_TRACE


def test_what_calls_carry_is_found_out_once() -> None:
    context = with_call_trace(context_from_trace(CallTrace(TRACEPARENT, f"{RUN}=run-1")))
    assert trace_of(context) == CallTrace(TRACEPARENT, f"{RUN}=run-1")
