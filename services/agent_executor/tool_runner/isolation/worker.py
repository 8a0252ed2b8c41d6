"""A worker's one call: it loads a tool's source, runs it, and writes the answer.

Everything here runs inside the sandbox, beside code that may have replaced any part of it; the
tool-runner trusts nothing that it writes.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from traceback import walk_tb
from types import ModuleType
from typing import Any, Final

from agent_executor.errors import AgentExecutorError, ToolExecutionError
from agent_executor.tool_runner.arguments import DEFAULT_ARGUMENTS_BYTES_MAX, parse_arguments
from agent_executor.tool_runner.isolation import frames
from agent_executor.tool_runner.isolation.failure import as_payload, from_payload, text_of
from agent_executor.tool_runner.isolation.untrusted_json import ENCODER, parse_object
from agent_executor.tool_runner.tool_base import ToolBase
from agent_executor.tool_runner.tool_http import DEFAULT_TIMEOUT_SECONDS, current_tool_http

# The limits that a worker reports itself; the message is the tool-runner's.
OUT_OF_MEMORY: Final = b'{"limit":"memory_bytes"}'
OUTPUT_TOO_LARGE: Final = b'{"limit":"output_bytes"}'

# Loaded and run before a worker says that it is ready, to touch the memory that a call needs: so
# it is as long as a tool may be, and uses what tools use.
_WARM_UP_SOURCE: Final = '''
from __future__ import annotations

import json
import re
from agent_executor import ToolBase


class WarmUp(ToolBase):
    """A tool."""

    def __init__(self):
        super().__init__(
            name="warm_up",
            description="Touches the memory that a call needs.",
            input_schema={
                "type": "object",
                "properties": {"items": {"type": "array"}, "text": {"type": "string"}},
                "required": ["items"],
                "additionalProperties": False,
            },
            effect="read_only",
        )

    def _execute_impl(self, arguments):
        lines = []
        total = 0.0
        for item in arguments["items"]:
            value = item["count"] * item["price"]
            total += value
            lines.append(f"{item['count']} x {item['name']}: {value / 100:.2f}")
        words = sorted({word for word in re.findall(r"[a-z]+", " ".join(lines).lower())})
        try:
            found = json.loads(json.dumps(dict(zip(words, lines))))
        except (KeyError, ValueError) as error:
            raise ValueError(str(error)) from error
        return {"total": round(total, 2), "lines": lines, "found": self._filter(found)}

    def _filter(self, found, *, most=10):
        return {key: value for key, value in found.items() if len(key) <= most}
'''
_WARM_UP_ITEM: Final = {"name": "article", "count": 2, "price": 99.5}
WARM_UP: Final = ENCODER.encode(
    {
        "tool_name": "warm_up",
        "class_name": "WarmUp",
        "source": _WARM_UP_SOURCE,
        "arguments_json": ENCODER.encode({"items": [_WARM_UP_ITEM] * 20}),
    }
).encode()


class PipeHttp:
    """The network of a tool in a sandbox: the tool-runner's, asked over the worker's socket."""

    def __init__(self, channel: int) -> None:
        """See the class."""
        self._channel = channel

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | str | None = None,
        json: Any = None,
        timeout: int = DEFAULT_TIMEOUT_SECONDS,
        credential: str = "",
    ) -> dict[str, Any]:
        """See ``ToolHttp.request``."""
        request = {
            "method": method,
            "url": url,
            "headers": None if headers is None else dict(headers),
            "params": None if params is None else dict(params),
            "data": dict(data) if isinstance(data, Mapping) else data,
            "json": json,
            "timeout": timeout,
            "credential": credential,
        }
        payload = ENCODER.encode(request).encode()
        if len(payload) > frames.MESSAGE_BYTES_MAX:
            raise ToolExecutionError(
                f"The request is {len(payload)} bytes; at most {frames.MESSAGE_BYTES_MAX} are "
                "allowed."
            )
        frames.write_frame(self._channel, frames.HTTP_REQUEST, payload)
        _, payload = frames.read_frame(self._channel, size_bytes_max=frames.TO_WORKER_BYTES_MAX)
        answer = parse_object(payload)
        if "error" in answer:
            raise from_payload(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


def serve(channel: int, output_bytes_max: int) -> None:
    """Waits for a call, and answers it.

    Args:
        channel: The socket.
        output_bytes_max: Length of a result as JSON text, at most.
    """
    kind, payload = frames.read_frame(channel, size_bytes_max=frames.TO_WORKER_BYTES_MAX)
    current_tool_http.set(PipeHttp(channel))
    frames.write_frame(channel, *answer_of(kind, payload, output_bytes_max))


def answer_of(kind: int, payload: bytes, output_bytes_max: int) -> tuple[int, bytes]:
    """Returns the type and the payload of the frame that answers a call."""
    tool_name = ""
    try:
        program = parse_object(payload)
        tool_name = program["tool_name"]
        if kind == frames.INSPECT:
            return frames.DESCRIPTION, _as_text(_describe(_load(program)), "description")
        result = _as_text(_run(program), "result")
        if len(result) > output_bytes_max:
            return frames.ERROR, OUTPUT_TOO_LARGE
    except MemoryError:
        return frames.ERROR, OUT_OF_MEMORY
    except BaseException as error:  # noqa: BLE001 -- whatever a tool raises is its result
        return frames.ERROR, ENCODER.encode(_failure_of(error, tool_name)).encode()
    return frames.RESULT, result


def _run(program: Mapping[str, Any]) -> Any:
    tool = _load(program)
    text = program["arguments_json"]
    arguments = parse_arguments(
        text,
        size_bytes=len(text),
        size_bytes_max=DEFAULT_ARGUMENTS_BYTES_MAX,
        decimal_numbers=tool.decimal_numbers,
    )
    return tool._execute_impl(arguments)  # noqa: SLF001 -- the method by which a tool is run


def _load(program: Mapping[str, Any]) -> ToolBase:
    """Runs a tool's source as a module and returns an instance of its class."""
    tool_name, class_name = program["tool_name"], program["class_name"]
    code = compile(program["source"], _file_name(tool_name), "exec", dont_inherit=True)
    module = ModuleType("custom_tool")
    # The documented example names it and does not import it.
    module.__dict__["Any"] = Any
    # Data classes look for the module of their class.
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 -- this process exists to run it
    tool_class = module.__dict__.get(class_name)
    if tool_class is None:
        raise ToolExecutionError(f"The source defines no class {class_name}.")
    if not (isinstance(tool_class, type) and issubclass(tool_class, ToolBase)):
        raise ToolExecutionError(f"{class_name} is not a subclass of ToolBase.")
    if inspect.iscoroutinefunction(tool_class._execute_impl):  # noqa: SLF001 -- the method by which a tool is run
        raise ToolExecutionError(
            f"{class_name}._execute_impl is a coroutine function; in the sandbox it is an "
            "ordinary one."
        )
    tool = tool_class()  # type: ignore[call-arg]  # a custom tool's constructor takes nothing
    if not hasattr(tool, "cache_ttl_seconds"):
        raise ToolExecutionError(
            f"{class_name}.__init__ must call super().__init__(name, description)."
        )
    return tool


def _describe(tool: ToolBase) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "effect": tool.effect,
        "cache_ttl_seconds": tool.cache_ttl_seconds,
        "requires_approval": tool.requires_approval,
    }


def _as_text(value: Any, what: str) -> bytes:
    try:
        return ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        raise ToolExecutionError(f"The tool's {what} is not a JSON value.") from None


def _failure_of(error: BaseException, tool_name: str) -> dict[str, Any]:
    """Returns what is told of an error: its own words, and where in the source it came from."""
    line = _line_of(error, _file_name(tool_name))
    where = {"line": str(line)} if line else {}
    if isinstance(error, AgentExecutorError):
        payload = as_payload(error)
        return {**payload, "metadata": {**where, **payload["metadata"]}}
    if isinstance(error, SyntaxError):
        words = error.msg
    else:
        try:
            words = text_of(error)
        except Exception:  # noqa: BLE001 -- the tool's own error may not even have a text
            words = ""
    name = type(error).__name__
    message = f"{name}: {words}" if words else name
    return {
        "reason": ToolExecutionError.reason,
        "message": f"{message} (line {line})" if line else message,
        "metadata": {"errorType": name, **where},
    }


def _line_of(error: BaseException, file_name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == file_name:
        return error.lineno
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename == file_name
    ]
    return lines[-1] if lines else None


def _file_name(tool_name: str) -> str:
    return f"<{tool_name}>"
