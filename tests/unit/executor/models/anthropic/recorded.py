"""Streams in the shapes that the Messages API's documentation gives, written by hand."""

from __future__ import annotations

import json
from typing import Any


def start(**usage: Any) -> dict[str, Any]:
    """Returns the first event, with this usage."""
    return {
        "type": "message_start",
        "message": {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 25, "output_tokens": 1, **usage},
        },
    }


def block(index: int, content_block: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    """Returns the events of one block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": content_block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Any]:
    """Returns the events of a text."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def tool_use(index: int, tool_id: str, *pieces: str, kind: str = "tool_use") -> list[Any]:
    """Returns the events of a tool call whose arguments come in pieces."""
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    empty = {"type": kind, "id": tool_id, "name": "get_weather", "input": {}}
    return block(index, empty, *deltas)


def end(stop_reason: str, output_tokens: int = 15, **more: Any) -> list[Any]:
    """Returns the last events. What ``more`` has goes into the usage, ``stop_details`` apart."""
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    delta |= {"stop_details": more.pop("stop_details", None)}
    usage = {"output_tokens": output_tokens, **more}
    return [
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    ]


THINKING = [
    start(),
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me solve this: "},
        {"type": "thinking_delta", "thinking": "27 × 453 = 12 231."},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4a"}),
    *text(2, "27 × 453 = ", "12 231 ✓"),
    *end("end_turn", 40, output_tokens_details={"thinking_tokens": 20}),
]
HIDDEN_THINKING = [
    start(),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
    ),
    *text(1, "Yes."),
    *end("end_turn"),
]
PARALLEL_TOOLS = [
    start(),
    *text(0, "I look ", "both up."),
    *tool_use(1, "toolu_01", "", '{"location": "San Fra', 'ncisco", "days": 2', "}"),
    *tool_use(2, "toolu_02", '{"location": "Zürich 🏔"}'),
    *tool_use(3, "toolu_03"),
    *end("tool_use", 89),
]
CACHED = [
    start(
        input_tokens=21,
        cache_creation_input_tokens=600,
        cache_read_input_tokens=188_086,
        cache_creation={"ephemeral_5m_input_tokens": 456, "ephemeral_1h_input_tokens": 144},
        service_tier="standard",
    ),
    *text(0, "Cached."),
    *end("end_turn", 393, input_tokens=21, cache_read_input_tokens=188_086),
]
REFUSED = [
    start(),
    *text(0, "I can"),
    *end(
        "refusal",
        4,
        stop_details={"type": "refusal", "category": "cyber", "explanation": "Not this."},
    ),
]
SERVER_TOOL = [
    start(
        input_tokens=2_679,
        cache_creation_input_tokens=100,
        cache_creation={"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
    ),
    *text(0, "I search."),
    *tool_use(1, "srvtoolu_01", '{"query":', ' "weather NYC"}', kind="server_tool_use"),
    *block(
        2,
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_01",
            "content": [{"type": "web_search_result", "url": "https://w.example", "title": "W"}],
        },
    ),
    # The sums of the end are larger than those of the start, since the searches were read, too.
    *end(
        "pause_turn",
        510,
        input_tokens=10_682,
        cache_creation_input_tokens=900,
        server_tool_use={"web_search_requests": 1, "web_fetch_requests": 2},
    ),
]
CUT_CALL = [
    start(),
    *text(0, "I call."),
    *tool_use(1, "toolu_01", '{"location": "San'),
    *end("max_tokens", 20),
]
STOPPED = [start(), *text(0, "One, two"), *end("stop_sequence")]
EMPTY = [start(), *end("end_turn", 2)]

RECORDED = {
    "thinking": THINKING,
    "hidden thinking": HIDDEN_THINKING,
    "parallel tools": PARALLEL_TOOLS,
    "cached": CACHED,
    "refused": REFUSED,
    "server tool": SERVER_TOOL,
    "cut call": CUT_CALL,
    "stopped": STOPPED,
    "empty": EMPTY,
}


def as_bytes(events: list[Any], line_end: str = "\n") -> bytes:
    """Returns a stream as it is sent."""
    parts = [
        f"event: {event['type']}{line_end}"
        f"data: {json.dumps(event, ensure_ascii=False)}{line_end}{line_end}"
        for event in events
    ]
    return "".join(parts).encode()
