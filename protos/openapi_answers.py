"""The answers of a document's operations: their headers, and every error with its codes.

What any call may be answered with stands once in the components.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor

from protos.contracts import HTTP_STATUS_OF_CODE, Contracts
from protos.openapi_examples import TIMESTAMP
from protos.openapi_rules import Schema

_ERROR_REASON: Final = "agent_executor.api.error.v1.ErrorReason"

# The reason that stands for a canonical code when an RPC's comment names no other.
_REASON_OF_CODE: Final = {
    "ALREADY_EXISTS": "CONFLICT",
    "CANCELLED": "RUN_CANCELLED",
    "RESOURCE_EXHAUSTED": "LIMIT_EXCEEDED",
    "UNKNOWN": "TOOL_EXECUTION_ERROR",
}

HEADERS: Final[dict[str, Any]] = {
    "Allow": {
        "description": "The methods that the path has.",
        "schema": {"type": "string"},
        "example": "GET, POST",
    },
    "RateLimitLimit": {
        "description": "How many requests the caller may make, with the window.",
        "schema": {"type": "string"},
    },
    "RateLimitRemaining": {
        "description": "How many of them are left.",
        "schema": {"type": "string"},
    },
    "RateLimitReset": {
        "description": "When there are more, in seconds.",
        "schema": {"type": "string"},
    },
    "RequestId": {
        "description": "The request's id: the caller's own `x-request-id`, or a new one.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "When a repeat can succeed, in seconds.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "example": "1",
    },
}
"""The header objects of the components, by name."""

_REQUEST_ID: Final = {"x-request-id": "RequestId"}
_RATE_LIMITS: Final = {
    "x-ratelimit-limit": "RateLimitLimit",
    "x-ratelimit-remaining": "RateLimitRemaining",
    "x-ratelimit-reset": "RateLimitReset",
}
_RETRY_AFTER: Final = {"retry-after": "RetryAfter"}
_HEADERS_OF_STATUS: Final = {
    "405": {"allow": "Allow"},
    "429": {**_RETRY_AFTER, **_RATE_LIMITS},
    "503": _RETRY_AFTER,
}

# What the gateway may answer to any call: the component's name, what it means, and the code.
_ANY_CALL: Final = {
    "413": ("TooLarge", "The request's body is too large.", ["LIMIT_EXCEEDED"]),
    "429": (
        "TooManyRequests",
        "The caller, or its organization, makes more requests than it may, or shows too many wrong keys.",
        ["RATE_LIMIT_EXCEEDED", "LIMIT_EXCEEDED"],
    ),
    "503": ("Unavailable", "A service that is needed does not answer.", ["UNAVAILABLE"]),
    "504": ("TooLate", "The deadline of the call has passed.", ["DEADLINE_EXCEEDED"]),
}
_WRONG_METHOD: Final = "The path does not have this method; `allow` lists those it has."
_ANY_OTHER: Final = (
    "Any other error. Beside those listed, every call may be answered 400 (INVALID_ARGUMENT), 405 "
    "and 415 (both INVALID_ARGUMENT), 408 (DEADLINE_EXCEEDED), 431 (LIMIT_EXCEEDED) and 500 "
    "(INTERNAL)."
)


class Answers:
    """Builds the answers of operations.

    Args:
        contracts: Where errors and their reasons come from.
        error: The schema of every error.
    """

    def __init__(self, contracts: Contracts, error: Schema) -> None:
        self._contracts = contracts
        self._error = error
        self._reasons: set[str] = set()

    def components(self) -> dict[str, Any]:
        """Returns the answers that operations share, by name."""
        shared = {
            name: self._answer(status, description, reasons)
            for status, (name, description, reasons) in _ANY_CALL.items()
        }
        shared["Error"] = self._answer("", _ANY_OTHER, ["INTERNAL"])
        shared["WrongMethod"] = self._answer("405", _WRONG_METHOD, ["INVALID_ARGUMENT"])
        return dict(sorted(shared.items()))

    def examples(self) -> dict[str, Any]:
        """Returns an error of each reason that an answer so far refers to, by the reason's name."""
        return {reason: {"value": self._example(reason)} for reason in sorted(self._reasons)}

    def errors(self, method: MethodDescriptor, *, has_body: bool) -> dict[str, Any]:
        """Returns the errors of an operation, by status.

        Args:
            method: The RPC.
            has_body: Whether the route takes a body.
        """
        texts: dict[str, list[str]] = {}
        reasons: dict[str, list[str]] = {}
        for error in self._contracts.errors(method):
            status = str(HTTP_STATUS_OF_CODE[error.code])
            texts.setdefault(status, []).append(error.text)
            known = error.reasons or (_REASON_OF_CODE.get(error.code, error.code),)
            reasons.setdefault(status, []).extend(known)
        answers = {
            status: {"$ref": f"#/components/responses/{name}"}
            for status, (name, _, _) in _ANY_CALL.items()
            if has_body or status != "413"
        }
        answers |= {
            status: self._answer(status, "; ".join(texts[status]) + ".", reasons[status])
            for status in texts
        }
        return {
            **dict(sorted(answers.items())),
            "default": {"$ref": "#/components/responses/Error"},
        }

    def _answer(self, status: str, description: str, reasons: Sequence[str]) -> dict[str, Any]:
        self._reasons.update(reasons)
        names = {**_REQUEST_ID, **_HEADERS_OF_STATUS.get(status, {})}
        media = {
            "schema": self._error,
            "examples": {reason: {"$ref": f"#/components/examples/{reason}"} for reason in reasons},
        }
        return {
            "description": description,
            "headers": references(names),
            "content": {"application/json": media},
        }

    def _example(self, reason: str) -> dict[str, Any]:
        comment = self._contracts.comment(f"{_ERROR_REASON}.ERROR_REASON_{reason}")
        # Its last word is the canonical code.
        message = re.sub(r"\s+[A-Z_]+\.$", "", comment)
        return {
            "success": False,
            "error": message,
            "tool_name": "",
            "code": reason,
            "timestamp": TIMESTAMP,
        }


def success_headers() -> dict[str, Any]:
    """Returns the headers of an answer that is no error."""
    return references({**_REQUEST_ID, **_RATE_LIMITS})


def references(names: dict[str, str]) -> dict[str, Any]:
    """Returns headers that refer to the components, by the headers' own names."""
    return {name: {"$ref": f"#/components/headers/{header}"} for name, header in names.items()}
