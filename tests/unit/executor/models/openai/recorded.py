"""Streams in the shapes that OpenAI's, vLLM's and Ollama's documentation gives, written by hand."""

from __future__ import annotations

from typing import Any


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Returns one chunk; ``finish_reason`` and ``usage`` are put where they belong."""
    choice = {
        "index": 0,
        "delta": delta or {},
        "finish_reason": more.pop("finish_reason", None),
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_795_000_000,
        "model": "gpt-5.5-mini",
        "choices": [choice],
        **more,
    }


def usage(prompt_tokens: int, completion_tokens: int, **more: Any) -> dict[str, Any]:
    """Returns the last chunk, which has no choices."""
    total = more.pop("total_tokens", prompt_tokens + completion_tokens)
    counts = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": total,
        **more,
    }
    return {**chunk(), "choices": [], "usage": counts}


def call(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    """Returns a piece of a tool call."""
    piece: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        piece |= {"id": call_id, "type": "function"}
        piece["function"]["name"] = name
    return {"tool_calls": [piece]}


OPENAI_TEXT = [
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"content": "Hello"}, usage=None),
    chunk({"content": " there 🦊"}),
    chunk({}, finish_reason="stop"),
    usage(
        2_006,
        300,
        prompt_tokens_details={"cached_tokens": 1_920, "cache_write_tokens": 6, "audio_tokens": 0},
        completion_tokens_details={"reasoning_tokens": 200},
    ),
]
OPENAI_PARALLEL_TOOLS = [
    chunk({"role": "assistant", "content": None}),
    chunk(call(0, "call_a", "get_weather", "")),
    chunk(call(0, None, None, '{"city": "Zür')),
    chunk(call(0, None, None, 'ich"}')),
    chunk(call(1, "call_b", "get_weather", "")),
    chunk(call(1, None, None, '{"city":"Bern"}')),
    chunk({}, finish_reason="tool_calls"),
    usage(50, 40),
]
OPENAI_REFUSAL = [
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"refusal": "I cannot help "}),
    chunk({"refusal": "with that."}),
    chunk({}, finish_reason="stop"),
    usage(20, 8),
]
FILTERED = [chunk({"content": "Well"}), chunk({}, finish_reason="content_filter"), usage(20, 1)]
VLLM_REASONING = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning": "Let me "}),
    chunk({"reasoning": "think."}),
    chunk({"content": "42"}),
    chunk({"content": ""}, finish_reason="stop", stop_reason=None),
    usage(30, 12, prompt_tokens_details=None),
]
DEEPSEEK_REASONING = [
    chunk({"role": "assistant", "content": None, "reasoning_content": "Hm. "}),
    chunk({"content": None, "reasoning_content": "Yes."}),
    chunk({"content": "Yes.", "reasoning_content": None}),
    # The usage may come with the end of the answer.
    chunk(
        {"content": ""}, finish_reason="stop", usage={"prompt_tokens": 9, "completion_tokens": 5}
    ),
]
# A whole call in one piece, "stop" at its end, and no index.
OLLAMA_TOOLS = [
    chunk(
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                {"id": "", "type": "function", "function": {"name": "now", "arguments": ""}},
            ],
        }
    ),
    chunk({"role": "assistant", "content": ""}, finish_reason="stop"),
    usage(100, 10),
]
CUT = [chunk({"content": "Once upon"}), chunk({}, finish_reason="length"), usage(10, 2)]
CUT_CALL = [
    chunk({"content": "I call."}),
    chunk(call(0, "call_a", "get_weather", '{"city": "Z')),
    chunk({}, finish_reason="length"),
    usage(10, 20),
]

RECORDED = {
    "text": OPENAI_TEXT,
    "parallel tools": OPENAI_PARALLEL_TOOLS,
    "refusal": OPENAI_REFUSAL,
    "filtered": FILTERED,
    "vLLM": VLLM_REASONING,
    "DeepSeek": DEEPSEEK_REASONING,
    "Ollama": OLLAMA_TOOLS,
    "cut": CUT,
    "cut call": CUT_CALL,
}
