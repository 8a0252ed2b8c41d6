"""A request for the broker, as a worker has written it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent_executor.tool_runner.isolation.frames import FrameError
from agent_executor.tool_runner.isolation.untrusted_json import JsonError, parse_object


def http_request_of(payload: bytes) -> dict[str, Any]:
    """Returns the keyword arguments of ``ToolHttp.request``, each of its type.

    Raises:
        FrameError: It is no such request.
    """
    try:
        request = parse_object(payload)
    except JsonError as error:
        raise FrameError(f"The request {error}.") from None
    if request.keys() != _IS_VALID.keys():
        raise FrameError("The request has other fields.")
    for name, is_valid in _IS_VALID.items():
        if not is_valid(request[name]):
            raise FrameError(f"The request's {name} is of another type.")
    return request


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_headers(value: object) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())
    )


def _is_params(value: object) -> bool:
    return value is None or isinstance(value, dict)


def _is_data(value: object) -> bool:
    return value is None or isinstance(value, str | dict)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_json(value: object) -> bool:
    del value
    return True


_IS_VALID: Final[dict[str, Callable[[object], bool]]] = {
    "method": _is_text,
    "url": _is_text,
    "headers": _is_headers,
    "params": _is_params,
    "data": _is_data,
    "json": _is_json,
    "timeout": _is_seconds,
    "credential": _is_text,
}
