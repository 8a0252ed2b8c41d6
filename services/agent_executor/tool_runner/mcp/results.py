"""What an agent is told of the answer of an MCP server: text, data, and what else there was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agent_executor.errors import LimitExceededError, ToolExecutionError
from agent_executor.tool_runner.builtin.http_request_result import NOTE, is_deep
from agent_executor.tool_runner.credentials.scrubbing import scrub_value
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.tool_base import ERROR_CHARACTERS_MAX

BLOCKS_MAX: Final = 256
_LABEL_CHARACTERS_MAX: Final = 2_048
_BASE64_CHARACTERS: Final = 4
_BASE64_BYTES: Final = 3


def as_result(answer: Mapping[str, Any], secrets: Sequence[Secret]) -> dict[str, Any]:
    """Returns a JSON object for the model.

    Args:
        answer: The answer to ``tools/call``, as the protocol writes it.
        secrets: Replaced wherever they appear.

    Returns:
        ``text`` (all texts, one after the other), ``structured`` if there is any, ``attachments``
        (what images, sounds, links and resources there were, without their bytes; a resource's
        text is in it) and ``note``.

    Raises:
        ToolExecutionError: The tool says that it failed, or the answer is nested too deeply.
        LimitExceededError: It has too many parts.
    """
    blocks = answer.get("content", ())
    if len(blocks) > BLOCKS_MAX:
        raise LimitExceededError(f"The MCP server's result has more than {BLOCKS_MAX} parts.")
    text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
    if answer.get("isError"):
        shown: str = scrub_value(text, secrets)
        raise ToolExecutionError(shown[:ERROR_CHARACTERS_MAX] or "The tool failed.")
    result: dict[str, Any] = {"text": text}
    if "structuredContent" in answer:
        result["structured"] = answer["structuredContent"]
    attachments = [dict(_described(block)) for block in blocks if block["type"] != "text"]
    if attachments:
        result["attachments"] = attachments
    if is_deep(result):
        raise ToolExecutionError("The MCP server's result is nested too deeply.")
    scrubbed: dict[str, Any] = scrub_value(result, secrets)
    return scrubbed | {"note": NOTE}


def _described(block: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "type", block["type"]
    resource = block.get("resource", block)
    for key, name in (
        ("uri", "uri"),
        ("name", "name"),
        ("description", "description"),
        ("mimeType", "mime_type"),
    ):
        if isinstance(resource.get(key), str):
            yield name, resource[key][:_LABEL_CHARACTERS_MAX]
    if resource is not block and "text" in resource:
        yield "text", resource["text"]
    data = resource.get("data", resource.get("blob"))
    if isinstance(data, str):
        # A model cannot see them; how many there are says that they were not forgotten.
        yield "size_bytes", len(data) * _BASE64_BYTES // _BASE64_CHARACTERS
        yield "omitted", True
