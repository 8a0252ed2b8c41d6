"""Hides what looks like a credential, in lines of the log and in what spans show of content.

It is the last line of defence and no filter of personal data: what a person typed stays.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final

import msgspec

REDACTED: Final = "[redacted]"

CONTENT_MAX_CHARS: Final = 4_096
"""How much a span shows of one text."""

_NAMES_MAX: Final = 1_024
# Deeper is nothing that a person reads, and no stack of Python's.
_DEPTH_MAX: Final = 64
_TOO_DEEP: Final = "[nested too deeply]"

# As headers, variables and JSON spell them: x-api-key, API_KEY, apiKey.
_SECRET_NAMES: Final = re.compile(
    r"authorization|cookie|api[_-]?key|private[_-]?key|password|passwd|secret|credential|token$",
    re.IGNORECASE,
)
# Bearer headers, JSON Web Tokens, our own API keys and sessions, provider keys as sk-..., and what
# URLs name as user and password.
_SECRET_TEXTS: Final = re.compile(
    r"(?i:bearer)\s+[\w.~+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\bsk-[\w-]{16,}|\bae[ks]_\w{16,}"
    r"|(?<=://)[^\s/@:?#\"]{0,256}:[^\s/@\"]{1,256}(?=@)"
)
# One of these is in each of them; to look for them first takes a twentieth of the time.
_MARKS: Final = ("eyJ", "sk-", "aek_", "aes_", "://")


@lru_cache(_NAMES_MAX)
def is_secret_name(name: str) -> bool:
    """Tells whether a name says that its value is a secret."""
    return _SECRET_NAMES.search(name) is not None


def redacted_text(text: str) -> str:
    """Returns the text without what looks like a credential."""
    if any(mark in text for mark in _MARKS) or "bearer" in text.lower():
        return _SECRET_TEXTS.sub(REDACTED, text)
    return text


def redacted_names(value: Any, depth: int = 0) -> Any:
    """Returns JSON-like data without the values whose names say they are secret.

    Args:
        value: The data, of which what is nested too deeply is left out, secret or not.
        depth: How deep in the data it is itself.
    """
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == _DEPTH_MAX:
        return _TOO_DEEP
    if isinstance(value, dict):
        return {
            name: REDACTED if is_secret_name(str(name)) else redacted_names(inner, depth + 1)
            for name, inner in value.items()
        }
    return [redacted_names(inner, depth + 1) for inner in value]


def cut(text: str) -> str:
    """Returns the beginning of a text that is too long for a span, and says how much is missing."""
    missing = len(text) - CONTENT_MAX_CHARS
    return f"{text[:CONTENT_MAX_CHARS]}... [{missing} more characters]" if missing > 0 else text


def redacted_json(text: str) -> str:
    """Returns JSON text without either; of a text that is no JSON, without what looks like one."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return redacted_text(text)
    return redacted_text(json_text(redacted_names(value)))


def json_text(value: Any) -> str:
    """Returns data as JSON text, which escapes what UTF-8 cannot hold, as half a character."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value)
