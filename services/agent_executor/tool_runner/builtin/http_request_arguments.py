"""The arguments of ``http_request``: their schema, and the request that they make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from agent_executor.egress.exchange import DEFAULT_REDIRECTS_MAX, REDIRECTS_MAX, EgressRequest
from agent_executor.egress.headers import REQUEST_HEADERS_MAX
from agent_executor.egress.urls import URL_CHARACTERS_MAX
from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.tool_http import DEFAULT_TIMEOUT_SECONDS

TIMEOUT_SECONDS_MAX: Final = 300
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
CREDENTIAL_NAME_CHARACTERS_MAX: Final = 128

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"

_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}
_FIELDS: Final = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}],
    },
}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "method": {"type": "string", "enum": list(METHODS)},
        "url": {
            "type": "string",
            "maxLength": URL_CHARACTERS_MAX,
            "description": "An absolute https URL whose host is an allowed domain.",
        },
        "headers": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": REQUEST_HEADERS_MAX,
            "description": "Without Host, Content-Length and others that the platform sets.",
        },
        "params": {**_FIELDS, "description": "Query parameters, added to those of the URL."},
        "data": {
            "anyOf": [{"type": "string"}, _FIELDS],
            "description": "A form as an object, or a body as text; not together with json.",
        },
        "json": {"description": "A body as JSON."},
        "timeout": {
            "type": "integer",
            "minimum": 1,
            "maximum": TIMEOUT_SECONDS_MAX,
            "default": DEFAULT_TIMEOUT_SECONDS,
            "description": "For the whole request with its redirects, in seconds.",
        },
        "max_redirects": {
            "type": "integer",
            "minimum": 0,
            "maximum": REDIRECTS_MAX,
            "default": DEFAULT_REDIRECTS_MAX,
            "description": "More redirects than this are an error.",
        },
        "verify_ssl": {"type": "boolean", "default": True},
        "follow_redirects": {"type": "boolean", "default": True},
        "credential": {
            "type": "string",
            "maxLength": CREDENTIAL_NAME_CHARACTERS_MAX,
            "description": "The name of a credential that the platform adds to the request.",
        },
    },
    "required": ["method", "url"],
    "additionalProperties": False,
}


def method_of(arguments: Mapping[str, Any]) -> str:
    """Returns the method in capitals, or the empty string if it is none."""
    method = arguments.get("method")
    if isinstance(method, str) and method.upper() in METHODS:
        return method.upper()
    return ""


def credential_of(arguments: Mapping[str, Any]) -> str:
    """Returns the name of the credential to attach, or the empty string for none.

    Raises:
        InvalidArgumentError: It is not a text.
    """
    name: str = _typed(arguments, "credential", str, "")
    return name


def as_request(
    arguments: Mapping[str, Any], *, idempotency_key: str, response_bytes_max: int
) -> EgressRequest:
    """Returns the request that arguments describe.

    Args:
        arguments: See ``SCHEMA``, which they need not have been checked against. What is None
            is as good as absent.
        idempotency_key: Sent as ``Idempotency-Key``, unless the arguments have such a header;
            the empty string for none.
        response_bytes_max: See ``EgressRequest``.

    Raises:
        InvalidArgumentError: An argument is unknown or not of its type or out of its range.
    """
    unknown = [str(name) for name in arguments if name not in SCHEMA["properties"]]
    if unknown:
        raise InvalidArgumentError(f'http_request has no argument "{unknown[0]}".')
    method = method_of(arguments)
    if not method:
        raise InvalidArgumentError(f"method must be one of {', '.join(METHODS)}.")
    headers = _headers(arguments)
    given = {name.lower() for name in headers}
    content, content_type = _content(arguments)
    if content_type and "content-type" not in given:
        headers["content-type"] = content_type
    if idempotency_key and "idempotency-key" not in given:
        headers["idempotency-key"] = idempotency_key
    return EgressRequest(
        method=method,
        url=_typed(arguments, "url", str, ""),
        headers=headers,
        params=tuple(_pairs(_typed(arguments, "params", Mapping, {}), "params")),
        content=content,
        timeout_seconds=_integer(
            arguments, "timeout", DEFAULT_TIMEOUT_SECONDS, 1, TIMEOUT_SECONDS_MAX
        ),
        max_redirects=_integer(arguments, "max_redirects", DEFAULT_REDIRECTS_MAX, 0, REDIRECTS_MAX),
        follow_redirects=_typed(arguments, "follow_redirects", bool, True),
        verify_ssl=_typed(arguments, "verify_ssl", bool, True),
        response_bytes_max=response_bytes_max,
    )


def can_have_effect(method: str) -> bool:
    """Tells whether a method is one that changes something."""
    return method in {"POST", "PUT", "DELETE", "PATCH"}


def _headers(arguments: Mapping[str, Any]) -> dict[str, str]:
    headers = dict(_typed(arguments, "headers", Mapping, {}))
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise InvalidArgumentError("headers must be an object of strings.")
    return headers


def _content(arguments: Mapping[str, Any]) -> tuple[bytes | None, str]:
    """Returns the body, or None, and the type that it has unless the caller says otherwise."""
    data, body = arguments.get("data"), arguments.get("json")
    if data is not None and body is not None:
        raise InvalidArgumentError("A request has either data or json.")
    if body is not None:
        try:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            return text.encode(), _JSON
        except (TypeError, ValueError, RecursionError):
            raise InvalidArgumentError("json holds something that is not JSON.") from None
    if isinstance(data, str):
        try:
            return data.encode(), _TEXT
        except UnicodeEncodeError:
            raise InvalidArgumentError("data holds text that is not Unicode.") from None
    if isinstance(data, Mapping):
        return urlencode(list(_pairs(data, "data"))).encode(), _FORM
    if data is not None:
        raise InvalidArgumentError("data must be a string or an object.")
    return None, ""


def _pairs(fields: Mapping[str, Any], argument: str) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            yield name, _field_text(item, argument)


def _field_text(value: object, argument: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and value.isascii():
        return value
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    raise InvalidArgumentError(f"The fields of {argument} are texts, numbers, booleans or lists.")


def _typed(arguments: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        words = {str: "a string", bool: "a boolean"}
        raise InvalidArgumentError(f"{name} must be {words.get(kind, 'an object')}.")
    return value


def _integer(arguments: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = arguments.get(name)
    if value is None:
        return default
    # A float may be an integer: JSON Schema takes 5.0 for one.
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= most
        or value != int(value)
    ):
        raise InvalidArgumentError(f"{name} must be an integer from {least} to {most}.")
    return int(value)
