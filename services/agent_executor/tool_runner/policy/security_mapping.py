"""The security context as a program writes it: a mapping, as in the library's constructor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.policy.rate_limit import CALLS_MAX

IDENTIFIER_BYTES_MAX: Final = 128
_KEYS: Final = ("user_id", "organization_id", "permissions", "rate_limit", "sandbox")


def parse_security_context(mapping: Mapping[str, Any]) -> tuple[SecurityContext, dict[str, int]]:
    """Returns the caller that a mapping describes and its own rate limits.

    Args:
        mapping: ``user_id`` and ``organization_id`` (required); ``permissions``, a list such as
            ``["tool:calculator"]`` (default: none); ``rate_limit``, calls per minute by tool,
            which can only lower the limits in force (default: none); ``sandbox``, which can only
            be true (default): isolation cannot be switched off.

    Raises:
        InvalidArgumentError: A key is missing, unknown, or has a value that is not of its type.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidArgumentError("security_context must be a mapping.")
    unknown = [str(key) for key in mapping if key not in _KEYS]
    if unknown:
        raise InvalidArgumentError(
            f'security_context has no key "{unknown[0]}"; its keys are {", ".join(_KEYS)}.'
        )
    if mapping.get("sandbox", True) is not True:
        raise InvalidArgumentError(
            "security_context.sandbox can only be true: isolation cannot be switched off."
        )
    security = SecurityContext(
        organization_id=_identifier(mapping, "organization_id"),
        user_id=_identifier(mapping, "user_id"),
        permissions=_permissions(mapping.get("permissions", ())),
    )
    return security, _rate_limits(mapping.get("rate_limit", {}))


def _identifier(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if not _is_identifier(value):
        raise InvalidArgumentError(
            f"security_context.{key} must be a text of 1 to {IDENTIFIER_BYTES_MAX} bytes."
        )
    return str(value)


def _permissions(value: object) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset) or not all(map(_is_identifier, value)):
        raise InvalidArgumentError(
            'security_context.permissions must be a list of permissions like "tool:calculator".'
        )
    return frozenset(value)


def _rate_limits(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(
            'security_context.rate_limit must be a mapping like {"calculator": 100}.'
        )
    for tool_name, max_calls in value.items():
        if not _is_identifier(tool_name):
            raise InvalidArgumentError("security_context.rate_limit must have tools as its keys.")
        if (
            isinstance(max_calls, bool)
            or not isinstance(max_calls, int)
            or not 0 <= max_calls <= CALLS_MAX
        ):
            raise InvalidArgumentError(
                f"security_context.rate_limit.{tool_name} must be an integer from 0 to "
                f"{CALLS_MAX}: calls per minute."
            )
    return dict(value)


def _is_identifier(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return 0 < len(value.encode()) <= IDENTIFIER_BYTES_MAX
    except UnicodeEncodeError:
        return False
