from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent_executor.cli.demo_report import Demonstration, show
from agent_executor.cli.otlp_receiver import ReceivedSpan
from agent_executor.cli.timeline import BAR_WIDTH, bar, in_tree_order, is_whole


def span(name: str, parent: str = "", *, start: int = 0, end: int = 10) -> ReceivedSpan:
    return ReceivedSpan(
        service="executor",
        name=name,
        kind="INTERNAL",
        trace_id="t",
        span_id=name,
        parent_span_id=parent,
        start_unix_nanos=start,
        end_unix_nanos=end,
        is_error=False,
        attributes={},
    )


GATEWAY = span("gateway /agent_executor.api.executor.v1.RunService/ExecuteAgent", end=20_000_000)
RUN = span("run", GATEWAY.span_id, start=1)
TOOL = span("execute_tool calculator", "run", start=3)
MODEL = span("chat", "run", start=2)


def test_a_trace_is_whole_when_every_parent_is_there() -> None:
    assert is_whole([TOOL, RUN, GATEWAY])
    assert not is_whole([])
    assert not is_whole([RUN, TOOL])
    assert not is_whole([GATEWAY, TOOL])
    assert not is_whole([GATEWAY, span("other")])


def test_children_come_under_their_parents_by_start() -> None:
    ordered = [(depth, each.name) for depth, each in in_tree_order([TOOL, MODEL, RUN, GATEWAY])]
    assert ordered == [
        (0, GATEWAY.name),
        (1, "run"),
        (2, "chat"),
        (2, "execute_tool calculator"),
    ]


def test_spans_without_their_parent_are_shown_too() -> None:
    assert [each.name for _, each in in_tree_order([TOOL])] == ["execute_tool calculator"]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_bars_are_visible_and_of_one_width(start: int, length: int, rest: int) -> None:
    drawn = bar(start, start + length, start + length + rest)
    assert len(drawn) == BAR_WIDTH
    assert "━" in drawn
    assert " " not in drawn.strip()


def test_the_demonstration_shows_everything() -> None:
    output = io.StringIO()
    entry = {
        "id": "r_1_1",
        "kind": "model_call",
        "usage": {"input_tokens": 254, "output_tokens": 17},
        "cost_nano_usd": "1017000",
    }
    results = [
        {"tool_name": "calculator", "success": True, "result": {"result": 42}, "tool_call_id": "c"},
        {"tool_name": "email", "success": False, "error": "no [bold] server", "tool_call_id": "d"},
    ]
    run = {
        "input": "What is [15 + 27]?",
        "output": {"response": "15 + 27 = 42", "tool_results": results},
        "state": "completed",
        "tokens_used": 271,
        "cost_usd": 0.001017,
        "model": "claude",
    }
    show(
        Demonstration(run=run, entries=[entry, entry], spans=[GATEWAY, RUN, TOOL]),
        Console(file=output, width=132),
    )
    shown = output.getvalue()
    for expected in (
        "What is [15 + 27]?",
        "15 + 27 = 42",
        "completed, 271 tokens, $0.001017",
        '{"result": 42}',
        "no [bold] server",
        "execute_tool calculator",
        "2034000",
    ):
        assert expected in shown
